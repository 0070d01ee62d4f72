//! The json protocol beside plain, on one gateway: what a subscriber pays for a topic's name around its payload.

use crate::{
    crowd::feed::Feed,
    crowd::server::Speech,
    report::progress,
    report::results::{Bar, Case},
    scenario::bench::Bench,
    scenario::duel::{Duel, Work},
};
use anyhow::Result;

const SOCKETS: usize = 1_000;
const BAR: Bar = Bar { most: 1.05 };

pub fn measure(bench: &Bench) -> Result<Vec<Case>> {
    let Some(gateway) = bench.stage.gateway()? else { return Ok(Vec::new()) };
    let sockets = bench.count(SOCKETS);
    let name = format!("json against plain: {sockets} sockets, {} B, 1 in flight", bench.plan.payload_bytes);
    let work = Work { name: name.clone(), topics: 1, sockets, feed: Feed::InFlight(1), plan: &bench.plan };
    progress::step(name.clone());
    let json = gateway.server.speaking(Speech::Json);
    let mut duel = Duel::connect(bench, [(gateway.pid(), &json), (gateway.pid(), &gateway.server)], &work)?;
    let outcome = duel.measure(&work, bench.plan.pairs, |_| true)?;
    Ok(vec![Case::of_pairs(name, Some(BAR), &outcome).noted("floor: plain")])
}
