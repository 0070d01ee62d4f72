//! The road between replicas: what a broker promises the hub, and what it asks of it.
//!
//! A broker with no other replica to talk to is [`memory`]; [`redis`] carries publications over
//! Redis pub/sub. Both pass the conformance suite in `tests/broker_conformance.rs`.

pub mod history;
pub mod memory;
pub mod redis;
mod refused;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};

use crate::event::GapReason;
use crate::position::Position;
use crate::publication::{Header, HeaderTooLong, Publication};
use crate::topic::Topic;

pub use history::{Chapter, HistoryError, Page, Part, Read};
pub use refused::Refused;

/// The road between replicas.
///
/// `subscribe` and `unsubscribe` only note what is wanted and never wait; what became of it comes
/// back through [`Deliver`].
pub trait Broker: Send + Sync + 'static {
    /// Wants a topic's publications from now on. Answers [`Liveness::Live`] where they already flow (a
    /// linger, say): then no [`Deliver::live`] follows. Otherwise one does, once they flow.
    /// The hub calls it with the topic's entry locked, so it must not call [`Deliver`] itself.
    fn subscribe(&self, topic: &Topic) -> Liveness;

    /// Wants a topic no longer. The broker may linger before it tells the other side.
    fn unsubscribe(&self, topic: &Topic);

    /// Lets topics that nobody wants linger no longer, until at most so many are left: others need their room.
    fn linger_at_most(&self, _: usize) {}

    /// Publishes one message to every replica, this one included. Resolved once the other side took it.
    ///
    /// Waits at most [`PUBLISH_WAIT`]; while the road is known to be closed it fails at once.
    fn publish<'a>(
        &'a self,
        topic: &'a Topic,
        header: &'a Header,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<Receipt, PublishError>>;

    /// The position of the newest publication on each of these topics, in their order; [`Position::START`] where nothing
    /// is known of any. They all keep a history. A broker that keeps none refuses. Topics that live apart fail apart.
    fn positions<'a>(&'a self, topics: &'a [Topic]) -> BoxFuture<'a, Vec<Result<Position, HistoryError>>> {
        async { vec![Err(HistoryError::Refused(NONE.into())); topics.len()] }.boxed()
    }

    /// Reads a part of a topic's history. A broker that keeps none refuses.
    fn read<'a>(&'a self, _: &'a Topic, _: Read) -> BoxFuture<'a, Result<Page, HistoryError>> {
        async { Err(HistoryError::Refused(NONE.into())) }.boxed()
    }

    /// Whether it is remembered where a topic ended, for one who is to publish there and waits for the answer.
    ///
    /// # Errors
    /// Nobody says, so nothing can be published either.
    fn has_history<'a>(&'a self, topic: &'a Topic) -> BoxFuture<'a, Result<bool, PublishError>> {
        async move { history::is_known(self.positions(std::slice::from_ref(topic)).await.pop()) }.boxed()
    }

    /// The topic rules are others from now on: what is made of them elsewhere is made anew.
    fn rules_changed(&self) {}

    /// How the road is just now.
    fn health(&self) -> Health;

    /// What is wrong with it, in a sentence for whoever operates this; none where all is well.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Whether a topic that is asked for now may soon be live: a connection is there and nothing says that
    /// it leads nowhere. Where not, waiting for it would be in vain.
    fn is_up(&self) -> bool {
        true
    }

    /// When the road's own tasks last went round, in ms of [`crate::clock::now_ms`]; now where it has none.
    fn last_tick(&self) -> u64 {
        crate::clock::now_ms()
    }
}

/// The longest a publisher waits for the other side.
pub const PUBLISH_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

/// Why a broker without histories reads none.
const NONE: &str = "it keeps no history";

/// What a broker tells the hub. Plain calls: none of them waits.
///
/// Per topic, calls arrive in order and never two at once: `live`, publications, `lost`, `live` ….
pub trait Deliver: Send + Sync + 'static {
    /// Takes one publication to every local subscriber.
    fn deliver(&self, publication: Publication);

    /// From here on the topic's publications flow.
    fn live(&self, topic: &Topic);

    /// From `since` (ms since 1970, when the last canary that came back was sent) on, publications of these topics
    /// may be missed, until `live` is called for them again.
    fn lost(&self, topics: &[Topic], since: u64);

    /// Some publication of the topic that came `since` then (ms since 1970) could not be delivered. It may be told at any
    /// time: the listeners of a topic that is not live hear of it once it is.
    fn gap(&self, topic: &Topic, reason: GapReason, since: u64);
}

/// Whether a topic's publications flow to this replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// They flow.
    Live,
    /// Not yet, or not just now.
    Pending,
}

/// What publishing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// How many replicas listened; 0 is no error. In a Redis Cluster it counts one node's only.
    pub replicas: u64,
    /// Where it stands in its topic's history, where one is kept.
    pub position: Option<Position>,
    /// It was published before under the same name, and now was not: the position is that of the first time.
    pub repeated: bool,
}

impl Receipt {
    /// Of what is in no history, and so many replicas heard.
    #[must_use]
    pub fn heard(replicas: u64) -> Self {
        Self { replicas, position: None, repeated: false }
    }
}

/// Why nothing was published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The road is closed; try again later.
    #[error("Redis is away: {0}")]
    Away(String),
    /// The other side answered, and refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// No road takes it, because no replica would read it.
    #[error(transparent)]
    Header(#[from] HeaderTooLong),
}

/// How the road to the other replicas is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Open, and proven by what comes back.
    Open,
    /// Not proven once since the start.
    Starting,
    /// The other side answers but this replica does not hear its publications.
    Deaf,
    /// The other side does not answer.
    Away,
}
