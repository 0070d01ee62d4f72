//! Connections that come and go all the time, beside steady publishing: what a replacement costs, and that memory
//! stays where it was.

use crate::{
    crowd::{Crowd, Group, feed::Feed},
    report::estimate::Estimate,
    report::progress,
    report::results::{Bar, Case},
    scenario::account::{micros, settled_pss},
    scenario::bench::Bench,
    scenario::pairs::ensure_clean,
    stage::{Measured, PREFIX, process},
};
use anyhow::{Context, Result};
use std::time::Duration;

const SOCKETS: usize = 1_000;
/// Replaced per second.
const REPLACED: f64 = 500.0;
/// Published per second, to all of them.
const PUBLISHED: Feed = Feed::Rate(20.0);
/// Unmeasured, of all sockets.
const TURNOVERS: usize = 3;
/// Ours, for the issue names none: a connect may cost 80 µs, and its goodbye half as much.
const COST: Bar = Bar { most: 120.0 };
/// Ours: "flat" is within 10 %.
const MEMORY: Bar = Bar { most: 1.10 };

/// One server and those who come and go.
struct Scene<'a> {
    measured: &'a Measured,
    topic: String,
    group: Group,
    /// Whose turn it is to go.
    next: usize,
}

pub fn measure(bench: &Bench) -> Result<Vec<Case>> {
    let (floor, gateway) = (bench.stage.floor()?, bench.stage.gateway()?);
    let mut crowd = Crowd::new(bench.stage.redis, PREFIX)?;
    let (mut floors, mut gateways) = (Vec::new(), Vec::new());
    let mut floor = Scene::open(bench, &mut crowd, &floor, "load:floor")?;
    let mut gateway = gateway.as_ref().map(|one| Scene::open(bench, &mut crowd, one, "load:gateway")).transpose()?;
    floor.settle(bench, &mut crowd)?;
    let mut before = 0;
    if let Some(scene) = &mut gateway {
        scene.settle(bench, &mut crowd)?;
        before = settled_pss(&mut crowd, scene.measured.pid())?;
    }
    for nth in 0..bench.plan.pairs {
        progress::pair(nth + 1, bench.plan.pairs);
        floors.push(floor.replacement(bench, &mut crowd)?);
        if let Some(scene) = &mut gateway {
            gateways.push(scene.replacement(bench, &mut crowd)?);
        }
    }
    let floor_us = Estimate::of(floors.iter().copied().filter(undisturbed)).context("the machine is too noisy")?;
    let name =
        |what: &str| format!("{what}: {} held, {} a second replaced", floor.group.sockets(), bench.rate(REPLACED));
    let Some(scene) = gateway else {
        return Ok(vec![Case::of_single(name("CPU per connect and close"), "µs", Some(COST), None, floor_us.median)]);
    };
    let after = settled_pss(&mut crowd, scene.measured.pid())?;
    let cost = by_itself(name("CPU per connect and close"), &gateways);
    Ok(vec![
        Case { floor: Some(floor_us.median), ..cost },
        beside_the_floor(name("the same against the floor"), &gateways, &floors),
        Case::of_single(name("PSS after by before"), "×", Some(MEMORY), Some(after as f64 / before as f64), None)
            .noted(format!("{:.1} MiB after", after as f64 / (1024.0 * 1024.0))),
    ])
}

/// A window in which replacements cost nothing was disturbed by more than they cost, and divides nothing: it is left out,
/// and said.
fn undisturbed(us: &f64) -> bool {
    *us > 0.0
}

fn by_itself(name: String, gateways: &[f64]) -> Case {
    let case = match Estimate::of(gateways.iter().copied().filter(undisturbed)) {
        Some(us) => Case::of_estimate(name, "µs", Some(COST), us),
        None => Case::of_single(name, "µs", Some(COST), None, None),
    };
    said(case, gateways.iter().filter(|us| !undisturbed(us)).count(), gateways.len())
}

