//! What the network between replicas and Redis does.

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::faults::{Form, Struck, between, hold, noticed};
use crate::support::proxy::{Class, Rule};
use crate::world::World;

const BOTH: [Class; 2] = [Class::Subscribers, Class::Commands];

/// All of the replicas, or one of them.
fn some(world: &World, dice: &mut Rng) -> Vec<usize> {
    let all = 0..world.replicas.len();
    if dice.bool() { all.collect() } else { vec![dice.usize(all)] }
}

fn rule(world: &World, places: &[usize], classes: &[Class], rule: Rule) {
    for place in places {
        classes.iter().for_each(|class| world.replicas[*place].proxy().rule(*class, rule));
    }
}

pub async fn cut(world: &mut World, dice: &mut Rng, form: Form) -> Struck {
    let places = some(world, dice);
    let proxy = |place: &usize| world.replicas[*place].proxy();
    places.iter().for_each(|place| proxy(place).refuse(true));
    places.iter().for_each(|place| BOTH.iter().for_each(|class| proxy(place).cut(*class)));
    hold(between(dice, 0, if form == Form::Long { 10_000 } else { 2_000 })).await;
    places.iter().for_each(|place| proxy(place).refuse(false));
    Struck::broke(places)
}

pub async fn stall(world: &mut World, dice: &mut Rng, form: Form) -> Struck {
    let places = some(world, dice);
    rule(world, &places, &BOTH, Rule { stall: true, ..Rule::default() });
    hold(between(dice, 500, if form == Form::Long { 12_000 } else { 5_000 })).await;
    rule(world, &places, &BOTH, Rule::default());
    Struck::over()
}

pub async fn slow(world: &mut World, dice: &mut Rng, form: Form) -> Struck {
    let places = some(world, dice);
    let delay = between(dice, 50, 300);
    rule(world, &places, &BOTH, Rule { delay, ..Rule::default() });
    hold(between(dice, 2_000, if form == Form::Long { 10_000 } else { 3_000 })).await;
    rule(world, &places, &BOTH, Rule::default());
    Struck::over()
}

/// What is on its way when a connection breaks is lost, though it was published before the last that came.
pub async fn slow_cut(world: &mut World, dice: &mut Rng) -> Struck {
    let places = some(world, dice);
    let delay = between(dice, 100, 300);
    rule(world, &places, &BOTH, Rule { delay, ..Rule::default() });
    hold(between(dice, 500, 1_500)).await;
    places.iter().for_each(|place| world.replicas[*place].proxy().renew());
    Struck::broke(places)
}

/// The link looks well and hears nothing, while Redis answers commands.
pub async fn deaf(world: &mut World, dice: &mut Rng) -> Struck {
    let place = dice.usize(..world.replicas.len());
    rule(world, &[place], &[Class::Subscribers], Rule { swallow_down: true, ..Rule::default() });
    half_open(world, place, Instant::now()).await
}

/// Nothing that the replica sends arrives, and nobody says so.
pub async fn mute(world: &mut World, dice: &mut Rng) -> Struck {
    let place = dice.usize(..world.replicas.len());
    rule(world, &[place], &BOTH, Rule { swallow_up: true, ..Rule::default() });
    half_open(world, place, Instant::now()).await
}

async fn half_open(world: &mut World, place: usize, since: Instant) -> Struck {
    let noticed = noticed(world, place, since).await;
    hold(Duration::from_millis(500)).await;
    // What vanished is gone for good, so the connections it vanished from are, too.
    world.replicas[place].proxy().renew();
    Struck { noticed: Some(noticed), ..Struck::broke([place]) }
}
