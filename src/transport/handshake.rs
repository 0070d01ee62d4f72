//! The opening handshake of RFC 6455 §4.2, and whose page may open a socket here.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest, Sha1};

use super::offers;
use crate::frame::Extension;
use crate::settings::{Origins, ProtocolChoice};

/// Appended to the client's key before it is hashed (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// How a key is read: one whose last bits are no zeros is one too, as in an example of RFC 6455.
const KEY: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// A request that is a WebSocket handshake.
pub struct Handshake {
    accept: String,
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
    /// Which methods would do, where it is for the method.
    pub allow: Option<&'static str>,
}

impl Refused {
    /// A status, and what to do instead.
    #[must_use]
    pub fn new(status: StatusCode, what: &'static str) -> Self {
        Self { status, what, allow: None }
    }

    /// Another method would do.
    #[must_use]
    pub fn method(allow: &'static str, what: &'static str) -> Self {
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, what) }
    }
}

impl Handshake {
    /// Checks the head of a request on a route that speaks this.
    ///
    /// # Errors
    /// What is missing, and what to do.
    pub fn check(asked: &Parts, spoken: ProtocolChoice) -> Result<Self, Refused> {
        asks_for_websocket(asked)?;
        let headers = &asked.headers;
        let key = single(headers, &header::SEC_WEBSOCKET_KEY)?.filter(|key| is_key(key.as_bytes()));
        let bad = || Refused::new(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key must be 16 bytes in base64");
        let key = key.ok_or_else(bad)?;
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

    /// 101, after which the socket is a WebSocket: byte for byte as RFC 6455 writes it, for there are clients that
    /// look for these very names.
    #[must_use]
    pub fn switch(&self) -> Vec<u8> {
        let lines = [("Sec-WebSocket-Protocol", self.subprotocol), ("Sec-WebSocket-Extensions", self.deflate)];
        let lines = lines.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let mut head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n",
            self.accept
        );
        lines.for_each(|(name, value)| head.extend([name, ": ", value, "\r\n"]));
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// Whether a request wants the protocol switched, to the version that is spoken here.
///
/// 426 must name in `Upgrade` what would do, and that line must not reach a client of HTTP/2: nginx 1.22 passes it on,
/// and the client sees an error of the protocol. So only a request that asks for an upgrade itself is answered by it.
fn asks_for_websocket(asked: &Parts) -> Result<(), Refused> {
    let headers = &asked.headers;
    if asked.method != Method::GET {
        return Err(Refused::method("GET", "a WebSocket is opened by GET: new WebSocket(url)"));
    }
    let upgrade = has_token(headers, header::UPGRADE, "websocket") && has_token(headers, header::CONNECTION, "upgrade");
    if asked.version != Version::HTTP_11 || !upgrade {
        let what = "this path speaks WebSocket: open it with new WebSocket(url), or send Upgrade: websocket \
                    and Connection: Upgrade with an HTTP/1.1 GET (a proxy in between must pass both on)";
        return Err(Refused::new(StatusCode::BAD_REQUEST, what));
    }
    if single(headers, &header::SEC_WEBSOCKET_VERSION)?.is_none_or(|version| version != "13") {
        let what = "only Sec-WebSocket-Version: 13 is spoken here";
        return Err(Refused::new(StatusCode::UPGRADE_REQUIRED, what));
    }
    Ok(())
}

/// The value of a header that has one. A client that says two different things may have been understood by the other.
pub(super) fn single<'a>(
    headers: &'a HeaderMap,
    name: &header::HeaderName,
) -> Result<Option<&'a HeaderValue>, Refused> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    match values.all(|other| Some(other) == value) {
        true => Ok(value),
        false => Err(Refused::new(StatusCode::BAD_REQUEST, two_of(name))),
    }
}

fn two_of(name: &header::HeaderName) -> &'static str {
    match *name {
        header::SEC_WEBSOCKET_KEY => "the request has two different Sec-WebSocket-Key lines",
        header::SEC_WEBSOCKET_VERSION => "the request has two different Sec-WebSocket-Version lines",
        header::ORIGIN => "the request has two different Origin lines",
        _ => "the request has two different lines of one name",
    }
}