fn beside_the_floor(name: String, gateways: &[f64], floors: &[f64]) -> Case {
    let pairs = || gateways.iter().zip(floors).filter(|&(one, other)| undisturbed(one) && undisturbed(other));
    let failed = gateways.len() - pairs().count();
    let case = match Estimate::of(pairs().map(|(one, other)| one / other)) {
        Some(ratio) => Case::of_estimate(name, "×", None, ratio),
        None => Case::of_single(name, "×", None, None, None),
    };
    said(case, failed, gateways.len())
}

fn said(case: Case, failed: usize, of: usize) -> Case {
    match failed {
        0 => case,
        _ => case.noted(format!("noisy machine: {failed} of {of} windows failed")),
    }
}

impl<'a> Scene<'a> {
    fn open(bench: &Bench, crowd: &mut Crowd, measured: &'a Measured, topic: &str) -> Result<Self> {
        progress::step("connecting");
        let group = crowd.connect(&measured.server, &[topic.to_owned()], bench.count(SOCKETS))?;
        progress::step("come and go");
        Ok(Self { measured, topic: topic.to_owned(), group, next: 0 })
    }

    /// Lets everybody be replaced a few times: what comes behind the first is allocated once.
    fn settle(&mut self, bench: &Bench, crowd: &mut Crowd) -> Result<()> {
        while self.next < TURNOVERS * self.group.sockets() {
            self.window(bench, crowd, bench.rate(REPLACED))?;
        }
        Ok(())
    }

    /// CPU µs of one replacement: a window with them less a window without, at the same publishing.
    fn replacement(&mut self, bench: &Bench, crowd: &mut Crowd) -> Result<f64> {
        let calm = self.window(bench, crowd, 0.0)?.0;
        let (busy, replaced) = self.window(bench, crowd, bench.rate(REPLACED))?;
        Ok((micros(busy) - micros(calm)) / replaced.max(1) as f64)
    }

    /// CPU of a window in which `rate` sockets a second are replaced, and how many that were.
    fn window(&mut self, bench: &Bench, crowd: &mut Crowd, rate: f64) -> Result<(Duration, usize)> {
        let begun = process::cpu(self.measured.pid())?;
        let mut replaced = 0;
        let Self { measured, topic, group, next } = self;
        let size = bench.plan.payload_bytes;
        let (tally, _) = crowd.run_beside(group, PUBLISHED, size, bench.plan.window, |crowd, elapsed| {
            while (replaced as f64) < elapsed.as_secs_f64() * rate {
                crowd.replace(group, *next, &measured.server, topic)?;
                (*next, replaced) = (*next + 1, replaced + 1);
            }
            Ok(())
        })?;
        ensure_clean(&tally)?;
        crowd.greet_until(1)?;
        Ok((process::cpu(measured.pid())? - begun, replaced))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_in_which_the_floor_s_replacements_cost_nothing_is_no_ratio() {
        let case = |floors: &[f64]| beside_the_floor(String::new(), &[30.0, 40.0, 50.0], floors);
        assert_eq!((case(&[10.0, 10.0, 10.0]).measured, case(&[10.0; 3]).note), (Some(4.0), String::new()));
        let disturbed = case(&[10.0, -0.1, 0.0]);
        assert_eq!((disturbed.measured, &disturbed.note[..]), (Some(3.0), "noisy machine: 2 of 3 windows failed"));
        assert_eq!(case(&[-1.0; 3]).measured, None);
    }

    #[test]
    fn a_window_in_which_the_gateway_s_cost_nothing_is_left_out_and_said() {
        let disturbed = by_itself(String::new(), &[30.0, -50.0, 40.0]);
        assert_eq!((disturbed.measured, &disturbed.note[..]), (Some(35.0), "noisy machine: 1 of 3 windows failed"));
        assert_eq!(by_itself(String::new(), &[-1.0]).measured, None);
        assert_eq!(by_itself(String::new(), &[30.0]).note, "");
    }
}
