//! A wire that keeps what passed in each direction, between a client and the gateway.

#![allow(dead_code, reason = "each test binary uses its own part of the fixture")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// What passed so far in one direction.
type Passed = Arc<Mutex<Vec<u8>>>;

/// The wire of one client.
pub struct Tap {
    address: SocketAddr,
    up: Passed,
    down: Passed,
}

/// A frame that passed.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its first byte: FIN, reserved bits, opcode.
    pub first: u8,
    /// Its payload, unmasked.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Whether it begins a compressed message.
    pub fn is_compressed(&self) -> bool {
        self.first & 0x40 != 0
    }

    /// Whether it carries a message, or a part of one.
    pub fn is_data(&self) -> bool {
        self.first & 0x0F < 8
    }
}

impl Tap {
    /// A wire to `gateway` for the first client that connects.
    pub fn to(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (up, down) = (Passed::default(), Passed::default());
        let tap = Self { address, up: up.clone(), down: down.clone() };
        thread::spawn(move || {
            let (client, _) = listener.accept().expect("a client");
            let gateway = TcpStream::connect(gateway).expect("the gateway");
            let back = (gateway.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
            thread::spawn(move || carry(back.0, back.1, &down));
            carry(client, gateway, &up);
        });
        tap
    }

    /// The URL of a path over this wire.
    pub fn ws_url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }

    /// A header line of the gateway's answer.
    pub fn answered(&self, name: &str) -> Option<String> {
        let (head, _) = split(&self.down);
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }

    /// The messages' frames that the client sent.
    pub fn sent(&self) -> Vec<Frame> {
        frames(&split(&self.up).1)
    }

    /// The messages' frames that the client got.
    pub fn got(&self) -> Vec<Frame> {
        frames(&split(&self.down).1)
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, passed: &Passed) {
    let mut chunk = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut chunk) {
        passed.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&chunk[..read]);
        if to.write_all(&chunk[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// The HTTP head and what followed it.
fn split(passed: &Passed) -> (String, Vec<u8>) {
    let bytes = passed.lock().unwrap_or_else(PoisonError::into_inner);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an HTTP head") + 4;
    (String::from_utf8_lossy(&bytes[..end]).into_owned(), bytes[end..].to_vec())
}

/// The whole data frames of a stream.
pub fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut all = Vec::new();
    while let Some((frame, rest)) = next(bytes) {
        bytes = rest;
        all.extend(frame.is_data().then_some(frame));
    }
    all
}

/// The frame that `bytes` begin with, if all of it is there.
pub fn next(bytes: &[u8]) -> Option<(Frame, &[u8])> {
    let [first, second, rest @ ..] = bytes else { return None };
    let (len, rest) = match second & 0x7F {
        126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), &rest[2..]),
        127 => (u64::from_be_bytes(*rest.first_chunk()?), &rest[8..]),
        short => (u64::from(short), rest),
    };
    let (mask, rest) = match second & 0x80 {
        0 => ([0; 4], rest),
        _ => (*rest.first_chunk()?, &rest[4..]),
    };
    let (payload, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Some((Frame { first: *first, payload }, rest))
}
