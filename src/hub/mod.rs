//! Who on this replica listens to what, and how a publication reaches them.
//!
//! A connection belongs to one shard with all its topics; a publication crosses threads once per
//! interested shard. A shard is a plain struct owned by one task: no lock is held while it writes.
//!
//! Knows no Redis, no HTTP and no socket.

mod asks;
mod encode;
mod heal;
mod healer;
mod inbox;
mod interest;
mod log;
mod news;
mod order;
mod pass;
mod past;
mod portion;
mod replay;
mod replies;
mod roll;
mod sequence;
mod shard;
mod task;
mod topic;
mod waiting;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::command::Wanted;
use crate::identity::Replica;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::settings::TopicRules;
use crate::topic::Topic;

pub use inbox::{INBOX_BYTES, INBOX_PUBLICATIONS};
pub use interest::{Interest, MAX_SHARDS};
use order::Order;
pub use order::{Answer, Arrivals};

/// How many requests of connections may wait for a shard; further ones wait in their connection.
const ORDERS: usize = 1024;

/// Who listens to what: the handle that sessions get.
pub struct Hub {
    shards: Box<[mpsc::Sender<Order>]>,
    pulses: Arc<[AtomicU64]>,
    tasks: TaskTracker,
}

/// What a hub is built of.
pub struct Parts {
    /// The road between replicas.
    pub broker: Arc<dyn Broker>,
    /// Which shards want which topics; also what the broker delivers to.
    pub interest: Arc<Interest>,
    /// This replica's name, for `except`.
    pub replica: Replica,
    /// The rules in force.
    pub rules: Arc<ArcSwap<TopicRules>>,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// The smallest publication that is compressed, in bytes.
    pub least_deflated: usize,
}

impl Hub {
    /// Starts one task per shard of `parts.interest`, owned by `tasks` and ended by `stop`.
    #[must_use]
    pub fn start(parts: &Parts, tasks: &TaskTracker, stop: &CancellationToken) -> Arc<Self> {
        let count = parts.interest.shards();
        tasks.spawn(healer::run(parts.interest.clone(), parts.broker.clone(), stop.clone()));
        let pulses: Arc<[AtomicU64]> = (0..count).map(|_| AtomicU64::new(crate::clock::now_ms())).collect();
        let shards = (0..count)
            .map(|index| {
                let (orders, waiting) = mpsc::channel(ORDERS);
                let shard = shard::Shard::new(index, parts);
                tasks.spawn(task::run(shard, waiting, pulses.clone(), stop.clone()));
                orders
            })
            .collect();
        Arc::new(Self { shards, pulses, tasks: tasks.clone() })
    }

    /// A seat for one connection; it listens to nothing yet.
    #[must_use]
    pub fn seat(self: &Arc<Self>, outbox: Arc<Outbox>) -> Member {
        Member { hub: self.clone(), outbox }
    }

    /// When the shard that is furthest behind last went round, in ms of [`crate::clock::now_ms`].
    #[must_use]
    pub fn last_tick(&self) -> u64 {
        self.pulses.iter().map(|pulse| pulse.load(Ordering::Relaxed)).min().unwrap_or(0)
    }

    fn shard(&self, outbox: &Outbox) -> &mpsc::Sender<Order> {
        let count = self.shards.len() as u64;
        &self.shards[usize::try_from(outbox.number().0 % count).unwrap_or(0)]
    }
}

/// A connection's seat in the hub; dropped, it leaves all its topics.
pub struct Member {
    hub: Arc<Hub>,
    outbox: Arc<Outbox>,
}

impl Member {
    /// Listens to topics, at most `limit` in all. The answers enter the outbox in the step that adds the
    /// subscription, so no publication comes before them and none is missed after.
    pub async fn subscribe(&self, topics: Vec<Wanted>, limit: usize, answer: Answer) {
        self.order(Order::Subscribe { outbox: self.outbox.clone(), topics, limit, answer }).await;
    }

    /// Listens to these topics no longer.
    pub async fn unsubscribe(&self, topics: Vec<Topic>, id: Option<crate::command::MessageId>) {
        self.order(Order::Unsubscribe { outbox: self.outbox.clone(), topics, id }).await;
    }

    /// The connection's outbox.
    #[must_use]
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    async fn order(&self, order: Order) {
        // A shard ends only with the process; then there is nobody left to answer.
        let _ = self.hub.shard(&self.outbox).send(order).await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // First gone, then the note: a subscription still waiting in the queue finds nobody to sit down.
        self.outbox.gone();
        let shard = self.hub.shard(&self.outbox);
        if let Err(mpsc::error::TrySendError::Full(order)) = shard.try_send(Order::Leave(self.outbox.number())) {
            let shard = shard.clone();
            // Ends as soon as the shard takes one order, or ends itself.
            self.hub.tasks.spawn(async move { shard.send(order).await });
        }
    }
}
