//! Every metric on one page: its name, its closed label set, its help. `tests/readme.rs` compares it
//! with the README's table.

mod labels;

use prometheus::core::Collector;
use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::event::GapReason;
use crate::protocol::Form;

pub use labels::{Dropped, Handshake, Inbound, PublishFailure, Recovered, RedisFailure, Source};

/// Buckets for what takes between 50 µs and 10 s.
const SECONDS: &[f64] =
    &[0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Every label of `fanline_connections_closed_total{reason}`: those of `Close::label`.
pub const CLOSE_REASONS: &[&str] = &[
    "client",
    "protocol",
    "not_utf8",
    "too_big",
    "drain",
    "forbidden",
    "bad_request",
    "slow",
    "rate_limited",
    "overloaded",
    "unfinished",
    "shed",
    "no_pong",
    "gap",
    "max_age",
    "lost",
];

/// The labels of `fanline_limit{name}`.
const LIMITS: [&str; 10] = [
    "connections",
    "descriptors",
    "drain_seconds",
    "inbox_publications",
    "memory_bytes",
    "outbox_total_bytes",
    "redis_links",
    "replica_topics",
    "sockets",
    "unfinished_bytes",
];

/// All metrics of the process. One per server; every child is made once, here, so that a stranger can
/// add no series.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Open connections.
    pub connections: PerForm<IntGauge>,
    /// Subscriptions of all connections.
    pub subscriptions: IntGauge,
    /// Topics with a subscriber here.
    pub topics: IntGauge,
    /// Topics with a subscriber here whose publications flow.
    pub live_topics: IntGauge,
    /// Connections opened.
    pub connections_opened: PerForm<IntCounter>,
    connections_closed: IntCounterVec,
    handshakes: [IntCounter; Handshake::ALL.len()],
    /// Sockets of clients that are not in: not yet, or turned away and not gone.
    pub handshakes_open: IntGauge,
    publications: [IntCounter; Source::ALL.len()],
    /// Publications written to, or queued for, a client.
    pub deliveries: PerForm<IntCounter>,
    /// Bytes of those publications, framed.
    pub delivered_bytes: IntCounter,
    /// From the push out of Redis to the last subscriber written or queued.
    pub broadcast_seconds: Histogram,
    /// From the header's `ts` to the last subscriber written or queued.
    pub delivery_latency_seconds: Histogram,
    /// Publications waiting for a shard.
    pub inbox_publications: IntGauge,
    /// Bytes waiting for clients.
    pub outbox_bytes: IntGauge,
    /// What messages of clients hold that are not all here yet.
    pub unfinished_bytes: IntGauge,
    dropped: [IntCounter; Dropped::ALL.len()],
    gaps: [IntCounter; GapReason::ALL.len()],
    recovered: [IntCounter; Recovered::ALL.len()],
    /// Links to Redis that are up.
    pub redis_connected: IntGauge,
    /// Links made again after a loss.
    pub redis_reconnects: IntCounter,
    redis_failures: [IntCounter; RedisFailure::ALL.len()],
    publish_failures: [IntCounter; PublishFailure::ALL.len()],
    certificate_expiry: IntGaugeVec,
    /// From a link's connect until all its topics were live again.
    pub redis_resubscribe_seconds: Histogram,
    /// From a canary's publish to its arrival.
    pub redis_canary_rtt_seconds: Histogram,
    inbound_messages: [IntCounter; Inbound::ALL.len()],
    /// Connections that a drain has yet to close.
    pub drain_remaining: IntGauge,
    /// 1 from SIGTERM on.
    pub draining: IntGauge,
    /// Connections that a shed has yet to close.
    pub shed_remaining: IntGauge,
    /// 1 while `/readyz` answers 200.
    pub ready: IntGauge,
    /// Reloads by SIGHUP that kept the old configuration because the new one was bad.
    pub reload_failures: IntCounter,
    /// Lines of the log that were not written.
    pub log_lines_dropped: IntCounter,
    limit: IntGaugeVec,
}

/// One child per encoded form.
#[derive(Debug, Clone)]
pub struct PerForm<T>([T; Form::COUNT]);

impl<T> PerForm<T> {
    /// The child of a form.
    pub fn of(&self, form: Form) -> &T {
        &self.0[form as usize]
    }
}

