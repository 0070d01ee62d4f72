//! What the doors share: the house behind them, and what each asks of a request before it opens.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{RawPathParams, Request};
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::caller::Caller;
use super::gate::Gate;
use super::handshake::origin_allowed;
use super::refusal::Refusal;
use super::socket::Tcp;
use super::template::{self, Query};
use crate::accept::Peer;
use crate::connection::{Ends, Pace, Roster};
use crate::outbox::Outbox;
use crate::session::{Greeting, Rooms, Session, Slot, Wish};
use crate::topic::Topic;

/// What all doors share.
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

/// What the door of any route has.
pub struct Threshold {
    /// What it shares with the others.
    pub house: Arc<House>,
    /// The place of its route in the settings.
    pub route: usize,
    /// How often its connections show life.
    pub pace: Option<Arc<Pace>>,
}

impl Threshold {
    /// Whether a page of the request's origin may come in.
    pub(super) fn admit(&self, request: &Request) -> Result<(), Refusal> {
        let settings = self.house.rooms.live.get();
        match origin_allowed(&settings.public.origins, request.headers()) {
            true => Ok(()),
            false => Err(Refusal::Origin),
        }
    }

    /// The topics that a request asks for, if it may have them; `plain` has a default.
    pub(super) fn topics(&self, path: &RawPathParams, query: &Query, plain: bool) -> Result<Vec<Topic>, Refusal> {
        let settings = self.house.rooms.live.get();
        let route = &settings.routes[self.route];
        let path: Vec<_> = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let limit = settings.limits_on(route).topics;
        Ok(template::topics(route, plain, &path, query, &settings.topics, limit)?)
    }

    /// Who calls, as far as it can be trusted.
    pub(super) fn caller(&self, request: &Request) -> Caller {
        // The accept loop always says who the peer is.
        let nobody = Peer(SocketAddr::from(([0, 0, 0, 0], 0)));
        let peer = request.extensions().get().copied().unwrap_or(nobody);
        Caller::of(peer, request.headers(), &self.house.rooms.live.get().public.trusted_proxies)
    }

    /// Seats a client, and waits for its topics as long as the settings say.
    pub(super) async fn greet(&self, slot: Slot, socket: &Arc<Outbox<Tcp>>, wish: Wish, caller: &Caller) -> Session {
        let rooms = &self.house.rooms;
        let patience = rooms.live.get().handshake.subscribe_wait;
        let session = Greeting::begin(rooms, slot, socket.clone(), wish).await.open(patience).await;
        debug!(connection = %session.id(), client = %caller.address, request_id = %caller.request_id(), "handshake accepted");
        session
    }

    /// Lets the kernel find out about a dead peer where no silence of it would tell.
    pub(super) fn watch(&self, socket: &Tcp) {
        if !self.pace.as_ref().is_some_and(|pace| pace.finds_the_dead()) {
            socket.watch();
        }
    }
}
