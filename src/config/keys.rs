//! Every key there is, in one list: what reads, prints, explains and compares settings walks it.

use std::time::Duration;

use super::kinds::{
    ApiKeyOf, Bound, Field, Flag, Kind, List, Listen, OrAuto, OrOff, OriginsOf, Password, Proxy, RedisUrl, Size, Span,
    Text, Whole, Words, any_text, log_level, prefix, replica_name,
};
use crate::settings::{
    Auto, ByteSize, Deflate, Drain, Handshake, Heartbeat, Inbound, Internal, Limits, Log, LogFormat, Outbox, Public,
    Readiness, Redis, RedisReadiness, Replica, Settings,
};

/// A key and the setting behind it.
pub(super) struct Key<'a> {
    /// `section.key`; in a rule or route the key alone.
    pub(super) name: &'static str,
    /// One line for the reader of a file.
    pub(super) doc: &'static str,
    /// The setting.
    pub(super) field: Box<dyn Field + 'a>,
    /// Whether SIGHUP changes it.
    pub(super) live: bool,
}

impl Key<'_> {
    /// Marks a key that SIGHUP changes.
    pub(super) fn live(mut self) -> Self {
        self.live = true;
        self
    }

    /// The key that names a file with the secret in it.
    pub(super) fn twin(&self) -> Option<String> {
        self.field.secret().then(|| format!("{}_file", self.name))
    }
}

pub(super) fn key<'a, T, K: Kind<T> + 'a>(name: &'static str, kind: K, value: &'a mut T, doc: &'static str) -> Key<'a> {
    Key { name, doc, field: Box::new(Bound { value, kind }), live: false }
}

/// Below this a fleet would do little else than take in its clients again.
const SHORTEST_STAY: Duration = Duration::from_secs(10);

/// No message of a client and no publication is larger: beyond this a pause for one is felt by all.
pub(super) const LARGEST: ByteSize = ByteSize::mib(64);

/// The keys of all sections, in the order of the file; `[[topics]]` and `[[routes]]` have lists of their own.
///
/// Structs are taken apart in full, so that a new setting cannot be forgotten here.
pub(super) fn keys(settings: &mut Settings) -> Vec<Key<'_>> {
    let Settings {
        public,
        internal,
        redis,
        handshake,
        limits,
        inbound,
        outbox,
        heartbeat,
        deflate,
        drain,
        readiness,
        log,
        replica,
        topics: _,
        routes: _,
    } = settings;
    let Replica { name, shards, topics: replica_topics } = replica;
    let mut all = doors(public, internal);
    all.extend(redis_keys(redis));
    all.extend(handshake_keys(handshake));
    all.extend(limits_keys(limits, replica_topics));
    all.extend(inbound_keys(inbound));
    all.extend(outbox_keys(outbox));
    all.extend(heartbeat_keys(heartbeat));
    all.extend(deflate_keys(deflate));
    all.extend(rest(drain, readiness, log, (name, shards)));
    all
}

fn doors<'a>(public: &'a mut Public, internal: &'a mut Internal) -> Vec<Key<'a>> {
    let Public { listen, max_connections, max_age, origins, trusted_proxies } = public;
    let Internal { listen: internal_listen, api_keys } = internal;
    vec![
        key("public.listen", Listen, listen, "Where clients connect."),
        key(
            "public.max_connections",
            OrAuto(Whole(1, 100_000_000)),
            max_connections,
            "The most connections; \"auto\": the descriptor limit less 1,000.",
        ),
        key(
            "public.max_age",
            OrOff(Span::AtLeast(SHORTEST_STAY)),
            max_age,
            "The longest that a connection stays open; each is closed (4203) in the last quarter of it, so that those who came together leave apart.",
        )
        .live(),
        key(
            "public.origins",
            OriginsOf,
            origins,
            "Web pages that may connect: \"any\", or a list of origins; clients that send no origin always may. Desktop and \
             mobile shells send \"file://\" or \"null\"; the second also comes from any page's sandboxed frame.",
        )
        .live(),
        key(
            "public.trusted_proxies",
            List(Proxy),
            trusted_proxies,
            "Proxies whose X-Forwarded-For and X-Request-Id are believed, in the logs.",
        ),
        key("internal.listen", Listen, internal_listen, "Where operators and producers connect."),
        key(
            "internal.api_keys",
            List(ApiKeyOf),
            api_keys,
            "Who may use /api, each \"name:secret\"; none: /api answers on loopback only, to a name of it in Host.",
        )
        .live(),
    ]
}

