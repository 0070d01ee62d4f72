//! Where a server is, and what a client asks of it.

use crate::wire::websocket::KEY;
use std::{
    net::{SocketAddr, ToSocketAddrs},
    str::FromStr,
};

/// A WebSocket URL, resolved once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub address: SocketAddr,
    host: String,
    target: String,
}

/// A URL we cannot connect to.
#[derive(Debug, thiserror::Error)]
pub enum BadUrl {
    #[error("`{0}` does not begin with ws:// (TLS is not measured)")]
    Scheme(String),
    #[error("`{0}` is no host:port that resolves")]
    Host(String),
}

impl Server {
    /// A gateway or floor on this machine.
    pub fn local(address: SocketAddr) -> Self {
        Self { address, host: address.to_string(), target: "/ws".into() }
    }

    /// The request that asks for one topic.
    pub fn request(&self, topic: &str) -> String {
        let mark = if self.target.contains('?') { '&' } else { '?' };
        format!(
            "GET {}{mark}topic={topic} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n",
            self.target, self.host
        )
    }
}

impl FromStr for Server {
    type Err = BadUrl;

    fn from_str(url: &str) -> Result<Self, BadUrl> {
        let rest = url.strip_prefix("ws://").ok_or_else(|| BadUrl::Scheme(url.to_owned()))?;
        let (host, target) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
        let address = host.to_socket_addrs().ok().and_then(|mut all| all.next());
        let address = address.ok_or_else(|| BadUrl::Host(host.to_owned()))?;
        Ok(Self { address, host: host.to_owned(), target: target.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_joins_whatever_query_the_url_has() {
        let bare: Server = "ws://127.0.0.1:80/ws".parse().unwrap();
        assert!(bare.request("a").starts_with("GET /ws?topic=a HTTP/1.1\r\nHost: 127.0.0.1:80\r\n"));
        let with: Server = "ws://127.0.0.1:80/ws?protocol=plain".parse().unwrap();
        assert!(with.request("a").starts_with("GET /ws?protocol=plain&topic=a "));
    }

    #[test]
    fn a_url_that_cannot_be_met_says_why() {
        assert!(matches!("wss://h:1/".parse::<Server>(), Err(BadUrl::Scheme(_))));
        assert!(matches!("ws://nowhere/".parse::<Server>(), Err(BadUrl::Host(_))));
    }
}
