//! What Redis carries, and how far one of it goes.

use super::{
    costs::Costs,
    plan::{GBIT, KIB_PER_GIB, fleet},
    workload::{Means, Workload},
};

/// What RESP says around a pushed payload: `>3`, `message`, the channel's name, lengths.
const RESP: f64 = 60.0;
/// More connections are not looked for: there are fewer people.
const BEYOND: f64 = 1e10;

/// What Redis carries, over all nodes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Redis {
    /// Cores' worth of CPU; a node has one.
    pub cpu: f64,
    pub out_gbit: f64,
    /// Today there is one.
    pub nodes: f64,
    /// Nodes over which one topic's pushes must be spread: above 1 no placement of topics helps.
    pub hottest: f64,
    /// What a node holds for subscriptions.
    pub memory_gib: f64,
    /// A node's CPU from its restart until all of them are there again.
    pub live_again_s: f64,
}

/// What Redis carries where so many replicas listen to a topic.
pub fn redis(costs: &Costs, work: &Workload, means: &Means, interested: f64) -> Redis {
    let cpu = |rate: f64| rate * (costs.redis_publish_us + interested * costs.redis_push_us) / 1e6;
    let out = |rate: f64| rate * interested * (work.payload + RESP) / GBIT;
    let needed = |rate: f64| (cpu(rate) / means.redis_busy).max(out(rate) / (means.redis_nic_gbit * means.redis_busy));
    let nodes = needed(work.rate).ceil().max(1.0);
    let subscriptions = work.topics * interested / nodes;
    Redis {
        cpu: cpu(work.rate),
        out_gbit: out(work.rate),
        nodes,
        hottest: needed(work.rate / work.topics),
        memory_gib: subscriptions * costs.redis_subscription_bytes / 1024.0 / KIB_PER_GIB,
        live_again_s: subscriptions * costs.redis_subscribe_us / 1e6,
    }
}

/// The most connections for which one Redis is enough, of workloads that grow as `at` says: 0 where none are few enough,
/// infinite where none are too many.
pub fn most_on_one(costs: &Costs, means: &Means, at: impl Fn(f64) -> Workload) -> f64 {
    let fits = |connections: f64| fleet(costs, &at(connections), means).redis.nodes <= 1.0;
    if fits(BEYOND) {
        return f64::INFINITY;
    }
    let (mut most, mut too_many): (f64, f64) = (0.0, BEYOND);
    while too_many - most > 1.0 {
        let middle = ((most + too_many) / 2.0).floor();
        if fits(middle) { most = middle } else { too_many = middle }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        plan::tests::COSTS,
        workload::{broadcast, chat, market},
    };

    #[test]
    fn egress_of_redis_is_one_push_per_publication_and_interested_replica() {
        let work = Workload { rate: 1000.0, payload: 940.0, ..broadcast(1e6) };
        let found = redis(&COSTS, &work, &Means::default(), 10.0);
        assert!((found.out_gbit - 0.08).abs() < 1e-9, "1,000/s × 10 × 1,000 B are 10 MB/s: {found:?}");
        assert!((found.cpu - 0.0025).abs() < 1e-9, "1,000/s × (0.5 + 10 × 0.2) µs: {found:?}");
    }

    #[test]
    fn a_topic_costs_a_subscription_for_each_interested_replica_and_nodes_share_them() {
        let work = Workload { topics: 1e6, rate: 1.0, ..chat(1e6) };
        let one = redis(&COSTS, &work, &Means::default(), 5.0);
        let bytes = one.memory_gib * 1024.0 * 1024.0 * 1024.0;
        assert!((bytes - 1e9).abs() < 1.0, "1 M topics × 5 × 200 B: {one:?}");
        assert!((one.live_again_s - 4.0).abs() < 1e-9, "1 M × 5 × 0.8 µs: {one:?}");
        let many = redis(&COSTS, &Workload { rate: 1e7, ..work }, &Means::default(), 5.0);
        assert!(many.nodes > 1.0 && (many.memory_gib * many.nodes - one.memory_gib).abs() < 1e-9, "{many:?}");
        assert!((many.live_again_s * many.nodes - 4.0).abs() < 1e-9, "{many:?}");
    }

    #[test]
    fn the_most_on_one_redis_fits_and_one_more_does_not() {
        for shape in [chat, market] {
            let nodes = |connections| fleet(&COSTS, &shape(connections), &Means::default()).redis.nodes;
            let most = most_on_one(&COSTS, &Means::default(), shape);
            assert!(nodes(most) <= 1.0 && nodes(most + 1.0) > 1.0, "{most}");
        }
    }

    #[test]
    fn what_no_redis_carries_fits_nobody_and_a_message_a_second_everybody() {
        assert_eq!(most_on_one(&COSTS, &Means::default(), broadcast), f64::INFINITY);
        let at_rate =
            |rate| most_on_one(&COSTS, &Means::default(), |connections| Workload { rate, ..market(connections) });
        assert_eq!((at_rate(1e9), at_rate(0.0)), (0.0, f64::INFINITY));
    }
}
