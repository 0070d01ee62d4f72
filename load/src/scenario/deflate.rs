//! Compressed deliveries beside uncompressed ones, on one gateway: compressing once must cost each socket nothing.

use crate::{
    crowd::feed::Feed,
    crowd::fixture::Fixture,
    crowd::server::Speech,
    report::progress,
    report::results::{Bar, Case},
    scenario::bench::Bench,
    scenario::duel::{Duel, Fencer, Work},
};
use anyhow::{Result, ensure};

const SOCKETS: usize = 10_000;
const CPU: Bar = Bar { most: 1.1 };
const BYTES: Bar = Bar { most: 0.35 };
/// What an application may well publish; the stamp makes it 45 B longer.
const FIXTURE: &str = include_str!("../../fixtures/publication-1KiB.json");

pub fn measure(bench: &Bench) -> Result<Vec<Case>> {
    let Some(gateway) = bench.stage.gateway_with(&["--set", "deflate.enabled=true"])? else { return Ok(Vec::new()) };
    let sockets = bench.count(SOCKETS);
    let name = format!("deflated against plain: {sockets} sockets, 1 KiB of JSON, 1 in flight");
    let work = Work { name: name.clone(), topics: 1, sockets, feed: Feed::InFlight(1), plan: &bench.plan };
    progress::step(name.clone());
    let deflated = gateway.server.speaking(Speech::Deflated);
    let plain = Fencer { name: "plain", pid: gateway.pid(), server: &gateway.server };
    let compressed = Fencer { name: "deflated", pid: gateway.pid(), server: &deflated };
    let mut duel = Duel::connect(bench, [compressed, plain], &work)?;
    duel.carry(&Fixture::of(FIXTURE)?)?;
    let outcome = duel.measure(&work, bench.plan.pairs, |_| true)?;
    ensure!(outcome.first_deflated == 1.0, "{:.3} of the deliveries came compressed, not all", outcome.first_deflated);
    let bytes = Case::of_spread(format!("bytes on the wire, {name}"), "×", Some(BYTES), outcome.bytes_ratio);
    Ok(vec![Case::of_pairs(format!("CPU per delivery, {name}"), Some(CPU), &outcome).noted("floor: plain"), bytes])
}
