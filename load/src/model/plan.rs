//! The model: from costs, workload and means to a fleet. Pure arithmetic; SCALING.md writes the same formulas out.

use super::{
    costs::Costs,
    redis::{Redis, redis},
    workload::{Means, Workload},
};

/// A frame's header, TCP, IP and Ethernet around a payload, in bytes, where each write is a segment of its own.
const AROUND: f64 = 4.0 + 66.0;
/// Publications that share a write when eight wait together.
const EIGHT: f64 = 8.0;
pub const KIB_PER_GIB: f64 = 1024.0 * 1024.0;
pub const GBIT: f64 = 1e9 / 8.0;

/// A fleet, and why it is so large.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    /// Deliveries a second, over all.
    pub deliveries: f64,
    pub replicas: f64,
    /// Whether so many are enough; where not, no number is.
    pub suffices: bool,
    /// What the number of replicas is for; or that one Redis is not enough, and today's Fanline ends before.
    pub first_limit: Limit,
    /// What would be met next, and how many replicas it asks for.
    pub next_limit: (Limit, f64),
    pub per_replica: PerReplica,
    /// Replicas that want a topic's publications, on average.
    pub interested: f64,
    pub redis: Redis,
}

/// What one replica carries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PerReplica {
    pub connections: f64,
    /// Cores' worth of CPU: deliveries and ingest.
    pub cpu: f64,
    pub memory_gib: f64,
    pub out_gbit: f64,
}

/// Why there are so many replicas, or why there cannot be such a fleet today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Of deliveries, and of what is taken in for them.
    Cpu,
    Memory,
    Nic,
    Storm,
    Ports,
    Descriptors,
    /// With fewer, what each takes in from Redis alone would be more than its cores.
    Ingest,
    /// One node is all there is today: spreading topics over several is designed and not built.
    Redis,
}

impl Limit {
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Memory => "memory",
            Self::Nic => "network out",
            Self::Storm => "reconnect storm",
            Self::Ports => "balancers' ports",
            Self::Descriptors => "descriptors",
            Self::Ingest => "ingest",
            Self::Redis => "one Redis",
        }
    }
}

/// Works a fleet out; the limit that asks for most replicas is the first that is met.
pub fn fleet(costs: &Costs, work: &Workload, means: &Means) -> Fleet {
    let deliveries = work.rate * work.connections * work.per_connection / work.topics;
    let needed = |replicas| most(&needs(costs, work, means, deliveries, replicas));
    let is_enough = |replicas: f64| needed(replicas).1 <= replicas;
    let replicas = least(work.connections, is_enough);
    let suffices = is_enough(replicas);
    let interested = interested(work, replicas);
    let redis = redis(costs, work, means, interested);
    // What one replica fewer would break.
    let own_limit = needed((replicas - 1.0).max(1.0)).0;
    let (first_limit, next_limit) = match redis.nodes > 1.0 {
        true => (Limit::Redis, (own_limit, if suffices { replicas } else { f64::INFINITY })),
        false => {
            let mut others = needs(costs, work, means, deliveries, replicas);
            others.retain(|(limit, _)| *limit != own_limit);
            (own_limit, most(&others))
        }
    };
    let per_replica = PerReplica {
        connections: work.connections / replicas,
        cpu: (deliveries / replicas * delivery_us(costs, work) + ingest_rate(work, replicas) * costs.ingest_us) / 1e6,
        memory_gib: memory_kib(costs, work, means) * work.connections / replicas / KIB_PER_GIB,
        out_gbit: deliveries / replicas * wire(work) / GBIT,
    };
    Fleet { deliveries, replicas, suffices, first_limit, next_limit, per_replica, interested, redis }
}

/// The least whole number that is enough, where every larger one is: replicas only ever share what there is. About
/// `most` where even that is not enough.
fn least(most: f64, is_enough: impl Fn(f64) -> bool) -> f64 {
    let mut high: f64 = 1.0;
    while !is_enough(high) && high < most {
        high *= 2.0;
    }
    let mut low = (high / 2.0).floor();
    while high - low > 1.0 {
        let middle = ((low + high) / 2.0).floor();
        if is_enough(middle) { high = middle } else { low = middle }
    }
    high
}

/// Replicas that each limit asks for.
fn needs(costs: &Costs, work: &Workload, means: &Means, deliveries: f64, replicas: f64) -> Vec<(Limit, f64)> {
    let cpu = means.cores * means.busy * 1e6;
    let ingest = ingest_rate(work, replicas) * costs.ingest_us;
    let for_deliveries = match cpu - ingest {
        left if left > 0.0 => (Limit::Cpu, deliveries * delivery_us(costs, work) / left),
        _ => (Limit::Ingest, f64::INFINITY),
    };
    let storm =
        work.connections * costs.connect_us * work.per_connection.max(1.0) / (means.cores * 1e6 * means.storm_s);
    vec![
        for_deliveries,
        (Limit::Memory, memory_kib(costs, work, means) * work.connections / (means.memory_gib * KIB_PER_GIB)),
        (Limit::Nic, deliveries * wire(work) / (means.nic_gbit * GBIT * means.busy)),
        (Limit::Storm, storm),
        (Limit::Ports, work.connections / means.balancer_ports),
        (Limit::Descriptors, work.connections / means.descriptors),
    ]
}

fn most(needs: &[(Limit, f64)]) -> (Limit, f64) {
    needs.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((Limit::Cpu, 1.0))
}

