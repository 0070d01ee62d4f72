//! What we say, to the byte.

use std::ops::ControlFlow;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::Json;
use crate::close::Close;
use crate::command::MessageId;
use crate::event::{Event, Gap, GapReason, Refusal, RefusalCode};
use crate::identity::{ConnectionNumber, Replica};
use crate::position::Position;
use crate::protocol::Protocol;
use crate::publication::{Header, PayloadKind, Publication};
use crate::topic::Topic;

fn topic(name: &str) -> Topic {
    Topic::parse(name).unwrap()
}

/// The text of the one text frame in `wire`, which the frame codec itself has read back.
fn text_of(wire: &BytesMut) -> String {
    let (mut texts, header) = (Vec::new(), if wire[1] < 126 { 2 } else { 4 + 6 * usize::from(wire[1] == 127) });
    let mut masked = BytesMut::new();
    crate::frame::encode_masked(crate::frame::Opcode::Text, &wire[header..], true, [0; 4], &mut masked);
    assert_eq!((wire[0], masked[1] & 0x7f), (0x81, wire[1]));
    assert_eq!(masked[2..header], wire[2..header]);
    let fed = crate::frame::Decoder::new(usize::MAX, crate::frame::Extension::None).feed(&mut masked, &mut |message| {
        let crate::frame::Message::Text(text) = message else { panic!("{message:?}") };
        texts.push(text.to_owned());
        ControlFlow::Continue(())
    });
    assert_eq!((fed, texts.len()), (Ok(()), 1));
    texts.remove(0)
}

fn said(event: &Event<'_>) -> String {
    let mut wire = BytesMut::new();
    Json.event(event, &mut wire);
    text_of(&wire)
}

fn published(payload: &[u8], header: Option<Header>) -> String {
    let header = header.map(Box::new);
    let publication = Publication::new(topic("room:42"), header, Bytes::copy_from_slice(payload), Instant::now());
    let mut wire = BytesMut::new();
    Json.publication(&publication, &mut wire);
    text_of(&wire)
}

