//! One message on a topic, and the optional header line before its payload on the bus.

mod kind;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::clock;
use crate::position::Position;
use crate::protocol::Form;
use crate::topic::Topic;

pub use kind::PayloadKind;

/// The four bytes that begin a header line, and nothing else does: `RS FL1`.
pub const MAGIC: &[u8; 4] = b"\x1eFL1";

/// The longest `event` or `key` that the gateway's own doors take, in bytes.
pub const MAX_NAME: usize = 200;

/// How long a publication's own name is remembered.
pub const ONCE: Duration = Duration::from_secs(300);

/// The longest header line that is written or read, in bytes from after [`MAGIC`] to the line feed, which counts.
pub const MAX_HEADER: usize = 64 * 1024;

/// What a header line has besides its strings: the fields' names, `ts`, `type`, the positions, braces, the line feed. It
/// is at most 176 bytes.
const LINE_ROOM: usize = 192;

/// One message on a topic, as it came from the bus.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Where it was published.
    pub topic: Topic,
    /// What its producer said about it; none for a bare payload.
    pub header: Option<Box<Header>>,
    /// What subscribers receive, byte for byte.
    pub payload: Bytes,
    /// When it arrived on this replica.
    pub received: Instant,
    /// Its number among what was delivered on this topic here, where history is kept: set by the hub.
    pub ordinal: u64,
    /// Its compressed frames.
    pub deflated: Deflated,
}

/// The compressed frames of one publication, one for each form: each made once, by the first shard with a client
/// that gets it, and shared by all.
#[derive(Debug, Clone, Default)]
pub struct Deflated(OnceLock<Box<[OnceLock<Option<Bytes>>; Form::COUNT]>>);

impl Deflated {
    /// Whether the frame of a form was made, or found not to be worth it.
    pub fn has(&self, form: Form) -> bool {
        self.0.get().is_some_and(|frames| frames[form as usize].get().is_some())
    }

    /// The compressed frame of a form, made now if it was not; none where `make` says that it is not worth it.
    /// A shard that comes while another makes it waits: making it too would take as long.
    pub fn frame(&self, form: Form, make: impl FnOnce() -> Option<Bytes>) -> Option<Bytes> {
        self.0.get_or_init(Box::default)[form as usize].get_or_init(make).clone()
    }
}

/// What may stand in the line before a payload. Unknown fields are ignored, so that neighbouring
/// versions share a bus.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// When it was published, in ms since 1970; gives the end-to-end latency. A fraction is cut off: many
    /// languages have their time as such.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "whole")]
    pub ts: Option<u64>,
    /// The event's name, for the protocols that have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Box<str>>,
    /// What `conflate` keeps the newest of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Box<str>>,
    /// What the payload is meant to be. A word that this version does not know is none: a newer neighbour may have more.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none", deserialize_with = "kind::known")]
    pub kind: Option<PayloadKind>,
    /// Ids of connections that must not get it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Box<str>>,
    /// The publication's own name: what is published again under it within [`ONCE`] is not published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Box<str>>,
    /// Its place in the topic's history. Only what appends it to the history writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pos: Option<Position>,
    /// The place of the publication before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev: Option<Position>,
}

/// Why bytes that begin like a header are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// No line end within the longest header.
    #[error("the header line has no end")]
    Endless,
    /// Not a JSON object with fields of the right types.
    #[error("the header is not the JSON object it should be: {0}")]
    Json(String),
}

/// Why a header cannot be published: no replica would read so long a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its header line has {0} bytes and at most {MAX_HEADER} are read: name fewer connections in except")]
pub struct HeaderTooLong(pub usize);

impl Header {
    /// Splits what came from the bus into header and payload, without a copy of the payload.
    /// Only [`MAGIC`] begins a header; everything else is payload.
    ///
    /// # Errors
    /// The bytes begin with [`MAGIC`] but no valid header follows.
    pub fn split(message: Bytes) -> Result<(Option<Box<Self>>, Bytes), BadHeader> {
        let Some(rest) = message.strip_prefix(MAGIC) else {
            return Ok((None, message));
        };
        let line = rest.iter().take(MAX_HEADER).position(|&b| b == b'\n').ok_or(BadHeader::Endless)?;
        // A list would be taken for the fields in their order.
        if !rest.starts_with(b"{") {
            return Err(BadHeader::Json("it does not begin with {".into()));
        }
        let header = serde_json::from_slice(&rest[..line]).map_err(|e| BadHeader::Json(e.to_string()))?;
        Ok((Some(Box::new(header)), message.slice(MAGIC.len() + line + 1..)))
    }

