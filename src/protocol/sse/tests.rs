//! The stream's bytes, a contract, and what a parser by the standard's words makes of them.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::command::MessageId;
use crate::event::{Gap, GapReason, RefusalCode};
use crate::identity::{ConnectionNumber, Replica};
use crate::position::Position;
use crate::publication::{Header, PayloadKind};
use crate::topic::Topic;

fn published(event: Option<&str>, payload: &[u8]) -> Vec<u8> {
    let header = event.map(|event| Box::new(Header { event: Some(event.into()), ..Header::default() }));
    let (topic, payload) = (Topic::parse("room:42").unwrap(), Bytes::copy_from_slice(payload));
    let publication = Publication::new(topic, header, payload, Instant::now());
    let mut wire = BytesMut::new();
    Sse::Bare.publication(&publication, &mut wire);
    wire.to_vec()
}

fn said(event: &Event<'_>) -> String {
    let mut wire = BytesMut::new();
    Sse::Bare.event(event, &mut wire);
    String::from_utf8(wire.to_vec()).unwrap()
}

fn text(event: Option<&str>, payload: &str) -> String {
    String::from_utf8(published(event, payload.as_bytes())).unwrap()
}

/// What a page hears: an event's type and its data.
type Heard = (String, String);

/// The standard's own steps (WHATWG HTML, 9.2.6), over a whole stream: the events, and the last `retry`.
fn parse(stream: &str) -> (Vec<Heard>, Option<u32>) {
    let (mut heard, mut retry) = (Vec::new(), None);
    let (mut kind, mut data) = (String::new(), String::new());
    let mut lines = stream.strip_prefix('\u{feff}').unwrap_or(stream).replace("\r\n", "\n").replace('\r', "\n");
    // What stands behind the last line end is no line.
    lines.truncate(lines.rfind('\n').map_or(0, |last| last));
    for line in lines.split('\n') {
        if line.is_empty() {
            if let Some(data) = data.strip_suffix('\n') {
                let kind = if kind.is_empty() { "message" } else { &kind };
                heard.push((kind.to_owned(), data.to_owned()));
            }
            (kind, data) = (String::new(), String::new());
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => kind = value.to_owned(),
            "data" => data.extend([value, "\n"]),
            "retry" if value.bytes().all(|digit| digit.is_ascii_digit()) => retry = value.parse().ok(),
            _ => {}
        }
    }
    (heard, retry)
}

#[test]
fn a_payload_is_data_and_onmessage_hears_it() {
    assert_eq!(text(None, "hello"), "data: hello\n\n");
    assert_eq!(text(None, " two  blanks "), "data:  two  blanks \n\n", "one blank is the standard's");
    assert_eq!(text(None, ""), "data: \n\n");
    assert_eq!(text(None, "id: 7"), "data: id: 7\n\n", "no payload is a field");
}

#[test]
fn a_line_of_the_payload_is_a_line_of_data_however_it_ends() {
    assert_eq!(text(None, "a\nb\rc\r\nd"), "data: a\ndata: b\ndata: c\ndata: d\n\n");
    assert_eq!(text(None, "a\n"), "data: a\ndata: \n\n");
    assert_eq!(text(None, "\n\r"), "data: \ndata: \ndata: \n\n");
    assert_eq!(text(None, "\r\n\r\n"), "data: \ndata: \ndata: \n\n");
}

#[test]
fn only_a_name_of_the_publications_own_is_an_event_line() {
    assert_eq!(text(Some("chat"), "hi"), "event: chat\ndata: hi\n\n");
    assert_eq!(text(Some("a\r\ndata: forged\n\nb"), "hi"), "event: adata: forgedb\ndata: hi\n\n");
    for none in ["", "\n", "open", "error", "gap", "refused", "goodbye", "good\nbye"] {
        assert_eq!(text(Some(none), "hi"), "data: hi\n\n", "{none:?}");
    }
}

#[test]
fn what_is_no_text_is_a_url_that_says_so() {
    assert_eq!(published(Some("e"), b"\xff\x00"), b"event: e\ndata: data:application/octet-stream;base64,/wA=\n\n");
}

