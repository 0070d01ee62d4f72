//! `fanline check-config --connect`: tries what the gateway will do, on a channel of its own, and says what
//! stands in its way and which command mends it. It leaves nothing behind.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{PushInfo, PushKind, RedisError, Value};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::identity::Replica;
use crate::link::connect::{CONNECT_WAIT, Endpoint, Role, Wire, driven};
use crate::link::keys::{Keys, client_name};
use crate::link::placement::Link;
use crate::settings;

/// Redis' own bounds on what waits for one subscriber (`pubsub 32mb 8mb 60`), in bytes. A replica that
/// reads slower than Redis writes for a moment passes them easily, and loses its link by it.
const DEFAULT_HARD: u64 = 32 * 1024 * 1024;
const DEFAULT_SOFT: u64 = 8 * 1024 * 1024;

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// The command, or the change, that mends it.
    pub mend: Option<String>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Good,
    /// Works, and may hurt one day.
    Warning,
    /// Does not work.
    Bad,
}

impl Finding {
    fn good(what: impl Into<String>) -> Self {
        Self { level: Level::Good, what: what.into(), mend: None }
    }

    fn warning(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { level: Level::Warning, what: what.into(), mend: Some(mend.into()) }
    }

    fn bad(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { level: Level::Bad, what: what.into(), mend: Some(mend.into()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Good => "ok",
            Level::Warning => "warning",
            Level::Bad => "error",
        };
        write!(f, "{level}: {}", self.what)?;
        self.mend.iter().try_for_each(|mend| write!(f, "\n    mend: {mend}"))
    }
}

/// The command that gives the gateway's user all it needs. HELLO, which greets and tells role and version,
/// needs no permission.
#[must_use]
pub fn grant(user: &str, pattern: &str) -> String {
    format!("ACL SETUSER {user} +subscribe +unsubscribe +publish &{pattern}")
}

/// Looks at the Redis of these settings as replica `replica` would meet it. Takes a few round trips, at most
/// some seconds where nobody answers.
pub async fn check(settings: &settings::Redis, replica: &Replica) -> Vec<Finding> {
    let endpoint = match Endpoint::parse(settings) {
        Ok(endpoint) => endpoint,
        Err(bad) => return vec![Finding::bad(bad.to_string(), "set redis.url")],
    };
    let heard = Arc::new(Notify::new());
    let (bell, name) = (heard.clone(), client_name(replica, "doctor"));
    let pushed = move |push: PushInfo| {
        if push.kind == PushKind::Message {
            bell.notify_one();
        }
    };
    match endpoint.connect(&name, CONNECT_WAIT, pushed).await {
        Ok(wire) => Visit { endpoint, keys: Keys::new(&settings.prefix), wire, heard }.all(replica).await,
        Err(error) => {
            let mend = "start Redis, or correct redis.url, its user or its password";
            vec![Finding::bad(error.to_string(), mend)]
        }
    }
}

struct Visit {
    endpoint: Endpoint,
    keys: Keys,
    wire: Wire,
    heard: Arc<Notify>,
}

impl Visit {
    async fn all(mut self, replica: &Replica) -> Vec<Finding> {
        let reachable = format!("{} answers, version {}", self.endpoint.address(), self.wire.server.version);
        let mut findings = vec![Finding::good(reachable), self.role()];
        match self.keys.canary(replica, Link::new(0)) {
            Ok(canary) => {
                // Not the canary of a replica that runs under this name: it would hear ours.
                let channel = format!("{}:doctor", self.keys.channel(&canary));
                findings.extend(self.pubsub(&channel).await);
            }
            Err(bad) => findings.push(Finding::bad(format!("replica.name: {bad}"), "shorten replica.name")),
        }
        findings.push(self.output_buffer().await);
        findings
    }

    fn role(&self) -> Finding {
        match self.wire.server.role {
            Role::Master => Finding::good("it is a master"),
            Role::Replica => {
                Finding::bad("it is a replica: what is published there reaches nobody", "point redis.url at the master")
            }
        }
    }

