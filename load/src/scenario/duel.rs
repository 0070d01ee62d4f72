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
    scenario::pairs::{self, Outcome, Side, TOLERANCE},
    scenario::plan::Plan,
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
    /// What is published instead of bytes without meaning.
    pub fixture: Option<&'a Fixture>,
    pub plan: &'a Plan,
}

/// The two, connected.
pub struct Duel {
    crowds: [Apart; 2],
    sides: [Side; 2],
}

impl Duel {
    /// Connects a crowd to each.
    pub fn connect(bench: &Bench, pair: [Fencer<'_>; 2], work: &Work<'_>) -> Result<Self> {
        let mut crowds = [bench.stage.crowd(Priority::Usual)?, bench.stage.crowd(Priority::Usual)?];
        let mut side = |place: usize| -> Result<Side> {
            let Fencer { pid, server, .. } = pair[place];
            // Both live on one Redis, so each side has topics of its own.
            let topics: Vec<String> = (0..work.topics).map(|topic| format!("load:{place}:{topic:04}")).collect();
            Ok(Side { pid, group: crowds[place].connect(server, &topics, work.sockets)? })
        };
        let sides = [side(0)?, side(1)?];
        if let Some(fixture) = work.fixture {
            crowds.iter_mut().try_for_each(|crowd| crowd.carry(fixture))?;
        }
        Ok(Self { crowds, sides })
    }

    /// Measures as many pairs.
    pub fn measure(&mut self, work: &Work<'_>, pairs: usize, enough: impl Fn(&Outcome) -> bool) -> Result<Outcome> {
        let Self { crowds, sides: [first, second] } = self;
        pairs::measure_apart(crowds, [first, second], work.feed, work.plan, pairs, enough)
    }
}

/// One side of a duel: what it is called, its process, and where its clients meet it.
#[derive(Clone, Copy)]
pub struct Fencer<'a> {
    pub name: &'a str,
    pub pid: u32,
    pub server: &'a Server,
}

impl<'a> From<&'a Measured> for Fencer<'a> {
    fn from(measured: &'a Measured) -> Self {
        Self { name: measured.name, pid: measured.pid(), server: &measured.server }
    }
}

/// Floor against floor until they agree, then the gateway against one of them, as many pairs.
pub fn against_the_floor(bench: &Bench, work: &Work<'_>, bar: Option<Bar>) -> Result<Vec<Case>> {
    let (floor, other) = (bench.stage.floor()?, bench.stage.floor()?);
    let calibration = Calibration::of(bench, [(&floor).into(), (&other).into()], work)?;
    let Some(gateway) = bench.stage.gateway()? else { return Ok(vec![calibration.case]) };
    drop(floor);
    let case = calibration.then(bench, [(&gateway).into(), (&other).into()], work, bar)?;
    Ok(vec![calibration.case, case])
}

/// Two that are the same beside each other: what they differ by is the noise, and what they take to agree is how long
/// to measure.
pub struct Calibration {
    outcome: Outcome,
    pub case: Case,
}

impl Calibration {
    /// Measures until they agree, or the plan's end.
    pub fn of(bench: &Bench, same: [Fencer<'_>; 2], work: &Work<'_>) -> Result<Self> {
        let outcome = between(bench, same, work, work.plan.pairs, Outcome::is_level)?;
        let case = Case::of_pairs(title(same, work), None, &outcome);
        Ok(Self { outcome, case })
    }

    /// Measures two that differ, as many pairs.
    pub fn then(&self, bench: &Bench, pair: [Fencer<'_>; 2], work: &Work<'_>, bar: Option<Bar>) -> Result<Case> {
        let outcome = between(bench, pair, work, self.outcome.pairs, |_| true)?;
        let case = Case::of_pairs(title(pair, work), bar, &outcome);
        if self.outcome.is_level() {
            return Ok(case);
        }
        let same = pair[1].name;
        Ok(case.noted(format!("noisy machine: {same} against {same} is not within ±{:.0} %", TOLERANCE * 100.0)))
    }
}

fn between(
    bench: &Bench,
    pair: [Fencer<'_>; 2],
    work: &Work<'_>,
    pairs: usize,
    enough: impl Fn(&Outcome) -> bool,
) -> Result<Outcome> {
    progress::step(title(pair, work));
    Duel::connect(bench, pair, work)?.measure(work, pairs, enough)
}

fn title([first, second]: [Fencer<'_>; 2], work: &Work<'_>) -> String {
    format!("{} against {}: {}", first.name, second.name, work.name)
}
