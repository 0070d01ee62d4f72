//! What every broker keeps of the past, and how it is read.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use fanline::broker::{Page, Part, Read, Receipt};
use fanline::position::Position;
use fanline::publication::{Header, PayloadKind, Publication};
use fanline::settings::{TopicRule, TopicRules};
use fanline::topic::Topic;

use super::{Road, number, topic};

/// How many publications the topics `kept:*` keep.
const KEPT: u32 = 20;

/// The rules of all brokers under test.
pub fn rules() -> Arc<ArcSwap<TopicRules>> {
    let rule = |matches: &str, history_size, ttl| TopicRule {
        matches: matches.into(),
        history_size,
        history_ttl: Duration::from_millis(ttl),
        ..TopicRule::default()
    };
    let rules = vec![rule("kept:none:*", 0, 1), rule("kept:*", KEPT, 600_000), rule("short:*", 100, 150)];
    Arc::new(ArcSwap::from_pointee(TopicRules::new(rules)))
}

on_every_broker! {
    each_publication_names_the_one_before_it_and_its_own_place
    the_newest_are_kept_and_read_both_ways
    what_is_read_is_what_was_delivered
    a_read_brings_so_many_bytes_and_one_publication_at_least
    a_history_goes_after_its_time_and_where_it_ended_is_remembered
    what_is_published_twice_under_a_name_is_kept_and_delivered_once
    publishers_at_once_make_one_history_in_the_order_of_delivery
    a_topic_without_a_rule_has_neither_history_nor_positions
}

impl Road {
    async fn keep(&self, topic: &Topic, count: usize) -> Vec<Position> {
        let mut positions = Vec::new();
        for n in 0..count {
            positions.push(self.publish(topic, number(n)).await.unwrap().position.unwrap());
        }
        positions
    }

    async fn read(&self, topic: &Topic, part: Part, most: usize) -> Page {
        self.broker.read(topic, Read { part, most, bytes: usize::MAX }).await.unwrap()
    }

    async fn last(&self, topic: &Topic) -> Position {
        self.broker.positions(std::slice::from_ref(topic)).await[0].clone().unwrap()
    }
}

fn steps(publications: &[Publication]) -> Vec<(Position, Position)> {
    publications.iter().map(|publication| publication.step().unwrap()).collect()
}

fn places(page: &Page) -> Vec<Position> {
    page.entries.iter().map(|entry| entry.position().unwrap()).collect()
}

async fn each_publication_names_the_one_before_it_and_its_own_place(road: &Road) {
    let topic = topic("kept:a");
    assert_eq!(road.last(&topic).await, Position::START);
    road.subscribed(&topic).await;
    let positions = road.keep(&topic, 50).await;
    assert!(positions.is_sorted_by(|a, b| a < b));
    road.heard(&topic, 50).await;
    let before = [Position::START].into_iter().chain(positions.clone());
    let expected: Vec<_> = before.zip(positions.clone()).collect();
    assert_eq!(steps(&road.hub.publications(&topic)), expected);
    assert_eq!(road.last(&topic).await, positions[49]);
}

async fn the_newest_are_kept_and_read_both_ways(road: &Road) {
    let topic = topic("kept:a");
    let positions = road.keep(&topic, 50).await;
    let kept = &positions[30..];
    let all = road.read(&topic, Part::After(Position::START), 5_000).await;
    assert_eq!((places(&all), all.newest), (kept.to_vec(), positions[49]));
    assert_eq!(all.entries[0].step(), Some((positions[29], positions[30])), "what is kept says what was before it");
    let some = road.read(&topic, Part::After(positions[35]), 3).await;
    assert_eq!(places(&some), positions[36..39]);
    assert_eq!(places(&road.read(&topic, Part::After(positions[49]), 3).await), []);
    assert_eq!(places(&road.read(&topic, Part::Until(positions[35]), 3).await), positions[33..=35]);
    assert_eq!(places(&road.read(&topic, Part::Until(positions[31]), 9).await), positions[30..=31]);
    assert_eq!(places(&road.read(&topic, Part::Until(positions[10]), 9).await), []);
}

