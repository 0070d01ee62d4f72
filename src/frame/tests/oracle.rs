//! tungstenite as the oracle, in both directions.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;

use bytes::BytesMut;
use proptest::prelude::*;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tungstenite::{Error, Message as Theirs};

use super::super::*;
use super::{Heard, hear};

const LIMIT: usize = 1 << 20;

/// A socket whose peer says no more for now, and into whose other end anything goes.
#[derive(Default)]
struct Tape {
    unread: io::Cursor<Vec<u8>>,
    written: Vec<u8>,
}

impl Read for Tape {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.unread.read(buffer) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            read => read,
        }
    }
}

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn oracle(role: Role, unread: Vec<u8>) -> WebSocket<Tape> {
    let config = WebSocketConfig::default().max_message_size(Some(LIMIT)).max_frame_size(Some(LIMIT));
    let tape = Tape { unread: io::Cursor::new(unread), written: Vec::new() };
    WebSocket::from_raw_socket(tape, role, Some(config))
}

fn heard(message: Theirs) -> Heard {
    match message {
        Theirs::Text(text) => Heard::Text(text.to_string()),
        Theirs::Binary(bytes) => Heard::Binary(bytes.to_vec()),
        Theirs::Ping(bytes) => Heard::Ping(bytes.to_vec()),
        Theirs::Pong(bytes) => Heard::Pong(bytes.to_vec()),
        Theirs::Close(close) => Heard::Close(close.map(|c| (c.code.into(), c.reason.to_string()))),
        Theirs::Frame(_) => unreachable!("never read"),
    }
}

/// What tungstenite has heard of a stream, and the error that ended it, if one did.
fn hearing(socket: &mut WebSocket<Tape>) -> (Vec<Heard>, Option<Error>) {
    let mut all = Vec::new();
    loop {
        match socket.read() {
            Ok(message) => {
                all.push(heard(message));
                if matches!(all.last(), Some(Heard::Close(_))) {
                    return (all, None);
                }
            }
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return (all, None),
            Err(error) => return (all, Some(error)),
        }
    }
}

fn opcode_of(message: &Heard) -> (Opcode, Vec<u8>) {
    match message {
        Heard::Text(text) => (Opcode::Text, text.clone().into()),
        Heard::Binary(bytes) => (Opcode::Binary, bytes.clone()),
        Heard::Ping(bytes) => (Opcode::Ping, bytes.clone()),
        Heard::Pong(bytes) => (Opcode::Pong, bytes.clone()),
        Heard::Close(None) => (Opcode::Close, Vec::new()),
        Heard::Close(Some((code, reason))) => (Opcode::Close, [&code.to_be_bytes(), reason.as_bytes()].concat()),
    }
}

fn their_opcode(opcode: Opcode) -> OpCode {
    match opcode {
        Opcode::Continuation => OpCode::Data(Data::Continue),
        Opcode::Text => OpCode::Data(Data::Text),
        Opcode::Binary => OpCode::Data(Data::Binary),
        Opcode::Close => OpCode::Control(Control::Close),
        Opcode::Ping => OpCode::Control(Control::Ping),
        Opcode::Pong => OpCode::Control(Control::Pong),
    }
}

/// Lengths around every border of the header's forms.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..200_usize, 1 => 65_500..65_600_usize, 1 => 200..5000_usize]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    (length(), any::<u8>()).prop_map(|(len, seed)| (0..len).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect())
}

fn data() -> impl Strategy<Value = Heard> {
    prop_oneof![
        ".{0,60}".prop_map(Heard::Text),
        length().prop_map(|len| Heard::Text("aé€😀".chars().cycle().take(len).collect())),
        bytes().prop_map(Heard::Binary),
    ]
}

fn control() -> impl Strategy<Value = Heard> {
    let small = || prop::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![small().prop_map(Heard::Ping), small().prop_map(Heard::Pong)]
}

fn goodbye() -> impl Strategy<Value = Heard> {
    let code = prop_oneof![1000..=1003_u16, 1007..=1013_u16, 3000..=4999_u16];
    prop::option::of((code, ".{0,30}")).prop_map(Heard::Close)
}

/// A data message in fragments cut at these places, with a control frame after some of them.
type Sent = (Heard, Vec<(prop::sample::Index, Option<Heard>)>);

fn sent() -> impl Strategy<Value = Sent> {
    (data(), prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(control())), 0..5))
}

/// One frame: its opcode, its payload and whether it ends its message.
type Fragment = (Opcode, Vec<u8>, bool);