impl Metrics {
    /// Registers every metric in a registry of its own.
    ///
    /// # Panics
    /// Only where this page itself is wrong (a name twice, say); the tests build one.
    #[must_use]
    pub fn new() -> Self {
        let page = Page(Registry::new());
        page.process();
        Self {
            connections: page.forms("connections", "Open connections."),
            subscriptions: page.gauge("subscriptions", "Subscriptions of all connections."),
            topics: page.gauge("topics", "Topics with a subscriber on this replica."),
            live_topics: page.gauge("live_topics", "Topics with a subscriber on this replica whose publications flow."),
            connections_opened: page.form_counters("connections_opened_total", "Connections opened."),
            connections_closed: page.counters(
                "connections_closed_total",
                "Connections closed, by reason.",
                "reason",
                CLOSE_REASONS,
            ),
            handshakes: page.children(
                "handshakes_total",
                "Handshakes, by outcome.",
                "outcome",
                Handshake::ALL.map(Handshake::label),
            ),
            handshakes_open: page.gauge(
                "handshakes_open",
                "Sockets on the public listener that are no connection: not answered yet, or turned away and not gone.",
            ),
            publications: page.children(
                "publications_total",
                "Publications, by where they came from.",
                "source",
                Source::ALL.map(Source::label),
            ),
            deliveries: page.form_counters("deliveries_total", "Publications written to, or queued for, a client."),
            delivered_bytes: page.counter("delivered_bytes_total", "Bytes of deliveries, framed."),
            broadcast_seconds: page
                .histogram("broadcast_seconds", "From the push out of Redis to the last subscriber written or queued."),
            delivery_latency_seconds: page.histogram(
                "delivery_latency_seconds",
                "From the header's ts to the last subscriber written or queued.",
            ),
            inbox_publications: page.gauge("inbox_publications", "Publications waiting for a shard."),
            outbox_bytes: page.gauge("outbox_bytes", "Bytes waiting for clients."),
            unfinished_bytes: page
                .gauge("unfinished_bytes", "Bytes held for messages of clients that are not all here yet."),
            dropped: page.children(
                "dropped_total",
                "Deliveries not made, and publications where `malformed`, `overflow` or `too_large`; told as a gap where the client's protocol has a word for it.",
                "reason",
                Dropped::ALL.map(Dropped::label),
            ),
            gaps: page.children(
                "gaps_total",
                "Gaps announced to subscribers, by reason.",
                "reason",
                GapReason::ALL.map(GapReason::label),
            ),
            recovered: page.children(
                "recovered_total",
                "What was missed on topics with history: clients that resumed, were refused, or read again what had made room; topics healed or lost.",
                "outcome",
                Recovered::ALL.map(Recovered::label),
            ),
            redis_connected: page.gauge("redis_connected", "Links to Redis that are up."),
            redis_reconnects: page.counter("redis_reconnects_total", "Links to Redis made again after a loss."),
            redis_failures: page.children(
                "redis_failures_total",
                "Attempts to reach Redis that failed, by reason.",
                "reason",
                RedisFailure::ALL.map(RedisFailure::label),
            ),
            publish_failures: page.children(
                "publish_failures_total",
                "Publications of clients and of the API, and canaries, that came to nothing: Redis was away, or refused, by reason.",
                "reason",
                PublishFailure::ALL.map(PublishFailure::label),
            ),
            certificate_expiry: page.gauges(
                "certificate_expiry_timestamp_seconds",
                "When the first of the certificates in use ends, in seconds since 1970; 0 without TLS.",
                "name",
                &["redis"],
            ),
            redis_resubscribe_seconds: page
                .histogram("redis_resubscribe_seconds", "From a link's connect until all its topics were live."),
            redis_canary_rtt_seconds: page
                .histogram("redis_canary_rtt_seconds", "From a canary's publish to its arrival."),
            inbound_messages: page.children(
                "inbound_messages_total",
                "Messages from clients, by outcome.",
                "outcome",
                Inbound::ALL.map(Inbound::label),
            ),
            drain_remaining: page.gauge("drain_remaining", "Connections that the drain has yet to close."),
            draining: page.gauge("draining", "1 from SIGTERM on: through drain.delay, and while connections are closed."),
            shed_remaining: page.gauge("shed_remaining", "Connections that a shed has yet to close."),
            ready: page.gauge("ready", "1 while /readyz answers 200."),
            reload_failures: page.counter(
                "reload_failures_total",
                "Reloads that kept the old configuration because the new one was bad.",
            ),
            log_lines_dropped: page
                .counter("log_lines_dropped_total", "Lines of the log that were dropped: nobody read or took them."),
            limit: page.gauges(
                "limit",
                "Bounds in force, by name.",
                "name",
                &LIMITS,
            ),
            registry: page.0,
        }
    }

