//! Two servers measured in turn, window beside window, in alternating order.

use crate::{
    crowd::apart::Apart,
    crowd::faults::Faults,
    crowd::feed::Feed,
    crowd::{Crowd, Group, Tally},
    report::estimate::Estimate,
    report::figures::Latency,
    report::progress,
    scenario::account::micros,
    scenario::plan::Plan,
    stage::process,
    stop,
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

/// What a window is worth in which something was lost, came twice or out of order, or a socket was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing: the first one is an error.
    Fails,
    /// What was delivered counts, and the loss is said beside it: for servers that are not ours.
    IsShown,
}

/// What the pairs of one case have shown.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    pub pairs: usize,
    /// First by second, CPU per delivery.
    pub ratio: Estimate,
    /// First by second, the 99th percentile of latency.
    pub p99_ratio: Estimate,
    /// First by second, bytes on the wire per delivery.
    pub bytes_ratio: Estimate,
    /// How much of the first's deliveries came compressed, from 0 to 1.
    pub first_deflated: f64,
    /// CPU µs per delivery.
    pub first_us: Estimate,
    pub second_us: Estimate,
    pub first_latency: Option<Latency>,
    pub second_latency: Option<Latency>,
    /// Of all windows.
    pub first_faults: Faults,
}

impl Outcome {
    /// Whether two servers that are the same came out the same.
    pub fn is_level(&self) -> bool {
        (self.ratio.median - 1.0).abs() <= TOLERANCE
    }

    fn of(windows: &[(Window, Window)]) -> Result<Self> {
        let estimate = |of: &dyn Fn(&(Window, Window)) -> f64| Estimate::of(windows.iter().map(of)).context("no pairs");
        let ratio = |of: fn(&Window) -> f64| {
            let pairs: Vec<(f64, f64)> = windows.iter().map(|(first, second)| (of(first), of(second))).collect();
            Estimate::of_ratios(&pairs).context("no pairs")
        };
        let (firsts, seconds) = (windows.iter().map(|pair| &pair.0), windows.iter().map(|pair| &pair.1));
        Ok(Self {
            pairs: windows.len(),
            ratio: ratio(|window| window.us_per_delivery)?,
            p99_ratio: ratio(|window| window.latency_ns.value_at_quantile(0.99) as f64)?,
            bytes_ratio: ratio(|window| window.bytes_per_delivery)?,
            first_deflated: estimate(&|pair| pair.0.deflated)?.min,
            first_us: estimate(&|pair| pair.0.us_per_delivery)?,
            second_us: estimate(&|pair| pair.1.us_per_delivery)?,
            first_faults: firsts.clone().map(|window| window.faults).sum(),
            first_latency: latency(firsts),
            second_latency: latency(seconds),
        })
    }
}

/// Measures `pairs` pairs, and more of them until `enough` or the plan's end. Only the side whose window it is gets
/// publications; the other's sockets stay connected and silent.
pub fn measure(
    crowd: &mut Crowd,
    sides: [&Side; 2],
    feed: Feed,
    plan: &Plan,
    pairs: usize,
    enough: impl Fn(&Outcome) -> bool,
) -> Result<Outcome> {
    alternate(plan, pairs, enough, |place| {
        let side = sides[place];
        window(side.pid, plan, Loss::Fails, |time| crowd.run(&side.group, feed, plan.payload_bytes, time))
    })
}

/// The same, with a crowd in a process of its own for each side.
pub fn measure_apart(
    crowds: &mut [Apart; 2],
    sides: [&Side; 2],
    feed: Feed,
    plan: &Plan,
    pairs: usize,
    enough: impl Fn(&Outcome) -> bool,
) -> Result<Outcome> {
    alternate(plan, pairs, enough, |place| {
        let side = sides[place];
        window(side.pid, plan, Loss::Fails, |time| crowds[place].run(&side.group, feed, plan.payload_bytes, time))
    })
}

