//! A small fleet: replicas of the real binary, with clients and producers that go on through every fault.
//!
//! On one Redis each replica is behind a proxy of its own, and some producers publish straight at the master.
//! Where there are several, a replica must find its way among them by itself, so there is no proxy, and all is
//! published by the HTTP API.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::RwLock;
use tokio::task::{JoinSet, block_in_place};

use crate::client::Doors;
use crate::clock::Clock;
use crate::crowd::Crowd;
use crate::gateway::Gateway;
use crate::history;
use crate::http;
use crate::ledger::{Keeps, Ledger, Millis, Topic, Way};
use crate::memory::Held;
use crate::producer::{Market, Producer};
use crate::servers::{Kind, Servers};
use crate::support::proxy::Proxy;

/// The longest that anything is waited for.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often something is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(20);

const NOBODY: [&str; 6] = ["nobody:0", "nobody:1", "nobody:2", "nobody:3", "nobody:4", "nobody:5"];

/// How large a world is.
#[derive(Debug, Clone)]
pub struct Setup {
    pub redis: Kind,
    pub replicas: usize,
    pub clients: usize,
    pub topics: usize,
    pub topics_each: usize,
    /// From one publication of a producer to its next; there are up to four. With one for each topic, a third of it.
    pub pace: Duration,
    /// How much longer what is published by the HTTP API is than need be, in bytes.
    pub filler: usize,
    /// More for the configuration file.
    pub toml: &'static str,
    /// Whether Redis' clock can be set.
    pub clock: bool,
    /// Whether all clients begin on the first replica.
    pub crowded: bool,
}

impl Default for Setup {
    fn default() -> Self {
        let pace = Duration::from_millis(20);
        Self {
            redis: Kind::One,
            replicas: 2,
            clients: 24,
            topics: 12,
            topics_each: 4,
            pace,
            filler: 0,
            toml: "",
            clock: false,
            crowded: false,
        }
    }
}

/// A replica and its way to Redis.
pub struct Replica {
    pub gateway: Gateway,
    proxy: Option<Proxy>,
}

/// All of it; ends when it is dropped.
pub struct World {
    pub ledger: Arc<Ledger>,
    pub market: Arc<Market>,
    pub crowd: Crowd,
    pub redis: Servers,
    pub replicas: Vec<Replica>,
    pub doors: Doors,
    /// What each replica held before the first fault.
    pub first: Vec<Held>,
    clock: Option<Clock>,
    setup: Setup,
    producers: JoinSet<()>,
}

