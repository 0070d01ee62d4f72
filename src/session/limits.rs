//! How much a client may send, a leaky bucket of one word, and to how many topics.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use crate::topic::Topic;

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

/// The topics to which a client published in this minute, by their hashes: each new one may leave something in Redis.
#[derive(Debug, Default)]
pub(super) struct Recent {
    began: u64,
    topics: HashSet<u64>,
    hasher: RandomState,
}

impl Recent {
    /// Whether it may publish to this topic at `now`, in ms, where it may to so many in a minute.
    pub fn admit(&mut self, topic: &Topic, now: u64, most: usize) -> bool {
        if now >= self.began + MINUTE {
            self.began = now;
            self.topics = HashSet::new();
        }
        let hash = self.hasher.hash_one(topic.as_str());
        self.topics.contains(&hash) || self.topics.len() < most && self.topics.insert(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_topics_pass_in_a_minute_as_often_as_one_likes() {
        let mut recent = Recent::default();
        let mut admit = |n: usize, now| recent.admit(&Topic::parse(&format!("t{n}")).unwrap(), now, 3);
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