/// The frames of one message, and what its receiver hears in order.
fn frames(sent: &Sent) -> (Vec<Fragment>, Vec<Heard>) {
    let (opcode, payload) = opcode_of(&sent.0);
    let mut cuts: Vec<_> = sent.1.iter().map(|(at, between)| (at.index(payload.len() + 1), between)).collect();
    cuts.sort_by_key(|cut| cut.0);
    let (mut all, mut heard, mut from, mut opcode) = (Vec::new(), Vec::new(), 0, opcode);
    for (at, between) in cuts {
        all.push((opcode, payload[from..at].to_vec(), false));
        (from, opcode) = (at, Opcode::Continuation);
        if let Some(control) = between {
            let (opcode, payload) = opcode_of(control);
            all.push((opcode, payload, true));
            heard.push(control.clone());
        }
    }
    all.push((opcode, payload[from..].to_vec(), true));
    heard.push(sent.0.clone());
    (all, heard)
}

/// Pieces of `stream` cut at these places.
pub(super) fn pieces<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    at.sort_unstable();
    at.push(stream.len());
    let mut from = 0;
    at.into_iter().map(|to| &stream[std::mem::replace(&mut from, to)..to]).collect()
}

pub(super) fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..40)
}

/// A stream that is nearly what a client may send.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let frame = (
        prop_oneof![8 => Just(0x80_u8), 4 => Just(0), 1 => any::<u8>().prop_map(|b| b & 0xf0)],
        prop_oneof![3 => Just(0x1_u8), 3 => Just(0), 2 => Just(2), 1 => Just(8), 2 => Just(9), 1 => Just(10), 1 => 0..16_u8],
        prop_oneof![20 => Just(0x80_u8), 1 => Just(0)],
        prop_oneof![8 => Just(None), 1 => Just(Some(126_u8)), 1 => Just(Some(127))],
        prop_oneof![4 => prop::collection::vec(any::<u8>(), 0..8), 4 => "[aé€😀]{0,6}".prop_map(String::into_bytes), 1 => prop::collection::vec(any::<u8>(), 120..130),
            1 => (900..5100_u16).prop_map(|code| code.to_be_bytes().to_vec())],
        any::<Mask>(),
    );
    let frames = prop::collection::vec(frame, 0..8);
    let mutation = (any::<prop::sample::Index>(), any::<u8>());
    let mutations = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(mutation, 1..3)];
    (frames, mutations, prop::option::of(any::<prop::sample::Index>())).prop_map(|(frames, mutations, end)| {
        let mut stream = Vec::new();
        for (bits, opcode, masked, form, mut payload, mask) in frames {
            stream.push(bits | opcode);
            let len = payload.len() as u64;
            match form.unwrap_or(if len > 125 { 126 } else { len as u8 }) {
                126 => {
                    stream.push(masked | 126);
                    stream.extend((len as u16).to_be_bytes());
                }
                127 => {
                    stream.push(masked | 127);
                    stream.extend(len.to_be_bytes());
                }
                short => stream.push(masked | short),
            }
            stream.extend(mask);
            super::super::mask::apply(&mut payload, mask, 0);
            stream.extend(payload);
        }
        for (at, byte) in mutations {
            if !stream.is_empty() {
                let at = at.index(stream.len());
                stream[at] ^= byte;
            }
        }
        if let Some(end) = end {
            stream.truncate(end.index(stream.len() + 1));
        }
        stream
    })
}

/// Whether tungstenite refuses the frame in which the stream ended, once more of it comes; a frame too long to
/// wait for passes.
fn refuses_the_rest(socket: &mut WebSocket<Tape>) -> bool {
    for _ in 0..300 {
        socket.get_mut().unread = io::Cursor::new(vec![0]);
        match hearing(socket) {
            (heard, None) if heard.is_empty() => {}
            (heard, error) => {
                return heard.is_empty() && matches!(error, Some(Error::Protocol(_) | Error::Capacity(_)));
            }
        }
    }
    true
}

