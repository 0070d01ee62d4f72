//! `fanline-load`: the load for Fanline, and the floor that every ratio refers to.
//! It shares no code with the gateway, so that a mistake of one cannot hide in the other.
//!
//! [`wire`] is what travels, the [`floor`] the cheapest server, the [`crowd`] everyone who listens and the publisher
//! that feeds them, the [`stage`] what a bench starts and where. A [`scenario`] puts them together; the [`report`]
//! says what came of it. A [`fleet`] is what one process cannot hold, the [`model`] what
//! one machine cannot.

mod wire;

mod floor;

mod crowd;
mod peers;
mod stage;

mod report;
mod scenario;

mod fleet;

mod model;

mod number;

mod stop;

use clap::{Parser, Subcommand};
use scenario::Scenario;
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
    /// CPU per delivery beside the floor, or (with --url) what one running server delivers at which cost. At most 15 min
    Fanout(scenario::running::Args),
    /// A thousand topics of ten sockets, published to in turn, beside the floor. At most 10 min
    Topics(scenario::bench::Args),
    /// The json protocol beside plain. At most 5 min
    Json(scenario::bench::Args),
    /// Compressed deliveries beside uncompressed ones: CPU and bytes. At most 5 min
    Deflate(scenario::bench::Args),
    /// From Redis's push to the one socket, 512 outstanding. At most 5 min
    Ingest(scenario::bench::Args),
    /// CPU of accept, handshake and subscribe. At most 4 min
    Connect(scenario::bench::Args),
    /// What an idle connection holds, fresh and after a burst, and what its heartbeat costs. At most 8 min
    Idle(scenario::bench::Args),
    /// Connections that come and go all the time beside steady publishing. At most 4 min
    Churn(scenario::bench::Args),
    /// Latency where one socket of a hundred never reads. At most 5 min
    Slow(scenario::bench::Args),
    /// How long a quiet topic waits beside a huge one. At most 3 min
    Quiet(scenario::bench::Args),
    /// 100,000 topics live again after Redis restarts. At most 3 min
    Resubscribe(scenario::bench::Args),
    /// Cost per delivery and memory per connection at 100, 1,000, 10,000 and 18,000 connections. At most 15 min
    Growth(scenario::bench::Args),
    /// All scenarios, one after the other; writes RESULTS.md and results.json
    Bench(scenario::bench::All),
    /// 60,000 connections over several replicas: one publication reaches all. At most 10 min
    Fleet(fleet::Args),
    /// What a fleet of any size takes, worked out from measured costs; SCALING.md says how
    Model(model::Args),
    /// The gateway and other servers on this machine beside the floor, in one table. At most 45 min
    Compare(scenario::compare::Args),
    /// Put two running servers beside each other, window by window
    Pair(scenario::pair::Args),
    /// A crowd that obeys another process of ours
    #[command(hide = true)]
    Crowd(crowd::orders::Args),
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
        Command::Fanout(args) => scenario::running::run(&args),
        Command::Topics(args) => scenario::bench::one(Scenario::Topics, &args),
        Command::Json(args) => scenario::bench::one(Scenario::Json, &args),
        Command::Deflate(args) => scenario::bench::one(Scenario::Deflate, &args),
        Command::Ingest(args) => scenario::bench::one(Scenario::Ingest, &args),
        Command::Connect(args) => scenario::bench::one(Scenario::Connect, &args),
        Command::Idle(args) => scenario::bench::one(Scenario::Idle, &args),
        Command::Churn(args) => scenario::bench::one(Scenario::Churn, &args),
        Command::Slow(args) => scenario::bench::one(Scenario::Slow, &args),
        Command::Quiet(args) => scenario::bench::one(Scenario::Quiet, &args),
        Command::Resubscribe(args) => scenario::bench::one(Scenario::Resubscribe, &args),
        Command::Growth(args) => scenario::bench::one(Scenario::Growth, &args),
        Command::Bench(args) => scenario::bench::all(&args),
        Command::Fleet(args) => fleet::run(&args),
        Command::Model(args) => model::run(&args),
        Command::Compare(args) => scenario::compare::run(&args),
        Command::Pair(args) => scenario::pair::run(&args),
        Command::Crowd(args) => crowd::orders::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_has_no_two_flags_of_one_name() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_scenario_says_its_bound_in_its_help() {
        let cli = Cli::command();
        for scenario in Scenario::ALL {
            let command = cli.find_subcommand(scenario.name()).unwrap();
            let help = command.get_about().unwrap().to_string();
            let bound = format!("At most {} min", scenario.minutes());
            assert!(help.contains(&bound), "{}: {help}", scenario.name());
        }
    }
}
