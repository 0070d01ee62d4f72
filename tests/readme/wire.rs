//! The example lines of the wire protocol, as the codec writes and reads them.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use fanline::close::Close;
use fanline::command::{Command, MessageId, Payload};
use fanline::event::{Event, Gap, GapReason, Refusal, RefusalCode};
use fanline::identity::{ConnectionNumber, Replica};
use fanline::position::Position;
use fanline::protocol::{Json, Protocol, Sse};
use fanline::publication::{Header, Publication};
use fanline::topic::Topic;

use crate::blocks;

fn topic(name: &str) -> Topic {
    Topic::parse(name).expect("a topic")
}

/// The text in the one short frame that is written.
fn line(write: impl Fn(&mut BytesMut)) -> String {
    let mut wire = BytesMut::new();
    write(&mut wire);
    let head = if wire[1] < 126 { 2 } else { 4 };
    String::from_utf8(wire[head..].to_vec()).expect("a text frame") + "\n"
}

fn said(event: &Event<'_>) -> String {
    line(|wire| Json.event(event, wire))
}

fn publication(payload: &'static [u8], header: Option<Header>) -> Publication {
    Publication::new(topic("room:42"), header.map(Box::new), Bytes::from_static(payload), Instant::now())
}

fn message(payload: &'static [u8], header: Option<Header>) -> String {
    let publication = publication(payload, header);
    line(|wire| Json.publication(&publication, wire))
}

fn gap() -> Gap {
    Gap {
        topics: vec![topic("room:42")],
        reason: GapReason::Reconnected,
        since: 1_700_000_000_000,
        until: 1_700_000_002_500,
        spread_ms: 1000,
    }
}

/// An event stream: publications with and without a name, in several lines, of bytes; then our own words.
pub fn stream() -> String {
    let mut wire = BytesMut::new();
    let chat = Header { event: Some("chat".into()), ..Header::default() };
    for (payload, header) in [(&b"hello"[..], None), (b"two\nlines", Some(chat)), (b"\xff\x00", None)] {
        Sse::Bare.publication(&publication(payload, header), &mut wire);
    }
    Sse::Bare.event(&Event::Gap(&gap()), &mut wire);
    wire.extend_from_slice(Sse::Bare.comment());
    Sse::Bare.event(&Event::Goodbye(&Close::Drain(1500)), &mut wire);
    let text = String::from_utf8(wire.to_vec()).expect("a stream is UTF-8");
    format!("```text stream\n{}\n```\n", text.trim_end())
}

/// One line for each event, and for each form of a payload.
pub fn events() -> String {
    // A new event does not compile here until it has its line below. Echo is of plain routes.
    let _ = |event: Event<'_>| match event {
        Event::Welcome { .. } | Event::Subscribed { .. } | Event::Unsubscribed { .. } | Event::Published { .. } => {}
        Event::History { .. }
        | Event::Gap(_)
        | Event::Live { .. }
        | Event::Error(_)
        | Event::Warning(_)
        | Event::Echo(_)
        | Event::Goodbye(_) => {}
        Event::Pong { .. } => {}
    };
    let (room, id) = (topic("room:42"), MessageId("1".into()));
    let connection = Replica::new("web-1-k3x9ab").connection(ConnectionNumber(7));
    let header = Header { ts: Some(1_700_000_000_000), event: Some("chat".into()), ..Header::default() };
    let place = |ms| Some(Position::at(ms));
    let kept = Header { pos: place(1_700_000_000_001), prev: place(1_700_000_000_000), ..Header::default() };
    let refusal = Refusal {
        id: Some(id.clone()),
        code: RefusalCode::Forbidden,
        message: "clients may not publish to room:42: its topic rule says publish = \"none\"".into(),
    };
    let lines = [
        said(&Event::Welcome { connection: &connection, heartbeat_ms: 25_000 }),
        said(&Event::Subscribed {
            topic: &room,
            id: Some(&id),
            live: true,
            recovered: Some(true),
            position: kept.prev,
        }),
        message(br#"{"user":"ada","text":"hi"}"#, None),
        message(b"hi", Some(header)),
        message(b"hi", Some(kept.clone())),
        message(b"\xff\x00", None),
        said(&Event::Published { id: Some(&id), position: kept.pos }),
        said(&Event::History {
            topic: &room,
            id: Some(&id),
            publications: &[publication(b"hi", Some(kept.clone()))],
            newest: kept.pos.unwrap_or_default(),
            more: false,
        }),
        said(&Event::Error(&refusal)),
        said(&Event::Warning(
            "\"lats\" means nothing in a command of type \"subscribe\" and is ignored; it has topic, topics, since, last, id",
        )),
        said(&Event::Live { topics: std::slice::from_ref(&room), live: false }),
        said(&Event::Gap(&gap())),
        said(&Event::Unsubscribed { topic: &room, id: None }),
        said(&Event::Pong { id: None }),
        said(&Event::Goodbye(&Close::Drain(1500))),
    ];
    format!("```json server\n{}```\n", lines.concat())
}

