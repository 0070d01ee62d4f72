//! `fanline`: flags → configuration → the command.

mod commands;

use std::process::ExitCode;

use fanline::cli::Cli;
use fanline::server::raise_descriptors;

fn main() -> ExitCode {
    let descriptors = raise_descriptors();
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    commands::run(&cli, descriptors).unwrap_or_else(|error| {
        commands::complain(&format!("fanline: {error:#}"));
        ExitCode::FAILURE
    })
}
