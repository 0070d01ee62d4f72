//! `make bench`: the gateway against the floor, case by case, each with its bar.

use crate::{
    crowd::Crowd,
    crowd::feed::Feed,
    report::results::{Bar, Case, Figure, Results},
    scenario::fanout::{Account, micros, settled_pss},
    scenario::pairs::{self, Outcome, Plan, Side, TOLERANCE},
    stage::machine::Machine,
    stage::process,
    stage::{Gateway, Measured, PREFIX, Stage},
};
use anyhow::{Result, ensure};
use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

/// `fanline-load bench`
#[derive(clap::Args)]
pub struct Args {
    /// The gateway's binary; without it the floor is measured alone, and nothing is written
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// A flag more for `fanline serve`, repeatable
    #[arg(long = "gateway-arg", allow_hyphen_values = true)]
    gateway_args: Vec<String>,
    /// Sockets per server in the cases of pairs
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=9000))]
    sockets: u32,
    /// Idle connections in the cases of memory and connecting
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=17_000))]
    connections: u32,
    /// Bytes of a payload
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// Adjacent pairs per case; where the floor does not meet itself, up to three times as many
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Seconds of a window
    #[arg(long, default_value_t = 2.0)]
    window: f64,
    /// Where RESULTS.md and results.json go
    #[arg(long, default_value = "load")]
    out: PathBuf,
    /// Fail when a bar is missed
    #[arg(long)]
    strict: bool,
}

/// Sockets that come and stay before memory is looked at, so that what a server allocates once is not divided by them.
const FIRST_COMERS: usize = 16;

/// Runs every case, prints the table, writes the results.
pub fn run(args: &Args) -> Result<()> {
    let binary = args.gateway.as_ref().map(std::path::absolute).transpose()?;
    let machine = Machine::look(binary.as_deref());
    let gateway = binary.map(|binary| Gateway { binary, args: args.gateway_args.clone() });
    let stage = Stage::set(gateway)?;
    let bench = Bench { stage, args, plan: plan(args), begun: Instant::now() };
    let mut cases = Vec::new();
    for (feed, bar) in [(Feed::InFlight(1), 1.15), (Feed::InFlight(8), 0.35)] {
        cases.extend(bench.against_the_floor(feed, bar)?);
    }
    cases.extend(bench.idle_connections(Topics::Shared)?);
    cases.extend(bench.idle_connections(Topics::OneEach)?);
    bench.progress("");
    let results = Results { machine, plan: bench.plan, cases };
    print!("{}", results.table());
    if args.gateway.is_some() {
        results.write(&args.out)?;
    }
    ensure!(!(args.strict && results.has_missed()), "a bar was missed");
    Ok(())
}

fn plan(args: &Args) -> Plan {
    Plan {
        pairs: args.pairs as usize,
        most_pairs: args.pairs as usize * 3,
        window: Duration::from_secs_f64(args.window),
        warm_up: Duration::from_secs_f64(args.window / 8.0),
        payload_bytes: args.size,
    }
}

struct Bench<'a> {
    stage: Stage,
    args: &'a Args,
    plan: Plan,
    begun: Instant,
}

/// What idle connections listen to.
#[derive(Clone, Copy)]
enum Topics {
    Shared,
    OneEach,
}

