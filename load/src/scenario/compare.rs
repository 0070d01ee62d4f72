//! `make compare`: the same fan-out against the gateway and whatever peers are on the machine, each beside the floor.

use crate::{
    crowd::Crowd,
    crowd::apart::{Apart, Priority},
    crowd::feed::Feed,
    number,
    peers::{KINDS, Kind},
    report::comparison::{self, Comparison, Cost, Curve, Point, Row},
    report::progress,
    scenario::account::settled_pss,
    scenario::contender::Contender,
    scenario::pairs::{self, Loss, Outcome, Side},
    scenario::plan::Plan,
    stage::machine::Machine,
    stage::process,
    stage::{Gateway, Measured, PREFIX, Stage},
    stop,
};
use anyhow::{Context, Result};
use std::{path::PathBuf, time::Duration};

/// `fanline-load compare`
#[derive(clap::Args)]
pub struct Args {
    /// The gateway's binary; without it, the peers are compared among themselves
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// The folder of the peers' scripts, with the packages that `make peers` installs
    #[arg(long, default_value = "load/peers")]
    peers: PathBuf,
    /// Only these peers, repeatable
    #[arg(long)]
    only: Vec<Kind>,
    /// Sockets per server
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=17_000))]
    sockets: u32,
    /// Idle connections whose memory is looked at
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=17_000))]
    connections: u32,
    /// Bytes of a payload
    #[arg(long, default_value_t = 128, value_parser = number::payload)]
    size: usize,
    /// Adjacent pairs per case; where the floor does not meet itself, up to three times as many, at most 39
    #[arg(long, default_value_t = 19, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Seconds of a window
    #[arg(long, default_value = "1", value_parser = number::seconds)]
    window: Duration,
    /// Measure the curves of the pictures too: 5 pairs of 0.4 s a point
    #[arg(long)]
    growth: bool,
    /// Where peers.json, the section in RESULTS.md and pictures/ go
    #[arg(long, default_value = "load")]
    out: PathBuf,
}

/// Sockets that come and stay before memory is looked at.
const FIRST_COMERS: usize = 16;
/// Unmeasured publishing after connecting, for runtimes that compile what runs often.
const RUN_IN: Duration = Duration::from_secs(1);
/// Connections of the curves' points.
const SIZES: [u32; 3] = [100, 1_000, 10_000];
const IN_FLIGHT: [u32; 6] = [1, 2, 4, 8, 16, 32];
/// Pairs and window of a curve's point: enough for a picture, not for a table.
const CURVE: (usize, Duration) = (5, Duration::from_millis(400));

/// Beyond, it is given up; about twice what six servers take with the curves.
const AT_MOST: Duration = Duration::from_secs(45 * 60);

/// Measures everybody, prints the table, writes results and pictures.
pub fn run(args: &Args) -> Result<()> {
    let binary = args.gateway.as_ref().map(std::path::absolute).transpose()?;
    let machine = Machine::look(binary.as_deref());
    let (here, absent) = look_for_peers(args);
    absent.iter().for_each(|line| eprintln!("{line}"));
    let gateway = binary.map(|binary| Gateway { binary, args: Vec::new() });
    let ours = if gateway.is_some() { vec![Contender::Floor, Contender::Gateway] } else { vec![Contender::Floor] };
    let stage = Stage::set(gateway)?;
    let contenders: Vec<Contender> = ours.into_iter().chain(here).collect();
    stop::within(AT_MOST);
    progress::begin("compare");
    let comparer = Comparer { stage, args, plan: Plan::of(args.pairs, args.window, args.size) };
    let rows = comparer.rows(&contenders, &machine)?;
    // The floor stands first, and so tells of the machine before anybody is held against it.
    let first = rows.first().context("nobody to compare")?.costs();
    // What would not be drawn need not be measured.
    let is_drawn = args.growth && comparison::noise(first, None).is_none();
    let curves = contenders.iter().filter(|_| is_drawn).map(|one| comparer.curve(one)).collect::<Result<_>>()?;
    let again = comparer.costs(&Contender::Floor, &comparer.as_many(first))?;
    progress::end();
    let (plan, connections, growth) = (comparer.plan, args.connections, args.growth);
    let noise = comparison::noise(first, Some(again));
    let comparison = Comparison { machine, plan, connections, noise, rows, again, absent, growth, curves };
    print!("{}", comparison.table());
    comparison.write(&args.out)
}

fn look_for_peers(args: &Args) -> (Vec<Contender>, Vec<String>) {
    let (mut here, mut absent) = (Vec::new(), Vec::new());
    for kind in KINDS.into_iter().filter(|kind| args.only.is_empty() || args.only.contains(kind)) {
        match kind.find(&args.peers) {
            Ok(peer) => here.push(Contender::Peer(peer)),
            Err(missing) => absent.push(missing.to_string()),
        }
    }
    (here, absent)
}

struct Comparer<'a> {
    stage: Stage,
    args: &'a Args,
    plan: Plan,
}

