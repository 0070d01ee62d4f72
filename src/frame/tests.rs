//! The codec against the RFC's own examples, and its bounds. Against tungstenite: `oracle`.

use std::ops::ControlFlow;

use bytes::BytesMut;

use super::*;

mod deflate;
mod oracle;

/// A message that outlives the buffer it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl Heard {
    /// A whole message; how one is cut is none of its meaning.
    fn of(message: Message<'_>) -> Option<Self> {
        Some(match message {
            Message::Text(text) => Self::Text(text.into()),
            Message::Binary(bytes) => Self::Binary(bytes.into()),
            Message::Ping(bytes) => Self::Ping(bytes.into()),
            Message::Pong(bytes) => Self::Pong(bytes.into()),
            Message::Close(close) => Self::Close(close.map(|(code, reason)| (code, reason.into()))),
            Message::Fragment(_) => return None,
        })
    }
}

/// What a decoder makes of a stream that arrives in these pieces.
pub(super) fn hear<'a>(
    max_message: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Heard>, Result<(), FrameError>) {
    hear_as(Extension::None, max_message, pieces)
}

/// The same where this was agreed on.
pub(super) fn hear_as<'a>(
    extension: Extension,
    max_message: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Heard>, Result<(), FrameError>) {
    let mut decoder = Decoder::new(max_message, extension);
    let mut heard = Vec::new();
    for piece in pieces {
        let fed = decoder.feed(&mut piece.to_vec(), &mut |message| {
            heard.extend(Heard::of(message));
            ControlFlow::Continue(())
        });
        if fed.is_err() {
            return (heard, fed);
        }
    }
    (heard, Ok(()))
}

const MASK: Mask = [0x37, 0xfa, 0x21, 0x3d];
const HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";

fn masked(opcode: Opcode, payload: &[u8], fin: bool) -> Vec<u8> {
    let mut wire = BytesMut::new();
    encode_masked(opcode, payload, fin, MASK, &mut wire);
    wire.to_vec()
}

fn refused(bytes: &[u8]) -> FrameError {
    hear(1 << 16, [bytes]).1.unwrap_err()
}