    /// Subscribes, publishes, hears it, and unsubscribes, each as the gateway does.
    async fn pubsub(&mut self, channel: &str) -> Vec<Finding> {
        let mut connection = self.wire.connection.clone();
        let subscribed = driven(&mut self.wire.driver, connection.subscribe(channel)).await;
        let published = self.ask::<i64>(redis::cmd("PUBLISH").arg(channel).arg("canary")).await;
        let mut findings = vec![self.allowed("SUBSCRIBE", &subscribed), self.allowed("PUBLISH", &published)];
        if subscribed.is_ok() {
            if published.is_ok() {
                findings.push(self.round_trip().await);
            }
            let left = driven(&mut self.wire.driver, connection.unsubscribe(channel)).await;
            findings.push(self.allowed("UNSUBSCRIBE", &left));
        }
        findings
    }

    async fn round_trip(&mut self) -> Finding {
        let heard = timeout(CONNECT_WAIT, driven(&mut self.wire.driver, self.heard.notified())).await;
        match heard {
            Ok(()) => Finding::good("what is published there comes back"),
            Err(_) => Finding::bad(
                "SUBSCRIBE and PUBLISH are answered, but nothing comes back within 1 s",
                "look at what stands between here and Redis: a proxy without pub/sub, say",
            ),
        }
    }

    fn allowed<T>(&self, command: &str, answer: &Result<T, RedisError>) -> Finding {
        let pattern = self.keys.pattern();
        match answer {
            Ok(_) => Finding::good(format!("{command} on {pattern} is allowed")),
            Err(error) => Finding::bad(
                format!("{command} on {pattern}, as user {}: {error}", self.endpoint.user()),
                grant(self.endpoint.user(), &pattern),
            ),
        }
    }

    async fn output_buffer(&mut self) -> Finding {
        let name = "client-output-buffer-limit";
        let answer = self.ask::<HashMap<String, String>>(redis::cmd("CONFIG").arg("GET").arg(name)).await;
        let limit = answer.ok().and_then(|found| pubsub_limit(found.get(name)?));
        let mend = format!("CONFIG SET {name} \"pubsub 256mb 64mb 60\"");
        match limit {
            None => {
                Finding::good(format!("{name} is not for this user to read; to raise it, as an administrator: {mend}"))
            }
            Some(limit) if limit.is_tight() => Finding::warning(
                format!("{name} is {limit}: a burst that a replica reads slowly costs it its link"),
                mend,
            ),
            Some(limit) => Finding::good(format!("{name} is {limit}")),
        }
    }

    async fn ask<T: redis::FromRedisValue>(&mut self, command: &redis::Cmd) -> Result<T, RedisError> {
        let mut connection = self.wire.connection.clone();
        let answer: Value = driven(&mut self.wire.driver, command.query_async(&mut connection)).await?;
        Ok(redis::from_redis_value(answer)?)
    }
}

/// What may wait for one subscriber before Redis drops it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    /// Bytes at any moment; 0: no bound.
    hard: u64,
    /// Bytes for long; 0: no bound.
    soft: u64,
    /// How long.
    long: Duration,
}

impl Limit {
    fn is_tight(self) -> bool {
        (1..=DEFAULT_HARD).contains(&self.hard) || (1..=DEFAULT_SOFT).contains(&self.soft)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pubsub {} {} {}", self.hard, self.soft, self.long.as_secs())
    }
}

/// Reads `normal 0 0 0 slave … pubsub 33554432 8388608 60`.
fn pubsub_limit(text: &str) -> Option<Limit> {
    let mut words = text.split_whitespace().skip_while(|word| *word != "pubsub").skip(1);
    let mut next = || words.next()?.parse().ok();
    Some(Limit { hard: next()?, soft: next()?, long: Duration::from_secs(next()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_output_buffer_is_tight_and_more_or_none_is_not() {
        let tight = |text| pubsub_limit(text).map(Limit::is_tight);
        assert_eq!(tight("normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"), Some(true));
        assert_eq!(tight("pubsub 268435456 67108864 60"), Some(false));
        assert_eq!(tight("pubsub 268435456 8388608 60"), Some(true));
        assert_eq!(tight("pubsub 0 0 0"), Some(false));
        assert_eq!(tight("normal 0 0 0"), None);
    }

    #[test]
    fn the_command_that_mends_a_permission_names_user_commands_and_channels() {
        let mend = "ACL SETUSER ada +subscribe +unsubscribe +publish &fanline:*";
        assert_eq!(grant("ada", &Keys::new("fanline:").pattern()), mend);
    }
}