/// What agrees with tungstenite, or in which of these ways we are stricter. Each is wanted:
/// - lengths must be minimal (RFC 6455 §5.2), so a control frame never has a long one; tungstenite takes any;
/// - a header is judged when its byte is there; tungstenite waits for the header's or the frame's end;
/// - a close code that nobody may send is a breach (§7.4); tungstenite delivers it as 1002 itself, or takes
///   offence at the reason beside it.
///
/// In one way it is stricter than the registry: it does not know close code 1014.
fn agree(stream: &[u8]) -> Result<(), TestCaseError> {
    let (ours, our_end) = hear(LIMIT, [stream]);
    let mut socket = oracle(Role::Server, stream.to_vec());
    let (mut theirs, their_end) = hearing(&mut socket);
    match our_end {
        Ok(()) => prop_assert!(their_end.is_none(), "only they refuse: {their_end:?}"),
        Err(FrameError::Protocol("a length written longer than needed" | "a control frame above 125 bytes")) => {
            theirs.truncate(ours.len());
        }
        Err(FrameError::Protocol("a close code that nobody may send")) => {
            let stands_in = Heard::Close(Some((1002, "Protocol violation".into())));
            prop_assert!(matches!(their_end, Some(Error::Utf8(_))) || theirs.pop() == Some(stands_in));
        }
        Err(FrameError::Protocol(what)) if their_end.is_none() => {
            prop_assert!(refuses_the_rest(&mut socket), "only we refuse: {what}");
        }
        Err(FrameError::Protocol(what)) => {
            prop_assert!(matches!(their_end, Some(Error::Protocol(_) | Error::Capacity(_))), "{what}, {their_end:?}");
        }
        Err(FrameError::NotUtf8) => prop_assert!(matches!(their_end, Some(Error::Utf8(_))), "{their_end:?}"),
        Err(FrameError::TooBig(_)) if their_end.is_none() => {
            prop_assert!(refuses_the_rest(&mut socket), "only we refuse its size");
        }
        Err(FrameError::TooBig(_)) => {
            prop_assert!(matches!(their_end, Some(Error::Capacity(_))), "{their_end:?}");
        }
    }
    if let Some(Heard::Close(Some((1014, _)))) = ours.last() {
        theirs.pop();
        theirs.extend(ours.last().cloned());
    }
    prop_assert_eq!(ours, theirs);
    Ok(())
}

proptest! {
    #[test]
    fn what_tungstenite_sends_is_heard_however_fragmented_and_cut(
        messages in prop::collection::vec(sent(), 0..6), bye in prop::option::of(goodbye()), cuts in cuts(),
    ) {
        let mut client = oracle(Role::Client, Vec::new());
        let mut expected = Vec::new();
        for (frames, heard) in messages.iter().map(frames) {
            expected.extend(heard);
            for (opcode, payload, fin) in frames {
                let mut frame = Frame::message(payload, OpCode::Data(Data::Binary), fin);
                frame.header_mut().opcode = their_opcode(opcode);
                client.write(Theirs::Frame(frame)).unwrap();
            }
        }
        if let Some(Heard::Close(close)) = &bye {
            let close = close.clone().map(|(code, reason)| CloseFrame { code: CloseCode::from(code), reason: reason.into() });
            client.close(close).unwrap();
            expected.extend(bye);
        }
        client.flush().unwrap();
        let stream = &client.get_ref().written;
        prop_assert_eq!(hear(LIMIT, pieces(stream, &cuts)), (expected, Ok(())));
    }

    #[test]
    fn what_we_send_is_heard_by_tungstenite(
        messages in prop::collection::vec(prop_oneof![data(), control()], 0..8), bye in prop::option::of(goodbye()),
    ) {
        let mut wire = BytesMut::new();
        let mut expected = messages;
        for message in &expected {
            let (opcode, payload) = opcode_of(message);
            encode(opcode, &payload, &mut wire);
        }
        if let Some(Heard::Close(Some((code, reason)))) = bye {
            close(code, &reason, &mut wire);
            expected.push(Heard::Close(Some((code, reason))));
        }
        let (theirs, error) = hearing(&mut oracle(Role::Client, wire.to_vec()));
        prop_assert_eq!(theirs, expected);
        prop_assert!(error.is_none(), "{:?}", error);
    }

    #[test]
    fn what_we_mask_is_heard_by_us_and_tungstenite(
        messages in prop::collection::vec(sent(), 0..4), mask: Mask,
    ) {
        let (mut wire, mut expected) = (BytesMut::new(), Vec::new());
        for (frames, heard) in messages.iter().map(frames) {
            expected.extend(heard);
            for (opcode, payload, fin) in frames {
                encode_masked(opcode, &payload, fin, mask, &mut wire);
            }
        }
        prop_assert_eq!(&hearing(&mut oracle(Role::Server, wire.to_vec())).0, &expected);
        prop_assert_eq!(hear(LIMIT, [&*wire]), (expected, Ok(())));
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(1024)))]

    #[test]
    fn we_and_tungstenite_agree_on_what_a_client_may_send(stream in nearly()) {
        agree(&stream)?;
    }

    #[test]
    fn we_and_tungstenite_agree_on_noise(stream: Vec<u8>) {
        agree(&stream)?;
    }

    #[test]
    fn the_network_s_cuts_change_nothing_and_memory_stays_bounded(
        stream in nearly(), cuts in cuts(), limit in 0..200_usize,
    ) {
        let whole = hear(limit, [&*stream]);
        prop_assert_eq!(&hear(limit, pieces(&stream, &cuts)), &whole);
        prop_assert_eq!(&hear(limit, stream.chunks(1)), &whole);
        let mut decoder = Decoder::new(limit, Extension::None);
        for byte in stream {
            let _ = decoder.feed(&mut [byte], &mut |_| ControlFlow::Continue(()));
            prop_assert!(decoder.held() <= limit + MAX_CONTROL + 256, "{} bytes", decoder.held());
        }
    }
}
