//! The model's output, in Markdown.

use super::{
    costs::Costs,
    measured::Measured,
    plan::{Fleet, Limit, fleet},
    redis::most_on_one,
    workload::{Means, Workload},
};
use std::fmt::Write;

/// A name, and the workload of so many connections.
pub type Shape<'a> = (&'a str, &'a dyn Fn(f64) -> Workload);

/// What was measured, with its symbols, and when.
pub fn costs(Measured { costs, origin: [results, fleet] }: &Measured) -> String {
    let rows = [
        ("d₁", "a lone delivery", costs.delivery_us, "µs", "results.json, `growth`, 18,000 sockets, 1 in flight"),
        (
            "d₈",
            "a delivery, eight together",
            costs.joined_us,
            "µs",
            "results.json, `growth`, 18,000 sockets, 8 in flight",
        ),
        (
            "i",
            "a publication taken in by a replica, coming alone",
            costs.ingest_us,
            "µs",
            "fleet.json, 1 in flight to one socket",
        ),
        ("i₅₁₂", "the same, many together; for information", costs.ingest_together_us, "µs", "fleet.json"),
        ("h", "connect, handshake, subscribe to a new topic", costs.connect_us, "µs", "results.json, `connect`"),
        ("m", "a replica's memory per connection, a topic each", costs.connection_kib, "KiB", "results.json, `idle`"),
        ("k", "the kernel's objects per socket", costs.kernel_kib, "KiB", "fleet.json, from Slab in /proc/meminfo"),
        ("p", "Redis, per PUBLISH that comes alone", costs.redis_publish_us, "µs", "fleet.json"),
        ("q", "Redis, more per link that hears it, coming alone", costs.redis_push_us, "µs", "fleet.json"),
        ("c", "Redis' memory per subscription", costs.redis_subscription_bytes, "B", "fleet.json, INFO memory"),
        ("r", "Redis, per subscription of a batch", costs.redis_subscribe_us, "µs", "fleet.json"),
    ];
    let head = String::from("| symbol | one of | measured | source |\n|---|---|---|---|\n");
    let table = rows.into_iter().fold(head, |mut table, (symbol, what, cost, unit, source)| {
        let _ = writeln!(table, "| {symbol} | {what} | {cost:.2} {unit} | {source} |");
        table
    });
    format!("{table}\n{results}; {fleet}.\n")
}

/// A fleet for each workload at each size.
pub fn fleets(costs: &Costs, means: &Means, shapes: &[Shape<'_>], sizes: &[f64]) -> String {
    let mut table = String::from(
        "| workload | N | deliveries/s | replicas R | first limit; the next | a replica: connections, cores, memory, out | \
         interested I | Redis: cores, out | Redis nodes | \
         Redis, a node: memory, s until all live again | hottest topic | most N on one Redis (today) |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (size, (name, at)) in sizes.iter().flat_map(|size| shapes.iter().map(move |shape| (*size, *shape))) {
        let work = at(size);
        let cells = row(&work, &fleet(costs, &work, means));
        let _ = writeln!(table, "| {name} | {cells} | {} |", most(most_on_one(costs, means, at)));
    }
    table
}

fn row(work: &Workload, fleet: &Fleet) -> String {
    let Fleet { deliveries, replicas, suffices, first_limit, next_limit, per_replica, interested, redis } = fleet;
    let size = if *suffices { count(*replicas) } else { "no number is enough".to_owned() };
    let first = if *replicas > 1.0 || *first_limit == Limit::Redis { first_limit.name() } else { "none" };
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
        format!("{:.2} GiB, {:.1} s", redis.memory_gib, redis.live_again_s),
        hottest,
    ]
    .join(" | ")
}

fn most(connections: f64) -> String {
    match connections {
        0.0 => "none: too much for one".to_owned(),
        f64::INFINITY => "any".to_owned(),
        few => count(few),
    }
}

/// A number for people: `47`, `31 k`, `1.3 M`.
fn count(number: f64) -> String {
    match number {
        f64::INFINITY => "∞".to_owned(),
        _ if number >= 1e9 => format!("{:.1} G", number / 1e9),
        _ if number >= 1e6 => format!("{:.1} M", number / 1e6),
        _ if number >= 1e4 => format!("{:.0} k", number / 1e3),
        _ => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{plan::tests::COSTS, workload::chat};

    #[test]
    fn one_redis_is_named_also_where_one_replica_is_enough() {
        let work = Workload { topics: 1e6, rate: 2e6, ..chat(1000.0) };
        let table = fleets(&COSTS, &Means::default(), &[("yours", &|_| work)], &[1000.0]);
        assert!(table.contains("| 1 | one Redis; "), "{table}");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([count(f64::INFINITY), most(f64::INFINITY), most(5e6)], ["∞", "any", "5.0 M"]);
        assert!(most(0.0).starts_with("none"));
        assert_eq!([47.4, 9_999.0, 31_200.0, 1_300_000.0, 2e10].map(count), ["47", "9999", "31 k", "1.3 M", "20.0 G"]);
    }
}
