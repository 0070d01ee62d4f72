//! Whether our user may do what keeps histories: each command is tried, on keys that go at once.

use redis::{Cmd, RedisError, Value};

use super::{Finding, Visit};

/// What the script does to its two keys, and nothing else. What cannot be taken away again is not written.
const TRIAL: &str = r"
local why
local function try(...)
  local said = redis.pcall(...)
  if type(said) == 'table' and said.err then
    why = why or said.err
    return false
  end
  return true
end
local last, stream = KEYS[1], KEYS[2]
try('TIME')
try('GET', last)
try('XREVRANGE', stream, '+', '-', 'COUNT', 1)
if try('PEXPIRE', last, 0) then
  try('XADD', stream, 'MAXLEN', 1, '*', 'd', '')
  try('SET', last, '0-0')
  redis.call('PEXPIRE', last, 0)
  redis.call('PEXPIRE', stream, 0)
end
return why and redis.error_reply(why) or 1
";

/// What the gateway's user needs, beside publishing and listening.
#[must_use]
pub fn grant(user: &str, pattern: &str) -> String {
    format!(
        "ACL SETUSER {user} ~{{{pattern} +eval +evalsha +get +mget +set +xadd +xrange +xrevrange +pexpire +time \
         +function|list +function|load"
    )
}

impl Visit<'_> {
    /// Tries them on the keys of a channel.
    pub(super) async fn histories(&mut self, channel: &str) -> Vec<Finding> {
        let (user, pattern) = (self.round.endpoint.user().to_owned(), self.round.keys.pattern());
        let mut bad = Vec::new();
        for command in tried(channel, self.wire.server.is_at_least((7, 0))) {
            if let Err(error) = self.ask::<Value>(&command).await
                && refuses(&error)
            {
                bad.push(format!("{}: {error}", name(&command)));
            }
        }
        match bad.as_slice() {
            [] => vec![Finding::good(format!("what keeps histories is allowed on {{{pattern}"))],
            bad => bad
                .iter()
                .map(|what| Finding::bad(format!("histories, as user {user}: {what}"), grant(&user, &pattern)))
                .collect(),
        }
    }
}

/// The commands that keep, read and offer histories. Those of functions are made to fail behind the permission.
fn tried(channel: &str, functions: bool) -> Vec<Cmd> {
    let (last, stream) = (format!("{{{channel}}}:last"), format!("{{{channel}}}:stream"));
    let command = |words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command
    };
    let mut all = vec![
        command(&["EVAL", TRIAL, "2", &last, &stream]),
        command(&["EVALSHA", &"0".repeat(40), "2", &last, &stream]),
        command(&["GET", &last]),
        command(&["MGET", &last]),
        command(&["XRANGE", &stream, "-", "+", "COUNT", "1"]),
        command(&["XREVRANGE", &stream, "+", "-", "COUNT", "1"]),
    ];
    if functions {
        all.push(command(&["FUNCTION", "LIST", "LIBRARYNAME", "none"]));
        all.push(command(&["FUNCTION", "LOAD", "no library"]));
    }
    all
}

/// Whether it is the user that is not allowed to. A script tells it in words, which differ between versions.
fn refuses(error: &RedisError) -> bool {
    let said = error.to_string();
    error.code() == Some("NOPERM") || ["permission", "can't run this command"].iter().any(|words| said.contains(words))
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
