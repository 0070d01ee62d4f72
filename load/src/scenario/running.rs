//! One server that runs already, under load: what arrived, when, and what it cost the server.

use crate::{
    crowd::feed::Feed,
    crowd::server::Server,
    crowd::{Crowd, Tally},
    number,
    report::figures::Latency,
    scenario::Scenario,
    scenario::account::{Account, micros, settled_pss},
    scenario::bench,
    stage::process,
};
use anyhow::Result;
use serde::Serialize;
use std::{net::SocketAddr, time::Duration};

/// `fanline-load fanout`
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    bench: bench::Args,
    #[command(flatten, next_help_heading = "One running server instead")]
    running: Running,
}

/// A server that runs already.
#[derive(clap::Args)]
struct Running {
    /// ws://host:port/path of the server
    #[arg(long, conflicts_with = "gateway")]
    url: Option<Server>,
    /// The server's process id; without it, only what can be seen from outside is reported
    #[arg(long)]
    pid: Option<u32>,
    /// host:port of Redis
    #[arg(long, default_value = "127.0.0.1:6379")]
    redis: SocketAddr,
    /// Stands before the topic in the channel's name
    #[arg(long, default_value = "fanline:")]
    prefix: String,
    /// Sockets to open, at most 18,000 a process
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=18_000))]
    sockets: u32,
    /// Topics to spread them over
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    topics: u32,
    /// Bytes of a payload, at least 34
    #[arg(long, default_value_t = 128, value_parser = number::payload)]
    size: usize,
    /// Publications outstanding at once: the next goes out when every socket has the oldest
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: u32,
    /// Publications per second instead
    #[arg(long, conflicts_with = "in_flight", value_parser = number::rate)]
    rate: Option<f64>,
    /// Seconds to publish, after half a second unmeasured
    #[arg(long, default_value = "5", value_parser = number::seconds)]
    seconds: Duration,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// What one run has shown.
#[derive(Debug, Serialize)]
pub struct Report {
    pub sockets: usize,
    pub topics: usize,
    pub payload_bytes: usize,
    pub feed: Feed,
    pub seconds: f64,
    pub publications: u64,
    pub deliveries: u64,
    pub deliveries_per_second: f64,
    pub lost: u64,
    pub duplicates: u64,
    pub misordered: u64,
    pub closed: u64,
    pub latency: Option<Latency>,
    pub server: Option<Cost>,
}

/// What the run cost the server's process.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cost {
    pub cpu_us_per_delivery: f64,
    pub cpu_us_per_connect: f64,
    pub pss_bytes_per_connection: f64,
}

/// The scenario, or one running server.
pub fn run(args: &Args) -> Result<()> {
    match &args.running.url {
        Some(server) => load(server, &args.running),
        None => bench::one(Scenario::Fanout, &args.bench),
    }
}

/// Connects, measures, reports; fails when something was lost, came twice or out of order.
fn load(server: &Server, args: &Running) -> Result<()> {
    let report = measure(server, args)?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print_table(&report);
    }
    let faults = report.lost + report.duplicates + report.misordered + report.closed;
    anyhow::ensure!(
        report.deliveries > 0,
        "nothing was delivered: does the server hear Redis {} under --prefix {}?",
        args.redis,
        args.prefix
    );
    anyhow::ensure!(faults == 0, "not a clean run");
    Ok(())
}

fn measure(server: &Server, args: &Running) -> Result<Report> {
    let feed = args.rate.map_or(Feed::InFlight(args.in_flight as usize), Feed::Rate);
    let topics: Vec<String> = (0..args.topics).map(|topic| format!("load:{topic}")).collect();
    let mut crowd = Crowd::new(args.redis, &args.prefix)?;
    let before = args.pid.map(Account::of).transpose()?;
    let group = crowd.connect(server, &topics, args.sockets as usize)?;
    let connected = args.pid.map(process::cpu).transpose()?;
    let idle = args.pid.map(|pid| settled_pss(&mut crowd, pid)).transpose()?;
    crowd.run(&group, feed, args.size, Duration::from_millis(500))?;
    let begun = args.pid.map(process::cpu).transpose()?;
    let (tally, took) = crowd.run(&group, feed, args.size, args.seconds)?;
    let ended = args.pid.map(process::cpu).transpose()?;
    let server = match (before, connected, idle, begun, ended) {
        (Some(before), Some(connected), Some(idle), Some(begun), Some(ended)) => Some(Cost {
            cpu_us_per_delivery: micros(ended - begun) / tally.deliveries as f64,
            cpu_us_per_connect: micros(connected - before.cpu) / f64::from(args.sockets),
            pss_bytes_per_connection: (idle as f64 - before.pss as f64) / f64::from(args.sockets),
        }),
        _ => None,
    };
    Ok(report(args, feed, &tally, took, server))
}

fn report(args: &Running, feed: Feed, tally: &Tally, took: Duration, server: Option<Cost>) -> Report {
    Report {
        sockets: args.sockets as usize,
        topics: args.topics as usize,
        payload_bytes: args.size,
        feed,
        seconds: took.as_secs_f64(),
        publications: tally.publications,
        deliveries: tally.deliveries,
        deliveries_per_second: tally.deliveries as f64 / took.as_secs_f64(),
        lost: tally.lost,
        duplicates: tally.duplicates,
        misordered: tally.misordered,
        closed: tally.closed,
        latency: Latency::of(&tally.latency_ns),
        server,
    }
}

fn print_table(report: &Report) {
    println!("{} sockets, {} topics, {} bytes, {}", report.sockets, report.topics, report.payload_bytes, report.feed);
    println!("publications      {:>12} in {:.2} s", report.publications, report.seconds);
    println!("deliveries        {:>12} ({:.0} per second)", report.deliveries, report.deliveries_per_second);
    println!("lost              {:>12}", report.lost);
    println!("twice             {:>12}", report.duplicates);
    println!("out of order      {:>12}", report.misordered);
    println!("sockets closed    {:>12}", report.closed);
    if let Some(latency) = report.latency {
        println!(
            "latency           {:>12.3} ms p50, {:.3} p99, {:.3} p99.9",
            latency.p50_ms, latency.p99_ms, latency.p999_ms
        );
    }
    if let Some(cost) = report.server {
        println!("CPU per delivery  {:>12.3} µs", cost.cpu_us_per_delivery);
        println!("CPU per connect   {:>12.1} µs, subscription included", cost.cpu_us_per_connect);
        println!("PSS per socket    {:>12.0} bytes, idle", cost.pss_bytes_per_connection);
    }
}
