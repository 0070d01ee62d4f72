//! The task that drives a shard: inbox, orders, a turn, a breath.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::order::Order;
use super::pass::Turn;
use super::shard::Shard;

/// Over how many topics orders go between two turns, so that a storm of subscriptions starves nobody: no more
/// than this and one order, which a session bounds to `limits.topics`.
const TOPICS: usize = 64;

/// How often an idle shard shows that it lives.
const TICK: Duration = Duration::from_secs(1);

pub(super) async fn run(
    mut shard: Shard,
    mut orders: mpsc::Receiver<Order>,
    pulses: Arc<[AtomicU64]>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        shard.take_inbox();
        let mut obeyed = 0;
        while obeyed < TOPICS
            && let Ok(order) = orders.try_recv()
        {
            obeyed += shard.obey(order).max(1);
        }
        shard.answer_overdue(Instant::now());
        pulses[shard.index].store(crate::clock::now_ms(), Ordering::Relaxed);
        shard.work(Turn::new());
        if shard.is_busy() || obeyed >= TOPICS {
            tokio::task::yield_now().await;
        } else {
            rest(&mut shard, &mut orders, &stop).await;
        }
    }
}

/// Waits for something to do, or for the next tick.
async fn rest(shard: &mut Shard, orders: &mut mpsc::Receiver<Order>, stop: &CancellationToken) {
    let due = shard.next_due().map(|due| due.saturating_duration_since(Instant::now()));
    let nap = due.map_or(TICK, |due| due.min(TICK));
    tokio::select! {
        () = shard.inbox.filled() => {}
        Some(order) = orders.recv() => drop(shard.obey(order)),
        () = tokio::time::sleep(nap) => {}
        () = stop.cancelled() => {}
    }
}
