//! Sending some clients to the other replicas, while the house stays open: after a scale-out connections stay where
//! they are, for a load balancer only places those that come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use super::parting::Parting;
use crate::close::Close;
use crate::connection::Roster;
use crate::metrics::Metrics;

/// Sheds connections, one order at a time.
pub struct Shedder {
    roster: Arc<Roster>,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    /// The house empties: then everybody leaves anyhow.
    closing: CancellationToken,
    /// The order that is being carried out; locked for one look at it.
    order: Mutex<Option<Order>>,
}

#[derive(Clone, Default)]
struct Order {
    /// Ends it.
    end: CancellationToken,
    /// It has ended …
    ended: CancellationToken,
    /// … with so many who had yet to go.
    left: Arc<AtomicUsize>,
}

/// An order that was taken.
#[derive(Debug, PartialEq, Eq)]
pub struct Shed {
    /// How many will be closed …
    pub connections: usize,
    /// … of how many that are open.
    pub of: usize,
}

/// Why an order is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// One order at a time: two would be more than either of them meant.
    #[error("a shed is under way, {0} connections have yet to go: wait for it, or end it with DELETE /api/shed")]
    UnderWay(usize),
    /// It shuts down.
    #[error("this replica is draining: all its connections go")]
    Draining,
}

impl Shedder {
    /// Nothing is shed yet; once `closing` is cancelled, nothing more is.
    #[must_use]
    pub fn new(
        roster: Arc<Roster>,
        metrics: Arc<Metrics>,
        tasks: TaskTracker,
        closing: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self { roster, metrics, tasks, closing, order: Mutex::default() })
    }

    /// Closes this fraction (above 0, at most 1, rounded up) of the connections that are open now, drawn at random,
    /// evenly over `time`, in a task of its own.
    ///
    /// # Errors
    /// Another order is being carried out, or everybody leaves anyhow.
    pub fn shed(self: &Arc<Self>, fraction: f64, time: Duration) -> Result<Shed, Refused> {
        let mut order = self.order.lock();
        if self.closing.is_cancelled() {
            return Err(Refused::Draining);
        }
        if order.is_some() {
            return Err(Refused::UnderWay(usize::try_from(self.metrics.shed_remaining.get()).unwrap_or(0)));
        }
        let everybody = self.roster.everybody();
        let of = everybody.len();
        let parting = Parting::of(everybody, share(fraction, of));
        let connections = parting.len();
        info!(connections, of, over = ?time, "shedding");
        self.show(connections);
        let new = Order { end: self.closing.child_token(), ..Order::default() };
        *order = Some(new.clone());
        // A task that is never begun, at the end of the process, gives its place back at once.
        drop(order);
        let under_way = UnderWay(self.clone(), new);
        self.tasks.spawn(async move {
            let UnderWay(shedder, order) = &under_way;
            let whole = order.end.run_until_cancelled(parting.over(time, Close::Shed, |left| shedder.show(left))).await;
            let left = shedder.metrics.shed_remaining.get();
            info!(left, "{}", if whole.is_some() { "shed" } else { "the shed was ended" });
        });
        Ok(Shed { connections, of })
    }

    /// Ends the order that is being carried out, if one is; answers how many had yet to go.
    pub async fn end(&self) -> usize {
        let Some(order) = self.order.lock().clone() else { return 0 };
        order.end.cancel();
        order.ended.cancelled().await;
        order.left.load(Ordering::Relaxed)
    }

    fn show(&self, left: usize) {
        self.metrics.shed_remaining.set(i64::try_from(left).unwrap_or(i64::MAX));
    }
}

/// Makes room for the next order, however this one ends.
struct UnderWay(Arc<Shedder>, Order);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut order = self.0.order.lock();
        let left = usize::try_from(self.0.metrics.shed_remaining.get()).unwrap_or(0);
        self.1.left.store(left, Ordering::Relaxed);
        self.0.show(0);
        *order = None;
        self.1.ended.cancel();
    }
}

fn share(fraction: f64, of: usize) -> usize {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of connections has far fewer than 52 bits, and the fraction is above 0"
    )]
    let many = (of as f64 * fraction).ceil() as usize;
    many.min(of)
}
