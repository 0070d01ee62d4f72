//! Runs one of Fanline's hot paths a given number of times and prints what it asked of the allocator, as one
//! line of JSON. Under callgrind, two runs of different sizes tell what one more time takes in instructions.
//! `tests/cost.rs` does both, and judges.

mod allocator;
mod cases;
mod connections;
mod delivery;
mod frames;
mod ingest;

use std::process::ExitCode;

/// How a program that knows the case ends: none of the codes that a panic or a signal has.
const UNKNOWN: u8 = 64;

fn main() -> anyhow::Result<ExitCode> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let (Some(case), Some(size)) = (args.first().and_then(|name| cases::find(name)), args.get(1)) else {
        eprintln!("usage: fanline-cost CASE TIMES, with REDIS_URL set for `ingest`; the cases:");
        cases::CASES.iter().for_each(|case| eprintln!("  {:<16} {}", case.name, case.counts));
        return Ok(ExitCode::from(UNKNOWN));
    };
    let asked = (case.run)(size.parse()?)?;
    println!("{}", serde_json::to_string(&asked)?);
    Ok(ExitCode::SUCCESS)
}
