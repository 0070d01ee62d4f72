//! Where a server is, and what a client asks of it.

use crate::{crowd::publisher::Road, wire::websocket::KEY};
use serde::{Deserialize, Serialize};
use std::{
    net::{SocketAddr, ToSocketAddrs},
    str::FromStr,
};

/// A WebSocket URL, resolved once, and how one talks and publishes to the server behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    pub address: SocketAddr,
    host: String,
    target: String,
    pub speech: Speech,
    pub road: Road,
}

/// What a client offers in its handshake, and so what it hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Speech {
    /// The payload and nothing else.
    Plain,
    /// One JSON object a frame, by subprotocol `fanline.json`.
    Json,
    /// The payload, compressed by permessage-deflate without context takeover.
    Deflated,
    /// Socket.IO's events.
    SocketIo,
}

impl Speech {
    /// The lines of the request that offer it.
    fn offer(self) -> &'static str {
        match self {
            Self::Plain | Self::SocketIo => "",
            Self::Json => "Sec-WebSocket-Protocol: fanline.json\r\n",
            Self::Deflated => {
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
            }
        }
    }
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
        Self::local_as(address, "/ws", Speech::Plain, Road::Redis)
    }

    /// Whoever it is on this machine.
    pub fn local_as(address: SocketAddr, target: &str, speech: Speech, road: Road) -> Self {
        Self { address, host: address.to_string(), target: target.into(), speech, road }
    }

    /// The same server, met in another way.
    pub fn speaking(&self, speech: Speech) -> Self {
        Self { speech, ..self.clone() }
    }

    /// The request that asks for some topics.
    pub fn request(&self, topics: &[String]) -> String {
        let mark = if self.target.contains('?') { '&' } else { '?' };
        let query = topics.iter().map(|topic| format!("topic={topic}")).collect::<Vec<_>>().join("&");
        format!(
            "GET {}{mark}{query} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{}\r\n",
            self.target,
            self.host,
            self.speech.offer()
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
        Ok(Self { host: host.to_owned(), ..Self::local_as(address, target, Speech::Plain, Road::Redis) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_joins_whatever_query_the_url_has() {
        let bare: Server = "ws://127.0.0.1:80/ws".parse().unwrap();
        assert!(bare.request(&["a".into()]).starts_with("GET /ws?topic=a HTTP/1.1\r\nHost: 127.0.0.1:80\r\n"));
        let with: Server = "ws://127.0.0.1:80/ws?protocol=plain".parse().unwrap();
        assert!(with.request(&["a".into(), "b".into()]).starts_with("GET /ws?protocol=plain&topic=a&topic=b "));
    }

    #[test]
    fn what_a_client_speaks_stands_in_its_request() {
        let server = Server::local(([127, 0, 0, 1], 80).into());
        let request = |speech| server.speaking(speech).request(&["a".into()]);
        assert!(!request(Speech::Plain).contains("Protocol"));
        assert!(request(Speech::Json).contains("\r\nSec-WebSocket-Protocol: fanline.json\r\n\r\n"));
        assert!(request(Speech::Deflated).contains("\r\nSec-WebSocket-Extensions: permessage-deflate; "));
    }

    #[test]
    fn a_url_that_cannot_be_met_says_why() {
        assert!(matches!("wss://h:1/".parse::<Server>(), Err(BadUrl::Scheme(_))));
        assert!(matches!("ws://nowhere/".parse::<Server>(), Err(BadUrl::Host(_))));
    }
}
