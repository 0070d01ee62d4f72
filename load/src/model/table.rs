//! The model's output, in Markdown.

use super::{
    costs::Costs,
    plan::{Fleet, fleet},
    workload::{Means, Workload},
};
use std::fmt::Write;

/// What was measured, with its symbols.
pub fn costs(costs: &Costs) -> String {
    let rows = [
        ("d₁", "a lone delivery", costs.delivery_us, "µs", "results.json, `growth`, 18,000 sockets, 1 in flight"),
        (
            "d₈",
            "a delivery, eight together",
            costs.joined_us,
            "µs",
            "results.json, `growth`, 18,000 sockets, 8 in flight",
        ),
        ("i", "a publication taken in by a replica", costs.ingest_us, "µs", "fleet.json"),
        ("h", "connect, handshake, subscribe to a new topic", costs.connect_us, "µs", "results.json, `connect`"),
        ("m", "a replica's memory per connection, a topic each", costs.connection_kib, "KiB", "results.json, `idle`"),
        ("k", "the kernel's objects per socket", costs.kernel_kib, "KiB", "fleet.json, from Slab in /proc/meminfo"),
        ("p", "Redis, per PUBLISH that comes alone", costs.redis_publish_us, "µs", "fleet.json"),
        ("q", "Redis, more per link that hears it, coming alone", costs.redis_push_us, "µs", "fleet.json"),
    ];
    let head = String::from("| symbol | one of | measured | source |\n|---|---|---|---|\n");
    rows.into_iter().fold(head, |mut table, (symbol, what, cost, unit, source)| {
        let _ = writeln!(table, "| {symbol} | {what} | {cost:.2} {unit} | {source} |");
        table
    })
}

/// A fleet for each workload.
pub fn fleets(costs: &Costs, means: &Means, named: &[(&str, Workload)]) -> String {
    let mut table = String::from(
        "| workload | N | deliveries/s | replicas R | first limit; the next | a replica: connections, cores, memory, out | \
         interested I | Redis: cores, out | Redis nodes | hottest topic |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, work) in named {
        let _ = writeln!(table, "| {name} | {} |", row(work, &fleet(costs, work, means)));
    }
    table
}

fn row(work: &Workload, fleet: &Fleet) -> String {
    let Fleet { deliveries, replicas, suffices, first_limit, next_limit, per_replica, interested, redis } = fleet;
    let size = if *suffices { count(*replicas) } else { "no number is enough".to_owned() };
    let first = if *replicas > 1.0 { first_limit.name() } else { "none" };
    let replica = format!(
        "{}, {:.1}, {:.1} GiB, {:.2} Gbit/s",
        count(per_replica.connections),
        per_replica.cpu,
        per_replica.memory_gib,
        per_replica.out_gbit
    );
    let hottest = match redis.hottest {
        share if share > 1.0 => format!("{share:.1} nodes: too hot"),
        share if share < 1e-4 => "< 0.01 % of a node".to_owned(),
        share => format!("{:.2} % of a node", share * 100.0),
    };
    [
        count(work.connections),
        count(*deliveries),
        size,
        format!("{first}; {} at {}", next_limit.0.name(), count(next_limit.1.ceil())),
        replica,
        count(*interested),
        format!("{:.2}, {:.2} Gbit/s", redis.cpu, redis.out_gbit),
        count(redis.nodes),
        hottest,
    ]
    .join(" | ")
}

/// A number for people: `47`, `31 k`, `1.3 M`.
fn count(number: f64) -> String {
    match number {
        _ if number >= 1e9 => format!("{:.1} G", number / 1e9),
        _ if number >= 1e6 => format!("{:.1} M", number / 1e6),
        _ if number >= 1e4 => format!("{:.0} k", number / 1e3),
        _ => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([47.4, 9_999.0, 31_200.0, 1_300_000.0, 2e10].map(count), ["47", "9999", "31 k", "1.3 M", "20.0 G"]);
    }
}
