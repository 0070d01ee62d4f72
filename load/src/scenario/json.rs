//! The json protocol beside plain, on one gateway: what a subscriber pays for a topic's name around its payload.

use crate::{
    crowd::feed::Feed,
    crowd::server::Speech,
    report::results::{Bar, Case},
    scenario::bench::Bench,
    scenario::duel::{Calibration, Fencer, Work},
};
use anyhow::Result;

const SOCKETS: usize = 1_000;
const BAR: Bar = Bar { most: 1.05 };

pub fn measure(bench: &Bench) -> Result<Vec<Case>> {
    let Some(gateway) = bench.stage.gateway()? else { return Ok(Vec::new()) };
    let sockets = bench.count(SOCKETS);
    let name = format!("{sockets} sockets, {} B, 1 in flight", bench.plan.payload_bytes);
    let work = Work { name, topics: 1, sockets, feed: Feed::InFlight(1), fixture: None, plan: &bench.plan };
    let speaks_json = gateway.server.speaking(Speech::Json);
    let plain = Fencer { name: "plain", pid: gateway.pid(), server: &gateway.server };
    let json = Fencer { name: "json", pid: gateway.pid(), server: &speaks_json };
    let calibration = Calibration::of(bench, [plain, plain], &work)?;
    let case = calibration.then(bench, [json, plain], &work, Some(BAR))?;
    Ok(vec![calibration.case, case])
}
