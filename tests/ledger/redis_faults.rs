//! What Redis does, or what is done to it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::task::block_in_place;

use crate::faults::{Form, Struck, between, hold};
use crate::ledger::{Keeps, Way};
use crate::producer::Producer;
use crate::support::proxy::{Class, Rule};
use crate::world::{PATIENCE, World, now};

/// The folder in which Redis writes down what it acknowledges.
const KEPT: &str = "appendonlydir";

pub async fn kill(world: &mut World, dice: &mut Rng, form: Form) -> Struck {
    block_in_place(|| world.redis.one_mut().kill());
    let dead = now();
    hold(between(dice, 100, if form == Form::Long { 5_000 } else { 1_500 })).await;
    back(world);
    let struck = Struck::broke(0..world.replicas.len());
    world.took_back(dead);
    struck
}

pub async fn restart(world: &mut World) -> Struck {
    block_in_place(|| world.redis.one_mut().stop());
    let dead = now();
    back(world);
    let struck = Struck::broke(0..world.replicas.len());
    world.took_back(dead);
    struck
}

pub async fn freeze(world: &mut World, dice: &mut Rng, form: Form) -> Struck {
    world.redis.one().freeze();
    // Longer than a canary may be overdue, so that every link is given up.
    hold(if form == Form::Long { Duration::from_secs(20) } else { between(dice, 5_500, 6_500) }).await;
    world.redis.one().thaw();
    Struck::broke(0..world.replicas.len())
}

pub async fn rollback(world: &mut World, dice: &mut Rng) -> Struck {
    let kept = world.redis.one().directory().join(KEPT);
    let older = tempfile::tempdir().unwrap();
    // Redis appends to its files, so what is copied is what it held a moment ago, perhaps less half a command.
    block_in_place(|| copy(&kept, older.path()));
    hold(between(dice, 500, 1_500)).await;
    block_in_place(|| world.redis.one_mut().kill());
    let dead = now();
    block_in_place(|| {
        fs::remove_dir_all(&kept).unwrap();
        copy(older.path(), &kept);
    });
    back(world);
    let struck = Struck { forgot: true, ..Struck::broke(0..world.replicas.len()) };
    world.took_back(dead);
    struck
}

pub async fn rewind(world: &mut World, dice: &mut Rng) -> Struck {
    world.set_clock(60);
    hold(Duration::from_millis(2_500)).await;
    world.set_clock(0);
    hold(Duration::from_millis(1_500)).await;
    let refuse = |world: &World, is: bool| world.replicas.iter().for_each(|replica| replica.proxy().refuse(is));
    refuse(world, true);
    let struck = rollback(world, dice).await;
    // Until more was published than was taken back, so that the replicas find the last position that they know, of
    // another publication.
    hold(Duration::from_millis(3_000)).await;
    refuse(world, false);
    Struck { lifted: Instant::now(), ..struck }
}

pub async fn hang_up(world: &mut World, dice: &mut Rng) -> Struck {
    for _ in 0..dice.u32(2..=6) {
        block_in_place(|| world.redis.one().cli(&["CLIENT", "KILL", "TYPE", "pubsub"]));
        hold(between(dice, 0, 150)).await;
    }
    Struck::broke(0..world.replicas.len())
}

/// One replica's link does not read, and big publications fill what Redis keeps for it.
pub async fn output_buffer(world: &mut World) -> Struck {
    let limit = |bytes: &str| {
        let value = format!("pubsub {bytes} 0 0");
        block_in_place(|| world.redis.one().cli(&["CONFIG", "SET", "client-output-buffer-limit", &value]))
    };
    limit("262144");
    let place = world.fullest().await;
    let links = || block_in_place(|| world.redis.one().cli(&["CLIENT", "LIST", "TYPE", "pubsub"])).lines().count();
    let before = links();
    world.replicas[place].proxy().rule(Class::Subscribers, Rule { stall: true, ..Rule::default() });
    let loud = world.ledger.topics.iter().position(|topic| topic.way == Way::Bus && topic.keeps == Keeps::Nothing);
    let loud = loud.expect("a topic without history, published at the master");
    let mut producer = Producer::new(&world.market);
    let deadline = Instant::now() + PATIENCE;
    // Other links may come back meanwhile; the one that stalls cannot.
    while links() >= before {
        assert!(Instant::now() < deadline, "Redis never dropped the link that does not read");
        let silence = world.market.gate.write().await;
        for _ in 0..8 {
            let _ = producer.publish(loud, 64 * 1024).await;
        }
        drop(silence);
    }
    limit("33554432");
    world.replicas[place].proxy().rule(Class::Subscribers, Rule::default());
    Struck { idle: false, ..Struck::broke([place]) }
}

pub async fn pause(world: &mut World, dice: &mut Rng, form: Form) -> Struck {
    let time = between(dice, 500, if form == Form::Long { 8_000 } else { 2_000 });
    block_in_place(|| world.redis.one().cli(&["CLIENT", "PAUSE", &time.as_millis().to_string(), "ALL"]));
    hold(time).await;
    Struck::over()
}

pub async fn flush(world: &mut World, dice: &mut Rng) -> Struck {
    hold(between(dice, 100, 500)).await;
    block_in_place(|| world.redis.one().cli(&["FLUSHALL"]));
    let gone = now();
    let struck = Struck { forgot: true, ..Struck::over() };
    hold(between(dice, 100, 500)).await;
    world.took_back(gone);
    struck
}

pub async fn out_of_memory(world: &mut World, dice: &mut Rng, form: Form) -> Struck {
    let limit = |bytes: &str| block_in_place(|| world.redis.one().cli(&["CONFIG", "SET", "maxmemory", bytes]));
    limit("1");
    hold(between(dice, 1_000, if form == Form::Long { 6_000 } else { 2_000 })).await;
    limit("0");
    Struck::over()
}

pub async fn clock_step(world: &mut World, dice: &mut Rng) -> Struck {
    for _ in 0..dice.u32(1..=2) {
        // Both ways, and seldom by little.
        let seconds = dice.i64(1..=120) * if dice.bool() { 1 } else { -1 };
        world.set_clock(seconds);
        hold(Duration::from_millis(1_500)).await;
    }
    world.set_clock(0);
    hold(Duration::from_millis(1_500)).await;
    Struck::over()
}

fn back(world: &mut World) {
    block_in_place(|| world.redis.one_mut().restart());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        // Redis may have thrown an old one away by now.
        let _ = fs::copy(entry.path(), to.join(entry.file_name()));
    }
}
