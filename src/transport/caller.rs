//! Who calls: the peer, or whom a trusted proxy says it calls for.

use std::net::{IpAddr, SocketAddr};

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
    /// from its end, up to the first address that is no trusted proxy's. It also ends where a hop cannot be read: what
    /// stands before that may be anybody's word, and the address behind it is the last that is known.
    #[must_use]
    pub fn of(peer: Peer, headers: &HeaderMap, trusted: &[String]) -> Self {
        let peer = peer.0.ip().to_canonical();
        if !is_trusted(peer, trusted) {
            return Self { address: peer, request_id: None };
        }
        let mut address = peer;
        for hop in hops(headers) {
            let Some(hop) = address_of(hop) else { break };
            address = hop;
            if !is_trusted(hop, trusted) {
                break;
            }
        }
        Self { address, request_id: request_id(headers) }
    }

    /// The request id, or a dash. It is text, not a display: logs quote it, so that it forges no field of theirs.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.request_id.as_deref().unwrap_or("-")
    }
}

/// What proxies say whom they were called by, the nearest first. A line that is no text is one hop that nobody can read.
fn hops(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let hops = lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
    hops.map(|hop| hop.trim_matches([' ', '\t'])).filter(|hop| !hop.is_empty())
}

/// The address of a hop, which may have a port, brackets and quotes around it, and be an IPv4 address in IPv6's form.
fn address_of(hop: &str) -> Option<IpAddr> {
    let hop = hop.strip_prefix('"').and_then(|hop| hop.strip_suffix('"')).unwrap_or(hop);
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let with_port = || hop.parse().map(|hop: SocketAddr| hop.ip());
    bare.parse().or_else(|_| with_port()).ok().map(|address: IpAddr| address.to_canonical())
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

    #[test]
    fn a_hop_is_read_in_every_form_that_proxies_write_and_nothing_before_one_that_is_not() {
        for (forwarded, client) in [
            ("203.0.113.9, 198.51.100.7:5678", "198.51.100.7"),
            ("203.0.113.9, [2001:db8::7]:5678", "2001:db8::7"),
            ("203.0.113.9, [2001:db8::7]", "2001:db8::7"),
            ("203.0.113.9, 2001:db8::7", "2001:db8::7"),
            ("203.0.113.9, \"[2001:db8::7]:5678\"", "2001:db8::7"),
            ("203.0.113.9, ::ffff:198.51.100.7", "198.51.100.7"),
            ("203.0.113.9, [::ffff:198.51.100.7]:80, ::ffff:10.2.2.2", "198.51.100.7"),
            ("203.0.113.9, unknown", "10.1.1.1"),
            ("203.0.113.9, unknown, 10.2.2.2:99", "10.2.2.2"),
            ("203.0.113.9, 198.51.100.7:567890", "10.1.1.1"),
            ("203.0.113.9, [198.51.100.7", "10.1.1.1"),
            ("203.0.113.9,, 198.51.100.7 ,", "198.51.100.7"),
            ("10.3.3.3, 10.2.2.2", "10.3.3.3"),
            ("", "10.1.1.1"),
        ] {
            let found = caller("10.1.1.1:9", forwarded).address;
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{forwarded}");
        }
    }

    #[test]
    fn several_lines_are_read_from_the_last_and_a_line_that_is_no_text_is_a_hop_that_nobody_can_read() {
        let mut headers = HeaderMap::new();
        for line in [&b"203.0.113.9"[..], b"198.51.100.7", b"\xff", b"10.3.3.3", b"10.2.2.2"] {
            headers.append("x-forwarded-for", axum::http::HeaderValue::from_bytes(line).unwrap());
        }
        let of = |headers: &HeaderMap| Caller::of(Peer("10.1.1.1:9".parse().unwrap()), headers, &["10.0.0.0/8".into()]);
        assert_eq!(of(&headers).address, "10.3.3.3".parse::<IpAddr>().unwrap());
        headers.append("x-forwarded-for", "192.0.2.1, 192.0.2.2".parse().unwrap());
        assert_eq!(of(&headers).address, "192.0.2.2".parse::<IpAddr>().unwrap());
    }
}
