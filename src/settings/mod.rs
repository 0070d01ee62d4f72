//! Everything an operator can set, as plain data with honest units. Rooms read their section from here;
//! `config` fills it from file, environment and flags.

mod live;
pub mod notation;
mod routes;
mod template;
mod topics;
mod units;

use std::time::Duration;

pub use live::Live;
pub use routes::{OnGap, OnMessage, ProtocolChoice, Route};
pub use template::{BadTemplate, Part, Template};
pub use topics::{Grant, OnFull, RuleIndex, TopicRule, TopicRules};
pub use units::{ApiKey, Auto, ByteSize, OffOr, Origins, Secret};

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// The listener that clients meet.
    pub public: Public,
    /// The listener that operators and producers meet.
    pub internal: Internal,
    /// The road between replicas.
    pub redis: Redis,
    /// From accept to the end of the answer.
    pub handshake: Handshake,
    /// What one connection may do; a route may set its own.
    pub limits: Limits,
    /// The bytes of clients' messages that are not all here yet.
    pub inbound: Inbound,
    /// The bytes waiting for clients.
    pub outbox: Outbox,
    /// Signs of life; a route may set its own.
    pub heartbeat: Heartbeat,
    /// Compressed messages; a route may switch them on or off.
    pub deflate: Deflate,
    /// How the house empties.
    pub drain: Drain,
    /// What `/readyz` goes by.
    pub readiness: Readiness,
    /// What is logged and how.
    pub log: Log,
    /// This replica.
    pub replica: Replica,
    /// Rules for topics by name; the first match wins.
    pub topics: TopicRules,
    /// Routes by path: the defaults, and what the file adds or replaces.
    pub routes: Vec<Route>,
}

/// `[public]`
#[derive(Debug, Clone, PartialEq)]
pub struct Public {
    /// Where clients connect.
    pub listen: String,
    /// The most connections; `auto`: the descriptor limit less 1,000.
    pub max_connections: Auto<usize>,
    /// The longest that a connection stays open.
    pub max_age: OffOr<Duration>,
    /// Who may open a socket from a browser.
    pub origins: Origins,
    /// Peers whose `X-Forwarded-For` and `X-Request-Id` are believed: addresses or CIDR blocks.
    pub trusted_proxies: Vec<String>,
}

/// `[internal]`
#[derive(Debug, Clone, PartialEq)]
pub struct Internal {
    /// Where operators and producers connect.
    pub listen: String,
    /// Who may use `/api`; none: it answers on loopback only.
    pub api_keys: Vec<ApiKey>,
}

/// `[redis]`
#[derive(Debug, Clone, PartialEq)]
pub struct Redis {
    /// One URL, or several with commas between them; empty: the in-process broker. `link::address` reads it.
    pub url: Secret,
    /// Who we are to Redis, where the URL does not say; empty: the default user.
    pub username: String,
    /// What proves it, where the URL does not say; empty: none.
    pub password: Secret,
    /// Who we are to Sentinel; empty: the default user.
    pub sentinel_username: String,
    /// What proves that; empty: none.
    pub sentinel_password: Secret,
    /// A PEM file with the CAs that we trust with TLS; empty: those that the machine trusts.
    pub ca: String,
    /// A PEM file with our own certificate; empty: none.
    pub cert: String,
    /// A PEM file with its private key.
    pub key: String,
    /// How long a lookup of a name may take.
    pub lookup_timeout: Duration,
    /// How long an address may take to accept, and then to shake hands, and to greet.
    pub connect_timeout: Duration,
    /// Stands before every name of ours in Redis, literally; may be empty.
    pub prefix: String,
    /// How many connections carry subscriptions, to each Redis.
    pub links: usize,
    /// In a cluster: SSUBSCRIBE and SPUBLISH, so that a publication stays with the master of its slot.
    pub sharded: bool,
    /// How long a topic without subscribers stays subscribed.
    pub linger: Duration,
}

/// `[handshake]`
#[derive(Debug, Clone, PartialEq)]
pub struct Handshake {
    /// From accept to the last byte of the answer, or of the head of what is opened.
    pub timeout: Duration,
    /// The largest head of a request.
    pub head: ByteSize,
    /// The most header lines in it.
    pub lines: usize,
    /// The most handshakes between head and 101; beyond: 503 and `Retry-After`.
    pub in_flight: usize,
    /// The most handshakes a second; beyond: 503 and `Retry-After`.
    pub per_second: OffOr<u32>,
    /// The longest that 101 waits for its topics to be live.
    pub subscribe_wait: Duration,
}

