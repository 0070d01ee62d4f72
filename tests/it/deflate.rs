//! permessage-deflate over real sockets: what is agreed on, what then goes over the wire, and what a client can
//! break or blow up with it.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use flate2::{Compress, Compression, FlushCompress};
use miniz_oxide::inflate::decompress_to_vec;

use crate::client::{Client, HANDSHAKE, header, knock};
use crate::gateway::{Gateway, PATIENCE, eventually};
use crate::tap::{self, Frame};

const ON: &str = "heartbeat.every = \"off\"\n[deflate]\nenabled = true\n[limits]\nmessage = \"4KiB\"\nburst = 100000\n\
                  [[routes]]\npath = \"/ws\"\non_message = \"publish\"\ninclude_sender = true\n\
                  [[routes]]\npath = \"/off\"\ndeflate = false\n[[topics]]\nmatch = \"*\"\npublish = \"anyone\"\n";

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

fn agreed(gateway: &Gateway, path: &str, offer: &str) -> Option<String> {
    let answer = knock(gateway, path, offer);
    assert_eq!(answer.status, 101);
    header(&answer, "sec-websocket-extensions")
}

/// A socket that agreed on compression, and whose frames are ours to make.
struct Raw {
    socket: TcpStream,
    unread: Vec<u8>,
}

impl Raw {
    fn open(gateway: &Gateway, path: &str) -> Self {
        let mut socket = TcpStream::connect(gateway.public()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: fanline\r\n{HANDSHAKE}{OFFER}\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(String::from_utf8(head).unwrap().contains(AGREED));
        Self { socket, unread: Vec::new() }
    }

    #[track_caller]
    fn next(&mut self) -> Frame {
        loop {
            if let Some((frame, rest)) = tap::next(&self.unread) {
                self.unread = rest.to_vec();
                return frame;
            }
            let mut chunk = [0; 4096];
            let read = self.socket.read(&mut chunk).unwrap();
            assert!(read > 0, "hung up");
            self.unread.extend_from_slice(&chunk[..read]);
        }
    }

    /// The next message's text, and whether it came compressed; a pong is passed over.
    #[track_caller]
    fn text(&mut self) -> (String, bool) {
        let frame = std::iter::repeat_with(|| self.next()).find(|frame| frame.first != 0x8A).unwrap();
        assert!(frame.is_data(), "{frame:?}");
        let bytes = match frame.is_compressed() {
            true => decompress_to_vec(&[&*frame.payload, &[0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF]].concat()).unwrap(),
            false => frame.payload.clone(),
        };
        (String::from_utf8(bytes).unwrap(), frame.is_compressed())
    }

    /// The code of the close and its reason.
    #[track_caller]
    fn closed(&mut self) -> (u16, String) {
        let frame = self.next();
        assert_eq!(frame.first, 0x88, "{frame:?}");
        (
            u16::from_be_bytes([frame.payload[0], frame.payload[1]]),
            String::from_utf8(frame.payload[2..].into()).unwrap(),
        )
    }

    /// Sends what it is able to: who is closed in the middle is not waited for.
    fn send(&mut self, bytes: &[u8]) {
        match self.socket.write_all(bytes) {
            Err(error) if !matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                panic!("{error}")
            }
            _ => {}
        }
    }
}

/// A frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len();
    let mut frame = vec![first];
    match u16::try_from(len).unwrap() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&long.to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

fn deflated(payload: &[u8]) -> Vec<u8> {
    let (mut raw, mut out) = (Compress::new(Compression::best(), false), Vec::with_capacity(payload.len() + 100));
    raw.compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
    out.strip_suffix(&[0, 0, 0xFF, 0xFF]).unwrap().to_vec()
}

#[test]
fn an_offer_is_accepted_only_where_the_route_says_so_and_it_suits_us() {
    let gateway = Gateway::with_toml(ON, &[]).ready();
    assert_eq!(agreed(&gateway, "/ws", OFFER).as_deref(), Some(AGREED));
    assert_eq!(agreed(&gateway, "/off", OFFER), None);
    assert_eq!(agreed(&gateway, "/ws", ""), None);
    let small = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10";
    assert_eq!(agreed(&gateway, "/ws", &format!("{small}\r\n")), None);
    assert_eq!(agreed(&gateway, "/ws", &format!("{small}\r\n{OFFER}")).as_deref(), Some(AGREED));
    let large = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=15\r\n";
    assert_eq!(agreed(&gateway, "/ws", large), Some(format!("{AGREED}; server_max_window_bits=15")));
    let off = Gateway::start(&[] as &[&str]).ready();
    assert_eq!(agreed(&off, "/ws", OFFER), None, "off by default");
}

#[test]
fn each_client_gets_the_form_it_agreed_on_and_the_same_text() {
    let gateway = Gateway::with_toml(ON, &["--set", "replica.shards=2"]).ready();
    let mut squeezed: Vec<_> = (0..4).map(|_| Raw::open(&gateway, "/ws?topic=t")).collect();
    let mut bare = Client::open(&gateway.ws_url("/off?topic=t"));
    let long = "Straße 😀 ".repeat(1000);
    for text in [&long, "short", &long] {
        gateway.publish("t", text);
        for client in &mut squeezed {
            assert_eq!(client.text(), (text.to_owned(), text == long));
        }
        assert_eq!(bare.text(), text);
    }
}

