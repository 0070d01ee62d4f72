//! From Redis's push to one socket, as fast as the gateway takes it.

use crate::{
    crowd::feed::Feed,
    report::results::{Bar, Case},
    scenario::bench::Bench,
    scenario::duel::{Work, against_the_floor},
    scenario::plan::Plan,
};
use anyhow::Result;

/// Outstanding at once: the publisher never waits for a lone answer, and nobody's buffers overflow.
const OUTSTANDING: usize = 512;
const PAYLOAD_BYTES: usize = 256;
const BAR: Bar = Bar { most: 2.5 };

pub fn measure(bench: &Bench) -> Result<Vec<Case>> {
    let plan = Plan { payload_bytes: PAYLOAD_BYTES, ..bench.plan };
    let name = format!("one socket, {PAYLOAD_BYTES} B, {OUTSTANDING} outstanding");
    let work = Work {
        name: name.clone(),
        topics: 1,
        sockets: 1,
        feed: Feed::InFlight(OUTSTANDING),
        fixture: None,
        plan: &plan,
    };
    let mut cases = against_the_floor(bench, &work, None)?;
    if let Some(outcome) = cases.get(1).and_then(|case| case.pairs.clone()) {
        let name = format!("CPU per message: {name}");
        let floor = Some(outcome.second_us.median);
        cases.push(Case { floor, ..Case::of_estimate(name, "µs", Some(BAR), outcome.first_us) });
    }
    Ok(cases)
}
