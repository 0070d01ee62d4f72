//! What connections ask of their shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::command::{MessageId, Wanted};
use crate::identity::ConnectionNumber;
use crate::outbox::Outbox;
use crate::topic::Topic;

/// What a connection asks of its shard.
pub(super) enum Order {
    Subscribe { outbox: Arc<Outbox>, topics: Vec<Wanted>, limit: usize, answer: Answer },
    Unsubscribe { outbox: Arc<Outbox>, topics: Vec<Topic>, id: Option<MessageId> },
    Leave(ConnectionNumber),
}

/// Who is told that a subscription stands.
#[derive(Clone, Default)]
pub struct Answer {
    /// The command that the `subscribed` events answer.
    pub id: Option<MessageId>,
    /// A door that waits for the topics before it opens.
    pub arrivals: Option<Arc<Arrivals>>,
}

/// Counts topics going live, for a door that waits until all are.
pub struct Arrivals {
    missing: AtomicUsize,
    complete: Notify,
    seated: Notify,
    refused: AtomicBool,
}

impl Arrivals {
    /// Waits for so many topics.
    #[must_use]
    pub fn new(topics: usize) -> Arc<Self> {
        let (complete, seated) = (Notify::new(), Notify::new());
        Arc::new(Self { missing: AtomicUsize::new(topics), complete, seated, refused: AtomicBool::new(false) })
    }

    /// One topic is live.
    pub(super) fn arrived(&self) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.complete.notify_one();
        }
    }

    /// One topic has no room here.
    pub(super) fn refuse(&self) {
        self.refused.store(true, Ordering::Release);
        self.arrived();
    }

    /// Each topic has its subscription, or was refused.
    pub(super) fn sit_down(&self) {
        self.seated.notify_one();
    }

    /// Resolves once it is known which topics have room here; at most one waits.
    pub async fn seated(&self) {
        self.seated.notified().await;
    }

    /// Whether a topic had no room here.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// Resolves once all are live; at most one waits.
    pub async fn complete(&self) {
        if self.missing.load(Ordering::Acquire) > 0 {
            self.complete.notified().await;
        }
    }
}
