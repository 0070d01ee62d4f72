//! The head of a request on the public listener, read off the socket. What came behind it is handed on.

use std::io;

use axum::http::header::{HOST, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use bytes::{Buf, Bytes, BytesMut};
use tokio::net::TcpStream;

/// How much one read takes.
const READ: usize = 4096;

/// What a half head may hold that nobody counts, in bytes.
const FREE: usize = 1024;

/// What every client of HTTP/2 begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// How large a head may be.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// In bytes.
    pub bytes: usize,
    /// In header lines.
    pub lines: usize,
}

/// Why what a client sent is no request: words and settings of ours, by which the log tells one from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub(super) enum Unfit {
    #[error(
        "the head of the request has more than {0} bytes, often by its cookies: send less, or raise handshake.head"
    )]
    TooLarge(usize),
    #[error("the request has more than {0} header lines: send fewer, or raise handshake.lines")]
    TooManyLines(usize),
    #[error("this is HTTP/2, and HTTP/1.1 is spoken here: let the client, or the proxy in between, speak that")]
    Http2,
    #[error("this is TLS, and none is spoken here: use ws:// and http://, or let a proxy in between end the TLS")]
    Tls,
    #[error("this is no request of HTTP/1.1: {0}")]
    NoHttp(&'static str),
    #[error("the request has no Host line, and HTTP/1.1 must have one")]
    NoHost,
    #[error("the request has more than one Host line")]
    Hosts,
}

impl Unfit {
    /// The status to answer.
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooLarge(_) | Self::TooManyLines(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// What came of a client's first bytes.
#[derive(Debug)]
pub(super) enum Heard {
    /// A request, and what came behind its head.
    Request(Box<Request<()>>, Bytes),
    /// A part of a head, which holds so many bytes by now.
    Part(usize),
    /// Something else.
    Unfit(Unfit),
    /// The client hung up before it had said anything.
    Nothing,
}

/// Reads a head. Dropped in between it has lost nothing: what was read stays here.
#[derive(Debug)]
pub(super) struct Reader {
    limits: HeadLimits,
    buffer: BytesMut,
    /// All that was read, the empty lines before a request included.
    read: usize,
}

impl Reader {
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, buffer: BytesMut::new(), read: 0 }
    }

    /// Whether the client has said nothing yet.
    pub fn is_silent(&self) -> bool {
        self.read == 0
    }

    /// Resolves once the head is whole, or cannot be one, or is not but holds more than before.
    pub async fn head(&mut self, stream: &TcpStream) -> io::Result<Heard> {
        loop {
            stream.readable().await?;
            match self.fill(stream) {
                Ok(0) if self.is_silent() => return Ok(Heard::Nothing),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(more) => match self.understand(more) {
                    Ok(None) if self.buffer.capacity() > FREE => return Ok(Heard::Part(self.buffer.capacity())),
                    Ok(None) => {}
                    Ok(Some((request, early))) => return Ok(Heard::Request(Box::new(request), early)),
                    Err(unfit) => return Ok(Heard::Unfit(unfit)),
                },
                // A new socket may well count as readable before anything has come.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads what is there. A client that says nothing costs no buffer.
    fn fill(&mut self, stream: &TcpStream) -> io::Result<usize> {
        let mut chunk = [0; READ];
        let more = stream.try_read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..more]);
        Ok(more)
    }

    /// Looks at what came, of which `more` bytes are new.
    fn understand(&mut self, more: usize) -> Result<Option<(Request<()>, Bytes)>, Unfit> {
        let first = self.is_silent();
        self.read += more;
        let seen = self.buffer.len() - more;
        // Lines that are empty may stand before a request (RFC 9112, 2.2).
        let blank = self.buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.buffer.advance(blank);
        let Some(end) = end(&self.buffer, seen.saturating_sub(blank)) else {
            if first {
                begins_well(&self.buffer)?;
            }
            let too_large = self.read.max(self.buffer.len()) > self.limits.bytes;
            return if too_large { Err(Unfit::TooLarge(self.limits.bytes)) } else { Ok(None) };
        };
        // What came behind the head, if anything, does not hold the head's memory.
        let early = Bytes::copy_from_slice(&self.buffer[end..]);
        let mut head = std::mem::take(&mut self.buffer);
        head.truncate(end);
        let request = parse(&head.freeze(), self.limits)?;
        Ok(Some((request, early)))
    }
}

/// Where the head ends: behind its first empty line. Of the bytes, so many were looked at before.
fn end(bytes: &[u8], seen: usize) -> Option<usize> {
    let from = seen.saturating_sub(3);
    let mut breaks = bytes[from..].iter().enumerate().filter(|&(_, byte)| *byte == b'\n').map(|(at, _)| from + at + 1);
    breaks.find_map(|at| match bytes[at..] {
        [b'\n', ..] => Some(at + 1),
        [b'\r', b'\n', ..] => Some(at + 2),
        _ => None,
    })
}

/// What cannot become a request is told so before its end, which may never come.
fn begins_well(bytes: &[u8]) -> Result<(), Unfit> {
    let mut none = [];
    match httparse::Request::new(&mut none).parse(bytes) {
        Ok(_) | Err(httparse::Error::TooManyHeaders) => Ok(()),
        Err(error) => Err(no_http(bytes, error)),
    }
}

fn parse(head: &Bytes, limits: HeadLimits) -> Result<Request<()>, Unfit> {
    if head.len() > limits.bytes {
        return Err(Unfit::TooLarge(limits.bytes));
    }
    // But for the first line and the empty one.
    let lines = head.iter().filter(|byte| **byte == b'\n').count().saturating_sub(2);
    if lines > limits.lines {
        return Err(Unfit::TooManyLines(limits.lines));
    }
    let mut headers = vec![httparse::EMPTY_HEADER; lines];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => request(head, &parsed),
        Ok(httparse::Status::Partial) => Err(Unfit::NoHttp("it breaks off")),
        Err(error) => Err(no_http(head, error)),
    }
}

