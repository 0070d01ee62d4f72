//! `fanline-load`: the load for Fanline, and the floor that every ratio refers to.
//! It shares no code with the gateway, so that a mistake of one cannot hide in the other.

mod figures;
mod ledger;
mod process;
mod resp;
mod stamp;
mod websocket;

mod bus;
mod sockets;
mod stop;

mod floor;
mod room;

mod audience;
mod client;
mod crowd;
mod fanout;
mod feed;
mod server;

mod bench;
mod machine;
mod pair;
mod pairs;
mod results;
mod stage;
mod started;

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
    Fanout(fanout::Args),
    /// Put two running servers beside each other, window by window
    Pair(pair::Args),
    /// Put the gateway beside the floor, case by case, each with its bar
    Bench(bench::Args),
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
        Command::Fanout(args) => fanout::run(&args),
        Command::Pair(args) => pair::run(&args),
        Command::Bench(args) => bench::run(&args),
    }
}
