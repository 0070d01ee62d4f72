//! Faults drawn by a seed, one after the other on one fleet.

use std::env;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::each::{LOOSE, SHARDED, alone, assert_clean, churning, storm};
use crate::faults::{Fault, Form};
use crate::report;
use crate::trial::{Row, trial};
use crate::world::{Setup, World};

/// So long where nobody says how long.
const SECONDS: u64 = 15;

fn seconds(name: &str, otherwise: u64) -> Duration {
    Duration::from_secs(env::var(name).ok().map_or(otherwise, |text| text.parse().expect("a number of seconds")))
}

/// Every fault by itself, as long as in life.
async fn each(seed: u64) -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    for fault in Fault::ALL.into_iter().chain(Fault::FAILOVERS) {
        // So much that what waited somewhere while Redis is away would be seen.
        let (clock, redis) = (fault == Fault::ClockStep, fault.redis());
        let crowd = Setup { clients: 200, filler: 8 * 1024, clock, redis, ..Setup::default() };
        let setup = match fault {
            Fault::Churn => churning(),
            Fault::OutputBuffer => Setup { toml: LOOSE, ..crowd },
            Fault::ShardKilled => Setup { toml: SHARDED, ..crowd },
            Fault::ReplicaKilled => storm(10_000),
            _ => crowd,
        };
        rows.push(Box::pin(alone(fault, setup, seed, Form::Long)).await?);
    }
    Some(rows)
}

/// Draws faults until the time is over.
async fn draw(seed: u64, time: Duration) -> Option<Vec<Row>> {
    let mut dice = Rng::with_seed(seed);
    let mut world = World::start(Setup { clock: true, toml: LOOSE, ..Setup::default() }).await?;
    let (began, mut rows) = (Instant::now(), Vec::new());
    while began.elapsed() < time {
        let fault = Fault::ALL[dice.usize(..Fault::ALL.len())];
        let row = trial(&mut world, fault, &mut dice, Form::Short).await;
        rows.push(row.clone());
        println!("{:4} s  {fault}", began.elapsed().as_secs());
        if !row.wrongs.is_empty() {
            println!("{}", report::table(&rows));
            assert_clean(&row, seed);
        }
    }
    println!("{}", report::table(&rows));
    Some(rows)
}

/// CHAOS_SECONDS of it, drawn by CHAOS_SEED; RELIABILITY=1 puts every fault by itself before that, and a report
/// behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_in_a_row_leave_nothing_lost_without_a_word() {
    let (seed, time) = (report::seed(), seconds("CHAOS_SECONDS", SECONDS));
    if env::var_os("RELIABILITY").is_none() {
        let _ = Box::pin(draw(seed, time)).await;
    } else if let Some(each) = Box::pin(each(seed)).await
        && let Some(drawn) = Box::pin(draw(seed, time)).await
    {
        report::write(seed, &each, &drawn);
    }
}
