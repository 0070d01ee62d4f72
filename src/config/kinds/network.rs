//! Addresses, origins and names that leave the process.

use std::net::{IpAddr, SocketAddr};

use config::ValueKind;
use tracing_subscriber::EnvFilter;

use super::{Bad, Kind, List, Show, quote};
use crate::config::nearest::nearest;
use crate::settings::Origins;
use crate::topic::Topic;

/// Where to listen: an address and a port.
pub(in crate::config) struct Listen;

impl Kind<String> for Listen {
    fn expected(&self) -> String {
        "an address and a port such as \"0.0.0.0:8080\" or \"[::]:8080\"".into()
    }

    fn read(&self, raw: &ValueKind) -> Result<String, Vec<Bad>> {
        let text = match raw {
            ValueKind::String(text) => text.clone(),
            ValueKind::I64(_) => raw.to_string(),
            _ => return Err(Bad::unexpected()),
        };
        match text.parse::<SocketAddr>() {
            Ok(_) => Ok(text),
            Err(_) => Err(Bad::fix(guess_address(text.trim()).map(|address| quote(&address.to_string())))),
        }
    }

    fn write(&self, value: &String, _: Show) -> String {
        quote(value)
    }
}

/// What somebody may have meant who wrote `8080`, `:8080`, `localhost:8080` or `0.0.0.0`.
fn guess_address(text: &str) -> Option<SocketAddr> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some((ip, 8080).into());
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let host = match host {
        "" | "*" => "0.0.0.0",
        "localhost" => "127.0.0.1",
        host => host,
    };
    Some((host.parse::<IpAddr>().ok()?, port.parse().ok()?).into())
}

/// A peer or a block of peers.
pub(in crate::config) struct Proxy;

impl Kind<String> for Proxy {
    fn expected(&self) -> String {
        "an address or a CIDR block such as \"10.0.0.0/8\" or \"fd00::/8\"".into()
    }

    fn read(&self, raw: &ValueKind) -> Result<String, Vec<Bad>> {
        match raw {
            ValueKind::String(text) if is_block(text) => Ok(text.clone()),
            _ => Err(Bad::unexpected()),
        }
    }

    fn write(&self, value: &String, _: Show) -> String {
        quote(value)
    }
}

fn is_block(text: &str) -> bool {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, bits.parse::<u8>().ok()),
        None => (text, Some(0)),
    };
    match (address.parse(), bits) {
        (Ok(IpAddr::V4(_)), Some(bits)) => bits <= 32,
        (Ok(IpAddr::V6(_)), Some(bits)) => bits <= 128,
        _ => false,
    }
}

/// A web page's origin.
pub(in crate::config) struct Origin;

impl Kind<String> for Origin {
    fn expected(&self) -> String {
        "an origin such as \"https://app.example.com\" or \"https://*.example.com\", without a path, \"file://\" or \"null\"".into()
    }

    fn read(&self, raw: &ValueKind) -> Result<String, Vec<Bad>> {
        let ValueKind::String(text) = raw else { return Err(Bad::unexpected()) };
        match tidy_origin(text) {
            Some(tidy) if tidy == *text => Ok(tidy),
            meant => Err(Bad::fix(meant.map(|meant| quote(&meant)))),
        }
    }

    fn write(&self, value: &String, _: Show) -> String {
        quote(value)
    }
}

/// What pages without a host send: those of files in desktop and mobile shells, and those that hide where they are from.
const HOSTLESS: [&str; 2] = ["file://", "null"];

/// The origin as browsers send it: in lower case, without a path, without the scheme's own port.
fn tidy_origin(text: &str) -> Option<String> {
    if let Some(hostless) = HOSTLESS.into_iter().find(|hostless| hostless.eq_ignore_ascii_case(text)) {
        return Some(hostless.to_owned());
    }
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.to_lowercase();
    let host = rest.split(['/', '?', '#']).next()?.to_lowercase();
    let usual = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => "",
    };
    let host = if usual.is_empty() { &host } else { host.strip_suffix(usual).unwrap_or(&host) };
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let label = name.strip_prefix("*.").unwrap_or(name);
    let v6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let name_fits = match v6 {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !label.is_empty() && label.chars().all(plain),
    };
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    (scheme_fits && name_fits && port_fits).then(|| format!("{scheme}://{host}"))
}

/// `"any"`, or a list of origins.
pub(in crate::config) struct OriginsOf;

impl Kind<Origins> for OriginsOf {
    fn expected(&self) -> String {
        "\"any\", or a list such as [\"https://app.example.com\", \"https://*.example.com\"]".into()
    }

    fn read(&self, raw: &ValueKind) -> Result<Origins, Vec<Bad>> {
        match raw {
            ValueKind::String(text) if text == "any" => Ok(Origins::Any),
            ValueKind::String(text) if text == "*" || text.eq_ignore_ascii_case("any") => {
                Err(Bad::fix(Some(quote("any"))))
            }
            ValueKind::String(text) => Err(Bad::fix(tidy_origin(text).map(|origin| format!("[{}]", quote(&origin))))),
            raw => List(Origin).read(raw).map(Origins::List),
        }
    }

    fn write(&self, value: &Origins, show: Show) -> String {
        match value {
            Origins::Any => quote("any"),
            Origins::List(origins) => List(Origin).write(origins, show),
        }
    }

    fn typed(&self, text: &str) -> ValueKind {
        match text {
            "any" | "*" => text.into(),
            list => Kind::<Vec<String>>::typed(&List(Origin), list),
        }
    }
}

/// Whether a text names levels; a bare word that is no level would switch on a target of that name.
pub(in crate::config) fn log_level(text: &str) -> Result<(), Option<String>> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    for directive in text.split(',').map(str::trim) {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        if !LEVELS.contains(&level) {
            return Err(nearest(level, LEVELS)
                .map(|near| format!("{} is no level; did you mean {}?", quote(level), quote(near))));
        }
    }
    EnvFilter::try_new(text).map(drop).map_err(|_| None)
}

/// Whether a text can begin the names of ours in Redis: braces would move keys to other slots of a cluster.
pub(in crate::config) fn prefix(text: &str) -> Result<(), Option<String>> {
    let fits = text.len() <= 100 && text.chars().all(|c| c.is_ascii_graphic() && !"{}".contains(c));
    if fits { Ok(()) } else { Err(None) }
}

/// Whether a text can name a replica: it becomes part of topics and of connection ids.
pub(in crate::config) fn replica_name(text: &str) -> Result<(), Option<String>> {
    let fits = text.is_empty() || (text.len() <= 100 && !text.ends_with('.') && Topic::parse_client(text).is_ok());
    if fits { Ok(()) } else { Err(None) }
}
