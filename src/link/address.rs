//! What `redis.url` says: where each Redis is, how its master is found, and who we are there.

mod query;

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::settings::Secret;

/// Where Redis listens, where nobody says otherwise.
const PORT: u16 = 6379;
/// Where Sentinel does.
const SENTINEL_PORT: u16 = 26_379;

/// One Redis: a server, a master with its Sentinels, or a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// How its master is found.
    pub road: Road,
    /// Whether the way there is encrypted.
    pub tls: bool,
    /// Who we are; none: the default user.
    pub username: Option<String>,
    /// What proves it.
    pub password: Option<Secret>,
    /// Which database; pub/sub does not care.
    pub db: i64,
}

/// How the master of a channel is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Road {
    /// It is there.
    Direct(Place),
    /// Sentinels know.
    Sentinel {
        /// Whom to ask.
        sentinels: Vec<Place>,
        /// What they call it.
        service: String,
    },
    /// Any node of the cluster knows.
    Cluster(Vec<Place>),
}

/// Where one server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// On the network.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// A port.
        port: u16,
    },
    /// On this machine.
    Unix(PathBuf),
}

/// Why a URL leads nowhere; never with a part of it that may be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("redis.url is no URL of Redis: {why}")]
pub struct BadUrl {
    /// What is wrong with it.
    pub why: String,
}

fn bad<T>(why: &str) -> Result<T, BadUrl> {
    Err(BadUrl { why: why.into() })
}

/// What may stand before `://`, told to whoever wrote something else.
pub const FORMS: &str = "a URL such as \"redis://127.0.0.1:6379\", \"rediss://…\" (TLS), \"unix:///run/redis.sock\", \"redis+sentinel://host,host/name\" or \"redis+cluster://host,host\", several with commas between them";

impl Address {
    /// Reads one URL, or several with commas between them.
    ///
    /// # Errors
    /// What is wrong with the first that is wrong.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, BadUrl> {
        split(text).into_iter().map(Self::parse).collect()
    }

    /// Whether it leads to the same database by the same way as another, whoever we are there.
    #[must_use]
    pub fn leads_as(&self, other: &Self) -> bool {
        (&self.road, self.tls, self.db) == (&other.road, other.tls, other.db)
    }

    fn parse(url: &str) -> Result<Self, BadUrl> {
        let Some((scheme, rest)) = url.trim().split_once("://") else { return schemeless(url.trim()) };
        let (base, kind) = scheme.split_once('+').map_or((scheme, None), |(base, kind)| (base, Some(kind)));
        let tls = match base {
            "unix" if kind.is_none() => return Self::unix(rest),
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return bad(&format!("expected {FORMS}")),
        };
        if rest.rsplit_once('@').map_or(rest, |(_, rest)| rest).contains('#') {
            return bad("what stands behind \"#\" is not understood; a certificate of your own goes into redis.ca");
        }
        let (rest, query) = split_query(rest);
        if let Some(query) = query {
            return Err(query::refused(query, false));
        }
        let (authority, path) = split_path(rest);
        let (username, password, hosts) = credentials(authority);
        let (road, db) = match kind {
            None => (Road::Direct(single(hosts)?), path),
            Some("sentinel") => sentinel(hosts, path)?,
            Some("cluster") => (Road::Cluster(places(hosts, PORT)?), path),
            Some(_) => return bad("behind \"redis+\" stands \"sentinel\" or \"cluster\""),
        };
        let db = database(db)?;
        if db != 0 && matches!(road, Road::Cluster(_)) {
            return bad("a cluster has only database 0; take \"/…\" away");
        }
        Ok(Self { road, tls, username, password, db })
    }

    /// `/path?db=1&user=u&pass=p`
    fn unix(rest: &str) -> Result<Self, BadUrl> {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if let Some(pair) = query.split('&').find(|pair| !query::is_of_a_socket(pair)) {
            return Err(query::refused(pair, true));
        }
        if !path.starts_with('/') || path.len() == 1 {
            return bad("a socket's path is missing; write \"unix:///run/redis.sock\"");
        }
        let value = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| decoded(value)).filter(|value| !value.is_empty())
        };
        Ok(Self {
            road: Road::Direct(Place::Unix(decoded(path).into())),
            tls: false,
            db: database(&value("db").unwrap_or_default())?,
            username: value("user"),
            password: value("pass").map(Secret::new),
        })
    }
}

