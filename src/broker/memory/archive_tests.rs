//! What a replica that is alone keeps of the past, and what it lets go.

use std::cell::Cell;
use std::collections::HashSet;
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
    heard: HashSet<Topic>,
    rule: TopicRule,
    /// At how many topics the latest publication looked.
    looks: Cell<usize>,
}

impl World {
    fn new(topics: usize, bytes: usize) -> Self {
        let rule = TopicRule { history_size: 1_000, ..TopicRule::default() };
        let (heard, looks) = (HashSet::new(), Cell::new(0));
        Self { archive: Archive::new(Bounds { topics, bytes }), heard, rule, looks }
    }

    fn publish(&mut self, name: &str, bytes: usize) -> bool {
        let (topic, payload) = (Topic::parse(name).unwrap(), Bytes::from(vec![b'x'; bytes]));
        self.archive.keep(&topic, &self.rule, &mut Header::default(), &payload, Instant::now());
        self.looks.set(0);
        let made = self.archive.make_room(&topic, |topic| {
            self.looks.set(self.looks.get() + 1);
            self.heard.contains(topic)
        });
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
        let has_some = |(_, topic): &(&u64, &Topic)| !archive.topics[*topic].entries.is_empty();
        assert!(archive.filled.iter().eq(archive.used.iter().filter(has_some)));
        assert!(archive.heavy.iter().all(|heavy| archive.topics[heavy].bytes > archive.bounds.bytes / 2));
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
    assert_eq!(
        (world.kept("one"), world.kept("t0")),
        (5, 0),
        "about half, and what was of no use for the longest goes"
    );
    let mut alone = World::new(usize::MAX, 100_000);
    (0..30).for_each(|_| _ = alone.publish("one", 9_000));
    assert_eq!(alone.kept("one"), 10);
}

/// A chain that breaks would be a gap to all who listen, though they miss nothing.
#[test]
fn of_a_topic_that_is_heard_it_is_remembered_where_it_ended() {
    let mut world = World::new(10, 20_000);
    world.heard = [Topic::parse("heard").unwrap()].into();
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

/// Those that are listened to and have nothing are no help: they are not looked at for each publication.
#[test]
fn where_all_bytes_are_taken_a_publication_looks_at_those_that_have_some() {
    let mut world = World::new(usize::MAX, 100_000);
    let topic = |n| Topic::parse(&format!("t{n}")).unwrap();
    world.heard = (0..1_000).map(topic).collect();
    (0..1_000).for_each(|n| _ = world.publish(topic(n).as_str(), 10));
    let cleared: usize = (0..40)
        .map(|n| {
            world.publish(topic(n % 4).as_str(), 9_000);
            world.looks.get()
        })
        .sum();
    assert!((1..1_100).contains(&cleared), "each is looked at once: {cleared}");
    for n in 0..1_000 {
        world.publish(topic(n % 4).as_str(), 9_000);
        assert!(world.looks.get() <= 2, "{n}: {} looks", world.looks.get());
    }
}

#[test]
fn a_topic_that_takes_more_than_half_makes_room_before_others_do() {
    let mut world = World::new(usize::MAX, 100_000);
    world.heard = (0..100).map(|n| Topic::parse(&format!("t{n}")).unwrap()).collect();
    (0..100).for_each(|n| _ = world.publish(&format!("t{n}"), 10));
    world.publish("small", 1_000);
    for _ in 0..100 {
        world.publish("large", 9_000);
        assert_eq!(world.looks.get(), 0);
    }
    assert!((0..100).all(|n| world.kept(&format!("t{n}")) == 1) && world.kept("small") == 1);
    let large = world.kept("large");
    assert!(large > 5, "{large}: all that the others leave");
    (0..100).for_each(|_| _ = world.publish("other", 9_000));
    assert!((4..=6).contains(&world.kept("other")), "nor does the next one: {}", world.kept("other"));
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
