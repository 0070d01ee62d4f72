//! How much a client may send: a leaky bucket of one word.

/// Counts messages against a steady rate and a burst (the generic cell rate algorithm, ITU-T I.371).
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// When the bucket will be empty, in µs of the clock it is asked with.
    empty_at: u64,
}

impl Bucket {
    /// Whether one more message may come at `now_us`.
    pub fn admit(&mut self, now_us: u64, per_second: u32, burst: u32) -> bool {
        let cost = 1_000_000 / u64::from(per_second.max(1));
        let full_at = now_us + cost * u64::from(burst.max(1));
        let next = self.empty_at.max(now_us) + cost;
        if next > full_at {
            return false;
        }
        self.empty_at = next;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_steady_rate() {
        let mut bucket = Bucket::default();
        assert!((0..300).all(|_| bucket.admit(0, 50, 300)));
        assert!(!bucket.admit(0, 50, 300));
        assert!(!bucket.admit(19_999, 50, 300));
        assert!(bucket.admit(20_000, 50, 300));
        assert!(!bucket.admit(20_000, 50, 300));
        let passed = (0..100_000).filter(|us| bucket.admit(1_000_000 + us * 100, 50, 300)).count();
        assert!((530..=800).contains(&passed), "{passed} in ten seconds");
    }
}
