//! All outboxes together: their bound, and who goes when it is passed.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::heard::Places;
use super::sync::{AtomicUsize, Guard, Ordering};
use super::{Outbox, Phase, State};
use crate::close::{Close, retry_hint};
use crate::identity::ConnectionNumber;

/// How long a client closed for everybody's sake should stay away at least, in ms.
const OVERLOAD_RETRY: u32 = 2000;

/// The bytes waiting in all outboxes, and which of them have any.
pub struct Total {
    limit: usize,
    used: AtomicUsize,
    /// Where it is kept when each peer was last heard.
    pub(super) places: Places,
    /// The outboxes in which bytes wait. `enlist` and `discharge` come with their own outbox's lock held, so
    /// no outbox is locked under this one: `fullest` lists first and looks afterwards.
    pub(super) waiting: Mutex<HashMap<ConnectionNumber, Weak<Outbox>>>,
}

impl Total {
    /// All outboxes of a replica, bounded to `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0), places: Places::default(), waiting: Mutex::default() })
    }

    /// The bytes that wait now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The most bytes that may wait.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Closes every client for whom bytes have waited this long without the socket taking any.
    pub fn close_stalled(&self, stall: Duration) {
        for outbox in self.listed() {
            if outbox.stalled() >= stall {
                outbox.close(Close::Slow(retry_hint(1000)));
            }
        }
    }

    pub(super) fn charge(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn refund(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn enlist(&self, outbox: &Arc<Outbox>) {
        self.waiting.lock().insert(outbox.number(), Arc::downgrade(outbox));
    }

    pub(super) fn discharge(&self, number: ConnectionNumber) {
        self.waiting.lock().remove(&number);
    }

    /// Where the bound is passed: the fullest make room until an eighth is free again, so that the search
    /// is not made anew for every message. Who is being closed already comes in his turn: whoever held
    /// more would else be paid for by those who hold less. Called without any outbox's lock held.
    pub(super) fn relieve_if_over(&self) {
        if self.used() <= self.limit {
            return;
        }
        for outbox in self.fullest() {
            if self.used() <= self.limit - self.limit / 8 {
                break;
            }
            outbox.make_room();
        }
    }

    fn fullest(&self) -> Vec<Arc<Outbox>> {
        let mut sized: Vec<_> = self.listed().into_iter().map(|outbox| (outbox.waiting(), outbox)).collect();
        sized.sort_by_key(|(waiting, _)| std::cmp::Reverse(*waiting));
        sized.into_iter().map(|(_, outbox)| outbox).collect()
    }

    fn listed(&self) -> Vec<Arc<Outbox>> {
        self.waiting.lock().values().filter_map(Weak::upgrade).collect()
    }
}

impl Outbox {
    /// How long bytes have waited without the socket taking any.
    fn stalled(&self) -> Duration {
        self.state.lock().backlog.as_ref().map_or(Duration::ZERO, |backlog| backlog.stalled())
    }

    /// Drops all that waits here and ends the connection: with a farewell where it can still be read, which
    /// is where no frame is half out. Of who is being closed already, the farewell goes too.
    fn make_room(self: &Arc<Self>) {
        let mut state = self.state.lock();
        let Some(backlog) = &state.backlog else { return };
        let close = match &state.phase {
            Phase::Open => Close::Overloaded(retry_hint(OVERLOAD_RETRY)),
            Phase::Closing(close) => (**close).clone(),
            Phase::Cut(_) | Phase::Gone => return,
        };
        if backlog.is_begun() || matches!(state.phase, Phase::Closing(_)) {
            return self.cut(state, close);
        }
        state.backlog = None;
        self.finish(state, close);
    }

    fn cut(self: &Arc<Self>, mut state: Guard<'_, State>, close: Close) {
        state.backlog = None;
        state.phase = Phase::Cut(Box::new(close));
        self.settle(state);
    }
}
