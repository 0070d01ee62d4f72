//! `fanline check-config --connect`: tries what the gateway will do, on a channel of its own, and says what
//! stands in its way and which command mends it. It leaves nothing behind.

pub mod histories;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{PushInfo, PushKind, RedisError, Value};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::identity::Replica;
use crate::link::address::Place;
use crate::link::cluster::SlotMap;
use crate::link::connect::{ANSWER, Role, Server, Wire, driven};
use crate::link::endpoint::Endpoint;
use crate::link::failure::ConnectError;
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

/// What the gateway asks of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// PUBLISH and SUBSCRIBE on one master.
    Single,
    /// The same in a cluster.
    Cluster,
    /// SPUBLISH and SSUBSCRIBE in a cluster.
    Sharded,
}

impl Mode {
    /// Of a Redis under `redis.sharded`.
    #[must_use]
    pub fn of(endpoint: &Endpoint, sharded: bool) -> Self {
        match (endpoint.cluster(), sharded) {
            (None, _) => Self::Single,
            (Some(_), false) => Self::Cluster,
            (Some(_), true) => Self::Sharded,
        }
    }

    /// What subscribes, publishes and unsubscribes.
    fn verbs(self) -> [&'static str; 3] {
        match self {
            Self::Single | Self::Cluster => ["SUBSCRIBE", "PUBLISH", "UNSUBSCRIBE"],
            Self::Sharded => ["SSUBSCRIBE", "SPUBLISH", "SUNSUBSCRIBE"],
        }
    }
}

/// The command that gives the gateway's user all it needs. HELLO, which greets and tells role and version,
/// needs no permission.
#[must_use]
pub fn grant(endpoint: &Endpoint, pattern: &str, mode: Mode) -> String {
    let [subscribe, publish, unsubscribe] = mode.verbs().map(str::to_lowercase);
    let cluster = if mode == Mode::Single { "" } else { " +cluster|slots +cluster|info +asking" };
    let select = if endpoint.db() == 0 { "" } else { " +select" };
    format!("ACL SETUSER {} +{subscribe} +{unsubscribe} +{publish}{cluster}{select} &{pattern}", endpoint.user())
}

/// Looks at each Redis of these settings as replica `replica` would meet it: at its master, or at each master
/// of a cluster; also at what keeps histories, where there are `histories`. Takes a few round trips, at most some
/// seconds where nobody answers.
pub async fn check(settings: &settings::Redis, replica: &Replica, histories: bool) -> Vec<Finding> {
    let endpoints = match Endpoint::all(settings) {
        Ok(endpoints) => endpoints,
        Err(bad) => return vec![Finding::bad(bad.to_string(), "correct the [redis] section")],
    };
    let keys = Keys::new(&settings.prefix);
    let base = match keys.canary(replica, Link::new(0)) {
        // Not the canary of a replica that runs under this name: it would hear ours.
        Ok(canary) => format!("{}:doctor", keys.channel(&canary)),
        Err(bad) => return vec![Finding::bad(format!("replica.name: {bad}"), "shorten replica.name")],
    };
    let mut findings = Vec::new();
    for endpoint in endpoints {
        let mode = Mode::of(&endpoint, settings.sharded);
        let name = client_name(replica, "doctor");
        let round = Round { endpoint, keys: keys.clone(), name, base: base.clone(), mode, histories };
        findings.extend(round.all().await);
    }
    findings
}

/// One Redis, looked at.
struct Round {
    endpoint: Endpoint,
    keys: Keys,
    name: String,
    /// What the channels begin with that are tried.
    base: String,
    mode: Mode,
    histories: bool,
}

impl Round {
    async fn all(&self) -> Vec<Finding> {
        let (mut findings, places) = self.masters().await;
        for (place, channel) in places {
            findings.extend(self.visit(&place, &channel).await);
        }
        findings
    }

    /// The masters, a channel of each, and what is to be said about how they were found.
    async fn masters(&self) -> (Vec<Finding>, Vec<(Place, String)>) {
        let places = match self.endpoint.masters().await {
            Ok(places) => places,
            Err(error) => return (vec![self.unreachable(&error)], Vec::new()),
        };
        let map = self.endpoint.cluster().map(|cluster| cluster.map());
        let found = match (&map, self.endpoint.sentinels()) {
            (Some(map), _) => Some(covered(map)),
            (None, Some(sentinels)) => {
                let named: Vec<String> = places.iter().map(ToString::to_string).collect();
                Some(Finding::good(format!("Sentinel names {} as {:?}", named.join(", "), sentinels.service)))
            }
            (None, None) => None,
        };
        let own = |place: &Place| map.as_ref()?.name_on(place, &self.base);
        let places = places.into_iter().map(|place| (own(&place).unwrap_or_else(|| self.base.clone()), place));
        (found.into_iter().collect(), places.map(|(channel, place)| (place, channel)).collect())
    }

