//! What the doors share: the house behind them, and what each asks of a request before it opens.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::RawPathParams;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::caller::Caller;
use super::gate::Gate;
use super::handshake::{origin_allowed, single};
use super::query::{Query, read_by};
use super::refusal::Refusal;
use super::socket::Tcp;
use super::template;
use crate::accept::{Loan, Peer};
use crate::command::Wanted;
use crate::connection::{Ends, Pace, Roster};
use crate::outbox::Outbox;
use crate::repeat::Repeats;
use crate::session::{Full, Greeting, Rooms, Session, Slot, Wish};
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
    /// Where refusals are logged.
    pub refusals: Repeats,
    /// Where those of pages are, each origin by itself: ever new ones hide nothing else.
    pub origins: Repeats,
}

impl House {
    /// Who calls, as far as it can be trusted.
    pub(super) fn caller(&self, asked: &Parts) -> Caller {
        // The accept loop always says who the peer is.
        let nobody = Peer(SocketAddr::from(([0, 0, 0, 0], 0)));
        let peer = asked.extensions.get().copied().unwrap_or(nobody);
        Caller::of(peer, &asked.headers, &self.rooms.live.get().public.trusted_proxies)
    }
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
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let settings = self.house.rooms.live.get();
        let origin = single(headers, &header::ORIGIN)?;
        match origin_allowed(&settings.public.origins, origin) {
            true => Ok(()),
            false => Err(Refusal::origin(origin)),
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

    /// Those of some topics that keep a history.
    pub(super) fn kept(&self, topics: &[Topic]) -> Vec<Topic> {
        let settings = self.house.rooms.live.get();
        topics.iter().filter(|topic| settings.topics.rule(topic.as_str()).keeps_history()).cloned().collect()
    }

    /// Topics with where each goes on, as the query says it. Where none of them keeps a history, who asks is told that it
    /// does not; and what makes no sense is somebody else's word.
    pub(super) fn resumed(&self, topics: Vec<Topic>, query: &Query) -> Result<Vec<Wanted>, Refusal> {
        let resume = match template::resume(query) {
            Err(_) if self.kept(&topics).is_empty() => None,
            said => said?,
        };
        Ok(topics.into_iter().map(|topic| Wanted { topic, resume }).collect())
    }

    /// Seats a client, and waits for its topics as long as the settings and its handshake's deadline say.
    pub(super) async fn greet(
        &self,
        slot: Slot,
        socket: &Arc<Outbox<Tcp>>,
        wish: Wish,
        asked: &Parts,
    ) -> Result<Session, Refusal> {
        let (rooms, caller) = (&self.house.rooms, self.house.caller(asked));
        let left = asked.extensions.get().map_or(Duration::ZERO, Loan::patience);
        let patience = rooms.live.get().handshake.subscribe_wait.min(left);
        let session = Greeting::begin(rooms, slot, socket.clone(), caller.address, wish).await.open(patience).await;
        let session = session.map_err(|Full| Refusal::Busy("limits.replica_topics"))?;
        debug!(connection = %session.id(), client = %caller.address, request_id = caller.request_id(), "handshake accepted");
        Ok(session)
    }

    /// The answer to a request that this door does not open to.
    pub(super) fn turn_away(&self, refusal: Refusal, asked: &Parts) -> Response {
        let settings = self.house.rooms.live.get();
        refusal.answer(&self.house, asked, &read_by(&settings.routes[self.route]))
    }

    /// Lets the kernel find out about a dead peer where no silence of it would tell.
    pub(super) fn watch(&self, socket: &Tcp) {
        if !self.pace.as_ref().is_some_and(|pace| pace.finds_the_dead()) {
            socket.watch();
        }
    }
}
