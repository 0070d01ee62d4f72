//! CPU per delivery, one topic for all, at the sizes and depths that have a bar.

use crate::{
    crowd::feed::Feed,
    report::results::{Bar, Case},
    scenario::bench::Bench,
    scenario::duel::{Work, against_the_floor},
};
use anyhow::Result;

/// Sockets, publications in flight, and the bar.
const CASES: [(usize, usize, f64); 3] = [(1_000, 1, 1.05), (1_000, 8, 0.30), (10_000, 1, 1.10)];

pub fn measure(bench: &Bench) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (sockets, in_flight, most) in CASES {
        let sockets = bench.count(sockets);
        let name = format!("{sockets} sockets, {} B, {in_flight} in flight", bench.plan.payload_bytes);
        let work = Work { name, topics: 1, sockets, feed: Feed::InFlight(in_flight), fixture: None, plan: &bench.plan };
        cases.extend(against_the_floor(bench, &work, Some(Bar { most }))?);
    }
    Ok(cases)
}
