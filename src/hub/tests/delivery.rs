//! Who gets what, in which order, in how many writes.

use super::*;
use crate::command::Resume;
use crate::position::Position;

#[test]
fn a_subscription_is_answered_before_its_first_message_and_ends_with_its_last() {
    let mut house = House::new(true);
    let client = house.json(1);
    house.publish("t", "before");
    house.subscribe(&client, &["t"]);
    house.publish("t", "m1");
    house.settle();
    house.publish("t", "m2");
    house.turn(0);
    house.unsubscribe(&client, "t");
    house.publish("t", "m3");
    house.settle();
    assert_eq!(client.told(), ["subscribed:true", "m1", "unsubscribed"]);
    house.leave(&client);
    house.assert_empty();
}

#[test]
fn who_listens_already_cannot_resume_and_is_told_in_its_place() {
    let mut house = House::new(true);
    let client = house.json(1);
    house.subscribe(&client, &["t"]);
    house.publish("t", "m1");
    house.settle();
    for resume in [Resume::Last(5), Resume::Since(0)] {
        let topics = vec![Wanted { topic: topic("t"), resume: Some(resume) }];
        let answer = Answer { id: Some(MessageId("7".into())), ..Answer::default() };
        house.shard.obey(Order::Subscribe { outbox: client.outbox.clone(), topics, limit: 3, answer });
    }
    house.ask(&client, &["t"], Some("8"));
    house.publish("t", "m2");
    house.settle();
    let told = ["subscribed:true", "m1", "error:bad_message#7", "error:bad_message#7", "subscribed:true#8", "m2"];
    assert_eq!(client.told(), told);
    let refused = client.pipe.wire().frames()[2].json()["message"].as_str().unwrap().to_owned();
    assert!(refused.contains("unsubscribe first"), "{refused}");
    house.leave(&client);
    house.assert_empty();
}

#[test]
fn a_position_that_a_producer_writes_where_no_history_is_kept_is_not_shown() {
    let mut house = House::new(true);
    let client = house.json(1);
    house.subscribe(&client, &["t"]);
    let place = Some(Position { ms: 9, number: 9 });
    let header = Header { pos: place, prev: place, event: Some("e".into()), ..Header::default() };
    let publication = Publication::new(topic("t"), Some(Box::new(header)), Bytes::from_static(b"hi"), Instant::now());
    house.interest.deliver(publication);
    house.settle();
    let told = client.pipe.wire().frames()[1].json();
    assert_eq!((&told["event"], &told["position"]), (&"e".into(), &serde_json::Value::Null));
}

#[test]
fn what_waited_together_leaves_in_one_write_per_socket() {
    let mut house = House::new(true);
    let clients: Vec<_> = (0..200).map(|n| house.plain(n)).collect();
    clients.iter().for_each(|client| house.subscribe(client, &["t"]));
    (0..8).for_each(|n| house.publish("t", &format!("m{n}")));
    house.settle();
    for client in &clients {
        assert_eq!(client.told().join(","), "m0,m1,m2,m3,m4,m5,m6,m7");
        assert_eq!(client.pipe.wire().writes(), 1);
    }
}

#[test]
fn a_run_is_cut_so_that_one_write_stays_small() {
    let mut house = House::new(true);
    let client = house.plain(1);
    house.subscribe(&client, &["t"]);
    (0..300).for_each(|_| house.publish("t", "x"));
    house.settle();
    assert_eq!(client.pipe.wire().writes(), 2);
    (0..4).for_each(|_| house.publish("t", &"x".repeat(40_000)));
    house.settle();
    assert_eq!(client.pipe.wire().writes(), 2 + 4);
    assert_eq!(client.told().len(), 304);
}

#[test]
fn the_excluded_sender_alone_does_not_get_its_own() {
    let mut house = House::new(true);
    let [sender, other] = [1, 2].map(|n| house.plain(n));
    house.subscribe(&sender, &["t"]);
    house.subscribe(&other, &["t"]);
    house.publish("t", "m1");
    house.publish_except("t", "m2", Some(&sender));
    house.publish("t", "m3");
    house.settle();
    assert_eq!(sender.told(), ["m1", "m3"]);
    assert_eq!(other.told(), ["m1", "m2", "m3"]);
}

/// Design: a turn ends after 64 sockets, so a quiet topic never stands behind a pass over a huge one.
#[test]
fn a_quiet_topic_waits_at_most_one_turn_behind_a_huge_one() {
    let mut house = House::new(true);
    let crowd: Vec<_> = (0..1000).map(|n| house.plain(n)).collect();
    crowd.iter().for_each(|client| house.subscribe(client, &["huge"]));
    let quiet = house.plain(5000);
    house.subscribe(&quiet, &["quiet"]);
    let served = || crowd.iter().filter(|client| client.pipe.wire().writes() > 0).count();
    house.publish("huge", "m");
    house.shard.take_inbox();
    house.shard.work(Turn::new());
    let before = served();
    assert!((1..=64).contains(&before), "{before} sockets in one turn");
    house.publish("quiet", "q");
    while quiet.told().is_empty() {
        house.shard.take_inbox();
        house.shard.work(Turn::new());
    }
    assert!(served() - before <= 2 * 64, "{} sockets were served in between", served() - before);
    house.settle();
    assert_eq!(served(), 1000);
}

#[test]
fn a_turn_ends_when_its_time_is_over() {
    let mut house = House::new(true);
    let crowd: Vec<_> = (0..64).map(|n| house.plain(n)).collect();
    crowd.iter().for_each(|client| house.subscribe(client, &["t"]));
    house.publish("t", "m");
    house.shard.take_inbox();
    house.shard.work(Turn::of(64, Duration::ZERO));
    let served = crowd.iter().filter(|client| client.pipe.wire().writes() > 0).count();
    assert_eq!(served, 8, "the clock is read every eight sockets");
}

#[test]
fn the_broker_hears_of_the_first_subscriber_and_of_the_last() {
    let mut house = House::new(true);
    let [a, b] = [1, 2].map(|n| house.json(n));
    house.subscribe(&a, &["t", "u"]);
    house.subscribe(&b, &["t"]);
    house.subscribe(&a, &["t"]);
    house.unsubscribe(&a, "t");
    assert_eq!(house.asked(), ["+t", "+u"]);
    house.leave(&b);
    house.leave(&a);
    assert_eq!(house.asked(), ["+t", "+u", "-t", "-u"]);
    house.assert_empty();
}

#[test]
fn who_has_gone_is_not_seated_any_more() {
    let mut house = House::new(true);
    let client = house.json(1);
    house.leave(&client);
    house.subscribe(&client, &["t"]);
    house.assert_empty();
    assert_eq!(house.asked().len(), 0);
}

/// What came for somebody who left is not delivered to who comes next: what lay between would be missing.
#[test]
fn a_publication_for_an_earlier_stay_is_nobodys() {
    let mut house = House::new(true);
    let [early, late] = [1, 2].map(|n| house.plain(n));
    house.subscribe(&early, &["t"]);
    house.publish("t", "old");
    house.leave(&early);
    house.publish("t", "between");
    house.subscribe(&late, &["t"]);
    house.publish("t", "new");
    house.settle();
    assert_eq!(late.told(), ["new"]);
    house.leave(&late);
    house.assert_empty();
}
