//! The language without words: a client gets payloads as they are, and what it sends is a payload.

use bytes::BytesMut;

use super::{Form, GapWord, Protocol, json};
use crate::close::Close;
use crate::command::{Command, Payload};
use crate::event::{Event, Refusal};
use crate::frame::{self, Opcode};
use crate::publication::Publication;
use crate::settings::OnGap;

/// Payloads verbatim, both ways.
#[derive(Debug, Clone, Copy)]
pub struct Plain {
    on_gap: OnGap,
}

impl Plain {
    /// Where the route asks for it, it has words for a gap and for a message that was not published.
    #[must_use]
    pub fn new(on_gap: OnGap) -> Self {
        Self { on_gap }
    }
}

impl Protocol for Plain {
    fn form(&self) -> Form {
        Form::Plain
    }

    fn publication(&self, publication: &Publication, wire: &mut BytesMut) {
        let opcode = if publication.text().is_some() { Opcode::Text } else { Opcode::Binary };
        frame::encode(opcode, &publication.payload, wire);
    }

    fn event(&self, event: &Event<'_>, wire: &mut BytesMut) {
        match (event, self.on_gap) {
            (Event::Echo(Payload::Text(text)), _) => frame::encode(Opcode::Text, text, wire),
            (Event::Echo(Payload::Binary(bytes)), _) => frame::encode(Opcode::Binary, bytes, wire),
            (Event::Gap(_) | Event::Error(_), OnGap::Notify) => json::write_event(event, wire),
            _ => {}
        }
    }

    fn says_live(&self) -> bool {
        false
    }

    fn on_gap(&self) -> GapWord {
        match self.on_gap {
            OnGap::Ignore => GapWord::Silent,
            OnGap::Notify => GapWord::Told,
            OnGap::Close => GapWord::Close,
        }
    }

    fn commands(&self, message: Payload, commands: &mut Vec<Result<Command, Refusal>>) -> Result<(), Close> {
        commands.push(Ok(Command::Message(message)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;

    use super::*;
    use crate::event::{Gap, GapReason, RefusalCode};
    use crate::publication::{Header, PayloadKind};
    use crate::topic::Topic;

    const ALL: [OnGap; 3] = [OnGap::Ignore, OnGap::Notify, OnGap::Close];

    fn published(payload: &'static [u8]) -> BytesMut {
        let header = Some(Box::new(Header { event: Some("chat".into()), ..Header::default() }));
        let publication =
            Publication::new(Topic::parse("room:42").unwrap(), header, Bytes::from_static(payload), Instant::now());
        let mut wire = BytesMut::new();
        Plain::new(OnGap::Ignore).publication(&publication, &mut wire);
        wire
    }

    #[test]
    fn a_payload_arrives_verbatim_as_text_where_it_is_utf8_else_as_binary() {
        assert_eq!(published(b"hello"), b"\x81\x05hello".as_slice());
        assert_eq!(published(b""), b"\x81\0".as_slice());
        assert_eq!(published(b"\xff\x00"), b"\x82\x02\xff\x00".as_slice());
    }

    #[test]
    fn a_producer_says_whether_it_is_text_or_bytes() {
        let frame = |kind, payload: &'static [u8]| {
            let header = Some(Box::new(Header { kind: Some(kind), ..Header::default() }));
            let topic = Topic::parse("a").unwrap();
            let mut wire = BytesMut::new();
            let publication = Publication::new(topic, header, Bytes::from_static(payload), Instant::now());
            Plain::new(OnGap::Ignore).publication(&publication, &mut wire);
            wire.to_vec()
        };
        assert_eq!(frame(PayloadKind::Binary, b"{}"), b"\x82\x02{}");
        assert_eq!(frame(PayloadKind::Text, b"{}"), b"\x81\x02{}");
        assert_eq!(frame(PayloadKind::Json, b"{}"), b"\x81\x02{}");
        assert_eq!(frame(PayloadKind::Text, b"\xff"), b"\x82\x01\xff", "a text frame must be UTF-8");
    }

    #[test]
    fn a_gap_is_told_only_where_the_route_says_notify() {
        let gap = Gap {
            topics: vec![Topic::parse("room:42").unwrap(), Topic::parse("all").unwrap()],
            reason: GapReason::Reconnected,
            since: 1_700_000_000_000,
            until: 1_700_000_002_500,
            spread_ms: 3000,
        };
        let told = ALL.map(|on_gap| {
            let mut wire = BytesMut::new();
            Plain::new(on_gap).event(&Event::Gap(&gap), &mut wire);
            wire
        });
        let notice = br#"{"type":"gap","topics":["room:42","all"],"reason":"reconnected","since":1700000000000,"until":1700000002500,"spread_ms":3000}"#;
        assert_eq!(told[1], [b"\x81\x7d", notice.as_slice()].concat());
        assert_eq!((told[0].len(), told[2].len()), (0, 0));
        assert_eq!(ALL.map(|on_gap| Plain::new(on_gap).on_gap()), [GapWord::Silent, GapWord::Told, GapWord::Close]);
    }

    #[test]
    fn a_refusal_is_told_only_where_the_route_says_notify() {
        let refusal = Refusal { id: None, code: RefusalCode::Unavailable, message: "Redis is away".into() };
        let told = ALL.map(|on_gap| {
            let mut wire = BytesMut::new();
            Plain::new(on_gap).event(&Event::Error(&refusal), &mut wire);
            wire
        });
        let notice = br#"{"type":"error","code":"unavailable","message":"Redis is away"}"#;
        assert_eq!(&told[1][2..], notice);
        assert_eq!((told[0].len(), told[2].len()), (0, 0));
    }

    #[test]
    fn an_echo_comes_back_as_it_was() {
        let mut wire = BytesMut::new();
        Plain::new(OnGap::Ignore).event(&Event::Echo(&Payload::Text(Bytes::from_static(b"hi"))), &mut wire);
        Plain::new(OnGap::Ignore).event(&Event::Echo(&Payload::Binary(Bytes::from_static(b"\xff"))), &mut wire);
        assert_eq!(&wire[..], b"\x81\x02hi\x82\x01\xff");
    }

    #[test]
    fn it_has_no_other_word() {
        let topic = Topic::parse("a").unwrap();
        let events = [
            Event::Published { id: None, position: None },
            Event::Pong { id: None },
            Event::Live { topics: std::slice::from_ref(&topic), live: false },
            Event::Subscribed { topic: &topic, id: None, live: true, recovered: None, position: None },
            Event::Goodbye(&Close::Drain(1)),
        ];
        let mut wire = BytesMut::new();
        for event in events {
            Plain::new(OnGap::Notify).event(&event, &mut wire);
        }
        assert!(wire.is_empty());
    }

    #[test]
    fn what_a_client_sends_is_one_message() {
        for message in [Payload::Text(Bytes::from_static(b"{}\n{}")), Payload::Binary(Bytes::from_static(b"\xff"))] {
            let mut commands = Vec::new();
            Plain::new(OnGap::Ignore).commands(message.clone(), &mut commands).unwrap();
            assert_eq!(commands, [Ok(Command::Message(message))]);
        }
    }
}
