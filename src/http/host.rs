//! How a request names this machine. A page of a stranger may stand under a name of its own that resolves to 127.0.0.1
//! (DNS rebinding): to the browser it is then of the same origin as a listener on loopback, and reads what that answers.
//! The name stands in `Host`.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};

/// By what a request calls this machine; the last where it uses several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// `localhost` or an address of loopback; also nothing at all, as only HTTP/1.0 may have it, and no browser.
    Loopback,
    /// Another address, which nobody else can make a name for himself.
    Address,
    /// Whatever a resolver may say anything of.
    Other,
}

/// What a request's `Host` lines and its target call this machine.
pub(super) fn named(uri: &Uri, headers: &HeaderMap) -> Name {
    let hosts = headers.get_all(header::HOST).iter().map(|host| of(host.as_bytes()));
    let target = uri.authority().map(|authority| of(authority.as_str().as_bytes()));
    hosts.chain(target).max().unwrap_or(Name::Loopback)
}

fn of(host: &[u8]) -> Name {
    let Ok(authority) = Authority::try_from(host) else { return Name::Other };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse::<IpAddr>() {
        return if address.to_canonical().is_loopback() { Name::Loopback } else { Name::Address };
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    // Browsers and resolvers take all names below it for loopback, too (RFC 6761, 6.3).
    if host == "localhost" || host.ends_with(".localhost") { Name::Loopback } else { Name::Other }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn asked(hosts: &[&'static str]) -> Name {
        let lines = hosts.iter().map(|host| (header::HOST, HeaderValue::from_static(host)));
        named(&Uri::from_static("/metrics"), &lines.collect())
    }

    #[test]
    fn loopback_has_few_names_and_a_strangers_are_none_of_them() {
        for host in [
            "localhost",
            "LocalHost:8081",
            "localhost.",
            "fanline.localhost:8081",
            "127.0.0.1",
            "127.0.1.1:8081",
            "[::1]:8081",
            "[::1]",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert_eq!(asked(&[host]), Name::Loopback, "{host}");
        }
        for host in ["10.0.0.7:8081", "192.168.0.1", "[fd00::1]:8081", "0.0.0.0:8081"] {
            assert_eq!(asked(&[host]), Name::Address, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8081",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "fanline:8081",
            "",
            "a b",
        ] {
            assert_eq!(asked(&[host]), Name::Other, "{host}");
        }
    }

    #[test]
    fn the_worst_of_several_names_counts() {
        assert_eq!(asked(&[]), Name::Loopback);
        assert_eq!(asked(&["localhost", "evil.example"]), Name::Other);
        let absolute = Uri::from_static("http://evil.example/metrics");
        assert_eq!(named(&absolute, &HeaderMap::new()), Name::Other);
    }
}