    /// Writes the header line and the payload behind it, as they travel on the bus.
    ///
    /// # Errors
    /// The line would be longer than any replica reads.
    pub fn join(&self, payload: &[u8]) -> Result<Vec<u8>, HeaderTooLong> {
        let mut message = Vec::with_capacity(payload.len() + LINE_ROOM);
        message.extend_from_slice(MAGIC);
        // A struct of strings and numbers always serialises; `{}` stands for the impossible.
        if serde_json::to_writer(&mut message, self).is_err() {
            message.truncate(MAGIC.len());
            message.extend_from_slice(b"{}");
        }
        message.push(b'\n');
        let line = message.len() - MAGIC.len();
        if line > MAX_HEADER {
            return Err(HeaderTooLong(line));
        }
        message.extend_from_slice(payload);
        Ok(message)
    }

    /// Whether [`Header::join`] would write it; for a road that needs no bytes.
    ///
    /// # Errors
    /// The line would be longer than any replica reads.
    pub fn check(&self) -> Result<(), HeaderTooLong> {
        let names = [&self.event, &self.key, &self.id].into_iter().flatten();
        // JSON writes no byte as more than six; quotes and a comma stand around each id.
        let most: usize = names.map(|name| 6 * name.len()).chain(self.except.iter().map(|id| 6 * id.len() + 3)).sum();
        if LINE_ROOM + most <= MAX_HEADER {
            return Ok(());
        }
        self.join(b"").map(drop)
    }
}

impl Publication {
    /// A publication that arrived at this moment.
    #[must_use]
    pub fn new(topic: Topic, header: Option<Box<Header>>, payload: Bytes, received: Instant) -> Self {
        Self { topic, header, payload, received, ordinal: 0, deflated: Deflated::default() }
    }

    /// The key that `conflate` goes by.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.header.as_ref()?.key.as_deref()
    }

    /// The event's name.
    #[must_use]
    pub fn event(&self) -> Option<&str> {
        self.header.as_ref()?.event.as_deref()
    }

    /// What its producer means it to be; none where that was not said.
    #[must_use]
    pub fn kind(&self) -> Option<PayloadKind> {
        self.header.as_ref()?.kind
    }

    /// The payload as text: none where it is no UTF-8, or its producer means bytes.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self.kind() {
            Some(PayloadKind::Binary) => None,
            Some(PayloadKind::Text | PayloadKind::Json) | None => std::str::from_utf8(&self.payload).ok(),
        }
    }

    /// Its place in the topic's history, where one is kept.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.header.as_ref()?.pos
    }

    /// Takes its place away: what keeps no history has none, whatever a producer wrote.
    pub fn displace(&mut self) {
        if let Some(header) = &mut self.header {
            (header.pos, header.prev) = (None, None);
        }
    }

    /// The place of the publication before it, and its own.
    #[must_use]
    pub fn step(&self) -> Option<(Position, Position)> {
        let header = self.header.as_ref()?;
        Some((header.prev?, header.pos?))
    }

    /// When it was published, in ms since 1970.
    #[must_use]
    pub fn ts(&self) -> Option<u64> {
        self.header.as_ref()?.ts
    }

    /// The connections that must not get it.
    #[must_use]
    pub fn except(&self) -> &[Box<str>] {
        self.header.as_ref().map_or(&[], |header| &header.except)
    }
}

