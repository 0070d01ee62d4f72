//! Who may use `/api`: whoever has a key, or this machine where no key is set.

use axum::http::{HeaderMap, StatusCode, Uri, header};

use super::host::{self, Name};
use super::problem::Problem;
use crate::accept::Peer;
use crate::settings::ApiKey;

/// Lets a request pass, or says why not.
pub fn authorize(keys: &[ApiKey], peer: Peer, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    if keys.is_empty() {
        return open_to_this_machine(peer, uri, headers);
    }
    let given = headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
    let given = given.or_else(|| headers.get("x-api-key").map(|value| value.as_bytes()));
    let known = given.is_some_and(|given| keys.iter().fold(false, |known, key| known | same(given, key)));
    match known {
        true => Ok(()),
        false => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "send Authorization: Bearer <secret>, or X-API-Key: <secret>, with a secret of internal.api_keys",
        )),
    }
}

/// Lets a request for numbers pass, which need no key, but for a page that reads them under a name of its own.
pub fn may_look(keys: &[ApiKey], peer: Peer, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let rebound = keys.is_empty() && is_here(peer) && host::named(uri, headers) == Name::Other;
    if rebound { Err(misnamed(headers, "localhost or an address")) } else { Ok(()) }
}

/// What follows the scheme, which is written in any case (RFC 9110, 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, secret) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| secret.trim_ascii_start())
}

fn is_here(peer: Peer) -> bool {
    peer.0.ip().to_canonical().is_loopback()
}

/// Without keys only this machine may publish, and no web page on it: a page's request carries its origin, and a page
/// that makes itself of our origin by a name that resolves to loopback carries that name.
fn open_to_this_machine(peer: Peer, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let forbidden = |detail: &str| Err(Problem::new(StatusCode::FORBIDDEN, detail));
    if !is_here(peer) {
        return forbidden("without internal.api_keys this answers on loopback only; set one and send it");
    }
    if headers.contains_key(header::ORIGIN) {
        return forbidden("web pages may not use this API without internal.api_keys");
    }
    match host::named(uri, headers) {
        Name::Loopback => Ok(()),
        Name::Address | Name::Other => Err(misnamed(headers, "localhost or 127.0.0.1")),
    }
}

fn misnamed(headers: &HeaderMap, name: &str) -> Problem {
    let found = headers.get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    let found: String = found.unwrap_or_default().chars().take(100).collect();
    let detail = format!(
        "Host: {found:?} may be a web page's name for this machine, which without internal.api_keys is believed for \
         coming from it; ask by {name}, or set internal.api_keys"
    );
    Problem::new(StatusCode::FORBIDDEN, detail)
}

/// Compares in a time that does not tell how much was right.
fn same(given: &[u8], key: &ApiKey) -> bool {
    let secret = key.secret.reveal().as_bytes();
    let differing = given.iter().zip(secret).fold(0, |differing, (a, b)| differing | (a ^ b));
    given.len() == secret.len() && differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Secret;
    use axum::http::HeaderValue;

    fn peer(address: &str) -> Peer {
        Peer(address.parse().unwrap())
    }

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        [(header::HeaderName::from_static(name), HeaderValue::from_static(value))].into_iter().collect()
    }

    fn may(keys: &[ApiKey], from: &str, headers: &HeaderMap) -> bool {
        authorize(keys, peer(from), &Uri::from_static("/api/publish"), headers).is_ok()
    }

    fn keys() -> [ApiKey; 1] {
        [ApiKey { name: "a".into(), secret: Secret::new("s3cret") }]
    }

    #[test]
    fn without_keys_only_this_machine_publishes_and_no_page_on_it() {
        assert!(may(&[], "127.0.0.1:9", &HeaderMap::new()));
        assert!(may(&[], "[::ffff:127.0.0.1]:9", &headers("host", "localhost:8081")));
        assert!(!may(&[], "10.0.0.1:9", &headers("host", "localhost:8081")));
        assert!(!may(&[], "127.0.0.1:9", &headers("origin", "http://evil.example")));
        for host in ["evil.example:8081", "10.0.0.1:8081"] {
            assert!(!may(&[], "127.0.0.1:9", &headers("host", host)), "{host}");
        }
    }

    #[test]
    fn numbers_are_for_everybody_but_a_page_that_stands_under_another_name() {
        let may = |keys: &[ApiKey], from, host| {
            may_look(keys, peer(from), &Uri::from_static("/metrics"), &headers("host", host)).is_ok()
        };
        assert!(!may(&[], "127.0.0.1:9", "evil.example:8081"));
        assert!(may(&[], "127.0.0.1:9", "localhost:8081") && may(&[], "127.0.0.6:9", "10.1.2.3:8081"));
        assert!(may(&[], "10.0.0.1:9", "fanline:8081"), "Prometheus elsewhere, by a service's name");
        assert!(may(&keys(), "127.0.0.1:9", "fanline:8081"));
    }

    #[test]
    fn with_keys_a_key_is_needed_from_everywhere() {
        let may = |headers| may(&keys(), "127.0.0.1:9", &headers);
        assert!(may(headers("authorization", "Bearer s3cret")) && may(headers("x-api-key", "s3cret")));
        assert!(may(headers("authorization", "bearer s3cret")) && may(headers("authorization", "BEARER  s3cret")));
        assert!(!may(headers("authorization", "Bearers3cret")) && !may(headers("authorization", "Basic s3cret")));
        assert!(!may(HeaderMap::new()) && !may(headers("x-api-key", "s3cre")) && !may(headers("x-api-key", "s3creT")));
        assert!(!may(headers("x-api-key", "")));
    }
}
