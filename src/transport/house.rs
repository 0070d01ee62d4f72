//! What the doors share: the house behind them, and what each asks of a request before it opens.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::RawPathParams;
use axum::http::{Extensions, HeaderMap, header};
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use super::caller::Caller;
use super::gate::Gate;
use super::handshake::origin_allowed;
use super::refusal::Refusal;
use super::socket::Tcp;
use super::template::{self, Query};
use crate::accept::Peer;
use crate::command::Wanted;
use crate::connection::{Ends, Pace, Roster};
use crate::outbox::Outbox;
use crate::repeat::Repeats;
use crate::session::{Full, Greeting, Rooms, Session, Slot, Wish};
use crate::topic::Topic;

/// How much of a refused origin is logged, in characters.
const SHOWN: usize = 200;

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
    /// Which origins' refusals were logged.
    pub origins: Repeats,
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
    pub(super) fn admit(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<(), Refusal> {
        if origin_allowed(&self.house.rooms.live.get().public.origins, headers) {
            return Ok(());
        }
        let origin = headers.get(header::ORIGIN).map(|origin| String::from_utf8_lossy(origin.as_bytes()));
        let origin: String = origin.iter().flat_map(|origin| origin.chars()).take(SHOWN).collect();
        if let Some(kept) = self.house.origins.due(&origin) {
            let client = self.caller(headers, extensions).address;
            info!(origin, %client, kept, "a page of this origin was refused: public.origins does not list it");
        }
        Err(Refusal::Origin)
    }

    /// The topics that a request asks for, if it may have them; `plain` has a default.
    pub(super) fn topics(&self, path: &RawPathParams, query: &Query, plain: bool) -> Result<Vec<Topic>, Refusal> {
        let settings = self.house.rooms.live.get();
        let route = &settings.routes[self.route];
        let path: Vec<_> = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let limit = settings.limits_on(route).topics;
        Ok(template::topics(route, plain, &path, query, &settings.topics, limit)?)
    }

    /// Those of some topics that keep a history.
    pub(super) fn kept(&self, topics: &[Topic]) -> Vec<Topic> {
        let settings = self.house.rooms.live.get();
        topics.iter().filter(|topic| settings.topics.rule(topic.as_str()).keeps_history()).cloned().collect()
    }

    /// Topics with where each goes on, as the query says it of those that keep a history.
    pub(super) fn resumed(&self, topics: Vec<Topic>, query: &Query) -> Result<Vec<Wanted>, Refusal> {
        let kept = self.kept(&topics);
        let resume = if kept.is_empty() { None } else { template::resume(query)? };
        let wanted = |topic: Topic| Wanted { resume: resume.filter(|_| kept.contains(&topic)), topic };
        Ok(topics.into_iter().map(wanted).collect())
    }

    /// Who calls, as far as it can be trusted.
    pub(super) fn caller(&self, headers: &HeaderMap, extensions: &Extensions) -> Caller {
        // The accept loop always says who the peer is.
        let nobody = Peer(SocketAddr::from(([0, 0, 0, 0], 0)));
        let peer = extensions.get().copied().unwrap_or(nobody);
        Caller::of(peer, headers, &self.house.rooms.live.get().public.trusted_proxies)
    }

    /// Seats a client, and waits for its topics as long as the settings say.
    pub(super) async fn greet(
        &self,
        slot: Slot,
        socket: &Arc<Outbox<Tcp>>,
        wish: Wish,
        caller: &Caller,
    ) -> Result<Session, Refusal> {
        let rooms = &self.house.rooms;
        let patience = rooms.live.get().handshake.subscribe_wait;
        let session = Greeting::begin(rooms, slot, socket.clone(), wish).await.open(patience).await;
        let session = session.map_err(|Full| Refusal::Full)?;
        debug!(connection = %session.id(), client = %caller.address, request_id = caller.request_id(), "handshake accepted");
        Ok(session)
    }

    /// Lets the kernel find out about a dead peer where no silence of it would tell.
    pub(super) fn watch(&self, socket: &Tcp) {
        if !self.pace.as_ref().is_some_and(|pace| pace.finds_the_dead()) {
            socket.watch();
        }
    }
}
