//! Compressed messages: the RFC's examples, two other implementations as oracles, and bounds.

use bytes::BytesMut;
use flate2::{Compress, Compression, FlushCompress};
use miniz_oxide::inflate::decompress_to_vec;
use proptest::prelude::*;

use super::super::deflate::{compressed_limit, inflate, room_kept, room_made};
use super::super::*;
use super::oracle::{cuts, pieces};
use super::{Heard, hear_as, masked};
use crate::close::Close;

/// A frame of a client with RSV1.
fn packed(opcode: Opcode, payload: &[u8], fin: bool) -> Vec<u8> {
    let mut frame = masked(opcode, payload, fin);
    frame[0] |= 0x40;
    frame
}

fn hear(limit: usize, stream: &[u8]) -> (Vec<Heard>, Result<(), FrameError>) {
    hear_as(Extension::Deflate, limit, [stream])
}

fn text(text: &str) -> (Vec<Heard>, Result<(), FrameError>) {
    (vec![Heard::Text(text.into())], Ok(()))
}

/// How a part of a message ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Open,
    Flushed,
    Last,
    /// As `Last`; where the message ends with it, without the octet that RFC 7692 wants behind it.
    Bare,
}

/// The payload of one message as a client may compress it: parts that end in different ways, and nothing that
/// refers to an earlier message.
fn compressed(parts: &[(Vec<u8>, End)], level: u32) -> Vec<u8> {
    let (mut raw, mut out) = (Compress::new(Compression::new(level), false), Vec::new());
    let mut run = |raw: &mut Compress, mut input: &[u8], flush| loop {
        out.reserve(1024);
        let before = raw.total_in();
        raw.compress_vec(input, &mut out, flush).unwrap();
        input = &input[usize::try_from(raw.total_in() - before).unwrap()..];
        if input.is_empty() && out.len() < out.capacity() {
            return;
        }
    };
    let mut last = End::Open;
    for (part, end) in parts {
        last = *end;
        match end {
            End::Open => run(&mut raw, part, FlushCompress::None),
            End::Flushed => run(&mut raw, part, FlushCompress::Sync),
            End::Last | End::Bare => {
                run(&mut raw, part, FlushCompress::Finish);
                raw.reset();
            }
        }
    }
    match last {
        End::Last => out.push(0),
        End::Bare => {}
        End::Open | End::Flushed => {
            run(&mut raw, b"", FlushCompress::Sync);
            out.truncate(out.strip_suffix(&[0, 0, 0xFF, 0xFF]).unwrap().len());
        }
    }
    out
}

fn whole(payload: &[u8], level: u32) -> Vec<u8> {
    compressed(&[(payload.to_vec(), End::Open)], level)
}

/// What another inflater makes of a payload of ours.
fn inflated(payload: &[u8]) -> Vec<u8> {
    decompress_to_vec(&[payload, &[0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF]].concat()).unwrap()
}

fn unmasked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut wire = BytesMut::new();
    encode(opcode, payload, &mut wire);
    wire.to_vec()
}

#[test]
fn the_examples_of_rfc_7692_are_understood() {
    let payloads: [&[u8]; 4] = [
        b"\xf2\x48\xcd\xc9\xc9\x07\x00",
        b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
    ];
    for payload in payloads {
        assert_eq!(hear(5, &packed(Opcode::Text, payload, true)), text("Hello"), "{payload:x?}");
    }
    let fragments =
        [packed(Opcode::Text, b"\xf2\x48\xcd", false), masked(Opcode::Continuation, b"\xc9\xc9\x07\0", true)];
    assert_eq!(hear(5, &fragments.concat()), text("Hello"));
    assert_eq!(hear(0, &packed(Opcode::Text, b"\0", true)), text(""));
}

