//! `fanline-load fleet`: more sockets than one process may open. Several replicas on one Redis, a crowd of its own for
//! each, one topic that everybody listens to; and what a fleet's size is worked out from: kernel memory and Redis.

mod costs;
mod figures;
mod hall;
mod kernel;
mod subscriptions;

use costs::Costs;

use crate::{
    stage::{Gateway, Stage, machine::Machine},
    stop,
    wire::sockets::PER_PROCESS,
};
use anyhow::{Result, ensure};
use hall::Hall;
use std::{path::PathBuf, time::Duration};

/// Beyond, something hangs.
const BOUND: Duration = Duration::from_secs(600);

/// `fanline-load fleet`
#[derive(clap::Args)]
pub struct Args {
    /// The gateway's binary
    #[arg(long)]
    gateway: PathBuf,
    /// Sockets in all
    #[arg(long, default_value_t = 60_000)]
    connections: usize,
    /// Gateways, and crowds
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    replicas: u32,
    /// One after the other, each when everybody has the last
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    publications: u32,
    /// Where fleet.json and a section of RESULTS.md go; without it the table alone is printed
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Measures a fleet, and fails where anybody missed anything.
pub fn run(args: &Args) -> Result<()> {
    let replicas = args.replicas as usize;
    ensure!(args.connections >= replicas, "{} connections are fewer than {replicas} replicas", args.connections);
    ensure!(
        args.connections.div_ceil(replicas) <= PER_PROCESS,
        "{} connections need {} replicas",
        args.connections,
        args.connections.div_ceil(PER_PROCESS)
    );
    stop::within(BOUND);
    let binary = std::path::absolute(&args.gateway)?;
    let machine = Machine::look(Some(&binary));
    let stage = Stage::set(Some(Gateway { binary, args: Vec::new() }))?;
    let costs = Costs::measure(&stage)?;
    let mut hall = Hall::open(&stage, args.connections, replicas)?;
    let figures = hall.measure(&stage, args.publications as usize, machine, costs)?;
    print!("{}", figures.table());
    if let Some(out) = &args.out {
        figures.write(out)?;
    }
    ensure!(figures.is_whole(), "not everybody got everything exactly once");
    Ok(())
}
