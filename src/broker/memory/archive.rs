//! The history of a replica that is alone: what Redis would keep in streams, kept here.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::time::Instant;

use bytes::Bytes;

use super::shelf::Shelf;
use crate::broker::history::{Page, Read};
use crate::position::Position;
use crate::publication::{Header, ONCE};
use crate::settings::TopicRule;
use crate::topic::Topic;

/// How many topics are looked at for what has expired, with each publication: more than one, so that it ends.
const SWEEP: usize = 2;

/// How many topics are looked at for one that may go, with each publication, where there are too many.
const LOOKS: usize = 64;

/// The most that is kept.
pub(super) struct Bounds {
    /// Topics; those that somebody here listens to may be more, for they are bounded as such.
    pub topics: usize,
    /// Bytes of all their publications.
    pub bytes: usize,
}

/// What a replica keeps that is alone.
pub(super) const BOUNDS: Bounds = Bounds { topics: 100_000, bytes: 256 * 1024 * 1024 };

/// What is kept of all topics.
pub(super) struct Archive {
    bounds: Bounds,
    topics: HashMap<Topic, Shelf>,
    /// Every topic once, from the one that was used the longest ago.
    used: BTreeMap<u64, Topic>,
    /// Counts the uses.
    uses: u64,
    /// Up to which of them it was looked for what has expired, and at which this round ends.
    swept: u64,
    round: u64,
    /// Of all publications.
    bytes: usize,
    /// Names of publications, and where they stand.
    names: HashMap<(Topic, Box<str>), Option<Position>>,
    /// The same by when they are forgotten.
    forgotten: VecDeque<(Instant, Topic, Box<str>)>,
}

