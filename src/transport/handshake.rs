//! The opening handshake of RFC 6455 §4.2, and whose page may open a socket here.

use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::offers;
use crate::frame::Extension;
use crate::settings::{Origins, ProtocolChoice};

/// Appended to the client's key before it is hashed (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request that is a WebSocket handshake.
pub struct Handshake {
    accept: HeaderValue,
    /// The first subprotocol offered that is spoken on the route.
    pub subprotocol: Option<&'static str>,
    /// How the client's offer of permessage-deflate is accepted, if it is.
    deflate: Option<&'static str>,
}

/// Why a request is none, as the answer to give.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: StatusCode,
    /// What to do instead.
    pub what: &'static str,
}

impl Handshake {
    /// Checks the head of a request on a route that speaks this.
    ///
    /// # Errors
    /// What is missing, and what to do.
    pub fn check<B>(request: &Request<B>, spoken: ProtocolChoice) -> Result<Self, Refused> {
        let headers = request.headers();
        let upgrade =
            has_token(headers, header::UPGRADE, "websocket") && has_token(headers, header::CONNECTION, "upgrade");
        if request.method() != Method::GET || request.version() != Version::HTTP_11 || !upgrade {
            return Err(Refused {
                status: StatusCode::UPGRADE_REQUIRED,
                what: "this path speaks WebSocket: open it with new WebSocket(url), or send Upgrade: websocket \
                       and Connection: Upgrade with an HTTP/1.1 GET (a proxy in between must pass both on)",
            });
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(Refused {
                status: StatusCode::UPGRADE_REQUIRED,
                what: "only Sec-WebSocket-Version: 13 is spoken here",
            });
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes()));
        let key = key
            .ok_or(Refused { status: StatusCode::BAD_REQUEST, what: "Sec-WebSocket-Key must be 16 bytes in base64" })?;
        Ok(Self { accept: accept(key.as_bytes()), subprotocol: subprotocol(headers, spoken), deflate: None })
    }

    /// Accepts permessage-deflate where the client offers it in a way that suits us.
    #[must_use]
    pub fn compress(self, headers: &HeaderMap) -> Self {
        Self { deflate: offers::accept(headers), ..self }
    }

    /// What is agreed on.
    #[must_use]
    pub fn extension(&self) -> Extension {
        match self.deflate {
            Some(_) => Extension::Deflate,
            None => Extension::None,
        }
    }

    /// 101, after which the socket is a WebSocket.
    #[must_use]
    pub fn switch(self) -> Response {
        let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
        let headers = response.headers_mut();
        headers.clear();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        if let Some(subprotocol) = self.subprotocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
        }
        if let Some(deflate) = self.deflate {
            headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(deflate));
        }
        response
    }
}

/// Whether a page of this origin may open a socket here. A client that sends none is no page.
#[must_use]
pub fn origin_allowed(origins: &Origins, headers: &HeaderMap) -> bool {
    let (Origins::List(list), Some(origin)) = (origins, headers.get(header::ORIGIN)) else {
        return true;
    };
    let Ok(origin) = origin.to_str() else { return false };
    list.iter().any(|allowed| match allowed.split_once("*.") {
        Some((scheme, domain)) => origin
            .strip_prefix(scheme)
            .and_then(|host| host.strip_suffix(domain))
            .and_then(|sub| sub.strip_suffix('.'))
            .is_some_and(|sub| !sub.is_empty() && sub.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))),
        None => allowed.eq_ignore_ascii_case(origin),
    })
}

/// The answer names what is going to be spoken, or nothing: a client that must have another one then knows.
fn subprotocol(headers: &HeaderMap, spoken: ProtocolChoice) -> Option<&'static str> {
    let ours: &[&'static str] = match spoken {
        ProtocolChoice::Ask => &["fanline.json", "fanline.plain"],
        ProtocolChoice::Plain => &["fanline.plain"],
        ProtocolChoice::Json => &["fanline.json"],
        ProtocolChoice::Sse => &[],
    };
    tokens(headers, header::SEC_WEBSOCKET_PROTOCOL).find_map(|offered| ours.iter().copied().find(|own| *own == offered))
}

pub(super) fn has_token(headers: &HeaderMap, name: header::HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

fn tokens(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',').map(str::trim))
}

fn is_key(key: &[u8]) -> bool {
    STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

fn accept(key: &[u8]) -> HeaderValue {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    // Base64 is ASCII, which every header value takes.
    HeaderValue::from_str(&STANDARD.encode(digest)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: impl FnOnce(&mut HeaderMap)) -> Request<()> {
        let mut request = Request::builder()
            .header("Upgrade", "WebSocket")
            .header("Connection", "keep-alive, Upgrade")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap();
        change(request.headers_mut());
        request
    }

    fn set(name: &'static str, value: &'static str) -> impl FnOnce(&mut HeaderMap) {
        move |headers| drop(headers.insert(name, HeaderValue::from_static(value)))
    }

    #[test]
    fn the_example_of_rfc_6455_is_answered_as_the_rfc_says() {
        let response = Handshake::check(&request(|_| {}), ProtocolChoice::Ask).ok().unwrap().switch();
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!response.headers().contains_key("sec-websocket-protocol"));
    }

    #[test]
    fn what_is_no_handshake_is_told_what_to_do() {
        let status = |request: Request<()>| {
            Handshake::check(&request, ProtocolChoice::Ask).err().map(|refused| refused.status.as_u16())
        };
        assert_eq!(status(request(|headers| drop(headers.remove("upgrade")))), Some(426));
        assert_eq!(status(request(set("connection", "keep-alive"))), Some(426));
        assert_eq!(status(request(set("sec-websocket-version", "8"))), Some(426));
        assert_eq!(status(request(set("sec-websocket-key", "c2hvcnQ="))), Some(400));
    }

    #[test]
    fn the_first_subprotocol_of_ours_is_chosen_and_a_token_never() {
        let chosen = |offer: &'static str, spoken| {
            Handshake::check(&request(set("sec-websocket-protocol", offer)), spoken).ok().unwrap().subprotocol
        };
        let both = "graphql-ws, fanline.json, fanline.plain";
        assert_eq!(chosen(both, ProtocolChoice::Ask), Some("fanline.json"));
        assert_eq!(chosen("fanline.token.abc", ProtocolChoice::Ask), None);
        assert_eq!(chosen(both, ProtocolChoice::Plain), Some("fanline.plain"));
        assert_eq!(chosen("fanline.json", ProtocolChoice::Plain), None);
        assert_eq!(chosen("fanline.plain", ProtocolChoice::Json), None);
    }

    #[test]
    fn only_pages_of_listed_origins_come_in() {
        let list = Origins::List(vec!["https://a.example".into(), "https://*.b.example".into()]);
        let allowed = |origin: &'static str| origin_allowed(&list, request(set("origin", origin)).headers());
        assert!(allowed("https://a.example") && allowed("https://x.b.example") && allowed("https://x.y.b.example"));
        assert!(!allowed("http://a.example") && !allowed("https://b.example") && !allowed("https://evilb.example"));
        assert!(!allowed("https://evil.example?.b.example") && !allowed("https://evil.example/.b.example"));
        assert!(!allowed("https://.b.example") && !allowed("null"));
        assert!(origin_allowed(&list, &HeaderMap::new()), "no page, no origin");
    }
}
