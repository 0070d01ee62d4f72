//! The closed sets of labels.

/// Why Redis was not reached; the label of `fanline_redis_failures_total{reason}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisFailure {
    /// The network said no, or nobody knows where the master is.
    Unreachable,
    /// Its name was not found, or the resolver did not answer.
    Lookup,
    /// Nobody answered in time.
    Timeout,
    /// No TLS: a certificate that does not fit, or no TLS on this port.
    Tls,
    /// User, password or rights.
    Auth,
    /// Too old a server, or one that answers otherwise.
    Other,
}

impl RedisFailure {
    pub(super) const ALL: [Self; 6] =
        [Self::Unreachable, Self::Lookup, Self::Timeout, Self::Tls, Self::Auth, Self::Other];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Lookup => "lookup",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Auth => "auth",
            Self::Other => "other",
        }
    }
}

/// Why a publication came to nothing; the label of `fanline_publish_failures_total{reason}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishFailure {
    /// Nobody answered in time, or nobody could be asked.
    Away,
    /// Redis reads its data.
    Loading,
    /// A script runs there for too long.
    Busy,
    /// It is no master just now.
    ReadOnly,
    /// The slot is on its way, or nobody's.
    Cluster,
    /// Too few replicas have what it writes.
    NoReplicas,
    /// It cannot save.
    Misconf,
    /// Its memory is full.
    Oom,
    /// User, password or rights.
    Denied,
    /// Anything else.
    Other,
}

impl PublishFailure {
    pub(super) const ALL: [Self; 10] = [
        Self::Away,
        Self::Loading,
        Self::Busy,
        Self::ReadOnly,
        Self::Cluster,
        Self::NoReplicas,
        Self::Misconf,
        Self::Oom,
        Self::Denied,
        Self::Other,
    ];

    /// Its word in the metric.
    pub fn label(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Loading => "loading",
            Self::Busy => "busy",
            Self::ReadOnly => "readonly",
            Self::Cluster => "cluster",
            Self::NoReplicas => "noreplicas",
            Self::Misconf => "misconf",
            Self::Oom => "oom",
            Self::Denied => "denied",
            Self::Other => "other",
        }
    }
}

/// Why a publication was dropped, or a subscriber skipped; the label of `fanline_dropped_total{reason}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// The shard's inbox was full.
    Overflow,
    /// The client's outbox was full.
    Slow,
    /// Above the topic's limit.
    TooLarge,
    /// A broken header.
    Malformed,
}

impl Dropped {
    pub(super) const ALL: [Self; 4] = [Self::Overflow, Self::Slow, Self::TooLarge, Self::Malformed];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Overflow => "overflow",
            Self::Slow => "slow",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
        }
    }
}

/// What became of a handshake; the label of `fanline_handshakes_total{outcome}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// 101, or an event stream's 200.
    Accepted,
    /// 4xx: no HTTP, not what the route speaks, no such path, a bad topic.
    BadRequest,
    /// 403: origin or rule.
    Forbidden,
    /// 503: too many connections, handshakes in flight, or handshakes a second.
    Busy,
    /// Closed without an answer: the head did not come in time, or the 101 was not taken, or the socket broke.
    Timeout,
    /// Closed without an answer because all sockets were taken: at accept, or as the one that had waited longest.
    Dropped,
}

impl Handshake {
    pub(super) const ALL: [Self; 6] =
        [Self::Accepted, Self::BadRequest, Self::Forbidden, Self::Busy, Self::Timeout, Self::Dropped];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::BadRequest => "bad_request",
            Self::Forbidden => "forbidden",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::Dropped => "dropped",
        }
    }
}

/// What became of a client's message; the label of `fanline_inbound_messages_total{outcome}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inbound {
    /// Carried out.
    Accepted,
    /// Answered by an error, or the client was closed.
    Refused,
    /// The route ignores what clients send.
    Ignored,
    /// Above the rate limit.
    RateLimited,
}

impl Inbound {
    pub(super) const ALL: [Self; 4] = [Self::Accepted, Self::Refused, Self::Ignored, Self::RateLimited];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Ignored => "ignored",
            Self::RateLimited => "rate_limited",
        }
    }
}

/// Where a publication came from; the label of `fanline_publications_total{source}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The bus.
    Broker,
    /// A client of this replica.
    Client,
    /// `POST /api/publish` on this replica.
    Api,
    /// Of the bus, those that are in no history though their topic keeps one: a plain PUBLISH.
    Stray,
}

impl Source {
    pub(super) const ALL: [Self; 4] = [Self::Broker, Self::Client, Self::Api, Self::Stray];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Client => "client",
            Self::Api => "api",
            Self::Stray => "stray",
        }
    }
}

/// What became of what was missed on a topic with history; the label of `fanline_recovered_total{outcome}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovered {
    /// A client resumed, and got all that it missed.
    Resumed,
    /// A client asked to resume and was told that it cannot.
    Refused,
    /// A client that had not seen all yet had it read again, because what was kept had made room for others.
    Reread,
    /// A topic missed publications on their way here, and all of them were read.
    Healed,
    /// A topic missed publications that could not be read; its subscribers were told.
    Lost,
}

impl Recovered {
    pub(super) const ALL: [Self; 5] = [Self::Resumed, Self::Refused, Self::Reread, Self::Healed, Self::Lost];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Resumed => "resumed",
            Self::Refused => "refused",
            Self::Reread => "reread",
            Self::Healed => "healed",
            Self::Lost => "lost",
        }
    }
}