/// Sixteen publications of 300,000 bytes, of which nobody asks for more than a megabyte: what is on its way is bounded by
/// what is asked for, and not by how much was published.
async fn a_read_brings_so_many_bytes_and_one_publication_at_least(road: &Road) {
    let topic = topic("kept:a");
    let mut positions = Vec::new();
    for _ in 0..16 {
        positions.push(road.publish(&topic, "x".repeat(300_000)).await.unwrap().position.unwrap());
    }
    let (after, until) = (Part::After(positions[1]), Part::Until(positions[14]));
    for (part, most, bytes, expected, more) in [
        (after, 128, 1_000_000, &positions[2..5], true),
        (until, 128, 1_000_000, &positions[12..15], true),
        (after, 2, 1_000_000, &positions[2..4], true),
        (until, 128, 1, &positions[14..15], true),
        (Part::After(positions[13]), 128, 1_000_000, &positions[14..16], false),
        (Part::Until(positions[1]), 2, 1_000_000, &positions[..2], false),
        (after, 128, usize::MAX, &positions[2..], false),
    ] {
        let page = road.broker.read(&topic, Read { part, most, bytes }).await.unwrap();
        let read = page.entries.iter().map(|entry| entry.payload.len()).sum::<usize>();
        assert!(read <= bytes.max(300_000), "{read} bytes");
        assert_eq!((places(&page), page.more, page.newest), (expected.to_vec(), more, positions[15]), "{part:?}");
    }
}

async fn what_is_read_is_what_was_delivered(road: &Road) {
    let topic = topic("kept:a");
    road.subscribed(&topic).await;
    let header = Header {
        ts: Some(1_700_000_000_000),
        event: Some("h\"\\/\u{1}ä".into()),
        key: Some("k".into()),
        except: vec!["r.1".into(), "r.2".into()],
        id: Some("once".into()),
        kind: Some(PayloadKind::Binary),
        ..Header::default()
    };
    let payload: Bytes = [b"\x1eFL1{}\n".to_vec(), (0..=255).collect()].concat().into();
    road.broker.publish(&topic, &header, payload.clone()).await.unwrap();
    road.publish(&topic, "").await.unwrap();
    road.heard(&topic, 2).await;
    let mut delivered = road.hub.publications(&topic);
    // A broker may write when a publication without a time came.
    delivered[1].header.as_mut().unwrap().ts = None;
    let mut read = road.read(&topic, Part::After(Position::START), 9).await.entries;
    read[1].header.as_mut().unwrap().ts = None;
    for (read, delivered) in read.iter().zip(&delivered) {
        assert_eq!((&read.header, &read.payload), (&delivered.header, &delivered.payload));
    }
    let step = delivered[0].step();
    let (prev, pos) = step.unzip();
    assert_eq!(delivered[0].header.as_deref(), Some(&Header { pos, prev, ..header }));
    assert_eq!(delivered[0].payload, payload);
}

