//! A client that says to have seen what is not known here: whether it is right is its own business, and nobody else's.

use super::resume::{Act, Wish, World};
use super::*;
use crate::position::Position;

/// A world with two publications and one listener, number 0, whose socket takes everything.
fn world() -> World {
    let mut world = World::new();
    (0..4).for_each(|client| world.guests[client].give_room(1 << 20));
    world.act(Act::Join(0, Wish::Fresh));
    act(&mut world, &Act::Answer);
    (0..2).for_each(|_| world.act(Act::Publish));
    world.house.settle();
    assert_eq!(told(&world, 0), ["subscribed:true", "1", "2"]);
    world
}

/// Does it until nothing is asked of Redis any more.
fn act(world: &mut World, act: &Act) {
    for _ in 0..6 {
        world.house.settle();
        world.act(act.clone());
    }
    world.house.settle();
}

fn told(world: &World, client: usize) -> Vec<String> {
    world.guests[client].whole().iter().map(short).collect()
}

/// Client 1 resumes behind what nobody ever published.
fn claim(world: &mut World) {
    world.guests[1].left_at = Position::at(9_999);
    world.act(Act::Join(1, Wish::Left));
    world.house.settle();
}

fn recovered(world: &World, client: usize) -> bool {
    world.guests[client].whole()[0].json()["recovered"].as_bool().unwrap()
}

#[test]
fn where_the_history_cannot_be_read_only_who_asks_hears_of_it() {
    let mut world = world();
    claim(&mut world);
    act(&mut world, &Act::Refuse);
    assert!(!recovered(&world, 1));
    world.act(Act::Publish);
    world.house.settle();
    assert_eq!(told(&world, 0), ["subscribed:true", "1", "2", "3"]);
    assert_eq!(told(&world, 1), ["subscribed:true", "3"]);
}

#[test]
fn nobody_waits_while_it_is_looked_and_nothing_comes_twice() {
    let mut world = world();
    claim(&mut world);
    (0..2).for_each(|_| world.act(Act::Publish));
    world.house.settle();
    assert_eq!(told(&world, 0), ["subscribed:true", "1", "2", "3", "4"]);
    // What came by itself meanwhile is among what is read.
    act(&mut world, &Act::Answer);
    world.act(Act::Publish);
    world.house.settle();
    assert_eq!(told(&world, 0), ["subscribed:true", "1", "2", "3", "4", "5"]);
    assert!(!recovered(&world, 1));
}

#[test]
fn who_is_right_brings_everybody_what_was_missed() {
    let mut world = world();
    (0..5).for_each(|_| world.act(Act::Vanish));
    world.act(Act::Join(1, Wish::Newest));
    act(&mut world, &Act::Answer);
    assert_eq!(told(&world, 0), ["subscribed:true", "1", "2", "3", "4", "5", "6", "7"]);
    assert!(recovered(&world, 1));
}

/// What is read ends before what has come by itself, and Redis knows of more that has not come yet.
#[test]
fn what_is_on_its_way_while_it_is_looked_is_no_hole() {
    let mut world = world();
    claim(&mut world);
    (0..6).for_each(|_| world.act(Act::Publish));
    world.act(Act::Vanish);
    world.house.settle();
    act(&mut world, &Act::Answer);
    let all: Vec<_> = (1..=9).map(|n| n.to_string()).collect();
    assert_eq!(told(&world, 0)[1..], all);
    assert!(!recovered(&world, 1));
}

/// Once a second, however many ask.
#[test]
fn it_is_looked_once_for_all_who_say_so() {
    let mut world = world();
    for client in 1..4 {
        world.guests[client].left_at = Position::at(9_999);
        world.act(Act::Join(client, Wish::Left));
    }
    world.house.settle();
    assert_eq!(world.house.interest.asks.take().len(), 1);
}
