//! What is measured: one running server, two beside each other, and the scenarios with their bars.

pub mod account;
pub mod bench;
mod churn;
pub mod compare;
mod connect;
mod contender;
mod deflate;
mod duel;
mod fanout;
mod growth;
mod idle;
mod ingest;
mod json;
pub mod pair;
pub mod pairs;
pub mod plan;
mod quiet;
mod resubscribe;
pub mod running;
mod slow;
mod topics;

use crate::{
    report::{progress, results::Case},
    scenario::bench::Bench,
    stop,
};
use anyhow::Result;
use std::time::Duration;

/// One question with its bars; each is a subcommand, and `bench` asks them all in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    Fanout,
    Topics,
    Json,
    Deflate,
    Ingest,
    Connect,
    Idle,
    Churn,
    Slow,
    Quiet,
    Resubscribe,
    Growth,
}

impl Scenario {
    pub const ALL: [Self; 12] = [
        Self::Fanout,
        Self::Topics,
        Self::Json,
        Self::Deflate,
        Self::Ingest,
        Self::Connect,
        Self::Idle,
        Self::Churn,
        Self::Slow,
        Self::Quiet,
        Self::Resubscribe,
        Self::Growth,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Fanout => "fanout",
            Self::Topics => "topics",
            Self::Json => "json",
            Self::Deflate => "deflate",
            Self::Ingest => "ingest",
            Self::Connect => "connect",
            Self::Idle => "idle",
            Self::Churn => "churn",
            Self::Slow => "slow",
            Self::Quiet => "quiet",
            Self::Resubscribe => "resubscribe",
            Self::Growth => "growth",
        }
    }

    /// After so many minutes at the plan's usual length it is given up as failed; its `--help` says so. About twice
    /// what it takes where the floor meets itself at once.
    pub fn minutes(self) -> u64 {
        match self {
            Self::Fanout | Self::Growth => 15,
            Self::Topics => 10,
            Self::Idle => 8,
            Self::Json | Self::Deflate | Self::Ingest | Self::Slow => 5,
            Self::Connect | Self::Churn => 4,
            Self::Quiet | Self::Resubscribe => 3,
        }
    }

    /// Measures it, within its time; a failure is a line too.
    pub fn measure(self, bench: &Bench) -> Vec<Case> {
        let longer = (bench.plan.most_pairs as f64 * bench.plan.window.as_secs_f64() / 39.0).max(1.0);
        stop::within(Duration::from_secs(self.minutes() * 60).mul_f64(longer));
        progress::begin(self.name());
        let measured = self.cases(bench);
        progress::end();
        let mut cases = measured.unwrap_or_else(|error| vec![Case::failed(self.name(), &error)]);
        cases.iter_mut().for_each(|case| case.scenario = self.name());
        cases
    }

    fn cases(self, bench: &Bench) -> Result<Vec<Case>> {
        match self {
            Self::Fanout => fanout::measure(bench),
            Self::Topics => topics::measure(bench),
            Self::Json => json::measure(bench),
            Self::Deflate => deflate::measure(bench),
            Self::Ingest => ingest::measure(bench),
            Self::Connect => connect::measure(bench),
            Self::Idle => idle::measure(bench),
            Self::Churn => churn::measure(bench),
            Self::Slow => slow::measure(bench),
            Self::Quiet => quiet::measure(bench),
            Self::Resubscribe => resubscribe::measure(bench),
            Self::Growth => growth::measure(bench),
        }
    }
}