impl Bench<'_> {
    /// Floor against floor until they agree, then the gateway against one of them, as many pairs.
    fn against_the_floor(&self, feed: Feed, bar: f64) -> Result<Vec<Case>> {
        let label = match feed {
            Feed::InFlight(most) => format!("{} sockets, {} B, {most} in flight", self.args.sockets, self.args.size),
            Feed::Rate(rate) => format!("{} sockets, {} B, {rate} per second", self.args.sockets, self.args.size),
        };
        let calibration =
            self.pair(&self.stage.floor()?, &self.stage.floor()?, feed, self.plan.pairs, Outcome::is_level)?;
        let pairs = calibration.pairs;
        let mut cases = vec![Case::of_pairs(format!("floor against floor: {label}"), None, &calibration)];
        if let Some(gateway) = self.stage.gateway()? {
            let outcome = self.pair(&gateway, &self.stage.floor()?, feed, pairs, |_| true)?;
            let name = format!("gateway against floor: {label}");
            let mut case = Case::of_pairs(name, Some(Bar { most: bar }), &outcome);
            if !calibration.is_level() {
                case.note = format!("noisy machine: floor against floor is not within ±{:.0} %", TOLERANCE * 100.0);
            }
            cases.push(case);
        }
        Ok(cases)
    }

    fn pair(
        &self,
        first: &Measured,
        second: &Measured,
        feed: Feed,
        pairs: usize,
        enough: impl Fn(&Outcome) -> bool,
    ) -> Result<Outcome> {
        self.progress(&format!("{} against {}, {feed:?}", first.name, second.name));
        let mut crowd = Crowd::new(self.stage.redis, PREFIX)?;
        let [one, other] = [(first, "first"), (second, "second")].map(|(measured, topic)| {
            let group = crowd.connect(&measured.server, &[format!("load:{topic}")], self.args.sockets as usize)?;
            anyhow::Ok(Side { pid: measured.pid(), group })
        });
        let (one, other) = (one?, other?);
        pairs::measure(&mut crowd, [&one, &other], feed, &self.plan, pairs, enough)
    }

    /// What a connection with one subscription costs to open and to hold, silent.
    fn idle_connections(&self, topics: Topics) -> Result<Vec<Case>> {
        let floor = self.idle_on(&self.stage.floor()?, topics)?;
        let gateway = self.stage.gateway()?.map(|gateway| self.idle_on(&gateway, topics)).transpose()?;
        let (what, bars) = match topics {
            Topics::Shared => ("one topic for all", [Some(Bar { most: 3.0 }), Some(Bar { most: 120.0 })]),
            Topics::OneEach => ("a topic each", [None, None]),
        };
        let name = |kind: &str| format!("{kind}: {} idle connections, {what}", self.args.connections);
        let [pss, connect] = bars;
        Ok(vec![
            Case::of_single(name("PSS per connection"), "KiB", pss, gateway.map(|idle| idle.pss_kib), floor.pss_kib),
            Case::of_single(
                name("CPU per connect and subscribe"),
                "µs",
                connect,
                gateway.map(|idle| idle.us),
                floor.us,
            ),
        ])
    }

    fn idle_on(&self, measured: &Measured, topics: Topics) -> Result<Idle> {
        self.progress(&format!("{} idle connections on the {}", self.args.connections, measured.name));
        let count = self.args.connections as usize;
        let names: Vec<String> = match topics {
            Topics::Shared => vec!["load:idle".into()],
            Topics::OneEach => (0..count).map(|nth| format!("load:idle:{nth}")).collect(),
        };
        let mut crowd = Crowd::new(self.stage.redis, PREFIX)?;
        crowd.connect(&measured.server, &["load:first".into()], FIRST_COMERS)?;
        settled_pss(&mut crowd, measured.pid())?;
        let before = Account::of(measured.pid())?;
        crowd.connect(&measured.server, &names, count)?;
        let connected = process::cpu(measured.pid())?;
        let pss = settled_pss(&mut crowd, measured.pid())?;
        Ok(Idle {
            pss_kib: pss.saturating_sub(before.pss) as f64 / 1024.0 / count as f64,
            us: micros(connected - before.cpu) / count as f64,
        })
    }

    /// One line that the next overwrites, on a terminal only.
    fn progress(&self, doing: &str) {
        let mut err = std::io::stderr();
        if err.is_terminal() {
            let _ = write!(err, "\r\x1b[K{}", if doing.is_empty() { String::new() } else { self.line(doing) });
            let _ = err.flush();
        }
    }

    fn line(&self, doing: &str) -> String {
        format!("{:>4} s  {doing} …", self.begun.elapsed().as_secs())
    }
}

#[derive(Clone, Copy)]
struct Idle {
    pss_kib: Figure,
    us: Figure,
}