#[test]
fn bytes_that_read_like_text_are_a_url_where_their_producer_calls_them_bytes() {
    let header = Some(Box::new(Header { kind: Some(PayloadKind::Binary), ..Header::default() }));
    let publication = Publication::new(Topic::parse("a").unwrap(), header, Bytes::from_static(b"hi"), Instant::now());
    let mut wire = BytesMut::new();
    Sse::Bare.publication(&publication, &mut wire);
    assert_eq!(wire, "data: data:application/octet-stream;base64,aGk=\n\n");
}

#[test]
fn a_gap_and_a_refusal_are_those_of_json_under_names_of_their_own() {
    let gap = Gap {
        topics: vec![Topic::parse("room:42").unwrap()],
        reason: GapReason::Reconnected,
        since: 1_700_000_000_000,
        until: 1_700_000_002_500,
        spread_ms: 3000,
    };
    assert_eq!(
        said(&Event::Gap(&gap)),
        "event: gap\ndata: {\"type\":\"gap\",\"topics\":[\"room:42\"],\"reason\":\"reconnected\",\
         \"since\":1700000000000,\"until\":1700000002500,\"spread_ms\":3000}\n\n"
    );
    let refusal = Refusal { id: Some(MessageId("1".into())), code: RefusalCode::Forbidden, message: "a\nb".into() };
    assert_eq!(
        said(&Event::Error(&refusal)),
        "event: refused\ndata: {\"type\":\"error\",\"id\":1,\"code\":\"forbidden\",\"message\":\"a\\nb\"}\n\n"
    );
}

#[test]
fn a_goodbye_says_when_to_come_back_where_one_should() {
    let farewell = |close: Close| {
        let mut wire = BytesMut::new();
        Sse::Bare.farewell(&close, &mut wire);
        String::from_utf8(wire.to_vec()).unwrap()
    };
    assert_eq!(
        farewell(Close::Drain(1500)),
        "retry: 1500\nevent: goodbye\ndata: {\"type\":\"goodbye\",\"code\":1012,\"reason\":\"drain\",\"retry_ms\":1500}\n\n"
    );
    assert!(farewell(Close::Slow(9)).starts_with("retry: 9\nevent: goodbye\n"));
    assert!(farewell(Close::Gap).starts_with("retry: 0\nevent: goodbye\n"));
    assert_eq!(
        farewell(Close::BadRequest("why".into())),
        "event: goodbye\ndata: {\"type\":\"goodbye\",\"code\":4004,\"reason\":\"bad_request\"}\n\n"
    );
    assert_eq!(farewell(Close::Client(1000)), "", "who hung up hears nothing");
}

#[test]
fn its_first_word_spreads_those_who_lose_their_replica() {
    let connection = Replica::new("here").connection(ConnectionNumber(1));
    let welcome = || said(&Event::Welcome { connection: &connection, heartbeat_ms: 0 });
    let hints: Vec<_> = (0..200).map(|_| parse(&welcome()).1.unwrap()).collect();
    assert!(hints.iter().all(|hint| (2000..=4000).contains(hint)), "{hints:?}");
    assert!(hints.iter().any(|hint| hint.abs_diff(hints[0]) > 200), "{hints:?}");
    assert!(parse(&welcome()).0.is_empty(), "no event");
}

#[test]
fn it_has_no_other_word_and_hears_none() {
    let topic = Topic::parse("a").unwrap();
    let events = [
        Event::Subscribed { topic: &topic, id: None, live: true, recovered: None, position: None },
        Event::Unsubscribed { topic: &topic, id: None },
        Event::Live { topics: std::slice::from_ref(&topic), live: false },
        Event::Published { id: None, position: None },
        Event::Pong { id: None },
    ];
    events.iter().for_each(|event| assert_eq!(said(event), ""));
    let mut commands = Vec::new();
    let heard = Sse::Bare.commands(Payload::Text(Bytes::from_static(b"{}")), &mut commands);
    assert!(heard.is_err() && commands.is_empty());
}

#[test]
fn a_sign_of_life_is_a_comment_and_ends_no_event() {
    assert_eq!((Sse::Bare.comment(), Sse::Chunked.comment()), (&b":\n"[..], &b"2\r\n:\n\r\n"[..]));
}

