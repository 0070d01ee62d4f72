//! A replica takes its master's place. What the old master acknowledged and the new one does not have is gone,
//! and whoever had not got it must be told.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::task::block_in_place;

use crate::faults::{Struck, between, hold};
use crate::history;
use crate::ledger::{Keeps, Millis, Topic};
use crate::support::redis::RedisServer;
use crate::world::{World, now};

/// The longest that a failover may keep publishers and listeners waiting.
pub const ELECTED: Duration = Duration::from_secs(15);

/// What is published at the old master last may be heard so much later.
const APART: Millis = 500;

/// The Sentinels take the master for dead, and it goes on answering everybody else, as a master.
///
/// Each replica asks the Sentinels by itself, every two seconds, so one may publish at the new master while another is
/// at the old one still. Who has moved hears the old one, too, and who has not is told: all of it is owed.
///
/// With `cut` the new master hangs up on the first that have come, so that they come back to it while others publish at the
/// old one.
pub async fn old_master_answers(world: &mut World, dice: &mut Rng, mut cut: bool) -> Struck {
    hold(between(dice, 200, 1_000)).await;
    let all = block_in_place(|| listening(world, 0));
    block_in_place(|| world.redis.watched().shut_out(0));
    let (mut named, mut together) = (None, now());
    world
        .until("everybody listens to the new master", async |world| {
            let asked = now();
            let (there, name) = block_in_place(|| (listening(world, 1), world.redis.watched().named()));
            together = if is_master(world, 1) { together } else { asked };
            let is_new = name == Some(world.redis.watched().servers()[1].port());
            named = named.or(is_new.then(Instant::now));
            if cut && there > 0 {
                block_in_place(|| world.redis.watched().servers()[1].cli(&["CLIENT", "KILL", "TYPE", "pubsub"]));
                println!("hung up on {there} of {all} subscriptions at the new master");
                cut = false;
                return false;
            }
            there == all && named.is_some()
        })
        .await;
    let named = named.expect("the Sentinels agreed");
    let moved = named.elapsed();
    elected(world, now(), |world, topic| history::held(old(world), &world.ledger.topics[topic])).await;
    let apart = world.ledger.split(together, now() + APART);
    println!("{apart} publications while there were two masters");
    let broke = Struck::broke(0..world.replicas.len());
    Struck { lifted: named, noticed: Some(moved), elected: true, forgot: true, ..broke }
}

fn old(world: &World) -> &RedisServer {
    &world.redis.watched().servers()[0]
}

fn is_master(world: &World, server: usize) -> bool {
    block_in_place(|| world.redis.watched().servers()[server].cli(&["ROLE"]).starts_with("master"))
}

/// How many subscriptions a server has, of all topics.
fn listening(world: &World, server: usize) -> u64 {
    let channels: Vec<_> = world.ledger.topics.iter().map(Topic::channel).collect();
    let question: Vec<_> = ["PUBSUB", "NUMSUB"].into_iter().chain(channels.iter().map(String::as_str)).collect();
    world.redis.watched().servers()[server].cli(&question).lines().filter_map(|line| line.parse::<u64>().ok()).sum()
}

/// The master of a topic with a history dies, and its replica takes over.
pub async fn node_killed(world: &mut World, dice: &mut Rng) -> Struck {
    hold(between(dice, 200, 1_000)).await;
    let cluster = world.redis.cluster_mut();
    let topics: Vec<_> = world.ledger.topics.iter().filter(|topic| topic.keeps == Keeps::History).collect();
    let heir = block_in_place(|| {
        let victim = cluster.owner(&topics[dice.usize(..topics.len())].channel());
        let heir = cluster.replica_of(victim);
        cluster.kill(victim);
        heir
    });
    let (killed, dead) = (Instant::now(), now());
    let is_master = |world: &World| world.redis.cluster().masters().contains(&heir);
    world.until("its replica is master", async |world| block_in_place(|| is_master(world))).await;
    // One clock on one machine: new positions lie above all that were lost, so that no other life has begun.
    let lost = elected(world, dead, |_, _| HashSet::new()).await;
    Struck { lifted: killed, elected: true, forgot: lost > 0, ..Struck::over() }
}

/// In silence, so that no answer is on its way: what the masters of now do not have is lost. How many of `before`.
async fn elected(world: &World, before: Millis, former: impl Fn(&World, usize) -> HashSet<u64>) -> usize {
    let _silence = world.market.gate.write().await;
    let topics = world.ledger.topics.iter().enumerate().filter(|(_, topic)| topic.keeps == Keeps::History);
    let lost = topics.map(|(place, topic)| {
        let held = block_in_place(|| history::held(world.redis.master_of(topic), topic));
        world.ledger.elected(place, &held, &block_in_place(|| former(world, place)), before)
    });
    lost.sum()
}