fn redis_keys(redis: &mut Redis) -> Vec<Key<'_>> {
    let Redis {
        url,
        username,
        password,
        sentinel_username,
        sentinel_password,
        ca,
        cert,
        key: secret,
        lookup_timeout,
        connect_timeout,
        prefix: start,
        links,
        sharded,
        linger,
    } = redis;
    let text = || any_text("a text in quotes");
    let file = || any_text("the path of a PEM file");
    vec![
        key(
            "redis.url",
            RedisUrl,
            url,
            "redis://[user[:password]@]host[:port][/db]; empty: this replica stays alone; several: each topic lives on one of them.",
        ),
        key("redis.username", text(), username, "Who we are to Redis, where the URL does not say."),
        key("redis.password", Password, password, "What proves it, where the URL does not say."),
        key("redis.sentinel_username", text(), sentinel_username, "Who we are to Sentinel."),
        key("redis.sentinel_password", Password, sentinel_password, "What proves it."),
        key("redis.ca", file(), ca, "With rediss://, the CAs to trust; empty: those that this machine trusts."),
        key("redis.cert", file(), cert, "With rediss://, our own certificate, where Redis asks for one."),
        key("redis.key", file(), secret, "The private key of redis.cert."),
        key(
            "redis.lookup_timeout",
            Span::AboveZero,
            lookup_timeout,
            "The longest that looking up a host's name may take.",
        ),
        key(
            "redis.connect_timeout",
            Span::AboveZero,
            connect_timeout,
            "The longest that each address of a host may take to accept, then TLS, then the greeting; the next address is tried beside it after 250 ms.",
        ),
        key(
            "redis.prefix",
            Text { expected: "at most 100 visible ASCII characters without \"{\" and \"}\"", check: prefix },
            start,
            "Stands before every name of ours in Redis, literally; may be empty.",
        ),
        key("redis.links", Whole(1, 16), links, "How many connections carry subscriptions, to each Redis."),
        key(
            "redis.sharded",
            Flag,
            sharded,
            "In a cluster of Redis 7 or newer: producers SPUBLISH, and a publication stays with the master of its slot.",
        ),
        key("redis.linger", Span::FromZero, linger, "How long a topic without subscribers stays subscribed."),
    ]
}

fn handshake_keys(handshake: &mut Handshake) -> Vec<Key<'_>> {
    let Handshake { timeout, head, lines, in_flight, per_second, subscribe_wait } = handshake;
    vec![
        key(
            "handshake.timeout",
            Span::AboveZero,
            timeout,
            "From accept to the last byte of the answer; on the internal listener, for each step of a request.",
        ),
        key(
            "handshake.head",
            Size(ByteSize::kib(1), ByteSize::kib(64)),
            head,
            "The largest head of a request, cookies and query included; beyond: 431.",
        ),
        key("handshake.lines", Whole(1, 1000), lines, "The most header lines of a request; beyond: 431."),
        key(
            "handshake.in_flight",
            Whole(1, 1_000_000),
            in_flight,
            "The most handshakes at once; beyond: 503 and Retry-After.",
        ),
        key(
            "handshake.per_second",
            OrOff(Whole(1, 1_000_000)),
            per_second,
            "The most handshakes a second; beyond: 503 and Retry-After.",
        ),
        key(
            "handshake.subscribe_wait",
            Span::FromZero,
            subscribe_wait,
            "The longest that a handshake waits for its topics to be live; never beyond handshake.timeout.",
        ),
    ]
}

fn limits_keys<'a>(limits: &'a mut Limits, replica_topics: &'a mut Auto<usize>) -> Vec<Key<'a>> {
    let Limits { message, messages_per_second, burst, topics } = limits;
    vec![
        key("limits.message", message_size(), message, "The largest message a client may send.").live(),
        key(
            "limits.messages_per_second",
            rate(),
            messages_per_second,
            "How many messages a second a client may send in the long run; pings, pongs and fragments below 512 bytes count.",
        )
        .live(),
        key("limits.burst", rate(), burst, "How many it may send at once, after a rest.").live(),
        key(
            "limits.topics",
            topic_count(),
            topics,
            "How many topics a client may listen to, and publish to within a minute where they keep a history.",
        )
        .live(),
        key(
            "limits.replica_topics",
            OrAuto(Whole(1, 1_000_000_000)),
            replica_topics,
            "How many topics this replica holds for all its clients, lingering ones included; \"auto\": a quarter of the memory limit at 1 KiB each.",
        ),
    ]
}

pub(super) fn message_size() -> Size {
    Size(ByteSize(1), LARGEST)
}

pub(super) fn rate() -> Whole {
    Whole(1, 1_000_000)
}

