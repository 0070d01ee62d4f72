//! A bare socket that speaks json: thousands of them cost next to nothing.

#![allow(dead_code, reason = "each test binary uses its own part of the fixture")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::client::HANDSHAKE;
use crate::gateway::{Gateway, PATIENCE};

/// One socket, and what of it was read and not yet understood.
pub struct Bare {
    socket: TcpStream,
    unread: Vec<u8>,
    /// Each read takes so much at most …
    chunk: usize,
    /// … and rests so long behind it.
    rest: Duration,
}

impl Bare {
    /// Connects and is welcomed.
    #[track_caller]
    pub fn open(gateway: &Gateway) -> Self {
        Self::over(TcpStream::connect(gateway.public()).unwrap())
    }

    /// The same over a socket that stands already.
    #[track_caller]
    pub fn over(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let mut bare = Self { socket, unread: Vec::new(), chunk: 16 * 1024, rest: Duration::ZERO };
        let head =
            format!("GET /ws HTTP/1.1\r\nHost: fanline\r\n{HANDSHAKE}Sec-WebSocket-Protocol: fanline.json\r\n\r\n");
        bare.socket.write_all(head.as_bytes()).unwrap();
        let end = loop {
            match bare.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => bare.read(),
            }
        };
        assert!(bare.unread.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&bare.unread));
        bare.unread.drain(..end);
        let welcome = bare.told();
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        bare
    }

    /// From now on it reads slowly.
    pub fn dawdle(&mut self, chunk: usize, rest: Duration) {
        (self.chunk, self.rest) = (chunk, rest);
    }

    /// Sends a command of at most 64 KiB.
    #[track_caller]
    pub fn say(&mut self, command: &Value) {
        let text = command.to_string();
        let mut frame = vec![0x81];
        match u8::try_from(text.len()).ok().filter(|&length| length < 126) {
            Some(length) => frame.push(0x80 | length),
            None => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
            }
        }
        // A mask of zeros leaves the text as it is.
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.socket.write_all(&frame).unwrap();
    }

    /// The next text, pings passed over.
    #[track_caller]
    pub fn text(&mut self) -> String {
        loop {
            if let Some((opcode, from, to)) = self.frame() {
                let payload = String::from_utf8(self.unread[from..to].to_vec()).unwrap();
                self.unread.drain(..to);
                match opcode {
                    1 => return payload,
                    9 => continue,
                    other => panic!("opcode {other}: {payload}"),
                }
            }
            self.read();
        }
    }

    /// The next text, JSON.
    #[track_caller]
    pub fn told(&mut self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The first frame, if it is all there: its opcode, and where its payload begins and ends.
    fn frame(&self) -> Option<(u8, usize, usize)> {
        let bytes = &self.unread;
        let (length, from) = match *bytes.get(1)? {
            126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
            127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?, 10),
            short => (usize::from(short), 2),
        };
        (bytes.len() >= from + length).then_some((bytes[0] & 0x0F, from, from + length))
    }

    #[track_caller]
    fn read(&mut self) {
        std::thread::sleep(self.rest);
        let before = self.unread.len();
        self.unread.resize(before + self.chunk, 0);
        let read = self.socket.read(&mut self.unread[before..]).expect("something to read");
        self.unread.truncate(before + read);
        assert!(read > 0, "the gateway hung up");
    }
}