impl World {
    /// None where there is no Redis on this machine and OFFLINE=1.
    pub async fn start(setup: Setup) -> Option<Self> {
        let clock = if setup.clock { Some(Clock::find()?) } else { None };
        let environment = clock.as_ref().map(Clock::environment);
        let environment = environment.iter().flatten().map(|(name, value)| (*name, value.as_str()));
        // What Redis acknowledged survives its process, so that only a rollback takes it back.
        let keep = ["--appendonly", "yes", "--appendfsync", "no"];
        let redis = Servers::start(setup.redis, &environment.collect::<Vec<_>>(), &keep)?;
        let mut replicas = Vec::new();
        for _ in 0..setup.replicas {
            if setup.redis == Kind::Watched {
                // Half of what lies between two questions to the Sentinels, so that not all hear of a failover at once.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            replicas.push(Replica::start(&redis, &setup).await);
        }
        let ledger = Ledger::new(topics(setup.topics, &redis));
        let doors = Doors::new(replicas.iter().map(|replica| replica.gateway.public()).collect::<Vec<_>>().into());
        let desks = Doors::new(replicas.iter().map(|replica| replica.gateway.internal()).collect::<Vec<_>>().into());
        let master = AtomicU16::new(if let Servers::One(redis) = &redis { redis.port() } else { 0 });
        let (gate, slowest) = (RwLock::new(()), AtomicU64::new(0));
        let market = Arc::new(Market { ledger: ledger.clone(), master, desks, gate, slowest });
        let others = if setup.crowded { doors.write().split_off(1) } else { Vec::new() };
        let crowd = Crowd::start(&ledger, &doors, setup.clients, setup.topics_each);
        let producers = JoinSet::new();
        let mut world =
            Self { ledger, market, crowd, redis, replicas, doors, first: Vec::new(), clock, setup, producers };
        world.until("every replica is open", async |world| world.are_open().await).await;
        world.until("everybody listens", async |world| world.crowd.is_live()).await;
        world.doors.write().extend(others);
        world.producers = world.market.open(world.setup.pace, world.setup.filler);
        world.first = world.held().await;
        Some(world)
    }

    /// Asks again until something holds.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn until(&mut self, what: &str, mut holds: impl AsyncFnMut(&mut Self) -> bool) -> Duration {
        let began = Instant::now();
        while !holds(self).await {
            assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}\n{}", self.tell().await);
            tokio::time::sleep(LOOK).await;
        }
        began.elapsed()
    }

    /// How everything is, for whoever looks for the cause.
    pub async fn tell(&self) -> String {
        let mut lines = vec![format!("{} of {} clients wait", self.crowd.waiting(), self.crowd.len())];
        for (n, replica) in self.replicas.iter().enumerate() {
            let ready = http::get(replica.gateway.internal(), "/readyz?strict").await;
            let log = replica.gateway.log();
            let tail: Vec<_> = log.lines().rev().take(15).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            lines.push(format!("replica {n}: {ready:?}\n{}", tail.join("\n")));
        }
        lines.join("\n")
    }

    /// Whether every replica's link is proven.
    pub async fn are_open(&self) -> bool {
        for replica in &self.replicas {
            if !replica.is_open().await {
                return false;
            }
        }
        true
    }

    /// Whether every replica takes publications, on topics of nobody, so many that every master has some.
    pub async fn take_publications(&self) -> bool {
        for replica in &self.replicas {
            let order = json!({ "topics": NOBODY, "text": "x" });
            if !matches!(http::post(replica.gateway.internal(), "/api/publish", &order).await, Ok((200, _))) {
                return false;
            }
        }
        true
    }

    /// How often each replica's link was made anew.
    pub async fn reconnects(&self) -> Vec<f64> {
        let mut all = Vec::new();
        for replica in &self.replicas {
            let metrics = http::metrics(replica.gateway.internal()).await.unwrap_or_default();
            all.push(metrics.get("fanline_redis_reconnects_total").copied().unwrap_or(f64::NAN));
        }
        all
    }

    /// The replica with the most clients.
    pub async fn fullest(&self) -> usize {
        let mut most = (0, -1.0);
        for (place, replica) in self.replicas.iter().enumerate() {
            let metrics = http::metrics(replica.gateway.internal()).await.unwrap_or_default();
            let clients = metrics.get("fanline_connections{protocol=\"json\"}").copied().unwrap_or_default();
            most = if clients > most.1 { (place, clients) } else { most };
        }
        most.0
    }

    /// What each replica holds.
    pub async fn held(&self) -> Vec<Held> {
        let mut all = Vec::new();
        for replica in &self.replicas {
            let metrics = http::metrics(replica.gateway.internal()).await.unwrap_or_default();
            all.push(Held::new(replica.gateway.pid(), &metrics));
        }
        all
    }

    /// While the caller has silence: one more publication on every topic, and everybody hears it. What is not
    /// heard in time the judge will find.
    pub async fn settle(&mut self) {
        let mut producer = Producer::new(&self.market);
        let mut marks = Vec::new();
        for topic in 0..self.ledger.topics.len() {
            let deadline = Instant::now() + PATIENCE;
            let mark = loop {
                if let Some((number, _)) = producer.publish(topic, 0).await {
                    break number;
                }
                assert!(Instant::now() < deadline, "nobody takes publications\n{}", self.tell().await);
                tokio::time::sleep(LOOK).await;
            };
            marks.push((topic, mark));
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while !marks.iter().all(|(topic, mark)| self.crowd.has_heard(*topic, *mark)) && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Redis came back with what it has now: what it acknowledged by `before` and holds no longer is taken back.
    pub fn took_back(&self, before: Millis) {
        for (place, topic) in self.ledger.topics.iter().enumerate().filter(|(_, topic)| topic.keeps == Keeps::History) {
            let held: HashSet<u64> = block_in_place(|| history::held(self.redis.master_of(topic), topic));
            self.ledger.taken_back(place, &held, before);
        }
    }

    /// Ends a replica without a word. Another stands in its place already, unless the others are to take all of its
    /// clients. Answers when it ended.
    pub async fn replace(&mut self, place: usize) -> Instant {
        if !self.setup.crowded {
            self.one_more().await;
        }
        self.doors.write().remove(place);
        self.market.desks.write().remove(place);
        self.first.remove(place);
        let gone = self.replicas.remove(place);
        gone.gateway.signal("KILL");
        let ended = Instant::now();
        block_in_place(|| drop(gone));
        if self.setup.crowded {
            self.one_more().await;
        }
        ended
    }

    async fn one_more(&mut self) {
        let replica = Replica::start(&self.redis, &self.setup).await;
        self.doors.write().push(replica.gateway.public());
        self.market.desks.write().push(replica.gateway.internal());
        self.replicas.push(replica);
        self.first.extend(self.held().await.pop());
    }

    /// Sets Redis' clock, in seconds off the machine's.
    pub fn set_clock(&self, seconds: i64) {
        self.clock.iter().for_each(|clock| clock.set(seconds));
    }

    /// The longest that a replica let a publisher wait, in ms, since the last time it was asked.
    pub fn slowest_publish(&self) -> u64 {
        self.market.slowest.swap(0, Ordering::Relaxed)
    }
}

impl Replica {
    async fn start(redis: &Servers, setup: &Setup) -> Self {
        let proxy = if let Servers::One(redis) = redis { Some(Proxy::start(redis.port()).await) } else { None };
        let url = proxy.as_ref().map_or_else(|| redis.url(), Proxy::url);
        let toml = format!("{}\n{}", history::rules(), setup.toml);
        let gateway = block_in_place(|| Gateway::with_toml(&toml, &["--redis-url", &url]));
        Self { gateway, proxy }
    }

    /// What lies between it and the only Redis.
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("one Redis")
    }

    /// Whether its link is proven.
    pub async fn is_open(&self) -> bool {
        let Ok((200, body)) = http::get(self.gateway.internal(), "/readyz").await else { return false };
        let told: Value = serde_json::from_str(&body).unwrap_or_default();
        told["redis"] == "open"
    }
}

/// Topics of every kind in turn: with and without a history, published at the master and by the HTTP API. At the
/// master only a function in Redis publishes with a history.
fn topics(count: usize, redis: &Servers) -> Vec<Topic> {
    let one = if let Servers::One(redis) = redis { Some(redis) } else { None };
    let function = block_in_place(|| one.is_some_and(history::is_called));
    let topic = |n: usize| {
        let history = n % 2 == 1 && history::is_kept();
        let (letter, keeps) = if history { ("h", Keeps::History) } else { ("p", Keeps::Nothing) };
        let bus = one.is_some() && (n / 2).is_multiple_of(2) && (function || keeps == Keeps::Nothing);
        let way = if bus { Way::Bus } else { Way::Api };
        Topic { name: format!("{letter}:{n}"), keeps, way }
    };
    (0..count).map(topic).collect()
}

/// Now, as the ledger counts it.
pub fn now() -> Millis {
    fanline::clock::unix_ms()
}
