//! `fanline-load model`: what a fleet takes that no machine of ours can show, worked out from what was measured.
//! SCALING.md is its page; the tables there are its output.

mod costs;
mod measured;
mod plan;
mod redis;
mod table;
mod workload;

use crate::number::within;
use anyhow::{Result, ensure};
use measured::Measured;
use std::path::PathBuf;
use table::Shape;
use workload::{Means, Workload, broadcast, chat, market};

/// `fanline-load model`
#[derive(clap::Args)]
pub struct Args {
    /// Where results.json and fleet.json are
    #[arg(long, default_value = "load")]
    from: PathBuf,
    /// N: open connections, 1e6 say; without it three shapes are worked out at 1e6 and 1e8
    #[arg(long, value_parser = within::<1, 1_000_000_000_000>)]
    connections: Option<f64>,
    /// T: topics that somebody listens to
    #[arg(long, default_value_t = 1.0, requires = "connections", value_parser = within::<1, 1_000_000_000_000>)]
    topics: f64,
    /// s: topics that each connection listens to
    #[arg(long, default_value_t = 1.0, requires = "connections", value_parser = within::<1, 1_000_000>)]
    per_connection: f64,
    /// λ: publications a second, over all topics
    #[arg(long, default_value_t = 1.0, requires = "connections", value_parser = within::<0, 1_000_000_000_000>)]
    rate: f64,
    /// b: bytes of a payload
    #[arg(long, default_value_t = 128.0, requires = "connections", value_parser = within::<0, 16_777_216>)]
    payload: f64,
    /// g: publications of one topic that wait together, 1 to 8
    #[arg(long, default_value_t = 1.0, requires = "connections", value_parser = within::<1, 8>)]
    together: f64,
    #[command(flatten)]
    means: Means,
}

/// Prints the tables.
pub fn run(args: &Args) -> Result<()> {
    ensure!(
        args.per_connection <= args.topics,
        "--per-connection {} is more than there are topics (--topics {})",
        args.per_connection,
        args.topics
    );
    let measured = Measured::read(&args.from)?;
    let Args { topics, per_connection, rate, payload, together, .. } = *args;
    // With other connections than said, everything else stays.
    let yours = |connections| Workload { connections, topics, per_connection, rate, payload, together };
    let fleets = match args.connections {
        Some(connections) => table::fleets(&measured.costs, &args.means, &[("yours", &yours)], &[connections]),
        None => table::fleets(&measured.costs, &args.means, SHAPES, SIZES),
    };
    print!("{}\n{fleets}", table::costs(&measured));
    Ok(())
}

/// The workloads that SCALING.md works out, and for how many connections.
const SHAPES: &[Shape<'_>] = &[("chat rooms", &chat), ("one broadcast", &broadcast), ("market data", &market)];
const SIZES: &[f64] = &[1e6, 1e8];

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    /// `SCALING.md` with the part between the two marks of a name replaced.
    fn with(page: &str, name: &str, part: &str) -> String {
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
        let (before, rest) = page.split_once(&begin).unwrap();
        let (_, after) = rest.split_once(&end).unwrap();
        format!("{before}{begin}{part}{end}{after}")
    }

    #[test]
    fn the_tables_of_scaling_md_are_what_the_model_works_out_of_the_committed_costs() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (path, measured) = (folder.join("SCALING.md"), Measured::read(folder).unwrap());
        let page = fs::read_to_string(&path).unwrap();
        let fresh = with(&page, "costs", &table::costs(&measured));
        let fresh = with(&fresh, "fleets", &table::fleets(&measured.costs, &Means::default(), SHAPES, SIZES));
        if std::env::var_os("UPDATE_SCALING").is_some() {
            return fs::write(&path, fresh).unwrap();
        }
        assert!(page == fresh, "SCALING.md is old: UPDATE_SCALING=1 cargo test -p fanline-load scaling_md\n{fresh}");
    }
}