impl Comparer<'_> {
    /// Everybody in turn. The floor, which is the first, is measured until it meets itself; the others get as many pairs
    /// as that took.
    fn rows(&self, contenders: &[Contender], machine: &Machine) -> Result<Vec<Row>> {
        let (mut rows, mut plans) = (Vec::new(), [self.plan; 2]);
        for contender in contenders {
            let row = self.row(contender, machine, &plans)?;
            plans = self.as_many(row.costs());
            rows.push(row);
        }
        Ok(rows)
    }

    /// Plans of as many pairs as these took.
    fn as_many(&self, costs: [Cost; 2]) -> [Plan; 2] {
        costs.map(|cost| self.plan.exactly(cost.pairs))
    }

    fn row(&self, contender: &Contender, machine: &Machine, plans: &[Plan; 2]) -> Result<Row> {
        let [version, command, note] = contender.describe(machine);
        let [one, eight] = self.costs(contender, plans)?;
        let pss_kib = self.idle(contender, self.args.connections)?;
        Ok(Row { name: contender.name(), version, command, note, one, eight, pss_kib })
    }

    /// At one and at eight in flight.
    fn costs(&self, contender: &Contender, [one, eight]: &[Plan; 2]) -> Result<[Cost; 2]> {
        let mut duel = self.duel(contender, self.args.sockets)?;
        Ok([Cost::of(&duel.run(1, one)?), Cost::of(&duel.run(8, eight)?)])
    }

    /// The points of the pictures. The floor's cost by its own is 1 without being measured.
    fn curve(&self, contender: &Contender) -> Result<Curve> {
        let plan = Plan { window: CURVE.1, warm_up: CURVE.1 / 4, ..self.plan.exactly(CURVE.0) };
        let idle = SIZES.iter().map(|&count| Ok(Point { x: count, y: self.idle(contender, count)? }));
        let mut curve = Curve { name: contender.name(), idle: idle.collect::<Result<_>>()?, ..Curve::default() };
        if matches!(contender, Contender::Floor) {
            curve.by_sockets = SIZES.iter().map(|&x| Point { x, y: 1.0 }).collect();
            curve.by_in_flight = IN_FLIGHT.iter().map(|&x| Point { x, y: 1.0 }).collect();
            return Ok(curve);
        }
        for x in SIZES {
            curve.by_sockets.push(Point { x, y: self.duel(contender, x)?.run(1, &plan)?.ratio.median });
        }
        let mut duel = self.duel(contender, self.args.sockets)?;
        for x in IN_FLIGHT {
            curve.by_in_flight.push(Point { x, y: duel.run(x, &plan)?.ratio.median });
            curve.held.push(Point { x, y: duel.held()? });
        }
        Ok(curve)
    }

    /// Fresh servers, each with its sockets in a process of their own.
    fn duel(&self, contender: &Contender, sockets: u32) -> Result<Duel> {
        progress::step(format!("{} beside the floor, {sockets} sockets each", contender.name()));
        let servers = [contender.start(&self.stage)?, self.stage.floor()?];
        let mut doorstep = Crowd::new(self.stage.redis, PREFIX)?;
        let before = held_by_nobody(&mut doorstep, &servers[0])?;
        let mut crowds = [self.stage.crowd(Priority::Usual)?, self.stage.crowd(Priority::Usual)?];
        let mut side = |place: usize| {
            let topic = format!("load:{place}");
            let group = crowds[place].connect(&servers[place].server, &[topic], sockets as usize)?;
            anyhow::Ok(Side { pid: servers[place].pid(), group })
        };
        let sides = [side(0)?, side(1)?];
        crowds[0].run(&sides[0].group, Feed::InFlight(1), self.plan.payload_bytes, RUN_IN)?;
        Ok(Duel { crowds, _doorstep: doorstep, sides, servers, loss: contender.loss(), before, sockets })
    }

    /// KiB per connection that says nothing, of connections beyond the first comers on a fresh server.
    fn idle(&self, contender: &Contender, connections: u32) -> Result<f64> {
        progress::step(format!("{}: {connections} idle connections", contender.name()));
        let measured = contender.start(&self.stage)?;
        let mut crowd = Crowd::new(self.stage.redis, PREFIX)?;
        let before = held_by_nobody(&mut crowd, &measured)?;
        crowd.connect(&measured.server, &["load:idle".into()], connections as usize)?;
        let after = settled_pss(&mut crowd, measured.pid())?;
        Ok(kib(after.saturating_sub(before), connections as usize))
    }
}

/// What a server holds with its first comers, and so without what it allocates once.
fn held_by_nobody(crowd: &mut Crowd, measured: &Measured) -> Result<u64> {
    crowd.connect(&measured.server, &["load:before".into()], FIRST_COMERS)?;
    settled_pss(crowd, measured.pid())
}

/// A server beside a floor, both with their sockets throughout.
struct Duel {
    // The sockets go before the servers, so that these are not seen to hang up.
    crowds: [Apart; 2],
    /// The first comers.
    _doorstep: Crowd,
    sides: [Side; 2],
    servers: [Measured; 2],
    loss: Loss,
    /// Bytes that the first server held before its sockets came.
    before: u64,
    sockets: u32,
}

impl Duel {
    fn run(&mut self, most: u32, plan: &Plan) -> Result<Outcome> {
        let Self { crowds, sides: [first, second], servers, loss, sockets, .. } = self;
        let what = format!("{} beside the floor: {sockets} sockets, {most} in flight", servers[0].name);
        progress::step(what.clone());
        let feed = Feed::InFlight(most as usize);
        pairs::measure_in_spite_of(*loss, crowds, [first, second], feed, plan).context(what)
    }

    /// KiB per connection now, right behind a window.
    fn held(&self) -> Result<f64> {
        let held = process::pss(self.sides[0].pid)?.saturating_sub(self.before);
        Ok(kib(held, self.sockets as usize))
    }
}

fn kib(bytes: u64, connections: usize) -> f64 {
    bytes as f64 / 1024.0 / connections as f64
}