/// What stands in whole chunks, and whether the last one ends it.
fn dechunked(mut wire: &[u8]) -> (Vec<u8>, bool) {
    let mut inside = Vec::new();
    while let Some(end) = wire.iter().position(|&byte| byte == b'\n') {
        let size = std::str::from_utf8(&wire[..end]).unwrap().strip_suffix('\r').expect("a chunk's head");
        let size = usize::from_str_radix(size, 16).unwrap();
        let (chunk, rest) = wire[end + 1..].split_at(size);
        inside.extend_from_slice(chunk);
        wire = rest.strip_prefix(b"\r\n").expect("a chunk's end");
        if size == 0 {
            return (inside, wire.is_empty());
        }
    }
    assert!(wire.is_empty(), "half a chunk");
    (inside, false)
}

#[test]
fn over_http_1_1_all_that_is_written_is_whole_chunks_of_the_same_bytes() {
    let publication = |payload: &[u8], ms| {
        let header = Some(Box::new(Header { pos: Some(Position::at(ms)), ..Header::default() }));
        Publication::new(Topic::parse("a").unwrap(), header, Bytes::copy_from_slice(payload), Instant::now())
    };
    for payload in [&b""[..], b"hello", b"a\nb\rc", b"\xff", &[b'x'; 70_000]] {
        let frame = |sse: Sse| {
            let mut wire = BytesMut::from("before");
            sse.publication(&publication(payload, 7), &mut wire);
            wire.split_off(6)
        };
        let (chunked, bare) = (frame(Sse::Chunked), frame(Sse::Bare));
        assert_eq!(dechunked(&chunked), (bare.to_vec(), false));
        let signed = |sse: Sse, frame: &[u8]| {
            let mut wire = BytesMut::new();
            sse.signed(frame, "7-0,-", &mut wire);
            wire.to_vec()
        };
        assert_eq!(dechunked(&signed(Sse::Chunked, &chunked)).0, signed(Sse::Bare, &bare));
        assert_eq!(signed(Sse::Bare, &bare), [b"id: 7-0,-\n", &bare[b"id: 7-0\n".len()..]].concat());
    }
    let mut wire = BytesMut::new();
    Sse::Chunked.stands("7-0,-", &mut wire);
    assert_eq!(wire, "b\r\nid: 7-0,-\n\n\r\n");
    wire.clear();
    Sse::Chunked.event(&Event::Pong { id: None }, &mut wire);
    assert!(wire.is_empty(), "an empty chunk would end the stream");
}

#[test]
fn a_goodbye_over_http_1_1_ends_with_the_last_chunk() {
    let farewell = |sse: Sse, close: &Close| {
        let mut wire = BytesMut::new();
        sse.farewell(close, &mut wire);
        wire.to_vec()
    };
    for close in [Close::Drain(1500), Close::Gap, Close::BadRequest("why".into())] {
        assert_eq!(dechunked(&farewell(Sse::Chunked, &close)), (farewell(Sse::Bare, &close), true));
    }
    assert!(farewell(Sse::Chunked, &Close::Client(1000)).is_empty());
}

/// What a page should hear of a publication.
fn expected(event: Option<&str>, payload: &[u8]) -> Heard {
    let name = event.unwrap_or_default().replace(['\r', '\n'], "");
    let name = if name.is_empty() || OURS.contains(&name.as_str()) { "message".to_owned() } else { name };
    let data = match std::str::from_utf8(payload) {
        Ok(text) => text.replace("\r\n", "\n").replace('\r', "\n"),
        Err(_) => format!("data:application/octet-stream;base64,{}", STANDARD.encode(payload)),
    };
    (name, data)
}

proptest! {
    #[test]
    fn a_parser_by_the_standard_hears_what_was_published(
        all in prop::collection::vec(
            (prop::option::of("[a-z:\r\n \u{feff}]{0,6}|gap|error"), prop_oneof![
                "[ab :\r\n\u{0}\u{feff}\u{85}\u{2028}é]{0,12}".prop_map(String::into_bytes),
                any::<Vec<u8>>(),
            ], any::<bool>()),
            0..8,
        ),
    ) {
        let (mut stream, mut wanted) = (Vec::new(), Vec::new());
        for (event, payload, comment) in &all {
            stream.extend_from_slice(if *comment { Sse::Bare.comment() } else { b"" });
            stream.extend_from_slice(&published(event.as_deref(), payload));
            wanted.push(expected(event.as_deref(), payload));
        }
        prop_assert_eq!(parse(std::str::from_utf8(&stream).unwrap()).0, wanted);
    }
}