/// Cuts at each comma behind which a URL begins; the other commas are of a URL's hosts.
#[must_use]
pub fn split(text: &str) -> Vec<&str> {
    let begins = |rest: &str| {
        let scheme = rest.trim_start().split_once("://").map_or("", |(scheme, _)| scheme);
        !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_lowercase() || c == '+')
    };
    let mut urls = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices(',').filter(|(at, _)| begins(&text[at + 1..])) {
        urls.push(&text[start..at]);
        start = at + 1;
    }
    urls.push(&text[start..]);
    urls
}

/// What is said of a text without `://`: a host alone is the commonest, and hides nothing where it is plainly one.
fn schemeless(text: &str) -> Result<Address, BadUrl> {
    let Ok(Place::Tcp { host, .. }) = place(text, PORT) else { return bad(&format!("expected {FORMS}")) };
    let plain = host == "localhost" || host.contains('.') || host.parse::<std::net::IpAddr>().is_ok();
    let example = if plain { text } else { "host:6379" };
    bad(&format!("\"redis://\" is missing before the host; write \"redis://{example}\""))
}

/// Cuts off what stands behind a `?`; one in a password is none.
fn split_query(rest: &str) -> (&str, Option<&str>) {
    let from = match rest.rfind('@') {
        Some(at) if !query::begins_in(&rest[..at]) => at,
        _ => 0,
    };
    match rest[from..].find('?') {
        Some(at) => (&rest[..from + at], Some(&rest[from + at + 1..])),
        None => (rest, None),
    }
}

/// Cuts behind the hosts. A password may hold a slash: what counts is the first behind the last `@`.
fn split_path(rest: &str) -> (&str, &str) {
    let hosts = rest.rfind('@').map_or(0, |at| at + 1);
    match rest[hosts..].find('/') {
        Some(slash) => (&rest[..hosts + slash], &rest[hosts + slash + 1..]),
        None => (rest, ""),
    }
}

fn credentials(authority: &str) -> (Option<String>, Option<Secret>, &str) {
    let Some((user, hosts)) = authority.rsplit_once('@') else { return (None, None, authority) };
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let some = |text: &str| Some(decoded(text)).filter(|text| !text.is_empty());
    (some(name), some(password).map(Secret::new), hosts)
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn single(hosts: &str) -> Result<Place, BadUrl> {
    if hosts.contains(',') {
        return bad(
            "several hosts are one cluster (\"redis+cluster://a,b\"), the Sentinels of one master (\"redis+sentinel://a,b/name\") or several Redis (\"redis://a,redis://b\")",
        );
    }
    place(hosts, PORT)
}

fn places(hosts: &str, port: u16) -> Result<Vec<Place>, BadUrl> {
    hosts.split(',').map(|host| place(host.trim(), port)).collect()
}

fn sentinel<'p>(hosts: &str, path: &'p str) -> Result<(Road, &'p str), BadUrl> {
    let (service, db) = path.split_once('/').unwrap_or((path, ""));
    if service.is_empty() {
        return bad("the master's name is missing; write \"redis+sentinel://host:26379,host:26379/mymaster\"");
    }
    Ok((Road::Sentinel { sentinels: places(hosts, SENTINEL_PORT)?, service: decoded(service) }, db))
}

fn place(address: &str, port: u16) -> Result<Place, BadUrl> {
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok().filter(|&port| port > 0)),
        _ => (address, Some(port)),
    };
    if host.is_empty() {
        return bad("the host is missing; write \"redis://host:6379\"");
    }
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_fits = match v6 {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
    };
    if !host_fits {
        return bad("the host is none; write \"redis://host:6379\", and percent-encode what is special in a password");
    }
    match port {
        Some(port) => Ok(Place::Tcp { host: v6.unwrap_or(host).into(), port }),
        None => bad("the port is no number from 1 to 65535; write it as in \"redis://host:6379\""),
    }
}

