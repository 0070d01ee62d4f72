//! What a client that resumes is promised is what can be proven.

use serde_json::Value;

use super::resume::{Act, Wish, World};
use super::*;
use crate::metrics::Recovered;
use crate::position::Position;

/// A world in which so many were published, and nobody listens yet.
fn world(published: usize) -> World {
    let mut world = World::new();
    (0..published).for_each(|_| world.act(Act::Publish));
    world
}

fn answer(world: &mut World) {
    for _ in 0..6 {
        world.house.settle();
        world.act(Act::Answer);
    }
    world.house.settle();
}

/// Joins as client 0, whose socket takes everything, and answers what it is told.
fn joined(world: &mut World, wish: Wish) -> Vec<Value> {
    world.guests[0].give_room(1 << 20);
    world.act(Act::Join(0, wish));
    answer(world);
    let told = world.guests[0].whole().iter().map(Frame::json).collect();
    world.act(Act::Leave(0));
    told
}

/// `subscribed` alone, and whether it has recovered.
#[track_caller]
fn recovered(told: &[Value]) -> bool {
    assert_eq!((told.len(), &told[0]["type"], &told[0]["live"]), (1, &"subscribed".into(), &true.into()), "{told:?}");
    told[0]["recovered"].as_bool().unwrap()
}

/// Redis is emptied: nothing is kept, and it is not remembered that anything ever was.
fn flush(world: &mut World) {
    world.kept.clear();
    world.newest = Position::START;
}

#[test]
fn the_newest_of_nothing_are_none_and_nothing_is_missing() {
    for wish in [Wish::Last(5), Wish::Since(0)] {
        assert!(recovered(&joined(&mut world(0), wish)), "nothing was ever published");
    }
    let mut expired = world(3);
    expired.kept.clear();
    assert!(recovered(&joined(&mut expired, Wish::Last(5))));
    assert!(!recovered(&joined(&mut expired, Wish::Since(0))), "three were published, and are gone");
    assert!(recovered(&joined(&mut expired, Wish::Since(4))), "none of them at this time or later");
}

/// A crowd that asks for what is not there costs one read together.
#[test]
fn that_there_is_nothing_is_read_once_for_all_who_ask() {
    let mut world = world(0);
    (0..4).for_each(|client| world.act(Act::Join(client, Wish::Last(5))));
    // Where the topic stands, and what it keeps.
    for _ in 0..2 {
        world.act(Act::Answer);
        world.house.settle();
    }
    for guest in &world.guests {
        guest.give_room(1 << 20);
        assert!(recovered(&guest.whole().iter().map(Frame::json).collect::<Vec<_>>()));
    }
}

#[test]
fn a_time_proves_nothing_on_a_topic_that_was_flushed() {
    let mut world = world(3);
    flush(&mut world);
    assert!(!recovered(&joined(&mut world, Wish::Since(1))), "nothing is known of the topic");
    world.clock = 9;
    world.act(Act::Publish);
    assert!(!recovered(&joined(&mut world, Wish::Since(2))), "the first that is known is younger");
    let told = joined(&mut world, Wish::Since(10));
    assert_eq!((told.len(), &told[0]["recovered"]), (2, &true.into()), "it is the first of this very moment: {told:?}");
    let told = joined(&mut world, Wish::Since(11));
    assert!(recovered(&told), "the one at 10 proves that nothing is missing behind it: {told:?}");
    let told = joined(&mut world, Wish::Since(0));
    assert_eq!((told.len(), &told[0]["recovered"]), (2, &true.into()), "all there is: {told:?}");
}

#[test]
fn who_asks_for_what_cannot_be_read_is_told_so() {
    for wish in [Wish::Last(5), Wish::Since(0), Wish::Since(2)] {
        let mut world = world(3);
        world.guests[0].give_room(1 << 20);
        world.act(Act::Join(0, wish));
        world.house.settle();
        world.act(Act::Answer);
        world.house.settle();
        world.act(Act::Refuse);
        world.house.settle();
        assert!(!recovered(&world.guests[0].whole().iter().map(Frame::json).collect::<Vec<_>>()));
    }
}

/// The log makes room for others while somebody is at it: it goes on, from where it stands.
#[test]
fn what_made_room_is_read_again_and_nobody_who_resumes_misses_anything() {
    let mut world = world(1_000);
    world.act(Act::Join(0, Wish::Last(900)));
    for round in 0..400 {
        world.act(Act::Answer);
        world.house.settle();
        world.guests[0].give_room(400);
        if round % 7 == 0 {
            world.act(Act::Evict);
        }
    }
    world.settle();
    assert!(world.house.metrics.recovered(Recovered::Reread).get() > 2);
    assert_eq!(world.house.metrics.gaps(GapReason::Slow).get(), 0);
    assert_eq!(world.house.metrics.recovered(Recovered::Resumed).get(), 1);
}
