//! Whether what keeps histories works: each command is tried, on keys that go at once.

use redis::{Cmd, RedisError, Value};

use super::{Finding, Visit};

/// What the script reads, and what takes away again what it writes.
const READS: &str = "redis.call('TIME') redis.call('GET', KEYS[1]) redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1) \
                     redis.call('PEXPIRE', KEYS[1], 0) return 1";

/// What it writes; only to be tried where that can be taken away. Writing comes first: a full Redis lets a script go on
/// that has written already.
const WRITES: &str = "redis.call('XADD', KEYS[2], 'MAXLEN', 1, '*', 'd', '') redis.call('PEXPIRE', KEYS[2], 0) \
                      redis.call('SET', KEYS[1], '0-0', 'PX', 1) redis.call('PEXPIRE', KEYS[1], 0) return 1";

/// What the gateway's user needs, beside publishing and listening.
#[must_use]
pub fn grant(user: &str, pattern: &str) -> String {
    format!(
        "ACL SETUSER {user} ~{{{pattern} +eval +evalsha +get +mget +set +xadd +xrange +xrevrange +pexpire +time \
         +function|list +function|load"
    )
}

/// A command, and what it answers where it is allowed: one is made to fail behind the permission.
struct Trial {
    command: Cmd,
    /// A part of the error that is as it should be.
    fails_with: Option<&'static str>,
}

impl Visit<'_> {
    /// Tries them on the keys of a channel.
    pub(super) async fn histories(&mut self, channel: &str) -> Vec<Finding> {
        let (last, stream) = (format!("{{{channel}}}:last"), format!("{{{channel}}}:stream"));
        let mut refused = self.refused(&keeping(&last, &stream)).await;
        if refused.is_empty() {
            refused = self.refused(&[Trial::of(&["EVAL", WRITES, "2", &last, &stream])]).await;
        }
        let mut findings = vec![self.kept(&refused)];
        if self.wire.server.is_at_least((7, 0)) {
            let refused = self.refused(&offering()).await;
            findings.push(match refused.is_empty() {
                true => self.called().await,
                false => self.withheld(&refused),
            });
        }
        findings
    }

    /// Which of them do not answer as they should, and what they answer.
    async fn refused(&mut self, trials: &[Trial]) -> Vec<(String, String)> {
        let mut refused = Vec::new();
        for trial in trials {
            let answer = self.ask::<Value>(&trial.command).await;
            refused.extend(trial.unexpected(answer).map(|error| (name(&trial.command), error)));
        }
        refused
    }

    fn kept(&self, refused: &[(String, String)]) -> Finding {
        let (user, pattern) = (self.round.endpoint.user(), self.round.keys.pattern());
        let Some((_, error)) = refused.first() else {
            return Finding::good(format!("what keeps histories works on {{{pattern}"));
        };
        let what = format!("histories, as user {user}: {} does not work: {error}", names(refused));
        Finding::bad(what, mend(error, &user, &pattern))
    }

    /// Calls the function without a key, so that it publishes nothing and says which prefix it serves. Our own user need
    /// not be able to.
    async fn called(&mut self) -> Finding {
        let (function, prefix) = (self.round.keys.function(), self.round.keys.prefix());
        let answer = self.ask::<Value>(redis::cmd("FCALL").arg(&function).arg(0)).await;
        let said = answer.err().map(|error| error.to_string()).unwrap_or_default();
        let is_absent = ["NOPERM", "permission", "not found"].iter().any(|words| said.contains(words));
        if said.contains(&format!("write 1 {prefix}<topic>")) {
            Finding::good(format!("FCALL {function} is there for producers"))
        } else if is_absent {
            Finding::good(format!("FCALL {function} can be offered to producers"))
        } else {
            let what = format!("FCALL {function} is there, but not for the prefix {prefix:?}: {said}");
            Finding::warning(what, "start a gateway of this version: it brings its own")
        }
    }

    /// No mistake: where no producer calls the function, our user need not be able to replace libraries.
    fn withheld(&self, refused: &[(String, String)]) -> Finding {
        let function = self.round.keys.function();
        let Some((_, error)) = refused.first() else {
            return Finding::good(format!("FCALL {function} can be offered to producers"));
        };
        let mend = mend(error, &self.round.endpoint.user(), &self.round.keys.pattern());
        Finding::good(format!(
            "producers cannot FCALL {function}, for {} does not work: {error}; to offer it: {mend}",
            names(refused)
        ))
    }
}

fn names(refused: &[(String, String)]) -> String {
    let names: Vec<&str> = refused.iter().map(|(name, _)| name.as_str()).collect();
    names.join(", ")
}

impl Trial {
    fn of(words: &[&str]) -> Self {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        Self { command, fails_with: None }
    }

    fn failing(words: &[&str], with: &'static str) -> Self {
        Self { fails_with: Some(with), ..Self::of(words) }
    }

    /// What it answers, where that is not as it should be.
    fn unexpected(&self, answer: Result<Value, RedisError>) -> Option<String> {
        let said = answer.err()?.to_string();
        let meant = self.fails_with.is_some_and(|with| said.to_lowercase().contains(with));
        (!meant).then_some(said)
    }
}

/// What keeps and reads histories, but for what writes.
fn keeping(last: &str, stream: &str) -> Vec<Trial> {
    vec![
        Trial::of(&["EVAL", READS, "2", last, stream]),
        Trial::failing(&["EVALSHA", &"0".repeat(40), "2", last, stream], "matching script"),
        Trial::of(&["GET", last]),
        Trial::of(&["MGET", last]),
        Trial::of(&["XRANGE", stream, "-", "+", "COUNT", "1"]),
        Trial::of(&["XREVRANGE", stream, "+", "-", "COUNT", "1"]),
    ]
}

/// What brings producers their function.
fn offering() -> Vec<Trial> {
    vec![
        Trial::of(&["FUNCTION", "LIST", "LIBRARYNAME", "none"]),
        Trial::failing(&["FUNCTION", "LOAD", "no library"], "missing library"),
    ]
}

/// What to do about an error of what keeps histories. A script tells of a missing right in words, which differ between
/// versions.
#[must_use]
pub fn mend(error: &str, user: &str, pattern: &str) -> String {
    let says = |words: &[&str]| words.iter().any(|words| error.contains(words));
    if says(&["NOPERM", "permission", "can't run this command"]) {
        grant(user, pattern)
    } else if says(&["unknown command", "nknown Redis command", "unknown subcommand"]) {
        "this server does not offer the command: take another Redis, or history_size out of the topic rules".into()
    } else if says(&["OOM", "maxmemory"]) {
        "give Redis more memory: CONFIG SET maxmemory".into()
    } else if error.contains("already exists") {
        "another library of this Redis has a function of that name: FUNCTION LIST shows which, FUNCTION DELETE takes it away".into()
    } else {
        "look at Redis' log".into()
    }
}

fn name(command: &Cmd) -> String {
    let word = |arg: Option<redis::Arg<&[u8]>>| match arg {
        Some(redis::Arg::Simple(word)) => String::from_utf8_lossy(word).into_owned(),
        _ => String::new(),
    };
    let mut words = command.args_iter();
    match word(words.next()) {
        first if first == "FUNCTION" => format!("{first} {}", word(words.next())),
        first => first,
    }
}
