//! Publications and events → JSON in text frames. `type` is always the first member.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};
use serde::Serialize;
use serde::de::IgnoredAny;

use super::is_shallow;
use crate::close::{Close, Retry};
use crate::command::MessageId;
use crate::event::{Event, Gap, Refusal};
use crate::frame::{Opcode, encode_with};
use crate::position::Position;
use crate::publication::{PayloadKind, Publication};
use crate::topic::Topic;

/// The bytes of `{"type":"message","topic":"","data":}`.
const AROUND_DATA: usize = 36;

/// The bytes of `,"event":"","ts":1700000000000`, beside the event's name.
const AROUND_EVENT: usize = 30;

/// About what an event needs, in bytes: below 126 it has the shortest header.
const EVENT: usize = 100;

/// Appends one publication as a frame. This runs once for all subscribers of a topic.
pub(super) fn publication(publication: &Publication, wire: &mut BytesMut) {
    let extra = publication.header.as_ref().map_or(0, |_| AROUND_EVENT);
    let expected = AROUND_DATA + extra + publication.topic.as_str().len() + publication.payload.len();
    encode_with(Opcode::Text, expected, wire, |wire| {
        let message = Object::begin("message", wire).topic(&publication.topic).payload(publication);
        let message = message.maybe_text("event", publication.event()).position(publication.position());
        message.maybe_number("ts", publication.ts()).end();
    });
}

/// Appends one event as a frame.
pub(in super::super) fn event(event: &Event<'_>, wire: &mut BytesMut) {
    encode_with(Opcode::Text, EVENT, wire, |wire| object(event, wire));
}

/// Appends one event as its JSON alone.
pub(in super::super) fn object(event: &Event<'_>, wire: &mut BytesMut) {
    match *event {
        Event::Welcome { connection, heartbeat_ms } => Object::begin("welcome", wire)
            .text("connection", &connection.to_string())
            .number("heartbeat", heartbeat_ms)
            .text("version", env!("CARGO_PKG_VERSION"))
            .end(),
        Event::Subscribed { topic, id, live, recovered, position } => {
            let told = Object::begin("subscribed", wire).topic(topic).id(id).flag("live", live);
            let told = recovered.into_iter().fold(told, |told, recovered| told.flag("recovered", recovered));
            told.position(position).end();
        }
        Event::Unsubscribed { topic, id } => Object::begin("unsubscribed", wire).topic(topic).id(id).end(),
        Event::Published { id, position } => Object::begin("published", wire).id(id).position(position).end(),
        Event::History { topic, id, publications, newest, more } => {
            let object = Object::begin("history", wire).topic(topic).id(id);
            object.publications(publications).position(Some(newest)).flag("more", more).end();
        }
        Event::Gap(told) => gap(told, wire),
        Event::Live { topics, live } => Object::begin("live", wire).topics(topics).flag("live", live).end(),
        Event::Error(refusal) => error(refusal, wire),
        Event::Warning(message) => Object::begin("warning", wire).text("message", message).end(),
        Event::Goodbye(close) => goodbye(close, wire),
        Event::Echo(_) => {}
        Event::Pong { id } => Object::begin("pong", wire).id(id).end(),
    }
}

fn gap(gap: &Gap, wire: &mut BytesMut) {
    Object::begin("gap", wire)
        .topics(&gap.topics)
        .text("reason", gap.reason.label())
        .number("since", gap.since)
        .number("until", gap.until)
        .number("spread_ms", gap.spread_ms.into())
        .end();
}

fn error(refusal: &Refusal, wire: &mut BytesMut) {
    let object = Object::begin("error", wire).id(refusal.id.as_ref());
    object.text("code", refusal.code.label()).text("message", &refusal.message).end();
}

/// `reason` is the closed list's word, as in the metrics; `retry_ms` is 0 for "at once" and absent for "do not
/// come back without a change".
fn goodbye(close: &Close, wire: &mut BytesMut) {
    let retry = match close.retry() {
        Retry::Never => None,
        Retry::After(ms) => Some(ms.into()),
        Retry::Now => Some(0),
    };
    let object = Object::begin("goodbye", wire).number("code", close.code().into());
    object.text("reason", close.label()).maybe_number("retry_ms", retry).end();
}

/// A JSON object while it is written, member by member.
struct Object<'w>(&'w mut BytesMut);

impl<'w> Object<'w> {
    fn begin(kind: &str, wire: &'w mut BytesMut) -> Self {
        wire.put_slice(b"{\"type\":\"");
        wire.put_slice(kind.as_bytes());
        wire.put_u8(b'"');
        Self(wire)
    }

    fn end(self) {
        self.0.put_u8(b'}');
    }