/// Whether a page of this origin may open a socket here. A client that sends none is no page.
#[must_use]
pub fn origin_allowed(origins: &Origins, origin: Option<&HeaderValue>) -> bool {
    let (Origins::List(list), Some(origin)) = (origins, origin) else {
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
    KEY.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

/// Proves that the key was read: of its text, whatever that decodes to.
fn accept(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: impl FnOnce(&mut HeaderMap)) -> Parts {
        let mut request = axum::http::Request::builder()
            .header("Upgrade", "WebSocket")
            .header("Connection", "keep-alive, Upgrade")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap();
        change(request.headers_mut());
        request.into_parts().0
    }

    fn set(name: &'static str, value: &'static str) -> impl FnOnce(&mut HeaderMap) {
        move |headers| drop(headers.insert(name, HeaderValue::from_static(value)))
    }

    fn add(name: &'static str, value: &'static str) -> impl FnOnce(&mut HeaderMap) {
        move |headers| _ = headers.append(name, HeaderValue::from_static(value))
    }

    fn switched(asked: &Parts) -> String {
        let handshake = Handshake::check(asked, ProtocolChoice::Ask).ok().unwrap();
        String::from_utf8(handshake.compress(&asked.headers).switch()).unwrap()
    }

    fn status(asked: &Parts) -> Option<u16> {
        Handshake::check(asked, ProtocolChoice::Ask).err().map(|refused| refused.status.as_u16())
    }

    #[test]
    fn the_example_of_rfc_6455_is_answered_byte_for_byte_as_the_rfc_does() {
        let example = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        assert_eq!(switched(&request(|_| {})), format!("{example}\r\n"));
        let mut asked = request(set("sec-websocket-protocol", "fanline.json"));
        asked.headers.insert("sec-websocket-extensions", HeaderValue::from_static("permessage-deflate"));
        let agreed = "Sec-WebSocket-Protocol: fanline.json\r\nSec-WebSocket-Extensions: permessage-deflate; \
                      server_no_context_takeover; client_no_context_takeover\r\n";
        assert_eq!(switched(&asked), format!("{example}{agreed}\r\n"));
    }

    #[test]
    fn what_is_no_handshake_is_told_what_to_do() {
        assert_eq!(status(&request(|headers| drop(headers.remove("upgrade")))), Some(400));
        assert_eq!(status(&request(set("connection", "keep-alive"))), Some(400));
        let [mut old, mut posted] = [(); 2].map(|()| request(|_| {}));
        (old.version, posted.method) = (Version::HTTP_10, Method::POST);
        assert_eq!([status(&old), status(&posted)], [Some(400), Some(405)]);
        assert_eq!(status(&request(set("sec-websocket-version", "8"))), Some(426));
        assert_eq!(status(&request(|headers| drop(headers.remove("sec-websocket-version")))), Some(426));
    }

    #[test]
    fn a_key_is_any_text_that_decodes_to_16_bytes_and_is_answered_as_it_was_sent() {
        // RFC 6455, 4.1 point 7: bytes 1 to 16, with bits set behind the last.
        assert!(
            switched(&request(set("sec-websocket-key", "AQIDBAUGBwgJCgsMDQ4PEC==")))
                .contains("Sec-WebSocket-Accept: OfS0wDaT5NoxF2gqm7Zj2YtetzM=\r\n")
        );
        for bad in ["c2hvcnQ=", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=!", "dGhlIHNhbXBsZSBub25jZXM=", ""] {
            assert_eq!(status(&request(set("sec-websocket-key", bad))), Some(400), "{bad}");
        }
    }

    #[test]
    fn a_client_that_says_two_things_is_not_believed_either() {
        assert_eq!(status(&request(add("sec-websocket-key", "AQIDBAUGBwgJCgsMDQ4PEA=="))), Some(400));
        assert_eq!(status(&request(add("sec-websocket-version", "8"))), Some(400));
        assert_eq!(status(&request(add("sec-websocket-version", "13"))), None, "twice the same is one thing");
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
        let allowed = |origin: &'static str| origin_allowed(&list, Some(&HeaderValue::from_static(origin)));
        assert!(allowed("https://a.example") && allowed("https://x.b.example") && allowed("https://x.y.b.example"));
        assert!(!allowed("http://a.example") && !allowed("https://b.example") && !allowed("https://evilb.example"));
        assert!(!allowed("https://evil.example?.b.example") && !allowed("https://evil.example/.b.example"));
        assert!(!allowed("https://.b.example") && !allowed("null"));
        assert!(origin_allowed(&list, None), "no page, no origin");
    }
}