/// A number of ms, of which any fraction is cut off.
fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let number = Option::<serde_json::Number>::deserialize(from)?;
    let whole = |number: serde_json::Number| {
        let whole = number.as_u64().or_else(|| number.as_f64().and_then(clock::whole_ms));
        whole.ok_or_else(|| D::Error::custom(format!("ts is {number}, not a number of ms since 1970")))
    };
    number.map(whole).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(bytes: &[u8]) -> Result<(Option<Box<Header>>, Bytes), BadHeader> {
        Header::split(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn the_bytes_of_a_header_are_a_contract() {
        let header = Header {
            ts: Some(1_700_000_000_000),
            event: Some("chat".into()),
            key: Some("k".into()),
            kind: Some(PayloadKind::Binary),
            except: vec!["r.1".into()],
            id: Some("order-17".into()),
            pos: Some(Position { ms: 1_700_000_000_001, number: 2 }),
            prev: Some(Position::at(1_700_000_000_000)),
        };
        let line = concat!(
            "\x1eFL1{\"ts\":1700000000000,\"event\":\"chat\",\"key\":\"k\",\"type\":\"binary\",\"except\":[\"r.1\"],\"id\":\"order-17\",",
            "\"pos\":\"1700000000001-2\",\"prev\":\"1700000000000-0\"}\nhi"
        )
        .as_bytes();
        assert_eq!(header.join(b"hi").unwrap(), line);
        assert_eq!(split(line), Ok((Some(Box::new(header)), Bytes::from_static(b"hi"))));
        assert_eq!(Header::default().join(b"").unwrap(), b"\x1eFL1{}\n");
    }

    #[test]
    fn a_time_may_have_a_fraction_but_must_be_one() {
        let ts = |line: &[u8]| split(&[b"\x1eFL1", line, b"\n"].concat()).map(|(header, _)| header.unwrap().ts);
        assert_eq!(ts(b"{\"ts\":1700000000000.5}"), Ok(Some(1_700_000_000_000)));
        assert_eq!(ts(b"{\"ts\":null}"), Ok(None));
        assert!(ts(b"{\"ts\":-5}").is_err() && ts(b"{\"ts\":1e400}").is_err() && ts(b"{\"ts\":\"1\"}").is_err());
    }

    #[test]
    fn fields_of_a_newer_neighbour_are_ignored() {
        let (header, payload) = split(b"\x1eFL1{\"pos\":\"1-0\",\"x\":[{}],\"event\":\"e\"}\np").unwrap();
        assert_eq!(header.unwrap().event.as_deref(), Some("e"));
        assert_eq!(payload, "p");
    }

    #[test]
    fn a_kind_that_nobody_knows_yet_is_none_and_breaks_nothing() {
        let kind = |value: &str| {
            let line = format!("\x1eFL1{{\"type\":{value},\"event\":\"e\"}}\np");
            let header = split(line.as_bytes()).unwrap().0.unwrap();
            assert_eq!(header.event.as_deref(), Some("e"), "{value}");
            header.kind
        };
        for known in PayloadKind::ALL {
            assert_eq!(kind(&format!("\"{}\"", known.label())), Some(known));
        }
        for unknown in ["\"msgpack\"", "\"Text\"", "7", "null", "{\"a\":[1]}", "[]"] {
            assert_eq!(kind(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn json_sequences_and_lone_separators_are_payload() {
        for raw in [&b"\x1e{\"a\":1}\n"[..], b"\x1e", b"\x1eFL", b"\x1eFL2{}\n", b"", b"{}\n"] {
            assert_eq!(split(raw), Ok((None, Bytes::copy_from_slice(raw))));
        }
    }

    #[test]
    fn a_broken_header_is_an_error_not_a_payload() {
        assert_eq!(split(b"\x1eFL1{}"), Err(BadHeader::Endless));
        assert!(matches!(split(b"\x1eFL1{\"ts\":\"x\"}\n"), Err(BadHeader::Json(_))));
        assert!(matches!(split(b"\x1eFL1nonsense\n"), Err(BadHeader::Json(_))));
        assert!(matches!(split(b"\x1eFL1[]\nx"), Err(BadHeader::Json(_))));
    }

    #[test]
    fn the_longest_line_that_is_written_is_the_longest_that_is_read() {
        let event = |len: usize| Header { event: Some("e".repeat(len).into()), ..Header::default() };
        let bare = event(0).join(b"").unwrap().len() - MAGIC.len();
        let longest = event(MAX_HEADER - bare);
        let (again, payload) = split(&longest.join(b"hi").unwrap()).unwrap();
        assert_eq!((*again.unwrap(), &payload[..]), (longest.clone(), &b"hi"[..]));
        assert_eq!(longest.check(), Ok(()));
        let longer = event(MAX_HEADER - bare + 1);
        assert_eq!(
            (longer.join(b"hi"), longer.check()),
            (Err(HeaderTooLong(MAX_HEADER + 1)), Err(HeaderTooLong(MAX_HEADER + 1)))
        );
    }

    proptest! {
        #[test]
        fn a_header_passes_the_check_where_it_can_be_written(ts: Option<u64>, name in "[a\u{1}\"é]*", length in 0..20_000_usize, ids in 0..900_usize, kind in prop::option::of(prop::sample::select(&PayloadKind::ALL[..]))) {
            let name: Box<str> = name.chars().cycle().take(length).collect::<String>().into();
            let header = Header { ts, kind, event: Some(name.clone()), key: Some(name), except: vec!["replica\u{1}.1234".into(); ids], ..Header::default() };
            prop_assert_eq!(header.check(), header.join(b"").map(drop));
        }

        #[test]
        fn whatever_is_joined_splits_again(ts: Option<u64>, event: Option<String>, payload: Vec<u8>) {
            let header = Header { ts, event: event.map(Into::into), ..Header::default() };
            let (again, rest) = split(&header.join(&payload).unwrap()).unwrap();
            prop_assert_eq!(*again.unwrap(), header);
            prop_assert_eq!(rest, payload);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = split(&bytes);
            let _ = split(&[MAGIC.as_slice(), &bytes].concat());
        }
    }
}
