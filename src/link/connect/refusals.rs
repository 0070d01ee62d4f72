//! Why a server was not reached or did not let us in, in words that lead to what mends it.

use std::fmt;
use std::io;
use std::time::Duration;

use redis::RedisError;

use crate::link::address::Place;
use crate::link::failure::ConnectError;
use crate::link::reach::Miss;
use crate::link::tls;

/// Why a server did not let us in; `by_tls`: over an encrypted way.
pub(super) fn ungreeted(place: &Place, by_tls: bool, error: &RedisError) -> ConnectError {
    match error.kind() {
        _ if knows_no_hello(error) => stranger(
            place,
            &format_args!("speaks no RESP3 ({error}): a Redis older than 6.0, or a proxy that knows no HELLO"),
        ),
        redis::ErrorKind::Parse if is_http(error) => stranger(place, &"an HTTP server answers there, no Redis"),
        redis::ErrorKind::Io if by_tls => match tls::alerted(&error.to_string()) {
            Some(why) => ConnectError::Tls { address: place.to_string(), why },
            None => refused(place, error),
        },
        redis::ErrorKind::Parse => {
            stranger(place, &"what it answers is not Redis' language (does it expect TLS? write rediss://)")
        }
        redis::ErrorKind::Io => refused(
            place,
            &format_args!("{error} (does it expect TLS? write rediss://; is it a proxy that knows no HELLO?)"),
        ),
        _ if denies(error) => ConnectError::Denied { address: place.to_string(), why: error.to_string() },
        _ => ConnectError::Greeting { address: place.to_string(), why: error.to_string() },
    }
}

/// Whether it is our user that Redis does not want.
fn denies(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
        // The crate takes the code off an answer to SELECT.
        || error.detail().is_some_and(|said| said.contains("no permissions"))
}

/// Whether it is HELLO that is not understood, in the words of Redis before 6.0 or of a proxy.
fn knows_no_hello(error: &RedisError) -> bool {
    let said = error.to_string().to_lowercase();
    let words = ["unknown command", "unsupported command", "invalid command", "not supported", "noproto"];
    error.kind() == redis::ErrorKind::RESP3NotSupported
        || matches!(error.kind(), redis::ErrorKind::Server(_) | redis::ErrorKind::Extension)
            && words.iter().any(|word| said.contains(word))
}

/// Whether it begins as HTTP does, in the parser's words: with the byte of an `H`.
fn is_http(error: &RedisError) -> bool {
    error.to_string().contains(&format!("`{}`", b'H'))
}

fn stranger(place: &Place, why: &dyn fmt::Display) -> ConnectError {
    ConnectError::Stranger { address: place.to_string(), why: why.to_string() }
}

pub(super) fn too_old(place: &Place, version: String) -> ConnectError {
    ConnectError::TooOld { address: place.to_string(), version, needs: "Redis 6.2, Valkey 7.2" }
}

pub(super) fn refused(place: &Place, why: &dyn fmt::Display) -> ConnectError {
    ConnectError::Refused { address: place.to_string(), why: why.to_string() }
}

/// What several addresses said, each by itself; the one of a name that has no other goes without saying.
pub(super) fn missed(place: &Place, within: Duration, misses: Vec<Miss>) -> ConnectError {
    let address = place.to_string();
    if misses.iter().all(|miss| miss.why.is_none()) {
        return ConnectError::Silent { address, doing: "dialling", within };
    }
    let is_nobody = misses.iter().all(|miss| miss.why.as_ref().is_none_or(says_nobody));
    let why = match <[Miss; 1]>::try_from(misses) {
        Ok([Miss { why, .. }]) => why.map(|why| why.to_string()).unwrap_or_default(),
        Err(misses) => misses.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    };
    if is_nobody { ConnectError::Nobody { address, why } } else { ConnectError::Refused { address, why } }
}

/// Whether it is the other end that is not there, and not the way to it or we ourselves.
fn says_nobody(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_gone_where_no_address_of_it_answers_otherwise() {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, QuotaExceeded};
        let place = Place::Tcp { host: "redis".into(), port: 6379 };
        let is_absence = |said: &[Option<io::ErrorKind>]| {
            let miss = |why: &Option<io::ErrorKind>| Miss {
                address: std::net::SocketAddr::from(([10, 0, 0, 1], 6379)),
                why: why.map(io::Error::from),
            };
            let misses = said.iter().map(miss).collect();
            let error = missed(&place, Duration::from_secs(1), misses);
            assert_eq!(error.clone().announced().is_absence(), error.is_absence());
            error.is_absence()
        };
        assert!(is_absence(&[None]) && is_absence(&[Some(ConnectionRefused)]) && is_absence(&[Some(HostUnreachable)]));
        assert!(is_absence(&[None, Some(ConnectionRefused)]));
        assert!(
            !is_absence(&[Some(NetworkUnreachable)]) && !is_absence(&[Some(ConnectionRefused), Some(QuotaExceeded)])
        );
    }
}