#[test]
fn the_bytes_of_every_event_are_a_contract() {
    let room = topic("room:42");
    let id = MessageId("\"a-1\"".into());
    let number = MessageId("7".into());
    let place = |ms, number| Some(Position { ms, number });
    let named = Header { ts: Some(1), event: Some("e".into()), pos: place(1, 0), ..Header::default() };
    let bare = Header { pos: place(2, 1), ..Header::default() };
    let kept = [(named, r#"{"a":1}"#), (bare, "hi")].map(|(header, payload)| {
        Publication::new(room.clone(), Some(Box::new(header)), Bytes::from_static(payload.as_bytes()), Instant::now())
    });
    let connection = Replica::new("host-a1").connection(ConnectionNumber(7));
    let refusal = Refusal { id: Some(number.clone()), code: RefusalCode::BadTopic, message: "no \"x\"\n".into() };
    let nameless = Refusal { id: None, code: RefusalCode::BadMessage, message: "?".into() };
    let topics = [room.clone(), topic("all")];
    let gap = Gap { topics: topics.to_vec(), reason: GapReason::TooLarge, since: 1, until: 2, spread_ms: 3 };
    let contract: [(Event<'_>, &str); 20] = [
        (Event::Warning("\"x\" means nothing"), r#"{"type":"warning","message":"\"x\" means nothing"}"#),
        (
            Event::Welcome { connection: &connection, heartbeat_ms: 25_000 },
            concat!(
                r#"{"type":"welcome","connection":"host-a1.7","heartbeat":25000,"version":""#,
                env!("CARGO_PKG_VERSION"),
                r#""}"#
            ),
        ),
        (
            Event::Subscribed { topic: &room, id: Some(&id), live: true, recovered: None, position: None },
            r#"{"type":"subscribed","topic":"room:42","id":"a-1","live":true}"#,
        ),
        (
            Event::Subscribed { topic: &room, id: None, live: false, recovered: Some(false), position: None },
            r#"{"type":"subscribed","topic":"room:42","live":false,"recovered":false}"#,
        ),
        (
            Event::Unsubscribed { topic: &room, id: Some(&number) },
            r#"{"type":"unsubscribed","topic":"room:42","id":7}"#,
        ),
        (Event::Unsubscribed { topic: &room, id: None }, r#"{"type":"unsubscribed","topic":"room:42"}"#),
        (Event::Published { id: Some(&number), position: None }, r#"{"type":"published","id":7}"#),
        (
            Event::History {
                topic: &room,
                id: Some(&number),
                publications: &kept,
                newest: Position::at(3),
                more: true,
            },
            r#"{"type":"history","topic":"room:42","id":7,"publications":[{"position":"1-0","data":{"a":1},"event":"e","ts":1},{"position":"2-1","text":"hi"}],"position":"3-0","more":true}"#,
        ),
        (
            Event::Subscribed {
                topic: &room,
                id: None,
                live: true,
                recovered: Some(true),
                position: Some(Position::at(3)),
            },
            r#"{"type":"subscribed","topic":"room:42","live":true,"recovered":true,"position":"3-0"}"#,
        ),
        (Event::Published { id: None, position: Some(Position::at(3)) }, r#"{"type":"published","position":"3-0"}"#),
        (Event::Published { id: None, position: None }, r#"{"type":"published"}"#),
        (
            Event::Gap(&gap),
            r#"{"type":"gap","topics":["room:42","all"],"reason":"too_large","since":1,"until":2,"spread_ms":3}"#,
        ),
        (Event::Live { topics: &topics, live: false }, r#"{"type":"live","topics":["room:42","all"],"live":false}"#),
        (Event::Error(&refusal), r#"{"type":"error","id":7,"code":"bad_topic","message":"no \"x\"\n"}"#),
        (Event::Error(&nameless), r#"{"type":"error","code":"bad_message","message":"?"}"#),
        (Event::Goodbye(&Close::Drain(1500)), r#"{"type":"goodbye","code":1012,"reason":"drain","retry_ms":1500}"#),
        (Event::Goodbye(&Close::NoPong), r#"{"type":"goodbye","code":4201,"reason":"no_pong","retry_ms":0}"#),
        (Event::Goodbye(&Close::Forbidden("x".into())), r#"{"type":"goodbye","code":4003,"reason":"forbidden"}"#),
        (Event::Pong { id: Some(&id) }, r#"{"type":"pong","id":"a-1"}"#),
        (Event::Pong { id: None }, r#"{"type":"pong"}"#),
    ];
    for (event, bytes) in contract {
        assert_eq!(said(&event), bytes);
    }
}

#[test]
fn the_bytes_of_a_message_are_a_contract() {
    let header = || Header { ts: Some(1_700_000_000_000), event: Some("a\"b".into()), ..Header::default() };
    let contract: [(&[u8], Option<Header>, &str); 9] = [
        (br#"{"a": 1.50}"#, None, r#"{"type":"message","topic":"room:42","data":{"a": 1.50}}"#),
        (b" [1]\n", None, "{\"type\":\"message\",\"topic\":\"room:42\",\"data\": [1]\n}"),
        (b"null", None, r#"{"type":"message","topic":"room:42","data":null}"#),
        (b"12345678901234567890123", None, r#"{"type":"message","topic":"room:42","data":12345678901234567890123}"#),
        (b"hello", None, r#"{"type":"message","topic":"room:42","text":"hello"}"#),
        (b"", None, r#"{"type":"message","topic":"room:42","text":""}"#),
        (b"{}{}\t\0", None, r#"{"type":"message","topic":"room:42","text":"{}{}\t\u0000"}"#),
        (b"\xff\x00", None, r#"{"type":"message","topic":"room:42","b64":"/wA="}"#),
        (b"1", Some(header()), r#"{"type":"message","topic":"room:42","data":1,"event":"a\"b","ts":1700000000000}"#),
    ];
    for (payload, header, bytes) in contract {
        assert_eq!(published(payload, header), bytes);
    }
}

#[test]
fn a_producer_says_what_its_payload_is_and_json_that_is_none_is_text() {
    use PayloadKind::{Binary, Json, Text};
    let told = |kind, payload: &[u8]| published(payload, Some(Header { kind: Some(kind), ..Header::default() }));
    for (kind, payload, member) in [
        (Text, &b"110988663231921363"[..], r#""text":"110988663231921363""#),
        (Text, b"null", r#""text":"null""#),
        (Text, b"\xff", r#""b64":"/w==""#),
        (Json, b"110988663231921363", r#""data":110988663231921363"#),
        (Json, b"{", r#""text":"{""#),
        (Binary, b"null", r#""b64":"bnVsbA==""#),
        (Binary, b"", r#""b64":"""#),
    ] {
        let message = format!(r#"{{"type":"message","topic":"room:42",{member}}}"#);
        assert_eq!(told(kind, payload), message, "{kind:?}");
    }
}

#[test]
fn json_that_nests_deeply_takes_no_stack_and_goes_out_as_text() {
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    let message = published(deep.as_bytes(), None);
    assert!(message.contains(&format!("\"text\":\"{deep}\"")));
    let most = "[".repeat(60) + &"]".repeat(60);
    assert!(published(most.as_bytes(), None).contains(&format!("\"data\":{most}")));
    assert!(published("[".repeat(200_000).as_bytes(), None).contains("\"text\""));
}

/// A `message` as a client reads it.
#[derive(Deserialize)]
struct Read<'a> {
    topic: &'a str,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    text: Option<String>,
    b64: Option<String>,
    event: Option<String>,
    ts: Option<u64>,
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let json = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("JSON has no others", |n| n.is_finite()).prop_map(|n| n.to_string()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        prop::collection::vec(any::<String>(), 0..5).prop_map(|texts| serde_json::to_string(&texts).unwrap()),
        "[ \t\r\n]{0,3}\\{\"a\" ?: ?[0-9]{1,30}(\\.[0-9]+)?(e[0-9])?\\}[ \t\r\n]{0,3}",
        "[\\[\\]{}\",:0-9a-z\\\\ ]{0,12}",
    ];
    prop_oneof![json.prop_map(String::into_bytes), any::<String>().prop_map(String::into_bytes), any::<Vec<u8>>()]
}

proptest! {
    #[test]
    fn whatever_is_published_arrives_as_it_was_in_valid_json(
        payload in payload(), event: Option<String>, ts: Option<u64>,
    ) {
        let header = Header { ts, event: event.clone().map(Into::into), ..Header::default() };
        let message = published(&payload, Some(header));
        let type_first = message.starts_with(r#"{"type":"message","topic":"room:42",""#);
        prop_assert!(type_first, "{}", message);
        let read: Read<'_> = serde_json::from_str(&message).unwrap();
        prop_assert_eq!((read.topic, read.event, read.ts), ("room:42", event, ts));
        let padded = |data: &RawValue| message.contains(std::str::from_utf8(&payload).unwrap())
            && payload.trim_ascii() == data.get().as_bytes();
        match (read.data, read.text, read.b64) {
            (Some(data), None, None) => prop_assert!(padded(data)),
            (None, Some(text), None) => {
                prop_assert_eq!(text.as_bytes(), &payload);
                prop_assert!(serde_json::from_str::<&RawValue>(&text).is_err());
            }
            (None, None, Some(b64)) => {
                prop_assert_eq!(STANDARD.decode(b64).unwrap(), payload.clone());
                prop_assert!(std::str::from_utf8(&payload).is_err());
            }
            // `null` is data that an `Option` does not show.
            (None, None, None) => prop_assert_eq!(payload.trim_ascii(), b"null"),
            _ => prop_assert!(false, "more than one form: {message}"),
        }
    }

    #[test]
    fn whatever_a_refusal_says_is_valid_json(message: String, id in "[1-9][0-9]{0,4}") {
        let refusal = Refusal { id: Some(MessageId(id.into())), code: RefusalCode::BadMessage, message: message.clone() };
        let read: serde_json::Value = serde_json::from_str(&said(&Event::Error(&refusal))).unwrap();
        prop_assert_eq!(&read["message"], &message);
    }
}
