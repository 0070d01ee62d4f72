//! What a fleet came to, as a table and as fleet.json.

use super::Costs;
use crate::{report::figures::Spread, report::section, stage::machine::Machine};
use anyhow::{Context, Result};
use serde::Serialize;
use std::{fmt::Write, fs, path::Path};

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    pub machine: Machine,
    pub connections: usize,
    pub publications: usize,
    pub deliveries: u64,
    /// By their own metrics; more than `deliveries` where something came twice and was not waited for.
    pub deliveries_counted_by_replicas: u64,
    pub lost: u64,
    pub duplicates: u64,
    pub misordered: u64,
    pub closed: u64,
    pub connected_s: f64,
    /// From PUBLISH to the last socket, over the passes.
    pub pass_ms: Spread,
    pub cpu_us_per_delivery: f64,
    /// One end's objects in the kernel: half of the growth of `Slab`.
    pub kernel_kib_per_connection: f64,
    /// One end's buffers when nothing is under way: half of the growth of `mem` in sockstat.
    pub buffers_kib_per_connection: f64,
    pub replicas: Vec<Replica>,
    pub costs: Costs,
}

/// One gateway.
#[derive(Debug, Serialize)]
pub struct Replica {
    pub connections: usize,
    pub pss_mib: f64,
    pub pss_kib_per_connection: f64,
    /// During the passes.
    pub cpu_us: f64,
    pub cpu_us_per_delivery: f64,
}

impl Figures {
    /// Whether everybody got everything exactly once and in order.
    pub fn is_whole(&self) -> bool {
        let faults = self.lost + self.duplicates + self.misordered + self.closed;
        let all = (self.connections * self.publications) as u64;
        faults == 0 && self.deliveries == all && self.deliveries_counted_by_replicas == all
    }

    fn verdict(&self) -> String {
        match self.is_whole() {
            true => "everybody got everything exactly once".to_owned(),
            false => format!(
                "{} lost, {} twice, {} out of order, {} sockets closed; the replicas count {} deliveries",
                self.lost, self.duplicates, self.misordered, self.closed, self.deliveries_counted_by_replicas
            ),
        }
    }

    /// Writes fleet.json, and the section of RESULTS.md.
    pub fn write(&self, out: &Path) -> Result<()> {
        let path = out.join("fleet.json");
        fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        section::FLEET.write(out, &self.section()?)
    }

    fn section(&self) -> Result<String> {
        let Machine { date, kernel, cpu, cores, load, redis, .. } = &self.machine;
        let (Spread { min, median, max }, replicas) = (self.pass_ms, self.replicas.len());
        let pss = Spread::of(self.replicas.iter().map(|one| one.pss_kib_per_connection)).context("no replicas")?;
        let mut text = section::FLEET.heading.to_owned();
        writeln!(text, "\nWritten by `fanline-load fleet --out`; how to read it: [README.md](README.md).\n")?;
        writeln!(
            text,
            "| {} connections over {replicas} replicas, one topic, 128 B | measured |\n|---|---|",
            self.connections
        )?;
        writeln!(text, "| {} publications, {} deliveries | {} |", self.publications, self.deliveries, self.verdict())?;
        writeln!(text, "| `PUBLISH` to the last socket | {median:.0} ms ({min:.0}-{max:.0}) |")?;
        writeln!(text, "| replicas' CPU per delivery | {:.2} µs |", self.cpu_us_per_delivery)?;
        writeln!(text, "| PSS per connection | {:.2} KiB ({:.2}-{:.2}) |", pss.median, pss.min, pss.max)?;
        let kernel_kib = self.kernel_kib_per_connection + self.buffers_kib_per_connection;
        writeln!(text, "| the kernel's memory per connection, objects and buffers | {kernel_kib:.2} KiB |")?;
        writeln!(
            text,
            "\nAll replicas share one core, clients and Redis the others: the time is the machine's, the CPU the replicas'."
        )?;
        writeln!(text, "{date}, Linux {kernel}, {cores} × {cpu}, load {load} at the start; {redis}.")?;
        Ok(text)
    }

    /// For a terminal.
    pub fn table(&self) -> String {
        let mut table = String::new();
        let mut line = |what: &str, figure: String| {
            let _ = writeln!(table, "{what:<46} {figure}");
        };
        line("connections, replicas", format!("{}, {}", self.connections, self.replicas.len()));
        line("connected in", format!("{:.1} s", self.connected_s));
        line("publications, deliveries", format!("{}, {}: {}", self.publications, self.deliveries, self.verdict()));
        let Spread { min, median, max } = self.pass_ms;
        line("PUBLISH to the last socket: median (min-max)", format!("{median:.0} ms ({min:.0}-{max:.0})"));
        line("replicas' CPU per delivery", format!("{:.2} µs", self.cpu_us_per_delivery));
        for (nth, replica) in self.replicas.iter().enumerate() {
            let Replica { connections, pss_mib, pss_kib_per_connection, cpu_us_per_delivery, .. } = replica;
            line(
                &format!("replica {}", nth + 1),
                format!(
                    "{connections} connections, PSS {pss_mib:.1} MiB, {pss_kib_per_connection:.3} KiB each, {cpu_us_per_delivery:.2} µs per delivery"
                ),
            );
        }
        line("kernel's objects per socket", format!("{:.2} KiB", self.kernel_kib_per_connection));
        line("kernel's buffers per idle socket", format!("{:.2} KiB", self.buffers_kib_per_connection));
        let Costs { ingest_us, ingest_alone_us, .. } = self.costs;
        line(
            "ingest: CPU of a replica per publication",
            format!("{ingest_alone_us:.2} µs alone, {ingest_us:.2} µs of many together"),
        );
        let Costs { redis_publish_us, redis_push_us, redis_publish_together_us, redis_push_together_us, .. } =
            self.costs;
        let Costs { redis_subscription_bytes, redis_subscribe_us, .. } = self.costs;
        line(
            "Redis' CPU per PUBLISH that nobody hears",
            format!("{redis_publish_us:.2} µs alone, {redis_publish_together_us:.2} µs of fifty together"),
        );
        line(
            "Redis' CPU per link that hears it",
            format!("{redis_push_us:.2} µs alone, {redis_push_together_us:.2} µs of fifty together"),
        );
        line(
            "Redis' memory and CPU per subscription",
            format!("{redis_subscription_bytes:.0} B, {redis_subscribe_us:.2} µs"),
        );
        table
    }
}