    fn unreachable(&self, error: &ConnectError) -> Finding {
        let mend = match error {
            ConnectError::Unnamed { .. } => error.mend().into(),
            error if ["NOPERM", "no permissions"].iter().any(|word| error.to_string().contains(word)) => {
                grant(&self.endpoint, &self.keys.pattern(), self.mode)
            }
            _ => error.mend().into(),
        };
        Finding::bad(error.to_string(), mend)
    }

    async fn visit(&self, place: &Place, channel: &str) -> Vec<Finding> {
        let heard = Arc::new(Notify::new());
        let bell = heard.clone();
        let pushed = move |push: PushInfo| {
            if matches!(push.kind, PushKind::Message | PushKind::SMessage) {
                bell.notify_one();
            }
        };
        match self.endpoint.connect(place, &self.name, ANSWER, pushed).await {
            Ok(wire) => Visit { round: self, wire, heard }.all(channel).await,
            Err(error) => vec![self.unreachable(&error)],
        }
    }
}

fn covered(map: &SlotMap) -> Finding {
    match map.orphans() {
        0 => Finding::good(format!("the cluster's {} masters own every slot", map.masters().count())),
        n => Finding::bad(
            format!("{n} slots of the cluster have no master: their topics cannot be published to"),
            "look at `redis-cli --cluster check`, and mend it with `redis-cli --cluster fix`",
        ),
    }
}

struct Visit<'r> {
    round: &'r Round,
    wire: Wire,
    heard: Arc<Notify>,
}

impl Visit<'_> {
    async fn all(mut self, channel: &str) -> Vec<Finding> {
        let Server { version, .. } = &self.wire.server;
        let mut findings = vec![Finding::good(format!("{} answers, version {version}", self.wire.place))];
        if self.round.mode == Mode::Sharded && !self.wire.server.is_at_least((7, 0)) {
            let what =
                format!("redis.sharded needs Redis 7.0, Valkey 7.2 or newer; {} runs {version}", self.wire.place);
            findings.push(Finding::bad(what, "upgrade it, or take redis.sharded away"));
        }
        findings.push(self.role());
        findings.extend(self.pubsub(channel).await);
        // A replica refuses to be written to, of which more was said already.
        if self.round.histories && self.wire.server.role == Role::Master {
            findings.extend(self.histories(channel).await);
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
        let [subscribe, publish, unsubscribe] = self.round.mode.verbs();
        let subscribed = self.ask::<Value>(redis::cmd(subscribe).arg(channel)).await;
        let published = self.ask::<i64>(redis::cmd(publish).arg(channel).arg("canary")).await;
        let mut findings = vec![self.allowed(subscribe, &subscribed), self.allowed(publish, &published)];
        if subscribed.is_ok() {
            if published.is_ok() {
                findings.push(self.round_trip().await);
            }
            let left = self.ask::<Value>(redis::cmd(unsubscribe).arg(channel)).await;
            findings.push(self.allowed(unsubscribe, &left));
        }
        findings
    }

    async fn round_trip(&mut self) -> Finding {
        let heard = timeout(ANSWER, driven(&mut self.wire.driver, self.heard.notified())).await;
        match heard {
            Ok(()) => Finding::good("what is published there comes back"),
            Err(_) => Finding::bad(
                "SUBSCRIBE and PUBLISH are answered, but nothing comes back within 1 s",
                "look at what stands between here and Redis: a proxy without pub/sub, say",
            ),
        }
    }

    fn allowed<T>(&self, command: &str, answer: &Result<T, RedisError>) -> Finding {
        let Round { endpoint, keys, mode, .. } = self.round;
        let pattern = keys.pattern();
        match answer {
            Ok(_) => Finding::good(format!("{command} on {pattern} is allowed")),
            Err(error) => Finding::bad(
                format!("{command} on {pattern}, as user {}: {error}", endpoint.user()),
                grant(endpoint, &pattern, *mode),
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
        let at = |url: &str| {
            let config = settings::Redis { url: settings::Secret::new(url), ..Default::default() };
            Endpoint::all(&config).unwrap().remove(0)
        };
        let grant = |mode| grant(&at("redis://ada:secret@h"), &Keys::new("fanline:").pattern(), mode);
        assert_eq!(grant(Mode::Single), "ACL SETUSER ada +subscribe +unsubscribe +publish &fanline:*");
        let cluster = "+cluster|slots +cluster|info +asking &fanline:*";
        assert_eq!(grant(Mode::Cluster), format!("ACL SETUSER ada +subscribe +unsubscribe +publish {cluster}"));
        assert_eq!(grant(Mode::Sharded), format!("ACL SETUSER ada +ssubscribe +sunsubscribe +spublish {cluster}"));
        let other = super::grant(&at("redis://ada:secret@h/1"), "fanline:*", Mode::Single);
        assert_eq!(other, "ACL SETUSER ada +subscribe +unsubscribe +publish +select &fanline:*");
    }
}