pub(super) fn topic_count() -> Whole {
    Whole(1, 1_000_000)
}

fn inbound_keys(inbound: &mut Inbound) -> Vec<Key<'_>> {
    let Inbound { total, timeout } = inbound;
    vec![
        key(
            "inbound.total",
            OrAuto(Size(ByteSize::kib(1), ByteSize::mib(1 << 20))),
            total,
            "The most that messages of all clients hold while they are not all here; \"auto\": a sixteenth of the memory limit, or two of the largest messages.",
        ),
        key(
            "inbound.timeout",
            Span::AboveZero,
            timeout,
            "How long a message may take, from its first byte to its last (4104 beyond).",
        ),
    ]
}

fn outbox_keys(outbox: &mut Outbox) -> Vec<Key<'_>> {
    let Outbox { bytes, messages, total, stall } = outbox;
    vec![
        key(
            "outbox.bytes",
            Size(ByteSize::kib(1), ByteSize::mib(1024)),
            bytes,
            "The most that waits for one client; a message counts its bytes + 64.",
        ),
        key("outbox.messages", Whole(1, 10_000_000), messages, "The most messages that wait for one client."),
        key(
            "outbox.total",
            OrAuto(Size(ByteSize::mib(1), ByteSize::mib(1 << 20))),
            total,
            "The most that waits for all clients; \"auto\": a quarter of the memory limit.",
        ),
        key(
            "outbox.stall",
            OrOff(Span::AboveZero),
            stall,
            "How long a client with bytes waiting may take none of them.",
        ),
    ]
}

fn heartbeat_keys(heartbeat: &mut Heartbeat) -> Vec<Key<'_>> {
    let Heartbeat { every, timeout, text } = heartbeat;
    vec![
        key(
            "heartbeat.every",
            OrOff(Span::AboveZero),
            every,
            "How long a silent client is left alone at most; three quarters of it at least, but for the first time; \"off\" leaves half-open peers to TCP.",
        ),
        key("heartbeat.timeout", Span::AboveZero, timeout, "How long its sign of life may then take."),
        key("heartbeat.text", any_text("a text in quotes"), text, "A text message in place of a ping; empty: a ping."),
    ]
}

fn deflate_keys(deflate: &mut Deflate) -> Vec<Key<'_>> {
    let Deflate { enabled, min_size } = deflate;
    vec![
        key("deflate.enabled", Flag, enabled, "Whether a client that offers permessage-deflate gets it.").live(),
        key(
            "deflate.min_size",
            Size(ByteSize(1), ByteSize::kib(512)),
            min_size,
            "Publications with fewer bytes go out as they are; those above 512 KiB do anyhow.",
        ),
    ]
}

fn rest<'a>(
    drain: &'a mut Drain,
    readiness: &'a mut Readiness,
    log: &'a mut Log,
    (name, shards): (&'a mut String, &'a mut Auto<usize>),
) -> Vec<Key<'a>> {
    let Drain { delay, window } = drain;
    let Readiness { redis } = readiness;
    let Log { level, format } = log;
    vec![
        key("drain.delay", Span::FromZero, delay, "After SIGTERM: not ready any more, still accepting."),
        key("drain.window", Span::FromZero, window, "Over which the connections are then closed."),
        key(
            "readiness.redis",
            Words(&[("own", RedisReadiness::Own), ("required", RedisReadiness::Required)]),
            redis,
            "\"own\": not ready when Redis answers and this replica does not hear it, be it alone in that or not; \"required\": also when Redis is away for all.",
        ),
        key(
            "log.level",
            Text {
                expected: "\"error\", \"warn\", \"info\", \"debug\", \"trace\", \"off\", or directives such as \"info,fanline::broker=debug\"",
                check: log_level,
            },
            level,
            "How much is logged: a level, or target=level directives.",
        )
        .live(),
        key(
            "log.format",
            Words(&[("text", LogFormat::Text), ("json", LogFormat::Json)]),
            format,
            "How lines look: \"text\" for eyes, \"json\" for machines.",
        ),
        key(
            "replica.name",
            Text {
                expected: "at most 100 characters of a topic, not beginning with \"@\" nor ending with \".\"",
                check: replica_name,
            },
            name,
            "Begins connection ids, unique among replicas; empty: <hostname>-<6 random characters>.",
        ),
        key(
            "replica.shards",
            OrAuto(Whole(1, 1024)),
            shards,
            "How many shards share the connections; \"auto\": one per core.",
        ),
    ]
}

/// What a route may repeat for itself.
pub(super) fn heartbeat_every() -> OrOff<Span> {
    OrOff(Span::AboveZero)
}
