//! The WebSocket door: from a request to a running connection. After the 101 the raw socket is ours;
//! hyper and axum keep nothing of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::caller::Caller;
use super::handshake::{Handshake, Refused, origin_allowed};
use super::socket::Tcp;
use super::template::{self, BadRequest, Query};
use crate::accept::{Peer, Place};
use crate::close::Close;
use crate::command::Wanted;
use crate::connection::{Connection, Ends, Pace, Roster};
use crate::frame::Extension;
use crate::metrics;
use crate::outbox::{Outbox, Terms};
use crate::protocol::Form;
use crate::session::{Greeting, Rooms, Session, Wish};
use crate::settings::OffOr;

/// What all WebSocket doors share.
pub struct House {
    /// What sessions use.
    pub rooms: Arc<Rooms>,
    /// The open connections.
    pub roster: Arc<Roster>,
    /// Who waits for the connections' ends.
    pub tasks: TaskTracker,
    /// Handshakes under way.
    pub gate: Gate,
    /// Where ends are logged.
    pub ends: Ends,
}

/// One route's door.
pub struct Door {
    /// What it shares with the others.
    pub house: Arc<House>,
    /// The place of its route in the settings.
    pub route: usize,
    /// What plain clients are promised here.
    pub plain: Promises,
    /// What json clients are promised here.
    pub json: Promises,
    /// How often its connections show life.
    pub pace: Option<Arc<Pace>>,
}

/// What clients of one protocol are promised, by what was agreed on with them.
pub struct Promises {
    bare: Arc<Terms>,
    deflate: Arc<Terms>,
}

impl Promises {
    /// The terms of each extension.
    #[must_use]
    pub fn new(terms: impl Fn(Extension) -> Arc<Terms>) -> Self {
        Self { bare: terms(Extension::None), deflate: terms(Extension::Deflate) }
    }

    fn of(&self, extension: Extension) -> &Arc<Terms> {
        match extension {
            Extension::None => &self.bare,
            Extension::Deflate => &self.deflate,
        }
    }
}

/// Bounds the handshakes under way, and those of one second.
pub struct Gate {
    in_flight: Arc<AtomicUsize>,
    most: usize,
    per_second: Option<u32>,
    recent: parking_lot::Mutex<(u64, u32)>,
}

/// A handshake under way; dropped, it is over.
pub struct Knock(Arc<AtomicUsize>);

impl Gate {
    /// At most so many at once, and so many a second.
    #[must_use]
    pub fn new(most: usize, per_second: OffOr<u32>) -> Self {
        Self { in_flight: Arc::default(), most, per_second: per_second.value(), recent: Default::default() }
    }

    fn knock(&self) -> Option<Knock> {
        let knock = Knock(self.in_flight.clone());
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        (before < self.most && self.in_time()).then_some(knock)
    }

    fn in_time(&self) -> bool {
        let Some(most) = self.per_second else { return true };
        let second = crate::clock::now_ms() / 1000;
        let mut recent = self.recent.lock();
        if recent.0 != second {
            *recent = (second, 0);
        }
        recent.1 += 1;
        recent.1 <= most
    }
}

