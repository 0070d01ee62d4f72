//! What stands behind the `?` of a URL: other clients take settings there, and to ignore one would be to do something
//! else than the operator wrote.

use super::BadUrl;

/// What a parameter of other clients means, and what to write here. Taken by the beginning of its name.
const KNOWN: &[(&str, &str)] = &[
    ("database", DATABASE),
    ("db", DATABASE),
    ("username", CREDENTIALS),
    ("user", CREDENTIALS),
    ("password", CREDENTIALS),
    ("pass", CREDENTIALS),
    ("auth", CREDENTIALS),
    ("protocol", "take it away: Fanline always speaks RESP3"),
    ("tls", TLS),
    ("ssl", TLS),
    ("timeout", TIMEOUT),
    ("connect_timeout", TIMEOUT),
    ("connectTimeout", TIMEOUT),
    ("socket_", TIMEOUT),
    ("dial_timeout", TIMEOUT),
    ("sentinel", "write \"redis+sentinel://host:26379,host:26379/mymaster\""),
    ("master", "write \"redis+sentinel://host:26379,host:26379/mymaster\""),
    ("cluster", "write \"redis+cluster://host:7000,host:7001\""),
];

const DATABASE: &str = "the database stands behind a slash; write \"redis://host:6379/3\"";
const CREDENTIALS: &str = "write \"redis://user:password@host:6379\", or set redis.username and redis.password";
const TLS: &str = "write \"rediss://host:6379\"; certificates go into redis.ca, redis.cert and redis.key";
const TIMEOUT: &str = "set redis.connect_timeout and redis.lookup_timeout";

/// What a socket's URL may say, for it has no host to write it before.
const SOCKET: [&str; 3] = ["db", "user", "pass"];

/// Whether a `name=value` is one of a socket's; so is nothing.
pub(super) fn is_of_a_socket(pair: &str) -> bool {
    pair.is_empty() || pair.split_once('=').is_some_and(|(name, _)| SOCKET.contains(&name))
}

/// Whether there is a `?name=` of another client in a text, so that an `@` behind it stands in a value.
pub(super) fn begins_in(text: &str) -> bool {
    text.split('?').skip(1).any(|rest| known(rest).is_some_and(|_| rest.contains('=')))
}

fn known(query: &str) -> Option<(&'static str, &'static str)> {
    KNOWN.iter().copied().find(|(name, _)| query.starts_with(name))
}

/// Why it is refused; never with what may be a secret.
pub(super) fn refused(query: &str, of_a_socket: bool) -> BadUrl {
    let why = match known(query) {
        Some(("username", _)) if of_a_socket => "\"?username=\" is not understood; write \"?user=\"".into(),
        Some(("password", _)) if of_a_socket => "\"?password=\" is not understood; write \"?pass=\"".into(),
        _ if of_a_socket => "behind the \"?\" of a socket stand \"db\", \"user\" and \"pass\" only".into(),
        Some((name, instead)) => format!("\"?{name}…\" is not understood; {instead}"),
        None => "what stands behind \"?\" is not understood; take it away".into(),
    };
    BadUrl { why }
}
