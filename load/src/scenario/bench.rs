//! What all scenarios share: the stage, the plan, the scale; and `make bench`, which runs them all.

use crate::{
    number,
    report::results::{Case, Results, table},
    scenario::{Scenario, plan::Plan},
    stage::{Gateway, Stage, machine::Machine},
    stop,
};
use anyhow::{Result, ensure};
use std::{path::PathBuf, time::Duration};

/// `fanline-load <scenario>`
#[derive(clap::Args)]
#[group(id = "scenario")]
pub struct Args {
    /// The gateway's binary; without it only the floor is measured
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// A flag more for `fanline serve`, repeatable
    #[arg(long = "gateway-arg", allow_hyphen_values = true)]
    gateway_args: Vec<String>,
    /// Adjacent pairs per case; where the floor does not meet itself, up to three times as many, at most 39
    #[arg(long, default_value_t = 19, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Seconds of a window
    #[arg(long, default_value = "1", value_parser = number::seconds)]
    window: Duration,
    /// All sockets, topics and waiting times of the scenarios by this factor; bars are meant for 1
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Fail when a bar is missed
    #[arg(long)]
    strict: bool,
}

/// `fanline-load bench`
#[derive(clap::Args)]
pub struct All {
    #[command(flatten)]
    args: Args,
    /// Where RESULTS.md and results.json go
    #[arg(long, default_value = "load")]
    out: PathBuf,
}

/// What a scenario has to work with.
pub struct Bench {
    pub stage: Stage,
    pub plan: Plan,
    scale: f64,
}

/// A payload, where a scenario names no other size.
const PAYLOAD_BYTES: usize = 128;

impl Bench {
    fn set(args: &Args) -> Result<(Self, Machine)> {
        ensure!(args.scale > 0.0 && args.scale <= 1.0, "--scale is above 0 and at most 1");
        let binary = args.gateway.as_ref().map(std::path::absolute).transpose()?;
        let machine = Machine::look(binary.as_deref());
        let gateway = binary.map(|binary| Gateway { binary, args: args.gateway_args.clone() });
        let plan = Plan::of(args.pairs, args.window, PAYLOAD_BYTES);
        Ok((Self { stage: Stage::set(gateway)?, plan, scale: args.scale }, machine))
    }

    /// So many sockets or topics, at this scale; at least two.
    pub fn count(&self, full: usize) -> usize {
        ((full as f64 * self.scale) as usize).max(2)
    }

    /// So many a second, at this scale.
    pub fn rate(&self, full: f64) -> f64 {
        full * self.scale
    }

    /// So long, at this scale.
    pub fn time(&self, full: Duration) -> Duration {
        full.mul_f64(self.scale)
    }
}

/// Measures one scenario and prints its lines.
pub fn one(scenario: Scenario, args: &Args) -> Result<()> {
    let (bench, machine) = Bench::set(args)?;
    let cases = scenario.measure(&bench);
    print!("{}", table(&cases));
    verdict(&Results { machine, plan: bench.plan, cases }, args.strict)
}

/// Measures all scenarios, prints their lines, writes the results.
pub fn all(args: &All) -> Result<()> {
    let (bench, machine) = Bench::set(&args.args)?;
    let mut cases: Vec<Case> = Vec::new();
    for scenario in Scenario::ALL {
        let measured = scenario.measure(&bench);
        ensure!(!stop::asked(), "interrupted");
        println!("{}: at most {} min\n{}", scenario.name(), scenario.minutes(), table(&measured));
        cases.extend(measured);
    }
    let results = Results { machine, plan: bench.plan, cases };
    if args.args.gateway.is_some() {
        results.write(&args.out)?;
    }
    verdict(&results, args.args.strict)
}

fn verdict(results: &Results, strict: bool) -> Result<()> {
    ensure!(!results.has_failed(), "a scenario failed");
    ensure!(!(strict && results.has_missed()), "a bar was missed");
    Ok(())
}
