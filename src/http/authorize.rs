//! Who may use `/api`: whoever has a key, or this machine where no key is set.

use axum::http::{HeaderMap, StatusCode, header};

use super::problem::Problem;
use crate::accept::Peer;
use crate::settings::ApiKey;

/// Lets a request pass, or says why not.
pub fn authorize(keys: &[ApiKey], peer: Peer, headers: &HeaderMap) -> Result<(), Problem> {
    if keys.is_empty() {
        return open_to_this_machine(peer, headers);
    }
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
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

/// Without keys only this machine may publish, and no web page on it: a page's request carries its origin.
fn open_to_this_machine(peer: Peer, headers: &HeaderMap) -> Result<(), Problem> {
    if !peer.0.ip().to_canonical().is_loopback() {
        let detail = "without internal.api_keys this answers on loopback only; set one and send it";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    match headers.contains_key(header::ORIGIN) {
        true => Err(Problem::new(StatusCode::FORBIDDEN, "web pages may not use this API without internal.api_keys")),
        false => Ok(()),
    }
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

    #[test]
    fn without_keys_only_this_machine_publishes_and_no_page_on_it() {
        assert!(authorize(&[], peer("127.0.0.1:9"), &HeaderMap::new()).is_ok());
        assert!(authorize(&[], peer("[::ffff:127.0.0.1]:9"), &HeaderMap::new()).is_ok());
        assert!(authorize(&[], peer("10.0.0.1:9"), &HeaderMap::new()).is_err());
        assert!(authorize(&[], peer("127.0.0.1:9"), &headers("origin", "http://evil.example")).is_err());
    }

    #[test]
    fn with_keys_a_key_is_needed_from_everywhere() {
        let keys = [ApiKey { name: "a".into(), secret: Secret::new("s3cret") }];
        let may = |headers| authorize(&keys, peer("127.0.0.1:9"), &headers).is_ok();
        assert!(may(headers("authorization", "Bearer s3cret")) && may(headers("x-api-key", "s3cret")));
        assert!(!may(HeaderMap::new()) && !may(headers("x-api-key", "s3cre")) && !may(headers("x-api-key", "s3creT")));
        assert!(!may(headers("x-api-key", "")));
    }
}
