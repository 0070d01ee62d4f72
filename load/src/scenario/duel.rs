//! Two servers, each with a crowd in a process of its own, both connected throughout: 2 × 10,000 sockets are more than
//! one process opens.

use crate::{
    crowd::apart::{Apart, Priority},
    crowd::feed::Feed,
    crowd::fixture::Fixture,
    crowd::server::Server,
    report::{
        progress,
        results::{Bar, Case},
    },
    scenario::bench::Bench,
    scenario::pairs::{self, Outcome, Plan, Side, TOLERANCE},
    stage::Measured,
};
use anyhow::Result;

/// What a case does.
pub struct Work<'a> {
    /// As the table names it.
    pub name: String,
    /// Topics on each side.
    pub topics: usize,
    /// Sockets on each side, spread over the topics.
    pub sockets: usize,
    pub feed: Feed,
    pub plan: &'a Plan,
}

/// The two, connected.
pub struct Duel {
    crowds: [Apart; 2],
    sides: [Side; 2],
}

impl Duel {
    /// Connects a crowd to each: a server's process and where its clients meet it.
    pub fn connect(bench: &Bench, servers: [(u32, &Server); 2], work: &Work<'_>) -> Result<Self> {
        let mut crowds = [bench.stage.crowd(Priority::Usual)?, bench.stage.crowd(Priority::Usual)?];
        let mut side = |place: usize| -> Result<Side> {
            let (pid, server) = servers[place];
            // Both live on one Redis, so each side has topics of its own.
            let topics: Vec<String> = (0..work.topics).map(|topic| format!("load:{place}:{topic:04}")).collect();
            Ok(Side { pid, group: crowds[place].connect(server, &topics, work.sockets)? })
        };
        let sides = [side(0)?, side(1)?];
        Ok(Self { crowds, sides })
    }

    /// Publishes this on both sides.
    pub fn carry(&mut self, fixture: &Fixture) -> Result<()> {
        self.crowds.iter_mut().try_for_each(|crowd| crowd.carry(fixture))
    }

    /// Measures as many pairs.
    pub fn measure(&mut self, work: &Work<'_>, pairs: usize, enough: impl Fn(&Outcome) -> bool) -> Result<Outcome> {
        let Self { crowds, sides: [first, second] } = self;
        pairs::measure_apart(crowds, [first, second], work.feed, work.plan, pairs, enough)
    }
}

/// Floor against floor until they agree, then the gateway against one of them, as many pairs.
pub fn against_the_floor(bench: &Bench, work: &Work<'_>, bar: Option<Bar>) -> Result<Vec<Case>> {
    let calibration = between(bench, [&bench.stage.floor()?, &bench.stage.floor()?], work, work.plan.pairs)?;
    let mut cases = vec![Case::of_pairs(format!("floor against floor: {}", work.name), None, &calibration)];
    if let Some(gateway) = bench.stage.gateway()? {
        let outcome = between(bench, [&gateway, &bench.stage.floor()?], work, calibration.pairs)?;
        let case = Case::of_pairs(format!("gateway against floor: {}", work.name), bar, &outcome);
        cases.push(match calibration.is_level() {
            true => case,
            false => {
                case.noted(format!("noisy machine: floor against floor is not within ±{:.0} %", TOLERANCE * 100.0))
            }
        });
    }
    Ok(cases)
}

fn between(bench: &Bench, servers: [&Measured; 2], work: &Work<'_>, pairs: usize) -> Result<Outcome> {
    progress::step(format!("{} against {}, {}", servers[0].name, servers[1].name, work.name));
    let of_same = servers[0].name == servers[1].name;
    let mut duel = Duel::connect(bench, servers.map(|measured| (measured.pid(), &measured.server)), work)?;
    duel.measure(work, pairs, |outcome| !of_same || outcome.is_level())
}