/// The same for a first side that may lose something where that is to be shown; the second may never. More than the
/// plan's pairs are measured until the two are level, or the plan's end.
pub fn measure_in_spite_of(
    loss: Loss,
    crowds: &mut [Apart; 2],
    sides: [&Side; 2],
    feed: Feed,
    plan: &Plan,
) -> Result<Outcome> {
    alternate(plan, plan.pairs, Outcome::is_level, |place| {
        let (side, loss) = (sides[place], [loss, Loss::Fails][place]);
        window(side.pid, plan, loss, |time| crowds[place].run(&side.group, feed, plan.payload_bytes, time))
    })
}

/// The order of windows: first and second in turn, and in every other pair the second begins.
fn alternate(
    plan: &Plan,
    pairs: usize,
    enough: impl Fn(&Outcome) -> bool,
    mut window: impl FnMut(usize) -> Result<Window>,
) -> Result<Outcome> {
    let mut windows = Vec::new();
    loop {
        // A crowd apart runs its windows by itself; between two of them we look whether anybody wants us to end.
        stop::check()?;
        progress::pair(windows.len() + 1, pairs.max(windows.len() + 1));
        windows.push(if windows.len().is_multiple_of(2) {
            let first = window(0)?;
            (first, window(1)?)
        } else {
            let second = window(1)?;
            (window(0)?, second)
        });
        if windows.len() < pairs {
            continue;
        }
        let outcome = Outcome::of(&windows)?;
        if windows.len() >= plan.most_pairs || enough(&outcome) {
            return Ok(outcome);
        }
    }
}

struct Window {
    us_per_delivery: f64,
    bytes_per_delivery: f64,
    deflated: f64,
    faults: Faults,
    latency_ns: hdrhistogram::Histogram<u64>,
}

fn window(
    pid: u32,
    plan: &Plan,
    loss: Loss,
    mut run: impl FnMut(Duration) -> Result<(Tally, Duration)>,
) -> Result<Window> {
    run(plan.warm_up)?;
    let begun = process::cpu(pid)?;
    let (tally, _) = run(plan.window)?;
    let spent = process::cpu(pid)? - begun;
    let faults = Faults::of(&tally);
    ensure!(faults.delivered > 0, "a window in which nothing came: {faults}");
    if loss == Loss::Fails {
        ensure_clean(&tally)?;
    }
    let deliveries = tally.deliveries as f64;
    Ok(Window {
        us_per_delivery: micros(spent) / deliveries,
        bytes_per_delivery: tally.bytes as f64 / deliveries,
        deflated: tally.deflated as f64 / deliveries,
        faults,
        latency_ns: tally.latency_ns,
    })
}

/// A window in which something went wrong is no figure.
pub fn ensure_clean(tally: &Tally) -> Result<()> {
    let faults = Faults::of(tally);
    ensure!(tally.is_clean() && tally.deliveries > 0, "a window that cannot be counted: {faults}");
    Ok(())
}

fn latency<'a>(mut windows: impl Iterator<Item = &'a Window>) -> Option<Latency> {
    let mut all = windows.next()?.latency_ns.clone();
    // All have the same bounds, so that nothing is refused.
    windows.for_each(|window| {
        let _ = all.add(&window.latency_ns);
    });
    Latency::of(&all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_cost(us: f64) -> Window {
        let latency_ns = Tally::new().unwrap().latency_ns;
        Window {
            us_per_delivery: us,
            bytes_per_delivery: us * 10.0,
            deflated: 0.0,
            faults: Faults::default(),
            latency_ns,
        }
    }

    #[test]
    fn windows_alternate_and_more_are_measured_until_it_is_enough() {
        let second = Duration::from_secs(1);
        let plan = Plan { most_pairs: 4, ..Plan::of(2, second, 1) };
        let mut order = Vec::new();
        let outcome = alternate(
            &plan,
            2,
            |outcome| outcome.pairs == 3,
            |place| {
                order.push(place);
                Ok(of_cost([4.0, 2.0][place]))
            },
        );
        let outcome = outcome.unwrap();
        assert_eq!(order, [0, 1, 1, 0, 0, 1]);
        assert_eq!((outcome.pairs, outcome.ratio.min, outcome.bytes_ratio.max), (3, 2.0, 2.0));
        assert_eq!((outcome.first_us.median, outcome.second_us.median), (4.0, 2.0));
    }
}
