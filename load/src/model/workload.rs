//! What clients do, in numbers.

/// What a fleet has to carry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Workload {
    /// N: open connections.
    pub connections: f64,
    /// T: topics that somebody listens to.
    pub topics: f64,
    /// s: topics that each connection listens to.
    pub per_connection: f64,
    /// λ: publications per second, over all topics.
    pub rate: f64,
    /// b: bytes of a payload.
    pub payload: f64,
    /// Publications of one topic that wait together, at most 8: what comes in one burst shares one write.
    pub together: f64,
}

/// What a machine and its operator give. Chosen, not measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Means {
    /// Cores of a replica.
    pub cores: f64,
    /// How busy they may be, from 0 to 1; the rest is for bursts and for a neighbour's death.
    pub busy: f64,
    /// Memory of a replica, for sockets and outboxes, in GiB.
    pub memory_gib: f64,
    /// Connections of a replica that descriptors allow.
    pub descriptors: f64,
    /// A replica's network, out, in Gbit/s.
    pub nic_gbit: f64,
    /// Redis is one thread: how busy it may be.
    pub redis_busy: f64,
    /// A Redis node's network, out, in Gbit/s.
    pub redis_nic_gbit: f64,
    /// Everybody is to be back after so many seconds.
    pub storm_s: f64,
    /// Source addresses times ports of the load balancers, to one replica's one port.
    pub balancer_ports: f64,
    /// Clients that read slowly, from 0 to 1, and what waits for each, in KiB: 256 in its outbox, and 200 in the kernel
    /// (load/CHOICES.md).
    pub slow: f64,
    pub slow_kib: f64,
}

impl Default for Means {
    fn default() -> Self {
        Self {
            cores: 8.0,
            busy: 0.6,
            memory_gib: 16.0,
            descriptors: 1_048_576.0 - 1_000.0,
            nic_gbit: 10.0,
            redis_busy: 0.7,
            redis_nic_gbit: 10.0,
            storm_s: 60.0,
            balancer_ports: 4.0 * 28_000.0,
            slow: 0.01,
            slow_kib: 456.0,
        }
    }
}

/// Many small rooms: everybody in two of ten, each room hears one message in five seconds.
pub fn chat(connections: f64) -> Workload {
    let topics = connections / 5.0;
    Workload { connections, topics, per_connection: 2.0, rate: topics / 5.0, payload: 256.0, together: 1.0 }
}

/// One topic for all, a message a second.
pub fn broadcast(connections: f64) -> Workload {
    Workload { connections, topics: 1.0, per_connection: 1.0, rate: 1.0, payload: 512.0, together: 1.0 }
}

/// A thousand instruments at ten prices a second each, of which everybody watches ten; a burst brings four together.
pub fn market(connections: f64) -> Workload {
    Workload { connections, topics: 1_000.0, per_connection: 10.0, rate: 10_000.0, payload: 128.0, together: 4.0 }
}
