//! One socket of a hundred never reads again: what the others feel of it, and where its bytes end up.

use crate::{
    crowd::{Crowd, feed::Feed, stuck::Stuck},
    report::progress,
    report::results::{Bar, Case},
    scenario::account::settled_pss,
    scenario::bench::Bench,
    scenario::pairs::{self, Side},
    stage::{Measured, PREFIX},
    wire::bus::Bus,
};
use anyhow::{Result, bail, ensure};
use std::{
    fs,
    time::{Duration, Instant},
};

const SOCKETS: usize = 1_000;
/// One of so many is stuck.
const STUCK_OF: usize = 100;
const P99: Bar = Bar { most: 1.25 };
/// The gateway's own account of it …
const ACCOUNT: Bar = Bar { most: 1.0 };
/// … and the kernel's, which sees what an allocator adds.
const MEMORY: Bar = Bar { most: 1.25 };

/// Nobody who is stuck may be closed, or the scenario would end before it is measured: neither for its stall, nor for
/// its full outbox, nor for the pong it never sends.
const CONFIG: &str = "[outbox]\nstall = \"off\"\nbytes = \"1MiB\"\n[heartbeat]\nevery = \"24h\"\n\
                      [[topics]]\nmatch = \"*\"\non_full = \"drop_oldest\"\n";
const MIB: f64 = 1024.0 * 1024.0;
/// `outbox.bytes` above.
const OUTBOX: f64 = MIB;
/// Only the stuck listen to it.
const FILLING_TOPIC: &str = "load:filling";
/// What fills kernel and outbox of those who are stuck, in bytes.
const FILLING: usize = 64 * 1024;
/// Drops per stuck socket that show that it is full …
const OVERFLOWS: usize = 10;
/// … looked for after each publication, so often, for so long.
const PACE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(30);
/// Small publications between two looks …
const RUN: usize = 64;
/// … and so often at most: an outbox holds less than 8,192 of 128 B.
const MOST_RUNS: usize = 256;

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
    let topics = ["load:burdened".to_owned(), FILLING_TOPIC.to_owned()];
    let stuck = Stuck::open(&burdened.server, &topics, count)?;
    progress::step("filling the outboxes of those who are stuck");
    let mut filler = Filler::new(bench, &burdened, &mut crowd, count)?;
    filler.overflow()?;
    filler.displace(bench.plan.payload_bytes)?;
    let name = format!("{sockets} sockets, {count} of them stuck");
    progress::step(format!("{name}, against none stuck"));
    let [first, second] = &sides;
    let outcome =
        pairs::measure(&mut crowd, [first, second], Feed::InFlight(1), &bench.plan, bench.plan.pairs, |_| true)?;
    let scrape = burdened.scrape()?;
    let left = scrape.sum("fanline_connections");
    ensure!(left as usize == sockets, "{left} of {sockets} connections are left");
    let held = settled_pss(&mut crowd, burdened.pid())? as f64 - settled_pss(&mut crowd, free.pid())? as f64;
    drop(stuck);
    let kept = by_configured(scrape.sum("fanline_outbox_bytes"), count);
    let memory =
        format!("{:.1} MiB more than with none stuck; who is stuck on one topic shares its payloads", held / MIB);
    let p99 = Case::of_estimate(format!("p99 of latency: {name}"), "×", Some(P99), outcome.p99_ratio);
    Ok(vec![
        Case { pairs: Some(outcome.clone()), ..p99 },
        Case::of_pairs(format!("CPU per delivery: {name}"), None, &outcome).noted("floor: none stuck"),
        Case::of_single(format!("outbox bytes by configured: {name}"), "×", Some(ACCOUNT), Some(kept), None),
        Case::of_single(
            format!("PSS of outboxes by configured: {name}"),
            "×",
            Some(MEMORY),
            Some(by_configured(held, count)),
            None,
        )
        .noted(memory),
    ])
}

/// Publishes to those who are stuck alone.
struct Filler<'a> {
    bus: Bus,
    gateway: &'a Measured,
    crowd: &'a mut Crowd,
    stuck: usize,
}

impl<'a> Filler<'a> {
    fn new(bench: &Bench, gateway: &'a Measured, crowd: &'a mut Crowd, stuck: usize) -> Result<Self> {
        Ok(Self { bus: Bus::connect(bench.stage.redis)?, gateway, crowd, stuck })
    }

    /// Until the outbox of each has overflown several times.
    fn overflow(&mut self) -> Result<()> {
        let (end, payload) = (Instant::now() + PATIENCE, vec![b'x'; FILLING]);
        while self.dropped()? < (self.stuck * OVERFLOWS) as f64 {
            ensure!(Instant::now() < end, "the outboxes of those who are stuck do not fill");
            self.publish(&payload, 1)?;
        }
        Ok(())
    }

    /// Until each publication of the size that is measured drops one of each: behind large ones, which make room for
    /// hundreds of small ones, hardly anything would be dropped while it is measured.
    fn displace(&mut self, size: usize) -> Result<()> {
        let (end, payload) = (Instant::now() + PATIENCE, vec![b'x'; size]);
        let mut before = self.dropped()?;
        for _ in 0..MOST_RUNS {
            ensure!(Instant::now() < end, "not full of small publications after {} s", PATIENCE.as_secs());
            self.publish(&payload, RUN)?;
            let after = self.dropped()?;
            if drops_each(after - before, self.stuck) {
                return Ok(());
            }
            before = after;
        }
        bail!("{} small publications do not each drop one of every stuck socket", MOST_RUNS * RUN)
    }

    fn publish(&mut self, payload: &[u8], times: usize) -> Result<()> {
        let channel = format!("{PREFIX}{FILLING_TOPIC}");
        (0..times).for_each(|_| self.bus.command(&[b"PUBLISH", channel.as_bytes(), payload]));
        self.bus.flush()?;
        self.crowd.idle(PACE)?;
        self.bus.fill()?;
        while self.bus.next()?.is_some() {}
        Ok(())
    }

    fn dropped(&self) -> Result<f64> {
        Ok(self.gateway.scrape()?.labelled("fanline_dropped_total", "reason=\"slow\""))
    }
}

/// Whether each publication of a run dropped one of each stuck socket. One publication alone may do so by chance.
fn drops_each(dropped: f64, stuck: usize) -> bool {
    dropped >= (RUN * stuck) as f64
}

/// What waits for those who are stuck, by what their outboxes may hold.
fn by_configured(bytes: f64, stuck: usize) -> f64 {
    bytes / (stuck as f64 * OUTBOX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outboxes_are_full_when_a_whole_run_of_publications_drops_one_of_each() {
        assert_eq!([640.0, 639.0, 10.0].map(|dropped| drops_each(dropped, 10)), [true, false, false]);
    }

    #[test]
    fn what_is_held_is_divided_by_the_outboxes_of_all_who_are_stuck() {
        assert_eq!(by_configured(5.0 * 1024.0 * 1024.0, 10), 0.5);
    }
}
