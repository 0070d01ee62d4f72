//! Who hears that something was dropped.

use super::resume::answer;
use super::*;
use crate::metrics::Dropped;
use crate::position::Position;
use crate::settings::TopicRule;

#[test]
fn what_is_too_large_or_malformed_is_told_in_its_place() {
    let mut house = House::new(true);
    let client = house.json(1);
    house.subscribe(&client, &["t"]);
    house.publish("t", "m1");
    house.publish("t", &"x".repeat(512 * 1024 + 1));
    house.publish("t", "m2");
    house.settle();
    house.gap("t", GapReason::Malformed);
    house.publish("t", "m3");
    house.settle();
    assert_eq!(client.told(), ["subscribed:true", "m1", "gap:too_large", "m2", "gap:malformed", "m3"]);
    let counted = [Dropped::TooLarge, Dropped::Malformed].map(|reason| house.metrics.dropped(reason).get());
    assert_eq!(counted, [1, 0], "the broker counts what it could not read");
}

#[test]
fn each_reason_for_which_something_was_dropped_is_told_and_counted() {
    let mut house = House::new(true);
    let client = house.json(1);
    house.subscribe(&client, &["t"]);
    [GapReason::TooLarge, GapReason::Overflow, GapReason::TooLarge]
        .into_iter()
        .for_each(|reason| house.gap("t", reason));
    house.settle();
    assert_eq!(client.told(), ["subscribed:true", "gap:too_large", "gap:overflow"]);
    let counted = [GapReason::TooLarge, GapReason::Overflow].map(|reason| house.metrics.gaps(reason).get());
    assert_eq!(counted, [1, 1]);
}

#[test]
fn gaps_of_a_topic_that_is_behind_are_one_per_reason() {
    let mut house = House::new(true);
    let clients: Vec<_> = (0..20).map(|n| house.json(n)).collect();
    clients.iter().for_each(|client| house.subscribe(client, &["t"]));
    for nth in 0..50 {
        // Taken out of the inbox each time, while the pass over the first is under way.
        house.publish("t", "m");
        let reason = [GapReason::Overflow, GapReason::Malformed][nth % 2];
        house.gap("t", reason);
        house.turn(1);
    }
    house.settle();
    let told = clients[0].told();
    assert_eq!(told.iter().filter(|text| *text == "m").count(), 50);
    let gaps = |reason: &str| told.iter().filter(|text| *text == reason).count();
    assert!((1..=5).contains(&gaps("gap:overflow")), "{told:?}");
    assert!((1..=5).contains(&gaps("gap:malformed")), "{told:?}");
}

/// A gap that waits stands for a later drop, too; so who joined between the two must hear of it.
#[test]
fn who_joined_before_a_drop_hears_of_it_though_an_earlier_gap_still_waits() {
    let mut house = House::new(true);
    let (old, late) = (house.json(1), house.json(2));
    house.subscribe(&old, &["t"]);
    house.gap("t", GapReason::Overflow);
    house.shard.take_inbox();
    house.subscribe(&late, &["t"]);
    house.gap("t", GapReason::Overflow);
    house.settle();
    assert_eq!(late.told(), ["subscribed:true", "gap:overflow"]);
    assert_eq!(old.told(), ["subscribed:true", "gap:overflow"], "one stands for both");
}

/// Nor does it stand for a drop behind a flip: who was answered by that flip was not live when it waited.
#[test]
fn who_joined_while_the_road_was_down_hears_of_a_drop_after_it_though_an_earlier_gap_still_waits() {
    let mut house = House::new(true);
    let (old, late) = (house.json(1), house.json(2));
    house.subscribe(&old, &["t"]);
    house.gap("t", GapReason::Overflow);
    house.road(false, &["t"]);
    house.shard.take_inbox();
    house.subscribe(&late, &["t"]);
    house.road(true, &["t"]);
    house.shard.take_inbox();
    house.gap("t", GapReason::Overflow);
    house.settle();
    assert_eq!(late.told(), ["subscribed:true", "gap:overflow"]);
    assert_eq!(
        old.told(),
        ["subscribed:true", "gap:overflow", "live:false", "gap:reconnected", "live:true", "gap:overflow"]
    );
}

/// An old master's loss may be known while the link to the new one is not made yet.
#[test]
fn a_gap_of_a_topic_that_is_not_live_is_told_once_it_is_since_when_something_is_missing() {
    let mut house = House::new(true);
    let client = house.json(1);
    house.subscribe(&client, &["t"]);
    house.settle();
    house.road(false, &["t"]);
    house.interest.gap(&topic("t"), GapReason::Reconnected, 5);
    house.settle();
    assert_eq!(client.told(), ["subscribed:true", "live:false"]);
    house.road(true, &["t"]);
    house.settle();
    assert_eq!(client.told()[2..], ["gap:reconnected", "live:true"], "one stands for both");
    assert_eq!(client.gaps(), [5], "it begins where the earlier does");
}

#[test]
fn who_never_was_live_hears_of_no_gap() {
    let mut house = House::new(false);
    let client = house.json(1);
    house.subscribe(&client, &["t"]);
    house.gap("t", GapReason::Malformed);
    house.settle();
    assert_eq!(client.told().len(), 0);
}

/// What stands in the history is read; what it never had is missing all the same.
#[test]
fn a_gap_of_a_history_that_is_not_live_is_told_once_it_is() {
    let rule = TopicRule { history_size: 10, ..TopicRule::default() };
    let mut house = House::under(true, TopicRules::new(vec![rule]));
    let client = house.json(1);
    house.subscribe(&client, &["t"]);
    answer(&house, Position::START);
    house.settle();
    house.road(false, &["t"]);
    house.interest.gap(&topic("t"), GapReason::Reconnected, 5);
    house.road(true, &["t"]);
    house.settle();
    assert_eq!(client.told(), ["subscribed:true"], "it is not known yet where it stands");
    answer(&house, Position::START);
    house.settle();
    assert_eq!(client.told(), ["subscribed:true", "gap:reconnected"]);
    assert_eq!(client.gaps(), [5]);
}