/// CPU µs of a delivery where so many share a write: the measured 1 and 8, and between them 1/n of what a write costs.
pub fn delivery_us(costs: &Costs, work: &Workload) -> f64 {
    // Noise may say that a write is more than the whole, or less than nothing.
    let shared = ((costs.delivery_us - costs.joined_us) / (1.0 - 1.0 / EIGHT)).clamp(0.0, costs.delivery_us);
    let own = costs.delivery_us - shared;
    own + shared / work.together.clamp(1.0, EIGHT)
}

/// Bytes on a client's wire per delivery; who shares a write shares a segment.
fn wire(work: &Workload) -> f64 {
    work.payload + 4.0 + (AROUND - 4.0) / work.together.clamp(1.0, EIGHT)
}

fn memory_kib(costs: &Costs, work: &Workload, means: &Means) -> f64 {
    let subscriptions = costs.connection_kib * work.per_connection.max(1.0);
    subscriptions + costs.kernel_kib + means.slow * means.slow_kib
}

/// Replicas of which at least one connection listens to a topic, where clients land anywhere.
pub fn interested(work: &Workload, replicas: f64) -> f64 {
    let listeners = work.connections * work.per_connection / work.topics;
    // replicas × (1 − (1 − 1/replicas)^listeners), in a form that keeps its digits.
    if replicas <= 1.0 { 1.0 } else { replicas * -(listeners * (-1.0 / replicas).ln_1p()).exp_m1() }
}

/// Publications a second that one replica takes in.
fn ingest_rate(work: &Workload, replicas: f64) -> f64 {
    work.rate * interested(work, replicas) / replicas
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::model::workload::{broadcast, chat, market};

    pub const COSTS: Costs = Costs {
        delivery_us: 3.0,
        joined_us: 0.4,
        ingest_us: 1.6,
        ingest_together_us: 1.4,
        connect_us: 60.0,
        connection_kib: 2.6,
        kernel_kib: 4.6,
        redis_publish_us: 0.5,
        redis_push_us: 0.2,
        redis_subscription_bytes: 200.0,
        redis_subscribe_us: 0.8,
    };

    #[test]
    fn a_delivery_costs_what_was_measured_alone_and_by_eight_and_less_the_more_share_it() {
        let by = |together| delivery_us(&COSTS, &Workload { together, ..chat(1e6) });
        assert!((by(1.0) - 3.0).abs() < 1e-9 && (by(8.0) - 0.4).abs() < 1e-9);
        assert!(by(4.0) < by(2.0) && by(4.0) > by(8.0));
        assert_eq!(by(100.0), by(8.0), "more than eight was not measured");
    }

    #[test]
    fn no_noise_makes_a_part_of_a_delivery_cost_less_than_nothing() {
        let by = |joined_us, together| delivery_us(&Costs { joined_us, ..COSTS }, &Workload { together, ..chat(1e6) });
        assert_eq!([by(0.1, 1.0), by(0.1, 8.0)], [3.0, 3.0 / 8.0], "all of it is the write");
        assert_eq!([by(3.1, 1.0), by(3.1, 8.0)], [3.0, 3.0], "none of it is");
    }

    #[test]
    fn one_redis_that_is_not_enough_is_the_first_limit_and_the_replicas_own_the_next() {
        let found = fleet(&COSTS, &chat(1e8), &Means::default());
        assert_eq!((found.first_limit, found.next_limit.0), (Limit::Redis, Limit::Ports), "{found:?}");
        assert_eq!(found.next_limit.1, found.replicas);
        assert_eq!(fleet(&COSTS, &chat(1e6), &Means::default()).first_limit, Limit::Ports);
    }

    #[test]
    fn a_small_room_interests_as_many_replicas_as_it_has_members_and_a_huge_one_all() {
        let room = interested(&chat(1e6), 1e6);
        assert!((room - 10.0).abs() < 0.01, "{room}");
        assert!((interested(&broadcast(1e6), 50.0) - 50.0).abs() < 1e-9);
        assert_eq!(interested(&chat(1e6), 1.0), 1.0);
    }

    #[test]
    fn a_fleet_grows_with_its_connections_and_no_replica_carries_more_than_it_may() {
        for shape in [chat, broadcast, market] {
            let (small, large) =
                (fleet(&COSTS, &shape(1e6), &Means::default()), fleet(&COSTS, &shape(1e8), &Means::default()));
            assert!(large.replicas > 50.0 * small.replicas, "{small:?} {large:?}");
            for fleet in [small, large] {
                let means = Means::default();
                assert!(fleet.per_replica.cpu <= means.cores * means.busy * 1.001, "{fleet:?}");
                assert!(
                    fleet.per_replica.memory_gib <= means.memory_gib && fleet.per_replica.out_gbit <= means.nic_gbit
                );
            }
        }
    }

    #[test]
    fn the_least_that_is_enough_is_found() {
        for wanted in [1.0, 2.0, 3.0, 9.0, 1000.0, 1025.0] {
            assert_eq!(least(1e9, |replicas| replicas >= wanted), wanted);
        }
    }

    #[test]
    fn what_no_replica_can_take_in_is_said() {
        let flood = Workload { rate: 1e7, topics: 1.0, ..market(1e6) };
        let found = fleet(&COSTS, &flood, &Means::default());
        assert_eq!((found.first_limit, found.next_limit.0, found.suffices), (Limit::Redis, Limit::Ingest, false));
    }
}
