//! The WebSocket door: from a request to a running connection. It takes the socket, writes the 101 itself and keeps
//! nothing of the request.

use std::sync::Arc;

use axum::extract::{RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use super::guest;
use super::handshake::{Handshake, Refused};
use super::house::Threshold;
use super::query::{Query, read_by};
use super::refusal::Refusal;
use super::socket::Tcp;
use super::template;
use crate::accept::Loan;
use crate::connection::Connection;
use crate::frame::Extension;
use crate::metrics;
use crate::outbox::{Outbox, Terms};
use crate::quote::Quoted;
use crate::session::Wish;
use crate::settings::Route;

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
    let (asked, _) = request.into_parts();
    match knock(&door, &path, &asked).await {
        Ok(()) => {
            door.threshold.house.rooms.metrics.handshake(metrics::Handshake::Accepted).inc();
            // The socket is taken, so nobody is answered by this.
            ().into_response()
        }
        Err(refusal) => door.threshold.turn_away(refusal, &asked),
    }
}

async fn knock(door: &Door, path: &RawPathParams, asked: &Parts) -> Result<(), Refusal> {
    let threshold = &door.threshold;
    let house = &threshold.house;
    let _knock = house.gate.knock().map_err(Refusal::Busy)?;
    let handshake = handshake(door, asked)?;
    let (wish, terms) = wish(door, &handshake, path, asked)?;
    let slot = house.rooms.slots.take().ok_or(Refusal::Busy("public.max_connections"))?;
    let socket = Outbox::new(terms, slot.number(), Tcp::default());
    let session = threshold.greet(slot, &socket, wish, asked).await?;
    let lent = asked.extensions.get().and_then(Loan::take).ok_or(Refusal::Gone)?;
    lent.write(&handshake.switch()).await.map_err(|_| Refusal::Gone)?;
    socket.wire().attach(lent.stream);
    threshold.watch(socket.wire());
    guest::settle(threshold, Box::new(Connection::new(socket, session)), lent.early, lent.place);
    Ok(())
}

fn handshake(door: &Door, asked: &Parts) -> Result<Handshake, Refused> {
    let settings = door.threshold.house.rooms.live.get();
    let route = &settings.routes[door.threshold.route];
    let handshake = Handshake::check(asked, route.protocol)?;
    Ok(match settings.deflates(route) {
        true => handshake.compress(&asked.headers),
        false => handshake,
    })
}

/// What a request asks for, if it may have it, and on which terms.
fn wish(
    door: &Door,
    handshake: &Handshake,
    path: &RawPathParams,
    asked: &Parts,
) -> Result<(Wish, Arc<Terms>), Refusal> {
    let threshold = &door.threshold;
    threshold.admit(&asked.headers)?;
    let query = Query::parse(asked.uri.query().unwrap_or_default())?;
    let settings = threshold.house.rooms.live.get();
    let route = &settings.routes[threshold.route];
    let plain = template::speaks_plain(route, handshake.subprotocol, &query)?;
    let topics = threshold.topics(path, &query, plain)?;
    let promises = if plain { &door.plain } else { &door.json };
    let terms = promises.of(handshake.extension()).clone();
    let topics = threshold.resumed(topics, &query)?;
    let warning = if plain { None } else { ignored(route, &query) };
    Ok((Wish { route: threshold.route, topics, warning }, terms))
}

/// What a client is told whose query has a parameter that nobody reads: its author's mistake, or a proxy's mark, which is
/// no reason to keep it out.
fn ignored(route: &Route, query: &Query) -> Option<String> {
    if query.is_empty() {
        return None;
    }
    let read = read_by(route);
    let stranger = Quoted(query.stranger(&read)?);
    Some(format!("{stranger} means nothing in the query here and is ignored; this route reads {}", read.join(", ")))
}
