//! How long and how often is measured.

use serde::Serialize;
use std::time::Duration;

/// More pairs than these say no more, where the machine is not still.
const MOST_PAIRS: usize = 39;

/// How long and how often.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Plan {
    pub pairs: usize,
    /// Where measuring longer ends.
    pub most_pairs: usize,
    pub window: Duration,
    /// Unmeasured, before each window: caches come from the other server's window.
    pub warm_up: Duration,
    pub payload_bytes: usize,
}

impl Plan {
    /// As many pairs, and up to three times as many where two that are the same do not meet.
    pub fn of(pairs: u32, window: Duration, payload_bytes: usize) -> Self {
        let pairs = pairs as usize;
        let most_pairs = (3 * pairs).min(MOST_PAIRS).max(pairs);
        Self { pairs, most_pairs, window, warm_up: window / 8, payload_bytes }
    }

    /// As many pairs and no more, whatever they show.
    pub fn exactly(self, pairs: usize) -> Self {
        Self { pairs, most_pairs: pairs, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_goes_on_up_to_three_times_as_many_pairs_and_no_more_than_39() {
        let most = |pairs| Plan::of(pairs, Duration::from_secs(1), 128).most_pairs;
        assert_eq!([1, 9, 13, 19, 50].map(most), [3, 27, 39, 39, 50]);
        let plan = Plan::of(19, Duration::from_secs(1), 128);
        assert_eq!((plan.warm_up, plan.exactly(5).most_pairs), (Duration::from_millis(125), 5));
    }
}
