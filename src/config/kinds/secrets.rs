//! What must not be shown.

use config::ValueKind;

use super::{Bad, Kind, Show, quote};
use crate::settings::{ApiKey, Secret};

/// Where Redis is. Shown without its password.
pub(in crate::config) struct RedisUrl;

impl Kind<Secret> for RedisUrl {
    fn expected(&self) -> String {
        "a URL such as \"redis://127.0.0.1:6379\" or \"unix:///run/redis.sock\", or \"\" for none".into()
    }

    fn read(&self, raw: &ValueKind) -> Result<Secret, Vec<Bad>> {
        let ValueKind::String(text) = raw else { return Err(Bad::unexpected()) };
        let text = text.trim();
        if text.is_empty() {
            return Ok(Secret::default());
        }
        match text.split_once("://") {
            Some(("redis", rest)) => check_redis(rest)?,
            Some(("unix", rest)) if rest.starts_with('/') && rest.len() > 1 => {}
            Some(("unix", _)) => {
                return Err(Bad::because("a socket's path is missing; write \"unix:///run/redis.sock\""));
            }
            Some(("rediss", _)) => {
                return Err(Bad::because(
                    "TLS to Redis is not in this version; write \"redis://…\" and reach Redis over a private network or a TLS proxy",
                ));
            }
            _ => return Err(Bad::unexpected()),
        }
        Ok(Secret::new(text))
    }

    fn write(&self, value: &Secret, show: Show) -> String {
        match show {
            Show::Plain => quote(value.reveal()),
            Show::Masked => quote(&masked(value.reveal())),
        }
    }

    fn secret(&self) -> bool {
        true
    }
}

/// `[user[:password]@]host[:port][/db]`, parts named so that the message need not show them.
fn check_redis(rest: &str) -> Result<(), Vec<Bad>> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (address, None),
    };
    if host.is_empty() {
        return Err(Bad::because("the host is missing; write \"redis://host:6379\""));
    }
    if host.contains(',') {
        return Err(Bad::because("several hosts are not in this version; write one, such as \"redis://host:6379\""));
    }
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_fits = match v6 {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
    };
    if !host_fits {
        return Err(Bad::because(
            "the host is none; write \"redis://host:6379\", and percent-encode what is special in a password",
        ));
    }
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return Err(Bad::because("the port is no number from 1 to 65535; write it as in \"redis://host:6379\""));
    }
    let db = path.split('?').next().unwrap_or_default();
    if !db.is_empty() && db.parse::<u32>().is_err() {
        return Err(Bad::because("the database is no number; write \"redis://host:6379/0\""));
    }
    Ok(())
}

/// The URL with `***` for what must not be shown.
fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let authority = match authority.rsplit_once('@') {
        Some((user, address)) => match user.split_once(':') {
            Some((name, _)) => format!("{name}:***@{address}"),
            None => format!("{user}@{address}"),
        },
        None => authority.into(),
    };
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let query = query.map(|query| {
        let pairs = query.split('&').map(|pair| if pair.starts_with("pass=") { "pass=***" } else { pair });
        format!("?{}", pairs.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{authority}{path}{}", query.unwrap_or_default())
}

/// A password.
pub(in crate::config) struct Password;

impl Kind<Secret> for Password {
    fn expected(&self) -> String {
        "a text in quotes".into()
    }

    fn read(&self, raw: &ValueKind) -> Result<Secret, Vec<Bad>> {
        match raw {
            ValueKind::String(text) => Ok(Secret::new(text.as_str())),
            _ => Err(Bad::unexpected()),
        }
    }

    fn write(&self, value: &Secret, show: Show) -> String {
        match show {
            Show::Masked if !value.is_empty() => quote("***"),
            _ => quote(value.reveal()),
        }
    }

    fn secret(&self) -> bool {
        true
    }
}

/// An API key, `name:secret`.
pub(in crate::config) struct ApiKeyOf;

impl Kind<ApiKey> for ApiKeyOf {
    fn expected(&self) -> String {
        "\"name:secret\" with a name of letters, digits, \"-\", \"_\" and \".\"".into()
    }

    fn read(&self, raw: &ValueKind) -> Result<ApiKey, Vec<Bad>> {
        let ValueKind::String(text) = raw else { return Err(Bad::unexpected()) };
        let named =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        match text.split_once(':') {
            Some((name, secret)) if named(name) && !secret.is_empty() => {
                Ok(ApiKey { name: name.into(), secret: Secret::new(secret) })
            }
            _ => Err(Bad::unexpected()),
        }
    }

    fn write(&self, value: &ApiKey, show: Show) -> String {
        match show {
            Show::Masked => quote(&format!("{}:***", value.name)),
            Show::Plain => quote(&format!("{}:{}", value.name, value.secret.reveal())),
        }
    }

    fn secret(&self) -> bool {
        true
    }
}
