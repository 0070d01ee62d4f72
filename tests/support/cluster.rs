//! A cluster of the test's own: three masters, each with a replica, all on 127.0.0.1.

use std::process::Command;
use std::time::{Duration, Instant};

use super::redis::RedisServer;
use super::tls::Certificates;

/// How long a node may be silent before the others replace it, in ms.
const NODE_TIMEOUT: &str = "1500";

const ARGS: [&str; 4] = ["--cluster-enabled", "yes", "--cluster-node-timeout", NODE_TIMEOUT];

/// Six nodes; killed when dropped.
pub struct Cluster {
    nodes: Vec<RedisServer>,
    /// Where they listen with TLS, where they do.
    tls: Vec<u16>,
}

impl Cluster {
    /// Starts one; none where [`RedisServer::start`] would not.
    pub fn start() -> Option<Self> {
        let nodes = (0..6).map(|_| RedisServer::start_with(&ARGS)).collect::<Option<Vec<_>>>()?;
        Some(Self { nodes, tls: Vec::new() }.created())
    }

    /// One whose nodes speak TLS with each other and tell clients of their ports for TLS.
    pub fn start_tls(certificates: &Certificates) -> Option<Self> {
        let args = [&ARGS[..], &["--tls-cluster", "yes", "--tls-replication", "yes"]].concat();
        let nodes = (0..6).map(|_| certificates.server_with("server", "no", &args)).collect::<Option<Vec<_>>>()?;
        let (nodes, tls) = nodes.into_iter().unzip();
        Some(Self { nodes, tls }.created_by(&["--tls", "--cacert", &certificates.path("ca.pem")]))
    }

    fn created(self) -> Self {
        self.created_by(&[])
    }

    fn created_by(self, how: &[&str]) -> Self {
        let created = Command::new("redis-cli")
            .args(how)
            .args(["--cluster", "create"])
            .args(self.hosts())
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .output()
            .unwrap();
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
        self.until("sound", |cluster| {
            cluster.running().all(|node| node.cli(&["CLUSTER", "INFO"]).contains("state:ok"))
        });
        self.until("replicated", |cluster| {
            cluster.running().all(|node| {
                let replication = node.cli(&["INFO", "replication"]);
                replication.contains("role:master") || replication.contains("master_link_status:up")
            })
        });
        self
    }

    fn hosts(&self) -> Vec<String> {
        let plain = self.nodes.iter().map(RedisServer::port);
        let ports: Vec<u16> = if self.tls.is_empty() { plain.collect() } else { self.tls.clone() };
        ports.into_iter().map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// All nodes in one URL.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_empty() { "redis" } else { "rediss" };
        format!("{scheme}+cluster://{}", self.hosts().join(","))
    }

    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The nodes that are masters, by number.
    pub fn masters(&self) -> Vec<usize> {
        let is_master = |at: &usize| self.nodes[*at].cli(&["ROLE"]).starts_with("master");
        (0..self.nodes.len()).filter(|&at| self.nodes[at].is_running()).filter(is_master).collect()
    }

    /// The master that owns a channel's slot.
    pub fn owner(&self, channel: &str) -> usize {
        let slot = self.slot(channel);
        self.masters().into_iter().find(|&at| self.owns(at, &slot)).unwrap()
    }

    /// Starts a node that was killed again, and waits until the cluster has taken it in.
    pub fn revive(&mut self, node: usize) {
        self.nodes[node].restart();
        self.until("taken in", |cluster| {
            cluster.nodes[node].cli(&["INFO", "replication"]).contains("master_link_status:up")
        });
    }

    /// A replica of a master.
    pub fn replica_of(&self, master: usize) -> usize {
        let port = format!("master_port:{}", self.nodes[master].port());
        (0..6).find(|&at| self.nodes[at].cli(&["INFO", "replication"]).contains(&port)).unwrap()
    }

    /// Ends a node without a word.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    /// Moves the slot of a channel, which holds no keys, to another master.
    pub fn move_slot(&self, channel: &str, to: usize) {
        let from = self.begin_to_move_slot(channel, to);
        let (slot, target) = (self.slot(channel), self.id(to));
        for node in [to, from] {
            assert_eq!(self.nodes[node].cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]), "OK");
        }
    }

    /// Begins to move the slot of a channel: keys that are no more on its master are asked for at the other.
    /// The master before.
    pub fn begin_to_move_slot(&self, channel: &str, to: usize) -> usize {
        let (slot, from) = (self.slot(channel), self.owner(channel));
        assert_eq!(self.nodes[to].cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)]), "OK");
        assert_eq!(self.nodes[from].cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)]), "OK");
        from
    }

    /// Lets a replica take its master's place, with both alive.
    pub fn hand_over(&self, master: usize) {
        let replica = self.replica_of(master);
        assert_eq!(self.nodes[replica].cli(&["CLUSTER", "FAILOVER"]), "OK");
        self.until("handed over", |cluster| cluster.nodes[replica].cli(&["ROLE"]).starts_with("master"));
    }

    /// How many channels somebody is subscribed to on a node, sharded ones.
    pub fn shard_channels(&self, node: usize) -> usize {
        let channels = self.nodes[node].cli(&["PUBSUB", "SHARDCHANNELS", "fanline:room:*"]);
        channels.lines().filter(|line| !line.is_empty()).count()
    }

    fn slot(&self, channel: &str) -> String {
        self.running().next().unwrap().cli(&["CLUSTER", "KEYSLOT", channel])
    }

    fn id(&self, node: usize) -> String {
        self.nodes[node].cli(&["CLUSTER", "MYID"])
    }

    fn owns(&self, node: usize, slot: &str) -> bool {
        let slot: u32 = slot.parse().unwrap();
        let nodes = self.nodes[node].cli(&["CLUSTER", "NODES"]);
        let own = nodes.lines().find(|line| line.contains("myself")).unwrap();
        own.split(' ').skip(8).any(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            matches!((first.parse::<u32>(), last.parse::<u32>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
        })
    }

    fn running(&self) -> impl Iterator<Item = &RedisServer> {
        self.nodes.iter().filter(|node| node.is_running())
    }

    /// Waits until something holds, at most 30 s.
    pub fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds(self) {
            assert!(Instant::now() < deadline, "in 30 s not: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
