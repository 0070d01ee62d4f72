//! Many topics of few sockets: what a publication costs beside its deliveries.

use crate::{
    crowd::feed::Feed,
    report::results::{Bar, Case},
    scenario::bench::Bench,
    scenario::duel::{Work, against_the_floor},
};
use anyhow::Result;

const TOPICS: usize = 1_000;
const SOCKETS_EACH: usize = 10;
const BAR: Bar = Bar { most: 1.3 };

/// One in flight is the harder feed, for nothing can share a wake-up; eight is what a busy replica sees.
const IN_FLIGHT: [usize; 2] = [1, 8];

pub fn measure(bench: &Bench) -> Result<Vec<Case>> {
    let topics = bench.count(TOPICS);
    let mut cases = Vec::new();
    for in_flight in IN_FLIGHT {
        let name = format!("{topics} topics of {SOCKETS_EACH} sockets in turn, {in_flight} in flight");
        let sockets = topics * SOCKETS_EACH;
        let work = Work { name, topics, sockets, feed: Feed::InFlight(in_flight), fixture: None, plan: &bench.plan };
        cases.extend(against_the_floor(bench, &work, Some(BAR))?);
    }
    Ok(cases)
}
