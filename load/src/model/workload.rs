//! What clients do and machines give, in numbers.

use crate::number::{share, within};

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

/// What a machine and its operator give. Chosen, not measured; each field is a flag.
#[derive(Debug, Clone, Copy, PartialEq, clap::Args)]
pub struct Means {
    /// C: cores of a replica
    #[arg(long, default_value_t = Self::default().cores, value_parser = within::<1, 1024>)]
    pub cores: f64,
    /// u: how busy they and its network may be; the rest is for bursts and for a neighbour's death
    #[arg(long, default_value_t = Self::default().busy, value_parser = share)]
    pub busy: f64,
    /// M: memory of a replica for sockets and outboxes, in GiB
    #[arg(long, default_value_t = Self::default().memory_gib, value_parser = within::<1, 65_536>)]
    pub memory_gib: f64,
    /// F: connections of a replica that descriptors allow
    #[arg(long, default_value_t = Self::default().descriptors, value_parser = within::<1, 1_000_000_000>)]
    pub descriptors: f64,
    /// B: a replica's network, out, in Gbit/s
    #[arg(long, default_value_t = Self::default().nic_gbit, value_parser = within::<1, 10_000>)]
    pub nic_gbit: f64,
    /// v: how busy Redis, one thread, and its network may be
    #[arg(long, default_value_t = Self::default().redis_busy, value_parser = share)]
    pub redis_busy: f64,
    /// B′: a Redis node's network, out, in Gbit/s
    #[arg(long, default_value_t = Self::default().redis_nic_gbit, value_parser = within::<1, 10_000>)]
    pub redis_nic_gbit: f64,
    /// W: everybody is to be back after so many seconds
    #[arg(long = "storm", default_value_t = Self::default().storm_s, value_parser = within::<1, 86_400>)]
    pub storm_s: f64,
    /// P: source ports towards one replica, addresses of the balancers times ports of each
    #[arg(long, default_value_t = Self::default().balancer_ports, value_parser = within::<1, 1_000_000_000>)]
    pub balancer_ports: f64,
    /// f: clients that read slowly, from 0 to 1
    #[arg(long, default_value_t = Self::default().slow, value_parser = within::<0, 1>)]
    pub slow: f64,
    /// o: what waits for each of them, in KiB: 256 in its outbox and 200 in the kernel (CHOICES.md)
    #[arg(long, default_value_t = Self::default().slow_kib, value_parser = within::<0, 1_048_576>)]
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        means: Means,
    }

    fn means(words: &[&str]) -> Result<Means, clap::Error> {
        Cli::try_parse_from([&["model"], words].concat()).map(|cli| cli.means)
    }

    #[test]
    fn every_field_is_a_flag_with_its_default_and_its_bounds() {
        assert_eq!(means(&[]).unwrap(), Means::default());
        let flags =
            "cores memory-gib descriptors nic-gbit redis-nic-gbit storm balancer-ports slow slow-kib busy redis-busy";
        for flag in flags.split(' ').map(|name| format!("--{name}")) {
            assert_ne!(means(&[&flag, "1"]).unwrap(), Means::default(), "{flag}");
            assert!(means(&[&flag, "1e12"]).is_err() && means(&[&flag, "-1"]).is_err(), "{flag}");
        }
        assert!(means(&["--busy", "0"]).is_err() && means(&["--redis-busy", "0"]).is_err(), "nothing is divided by 0");
    }
}
