//! How long to wait before the next attempt.

use std::time::Duration;

/// The first ceiling.
const LEAST: Duration = Duration::from_millis(50);

/// The last ceiling: an outage that ends is noticed within half a second, and a thousand replicas in it
/// still ask Redis no more than about 4,000 times a second.
const MOST: Duration = Duration::from_millis(500);

/// Waits that double from 50 to 500 ms, each drawn from 0 to its ceiling ("full jitter", so that replicas
/// that lost Redis together do not come back together). Never gives up.
#[derive(Debug, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        let ceiling = LEAST.saturating_mul(1 << self.attempts.min(8)).min(MOST);
        self.attempts = self.attempts.saturating_add(1);
        ceiling.mul_f64(fastrand::f64())
    }

    /// It worked: the next wait is short again.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_half_a_second_and_never_end() {
        let mut backoff = Backoff::default();
        for ceiling in [50, 100, 200, 400, 500, 500] {
            let mut tries = (0..200).map(|_| Backoff { attempts: backoff.attempts }.next_wait());
            assert!(tries.all(|wait| wait <= Duration::from_millis(ceiling)));
            backoff.next_wait();
        }
        let longest = (0..1_000).map(|_| backoff.next_wait()).max();
        assert!(longest > Some(Duration::from_millis(400)) && longest <= Some(MOST), "{longest:?}");
        backoff.reset();
        assert!(backoff.next_wait() <= LEAST);
    }
}
