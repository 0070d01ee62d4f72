//! Why Redis was not reached, for people and for the metrics.

use std::sync::Arc;

use crate::link::connect::CONNECT_WAIT;
use crate::link::tls::Tls;
use crate::metrics::{Metrics, RedisFailure};

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answered in time.
    #[error("{address} did not answer within {} ms while {doing}", CONNECT_WAIT.as_millis())]
    Silent {
        /// Who was asked.
        address: String,
        /// What for.
        doing: &'static str,
    },
    /// The network said no.
    #[error("cannot connect to {address}: {why}")]
    Refused {
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
    /// Nobody knows where the master is.
    #[error("{0}")]
    Unknown(String),
}

impl ConnectError {
    /// The network's no, where it came while shaking hands.
    pub(super) fn encrypting(self) -> Self {
        match self {
            Self::Refused { address, why } => Self::Tls { address, why },
            other => other,
        }
    }

    /// What it is counted as.
    fn failure(&self) -> RedisFailure {
        match self {
            Self::Silent { .. } => RedisFailure::Timeout,
            Self::Refused { .. } | Self::Unknown(_) => RedisFailure::Unreachable,
            Self::Tls { .. } => RedisFailure::Tls,
            Self::Denied { .. } => RedisFailure::Auth,
            Self::Greeting { .. } | Self::TooOld { .. } => RedisFailure::Other,
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