    /// Counts a closed connection under a label of [`CLOSE_REASONS`].
    pub fn closed(&self, close: &crate::close::Close) {
        self.connections_closed.with_label_values(&[close.label()]).inc();
    }

    /// The counter of a handshake's outcome.
    pub fn handshake(&self, outcome: Handshake) -> &IntCounter {
        &self.handshakes[outcome as usize]
    }

    /// The counter of publications from a source.
    pub fn publications(&self, source: Source) -> &IntCounter {
        &self.publications[source as usize]
    }

    /// The counter of deliveries not made.
    pub fn dropped(&self, reason: Dropped) -> &IntCounter {
        &self.dropped[reason as usize]
    }

    /// The counter of gaps announced.
    pub fn gaps(&self, reason: GapReason) -> &IntCounter {
        &self.gaps[reason as usize]
    }

    /// The counter of what became of what was missed.
    pub fn recovered(&self, outcome: Recovered) -> &IntCounter {
        &self.recovered[outcome as usize]
    }

    /// The counter of clients' messages.
    pub fn inbound(&self, outcome: Inbound) -> &IntCounter {
        &self.inbound_messages[outcome as usize]
    }

    /// The counter of attempts to reach Redis that failed.
    pub fn redis_failures(&self, reason: RedisFailure) -> &IntCounter {
        &self.redis_failures[reason as usize]
    }

    /// The counter of publications that came to nothing.
    pub fn publish_failures(&self, reason: PublishFailure) -> &IntCounter {
        &self.publish_failures[reason as usize]
    }

    /// Shows when the first certificate of the way to Redis ends, in seconds since 1970.
    pub fn redis_certificate_ends(&self, at: i64) {
        self.certificate_expiry.with_label_values(&["redis"]).set(at);
    }

    /// Shows a bound that is in force.
    pub fn limit(&self, name: &'static str, value: usize) {
        self.limit.with_label_values(&[name]).set(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// The registry, to be scraped.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The page being written: the only place that names, makes and registers.
struct Page(Registry);

#[expect(
    clippy::expect_used,
    reason = "fails only where this page names a metric twice or badly; every test would see it"
)]
impl Page {
    fn register<C: Collector + Clone + 'static>(&self, metric: prometheus::Result<C>) -> C {
        let metric = metric.expect("a valid metric");
        self.0.register(Box::new(metric.clone())).expect("a metric named once");
        metric
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(full(name), help))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(full(name), help))
    }

    fn histogram(&self, name: &str, help: &str) -> Histogram {
        self.register(Histogram::with_opts(HistogramOpts::new(full(name), help).buckets(SECONDS.to_vec())))
    }

    fn counters(&self, name: &str, help: &str, label: &str, values: &[&str]) -> IntCounterVec {
        let vec = self.register(IntCounterVec::new(Opts::new(full(name), help), &[label]));
        for value in values {
            let _ = vec.with_label_values(&[value]);
        }
        vec
    }

    fn gauges(&self, name: &str, help: &str, label: &str, values: &[&str]) -> IntGaugeVec {
        let vec = self.register(IntGaugeVec::new(Opts::new(full(name), help), &[label]));
        for value in values {
            let _ = vec.with_label_values(&[value]);
        }
        vec
    }

    fn children<const N: usize>(&self, name: &str, help: &str, label: &str, values: [&str; N]) -> [IntCounter; N] {
        let vec = self.counters(name, help, label, &values);
        values.map(|value| vec.with_label_values(&[value]))
    }

    fn form_counters(&self, name: &str, help: &str) -> PerForm<IntCounter> {
        PerForm(self.children(name, help, "protocol", Form::ALL.map(Form::label)))
    }

    fn forms(&self, name: &str, help: &str) -> PerForm<IntGauge> {
        let labels = Form::ALL.map(Form::label);
        let vec = self.gauges(name, help, "protocol", &labels);
        PerForm(labels.map(|value| vec.with_label_values(&[value])))
    }

    fn process(&self) {
        let process = prometheus::process_collector::ProcessCollector::for_self();
        self.0.register(Box::new(process)).expect("one process collector");
        let build = self.register(Gauge::with_opts(
            Opts::new(full("build_info"), "1, with the version.").const_label("version", env!("CARGO_PKG_VERSION")),
        ));
        build.set(1.0);
    }
}

fn full(name: &str) -> String {
    format!("fanline_{name}")
}