/// The codes of `error`, each with what it is for.
pub fn refusals() -> String {
    let what = |code| match code {
        RefusalCode::BadMessage => "no JSON object of this protocol",
        RefusalCode::UnknownType => "a `type` that this version does not have",
        RefusalCode::BadTopic => "a text that is no topic",
        RefusalCode::Forbidden => "the topic's rule says no",
        RefusalCode::TooManyTopics => {
            "more topics than `limits.topics`, or than this replica holds (`limits.replica_topics`)"
        }
        RefusalCode::TooLarge => "a publication above the topic rule's `publication`",
        RefusalCode::NoHistory => "the topic's rule keeps no history",
        RefusalCode::Unavailable => {
            "Redis is away or refused; where it did not answer in time, it may have been published all the same"
        }
    };
    let all = [
        RefusalCode::BadMessage,
        RefusalCode::UnknownType,
        RefusalCode::BadTopic,
        RefusalCode::Forbidden,
        RefusalCode::TooManyTopics,
        RefusalCode::TooLarge,
        RefusalCode::NoHistory,
        RefusalCode::Unavailable,
    ];
    all.map(|code| format!("- `{}`: {}\n", code.label(), what(code))).concat()
}

/// The reasons of `gap`, each with what it is for.
pub fn gaps() -> String {
    let what = |reason| match reason {
        GapReason::Reconnected => "the link to Redis was lost and is back",
        GapReason::Overflow => "more came in than this replica could take",
        GapReason::Slow => "this client read too slowly, and its topic's rule drops",
        GapReason::TooLarge => "a publication above the topic rule's `publication`",
        GapReason::Malformed => "a publication with a broken header line",
        GapReason::Trimmed => "what was missed is no longer in the topic's history",
        GapReason::Rewound => "the topic's history was set back to an earlier time, by a failover say",
        GapReason::Lost => "the topic's history is gone, or cannot be read",
    };
    GapReason::ALL.map(|reason| format!("- `{}`: {}\n", reason.label(), what(reason))).concat()
}

#[test]
fn every_line_of_a_client_is_understood_and_no_command_is_missing() {
    let mut commands = Vec::new();
    for block in blocks::of("json client") {
        for line in block.text.lines() {
            let before = commands.len();
            Json.commands(Payload::Text(line.to_owned().into()), &mut commands).expect(line);
            assert!(commands.len() > before, "{line} asks for nothing");
        }
    }
    let commands: Vec<_> = commands.into_iter().map(|command| command.expect("a command")).collect();
    let said = |is: fn(&Command) -> bool| commands.iter().any(is);
    assert!(said(|it| matches!(it, Command::Subscribe { .. })) && said(|it| matches!(it, Command::Unsubscribe { .. })));
    assert!(said(|it| matches!(it, Command::History { .. })));
    assert!(said(|it| matches!(it, Command::Publish { .. })) && said(|it| matches!(it, Command::Ping { .. })));
}
