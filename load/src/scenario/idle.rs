//! What an idle connection holds, fresh and after a burst, and what its heartbeat costs.

use crate::{
    crowd::Crowd,
    crowd::feed::Feed,
    report::estimate::Estimate,
    report::progress,
    report::results::{Bar, Case},
    scenario::account::settled_pss,
    scenario::bench::Bench,
    scenario::pairs::ensure_clean,
    stage::{Measured, PREFIX, process},
    wire::sockets::PER_PROCESS,
};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

const SOCKETS: usize = 10_000;
const PSS: Bar = Bar { most: 2.5 };
/// Sockets that come and stay before memory is looked at, so that what a server allocates once is not divided by them.
const FIRST_COMERS: usize = 16;
/// Published at once to all of them …
const BURST: usize = 1_000;
/// … and given so long to arrive.
const BURST_TIME: Duration = Duration::from_secs(90);
/// Percent of a core.
const HEARTBEAT: Bar = Bar { most: 1.5 };
/// The default `heartbeat.every`: a window of it holds one ping of each connection, and one look whether it answered.
const EVERY: Duration = Duration::from_secs(25);
/// The default `heartbeat.timeout`, after which a connection is looked at again. So much behind the first ping all are
/// visited twice a cycle; before, the looks are missing.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Cycles measured, one by one.
const CYCLES: usize = 3;

/// PSS per connection, in KiB.
struct Held {
    fresh: f64,
    /// `None` where there was none.
    after_burst: Option<f64>,
}

pub fn measure(bench: &Bench) -> Result<Vec<Case>> {
    let count = bench.count(SOCKETS);
    let shared = ["load:idle".to_owned()];
    let own: Vec<String> = (0..count).map(|nth| format!("load:idle:{nth:05}")).collect();
    let mut cases = Vec::new();
    for (topics, what, bar) in [(&shared[..], "one topic for all", Some(PSS)), (&own[..], "a topic each", None)] {
        // The floor keeps nothing for a full socket, so that it cannot be asked what a burst leaves behind.
        let burst = (topics.len() == 1).then_some(Feed::Burst(BURST));
        let gateway = bench.stage.gateway()?.map(|gateway| held(bench, &gateway, topics, burst)).transpose()?;
        let floor = held(bench, &bench.stage.floor()?, topics, None)?;
        let [fresh, after] = ["fresh", "after a burst"]
            .map(|when| format!("PSS per connection, {when}: {count} idle connections, {what}"));
        cases.push(Case::of_single(fresh, "KiB", bar, gateway.as_ref().map(|held| held.fresh), floor.fresh));
        if let Some(after_burst) = gateway.and_then(|held| held.after_burst) {
            cases.push(Case::of_single(after, "KiB", bar, Some(after_burst), None));
        }
    }
    if let Some(gateway) = bench.stage.gateway()? {
        cases.push(heartbeat(bench, &gateway)?);
    }
    Ok(cases)
}

fn held(bench: &Bench, measured: &Measured, topics: &[String], burst: Option<Feed>) -> Result<Held> {
    let (count, pid) = (bench.count(SOCKETS), measured.pid());
    progress::step(format!("{count} idle connections on the {}", measured.name));
    let mut crowd = Crowd::new(bench.stage.redis, PREFIX)?;
    crowd.connect(&measured.server, &["load:first".into()], FIRST_COMERS)?;
    let before = settled_pss(&mut crowd, pid)?;
    let group = crowd.connect(&measured.server, topics, count)?;
    let per_connection = |pss: u64| pss.saturating_sub(before) as f64 / 1024.0 / count as f64;
    let fresh = per_connection(settled_pss(&mut crowd, pid)?);
    let Some(burst) = burst else { return Ok(Held { fresh, after_burst: None }) };
    progress::step(format!("a burst to {count} connections on the {}", measured.name));
    let (tally, _) = crowd.run(&group, burst, bench.plan.payload_bytes, BURST_TIME)?;
    ensure_clean(&tally)?;
    Ok(Held { fresh, after_burst: Some(per_connection(settled_pss(&mut crowd, pid)?)) })
}

/// Everybody answers their pings, and nobody says anything else.
fn heartbeat(bench: &Bench, gateway: &Measured) -> Result<Case> {
    let count = bench.count(PER_PROCESS);
    let mut crowd = Crowd::new(bench.stage.redis, PREFIX)?;
    progress::step(format!("{count} connections for their heartbeat"));
    crowd.connect(&gateway.server, &["load:idle".into()], count)?;
    progress::step(format!("the heartbeat of {count} connections"));
    let percents = cycles(|time| share(gateway.pid(), &mut crowd, bench.time(time)))?;
    let still = gateway.scrape()?.sum("fanline_connections");
    anyhow::ensure!(still as usize == count, "{still} of {count} connections are left");
    let percents = Estimate::of(percents).context("no cycles")?;
    Ok(Case::of_estimate(format!("heartbeat of {count} idle connections"), "% of a core", Some(HEARTBEAT), percents))
}

/// What whole cycles show, once they hold everything that a heartbeat does.
fn cycles(mut share: impl FnMut(Duration) -> Result<f64>) -> Result<Vec<f64>> {
    share(EVERY + TIMEOUT)?;
    (0..CYCLES).map(|_| share(EVERY)).collect()
}

/// Percent of a core that a process takes for some time in which nobody publishes.
fn share(pid: u32, crowd: &mut Crowd, time: Duration) -> Result<f64> {
    let (cpu, begun) = (process::cpu(pid)?, Instant::now());
    crowd.idle(time)?;
    let spent = process::cpu(pid)? - cpu;
    Ok(spent.as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_measured_over_whole_cycles_once_everybody_is_looked_at_too() {
        let mut waits = Vec::new();
        let shares = cycles(|time| {
            waits.push(time.as_secs());
            Ok(waits.len() as f64)
        });
        assert_eq!((shares.unwrap(), waits), (vec![2.0, 3.0, 4.0], vec![45, 25, 25, 25]));
    }
}
