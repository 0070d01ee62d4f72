//! What replicas and clients do.

use std::time::Duration;

use fastrand::Rng;

use crate::client::Order;
use crate::faults::{Form, Struck, hold};
use crate::world::World;

/// Subscriptions that come and go in one storm of them.
const SHORT_CHURN: usize = 5_000;
const LONG_CHURN: usize = 100_000;

pub async fn replica_killed(world: &mut World) -> Struck {
    let place = world.fullest().await;
    let lifted = world.replace(place).await;
    Struck { lifted, moved: true, idle: false, ..Struck::over() }
}

/// Clients leave some of their topics and join them again, or others, mostly before the answer to the one before.
pub async fn churn(world: &mut World, dice: &mut Rng, form: Form) -> Struck {
    let count = world.ledger.topics.len();
    let before: Vec<_> = (0..world.crowd.len()).map(|member| world.crowd.wanted(member)).collect();
    let mut left = if form == Form::Long { LONG_CHURN } else { SHORT_CHURN };
    while left > 0 {
        let member = dice.usize(..world.crowd.len());
        let wanted = world.crowd.wanted(member);
        let topics: Vec<_> = wanted.iter().copied().filter(|_| dice.bool()).collect();
        left = left.saturating_sub(2 * topics.len().max(1));
        world.crowd.order(member, Order::Leave(topics.clone()));
        // Mostly the same again; now and then others, as many as before.
        let others = (0..count).filter(|topic| !wanted.contains(topic) || topics.contains(topic));
        let others: Vec<_> = others.collect();
        let begin = dice.usize(..others.len().max(1));
        let chosen = others.iter().cycle().skip(begin).take(topics.len()).copied().collect();
        world.crowd.order(member, Order::Join(if dice.u8(..4) == 0 { chosen } else { topics }));
        if dice.u8(..16) == 0 {
            // Now and then long enough for Redis to be told.
            hold(Duration::from_millis(dice.u64(1..=60))).await;
        }
    }
    for (member, before) in before.iter().enumerate() {
        let now = world.crowd.wanted(member);
        world.crowd.order(member, Order::Leave(now.difference(before).copied().collect()));
        world.crowd.order(member, Order::Join(before.difference(&now).copied().collect()));
    }
    Struck { idle: false, ..Struck::over() }
}