    fn name(self, name: &str) -> Self {
        self.0.put_slice(b",\"");
        self.0.put_slice(name.as_bytes());
        self.0.put_slice(b"\":");
        self
    }

    fn value(self, name: &str, value: &(impl Serialize + ?Sized)) -> Self {
        let object = self.name(name);
        // Texts, numbers and flags are all JSON, and memory takes all that is written to it.
        let written = serde_json::to_writer(object.0.writer(), value);
        debug_assert!(written.is_ok());
        object
    }

    fn raw(self, name: &str, json: &[u8]) -> Self {
        let object = self.name(name);
        object.0.put_slice(json);
        object
    }

    fn text(self, name: &str, text: &str) -> Self {
        self.value(name, text)
    }

    fn number(self, name: &str, number: u64) -> Self {
        self.value(name, &number)
    }

    fn flag(self, name: &str, flag: bool) -> Self {
        self.value(name, &flag)
    }

    fn maybe_text(self, name: &str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    fn maybe_number(self, name: &str, number: Option<u64>) -> Self {
        match number {
            Some(number) => self.number(name, number),
            None => self,
        }
    }

    /// The publications of a history, each an object without type and topic.
    fn publications(self, publications: &[Publication]) -> Self {
        let object = self.name("publications");
        object.0.put_u8(b'[');
        for (place, publication) in publications.iter().enumerate() {
            object.0.put_slice(if place > 0 { b",{" } else { b"{" });
            let told = Object(&mut *object.0).first_position(publication.position()).payload(publication);
            told.maybe_text("event", publication.event()).maybe_number("ts", publication.ts()).end();
        }
        object.0.put_u8(b']');
        object
    }

    /// The first member of an object that has no type.
    fn first_position(self, position: Option<Position>) -> Self {
        let written = write!(self.0, "\"position\":\"{}\"", position.unwrap_or_default());
        debug_assert!(written.is_ok());
        self
    }

    /// Where something stands in its topic's history: digits and a dash, which need no escaping.
    fn position(self, position: Option<Position>) -> Self {
        let Some(position) = position else { return self };
        let object = self.name("position");
        let written = write!(object.0, "\"{position}\"");
        debug_assert!(written.is_ok());
        object
    }

    /// A client's id is kept as the JSON text it came as.
    fn id(self, id: Option<&MessageId>) -> Self {
        match id {
            Some(MessageId(json)) => self.raw("id", json.as_bytes()),
            None => self,
        }
    }

    fn topic(self, topic: &Topic) -> Self {
        let object = self.name("topic");
        quoted(topic, object.0);
        object
    }

    fn topics(self, topics: &[Topic]) -> Self {
        let object = self.name("topics");
        object.0.put_u8(b'[');
        for (i, topic) in topics.iter().enumerate() {
            if i > 0 {
                object.0.put_u8(b',');
            }
            quoted(topic, object.0);
        }
        object.0.put_u8(b']');
        object
    }

    /// JSON as it is unless its producer calls it text, or it nests so deep that parsers die of it; other text as a string,
    /// other bytes in base64. An empty payload is empty text.
    fn payload(self, publication: &Publication) -> Self {
        let called_text = publication.kind() == Some(PayloadKind::Text);
        match publication.text() {
            Some(text) if !called_text && is_json(text) && is_shallow(text) => self.raw("data", text.as_bytes()),
            Some(text) => self.text("text", text),
            None => self.base64(&publication.payload),
        }
    }

    fn base64(self, bytes: &[u8]) -> Self {
        let object = self.name("b64");
        object.0.put_u8(b'"');
        // Room for four characters for each three bytes begun; cut to what was written.
        let start = object.0.len();
        object.0.resize(start + bytes.len().div_ceil(3) * 4, b'=');
        let written = STANDARD.encode_slice(bytes, &mut object.0[start..]);
        debug_assert_eq!(written.ok(), Some(object.0.len() - start));
        object.0.put_u8(b'"');
        object
    }
}

/// No character of a topic needs escaping in JSON.
fn quoted(topic: &Topic, wire: &mut BytesMut) {
    wire.put_u8(b'"');
    wire.put_slice(topic.as_str().as_bytes());
    wire.put_u8(b'"');
}

/// Whether a text is one JSON value (RFC 8259), perhaps with white space around it. The first character
/// decides for most text that is none. However deep it nests, this takes no stack.
fn is_json(text: &str) -> bool {
    let first = text.bytes().find(|b| !b" \t\r\n".contains(b));
    let may_be = matches!(first, Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'));
    may_be && serde_json::from_str::<IgnoredAny>(text).is_ok()
}