impl Drop for Knock {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers a request on a route.
pub async fn open(State(door): State<Arc<Door>>, path: RawPathParams, request: Request) -> Response {
    match knock(&door, &path, request).await {
        Ok(response) => {
            door.house.rooms.metrics.handshake(metrics::Handshake::Accepted).inc();
            response
        }
        Err(refusal) => refusal.answer(&door.house.rooms.metrics),
    }
}

async fn knock(door: &Arc<Door>, path: &RawPathParams, mut request: Request) -> Result<Response, Refusal> {
    let house = &door.house;
    let knock = house.gate.knock().ok_or(Refusal::Busy)?;
    let handshake = handshake(door, &request)?;
    let wish = wish(door, &handshake, path, &request)?;
    let caller = caller(&house.rooms, &request);
    let slot = house.rooms.slots.take().ok_or(Refusal::Busy)?;
    let socket = Outbox::new(wish.terms.clone(), slot.number(), Tcp::default());
    let patience = house.rooms.live.get().handshake.subscribe_wait;
    let upgrade = hyper::upgrade::on(&mut request);
    let greeting = Greeting::begin(&house.rooms, slot, socket.clone(), wish.wish).await;
    let session = greeting.open(patience).await;
    debug!(connection = %session.id(), client = %caller.address, request_id = %caller.request_id(), "handshake accepted");
    let held = Held { knock, place: request.extensions().get().cloned() };
    house.tasks.spawn(take_over(door.clone(), upgrade, socket, session, held));
    Ok(handshake.switch())
}

fn handshake(door: &Door, request: &Request) -> Result<Handshake, Refused> {
    let settings = door.house.rooms.live.get();
    let route = &settings.routes[door.route];
    let handshake = Handshake::check(request, route.protocol)?;
    Ok(match settings.deflates(route) {
        true => handshake.compress(request.headers()),
        false => handshake,
    })
}

fn caller(rooms: &Rooms, request: &Request) -> Caller {
    // The accept loop always says who the peer is.
    let nobody = Peer(SocketAddr::from(([0, 0, 0, 0], 0)));
    let peer = request.extensions().get().copied().unwrap_or(nobody);
    Caller::of(peer, request.headers(), &rooms.live.get().public.trusted_proxies)
}

/// What a request asks for, if it may have it.
struct Asked {
    wish: Wish,
    terms: Arc<Terms>,
}

fn wish(door: &Door, handshake: &Handshake, path: &RawPathParams, request: &Request) -> Result<Asked, Refusal> {
    let settings = door.house.rooms.live.get();
    if !origin_allowed(&settings.public.origins, request.headers()) {
        return Err(Refusal::Origin);
    }
    let route = &settings.routes[door.route];
    let query = Query::parse(request.uri().query().unwrap_or_default())?;
    let path: Vec<_> = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let plain = template::speaks_plain(route, handshake.subprotocol, &query);
    let limit = settings.limits_on(route).topics;
    let topics = template::topics(route, plain, &path, &query, &settings.topics, limit)?;
    let terms = if plain { &door.plain } else { &door.json };
    let terms = terms.of(handshake.extension());
    let topics = topics.into_iter().map(Wanted::fresh).collect();
    Ok(Asked { wish: Wish { route: door.route, topics }, terms: terms.clone() })
}

/// What a handshake holds until its connection runs.
struct Held {
    knock: Knock,
    place: Option<Arc<Place>>,
}

/// Takes the raw socket out of hyper once the 101 is out, and gives it a task of its own: this one's
/// future has room for a handshake, which an idle connection should not hold.
async fn take_over(door: Arc<Door>, upgrade: OnUpgrade, socket: Arc<Outbox<Tcp>>, session: Session, held: Held) {
    let Ok(upgraded) = upgrade.await else { return };
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else { return };
    socket.wire().attach(parts.io.into_inner());
    if !door.pace.as_ref().is_some_and(|pace| pace.finds_the_dead()) {
        socket.wire().watch();
    }
    let mut connection = Box::new(Connection::new(socket, session));
    connection.begin(parts.read_buf).await;
    let Held { knock, place } = held;
    drop(knock);
    let tasks = door.house.tasks.clone();
    tasks.spawn(converse(door, connection, place));
}

async fn converse(door: Arc<Door>, mut connection: Box<Connection<Tcp>>, place: Option<Arc<Place>>) {
    let counted = Counted::open(&door.house.rooms.metrics, connection.outbox().protocol().form());
    let (protocol, extension) = (counted.form.label(), connection.outbox().extension());
    debug!(connection = %connection.id(), protocol, ?extension, "connection opened");
    let enrolled = door.house.roster.enrol(connection.outbox(), door.pace.clone());
    let close = connection.run().await;
    drop((enrolled, place));
    counted.close(&close);
    door.house.ends.log(&connection.id(), &close);
}

/// An open connection as the metrics show it; dropped without a word, by a panic say, it was lost.
struct Counted<'a> {
    metrics: &'a metrics::Metrics,
    form: Form,
    told: bool,
}

impl<'a> Counted<'a> {
    fn open(metrics: &'a metrics::Metrics, form: Form) -> Self {
        metrics.connections_opened.of(form).inc();
        metrics.connections.of(form).inc();
        Self { metrics, form, told: false }
    }

