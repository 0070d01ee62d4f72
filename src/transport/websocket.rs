//! The WebSocket door: from a request to a running connection. After the 101 the raw socket is ours;
//! hyper and axum keep nothing of it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{RawPathParams, Request, State};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;

use super::gate::Knock;
use super::guest;
use super::handshake::{Handshake, Refused};
use super::house::Threshold;
use super::refusal::Refusal;
use super::socket::Tcp;
use super::template::{self, Query};
use crate::accept::Loan;
use crate::connection::Connection;
use crate::frame::Extension;
use crate::metrics;
use crate::outbox::{Outbox, Terms};
use crate::session::{Session, Wish};

/// The door of a route that speaks WebSocket.
pub struct Door {
    /// What it has in common with other doors.
    pub threshold: Arc<Threshold>,
    /// What plain clients are promised here.
    pub plain: Promises,
    /// What json clients are promised here.
    pub json: Promises,
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

/// Answers a request on a route.
pub async fn open(State(door): State<Arc<Door>>, path: RawPathParams, request: Request) -> Response {
    let metrics = &door.threshold.house.rooms.metrics;
    match knock(&door, &path, request).await {
        Ok(response) => {
            metrics.handshake(metrics::Handshake::Accepted).inc();
            response
        }
        Err(refusal) => refusal.answer(metrics),
    }
}

async fn knock(door: &Arc<Door>, path: &RawPathParams, mut request: Request) -> Result<Response, Refusal> {
    let threshold = &door.threshold;
    let house = &threshold.house;
    let knock = house.gate.knock().ok_or(Refusal::Busy)?;
    let handshake = handshake(door, &request)?;
    let (wish, terms) = wish(door, &handshake, path, &request)?;
    let slot = house.rooms.slots.take().ok_or(Refusal::Busy)?;
    let socket = Outbox::new(terms, slot.number(), Tcp::default());
    let upgrade = hyper::upgrade::on(&mut request);
    let caller = threshold.caller(request.headers(), request.extensions());
    let session = threshold.greet(slot, &socket, wish, &caller).await?;
    house.tasks.spawn(take_over(threshold.clone(), upgrade, socket, session, caller.address, knock));
    Ok(handshake.switch())
}

fn handshake(door: &Door, request: &Request) -> Result<Handshake, Refused> {
    let settings = door.threshold.house.rooms.live.get();
    let route = &settings.routes[door.threshold.route];
    let handshake = Handshake::check(request, route.protocol)?;
    Ok(match settings.deflates(route) {
        true => handshake.compress(request.headers()),
        false => handshake,
    })
}

/// What a request asks for, if it may have it, and on which terms.
fn wish(
    door: &Door,
    handshake: &Handshake,
    path: &RawPathParams,
    request: &Request,
) -> Result<(Wish, Arc<Terms>), Refusal> {
    let threshold = &door.threshold;
    threshold.admit(request.headers(), request.extensions())?;
    let query = Query::parse(request.uri().query().unwrap_or_default())?;
    let settings = threshold.house.rooms.live.get();
    let plain = template::speaks_plain(&settings.routes[threshold.route], handshake.subprotocol, &query);
    let topics = threshold.topics(path, &query, plain)?;
    let promises = if plain { &door.plain } else { &door.json };
    let terms = promises.of(handshake.extension()).clone();
    let topics = threshold.resumed(topics, &query)?;
    Ok((Wish { route: threshold.route, topics }, terms))
}

/// Takes the raw socket out of hyper once the 101 is out, and gives it a task of its own: this one's
/// future has room for a handshake, which an idle connection should not hold.
async fn take_over(
    threshold: Arc<Threshold>,
    upgrade: OnUpgrade,
    socket: Arc<Outbox<Tcp>>,
    session: Session,
    client: IpAddr,
    knock: Knock,
) {
    let Ok(upgraded) = upgrade.await else { return };
    let Ok(parts) = upgraded.downcast::<Loan>() else { return };
    let Some((stream, place)) = parts.io.take() else { return };
    socket.wire().attach(stream);
    threshold.watch(socket.wire());
    let mut connection = Box::new(Connection::new(socket, session));
    connection.begin(parts.read_buf).await;
    drop(knock);
    guest::settle(&threshold, connection, client, place);
}
