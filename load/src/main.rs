//! `fanline-load`: the load for Fanline, and the floor that every ratio refers to.
//! It shares no code with the gateway, so that a mistake of one cannot hide in the other.
//!
//! [`wire`] is what travels, the [`floor`] the cheapest server, the [`crowd`] everyone who listens and the publisher
//! that feeds them, the [`stage`] what a bench starts and where. A [`scenario`] puts them together; the [`report`]
//! says what came of it.

mod wire;

mod floor;

mod crowd;
mod stage;

mod report;
mod scenario;

mod stop;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Load for Fanline, and its floor
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve as the floor: bare accept, handshake and one write(2) per delivery
    Floor(floor::Args),
    /// Put one running server under load and say what it delivered at which cost
    Fanout(scenario::fanout::Args),
    /// Put two running servers beside each other, window by window
    Pair(scenario::pair::Args),
    /// Put the gateway beside the floor, case by case, each with its bar
    Bench(scenario::bench::Args),
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanline-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    stop::listen()?;
    match Cli::parse().command {
        Command::Floor(args) => floor::run(&args),
        Command::Fanout(args) => scenario::fanout::run(&args),
        Command::Pair(args) => scenario::pair::run(&args),
        Command::Bench(args) => scenario::bench::run(&args),
    }
}
