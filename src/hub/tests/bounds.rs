//! What happens at the bounds, and that what was held is given back.

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::*;
use crate::hub::{Hub, INBOX_PUBLICATIONS};
use crate::metrics::Dropped;

#[test]
fn an_inbox_too_full_drops_the_newest_tells_one_gap_in_its_place_and_delivers_the_rest() {
    const HALF: usize = INBOX_PUBLICATIONS / 2;
    let mut house = House::new(true);
    let (client, other) = (house.json(1), house.plain(2));
    house.subscribe(&client, &["t"]);
    house.subscribe(&other, &["u"]);
    (0..HALF).for_each(|_| house.publish("u", ""));
    (0..HALF + 3).for_each(|n| house.publish("t", &n.to_string()));
    assert_eq!(house.interest.held(), INBOX_PUBLICATIONS);
    house.settle();
    house.publish("t", "after");
    house.settle();
    let told = client.told();
    assert_eq!(told.len(), 1 + HALF + 2);
    assert!(told[1..=HALF].iter().enumerate().all(|(n, text)| *text == n.to_string()));
    assert_eq!(told[HALF + 1..], ["gap:overflow", "after"]);
    assert_eq!(house.metrics.dropped(Dropped::Overflow).get(), 3);
    assert_eq!(house.interest.held(), 0);
}

#[test]
fn a_topic_that_is_far_behind_leaves_room_for_the_others() {
    let mut house = House::new(true);
    let (behind, quiet) = (house.json(1), house.json(2));
    house.subscribe(&behind, &["hot"]);
    house.subscribe(&quiet, &["quiet"]);
    (0..INBOX_PUBLICATIONS).for_each(|_| house.publish("hot", "m"));
    house.shard.take_inbox();
    house.publish("quiet", "here");
    house.settle();
    assert_eq!(quiet.told(), ["subscribed:true", "here"]);
    let told = behind.told();
    let got = told.iter().filter(|text| *text == "m").count();
    assert_eq!(got, INBOX_PUBLICATIONS / 4 * 3);
    assert_eq!(told.iter().filter(|text| *text == "gap:overflow").count(), 1);
    assert_eq!(house.metrics.dropped(Dropped::Overflow).get(), (INBOX_PUBLICATIONS - got) as u64);
    assert_eq!(house.interest.held(), 0);
}

/// A topic that always has something to deliver must not keep the places of all who ever were there.
#[test]
fn a_topic_that_never_rests_gives_the_places_of_who_left_back() {
    let mut house = House::new(true);
    let crowd: Vec<_> = (0..200).map(|n| house.json(n)).collect();
    crowd.iter().for_each(|client| house.subscribe(client, &["t"]));
    house.publish("t", "m0");
    house.turn(1);
    crowd[..190].iter().for_each(|client| house.leave(client));
    for n in 1..=20 {
        house.publish("t", &format!("m{n}"));
        house.turn(6);
        assert_eq!(house.shard.census().2, 1, "it never rests");
    }
    assert_eq!(house.shard.places("t"), 10);
    house.settle();
    let expected: Vec<_> = (0..=20).map(|n| format!("m{n}")).collect();
    assert!(crowd[190..].iter().all(|client| client.told()[1..] == expected));
    crowd[190..].iter().for_each(|client| house.leave(client));
    house.assert_empty();
}

#[test]
fn a_turn_walks_over_so_many_vacant_places_at_most() {
    let mut house = House::new(true);
    let crowd: Vec<_> = (0..3000).map(|n| house.plain(n)).collect();
    crowd.iter().for_each(|client| house.subscribe(client, &["t"]));
    house.publish("t", "m");
    house.turn(1);
    crowd[..2999].iter().for_each(|client| house.leave(client));
    house.turn(64);
    assert_eq!(house.shard.census().2, 1, "2,998 are more than one turn walks over");
    house.settle();
    assert_eq!(crowd[2999].told(), ["m"]);
}

/// A pass that writes to nobody ends its turns, too.
#[test]
fn a_turn_looks_at_so_many_subscribers_at_most() {
    let mut house = House::new(true);
    let clients: Vec<_> = (0..2000).map(|n| house.plain(n)).collect();
    clients.iter().for_each(|client| house.subscribe(client, &["t"]));
    house.gap("t", GapReason::Malformed);
    house.turn(64);
    assert_eq!(house.shard.census().2, 1, "2,000 are more than one turn looks at");
    house.turn(64);
    assert_eq!(house.shard.census().2, 0);
}

#[test]
fn one_topic_too_many_is_refused_by_name_and_the_others_stay() {
    let mut house = House::new(true);
    let client = house.json(1);
    house.ask(&client, &["a", "b", "c", "d"], Some("7"));
    house.ask(&client, &["a"], Some("8"));
    house.publish("d", "no");
    house.publish("a", "yes");
    house.settle();
    let told = client.told();
    assert_eq!(told[..3], ["subscribed:true#7", "subscribed:true#7", "subscribed:true#7"]);
    assert_eq!(told[3..], ["error:too_many_topics#7", "subscribed:true#8", "yes"]);
}

#[test]
fn the_last_to_leave_gives_back_what_the_topic_held() {
    let mut house = House::new(true);
    let crowd: Vec<_> = (0..10).map(|n| house.plain(n)).collect();
    crowd.iter().for_each(|client| house.subscribe(client, &["t"]));
    (0..300).for_each(|_| house.publish("t", "m"));
    house.turn(3);
    assert_eq!(house.interest.held(), 300);
    crowd.iter().for_each(|client| house.leave(client));
    house.assert_empty();
    house.settle();
    house.assert_empty();
}

/// A connection's end must reach its shard though the queue of orders is full; who sees to it is tracked.
#[tokio::test]
async fn a_member_that_leaves_while_its_shard_is_behind_leaves_by_a_task_that_is_owned() {
    let house = House::new(true);
    let (orders, mut waiting) = mpsc::channel(1);
    let tasks = TaskTracker::new();
    let hub = Arc::new(Hub { shards: [orders].into(), pulses: Arc::new([]), tasks: tasks.clone() });
    let [first, second] = [1, 2].map(|n| hub.seat(house.json(n).outbox));
    drop(first);
    drop(second);
    assert_eq!(tasks.len(), 1);
    for number in [1, 2] {
        assert!(matches!(waiting.recv().await, Some(Order::Leave(left)) if left == ConnectionNumber(number)));
    }
    tasks.close();
    tasks.wait().await;
}
