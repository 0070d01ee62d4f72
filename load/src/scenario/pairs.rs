//! Two servers measured in turn, window beside window, in alternating order.

use crate::{
    crowd::feed::Feed,
    crowd::{Crowd, Group},
    report::figures::{Latency, Spread, ratios},
    scenario::fanout::micros,
    stage::process,
};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::time::Duration;

/// How far the floor may stand from itself before a machine counts as noisy.
pub const TOLERANCE: f64 = 0.02;

/// One of the two: its process, and the sockets that listen to it.
pub struct Side {
    pub pid: u32,
    pub group: Group,
}

/// How long and how often.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Plan {
    pub pairs: usize,
    /// Where measuring longer ends.
    pub most_pairs: usize,
    pub window: Duration,
    /// Unmeasured, before each window: caches come from the other server's window.
    pub warm_up: Duration,
    pub payload_bytes: usize,
}

/// What the pairs of one case have shown.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    pub pairs: usize,
    /// First by second, CPU per delivery.
    pub ratio: Spread,
    /// CPU µs per delivery.
    pub first_us: Spread,
    pub second_us: Spread,
    pub first_latency: Option<Latency>,
    pub second_latency: Option<Latency>,
}

impl Outcome {
    /// Whether two servers that are the same came out the same.
    pub fn is_level(&self) -> bool {
        (self.ratio.median - 1.0).abs() <= TOLERANCE
    }
}

/// Measures `pairs` pairs, and more of them until `enough` or the plan's end. Only the side whose window it is gets
/// publications; the other's sockets stay connected and silent.
pub fn measure(
    crowd: &mut Crowd,
    [first, second]: [&Side; 2],
    feed: Feed,
    plan: &Plan,
    pairs: usize,
    enough: impl Fn(&Outcome) -> bool,
) -> Result<Outcome> {
    let (mut samples, mut latencies) = (Vec::new(), (None, None));
    loop {
        let (one, other) = if samples.len().is_multiple_of(2) {
            let one = window(crowd, first, feed, plan)?;
            (one, window(crowd, second, feed, plan)?)
        } else {
            let other = window(crowd, second, feed, plan)?;
            (window(crowd, first, feed, plan)?, other)
        };
        samples.push((one.us_per_delivery, other.us_per_delivery));
        latencies = (merge(latencies.0, one.latency_ns), merge(latencies.1, other.latency_ns));
        if samples.len() < pairs {
            continue;
        }
        let outcome = Outcome {
            pairs: samples.len(),
            ratio: ratios(&samples).context("no pairs")?,
            first_us: Spread::of(samples.iter().map(|pair| pair.0)).context("no pairs")?,
            second_us: Spread::of(samples.iter().map(|pair| pair.1)).context("no pairs")?,
            first_latency: latencies.0.as_ref().and_then(Latency::of),
            second_latency: latencies.1.as_ref().and_then(Latency::of),
        };
        if samples.len() >= plan.most_pairs || enough(&outcome) {
            return Ok(outcome);
        }
    }
}

type Nanoseconds = hdrhistogram::Histogram<u64>;

struct Window {
    us_per_delivery: f64,
    latency_ns: Nanoseconds,
}

fn window(crowd: &mut Crowd, side: &Side, feed: Feed, plan: &Plan) -> Result<Window> {
    crowd.run(&side.group, feed, plan.payload_bytes, plan.warm_up)?;
    let begun = process::cpu(side.pid)?;
    let (tally, _) = crowd.run(&side.group, feed, plan.payload_bytes, plan.window)?;
    let spent = process::cpu(side.pid)? - begun;
    ensure!(
        tally.is_clean() && tally.deliveries > 0,
        "a window that cannot be counted: {} delivered, {} lost, {} twice, {} out of order, {} sockets closed",
        tally.deliveries,
        tally.lost,
        tally.duplicates,
        tally.misordered,
        tally.closed
    );
    Ok(Window { us_per_delivery: micros(spent) / tally.deliveries as f64, latency_ns: tally.latency_ns })
}

fn merge(all: Option<Nanoseconds>, window: Nanoseconds) -> Option<Nanoseconds> {
    match all {
        None => Some(window),
        Some(mut all) => {
            // Both have the same bounds, so that nothing is refused.
            let _ = all.add(window);
            Some(all)
        }
    }
}