/// What `ws`, `websockets` and browsers take, though RFC 7692 has other forms for it.
#[test]
fn a_last_block_may_end_a_message_and_an_empty_payload_is_the_empty_message() {
    assert_eq!(hear(5, &packed(Opcode::Text, b"\xf3\x48\xcd\xc9\xc9\x07\x00", true)), text("Hello"));
    assert_eq!(hear(0, &packed(Opcode::Text, b"\x03\x00", true)), text(""));
    let twice = b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00";
    assert_eq!(hear(10, &packed(Opcode::Text, twice, true)), text("HelloHello"));
    assert_eq!(hear(0, &packed(Opcode::Text, b"", true)), text(""));
    let fragments = [packed(Opcode::Text, b"", false), masked(Opcode::Continuation, b"", true)];
    assert_eq!(hear(0, &fragments.concat()), text(""));
}

#[test]
fn a_message_cannot_refer_to_an_earlier_one() {
    let hello = packed(Opcode::Text, b"\xf2\x48\xcd\xc9\xc9\x07\x00", true);
    // The RFC's second Hello with context takeover.
    let again = packed(Opcode::Text, b"\xf2\x00\x11\x00\x00", true);
    let (heard, end) = hear(5, &[hello, again].concat());
    assert_eq!((heard, end), (text("Hello").0, Err(FrameError::Protocol("a compressed message is no DEFLATE data"))));
    // Nor can a stream within a message refer to the one before its last block.
    let within = packed(Opcode::Text, b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00", true);
    assert_eq!(hear(64, &within).1, Err(FrameError::Protocol("a compressed message is no DEFLATE data")));
}

#[test]
fn each_breach_of_rfc_7692_is_named() {
    let no_deflate = "a compressed message is no DEFLATE data";
    let begins = "a compressed frame that begins no message";
    let named: [(Vec<u8>, &str); 7] = [
        (packed(Opcode::Text, b"\xff\xff\xff", true), no_deflate),
        (packed(Opcode::Ping, b"", true), begins),
        (packed(Opcode::Close, b"", true), begins),
        ([masked(Opcode::Text, b"a", false), packed(Opcode::Continuation, b"b", true)].concat(), begins),
        ([packed(Opcode::Text, b"\0", false), packed(Opcode::Continuation, b"", true)].concat(), begins),
        (b"\xa1".into(), "reserved bits are set that permessage-deflate does not use"),
        (b"\xd1".into(), "reserved bits are set that permessage-deflate does not use"),
    ];
    for (stream, what) in named {
        let (heard, end) = hear(64, &stream);
        assert_eq!((heard.len(), end), (0, Err(FrameError::Protocol(what))), "{stream:x?}");
        assert_eq!(Close::from(end.unwrap_err()).code(), 1002);
    }
    assert!(super::hear(64, [&*packed(Opcode::Text, b"\0", true)]).1.is_err(), "nothing was agreed");
}

#[test]
fn a_message_that_breaks_off_is_refused_wherever_it_does() {
    // At level 0 the first byte alone is the empty message; so is no byte.
    for level in [1, 6, 9] {
        let payload = whole("ein Text, der sich wiederholt, ein Text".repeat(3).as_bytes(), level);
        for len in 1..payload.len() {
            let (heard, end) = hear(1 << 16, &packed(Opcode::Text, &payload[..len], true));
            assert!(heard.is_empty() && end.is_err(), "level {level}, {len} of {} bytes: {heard:?}", payload.len());
        }
    }
}

#[test]
fn utf8_is_judged_after_inflation() {
    let stream = packed(Opcode::Text, &whole(b"\xc3\x28", 6), true);
    assert_eq!(hear(64, &stream).1, Err(FrameError::NotUtf8));
    let bytes = whole("ä€😀".repeat(9).as_bytes(), 6);
    for at in 0..bytes.len() {
        let (begin, rest) = bytes.split_at(at);
        let stream = [packed(Opcode::Text, begin, false), masked(Opcode::Continuation, rest, true)].concat();
        assert_eq!(hear(200, &stream), text(&"ä€😀".repeat(9)));
    }
}

#[test]
fn a_bomb_is_refused_at_the_first_byte_above_the_limit_and_gets_no_room_for_it() {
    let bomb = whole(&vec![0; 1 << 20], 9);
    assert!(bomb.len() < 1100, "{} bytes", bomb.len());
    for limit in [1, 1000, 5000, 65_536, (1 << 20) - 1] {
        // One frame, many fragments, and several streams in one message.
        let fragments = bomb.chunks(100).flat_map(|part| masked(Opcode::Continuation, part, false));
        let fragmented: Vec<u8> = packed(Opcode::Binary, b"", false).into_iter().chain(fragments).collect();
        let fragmented = [fragmented, masked(Opcode::Continuation, b"", true)].concat();
        let streams = compressed(&[(vec![0; 1 << 19], End::Last), (vec![0; 1 << 19], End::Last)], 9);
        for stream in [packed(Opcode::Binary, &bomb, true), fragmented, packed(Opcode::Binary, &streams, true)] {
            let refused = hear(limit, &stream);
            assert_eq!(refused, (Vec::new(), Err(FrameError::TooBig(limit))), "limit {limit}");
        }
    }
    assert_eq!(hear(1 << 20, &packed(Opcode::Binary, &bomb, true)).0, [Heard::Binary(vec![0; 1 << 20])]);
    assert_eq!(Close::from(FrameError::TooBig(1)).code(), 1009);
    for limit in [0, 1, 1000, 5000, 65_536, 1 << 20] {
        assert!(room_made(&bomb, limit) <= limit, "limit {limit}");
    }
    assert!(room_kept() <= 64 * 1024, "{} bytes are kept of a MiB", room_kept());
}

#[test]
fn what_never_ends_is_refused_by_its_length_on_the_way_as_soon_as_that_is_known() {
    let limit = 700;
    let most = compressed_limit(limit);
    // Blocks without a byte in them, for ever.
    let empty = [0, 0, 0, 0xFF, 0xFF].repeat(most / 5 + 1);
    let whole = packed(Opcode::Text, &empty, true);
    assert_eq!(hear(limit, &whole[..4]).1, Err(FrameError::TooBig(limit)));
    let first = packed(Opcode::Text, &empty[..most], false);
    assert_eq!(
        hear(limit, &[first, masked(Opcode::Continuation, b"x", true)[..2].to_vec()].concat()).1,
        Err(FrameError::TooBig(limit))
    );
}

#[test]
fn a_decoder_of_compressed_messages_holds_what_came_and_nothing_between() {
    let payload = whole(&noise(3000), 6);
    let mut decoder = Decoder::new(3000, Extension::Deflate);
    for byte in packed(Opcode::Binary, &payload, true) {
        let fed = decoder.feed(&mut [byte], &mut |_| std::ops::ControlFlow::Continue(()));
        assert_eq!(fed, Ok(()));
        assert!(decoder.held() <= compressed_limit(3000) + 256, "{} bytes", decoder.held());
    }
    assert_eq!(decoder.held(), 0);
    assert!(size_of::<Decoder>() <= 32);
}

#[test]
fn what_does_not_get_smaller_has_no_twin() {
    assert!(deflated(&unmasked(Opcode::Text, &[b'a'; 100])).is_some());
    assert_eq!(deflated(&unmasked(Opcode::Binary, &noise(5000))), None, "too dense");
    assert_eq!(deflated(&unmasked(Opcode::Text, b"tea")), None, "too small");
    assert_eq!(deflated(&unmasked(Opcode::Text, b"")), None, "empty");
}

/// Bytes that nobody can compress.
fn noise(len: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| rng.u8(..)).take(len).collect()
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-d ]{0,300}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (any::<u8>(), 0..70_000_usize).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn parts() -> impl Strategy<Value = Vec<(Vec<u8>, End)>> {
    let end = prop_oneof![Just(End::Open), Just(End::Flushed), Just(End::Last), Just(End::Bare)];
    prop::collection::vec((part(), end), 0..5)
}

