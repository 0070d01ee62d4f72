//! A quiet topic of one subscriber beside a huge one that is kept busy: how long its publications wait.

use crate::{
    crowd::{Crowd, Group, apart::Priority, feed::Feed},
    report::progress,
    report::results::{Bar, Case},
    scenario::bench::Bench,
    scenario::pairs::ensure_clean,
    stage::{
        Measured, PREFIX, process,
        scrape::Buckets,
        urgent::{self, Urgent},
    },
};
use anyhow::Result;
use std::time::Duration;

const SOCKETS: usize = 10_000;
const HUGE: Feed = Feed::InFlight(8);
/// Now and then: no two of them at once.
const QUIET: Feed = Feed::Rate(50.0);
const TIME: Duration = Duration::from_secs(20);
/// Of one pass over the huge topic.
const BAR: Bar = Bar { most: 0.1 };
/// Windows of which the shortest pass counts.
const WINDOWS: usize = 3;
const HISTOGRAM: &str = "fanline_broadcast_seconds";

pub fn measure(bench: &Bench) -> Result<Vec<Case>> {
    let Some(gateway) = bench.stage.gateway()? else { return Ok(Vec::new()) };
    let sockets = bench.count(SOCKETS);
    progress::step(format!("connecting {sockets} sockets"));
    let mut crowd = Crowd::new(bench.stage.redis, PREFIX)?;
    let huge = crowd.connect(&gateway.server, &["load:huge".into()], sockets)?;
    let priority = if urgent::is_permitted() { Priority::RealTime } else { Priority::Usual };
    let mut apart = bench.stage.crowd(priority)?;
    let quiet = apart.connect(&gateway.server, &["load:quiet".into()], 1)?;

    let size = bench.plan.payload_bytes;
    progress::step("one pass over the huge topic");
    let pass = shortest(|| one_pass(bench, &gateway, &mut crowd, &huge))?;

    progress::step("the quiet topic beside it");
    let before = observed(&gateway)?;
    // Redis too: what its own wait for a core adds is not the gateway's.
    let _urgent = (priority == Priority::RealTime).then(|| Urgent::make(bench.stage.redis_pid()));
    let time = bench.time(TIME);
    apart.begin(&quiet, QUIET, size, time)?;
    let (of_huge, _) = crowd.run(&huge, HUGE, size, time)?;
    let (of_quiet, _) = apart.finish()?;
    [&of_huge, &of_quiet].into_iter().try_for_each(ensure_clean)?;
    let observed = observed(&gateway)?.since(&before);

    // The topics share one histogram. No publication reaches all sockets of the huge topic within a part of one pass,
    // so whatever lies that low is the quiet topic's.
    let count = of_quiet.publications;
    let at = |share: f64| observed.edge_of((count as f64 * share).ceil() as u64) / pass;
    let name = format!("a quiet topic beside one of {sockets} sockets, 8 in flight");
    let by_histogram = |share: f64, bar| {
        let title = format!("wait by pass, p{:.0} by the gateway's histogram: {name}", share * 100.0);
        Case::of_single(title, "×", bar, Some(at(share)), None)
    };
    let note = format!("at most: a bucket's edge; {count} publications, one pass {:.1} ms", pass * 1e3);
    let end_to_end = of_quiet.latency_ns.value_at_quantile(0.99) as f64 / 1e9 / pass;
    let (bar, note_end) = match priority {
        Priority::RealTime => (Some(BAR), "publisher, Redis and subscriber under chrt -f"),
        Priority::Usual => (None, "chrt -f is not permitted here, so the load's own core is part of it"),
    };
    let end = Case::of_single(format!("the same end to end, p99: {name}"), "×", bar, Some(end_to_end), None);
    Ok(vec![by_histogram(0.5, None), by_histogram(0.99, Some(BAR)).noted(note), end.noted(note_end)])
}

/// The shortest of several windows, behind one that only warms up: what connecting leaves in the caches is no part of a
/// pass.
fn shortest(mut pass: impl FnMut() -> Result<f64>) -> Result<f64> {
    pass()?;
    (0..WINDOWS).try_fold(f64::INFINITY, |least, _| Ok(pass()?.min(least)))
}

/// The CPU time of one publication to the huge topic, in seconds: a pass without what else the machine does meanwhile,
/// so the shortest that it can be.
fn one_pass(bench: &Bench, gateway: &Measured, crowd: &mut Crowd, huge: &Group) -> Result<f64> {
    let begun = process::cpu(gateway.pid())?;
    let (tally, _) = crowd.run(huge, Feed::InFlight(1), bench.plan.payload_bytes, bench.plan.window)?;
    ensure_clean(&tally)?;
    Ok((process::cpu(gateway.pid())? - begun).as_secs_f64() / tally.publications as f64)
}

fn observed(gateway: &Measured) -> Result<Buckets> {
    Ok(gateway.scrape()?.buckets(HISTOGRAM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_pass_is_the_shortest_of_three_windows_behind_a_warm_up() {
        let mut windows = [1.0, 9.0, 7.0, 8.0].into_iter();
        assert_eq!(shortest(|| windows.next().context("a window too many")).unwrap(), 7.0);
        assert_eq!(windows.next(), None);
    }
}
