//! Every fault by itself, in its short form.

use std::time::Duration;

use fastrand::Rng;

use crate::faults::{Fault, Form};
use crate::report;
use crate::servers::Kind;
use crate::trial::{Row, trial};
use crate::world::{Setup, World};

/// Puts a new world through one fault.
///
/// # Panics
/// When anything is not as it should be, with the table and the seed.
pub async fn alone(fault: Fault, setup: Setup, seed: u64, form: Form) -> Option<Row> {
    let mut world = World::start(setup).await?;
    let row = trial(&mut world, fault, &mut Rng::with_seed(seed), form).await;
    assert_clean(&row, seed);
    Some(row)
}

#[track_caller]
pub fn assert_clean(row: &Row, seed: u64) {
    let table = report::table(std::slice::from_ref(row));
    println!("{table}");
    assert!(row.wrongs.is_empty(), "CHAOS_SEED={seed}\n{}\n{table}", row.wrongs.join("\n"));
}

/// Topics come and go at Redis at once, clients may say as much as they want, and take bursts that are bigger.
pub const LOOSE: &str = "[redis]\nlinger = \"20ms\"\n[limits]\nmessages_per_second = 100000\nburst = 100000\n\
                         [outbox]\nbytes = \"32MiB\"\n";

/// Each topic is subscribed at the master of its slot.
pub const SHARDED: &str = "[redis]\nsharded = true\n";

pub fn churning() -> Setup {
    Setup { clients: 40, topics: 40, topics_each: 10, toml: LOOSE, ..Setup::default() }
}

/// All on one replica, and few publications, each to many.
pub fn storm(clients: usize) -> Setup {
    let pace = Duration::from_millis(100);
    Setup { clients, crowded: true, topics: 48, topics_each: 2, pace, ..Setup::default() }
}

/// On several Redis.
fn under(redis: Kind, toml: &'static str) -> Setup {
    Setup { redis, toml, ..Setup::default() }
}

macro_rules! faults {
    ($($name:ident: $fault:ident, $setup:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let _ = Box::pin(alone(Fault::$fault, $setup, report::seed(), Form::Short)).await;
        }
    )*};
}

faults! {
    a_redis_that_is_killed_takes_nothing_along_without_a_word: Kill, Setup::default();
    a_restart_of_redis_is_healed: Restart, Setup::default();
    a_frozen_redis_is_away_and_back: Freeze, Setup::default();
    a_redis_that_comes_back_with_an_older_history_is_no_trap: Rollback, Setup::default();
    subscribers_that_redis_hangs_up_on_while_they_come_back_miss_nothing_untold: HangUp, Setup::default();
    a_link_that_redis_drops_because_its_buffer_is_full_is_told: OutputBuffer, Setup { toml: LOOSE, ..Setup::default() };
    a_redis_that_pauses_its_clients_costs_nothing: Pause, Setup::default();
    positions_that_are_given_out_again_are_no_trap: Rewind, Setup { clock: true, ..Setup::default() };
    a_redis_that_forgets_all_it_has_costs_its_history_alone: Flush, Setup::default();
    a_redis_without_memory_refuses_what_it_cannot_keep: OutOfMemory, Setup::default();
    a_clock_that_steps_is_not_believed: ClockStep, Setup { clock: true, ..Setup::default() };
    a_link_that_is_cut_is_made_again: Cut, Setup::default();
    a_link_that_stalls_loses_nothing_untold: Stall, Setup::default();
    a_slow_link_is_slow_and_nothing_else: Slow, Setup::default();
    what_was_on_its_way_on_a_slow_link_that_is_cut_is_told: SlowCut, Setup::default();
    a_link_that_hears_nothing_is_noticed_and_made_again: Deaf, Setup::default();
    a_link_that_is_not_heard_is_noticed_and_made_again: Mute, Setup::default();
    the_clients_of_a_killed_replica_come_back_elsewhere: ReplicaKilled, Setup::default();
    a_thousand_clients_of_a_killed_replica_come_back_at_once: ReplicaKilled, storm(1_000);
    an_old_master_that_goes_on_answering_is_left_and_what_it_took_along_is_told: OldMaster, under(Kind::Watched, "");
    so_it_is_where_the_links_to_the_new_master_break_meanwhile: OldMasterCut, under(Kind::Watched, "");
    a_master_of_a_cluster_that_is_killed_is_replaced_and_what_it_took_along_is_told: NodeKilled, under(Kind::Cluster, "");
    so_it_is_with_sharded_channels: ShardKilled, under(Kind::Cluster, SHARDED);
    joins_that_race_with_leaves_hear_what_they_joined_and_nothing_else: Churn, churning();
}