/// A last block costs its sender two bytes, and begins a stream anew.
#[test]
fn a_message_of_last_blocks_alone_is_refused_soon() {
    let message = |blocks: usize| inflate(&b"\x03\x00".repeat(blocks), 1 << 16, <[u8]>::len);
    assert_eq!((message(1), message(16)), (Ok(0), Ok(0)));
    let refused = Err(FrameError::Protocol("a compressed message of more than 16 streams"));
    assert_eq!((message(17), message(32 * 1024)), (refused, refused));
}

proptest! {
    #[test]
    fn what_a_client_compresses_is_heard_however_flushed_fragmented_and_cut(
        messages in prop::collection::vec((parts(), cuts()), 1..4), level in 0..=9_u32, cuts in cuts(),
    ) {
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for (parts, fragments) in messages {
            let payload = compressed(&parts, level);
            let fragments = pieces(&payload, &fragments);
            for (place, fragment) in fragments.iter().enumerate() {
                let fin = place + 1 == fragments.len();
                stream.extend(match place {
                    0 => packed(Opcode::Binary, fragment, fin),
                    _ => masked(Opcode::Continuation, fragment, fin),
                });
                stream.extend(masked(Opcode::Ping, b"", true));
                expected.extend((!fin).then_some(Heard::Ping(Vec::new())));
            }
            expected.push(Heard::Binary(parts.into_iter().flat_map(|(part, _)| part).collect()));
            expected.push(Heard::Ping(Vec::new()));
            stream.extend(masked(Opcode::Text, b"as it is", true));
            expected.push(Heard::Text("as it is".into()));
        }
        prop_assert_eq!(hear_as(Extension::Deflate, 1 << 20, pieces(&stream, &cuts)), (expected, Ok(())));
    }

    #[test]
    fn what_we_compress_another_inflater_reads_and_it_is_smaller(payload in part(), text: bool) {
        let frame = unmasked(if text { Opcode::Text } else { Opcode::Binary }, &payload);
        let Some(twin) = deflated(&frame) else { return Ok(()) };
        prop_assert!(twin.len() < frame.len());
        let head = super::super::header(if text { Opcode::Text } else { Opcode::Binary }, 0, true)[0] | 0x40;
        prop_assert_eq!(twin[0], head);
        let (start, len) = match twin[1] {
            126 => (4, usize::from(u16::from_be_bytes([twin[2], twin[3]]))),
            127 => (10, usize::try_from(u64::from_be_bytes(twin[2..10].try_into().unwrap())).unwrap()),
            short => (2, usize::from(short)),
        };
        prop_assert_eq!(twin.len(), start + len);
        prop_assert_eq!(inflated(&twin[start..]), payload);
    }

    #[test]
    fn room_for_a_message_is_room_for_it_compressed(payload in prop::collection::vec(any::<u8>(), 0..5000), level in 0..=9_u32) {
        let stream = packed(Opcode::Binary, &whole(&payload, level), true);
        prop_assert_eq!(hear(payload.len(), &stream), (vec![Heard::Binary(payload)], Ok(())));
    }

    #[test]
    fn the_limit_holds_to_the_byte(payload in part(), limit in 0..70_000_usize) {
        let inflated = inflate(&whole(&payload, 6), limit, <[u8]>::to_vec);
        match payload.len() <= limit {
            true => prop_assert_eq!(inflated, Ok(payload)),
            false => prop_assert_eq!(inflated, Err(FrameError::TooBig(limit))),
        }
    }

    #[test]
    fn noise_is_inflated_within_the_limit_or_refused_and_its_cuts_change_nothing(
        noise: Vec<u8>, cuts in cuts(), limit in 0..2000_usize,
    ) {
        let stream = packed(Opcode::Binary, &noise, true);
        let heard = hear(limit, &stream);
        if let [Heard::Binary(bytes)] = &*heard.0 {
            prop_assert!(bytes.len() <= limit);
        }
        prop_assert_eq!(hear_as(Extension::Deflate, limit, pieces(&stream, &cuts)), heard);
        // What was refused left nothing behind.
        prop_assert_eq!(hear(5, &packed(Opcode::Text, b"\xf2\x48\xcd\xc9\xc9\x07\x00", true)), text("Hello"));
    }
}