#[test]
fn a_client_may_compress_any_message_in_any_fragments() {
    let gateway = Gateway::with_toml(ON, &[]).ready();
    let mut client = Raw::open(&gateway, "/ws?topic=t");
    let text = "ä".repeat(2048);
    let payload = deflated(text.as_bytes());
    client.send(&frame(0xC1, &payload));
    client.send(&frame(0x81, b"bare"));
    client.send(&frame(0x41, &payload[..1]));
    client.send(&frame(0x89, b""));
    client.send(&frame(0x00, &payload[1..5]));
    client.send(&frame(0x80, &payload[5..]));
    client.send(&frame(0xC1, &[0]));
    assert_eq!(client.text().0, text);
    assert_eq!(client.text().0, "bare");
    assert_eq!(client.text().0, text);
    assert_eq!(client.text(), (String::new(), false));
    // What other servers take, though the RFC has other forms for it: a last block at the end, and nothing at all.
    client.send(&frame(0xC1, b"\xf3\x48\xcd\xc9\xc9\x07\x00"));
    client.send(&frame(0xC1, b""));
    assert_eq!((client.text().0, client.text().0), ("Hello".into(), String::new()));
}

#[test]
fn who_breaks_rfc_7692_is_closed_with_its_code_and_told_why() {
    let gateway = Gateway::with_toml(ON, &[]).ready();
    let cases: [(&str, Vec<u8>, u16); 7] = [
        ("no DEFLATE data", frame(0xC1, &[0xFF; 20]), 1002),
        ("data that breaks off", frame(0xC1, &deflated("ein Text, ein Text".as_bytes())[..8]), 1002),
        ("a compressed ping", frame(0xC9, b""), 1002),
        ("a compressed continuation", [frame(0x41, &[0]), frame(0xC0, b"")].concat(), 1002),
        ("another reserved bit", frame(0xA1, b""), 1002),
        ("a text that is not UTF-8", frame(0xC1, &deflated(&[0xC3, 0x28])), 1007),
        ("a byte too many", frame(0xC1, &deflated(&[b'a'; 4097])), 1009),
    ];
    for (what, bytes, code) in &cases {
        let mut client = Raw::open(&gateway, "/ws?topic=a");
        client.send(bytes);
        let (found, reason) = client.closed();
        assert_eq!(found, *code, "{what}: {reason}");
        assert!(!reason.is_empty(), "{what} is told why");
    }
    let mut client = Client::open(&gateway.ws_url("/off?topic=a"));
    client.raw().write_all(&frame(0xC1, &deflated(b"hi"))).unwrap();
    assert_eq!(client.closed().0, 1002, "nothing was agreed on");
}

#[test]
fn bombs_cost_their_senders_the_connection_and_the_gateway_nothing() {
    let gateway = Gateway::with_toml(&ON.replace("4KiB", "64KiB"), &[]).ready();
    let mut bystander = Raw::open(&gateway, "/ws?topic=t");
    let memory = || {
        let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let bomb = deflated(&vec![0; 32 << 20]);
    assert!(bomb.len() < 33_000, "{} bytes for 32 MiB", bomb.len());
    let strew = |part: &[u8]| frame(0x00, part);
    let scattered = [frame(0x41, b""), bomb.chunks(1000).flat_map(strew).collect(), frame(0x80, b"")].concat();
    // Warmed up by the largest message that is let in, so that what a thread keeps is there.
    let harmless = "a".repeat(64 << 10);
    let mut welcome = Raw::open(&gateway, "/ws?topic=a");
    welcome.send(&frame(0xC1, &deflated(harmless.as_bytes())));
    assert!(welcome.text().0 == harmless);
    drop(welcome);
    let before = memory();
    for bytes in [frame(0xC2, &bomb), scattered].iter().cycle().take(200) {
        let mut client = Raw::open(&gateway, "/ws?topic=a");
        client.send(bytes);
        assert_eq!(client.closed().0, 1009);
    }
    assert!(memory() < before + 8192, "{} KiB more than {before} KiB", memory() - before);
    eventually("all are gone", || (gateway.metric("fanline_subscriptions") as u64 == 1).then_some(()));
    gateway.publish("t", "unharmed");
    assert_eq!(bystander.text().0, "unharmed");
}

#[test]
fn a_reload_switches_it_for_those_who_come_and_leaves_those_who_agreed() {
    let gateway = Gateway::with_toml(ON, &[]).ready();
    let mut early = Raw::open(&gateway, "/ws?topic=t");
    fs::write(gateway.config(), ON.replace("enabled = true", "enabled = false")).unwrap();
    gateway.signal("HUP");
    eventually("offers are declined", || agreed(&gateway, "/ws", OFFER).is_none().then_some(()));
    let long = "tea? ".repeat(100);
    gateway.publish("t", &long);
    assert_eq!(early.text(), (long.clone(), true));
    early.send(&frame(0xC1, &deflated(long.as_bytes())));
    assert_eq!(early.text(), (long, true));
}
