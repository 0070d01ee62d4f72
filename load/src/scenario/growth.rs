//! Whether a delivery's cost and a connection's memory stay what they are as connections become more.

use crate::{
    crowd::Crowd,
    crowd::feed::Feed,
    report::progress,
    report::results::Case,
    scenario::account::settled_pss,
    scenario::bench::Bench,
    scenario::duel::{Work, against_the_floor},
    stage::PREFIX,
    wire::sockets::PER_PROCESS,
};
use anyhow::Result;

/// Up to what one client process opens. Two of them are sizes of `fanout` too: measured twice, independently.
const SIZES: [usize; 4] = [100, 1_000, 10_000, PER_PROCESS];
/// One alone; and, where connections are most, as many as share a write.
const IN_FLIGHT: [usize; 2] = [1, 8];
/// So many come before memory is looked at, so that what a gateway allocates once is not divided by them.
const FIRST_COMERS: usize = 16;

pub fn measure(bench: &Bench) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for size in SIZES {
        let sockets = bench.count(size);
        let largest = size == PER_PROCESS;
        for in_flight in IN_FLIGHT.into_iter().filter(|&in_flight| in_flight == 1 || largest) {
            let name = format!("growth, {sockets} sockets, {} B, {in_flight} in flight", bench.plan.payload_bytes);
            let feed = Feed::InFlight(in_flight);
            let work = Work { name, topics: 1, sockets, feed, fixture: None, plan: &bench.plan };
            cases.extend(against_the_floor(bench, &work, None)?);
        }
        cases.extend(held(bench, sockets)?);
    }
    Ok(cases)
}

/// PSS per idle connection. Of a few connections it is pages that are divided, and not bytes.
fn held(bench: &Bench, sockets: usize) -> Result<Option<Case>> {
    let Some(gateway) = bench.stage.gateway()? else { return Ok(None) };
    progress::step(format!("{sockets} idle connections"));
    let mut crowd = Crowd::new(bench.stage.redis, PREFIX)?;
    // The first comers are among them, for one process opens no more than the largest size.
    crowd.connect(&gateway.server, &["load:first".into()], FIRST_COMERS.min(sockets - 1))?;
    let before = settled_pss(&mut crowd, gateway.pid())?;
    let more = sockets - FIRST_COMERS.min(sockets - 1);
    crowd.connect(&gateway.server, &["load:growth".into()], more)?;
    let now = settled_pss(&mut crowd, gateway.pid())?;
    let each = now.saturating_sub(before) as f64 / 1024.0 / more as f64;
    let case = Case::of_single(format!("growth, PSS per connection: {sockets} idle"), "KiB", None, Some(each), None);
    Ok(Some(case.noted(format!("{:.1} MiB in all", now as f64 / 1024.0 / 1024.0))))
}
