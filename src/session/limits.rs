//! How much a client may send, a leaky bucket of one word, and to how many topics.

use std::collections::HashSet;

/// How long a topic counts to which a client has published, in ms.
const MINUTE: u64 = 60_000;

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

/// The topics with history to which a client published in this minute, by the hashes of [`super::Names`].
#[derive(Debug, Default)]
pub(super) struct Recent {
    began: u64,
    names: HashSet<u64>,
}

impl Recent {
    /// Whether it published to this topic in the minute of `now`, in ms.
    pub fn knows(&mut self, name: u64, now: u64) -> bool {
        if now >= self.began + MINUTE {
            *self = Self { began: now, names: HashSet::new() };
        }
        self.names.contains(&name)
    }

    /// Whether it may publish to another one, where it may to so many in a minute.
    pub fn has_room(&self, most: usize) -> bool {
        self.names.len() < most
    }

    /// It publishes to this one.
    pub fn note(&mut self, name: u64) {
        self.names.insert(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_topics_pass_in_a_minute_as_often_as_one_likes() {
        let mut recent = Recent::default();
        let mut admit = |name, now| {
            let admitted = recent.knows(name, now) || recent.has_room(3);
            if admitted {
                recent.note(name);
            }
            admitted
        };
        assert!((0..3).all(|n| admit(n, MINUTE)) && (0..3).all(|n| admit(n, 2 * MINUTE - 1)));
        assert!((3..100).all(|n| !admit(n, 2 * MINUTE - 1)), "others wait");
        assert!((3..6).all(|n| admit(n, 2 * MINUTE)) && !admit(0, 2 * MINUTE), "another minute, another three");
    }

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
