//! Why Redis was not reached, for people and for the metrics.

use std::sync::Arc;
use std::time::Duration;

use crate::link::names::Unfound;
use crate::link::tls::Tls;
use crate::metrics::{Metrics, RedisFailure};

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answered in time.
    #[error("{address} did not answer within {} ms while {doing}", within.as_millis())]
    Silent {
        /// Who was asked.
        address: String,
        /// What for.
        doing: &'static str,
        /// How long.
        within: Duration,
    },
    /// Its name leads to no address.
    #[error("cannot look up {host}: {why}")]
    Lookup {
        /// The name.
        host: String,
        /// What the resolver said.
        why: String,
    },
    /// The network said no.
    #[error("cannot connect to {address}: {why}")]
    Refused {
        /// Who was asked.
        address: String,
        /// What it said.
        why: String,
    },
    /// The network says that nobody is there.
    #[error("cannot connect to {address}: {why}")]
    Nobody {
        /// Who was asked.
        address: String,
        /// What it said.
        why: String,
    },
    /// There is no TLS between us.
    #[error("cannot connect to {address}: {why}")]
    Tls {
        /// Who was asked.
        address: String,
        /// What does not fit.
        why: String,
    },
    /// Redis does not let our user in.
    #[error("{address} refused the greeting: {why}")]
    Denied {
        /// Who was asked.
        address: String,
        /// What it said.
        why: String,
    },
    /// Redis said no otherwise.
    #[error("{address} refused the greeting: {why}")]
    Greeting {
        /// Who was asked.
        address: String,
        /// What it said.
        why: String,
    },
    /// What answers is no Redis, or not as we need one.
    #[error("{address}: {why}")]
    Stranger {
        /// Who was asked.
        address: String,
        /// What it is.
        why: String,
    },
    /// Too old a server.
    #[error("{address} runs Redis {version}; Fanline needs {needs} or newer")]
    TooOld {
        /// Who was asked.
        address: String,
        /// What it runs.
        version: String,
        /// What it should run.
        needs: &'static str,
    },
    /// A node of a cluster that the others know under an address where we do not reach it.
    #[error("{0} (a node of the cluster announces itself there: cluster-announce-ip)")]
    Announced(Box<ConnectError>),
    /// No Sentinel names the master.
    #[error("no Sentinel knows where {service:?} is: {why}")]
    Unnamed {
        /// What the Sentinels should call it.
        service: String,
        /// What each of them said.
        why: String,
        /// What mends it.
        mend: &'static str,
    },
    /// Nobody knows where the master is.
    #[error("{0}")]
    Unknown(String),
}

impl ConnectError {
    pub(super) fn unfound(host: &str, within: Duration, unfound: Unfound) -> Self {
        let why = match unfound {
            Unfound::Answered(why) => why,
            Unfound::Silent => {
                format!("the resolver did not answer within {} ms (redis.lookup_timeout)", within.as_millis())
            }
        };
        Self::Lookup { host: host.into(), why }
    }

    /// The network's no, where it came while shaking hands.
    pub(super) fn encrypting(self) -> Self {
        match self {
            Self::Refused { address, why } => Self::Tls { address, why },
            other => other,
        }
    }

    /// The same, where the address is the cluster's word and not the operator's.
    pub(super) fn announced(self) -> Self {
        match self {
            Self::Silent { .. } | Self::Nobody { .. } | Self::Refused { .. } | Self::Lookup { .. } => {
                Self::Announced(Box::new(self))
            }
            other => other,
        }
    }

    /// Whether it shows that the server itself is gone. A login that is refused, a name that is not found, or a Redis that
    /// is full shows only that nobody new gets in.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Silent { .. } | Self::Nobody { .. } => true,
            Self::Announced(error) => error.is_absence(),
            _ => false,
        }
    }

    /// What an operator does about it. Where it is a permission that is missing, the doctor knows which.
    #[must_use]
    pub fn mend(&self) -> &'static str {
        match self {
            Self::Silent { .. } | Self::Nobody { .. } | Self::Refused { .. } | Self::Unknown(_) => {
                "start Redis, or correct redis.url"
            }
            Self::Lookup { .. } => "correct the host in redis.url, or the name server of this machine",
            Self::Tls { .. } => "correct redis.ca, redis.cert and redis.key, or what the server shows",
            Self::Denied { .. } => "correct the user and password of redis.url, redis.username and redis.password",
            Self::Greeting { why, .. } if why.contains("switch database") => "take the database out of redis.url",
            Self::Greeting { .. } => "look at what Redis says there",
            Self::Stranger { .. } => "name a Redis in redis.url, without a proxy before it",
            Self::TooOld { .. } => "upgrade Redis",
            Self::Announced(_) => {
                "let each node announce what is reached from here: CONFIG SET cluster-announce-ip ADDRESS (or cluster-announce-hostname)"
            }
            Self::Unnamed { mend, .. } => mend,
        }
    }

    /// What it is counted as.
    fn failure(&self) -> RedisFailure {
        match self {
            Self::Silent { .. } => RedisFailure::Timeout,
            Self::Nobody { .. } | Self::Refused { .. } | Self::Unknown(_) | Self::Unnamed { .. } => {
                RedisFailure::Unreachable
            }
            Self::Announced(error) => error.failure(),
            Self::Lookup { .. } => RedisFailure::Lookup,
            Self::Tls { .. } => RedisFailure::Tls,
            Self::Denied { .. } => RedisFailure::Auth,
            Self::Greeting { .. } | Self::Stranger { .. } | Self::TooOld { .. } => RedisFailure::Other,
        }
    }
}

/// Who counts how dialling goes; by default nobody does.
#[derive(Clone, Default)]
pub struct Watch(Option<Arc<Metrics>>);

impl Watch {
    /// What happens is counted there.
    #[must_use]
    pub fn on(metrics: Arc<Metrics>) -> Self {
        Self(Some(metrics))
    }

    pub(super) fn saw(&self, error: Option<&ConnectError>, tls: Option<&Tls>) {
        let Some(metrics) = &self.0 else { return };
        if let Some(error) = error {
            metrics.redis_failures(error.failure()).inc();
        }
        if let Some(first) = tls.and_then(Tls::first_end) {
            metrics.redis_certificate_ends(first);
        }
    }
}
