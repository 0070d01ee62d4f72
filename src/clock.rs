//! The two clocks: one for durations, one to tell other machines.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the process first asked; never goes back.
#[must_use]
pub fn now_ms() -> u64 {
    now_us() / 1000
}

/// Microseconds since the process first asked; never goes back.
#[must_use]
pub fn now_us() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970, by this machine's wall clock.
#[must_use]
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The wall clock's time, in ms since 1970, at a moment that has passed.
#[must_use]
pub fn unix_ms_at(moment: Instant) -> u64 {
    unix_ms().saturating_sub(u64::try_from(moment.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// A time in ms since 1970 with its fraction cut off, which many languages' clocks have; none where it is no such time.
#[must_use]
pub fn whole_ms(ms: f64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked, and meant to be cut")]
    (0.0..9e15).contains(&ms).then_some(ms as u64)
}

/// A number greater than any given before.
#[must_use]
pub fn next_version() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static VERSION: AtomicU64 = AtomicU64::new(1);
    VERSION.fetch_add(1, Ordering::Relaxed)
}
