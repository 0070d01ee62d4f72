//! What subscribers are told about the road.

use super::*;
use crate::hub::Arrivals;

const HALF_A_SECOND: Duration = Duration::from_millis(500);

#[test]
fn subscribed_waits_half_a_second_for_the_road_then_says_pending_and_live_later() {
    let mut house = House::new(false);
    let client = house.json(1);
    let before = Instant::now();
    house.ask(&client, &["t"], Some("1"));
    let due = house.shard.next_due().unwrap();
    assert!(due >= before + HALF_A_SECOND && due <= Instant::now() + HALF_A_SECOND);
    house.shard.answer_overdue(due - Duration::from_millis(1));
    assert_eq!(client.told().len(), 0);
    house.shard.answer_overdue(due);
    house.road(true, &["t"]);
    house.settle();
    assert_eq!(client.told(), ["subscribed:false#1", "live:true"]);
    assert_eq!(house.shard.next_due(), None);
}

#[test]
fn a_road_that_opens_in_time_is_not_mentioned() {
    let mut house = House::new(false);
    let client = house.json(1);
    house.ask(&client, &["t"], Some("1"));
    house.road(true, &["t"]);
    house.publish("t", "m");
    house.settle();
    house.shard.answer_overdue(Instant::now() + HALF_A_SECOND);
    assert_eq!(client.told(), ["subscribed:true#1", "m"]);
}

#[test]
fn an_outage_is_told_once_by_live_false_and_once_by_a_gap_however_often_it_flapped() {
    let mut house = House::new(true);
    let [here, late] = [1, 2].map(|n| house.json(n));
    house.subscribe(&here, &["t"]);
    for _ in 0..3 {
        house.road(false, &["t"]);
        house.settle();
    }
    house.subscribe(&late, &["t"]);
    house.shard.answer_overdue(Instant::now() + HALF_A_SECOND);
    for _ in 0..3 {
        house.road(true, &["t"]);
        house.settle();
    }
    house.publish("t", "m");
    house.settle();
    assert_eq!(here.told(), ["subscribed:true", "live:false", "gap:reconnected", "live:true", "m"]);
    assert_eq!(late.told(), ["subscribed:false", "live:true", "m"], "it never was live, so it missed nothing");
    assert_eq!(house.metrics.gaps(GapReason::Reconnected).get(), 1);
    assert_eq!(house.metrics.live_topics.get(), 1);
}

#[test]
fn a_flip_from_before_a_stay_is_not_told() {
    let mut house = House::new(true);
    let client = house.json(1);
    house.subscribe(&client, &["t"]);
    house.road(false, &["t"]);
    house.unsubscribe(&client, "t");
    *house.road.up.lock() = true;
    house.subscribe(&client, &["t"]);
    house.settle();
    assert_eq!(client.told(), ["subscribed:true", "unsubscribed", "subscribed:true"]);
}

/// Design: every command with an id is answered by its own event or `error`.
#[test]
fn every_id_is_answered_though_a_topic_is_asked_for_twice_or_left_while_it_waits() {
    let mut house = House::new(false);
    let client = house.json(1);
    house.ask(&client, &["t"], Some("1"));
    house.ask(&client, &["t"], Some("2"));
    assert_eq!(client.told(), ["subscribed:false#1", "subscribed:false#2"]);
    house.ask(&client, &["u"], Some("3"));
    house.unsubscribe(&client, "u");
    assert_eq!(client.told()[2..], ["subscribed:false#3", "unsubscribed"]);
    house.road(true, &["t", "u"]);
    house.settle();
    assert_eq!(client.told()[4..], ["live:true"]);
}

#[test]
fn who_came_back_waits_its_own_half_second() {
    let mut house = House::new(false);
    let client = house.json(1);
    house.ask(&client, &["t"], Some("1"));
    let first = house.shard.next_due().unwrap();
    house.unsubscribe(&client, "t");
    while Instant::now() + HALF_A_SECOND <= first {}
    house.ask(&client, &["t"], Some("2"));
    house.shard.answer_overdue(first);
    assert_eq!(client.told(), ["subscribed:false#1", "unsubscribed"]);
    house.shard.answer_overdue(first + HALF_A_SECOND);
    assert_eq!(client.told().last().unwrap(), "subscribed:false#2");
}

