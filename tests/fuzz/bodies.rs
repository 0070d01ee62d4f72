//! What the fuzzers try, and `tests/seeds.rs` on stable with the committed seeds.
#![allow(dead_code, reason = "each target uses one of them")]

use std::ops::ControlFlow;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use fanline::command::{Command, Payload};
use fanline::event::Event;
use fanline::frame::{self, Decoder, Extension, FrameError, MAX_CONTROL, Message, Opcode};
use fanline::protocol::{Json, Protocol};
use fanline::publication::Publication;
use fanline::topic::Topic;
use serde_json::value::RawValue;

/// Any bytes as a client's stream: the first two give the limit, the third the size of the pieces it is cut
/// into. The cuts change nothing, bounds hold, and what was heard is heard again when it is sent anew; the same
/// where permessage-deflate was agreed on.
pub fn frame(input: &[u8]) {
    let Some((&[high, low, size], stream)) = input.split_first_chunk() else { return };
    for extension in [Extension::None, Extension::Deflate] {
        frame_as(extension, [high, low, size], stream);
    }
}

fn frame_as(extension: Extension, [high, low, size]: [u8; 3], stream: &[u8]) {
    let limit = usize::from(u16::from_be_bytes([high, low]));
    let (heard, end) = hear(extension, limit, [stream]);
    assert_eq!(hear(extension, limit, stream.chunks(1)), (heard.clone(), end));
    assert_eq!(hear(extension, limit, stream.chunks(usize::from(size).max(2))), (heard.clone(), end));
    let mut again = BytesMut::new();
    for (opcode, payload) in &heard {
        let control = !matches!(opcode, Opcode::Text | Opcode::Binary);
        assert!(payload.len() <= if control { MAX_CONTROL } else { limit });
        frame::encode_masked(*opcode, payload, true, [high, low, size, 0], &mut again);
    }
    assert_eq!(hear(extension, limit, [&*again]), (heard, Ok(())));
}

/// Any bytes as a compressed message, and as one that we compress: the first two give the limit. The first is
/// within the limit or refused, however it is fragmented; the second is heard as it was.
pub fn deflate(input: &[u8]) {
    let Some((&[high, low], payload)) = input.split_first_chunk() else { return };
    let limit = usize::from(u16::from_be_bytes([high, low]));
    let whole = hear(Extension::Deflate, limit, [&*packed(payload, true)]);
    assert!(whole.0.iter().all(|(_, bytes)| bytes.len() <= limit));
    let mut fragments = BytesMut::from(&*packed(b"", false));
    payload.chunks(7).for_each(|part| frame::encode_masked(Opcode::Continuation, part, false, [0; 4], &mut fragments));
    frame::encode_masked(Opcode::Continuation, b"", true, [0; 4], &mut fragments);
    assert_eq!(hear(Extension::Deflate, limit, [&*fragments]), whole);
    let mut plain = BytesMut::new();
    frame::encode(Opcode::Binary, payload, &mut plain);
    if let Some(twin) = frame::deflated(&plain) {
        assert!(twin.len() < plain.len());
        let body = &twin[head_of(&twin)..];
        let heard = hear(Extension::Deflate, payload.len(), [&*packed(body, true)]);
        assert_eq!(heard, (vec![(Opcode::Binary, payload.to_vec())], Ok(())));
    }
}

/// The first frame of a compressed message of a client.
fn packed(payload: &[u8], fin: bool) -> Vec<u8> {
    let mut frame = BytesMut::new();
    frame::encode_masked(Opcode::Binary, payload, fin, [0; 4], &mut frame);
    frame[0] |= 0x40;
    frame.to_vec()
}

/// How long the header of a server's frame is.
fn head_of(frame: &[u8]) -> usize {
    match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

/// A message, by the opcode and payload it was sent with.
type Heard = (Opcode, Vec<u8>);

fn hear<'a>(
    extension: Extension,
    limit: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Heard>, Result<(), FrameError>) {
    let (mut decoder, mut all) = (Decoder::new(limit, extension), Vec::new());
    for piece in pieces {
        let fed = decoder.feed(&mut piece.to_vec(), &mut |message| {
            all.extend(sent(message));
            ControlFlow::Continue(())
        });
        if fed.is_err() {
            return (all, fed);
        }
    }
    (all, Ok(()))
}

/// A whole message; how one is cut is none of its meaning.
fn sent(message: Message<'_>) -> Option<Heard> {
    Some(match message {
        Message::Text(text) => (Opcode::Text, text.into()),
        Message::Binary(bytes) => (Opcode::Binary, bytes.into()),
        Message::Ping(bytes) => (Opcode::Ping, bytes.into()),
        Message::Pong(bytes) => (Opcode::Pong, bytes.into()),
        Message::Close(None) => (Opcode::Close, Vec::new()),
        Message::Close(Some((code, reason))) => (Opcode::Close, [&code.to_be_bytes(), reason.as_bytes()].concat()),
        Message::Fragment(_) => return None,
    })
}

/// Any bytes as a message of the JSON language, and as a payload it delivers: both are answered in valid JSON.
pub fn json(input: &[u8]) {
    let mut commands = Vec::new();
    let _ = Json.commands(Payload::Text(Bytes::copy_from_slice(input)), &mut commands);
    for command in &commands {
        match command {
            Ok(Command::Publish { topic, payload, .. }) => delivered(&publication(topic.as_str(), payload)),
            Ok(Command::Subscribe { topics, .. }) => ours(topics.iter().map(|wanted| &wanted.topic)),
            Ok(Command::Unsubscribe { topics, .. }) => ours(topics.iter()),
            Ok(_) => {}
            Err(refusal) => {
                let mut wire = BytesMut::new();
                Json.event(&Event::Error(refusal), &mut wire);
                valid(&wire);
            }
        }
    }
    delivered(&publication("room:42", input));
}

/// A client names some topics, and never one of the gateway's own.
fn ours<'a>(mut topics: impl ExactSizeIterator<Item = &'a Topic>) {
    assert!(topics.len() > 0 && topics.all(|topic| !topic.as_str().starts_with('@')));
}

fn publication(topic: &str, payload: &[u8]) -> Publication {
    let topic = Topic::parse(topic).expect("a topic");
    Publication::new(topic, None, Bytes::copy_from_slice(payload), Instant::now())
}

fn delivered(publication: &Publication) {
    let mut wire = BytesMut::new();
    Json.publication(publication, &mut wire);
    valid(&wire);
}

/// One text frame of one JSON object.
fn valid(wire: &[u8]) {
    let header = head_of(wire);
    let body = &wire[header..];
    assert_eq!(wire[..header], *frame::header(Opcode::Text, body.len(), true));
    assert!(serde_json::from_slice::<&RawValue>(body).is_ok_and(|object| object.get().starts_with("{\"type\":\"")));
}