    fn close(mut self, close: &Close) {
        self.told = true;
        self.metrics.closed(close);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.metrics.connections.of(self.form).dec();
        if !self.told {
            self.metrics.closed(&Close::Lost);
        }
    }
}

/// Why the door stays shut.
enum Refusal {
    Handshake(Refused),
    Request(BadRequest),
    Origin,
    Busy,
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self::Handshake(refused)
    }
}

impl From<BadRequest> for Refusal {
    fn from(bad: BadRequest) -> Self {
        Self::Request(bad)
    }
}

impl Refusal {
    fn answer(self, metrics: &metrics::Metrics) -> Response {
        let (outcome, status, what) = match self {
            Self::Handshake(refused) => (metrics::Handshake::BadRequest, refused.status, refused.what.to_owned()),
            Self::Request(bad @ BadRequest::Forbidden(_)) => {
                (metrics::Handshake::Forbidden, StatusCode::FORBIDDEN, bad.to_string())
            }
            Self::Request(bad) => (metrics::Handshake::BadRequest, StatusCode::BAD_REQUEST, bad.to_string()),
            Self::Origin => (
                metrics::Handshake::Forbidden,
                StatusCode::FORBIDDEN,
                "pages of this origin may not connect: add it to public.origins".to_owned(),
            ),
            Self::Busy => (metrics::Handshake::Busy, StatusCode::SERVICE_UNAVAILABLE, "too busy, try again".to_owned()),
        };
        metrics.handshake(outcome).inc();
        let mut response = (status, Body::from(what + "\n")).into_response();
        decorate(&mut response, status);
        response
    }
}

fn decorate(response: &mut Response, status: StatusCode) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    match status {
        StatusCode::UPGRADE_REQUIRED => {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            // Spread, so that a storm does not come back as one.
            headers.insert(header::RETRY_AFTER, HeaderValue::from(fastrand::u16(1..=5)));
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
}

/// Nothing is here.
pub async fn not_found(metrics: Arc<metrics::Metrics>) -> Response {
    metrics.handshake(metrics::Handshake::BadRequest).inc();
    let mut response = (
        StatusCode::NOT_FOUND,
        Body::from("no route on this path: the default is /ws, others are set by [[routes]]\n"),
    )
        .into_response();
    decorate(&mut response, StatusCode::NOT_FOUND);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_in_flight_are_bounded_and_a_refused_one_takes_no_room() {
        let gate = Gate::new(2, OffOr::Off);
        let [one, two] = [gate.knock(), gate.knock()];
        assert!(one.is_some() && two.is_some());
        assert!((0..10).all(|_| gate.knock().is_none()));
        drop(one);
        assert!(gate.knock().is_some(), "over at once");
        drop(two);
        assert_eq!(gate.in_flight.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn handshakes_of_one_second_are_bounded_though_each_is_over_at_once() {
        let gate = Gate::new(100, OffOr::Value(3));
        // In two seconds at the most, however the tests begin.
        let passed = (0..100).filter(|_| gate.knock().is_some()).count();
        assert!((3..=6).contains(&passed), "{passed}");
        gate.recent.lock().0 = u64::MAX;
        assert!(gate.knock().is_some(), "another second, another three");
    }

    #[test]
    fn a_connection_that_panics_is_counted_out_as_one_that_is_closed() {
        let metrics = metrics::Metrics::new();
        let ended = |reason: &str| {
            let page = prometheus::TextEncoder::new().encode_to_string(&metrics.registry().gather()).unwrap();
            page.contains(&format!("fanline_connections_closed_total{{reason=\"{reason}\"}} 1\n"))
        };
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _counted = Counted::open(&metrics, Form::Json);
            assert_eq!(metrics.connections.of(Form::Json).get(), 0, "open");
        }));
        assert!(panicked.is_err());
        assert_eq!((metrics.connections.of(Form::Json).get(), ended("lost")), (0, true));
        Counted::open(&metrics, Form::Json).close(&Close::NoPong);
        assert_eq!((metrics.connections.of(Form::Json).get(), ended("no_pong"), ended("lost")), (0, true, true));
    }
}