/// Seats are moved together when many have left; whoever waits there must still be found.
#[test]
fn who_waits_while_the_roll_is_compacted_is_answered_by_its_own_id() {
    let mut house = House::new(false);
    let crowd: Vec<_> = (0..200).map(|n| house.json(n)).collect();
    for (n, client) in crowd.iter().enumerate() {
        house.ask(client, &["t"], Some(&n.to_string()));
    }
    crowd[..190].iter().for_each(|client| house.leave(client));
    house.gap("t", GapReason::Malformed);
    house.settle();
    house.shard.answer_overdue(house.shard.next_due().unwrap() - Duration::from_millis(1));
    let half = crowd.len() - 5;
    crowd[190..half].iter().for_each(|client| house.unsubscribe(client, "t"));
    house.road(true, &["t"]);
    house.settle();
    for (n, client) in crowd.iter().enumerate().skip(half) {
        assert_eq!(client.told(), [format!("subscribed:true#{n}")]);
    }
}

#[test]
fn the_overdue_are_found_after_compaction_too() {
    let mut house = House::new(false);
    let crowd: Vec<_> = (0..200).map(|n| house.json(n)).collect();
    crowd.iter().for_each(|client| house.subscribe(client, &["t"]));
    crowd[..190].iter().for_each(|client| house.leave(client));
    house.gap("t", GapReason::Malformed);
    house.settle();
    house.shard.answer_overdue(Instant::now() + HALF_A_SECOND);
    assert!(crowd[190..].iter().all(|client| client.told() == ["subscribed:false"]));
}

#[test]
fn a_door_opens_when_all_its_topics_are_live_or_refused() {
    let mut house = House::new(false);
    let client = house.json(1);
    let arrivals = Arrivals::new(4);
    let answer = Answer { arrivals: Some(arrivals.clone()), ..Answer::default() };
    let topics = ["a", "b", "c", "d"].map(|name| Wanted::fresh(topic(name))).to_vec();
    house.shard.obey(Order::Subscribe { outbox: client.outbox.clone(), topics, limit: 3, answer });
    let opened = || arrivals.complete().now_or_never().is_some();
    assert_eq!(client.told(), ["error:too_many_topics"]);
    house.road(true, &["a", "b"]);
    house.shard.answer_overdue(Instant::now() + HALF_A_SECOND);
    house.settle();
    assert!(!opened());
    house.road(true, &["c"]);
    house.settle();
    assert!(opened());
}

#[test]
fn a_replica_holds_so_many_topics_and_who_has_no_word_for_more_is_sent_away() {
    let mut house = House::with_room(2);
    let [one, two, plain] = [house.json(1), house.json(2), house.plain(3)];
    house.ask(&one, &["a", "b", "c"], Some("1"));
    assert_eq!(one.told(), ["subscribed:true#1", "subscribed:true#1", "error:too_many_topics#1"]);
    house.ask(&two, &["b", "c"], Some("2"));
    assert_eq!(two.told(), ["subscribed:true#2", "error:too_many_topics#2"], "who listens already costs nothing");
    let arrivals = Arrivals::new(1);
    let answer = Answer { arrivals: Some(arrivals.clone()), ..Answer::default() };
    let wanted = vec![Wanted::fresh(topic("d"))];
    house.shard.obey(Order::Subscribe { outbox: plain.outbox.clone(), topics: wanted, limit: 1, answer });
    assert!(arrivals.seated().now_or_never().is_some() && arrivals.is_refused());
    assert!(!plain.outbox.is_open(), "should its door not see it in time");
    house.unsubscribe(&one, "a");
    house.ask(&two, &["c"], None);
    assert_eq!(two.told().last().unwrap(), "subscribed:true");
    [&one, &two, &plain].into_iter().for_each(|client| house.leave(client));
    house.settle();
    house.assert_empty();
    assert_eq!(house.road.spared.lock().as_slice(), [1, 0, 0], "those that linger go before anybody is refused");
}
