//! Many connections leave: at random, evenly over a time, each with a hint when to come back.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::close::Close;
use crate::outbox::Outbox;

/// How far a retry hint may spread at most, in ms.
const MAX_SPREAD: u32 = 30_000;

/// Those who leave, in the order in which they go. Who hangs up before is not held: its socket would stay open.
pub(super) struct Parting(Vec<Weak<Outbox>>);

impl Parting {
    /// So many of these, drawn at random.
    pub fn of(mut everybody: Vec<Arc<Outbox>>, many: usize) -> Self {
        fastrand::shuffle(&mut everybody);
        Self(everybody.iter().take(many).map(Arc::downgrade).collect())
    }

    /// How many leave.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Closes one after the other over `time`; what waits for each is written first. `left` is told how many have
    /// yet to go, each time one does.
    pub async fn over(self, time: Duration, close: fn(u32) -> Close, left: impl Fn(usize)) {
        let (total, start) = (self.len(), Instant::now());
        for (place, outbox) in self.0.into_iter().enumerate() {
            tokio::time::sleep_until(start + moment(place, total, time)).await;
            if let Some(outbox) = outbox.upgrade() {
                outbox.close_after_writing(close(hint(total)));
            }
            left(total - place - 1);
        }
    }
}

/// When the connection at `place` of `total` goes: evenly over the time, each jittered within its share.
fn moment(place: usize, total: usize, time: Duration) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "a share of a window needs no more than 52 bits")]
    let share = (place as f64 + fastrand::f64()) / total as f64;
    time.mul_f64(share)
}

/// Clients are told to come back between half a second and a while that grows with their number.
fn hint(total: usize) -> u32 {
    let spread = u32::try_from(total).unwrap_or(u32::MAX).clamp(500, MAX_SPREAD);
    500 + fastrand::u32(0..spread)
}
