//! Two servers that already run, whoever wrote them, beside each other: the engine of the bench for any peer.

use crate::{
    crowd::Crowd,
    crowd::feed::Feed,
    crowd::server::Server,
    number,
    scenario::pairs::{self, Side},
    scenario::plan::Plan,
};
use anyhow::Result;
use std::{net::SocketAddr, time::Duration};

/// `fanline-load pair`
#[derive(clap::Args)]
pub struct Args {
    /// ws://host:port/path of the measured server; pinning it to one core is yours
    #[arg(long)]
    url: Server,
    /// Its process id
    #[arg(long)]
    pid: u32,
    /// The server it is held against, pinned to the same core
    #[arg(long)]
    against: Server,
    /// Its process id
    #[arg(long)]
    against_pid: u32,
    /// host:port of Redis
    #[arg(long, default_value = "127.0.0.1:6379")]
    redis: SocketAddr,
    /// Stands before the topic in the channel's name
    #[arg(long, default_value = "fanline:")]
    prefix: String,
    /// Sockets to each
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=9000))]
    sockets: u32,
    /// Bytes of a payload
    #[arg(long, default_value_t = 128, value_parser = number::payload)]
    size: usize,
    /// Publications outstanding at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: u32,
    /// Adjacent pairs, in alternating order
    #[arg(long, default_value_t = 19, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Seconds of a window
    #[arg(long, default_value = "1", value_parser = number::seconds)]
    window: Duration,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// Measures and prints the ratio of CPU per delivery, `url` by `against`.
pub fn run(args: &Args) -> Result<()> {
    let plan = Plan::of(args.pairs, args.window, args.size);
    let plan = plan.exactly(plan.pairs);
    let mut crowd = Crowd::new(args.redis, &args.prefix)?;
    let mut side = |server: &Server, pid, topic: &str| {
        let group = crowd.connect(server, &[topic.to_owned()], args.sockets as usize)?;
        anyhow::Ok(Side { pid, group })
    };
    let first = side(&args.url, args.pid, "load:first")?;
    let second = side(&args.against, args.against_pid, "load:second")?;
    let feed = Feed::InFlight(args.in_flight as usize);
    let outcome = pairs::measure(&mut crowd, [&first, &second], feed, &plan, plan.pairs, |_| true)?;
    if args.json {
        println!("{}", serde_json::to_string(&outcome)?);
        return Ok(());
    }
    println!("median (its 95 % bounds) of {} pairs, CPU per delivery", outcome.pairs);
    println!("ratio    {}", outcome.ratio);
    println!("first    {} µs", outcome.first_us);
    println!("second   {} µs", outcome.second_us);
    Ok(())
}
