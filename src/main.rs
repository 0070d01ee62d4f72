//! `fanline`: flags → configuration → the command.

mod commands;

use std::process::ExitCode;

use clap::Parser;
use fanline::cli::Cli;
use fanline::server::raise_descriptors;

fn main() -> ExitCode {
    let descriptors = raise_descriptors();
    commands::run(&Cli::parse(), descriptors).unwrap_or_else(|error| {
        eprintln!("fanline: {error:#}");
        ExitCode::FAILURE
    })
}
