//! As much of RFC 6455 as a load client and a floor need: the handshake, frames out, frames in.
//! Pure functions over bytes; deliberately not the gateway's codec, so that neither can hide the other's mistake.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};
use std::ops::Range;

/// The key every client of ours sends: the example of RFC 6455 §1.3. Nothing depends on its being random here.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The answer RFC 6455 gives for [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// A request or response head longer than this is nobody's handshake.
pub const HEAD_LIMIT: usize = 8 * 1024;
/// No server we measure sends larger frames; a larger length means that we lost our place in the stream.
const FRAME_LIMIT: u64 = 16 * 1024 * 1024;

/// `Sec-WebSocket-Accept` for a client's key.
pub fn accept(key: &str) -> String {
    let mut sha1 = Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(sha1.finalize())
}

/// What the floor needs to know of a client's request.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub topic: String,
    pub key: String,
}

/// Reads a complete request head; `None` when it is not a WebSocket handshake that names a `?topic=`.
pub fn request(head: &str) -> Option<Request> {
    let target = head.strip_prefix("GET ")?.split(' ').next()?;
    let query = target.split_once('?')?.1;
    let topic = query.split('&').find_map(|pair| pair.strip_prefix("topic="))?;
    let key = header(head, "sec-websocket-key")?;
    Some(Request { topic: topic.to_owned(), key: key.to_owned() })
}

/// The value of a header, whatever the case of its name.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.split("\r\n").skip(1);
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Where a head ends (behind its empty line), once it is complete.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// Replaces `into` by one unmasked text frame, as servers send it.
pub fn encode_text(payload: &[u8], into: &mut Vec<u8>) {
    into.clear();
    into.push(0x81);
    match payload.len() {
        len @ 0..=125 => into.push(len as u8),
        len @ 126..=65_535 => {
            into.push(126);
            into.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            into.push(127);
            into.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    into.extend_from_slice(payload);
}

/// A pong as clients send it.
pub fn pong(payload: &[u8]) -> Vec<u8> {
    masked(0x8A, payload)
}

/// A text of at most 125 bytes as clients send it.
pub fn text(payload: &[u8]) -> Vec<u8> {
    masked(0x81, payload)
}

/// The mask is zero: it is required, and nothing depends on it here.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let short = &payload[..payload.len().min(125)];
    let mut frame = vec![first, 0x80 | short.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(short);
    frame
}

/// A close as a browser's tab sends it when it goes away: code 1001, masked with zero.
pub const GOING_AWAY: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE9];

/// What a complete frame from a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text or binary, whole.
    Message,
    /// The same, compressed (RSV1): only who offered permessage-deflate may get it.
    Deflated,
    Ping,
    Pong,
    Close,
}

/// One complete frame: what it is, where its payload lies, where the next frame begins.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    pub payload: Range<usize>,
}

/// Bytes that no server may send, or that none of ours sends.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadFrame {
    #[error("a server frame is masked")]
    Masked,
    #[error("reserved bits or opcode in first byte {0:#04x}")]
    Reserved(u8),
    #[error("a message in fragments")]
    Fragment,
    #[error("a frame of {0} bytes")]
    TooLong(u64),
}

/// The first frame of `bytes`; `None` while it is incomplete.
#[inline]
pub fn next_frame(bytes: &[u8]) -> Result<Option<Frame>, BadFrame> {
    let &[first, second, ..] = bytes else { return Ok(None) };
    let kind = match first {
        0x81 | 0x82 => Kind::Message,
        0xC1 | 0xC2 => Kind::Deflated,
        0x88 => Kind::Close,
        0x89 => Kind::Ping,
        0x8A => Kind::Pong,
        0x00 | 0x01 | 0x02 | 0x80 => return Err(BadFrame::Fragment),
        other => return Err(BadFrame::Reserved(other)),
    };
    let (start, len) = match second {
        0..=125 => (2, u64::from(second)),
        126 => match bytes.get(2..4).and_then(|two| two.try_into().ok()) {
            Some(two) => (4, u64::from(u16::from_be_bytes(two))),
            None => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|eight| eight.try_into().ok()) {
            Some(eight) => (10, u64::from_be_bytes(eight)),
            None => return Ok(None),
        },
        _ => return Err(BadFrame::Masked),
    };
    if len > FRAME_LIMIT {
        return Err(BadFrame::TooLong(len));
    }
    let end = start + len as usize;
    Ok((bytes.len() >= end).then_some(Frame { kind, payload: start..end }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_answers_with_the_rfc_s_own_example() {
        assert_eq!(accept(KEY), ACCEPT);
    }

    #[test]
    fn a_handshake_is_read_whatever_the_case_of_its_headers() {
        let head = "GET /ws?x=1&topic=room:42 HTTP/1.1\r\nHost: h\r\nsec-websocket-KEY: abc\r\n\r\n";
        let wanted = Request { topic: "room:42".into(), key: "abc".into() };
        assert_eq!(request(head), Some(wanted));
    }

    #[test]
    fn a_request_without_topic_or_key_is_no_handshake() {
        assert_eq!(request("GET /ws HTTP/1.1\r\nSec-WebSocket-Key: abc\r\n\r\n"), None);
        assert_eq!(request("GET /ws?topic=a HTTP/1.1\r\nHost: h\r\n\r\n"), None);
    }

    #[test]
    fn what_the_floor_encodes_the_client_reads_at_every_length_and_never_half() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let payload = vec![b'x'; len];
            let mut frame = Vec::new();
            encode_text(&payload, &mut frame);
            for cut in [0, 1, 2, 3, 9, frame.len() - 1] {
                let part = &frame[..cut.min(frame.len() - 1)];
                assert_eq!(next_frame(part), Ok(None), "{len} bytes cut to {}", part.len());
            }
            let read = next_frame(&frame).unwrap().unwrap();
            assert_eq!((read.kind, &frame[read.payload.clone()]), (Kind::Message, &payload[..]));
            assert_eq!(read.payload.end, frame.len());
        }
    }

    #[test]
    fn a_stream_we_lost_our_place_in_is_an_error_and_not_a_count() {
        assert_eq!(next_frame(&[0x81, 0x85, 0, 0]), Err(BadFrame::Masked));
        assert_eq!(next_frame(&[0xA1, 0x00]), Err(BadFrame::Reserved(0xA1)));
        assert_eq!(next_frame(&[0x01, 0x00]), Err(BadFrame::Fragment));
        let long = [0x82, 127, 0xFF, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(next_frame(&long), Err(BadFrame::TooLong(0xFF << 56)));
    }

    #[test]
    fn a_ping_is_answered_by_its_own_payload_masked() {
        assert_eq!(pong(b"hi"), [0x8A, 0x82, 0, 0, 0, 0, b'h', b'i']);
    }
}
