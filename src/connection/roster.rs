//! All open connections of the replica: for the heartbeat, which visits those that are due, and for the
//! drain, which visits everybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use slab::Slab;

use super::heartbeat::{Act, Beat, Pace};
use super::turn::neighbourhood;
use crate::close::{Close, retry_hint};
use crate::outbox::Outbox;

/// How many locks the connections are spread over.
const STRIPES: usize = 16;

/// How many are pinged before others have their turn.
const AT_ONCE: usize = 64;

/// How long a client that came in while the house empties should stay away at least, in ms.
const LATE_RETRY: u32 = 500;

/// All open connections.
#[derive(Default)]
pub struct Roster {
    /// Set before the drain looks who is here, and read after a place was taken: nobody is missed by both.
    emptying: AtomicBool,
    /// Each lock guards its share of the list, for the time of one look at it.
    stripes: [Mutex<Slab<Beat>>; STRIPES],
}

/// A place on the roster; dropped, it is free again.
pub struct Enrolled {
    roster: Arc<Roster>,
    stripe: u8,
    place: usize,
}

impl Roster {
    /// Enrols an open connection, whose signs of life come at this pace, and which stays no longer than `max_age`.
    /// While the house empties it is seen out at once.
    #[must_use]
    pub fn enrol(
        self: &Arc<Self>,
        outbox: &Arc<Outbox>,
        pace: Option<Arc<Pace>>,
        max_age: Option<Duration>,
    ) -> Enrolled {
        let stripe = u8::try_from(neighbourhood(outbox.number()) % STRIPES as u64).unwrap_or(0);
        let place = self.stripes[usize::from(stripe)].lock().insert(Beat::new(outbox.clone(), pace, max_age));
        if self.emptying.load(Ordering::SeqCst) {
            outbox.close_after_writing(Close::Drain(retry_hint(LATE_RETRY)));
        }
        Enrolled { roster: self.clone(), stripe, place }
    }

    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.lock().len()).sum()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// From now on whoever enrols is seen out at once.
    pub fn begin_emptying(&self) {
        self.emptying.store(true, Ordering::SeqCst);
    }

    /// Everybody who is here now.
    #[must_use]
    pub fn everybody(&self) -> Vec<Arc<Outbox>> {
        self.stripes
            .iter()
            .flat_map(|stripe| stripe.lock().iter().map(|(_, beat)| beat.outbox()).collect::<Vec<_>>())
            .collect()
    }

    /// Visits each connection that is due by the clock `now`, in ms. What is written happens outside the lock, and
    /// other tasks have their turn in between: the pings of a large replica take their time.
    pub(super) async fn beat(&self, now: impl Fn() -> u64) {
        for stripe in &self.stripes {
            let at = now();
            let due: Vec<_> = stripe.lock().iter_mut().filter_map(|(_, beat)| beat.due(at)).collect();
            for some in due.chunks(AT_ONCE) {
                some.iter().for_each(Act::carry_out);
                tokio::task::yield_now().await;
            }
        }
    }

    /// How often to look, so that the quickest of these paces is met within a tenth.
    #[must_use]
    pub fn interval(paces: impl Iterator<Item = Duration>) -> Duration {
        let quickest = paces.min().unwrap_or(Duration::from_secs(10));
        (quickest / 10).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        self.roster.stripes[usize::from(self.stripe)].lock().remove(self.place);
    }
}
