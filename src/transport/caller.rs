//! Who calls: the peer, or whom a trusted proxy says it calls for.

use std::fmt;
use std::net::IpAddr;

use axum::http::HeaderMap;
use ipnet::IpNet;

use crate::accept::Peer;

/// The longest request id that is kept.
const MAX_ID: usize = 128;

/// Who calls, for the logs.
#[derive(Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its address.
    pub address: IpAddr,
    /// What a trusted proxy calls the request.
    pub request_id: Option<String>,
}

impl Caller {
    /// Whom a request comes from. Only proxies of `trusted` are believed: then `X-Forwarded-For` is read
    /// from its end, up to the first address that is no trusted proxy's.
    #[must_use]
    pub fn of(peer: Peer, headers: &HeaderMap, trusted: &[String]) -> Self {
        let peer = peer.0.ip().to_canonical();
        if !is_trusted(peer, trusted) {
            return Self { address: peer, request_id: None };
        }
        let hops = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok());
        let hops: Vec<IpAddr> =
            hops.flat_map(|line| line.split(',')).filter_map(|hop| hop.trim().parse().ok()).collect();
        let address = hops.iter().rev().find(|&&hop| !is_trusted(hop, trusted)).copied();
        Self { address: address.unwrap_or(peer), request_id: request_id(headers) }
    }

    /// The request id, or a dash.
    pub fn request_id(&self) -> impl fmt::Display {
        self.request_id.as_deref().unwrap_or("-")
    }
}

/// Addresses and blocks were checked with the configuration; what is neither trusts nobody.
fn is_trusted(address: IpAddr, trusted: &[String]) -> bool {
    let within = |block: &String| match block.parse::<IpNet>() {
        Ok(net) => net.contains(&address),
        Err(_) => block.parse() == Ok(address),
    };
    trusted.iter().any(within)
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    (id.len() <= MAX_ID).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(peer: &str, forwarded: &str) -> Caller {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", forwarded.parse().unwrap());
        headers.insert("x-request-id", "r-1".parse().unwrap());
        Caller::of(Peer(peer.parse().unwrap()), &headers, &["10.0.0.0/8".into(), "::1".into()])
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let stranger = caller("192.0.2.1:9", "198.51.100.7");
        assert_eq!(stranger, Caller { address: "192.0.2.1".parse().unwrap(), request_id: None });
    }

    #[test]
    fn a_trusted_proxy_is_and_only_up_to_the_first_stranger() {
        let known = caller("10.1.1.1:9", "203.0.113.9, 198.51.100.7, 10.2.2.2");
        assert_eq!(known, Caller { address: "198.51.100.7".parse().unwrap(), request_id: Some("r-1".into()) });
        assert_eq!(caller("[::1]:9", "nonsense").address, "::1".parse::<IpAddr>().unwrap());
    }
}
