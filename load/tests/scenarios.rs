//! Every scenario at a tiny size, with the real gateway and a real redis-server: it runs, counts every delivery and prints its
//! lines. No speed is judged.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
};

/// The gateway beside this test's own binary, built where it is not as its sources are.
fn gateway() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let load = Path::new(env!("CARGO_BIN_EXE_fanline-load"));
        let binary = load.with_file_name("fanline");
        let folder = load.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let profile = if folder == "debug" { "dev" } else { folder };
        let mut build = Command::new(env!("CARGO"));
        // The whole workspace's features, as the tests around this one have them: nothing is built twice.
        build.args(["build", "--locked", "--workspace", "--bin", "fanline", "--profile", profile]);
        assert!(build.status().unwrap().success(), "the gateway cannot be built");
        binary
    })
}

/// The first core, which every scenario pins its server to: one at a time, so that they do not starve each other.
fn stage() -> MutexGuard<'static, ()> {
    static STAGE: Mutex<()> = Mutex::new(());
    // Whoever failed has left the core all the same.
    STAGE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a scenario prints at a fiftieth of its size, one short window each.
fn lines(scenario: &str) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanline-load"));
    command.arg(scenario).arg("--gateway").arg(gateway());
    command.args(["--scale", "0.02", "--pairs", "1", "--window", "0.2"]);
    let _alone = stage();
    let output = command.output().unwrap();
    let (said, complained) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    if thread::available_parallelism().unwrap().get() == 1 {
        assert!(complained.contains("a second core is needed"), "{complained}");
        return Vec::new();
    }
    assert!(output.status.success(), "{said}{complained}");
    said.lines().skip(1).map(str::to_owned).collect()
}

/// As many lines with a bar as were asked for, each judged.
#[track_caller]
fn judged(scenario: &str, wanted: usize) -> Vec<String> {
    let lines = lines(scenario);
    let bars = lines.iter().filter(|line| line.contains('≤'));
    let judged = bars.filter(|line| line.contains("ok") || line.contains("MISSED")).count();
    assert!(lines.is_empty() || judged == wanted, "{lines:#?}");
    lines
}

#[test]
fn fanout_is_measured_against_the_floor_at_three_sizes() {
    judged("fanout", 3);
}

#[test]
fn topics_are_published_to_in_turn() {
    judged("topics", 2);
}

#[test]
fn json_stands_beside_plain() {
    judged("json", 1);
}

#[test]
fn compressed_deliveries_are_inflated_counted_and_smaller() {
    let lines = judged("deflate", 2);
    assert!(lines.is_empty() || lines[0].starts_with("plain against plain: "), "{lines:#?}");
    assert!(lines.is_empty() || lines[2].starts_with("bytes on the wire") && lines[2].ends_with("ok"), "{lines:#?}");
}

#[test]
fn ingest_loses_nothing() {
    judged("ingest", 1);
}

#[test]
fn connecting_has_a_price() {
    judged("connect", 3);
}

#[test]
fn idle_connections_hold_memory_before_and_after_a_burst() {
    let lines = judged("idle", 3);
    let burst: Vec<&String> = lines.iter().filter(|line| line.contains("after a burst")).collect();
    // The floor keeps nothing for a full socket: only the gateway has a figure.
    assert!(burst.iter().all(|line| line.matches("KiB").count() == 2), "{lines:#?}");
    // Several cycles, and what they lie between.
    let range = |line: &str| {
        line.split_whitespace().any(|cell| cell.split('-').filter(|end| end.parse::<f64>().is_ok()).count() == 2)
    };
    assert!(lines.iter().filter(|line| line.starts_with("heartbeat")).all(|line| range(line)), "{lines:#?}");
}

#[test]
fn connections_come_and_go_without_losing_anybody_else_s_messages() {
    judged("churn", 2);
}

#[test]
fn stuck_sockets_stay_and_are_dropped_for() {
    judged("slow", 3);
}

#[test]
fn a_quiet_topic_is_found_in_the_gateway_s_histogram() {
    let lines = lines("quiet");
    assert!(lines.is_empty() || lines.iter().any(|line| line.contains("p99 by the gateway's histogram")), "{lines:#?}");
}

#[test]
fn all_topics_are_live_again_after_redis_restarts() {
    let lines = judged("resubscribe", 1);
    assert!(lines.is_empty() || lines[0].contains("none lost"), "{lines:#?}");
}

#[test]
fn a_gateway_that_does_not_start_is_a_failed_scenario_and_not_a_figure() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanline-load"));
    command.args(["json", "--gateway", "/bin/false", "--pairs", "1", "--window", "0.1"]);
    let _alone = stage();
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("ended at once") || said.contains("a second core is needed"), "{said}");
}

#[test]
fn growth_says_cost_and_memory_at_four_sizes() {
    let lines = lines("growth");
    let memory = lines.iter().filter(|line| line.contains("PSS per connection")).count();
    let cost = lines.iter().filter(|line| line.starts_with("gateway against floor: growth")).count();
    assert!(lines.is_empty() || (memory, cost) == (4, 5), "{lines:#?}");
}

#[test]
fn a_publication_reaches_everybody_on_every_replica_exactly_once() {
    if thread::available_parallelism().unwrap().get() == 1 {
        return;
    }
    let mut fleet = Command::new(env!("CARGO_BIN_EXE_fanline-load"));
    fleet.arg("fleet").arg("--gateway").arg(gateway());
    let _alone = stage();
    let out = tempfile::tempdir().unwrap();
    fleet.args(["--connections", "301", "--replicas", "3", "--publications", "3"]).arg("--out").arg(out.path());
    let output = fleet.output().unwrap();
    let (said, complained) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{said}{complained}");
    assert!(said.contains("3, 903: everybody got everything exactly once"), "{said}");
    let results = fs::read_to_string(out.path().join("RESULTS.md")).unwrap();
    assert!(
        results.contains("| 3 publications, 903 deliveries | everybody got everything exactly once |"),
        "{results}"
    );
}
