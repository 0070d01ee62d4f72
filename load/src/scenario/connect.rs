//! What a connection costs to open: accept, handshake, subscription, up to the 101 (by json: up to `subscribed`).

use crate::{
    crowd::Crowd,
    crowd::server::Speech,
    report::estimate::Estimate,
    report::progress,
    report::results::{Bar, Case},
    scenario::account::micros,
    scenario::bench::Bench,
    stage::{Measured, PREFIX, process},
};
use anyhow::Result;

const SOCKETS: usize = 10_000;
const BAR: Bar = Bar { most: 80.0 };
/// Once is too few: a neighbour's moment would be a figure.
const ROUNDS: usize = 3;
/// Sockets that come before, so that what a server does once is not divided by the others.
const FIRST_COMERS: usize = 16;

/// Who comes.
#[derive(Clone, Copy)]
struct Comers {
    what: &'static str,
    topics: Topics,
    speech: Speech,
}

#[derive(Clone, Copy)]
enum Topics {
    Shared,
    /// Each connection makes the gateway subscribe at Redis.
    OneEach,
}

const COMERS: [Comers; 3] = [
    Comers { what: "one topic for all", topics: Topics::Shared, speech: Speech::Plain },
    Comers { what: "a topic each", topics: Topics::OneEach, speech: Speech::Plain },
    Comers { what: "one topic for all, json", topics: Topics::Shared, speech: Speech::Json },
];

pub fn measure(bench: &Bench) -> Result<Vec<Case>> {
    let sockets = bench.count(SOCKETS);
    let mut cases = Vec::new();
    for comers in COMERS {
        let floor = match comers.speech {
            Speech::Plain => Some(opened(bench, comers, || bench.stage.floor().map(Some))?),
            Speech::Json | Speech::Deflated | Speech::SocketIo => None,
        };
        let floor = floor.flatten().map(|us| us.median);
        let gateway = opened(bench, comers, || bench.stage.gateway())?;
        let name = format!("CPU per connect and subscribe: {sockets} connections, {}", comers.what);
        cases.push(match gateway {
            Some(us) => Case { floor, ..Case::of_estimate(name, "µs", Some(BAR), us) },
            None => Case::of_single(name, "µs", Some(BAR), None, floor),
        });
    }
    Ok(cases)
}

/// CPU µs per connection, on a new server each time; `None` where there is none to start.
fn opened(bench: &Bench, comers: Comers, start: impl Fn() -> Result<Option<Measured>>) -> Result<Option<Estimate>> {
    let mut rounds = Vec::new();
    for _ in 0..bench.plan.pairs.min(ROUNDS) {
        let Some(measured) = start()? else { return Ok(None) };
        rounds.push(once(bench, &measured, comers)?);
    }
    Ok(Estimate::of(rounds))
}

fn once(bench: &Bench, measured: &Measured, comers: Comers) -> Result<f64> {
    let count = bench.count(SOCKETS);
    progress::step(format!("{count} connections to the {}, {}", measured.name, comers.what));
    let topics = match comers.topics {
        Topics::Shared => vec!["load:shared".to_owned()],
        Topics::OneEach => (0..count).map(|nth| format!("load:own:{nth:05}")).collect(),
    };
    let server = measured.server.speaking(comers.speech);
    let mut crowd = Crowd::new(bench.stage.redis, PREFIX)?;
    crowd.connect(&server, &["load:first".into()], FIRST_COMERS)?;
    let begun = process::cpu(measured.pid())?;
    crowd.connect(&server, &topics, count)?;
    Ok(micros(process::cpu(measured.pid())? - begun) / count as f64)
}
