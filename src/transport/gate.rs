//! How many handshakes are under way, and how many came in this second.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::settings::OffOr;

/// Bounds the handshakes under way, and those of one second.
pub struct Gate {
    in_flight: Arc<AtomicUsize>,
    most: usize,
    per_second: Option<u32>,
    recent: parking_lot::Mutex<(u64, u32)>,
}

/// A handshake under way; dropped, it is over.
pub struct Knock(Arc<AtomicUsize>);

impl Gate {
    /// At most so many at once, and so many a second.
    #[must_use]
    pub fn new(most: usize, per_second: OffOr<u32>) -> Self {
        Self { in_flight: Arc::default(), most, per_second: per_second.value(), recent: Default::default() }
    }

    /// Lets one more begin, or names the setting that does not.
    pub(super) fn knock(&self) -> Result<Knock, &'static str> {
        // The knock exists already, so that a refusal gives its room back by dropping it.
        let knock = Knock(self.in_flight.clone());
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= self.most {
            return Err("handshake.in_flight");
        }
        if self.in_time() { Ok(knock) } else { Err("handshake.per_second") }
    }

    fn in_time(&self) -> bool {
        let Some(most) = self.per_second else { return true };
        let second = crate::clock::now_ms() / 1000;
        let mut recent = self.recent.lock();
        if recent.0 != second {
            *recent = (second, 0);
        }
        recent.1 += 1;
        recent.1 <= most
    }
}

impl Drop for Knock {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_in_flight_are_bounded_and_a_refused_one_takes_no_room() {
        let gate = Gate::new(2, OffOr::Off);
        let [one, two] = [gate.knock(), gate.knock()];
        assert!(one.is_ok() && two.is_ok());
        assert!((0..10).all(|_| gate.knock().err() == Some("handshake.in_flight")));
        drop(one);
        assert!(gate.knock().is_ok(), "over at once");
        drop(two);
        assert_eq!(gate.in_flight.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn handshakes_of_one_second_are_bounded_though_each_is_over_at_once() {
        let gate = Gate::new(100, OffOr::Value(3));
        // In two seconds at the most, however the tests begin.
        let passed = (0..100).filter(|_| gate.knock().is_ok()).count();
        assert!((3..=6).contains(&passed), "{passed}");
        gate.recent.lock().0 = u64::MAX;
        assert!(gate.knock().is_ok(), "another second, another three");
    }
}