async fn a_history_goes_after_its_time_and_where_it_ended_is_remembered(road: &Road) {
    let topic = topic("short:a");
    let positions = road.keep(&topic, 3).await;
    let gone = tokio::time::Instant::now() + Duration::from_secs(10);
    while !road.read(&topic, Part::After(Position::START), 9).await.entries.is_empty() {
        assert!(tokio::time::Instant::now() < gone, "it is kept for long");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(road.last(&topic).await, positions[2]);
    road.keep(&topic, 1).await;
    let page = road.read(&topic, Part::After(Position::START), 9).await;
    assert_eq!(page.entries[0].step().unwrap().0, positions[2], "the next one follows what is gone");
}

async fn what_is_published_twice_under_a_name_is_kept_and_delivered_once(road: &Road) {
    for (topic, has_position) in [(topic("kept:a"), true), (topic("bare"), false)] {
        road.subscribed(&topic).await;
        let named = |name: &str| Header { id: Some(name.into()), ..Header::default() };
        let first = road.broker.publish(&topic, &named("a"), "one".into()).await.unwrap();
        assert_eq!((first.replicas, first.repeated, first.position.is_some()), (1, false, has_position));
        let again = road.broker.publish(&topic, &named("a"), "one".into()).await.unwrap();
        assert_eq!(again, Receipt { replicas: 0, repeated: true, ..first });
        road.broker.publish(&topic, &named("b"), "two".into()).await.unwrap();
        assert_eq!(road.heard(&topic, 2).await, ["one", "two"]);
        if has_position {
            assert_eq!(road.read(&topic, Part::After(Position::START), 9).await.entries.len(), 2);
        }
    }
}

async fn publishers_at_once_make_one_history_in_the_order_of_delivery(road: &Road) {
    let topic = topic("kept:a");
    road.subscribed(&topic).await;
    let publishers = (0..4).map(|who| {
        let (broker, topic) = (road.broker.clone(), topic.clone());
        tokio::spawn(async move {
            for n in 0..100 {
                broker.publish(&topic, &Header::default(), format!("{who}:{n}").into()).await.unwrap();
            }
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.unwrap();
    }
    road.heard(&topic, 400).await;
    let heard = road.hub.publications(&topic);
    assert!(steps(&heard).windows(2).all(|pair| pair[0].1 == pair[1].0), "one chain");
    let kept = road.read(&topic, Part::After(Position::START), 5_000).await;
    let newest = heard[380..].iter().map(|publication| &publication.payload);
    assert!(kept.entries.iter().map(|entry| &entry.payload).eq(newest));
}

async fn a_topic_without_a_rule_has_neither_history_nor_positions(road: &Road) {
    for topic in [topic("bare"), topic("kept:none:a")] {
        road.subscribed(&topic).await;
        assert_eq!(road.publish(&topic, "hi").await, Ok(Receipt::heard(1)));
        road.heard(&topic, 1).await;
        assert_eq!(road.hub.publications(&topic)[0].position(), None);
        let page = road.read(&topic, Part::After(Position::START), 9).await;
        assert_eq!((page.entries.len(), page.newest), (0, Position::START));
    }
}

/// What producers and operators may do to a history in Redis.
mod in_redis {
    use fanline::broker::redis::script::{Script, VERSION};
    use fanline::link::keys::Keys;

    use super::*;
    use crate::support::redis::RedisServer;

    const STREAM: &str = "{fanline:kept:a}:stream";
    const LAST: &str = "{fanline:kept:a}:last";

    async fn road() -> Option<Road> {
        let road = Road::redis().await?;
        let library = || road.redis.as_ref().unwrap().cli(&["FUNCTION", "LIST", "LIBRARYNAME", "fanline1"]);
        road.hub.until("the library is there", || library().contains("fanline_publish")).await;
        Some(road)
    }

    fn stamp(version: u32) -> String {
        format!("-- fanline {version}\n")
    }

    fn call(redis: &RedisServer, args: &[&str]) -> String {
        redis.cli(&[&["FCALL", "fanline_publish", "1"], args].concat())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_producer_publishes_into_the_same_chain_by_the_function() {
        let Some(road) = road().await else { return };
        let (topic, redis) = (topic("kept:a"), road.redis.as_ref().unwrap());
        road.subscribed(&topic).await;
        let first = road.keep(&topic, 1).await[0];
        let answer = call(redis, &["fanline:kept:a", "hi", "EVENT", "chat", "KEY", "k", "ID", "x", "EXCEPT", "r.1"]);
        let [position, listeners, repeated] = answer.lines().collect::<Vec<_>>()[..] else { panic!("{answer}") };
        assert_eq!((listeners, repeated), ("1", "0"));
        assert_eq!(call(redis, &["fanline:kept:a", "hi", "ID", "x"]).lines().collect::<Vec<_>>(), [position, "0", "1"]);
        assert_eq!(call(redis, &["fanline:bare", "hi"]).lines().collect::<Vec<_>>(), ["", "0", "0"]);
        road.heard(&topic, 2).await;
        let heard = &road.hub.publications(&topic)[1];
        assert_eq!(heard.step(), Some((first, position.parse().unwrap())));
        assert_eq!((heard.event(), heard.key(), &heard.payload[..]), (Some("chat"), Some("k"), &b"hi"[..]));
        assert!(heard.ts().is_some() && heard.except() == [Box::from("r.1")]);
        assert_eq!(road.keep(&topic, 1).await.len(), 1);
        road.heard(&topic, 3).await;
        assert_eq!(road.hub.publications(&topic)[2].step().unwrap().0.to_string(), position);
        road.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_the_function_does_not_understand_is_refused_and_nothing_is_published() {
        let Some(road) = road().await else { return };
        let (topic, redis) = (topic("kept:a"), road.redis.as_ref().unwrap());
        for (args, why) in [
            (
                &["fanline:kept:a", "hi", "EVENTS", "x"][..],
                "EVENTS is no option; write EVENT, KEY, ID, TYPE, TS or EXCEPT",
            ),
            (&["fanline:kept:a", "hi", "TYPE", "xml"], "TYPE is xml; write text, json or binary"),
            (&["fanline:kept:a", "hi", "EVENT"], "EVENT has no value"),
            (&["other:kept:a", "hi"], "write 1 fanline:<topic> <payload>"),
            (&["fanline:kept:a"], "write 1 fanline:<topic> <payload>"),
        ] {
            let answer = call(redis, args);
            assert!(answer.contains(why), "{args:?}: {answer}");
        }
        let long = "x".repeat(201);
        for (args, why) in [
            (["EVENT", &*long], "EVENT is no UTF-8 of at most 200 bytes"),
            (["TS", "nan"], "TS is nan, not a number of ms since 1970"),
            (["TS", "-5"], "TS is -5"),
            (["TS", "1e17"], "TS is 1e17"),
        ] {
            let answer = call(redis, &[&["fanline:kept:a", "hi"], &args[..]].concat());
            assert!(answer.contains(why), "{args:?}: {answer}");
        }
        let many = ["EXCEPT", "0123456789012345678901234567890123456789"].repeat(2_000);
        assert!(call(redis, &[&["fanline:kept:a", "hi"], &many[..]].concat()).contains("no replica reads so many"));
        assert_eq!(road.last(&topic).await, Position::START);
        road.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_chain_goes_on_though_keys_are_evicted_the_clock_is_set_back_or_a_stranger_adds() {
        let Some(road) = road().await else { return };
        let (topic, redis) = (topic("kept:a"), road.redis.as_ref().unwrap());
        road.subscribed(&topic).await;
        let first = road.keep(&topic, 1).await[0];
        redis.cli(&["DEL", LAST]);
        let second = road.keep(&topic, 1).await[0];
        redis.cli(&["DEL", STREAM]);
        let third = road.keep(&topic, 1).await[0];
        redis.cli(&["SET", LAST, "9999999999999-5"]);
        let fourth = road.keep(&topic, 1).await[0];
        redis.cli(&["XADD", STREAM, "9999999999999-99999999", "a", "b"]);
        let fifth = road.keep(&topic, 1).await[0];
        redis.cli(&["DEL", LAST, STREAM]);
        road.keep(&topic, 1).await;
        road.heard(&topic, 6).await;
        let before: Vec<_> = steps(&road.hub.publications(&topic)).into_iter().map(|(prev, _)| prev).collect();
        let at = |text: &str| text.parse().unwrap();
        let expected = [Position::START, first, second, at("9999999999999-5"), fourth, Position::START];
        assert_eq!(before, expected, "what a stranger adds is no part of the chain");
        assert!(fourth > at("9999999999999-5") && fourth < at("9999999999999-2000000"), "{fourth}");
        assert!(fifth > at("9999999999999-99999999"), "{fifth}");
        assert!(third > second);
        road.end().await;
    }

    /// What a topic that nobody publishes to any more leaves behind goes soon.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_last_position_goes_with_its_rules_time_whoever_published() {
        let Some(road) = road().await else { return };
        let redis = road.redis.as_ref().unwrap();
        road.keep(&topic("short:a"), 1).await;
        call(redis, &["fanline:short:b", "hi"]);
        for name in ["a", "b"] {
            let left: u64 = redis.cli(&["PTTL", &format!("{{fanline:short:{name}}}:last")]).parse().unwrap();
            assert!((3_500_000..=3_600_150).contains(&left), "{name}: {left}");
        }
        road.keep(&topic("kept:a"), 1).await;
        let left: u64 = redis.cli(&["PTTL", LAST]).parse().unwrap();
        assert!((4_100_000..=4_200_000).contains(&left), "{left}");
        road.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_script_that_redis_has_forgotten_is_brought_again() {
        let Some(road) = road().await else { return };
        let topic = topic("kept:a");
        road.keep(&topic, 1).await;
        road.redis.as_ref().unwrap().cli(&["SCRIPT", "FLUSH"]);
        assert_eq!(road.keep(&topic, 2).await.len(), 2);
        road.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_older_library_is_replaced_and_a_newer_one_stays() {
        let Some(redis) = RedisServer::start() else { return };
        let ours = Script::new("fanline:", rules().load_full(), "PUBLISH").library;
        let load =
            |code: &str| assert_eq!(redis.cli(&["FUNCTION", "LOAD", "REPLACE", code]), Keys::new("fanline:").library());
        load(&ours.replace(&stamp(VERSION), &stamp(VERSION + 1)));
        let road = Road::over(redis);
        road.hub.until("open", || road.broker.health() == fanline::broker::Health::Open).await;
        let redis = road.redis.as_ref().unwrap();
        assert!(redis.cli(&["FUNCTION", "LIST", "LIBRARYNAME", "fanline1", "WITHCODE"]).contains(&stamp(VERSION + 1)));
        redis.cli(&["FUNCTION", "LOAD", "REPLACE", &ours.replace(&stamp(VERSION), &stamp(VERSION - 1))]);
        // Whoever meets the master anew looks.
        redis.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        let again = || redis.cli(&["FUNCTION", "LIST", "LIBRARYNAME", "fanline1", "WITHCODE"]);
        road.hub.until("replaced", || again().contains(&stamp(VERSION))).await;
        road.end().await;
    }
}
