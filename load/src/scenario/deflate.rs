//! Compressed deliveries beside uncompressed ones, on one gateway: compressing once must cost each socket nothing.

use crate::{
    crowd::feed::Feed,
    crowd::fixture::Fixture,
    crowd::server::Speech,
    report::results::{Bar, Case},
    scenario::bench::Bench,
    scenario::duel::{Calibration, Fencer, Work},
};
use anyhow::{Context, Result, ensure};

const SOCKETS: usize = 10_000;
const CPU: Bar = Bar { most: 1.1 };
const BYTES: Bar = Bar { most: 0.35 };
/// What an application may well publish; the stamp makes it 45 B longer.
const FIXTURE: &str = include_str!("../../fixtures/publication-1KiB.json");

pub fn measure(bench: &Bench) -> Result<Vec<Case>> {
    // One for each side, as 20,000 sockets are more than one process has descriptors for.
    let gateway = || bench.stage.gateway_with(&["--set", "deflate.enabled=true"]);
    let (Some(gateway), Some(other)) = (gateway()?, gateway()?) else { return Ok(Vec::new()) };
    let sockets = bench.count(SOCKETS);
    let name = format!("{sockets} sockets, 1 KiB of JSON, 1 in flight");
    let fixture = Fixture::of(FIXTURE)?;
    let feed = Feed::InFlight(1);
    let work = Work { name: name.clone(), topics: 1, sockets, feed, fixture: Some(&fixture), plan: &bench.plan };
    let speaks_deflate = gateway.server.speaking(Speech::Deflated);
    let plain = Fencer { name: "plain", pid: other.pid(), server: &other.server };
    let deflated = Fencer { name: "deflated", pid: gateway.pid(), server: &speaks_deflate };
    let calibration = Calibration::of(bench, [Fencer { name: "plain", ..(&gateway).into() }, plain], &work)?;
    let case = calibration.then(bench, [deflated, plain], &work, Some(CPU))?;
    let outcome = case.pairs.as_ref().context("a case of pairs has an outcome")?;
    ensure!(outcome.first_deflated == 1.0, "{:.3} of the deliveries came compressed, not all", outcome.first_deflated);
    let name = format!("bytes on the wire, deflated against plain: {name}");
    let bytes = Case::of_estimate(name, "×", Some(BYTES), outcome.bytes_ratio);
    Ok(vec![calibration.case, case, bytes])
}
