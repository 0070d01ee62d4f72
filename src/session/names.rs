//! The topics with history that clients opened here, of all connections together: each new name may leave something in
//! Redis, and who comes back on a new connection, or from ever new ones, gets no more of them.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};

use parking_lot::Mutex;
use tracing::warn;

use super::limits::Bucket;
use crate::repeat::Repeats;
use crate::topic::Topic;

/// Which part of the topics that a replica holds may be new ones that its clients open at once. A name takes about 4.6 KB
/// of Redis where a topic takes 1 KiB here.
const PART: usize = 8;

/// How long it takes until as many may be opened again, in seconds.
const REFILL: usize = 1000;

/// One minute, in µs.
const MINUTE: u64 = 60_000_000;

/// Which names clients publish to, and how many new ones they still may.
///
/// A name that has a history costs nothing, whoever gave it one: what it takes of Redis is taken already. Redis alone knows
/// those of other replicas, of backends, and of this one before it was restarted. So that it is not asked again and again,
/// the last names are remembered here, as many as a replica holds topics; where one of them is forgotten there meanwhile, it
/// comes back at no cost, but no more of them than that.
pub struct Names {
    hasher: RandomState,
    /// How many may be opened at once.
    most: usize,
    /// How many are remembered, twice: see [`Opened::latest`].
    half: usize,
    opened: Mutex<Opened>,
    full: Repeats,
}

#[derive(Default)]
struct Opened {
    bucket: Bucket,
    /// The last names, and as many before them.
    latest: HashSet<u64>,
    former: HashSet<u64>,
    /// How many an address opened in this minute. Only who opened one is here, so the bucket bounds them.
    minute: u64,
    by: HashMap<IpAddr, usize>,
}

impl Names {
    /// For a replica that holds so many topics, each client of it so many; one client's always fit.
    #[must_use]
    pub fn new(topics: usize, per_client: usize) -> Self {
        let most = (topics / PART).max(per_client).max(1);
        let half = (topics / 2).max(most);
        Self { hasher: RandomState::new(), most, half, opened: Mutex::default(), full: Repeats::new() }
    }

    /// What a topic is known by.
    pub(super) fn hash(&self, topic: &Topic) -> u64 {
        self.hasher.hash_one(topic.as_str())
    }

    /// Whether a name is known to have a history.
    pub(super) fn knows(&self, name: u64) -> bool {
        self.opened.lock().knows(name)
    }

    /// This name has a history.
    pub(super) fn note(&self, name: u64) {
        self.opened.lock().remember(name, self.half);
    }

    /// Whether a client of this address may publish to this name at `now_us`, where it has no history yet. One that opened
    /// more than `share` in this minute leaves the last half of the room to the others.
    pub(super) fn admit(&self, name: u64, client: IpAddr, share: usize, now_us: u64) -> bool {
        let mut opened = self.opened.lock();
        let admitted = opened.knows(name) || opened.open(neighbourhood(client), share, self.most, now_us);
        if admitted {
            opened.remember(name, self.half);
        }
        drop(opened);
        if !admitted && let Some(repeated) = self.full.due(()) {
            warn!(
                %client, most = self.most, repeated,
                "clients publish to too many new topics with history: further ones are refused, those in use go on; bound \
                 them by topic rules, or raise limits.replica_topics and give Redis the memory"
            );
        }
        admitted
    }
}

impl Opened {
    fn knows(&self, name: u64) -> bool {
        self.latest.contains(&name) || self.former.contains(&name)
    }

    fn open(&mut self, client: IpAddr, share: usize, most: usize, now_us: u64) -> bool {
        let minute = now_us / MINUTE;
        if self.minute < minute {
            (self.minute, self.by) = (minute, HashMap::new());
        }
        let has = self.by.get(&client).copied().unwrap_or(0);
        let burst = if has < share { most } else { most.div_ceil(2) };
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let admitted = self.bucket.admit(now_us, number(most / REFILL), number(burst));
        if admitted {
            self.by.insert(client, has + 1);
        }
        admitted
    }

    fn remember(&mut self, name: u64, half: usize) {
        self.latest.insert(name);
        if self.latest.len() >= half {
            self.former = std::mem::take(&mut self.latest);
        }
    }
}

/// Whose addresses one client has: of IPv6 everybody has a /64 at least.
fn neighbourhood(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A replica of 80 topics: ten new names at once.
    fn names() -> Names {
        Names::new(80, 1)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn new_names_pass_at_a_rate_and_those_in_use_always() {
        let (names, client) = (names(), address("192.0.2.1"));
        let admit = |name, seconds: u64| names.admit(name, client, usize::MAX, seconds * 1_000_000);
        assert_eq!((0..100).filter(|name| admit(*name, 0)).count(), 10);
        assert!((0..10).all(|name| admit(name, 0)), "they are open");
        assert!(admit(10, 1) && !admit(11, 1), "one more a second");
        let passed = (1000..1_000_000).filter(|name| admit(*name, 1 + name / 1000)).count();
        assert!((999..=1010).contains(&passed), "{passed} in a thousand seconds");
        let opened = names.opened.lock();
        assert!(opened.latest.len() < 40 && opened.former.len() <= 40, "the last ones are remembered");
    }

    #[test]
    fn as_many_names_in_use_are_known_as_a_replica_has_topics() {
        let names = names();
        let known = |name: &u64| names.knows(*name);
        (0..40).for_each(|name| names.note(name));
        for _ in 0..3 {
            assert!((0..40).all(|name| known(&name)));
            (0..40).for_each(|name| names.note(name));
        }
        (40..80).for_each(|name| names.note(name));
        assert_eq!((0..80).filter(known).count(), 40);
        (1_000..10_000).for_each(|name| names.note(name));
        assert!((40..=80).contains(&(0..10_000).filter(known).count()));
        assert!(names.admit(1, address("192.0.2.1"), 2, 0), "they took nothing of the room for new ones");
    }

    #[test]
    fn who_opens_many_leaves_half_of_the_room_to_the_others() {
        let names = names();
        let opened = |client, from: u64, most: u64| {
            (from..from + most).filter(|name| names.admit(*name, address(client), 2, 0)).count()
        };
        assert_eq!(opened("192.0.2.1", 0, 100), 5);
        assert_eq!(opened("192.0.2.2", 100, 2), 2, "its own share");
        assert_eq!(opened("2001:db8::1", 200, 9), 2);
        assert_eq!(opened("2001:db8::2", 300, 9), 0, "an address of the same neighbourhood");
        assert_eq!(opened("2001:db8:0:1::1", 400, 9), 1, "and then there is none for anybody");
        assert_eq!(names.opened.lock().by.len(), 4, "who opens none is not remembered");
    }
}
