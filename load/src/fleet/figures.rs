//! What a fleet came to, as a table and as fleet.json.

use super::Costs;
use crate::{report::figures::Spread, stage::machine::Machine};
use serde::Serialize;
use std::fmt::Write;

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

    /// For a terminal.
    pub fn table(&self) -> String {
        let mut table = String::new();
        let mut line = |what: &str, figure: String| {
            let _ = writeln!(table, "{what:<46} {figure}");
        };
        let verdict = match self.is_whole() {
            true => "everybody got everything exactly once".to_owned(),
            false => format!(
                "{} lost, {} twice, {} out of order, {} sockets closed; the replicas count {} deliveries",
                self.lost, self.duplicates, self.misordered, self.closed, self.deliveries_counted_by_replicas
            ),
        };
        line("connections, replicas", format!("{}, {}", self.connections, self.replicas.len()));
        line("connected in", format!("{:.1} s", self.connected_s));
        line("publications, deliveries", format!("{}, {}: {verdict}", self.publications, self.deliveries));
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
        line("ingest: CPU of a replica per publication", format!("{:.2} µs", self.costs.ingest_us));
        line("Redis' CPU per PUBLISH that nobody hears", format!("{:.2} µs", self.costs.redis_publish_us));
        line("Redis' CPU per link that hears it", format!("{:.2} µs", self.costs.redis_push_us));
        table
    }
}
