//! How the house empties: not ready, then no more guests, then everybody is seen out at a pace. And how some are sent
//! to the other replicas while it stays open.

mod parting;
mod shed;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use crate::close::Close;
use crate::connection::Roster;
use crate::metrics::Metrics;
use crate::settings;
use parting::Parting;

pub use shed::{Refused, Shed, Shedder};

/// What of the window is left for the last farewells to be written.
const LAST_WORDS: f64 = 0.1;

/// A handful of connections need not wait for the window: at least 100 a second go.
const QUICKEST: Duration = Duration::from_millis(10);

/// How often the drain looks how many are left.
const LOOK: Duration = Duration::from_millis(200);

/// Closes every connection over the window, in random order, each with a hint when to come back.
/// Resolves when all are closed, or the window is over.
pub async fn see_out(roster: &Roster, config: &settings::Drain, metrics: &Arc<Metrics>) {
    // Handshakes that were under way when the door closed end after this look around.
    roster.begin_emptying();
    let parting = Parting::of(roster.everybody(), usize::MAX);
    let (total, start) = (parting.len(), Instant::now());
    info!(connections = total, window = ?config.window, "draining");
    let remaining = |left| metrics.drain_remaining.set(i64::try_from(left).unwrap_or(i64::MAX));
    remaining(total);
    let pace = config.window.mul_f64(1.0 - LAST_WORDS).min(QUICKEST.mul_f64(total as f64));
    parting.over(pace, Close::Drain, |_| remaining(roster.len())).await;
    wait_until_empty(roster, start + config.window, metrics).await;
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