impl Archive {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            topics: HashMap::new(),
            used: BTreeMap::new(),
            uses: 0,
            swept: 0,
            round: 0,
            bytes: 0,
            names: HashMap::new(),
            forgotten: VecDeque::new(),
        }
    }

    /// Where a publication of this name stands, if one was published not long ago.
    pub fn named(&mut self, topic: &Topic, name: &str, now: Instant) -> Option<Option<Position>> {
        while let Some((_, topic, name)) = self.forgotten.pop_front_if(|(until, ..)| *until <= now) {
            self.names.remove(&(topic, name));
        }
        self.names.get(&(topic.clone(), name.into())).copied()
    }

    /// Remembers a name.
    pub fn name(&mut self, topic: &Topic, name: &str, position: Option<Position>, now: Instant) {
        self.names.insert((topic.clone(), name.into()), position);
        self.forgotten.push_back((now + ONCE, topic.clone(), name.into()));
    }

    /// Keeps a publication as its topic's rule says, and writes its place into its header.
    pub fn keep(&mut self, topic: &Topic, rule: &TopicRule, header: &mut Header, payload: &Bytes, now: Instant) {
        self.sweep(now);
        self.topics.entry(topic.clone()).or_default();
        self.touch(topic);
        self.with(topic, |shelf| shelf.keep(rule, header, payload, now));
    }

    /// Where too much is kept that history goes which was of no use for the longest. Of a topic that is heard it is
    /// remembered where it ended: who listens misses nothing. `newest` is what was kept just now. Whether any had to go.
    pub fn make_room(&mut self, newest: &Topic, is_heard: impl Fn(&Topic) -> bool) -> bool {
        let (mut any, mut looks) = (false, LOOKS);
        for _ in 0..self.used.len() {
            let is_full = self.bytes > self.bounds.bytes;
            let is_crowded = self.topics.len() > self.bounds.topics && looks > 0;
            if !is_full && !is_crowded {
                return any;
            }
            looks = looks.saturating_sub(1);
            let Some((_, oldest)) = self.used.pop_first() else { break };
            if oldest != *newest && !is_heard(&oldest) {
                self.remove(&oldest);
                any = true;
                continue;
            }
            if is_full && oldest != *newest {
                self.with(&oldest, Shelf::clear);
                any = true;
            }
            self.touch(&oldest);
        }
        let over = self.bytes.saturating_sub(self.bounds.bytes);
        self.with(newest, |shelf| shelf.shrink(over));
        any || over > 0
    }

    /// It was used.
    fn touch(&mut self, topic: &Topic) {
        let Some(shelf) = self.topics.get_mut(topic) else { return };
        self.uses += 1;
        self.used.remove(&std::mem::replace(&mut shelf.used, self.uses));
        self.used.insert(self.uses, topic.clone());
    }

    /// Does something to a topic's shelf that may change how much there is.
    fn with<R>(&mut self, topic: &Topic, act: impl FnOnce(&mut Shelf) -> R) -> Option<R> {
        let shelf = self.topics.get_mut(topic)?;
        self.bytes -= shelf.bytes;
        let done = act(shelf);
        self.bytes += shelf.bytes;
        Some(done)
    }

    fn remove(&mut self, topic: &Topic) {
        if let Some(shelf) = self.topics.remove(topic) {
            self.used.remove(&shelf.used);
            self.bytes -= shelf.bytes;
        }
    }

    pub fn last(&self, topic: &Topic) -> Position {
        self.topics.get(topic).map_or(Position::START, |shelf| shelf.last)
    }

    pub fn read(&mut self, topic: &Topic, read: Read, now: Instant) -> Page {
        self.touch(topic);
        self.with(topic, |shelf| shelf.expire(now));
        let Some(shelf) = self.topics.get(topic) else { return Page::default() };
        shelf.read(topic, read, now)
    }

    /// Lets go of what has expired of the next topics in the round.
    fn sweep(&mut self, now: Instant) {
        for _ in 0..SWEEP {
            let next = self.used.range((Bound::Excluded(self.swept), Bound::Included(self.round))).next();
            let Some((used, topic)) = next.map(|(used, topic)| (*used, topic.clone())) else {
                (self.swept, self.round) = (0, self.uses);
                return;
            };
            self.swept = used;
            let is_gone = self.with(&topic, |shelf| {
                shelf.expire(now);
                shelf.is_forgotten(now)
            });
            if is_gone == Some(true) {
                self.remove(&topic);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::broker::Part;

    #[test]
    fn what_is_old_goes_though_nobody_publishes_there_again() {
        let (mut archive, start) = (Archive::new(BOUNDS), Instant::now());
        let rule = TopicRule { history_size: 3, history_ttl: Duration::from_secs(60), ..TopicRule::default() };
        let topic = |n: usize| Topic::parse(&format!("t{n}")).unwrap();
        let keep = |archive: &mut Archive, n, at| {
            archive.keep(&topic(n), &rule, &mut Header::default(), &Bytes::from_static(b"x"), at);
        };
        for n in 0..100 {
            keep(&mut archive, n, start);
        }
        for _ in 0..100 {
            keep(&mut archive, 100, start + Duration::from_secs(61));
        }
        assert_eq!(archive.topics.values().map(|shelf| shelf.entries.len()).sum::<usize>(), 3);
        assert!(archive.last(&topic(5)) > Position::START, "its place is remembered");
        for _ in 0..100 {
            keep(&mut archive, 100, start + Duration::from_secs(61) + rule.remembered());
        }
        assert_eq!((archive.topics.len(), archive.used.len()), (1, 1));
    }

    /// An archive of so few bounds, what publishes `bytes` to a topic there, and what tells how many a topic keeps.
    struct World {
        archive: Archive,
        heard: Vec<Topic>,
        rule: TopicRule,
    }

    impl World {
        fn new(topics: usize, bytes: usize) -> Self {
            let rule = TopicRule { history_size: 1_000, ..TopicRule::default() };
            Self { archive: Archive::new(Bounds { topics, bytes }), heard: Vec::new(), rule }
        }

        fn publish(&mut self, name: &str, bytes: usize) -> bool {
            let (topic, payload) = (Topic::parse(name).unwrap(), Bytes::from(vec![b'x'; bytes]));
            self.archive.keep(&topic, &self.rule, &mut Header::default(), &payload, Instant::now());
            let made = self.archive.make_room(&topic, |topic| self.heard.contains(topic));
            self.check();
            made
        }

        fn kept(&mut self, name: &str) -> usize {
            let read = Read { part: Part::After(Position::START), most: 1_000, bytes: usize::MAX };
            self.archive.read(&Topic::parse(name).unwrap(), read, Instant::now()).entries.len()
        }

        fn last(&self, name: &str) -> Position {
            self.archive.last(&Topic::parse(name).unwrap())
        }

        fn check(&self) {
            let archive = &self.archive;
            assert!(archive.bytes <= archive.bounds.bytes, "{} bytes", archive.bytes);
            assert_eq!(archive.bytes, archive.topics.values().map(|shelf| shelf.bytes).sum::<usize>());
            assert!(archive.used.iter().all(|(used, topic)| archive.topics[topic].used == *used));
            assert_eq!(archive.used.len(), archive.topics.len());
        }
    }

    #[test]
    fn of_ever_new_topics_so_many_are_kept_and_those_that_are_used_stay() {
        let mut world = World::new(100, usize::MAX);
        world.publish("used", 1);
        world.publish("unused", 1);
        for n in 0..1_000 {
            let made_room = world.publish(&format!("t{n}"), 1);
            assert_eq!(made_room, n >= 98, "{n}");
            assert_eq!(world.kept("used"), 1);
        }
        assert_eq!(world.archive.topics.len(), 100);
        assert_eq!((world.kept("unused"), world.last("unused")), (0, Position::START));
        assert_eq!((world.kept("t900"), world.kept("t901")), (0, 1));
    }

    #[test]
    fn of_ever_more_bytes_so_many_are_kept_and_a_single_topic_keeps_its_newest() {
        let mut world = World::new(usize::MAX, 100_000);
        world.publish("old", 1_000);
        for n in 0..300 {
            world.publish(&format!("t{}", n % 3), 5_000);
        }
        assert_eq!((world.kept("old"), world.last("old")), (0, Position::START));
        for _ in 0..30 {
            world.publish("one", 9_000);
        }
        assert_eq!((world.kept("one"), world.kept("t0")), (10, 0));
    }

    /// A chain that breaks would be a gap to all who listen, though they miss nothing.
    #[test]
    fn of_a_topic_that_is_heard_it_is_remembered_where_it_ended() {
        let mut world = World::new(10, 20_000);
        world.heard = vec![Topic::parse("heard").unwrap()];
        world.publish("heard", 1_000);
        let last = world.last("heard");
        (0..200).for_each(|n| _ = world.publish(&format!("small{n}"), 1));
        assert_eq!((world.kept("heard"), world.last("heard")), (1, last));
        (0..200).for_each(|n| _ = world.publish(&format!("large{n}"), 4_000));
        assert_eq!((world.kept("heard"), world.last("heard")), (0, last));
        world.publish("heard", 1);
        assert_eq!(world.kept("heard"), 1);
    }

    /// The topics that somebody listens to are bounded as such; what is beside them is bounded here.
    #[test]
    fn where_all_topics_are_heard_a_publication_looks_at_few_of_them() {
        let mut world = World::new(100, usize::MAX);
        world.heard = (0..1_000).map(|n| Topic::parse(&format!("heard{n}")).unwrap()).collect();
        (0..1_000).for_each(|n| _ = world.publish(&format!("heard{n}"), 1));
        (0..2_000).for_each(|n| _ = world.publish(&format!("t{n}"), 1));
        assert!(world.archive.topics.len() < 1_100, "{}", world.archive.topics.len());
    }

    #[test]
    fn a_name_is_remembered_for_five_minutes() {
        let (mut archive, start) = (Archive::new(BOUNDS), Instant::now());
        let topic = Topic::parse("t").unwrap();
        assert_eq!(archive.named(&topic, "a", start), None);
        archive.name(&topic, "a", None, start);
        assert_eq!(archive.named(&topic, "a", start + ONCE - Duration::from_millis(1)), Some(None));
        assert_eq!(archive.named(&topic, "a", start + ONCE), None);
        assert!(archive.names.is_empty() && archive.forgotten.is_empty());
    }
}