#[test]
fn the_examples_of_rfc_6455_are_a_contract() {
    let mut wire = BytesMut::new();
    encode(Opcode::Text, b"Hello", &mut wire);
    encode(Opcode::Ping, b"Hello", &mut wire);
    encode(Opcode::Binary, &[7; 256], &mut wire);
    encode(Opcode::Binary, &[7; 65536], &mut wire);
    let (small, large) = wire.split_at(14 + 4 + 256);
    assert_eq!(small[..14], *b"\x81\x05Hello\x89\x05Hello");
    assert_eq!(small[14..20], *b"\x82\x7e\x01\x00\x07\x07");
    assert_eq!(large[..11], *b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00\x07");
    assert_eq!(*header(Opcode::Text, 3, false), *b"\x01\x03");
    assert_eq!(masked(Opcode::Text, b"Hello", true), HELLO);
    assert_eq!(hear(5, [HELLO]), (vec![Heard::Text("Hello".into())], Ok(())));
}

#[test]
fn several_frames_go_into_one_buffer() {
    let mut wire = BytesMut::new();
    wire.extend_from_slice(&PING);
    encode(Opcode::Text, b"", &mut wire);
    wire.extend_from_slice(&PONG);
    close(1012, "bye", &mut wire);
    assert_eq!(*wire, *b"\x89\0\x81\0\x8a\0\x88\x05\x03\xf4bye");
}

#[test]
fn a_close_reason_is_cut_at_a_character_to_fit() {
    let mut wire = BytesMut::new();
    close(1000, &"ä".repeat(100), &mut wire);
    assert_eq!(wire[..4], *b"\x88\x7c\x03\xe8");
    assert_eq!(wire.len(), 2 + 2 + 122);
}

#[test]
fn a_wrong_guess_at_the_length_makes_the_same_frame() {
    for len in [0, 125, 126, 65_535, 65_536] {
        for guess in [0, 125, 126, 65_535, 65_536] {
            let (mut told, mut guessed) = (BytesMut::from("before"), BytesMut::from("before"));
            encode(Opcode::Text, &vec![b'x'; len], &mut told);
            encode_with(Opcode::Text, guess, &mut guessed, |wire| wire.extend_from_slice(&vec![b'x'; len]));
            assert_eq!(told, guessed, "length {len} guessed as {guess}");
        }
    }
}

#[test]
fn a_whole_message_is_delivered_where_it_was_read() {
    let mut input = HELLO.to_vec();
    let range = input.as_ptr_range();
    let mut lies_within = false;
    let mut decoder = Decoder::new(5, Extension::None);
    let fed = decoder.feed(&mut input, &mut |message| {
        let Message::Text(text) = message else { panic!("{message:?}") };
        lies_within = range.contains(&text.as_ptr());
        ControlFlow::Continue(())
    });
    assert_eq!(fed, Ok(()));
    assert!(lies_within);
    assert_eq!(decoder.held(), 0);
}

#[test]
fn a_decoder_is_small_and_owns_no_heap_between_messages() {
    assert!(size_of::<Decoder>() <= 32);
    let mut decoder = Decoder::new(1 << 16, Extension::None);
    let message = masked(Opcode::Binary, &[1; 60_000], true);
    let mut count = 0;
    for piece in message.chunks(1000).chain([HELLO, &masked(Opcode::Ping, b"abc", true)]).flat_map(|p| p.chunks(7)) {
        decoder
            .feed(&mut piece.to_vec(), &mut |_| {
                count += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    assert_eq!((count, decoder.held()), (3, 0));
}

#[test]
fn an_announcement_costs_nothing_until_its_bytes_come() {
    let mut decoder = Decoder::new(1 << 30, Extension::None);
    let mut head = masked(Opcode::Binary, &[0; 70_000], true);
    head.truncate(20);
    decoder.feed(&mut head, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(decoder.held() < 512, "{} bytes", decoder.held());
}

#[test]
fn a_message_above_the_limit_fails_at_its_header_whole_or_in_fragments() {
    let whole = masked(Opcode::Text, b"123456", true);
    assert_eq!(hear(5, [&whole[..2]]).1, Err(FrameError::TooBig(5)));
    assert_eq!(hear(6, [&*whole]).1, Ok(()));
    let first = masked(Opcode::Text, b"123", false);
    let rest = masked(Opcode::Continuation, b"456", true);
    assert_eq!(hear(5, [&*first, &rest[..2]]).1, Err(FrameError::TooBig(5)));
    assert_eq!(hear(6, [&*first, &*rest]), (vec![Heard::Text("123456".into())], Ok(())));
    assert_eq!(hear(0, [b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff".as_slice()]).1, Err(FrameError::TooBig(0)));
}

#[test]
fn a_control_frame_is_no_message_to_the_limit() {
    assert_eq!(hear(0, [&*masked(Opcode::Ping, b"x", true)]), (vec![Heard::Ping(b"x".into())], Ok(())));
}

#[test]
fn a_changed_limit_holds_from_the_next_header() {
    let mut decoder = Decoder::new(5, Extension::None);
    let mut begun = HELLO.to_vec();
    let mut rest = begun.split_off(8);
    let count = &mut 0;
    let on = &mut |_: Message<'_>| {
        *count += 1;
        ControlFlow::Continue(())
    };
    decoder.feed(&mut begun, on).unwrap();
    decoder.set_limit(4);
    decoder.feed(&mut rest, on).unwrap();
    assert_eq!(decoder.feed(&mut HELLO.to_vec(), on), Err(FrameError::TooBig(4)));
    assert_eq!(*count, 1);
}

#[test]
fn after_an_end_nothing_more_is_understood() {
    let bye = masked(Opcode::Close, b"\x03\xe8bye", true);
    let ends: [(Vec<u8>, ControlFlow<()>); 3] = [
        (bye, ControlFlow::Continue(())),
        (HELLO.to_vec(), ControlFlow::Break(())),
        (b"\xff".to_vec(), ControlFlow::Continue(())),
    ];
    for (end, flow) in ends {
        let mut decoder = Decoder::new(5, Extension::None);
        let count = &mut 0;
        let on = &mut |_: Message<'_>| {
            *count += 1;
            flow
        };
        let broken = end == b"\xff";
        assert_eq!(decoder.feed(&mut [&end, HELLO].concat(), on).is_err(), broken);
        assert_eq!(decoder.feed(&mut HELLO.to_vec(), on), Ok(()));
        assert_eq!((*count, decoder.held()), (i32::from(!broken), 0));
    }
}

#[test]
fn control_frames_between_fragments_are_delivered_at_once() {
    let stream = [
        masked(Opcode::Text, "h\u{e4}".as_bytes().split_at(2).0, false),
        masked(Opcode::Ping, b"?", true),
        masked(Opcode::Continuation, b"", false),
        masked(Opcode::Pong, b"!", true),
        masked(Opcode::Continuation, "h\u{e4}".as_bytes().split_at(2).1, true),
    ]
    .concat();
    let expected = vec![Heard::Ping(b"?".into()), Heard::Pong(b"!".into()), Heard::Text("h\u{e4}".into())];
    assert_eq!(hear(64, [&*stream]), (expected.clone(), Ok(())));
    assert_eq!(hear(64, stream.chunks(1)), (expected, Ok(())));
}

#[test]
fn each_breach_of_the_rfc_is_named() {
    let named: [(&[u8], &str); 13] = [
        (b"\x81\x05Hello", "a client's frame must be masked"),
        (b"\xc1", "reserved bits are set, and no extension was agreed"),
        (b"\xa1", "reserved bits are set, and no extension was agreed"),
        (b"\x91", "reserved bits are set, and no extension was agreed"),
        (b"\x83", "a frame of an unknown opcode"),
        (b"\x8b", "a frame of an unknown opcode"),
        (b"\x09", "a fragmented control frame"),
        (b"\x89\xfe", "a control frame above 125 bytes"),
        (b"\x82\xfe\x00\x7d", "a length written longer than needed"),
        (b"\x82\xff\0\0\0\0\0\0\xff\xff", "a length written longer than needed"),
        (b"\x82\xff\x80\0\0\0\0\0\0\0", "a length with its highest bit set"),
        (b"\x80\x80\0\0\0\0", "a continuation of no message"),
        (b"\x01\x80\0\0\0\0\x82\x80\0\0\0\0", "a new message inside a fragmented one"),
    ];
    for (bytes, what) in named {
        assert_eq!(refused(bytes), FrameError::Protocol(what), "{bytes:?}");
        assert_eq!(Close::from(refused(bytes)).code(), 1002);
    }
}

#[test]
fn close_codes_are_those_that_a_peer_may_send() {
    for code in 0..=u16::MAX {
        let may = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let frame = masked(Opcode::Close, &code.to_be_bytes(), true);
        assert_eq!(hear(0, [&*frame]).1.is_ok(), may, "{code}");
    }
    assert_eq!(refused(&masked(Opcode::Close, b"\x03", true)), FrameError::Protocol("a close code of one byte"));
    assert_eq!(hear(0, [&*masked(Opcode::Close, b"", true)]).0, [Heard::Close(None)]);
}

#[test]
fn what_is_not_utf8_is_refused_where_no_next_fragment_could_mend_it() {
    assert_eq!(refused(&masked(Opcode::Text, b"\xc3", true)), FrameError::NotUtf8);
    assert_eq!(refused(&masked(Opcode::Text, b"\xff", false)), FrameError::NotUtf8);
    assert_eq!(refused(&masked(Opcode::Close, b"\x03\xe8\xff", true)), FrameError::NotUtf8);
    let cut = [masked(Opcode::Text, b"\xc3", false), masked(Opcode::Continuation, b"", true)].concat();
    assert_eq!(refused(&cut), FrameError::NotUtf8);
    assert_eq!(Close::from(FrameError::NotUtf8).code(), 1007);
    assert_eq!(Close::from(FrameError::TooBig(7)).code(), 1009);
}
