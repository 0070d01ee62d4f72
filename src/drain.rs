//! How the house empties: not ready, then no more guests, then everybody is seen out at a pace.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use crate::close::Close;
use crate::connection::Roster;
use crate::metrics::Metrics;
use crate::settings;

/// What of the window is left for the last farewells to be written.
const LAST_WORDS: f64 = 0.1;

/// How far a retry hint may spread at most, in ms.
const MAX_SPREAD: u32 = 30_000;

/// How often the drain looks how many are left.
const LOOK: Duration = Duration::from_millis(200);

/// Closes every connection over the window, in random order, each with a hint when to come back.
/// Resolves when all are closed, or the window is over.
pub async fn see_out(roster: &Roster, config: &settings::Drain, metrics: &Arc<Metrics>) {
    // Handshakes that were under way when the door closed end after this look around.
    roster.begin_emptying();
    let mut leaving = roster.everybody();
    fastrand::shuffle(&mut leaving);
    let (total, start) = (leaving.len(), Instant::now());
    info!(connections = total, window = ?config.window, "draining");
    metrics.drain_remaining.set(i64::try_from(total).unwrap_or(i64::MAX));
    let pace = config.window.mul_f64(1.0 - LAST_WORDS);
    for (place, outbox) in leaving.into_iter().enumerate() {
        tokio::time::sleep_until(start + moment(place, total, pace)).await;
        outbox.close_after_writing(Close::Drain(hint(total)));
        metrics.drain_remaining.set(i64::try_from(roster.len()).unwrap_or(i64::MAX));
    }
    wait_until_empty(roster, start + config.window, metrics).await;
}

/// When the connection at `place` of `total` goes: evenly over the window, each jittered within its share.
fn moment(place: usize, total: usize, window: Duration) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "a share of a window needs no more than 52 bits")]
    let share = (place as f64 + fastrand::f64()) / total as f64;
    // A handful of connections need not wait: at least 100 a second go.
    #[expect(clippy::cast_precision_loss, reason = "as above")]
    let at_most = Duration::from_secs_f64(total as f64 / 100.0);
    window.min(at_most).mul_f64(share)
}

/// Clients are told to come back between half a second and a while that grows with their number.
fn hint(total: usize) -> u32 {
    let spread = u32::try_from(total).unwrap_or(u32::MAX).clamp(500, MAX_SPREAD);
    500 + fastrand::u32(0..spread)
}

/// Waits for the last farewells. Who finishes a handshake only now is seen out by the roster.
async fn wait_until_empty(roster: &Roster, until: Instant, metrics: &Metrics) {
    let mut look = tokio::time::interval(LOOK);
    let mut left = roster.len();
    while left > 0 && Instant::now() < until {
        look.tick().await;
        left = roster.len();
        metrics.drain_remaining.set(i64::try_from(left).unwrap_or(i64::MAX));
    }
    if left > 0 {
        info!(connections = left, "the drain window is over, the rest is cut");
    }
}

#[cfg(test)]
mod tests;
