//! What must be read from the histories, so that topics are whole and clients resume: asked under the topics' locks,
//! read by one task for all shards.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::sequence::Ask;
use crate::identity::ConnectionNumber;
use crate::position::Position;
use crate::topic::Topic;

/// How long an errand is tried again and again. Where Redis is away for longer, the road is closed by then, and the
/// errand's answer wanted by nobody; where it answers each time that it cannot, the topic must go on without.
const PATIENCE: Duration = Duration::from_secs(10);

/// One thing to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Errand {
    pub topic: Topic,
    pub what: What,
    /// When it is given up.
    pub until: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// So that the topic is whole, in this epoch of its past.
    Heal { epoch: u64, ask: Ask },
    /// Because a client says that the topic goes on behind this position, its last one in this epoch; and who says so.
    Doubt { epoch: u64, after: Position, by: ConnectionNumber },
    /// So that the log of this id is longer: whether it is to reach further back than the first read did, and who asked
    /// first.
    Log { id: u64, further: bool, by: ConnectionNumber },
}

/// What waits to be read. A topic has at most one errand of each kind under way, so this is bounded by the topics.
#[derive(Debug, Default)]
pub(super) struct Asks {
    queue: Mutex<Vec<Errand>>,
    wake: Notify,
}

impl Asks {
    pub fn push(&self, topic: &Topic, what: What) {
        self.queue.lock().push(Errand { topic: topic.clone(), what, until: Instant::now() + PATIENCE });
        self.wake.notify_one();
    }

    /// Takes all that waits.
    pub fn take(&self) -> Vec<Errand> {
        std::mem::take(&mut *self.queue.lock())
    }

    /// Resolves when something was put in since the last time.
    pub async fn filled(&self) {
        self.wake.notified().await;
    }
}