fn no_http(bytes: &[u8], error: httparse::Error) -> Unfit {
    match bytes {
        [0x16, 3, ..] => Unfit::Tls,
        _ if bytes.starts_with(PREFACE) => Unfit::Http2,
        _ => Unfit::NoHttp(match error {
            httparse::Error::HeaderName => "a header line has a bad name",
            httparse::Error::HeaderValue => "a header line has a bad value",
            httparse::Error::NewLine => "a line has a bad end",
            httparse::Error::Token => "its first line is none",
            httparse::Error::Version => "its first line has another version, or none",
            _ => "it cannot be read",
        }),
    }
}

/// What the parser found, as a request that shares the head's bytes.
fn request(head: &Bytes, parsed: &httparse::Request<'_, '_>) -> Result<Request<()>, Unfit> {
    let (method, path) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(|_| Unfit::NoHttp("a bad method"))?;
    *request.uri_mut() = Uri::from_maybe_shared(head.slice_ref(path.as_bytes()))
        .map_err(|_| Unfit::NoHttp("its path or query has what a URL must have percent-encoded"))?;
    *request.version_mut() = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let headers = request.headers_mut();
    headers.reserve(parsed.headers.len());
    for line in parsed.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(head.slice_ref(line.value));
        let (Ok(name), Ok(value)) = (name, value) else { return Err(Unfit::NoHttp("a bad header line")) };
        headers.append(name, value);
    }
    one_host(request.version(), request.headers())?;
    Ok(request)
}

/// A request names its host once (RFC 9112, 3.2): of two, a proxy may have gone by the other.
pub(super) fn one_host(version: Version, headers: &HeaderMap) -> Result<(), Unfit> {
    match headers.get_all(HOST).iter().count() {
        1 => Ok(()),
        0 if version < Version::HTTP_11 => Ok(()),
        0 => Err(Unfit::NoHost),
        _ => Err(Unfit::Hosts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 200, lines: 4 };

    /// What comes of these pieces, one after the other.
    fn read(pieces: &[&[u8]]) -> Result<Option<(Request<()>, Bytes)>, Unfit> {
        let mut reader = Reader::new(LIMITS);
        for piece in pieces {
            reader.buffer.extend_from_slice(piece);
            if let Some(found) = reader.understand(piece.len())? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn unfit(bytes: &[u8]) -> Unfit {
        read(&[bytes]).unwrap_err()
    }

    #[test]
    fn a_head_is_read_to_its_end_and_no_further_however_it_comes() {
        let wire = b"\r\n\r\nGET /ws?topic=a HTTP/1.1\r\nHost: a\r\nX:  b \r\nx: c\r\n\r\nearly\r\n\r\n";
        let drops: Vec<_> = wire.chunks(1).collect();
        for pieces in [&[&wire[..]][..], &[&wire[..10], &wire[10..20], &wire[20..]], &drops] {
            let (request, early) = read(pieces).unwrap().unwrap();
            assert_eq!((request.method(), request.uri().query()), (&Method::GET, Some("topic=a")));
            assert_eq!(request.version(), Version::HTTP_11);
            let values: Vec<_> = request.headers().get_all("x").iter().collect();
            assert_eq!(values, ["b", "c"]);
            assert!(b"early\r\n\r\n".starts_with(&early), "{early:?}");
        }
        let (request, early) = read(&[b"GET / HTTP/1.0\n\nx"]).unwrap().unwrap();
        assert_eq!((request.version(), &early[..]), (Version::HTTP_10, &b"x"[..]), "lines may end bare");
    }

    #[test]
    fn a_head_is_bounded_in_bytes_and_lines() {
        let with = |lines: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes();
        assert!(read(&[&with("A: b\r\nA: b\r\nA: b\r\n")]).unwrap().is_some());
        assert_eq!(unfit(&with("A: b\r\nA: b\r\nA: b\r\nA: b\r\n")), Unfit::TooManyLines(4));
        assert_eq!(unfit(&with(&format!("A: {}\r\n", "x".repeat(200)))), Unfit::TooLarge(200));
        assert_eq!(unfit(&[b'x'; 201]), Unfit::TooLarge(200), "also where it does not end");
        assert_eq!(unfit(&[b'\n'; 201]), Unfit::TooLarge(200), "nor begin");
        assert!(read(&[&[b'x'; 200]]).unwrap().is_none());
        let early = [&with("")[..], &[b'x'; 4000]].concat();
        assert_eq!(read(&[&early]).unwrap().unwrap().1.len(), 4000, "what comes behind it is none of it");
    }

    #[test]
    fn what_is_no_request_is_told_what_it_is() {
        assert_eq!(unfit(b"\x16\x03\x01\x02\x00"), Unfit::Tls);
        assert_eq!(unfit(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Unfit::Http2);
        for bytes in [
            &b"\x00\x01"[..],
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\0\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert!(matches!(unfit(bytes), Unfit::NoHttp(_)), "{bytes:?}");
        }
    }

    #[test]
    fn whom_it_is_for_is_said_once() {
        assert_eq!(unfit(b"GET / HTTP/1.1\r\n\r\n"), Unfit::NoHost);
        assert_eq!(unfit(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), Unfit::Hosts);
        assert_eq!(unfit(b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"), Unfit::Hosts);
    }
}
