//! One socket of a hundred never reads again: what the others feel of it, and where its bytes end up.

use crate::{
    crowd::{Crowd, feed::Feed, stuck::Stuck},
    report::progress,
    report::results::{Bar, Case},
    scenario::bench::Bench,
    scenario::pairs::{self, Side},
    stage::{Measured, PREFIX},
    wire::bus::Bus,
};
use anyhow::{Result, ensure};
use std::{
    fs,
    time::{Duration, Instant},
};

const SOCKETS: usize = 1_000;
/// One of so many is stuck.
const STUCK_OF: usize = 100;
const P99: Bar = Bar { most: 1.25 };

/// Nobody who is stuck may be closed, or the scenario would end before it is measured: neither for its stall, nor for
/// its full outbox, nor for the pong it never sends.
const CONFIG: &str = "[outbox]\nstall = \"off\"\nbytes = \"1MiB\"\n[heartbeat]\nevery = \"24h\"\n\
                      [[topics]]\nmatch = \"*\"\non_full = \"drop_oldest\"\n";
/// `outbox.bytes` above.
const OUTBOX: f64 = 1024.0 * 1024.0;
/// What fills kernel and outbox of those who are stuck, in bytes.
const FILLING: usize = 64 * 1024;
/// Drops per stuck socket that show that it is full …
const OVERFLOWS: usize = 10;
/// … looked for after each publication, so often, for so long.
const PACE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(30);

pub fn measure(bench: &Bench) -> Result<Vec<Case>> {
    let config = bench.stage.home().join("slow.toml");
    fs::write(&config, CONFIG)?;
    let config = config.to_string_lossy().into_owned();
    let gateway = || bench.stage.gateway_with(&["--config", &config]);
    let (Some(burdened), Some(free)) = (gateway()?, gateway()?) else { return Ok(Vec::new()) };
    let (sockets, count) = (bench.count(SOCKETS), bench.count(SOCKETS).div_ceil(STUCK_OF));
    progress::step("connecting");
    let mut crowd = Crowd::new(bench.stage.redis, PREFIX)?;
    let mut side = |measured: &Measured, topic: &str, sockets| {
        let group = crowd.connect(&measured.server, &[topic.to_owned()], sockets)?;
        anyhow::Ok(Side { pid: measured.pid(), group })
    };
    let sides = [side(&burdened, "load:burdened", sockets - count)?, side(&free, "load:free", sockets - count)?];
    let topics = ["load:burdened".to_owned(), "load:filling".to_owned()];
    let stuck = Stuck::open(&burdened.server, &topics, count)?;
    progress::step("filling the outboxes of those who are stuck");
    fill(bench, &burdened, &mut crowd, count)?;
    let name = format!("{sockets} sockets, {count} of them stuck");
    progress::step(format!("{name}, against none stuck"));
    let [first, second] = &sides;
    let outcome =
        pairs::measure(&mut crowd, [first, second], Feed::InFlight(1), &bench.plan, bench.plan.pairs, |_| true)?;
    let scrape = burdened.scrape()?;
    let left = scrape.sum("fanline_connections");
    ensure!(left as usize == sockets, "{left} of {sockets} connections are left");
    drop(stuck);
    let kept = scrape.sum("fanline_outbox_bytes") / (count as f64 * OUTBOX);
    let p99 = Case::of_estimate(format!("p99 of latency: {name}"), "×", Some(P99), outcome.p99_ratio);
    Ok(vec![
        Case { pairs: Some(outcome.clone()), ..p99 },
        Case::of_pairs(format!("CPU per delivery: {name}"), None, &outcome).noted("floor: none stuck"),
        Case::of_single(format!("outbox bytes by configured: {name}"), "×", Some(Bar { most: 1.0 }), Some(kept), None),
    ])
}

/// Publishes to those who are stuck alone, until the outbox of each has overflown several times.
fn fill(bench: &Bench, burdened: &Measured, crowd: &mut Crowd, count: usize) -> Result<()> {
    let mut bus = Bus::connect(bench.stage.redis)?;
    let (channel, payload) = (format!("{PREFIX}load:filling"), vec![b'x'; FILLING]);
    let end = Instant::now() + PATIENCE;
    while burdened.scrape()?.labelled("fanline_dropped_total", "reason=\"slow\"") < (count * OVERFLOWS) as f64 {
        ensure!(Instant::now() < end, "the outboxes of those who are stuck do not fill");
        bus.command(&[b"PUBLISH", channel.as_bytes(), &payload]);
        bus.flush()?;
        crowd.idle(PACE)?;
        bus.fill()?;
        while bus.next()?.is_some() {}
    }
    Ok(())
}