fn database(text: &str) -> Result<i64, BadUrl> {
    match text {
        "" => Ok(0),
        number => number
            .parse::<u32>()
            .map(i64::from)
            .or_else(|_| bad("the database is no number; write \"redis://host:6379/0\"")),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// The address as `fanline which` prints it: without user and password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let join = |places: &[Place]| places.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        match &self.road {
            Road::Direct(Place::Unix(path)) => write!(f, "unix://{}", path.display()),
            Road::Direct(place) => write!(f, "{scheme}://{place}"),
            Road::Sentinel { sentinels, service } => write!(f, "{scheme}+sentinel://{}/{service}", join(sentinels)),
            Road::Cluster(seeds) => write!(f, "{scheme}+cluster://{}", join(seeds)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        Address::parse_all(text).unwrap().iter().map(ToString::to_string).collect()
    }

    fn one(url: &str) -> Address {
        Address::parse_all(url).unwrap().remove(0)
    }

    #[test]
    fn each_form_leads_where_it_says_and_shows_no_credentials() {
        for (url, address) in [
            ("redis://h", "redis://h:6379"),
            ("valkeys://u:p@h:1/3", "rediss://h:1"),
            ("redis://:p@[::1]", "redis://[::1]:6379"),
            ("unix:///run/r.sock?pass=p", "unix:///run/r.sock"),
            ("redis+sentinel://u:p@a,b:7/main/2", "redis+sentinel://a:26379,b:7/main"),
            ("rediss+cluster://p@a:1,b:2", "rediss+cluster://a:1,b:2"),
        ] {
            assert_eq!(shown(url), [address]);
            assert!(!format!("{:?}", one(url)).contains("\"p\"") || url.starts_with("rediss+cluster"));
        }
    }

    #[test]
    fn several_urls_are_told_from_the_hosts_of_one() {
        let all = shown("redis://a, redis://b:1,redis+cluster://c,d,unix:///e");
        assert_eq!(all, ["redis://a:6379", "redis://b:1", "redis+cluster://c:6379,d:6379", "unix:///e"]);
    }

    #[test]
    fn user_password_and_database_are_read_and_decoded() {
        assert_eq!(one("redis://ada:what?@h/1").password, Some(Secret::new("what?")));
        let address = one("redis://a%40b:p%2Fq/x@h/7");
        assert_eq!(address.username.as_deref(), Some("a@b"));
        assert_eq!(address.password, Some(Secret::new("p/q/x")));
        assert_eq!((address.db, one("redis+sentinel://h/m/4").db), (7, 4));
        let socket = one("unix:///r.sock?db=1&user=ada&pass=x%26y");
        assert_eq!((socket.db, socket.username, socket.password), (1, Some("ada".into()), Some(Secret::new("x&y"))));
    }

    #[test]
    fn what_leads_nowhere_says_what_to_write() {
        for (url, part) in [
            ("", "expected a URL"),
            ("localhost:6379", "write \"redis://localhost:6379\""),
            ("10.0.0.1", "write \"redis://10.0.0.1\""),
            ("hunter2:6379", "write \"redis://host:6379\""),
            ("user:hunter2@h", "expected a URL"),
            ("redis://h:6379?db=3", "redis://host:6379/3"),
            ("redis://h?password=hunter2", "redis.password"),
            ("redis://h:1?password=hunter2@x", "redis.password"),
            ("redis://u:p@h/0?protocol=3", "always speaks RESP3"),
            ("redis+cluster://a,b/?ssl_cert_reqs=none", "rediss://"),
            ("redis+sentinel://a/main?socket_timeout=5", "redis.connect_timeout"),
            ("rediss://h?hunter2", "take it away"),
            ("unix:///r.sock?password=hunter2", "\"?pass=\""),
            ("unix:///r.sock?db=1&hunter2=1", "\"db\", \"user\" and \"pass\""),
            ("http://localhost", "expected a URL"),
            ("redis+ring://h", "\"sentinel\" or \"cluster\""),
            ("redis://a,b", "redis+cluster://a,b"),
            ("redis+sentinel://a,b", "the master's name is missing"),
            ("redis+cluster://a/1", "only database 0"),
            ("redis+cluster://a,,b", "the host is missing"),
            ("rediss://h/#insecure", "redis.ca"),
        ] {
            let bad = Address::parse_all(url).unwrap_err().to_string();
            assert!(bad.starts_with("redis.url is no URL of Redis") && bad.contains(part), "{url}: {bad}");
            assert!(!bad.contains("hunter2"), "{url}: {bad}");
        }
    }
}