/// `[limits]`, per connection; a route may set any of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// The largest message a client may send.
    pub message: ByteSize,
    /// How many messages a second a client may send for long …
    pub messages_per_second: u32,
    /// … and how many at once.
    pub burst: u32,
    /// How many topics a client may listen to.
    pub topics: usize,
}

/// `[inbound]`
#[derive(Debug, Clone, PartialEq)]
pub struct Inbound {
    /// The most that unfinished messages of all clients hold; `auto`: a sixteenth of the memory limit.
    pub total: Auto<ByteSize>,
    /// How long a message may take until all of it is here.
    pub timeout: Duration,
}

/// `[outbox]`
#[derive(Debug, Clone, PartialEq)]
pub struct Outbox {
    /// The most that waits for one client; each message counts its bytes + 64.
    pub bytes: ByteSize,
    /// The most messages that wait for one client.
    pub messages: usize,
    /// The most that waits for all clients; `auto`: a quarter of the memory limit.
    pub total: Auto<ByteSize>,
    /// How long a client with bytes waiting may take none.
    pub stall: OffOr<Duration>,
}

/// `[heartbeat]`
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// How long a silent connection is left alone; `off` leaves half-open peers to TCP.
    pub every: OffOr<Duration>,
    /// How long a sign of life may then take.
    pub timeout: Duration,
    /// A text message sent instead of a ping; empty: a ping.
    pub text: String,
}

/// `[deflate]`
#[derive(Debug, Clone, PartialEq)]
pub struct Deflate {
    /// Whether a client that offers permessage-deflate gets it.
    pub enabled: bool,
    /// What has fewer bytes goes out as it is. The same for all routes, for they share what is compressed.
    pub min_size: ByteSize,
}

/// `[drain]`
#[derive(Debug, Clone, PartialEq)]
pub struct Drain {
    /// Not ready any more, still accepting.
    pub delay: Duration,
    /// Over which the connections are closed.
    pub window: Duration,
}

/// `[readiness]`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Readiness {
    /// What a Redis outage means for `/readyz`.
    pub redis: RedisReadiness,
}

/// When `/readyz` answers 503 for Redis' sake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RedisReadiness {
    /// When Redis answers and this replica does not hear it.
    #[default]
    Own,
    /// Also when Redis is away for all.
    Required,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// A level, or `target=level` directives as of tracing's `EnvFilter`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For eyes.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// `[replica]`
#[derive(Debug, Clone, PartialEq)]
pub struct Replica {
    /// Its name in connection ids; empty: `<hostname>-<6 random characters>`.
    pub name: String,
    /// How many shards share the connections; `auto`: one per core.
    pub shards: Auto<usize>,
    /// How many topics it holds for its clients, live, pending and lingering; `auto`: a quarter of the memory limit at 1 KiB each.
    pub topics: Auto<usize>,
}

impl Default for Public {
    fn default() -> Self {
        Self {
            listen: "0.0.0.0:8080".into(),
            max_connections: Auto::Auto,
            max_age: OffOr::Off,
            origins: Origins::Any,
            trusted_proxies: Vec::new(),
        }
    }
}

impl Default for Internal {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8081".into(), api_keys: Vec::new() }
    }
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            username: String::new(),
            password: Secret::default(),
            sentinel_username: String::new(),
            sentinel_password: Secret::default(),
            ca: String::new(),
            cert: String::new(),
            key: String::new(),
            lookup_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(1),
            prefix: "fanline:".into(),
            links: 1,
            sharded: false,
            linger: Duration::from_secs(10),
        }
    }
}

impl Default for Handshake {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            head: ByteSize::kib(16),
            lines: 64,
            in_flight: 1024,
            per_second: OffOr::Off,
            subscribe_wait: Duration::from_secs(1),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { message: ByteSize::kib(64), messages_per_second: 50, burst: 300, topics: 200 }
    }
}

impl Default for Inbound {
    fn default() -> Self {
        Self { total: Auto::Auto, timeout: Duration::from_secs(30) }
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            bytes: ByteSize::mib(1),
            messages: 10_000,
            total: Auto::Auto,
            stall: OffOr::Value(Duration::from_secs(10)),
        }
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { every: OffOr::Value(Duration::from_secs(25)), timeout: Duration::from_secs(20), text: String::new() }
    }
}

impl Default for Deflate {
    fn default() -> Self {
        Self { enabled: false, min_size: ByteSize(256) }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay: Duration::from_secs(5), window: Duration::from_secs(25) }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

impl Default for Replica {
    fn default() -> Self {
        Self { name: String::new(), shards: Auto::Auto, topics: Auto::Auto }
    }
}
