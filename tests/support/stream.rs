//! A blocking client of an event stream, with a small parser of its own and a deadline for each read.

#![allow(dead_code, reason = "each test binary uses its own part of the fixture")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::gateway::{Answer, Gateway, PATIENCE};

/// One stream.
pub struct Stream {
    socket: TcpStream,
    /// The head of the answer.
    pub head: Answer,
    /// What came and is not taken out of its chunk yet.
    wire: Vec<u8>,
    /// What stood inside and is not understood yet.
    unread: Vec<u8>,
    chunks: Chunks,
    /// The last `id:`: what a browser would say when it comes back.
    pub id: Option<String>,
    /// The last `retry:`, in ms.
    pub retry: Option<u64>,
    /// How many comments came.
    pub comments: usize,
}

/// How far a stream's chunks have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunks {
    /// There are none: the stream's end delimits it.
    None,
    Open,
    /// The last one came.
    Over,
}

/// What a page would hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The event's type.
    pub event: String,
    /// Its data.
    pub data: String,
}

impl Heard {
    /// Its data, which must be JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Stream {
    /// Opens a stream.
    #[track_caller]
    pub fn open(gateway: &Gateway, path: &str) -> Self {
        Self::over(TcpStream::connect(gateway.public()).unwrap(), path)
    }

    /// Opens a stream over a socket that stands already.
    #[track_caller]
    pub fn over(socket: TcpStream, path: &str) -> Self {
        let mut stream = Self::begin(socket, path);
        stream.opened();
        stream
    }

    /// Asks for a stream and leaves the answer unread.
    #[track_caller]
    pub fn begin(socket: TcpStream, path: &str) -> Self {
        Self::begin_with(socket, path, "")
    }

    /// Comes back to a stream as a browser does: with the last id.
    #[track_caller]
    pub fn again(gateway: &Gateway, path: &str, id: &str) -> Self {
        let line = format!("Last-Event-ID: {id}\r\n");
        let mut stream = Self::begin_with(TcpStream::connect(gateway.public()).unwrap(), path, &line);
        stream.opened();
        stream
    }

    /// The stream that answers a request of one's own.
    #[track_caller]
    pub fn answering(socket: TcpStream) -> Self {
        let mut stream = Self::of(socket);
        stream.opened();
        stream
    }

    #[track_caller]
    fn begin_with(mut socket: TcpStream, path: &str, lines: &str) -> Self {
        write!(socket, "GET {path} HTTP/1.1\r\nHost: fanline\r\nAccept: text/event-stream\r\n{lines}\r\n").unwrap();
        Self::of(socket)
    }

    fn of(socket: TcpStream) -> Self {
        let head = Answer { status: 0, head: String::new(), body: String::new() };
        Self {
            socket,
            head,
            wire: Vec::new(),
            unread: Vec::new(),
            chunks: Chunks::None,
            id: None,
            retry: None,
            comments: 0,
        }
    }

    /// Reads the head, which must be that of a stream.
    #[track_caller]
    pub fn opened(&mut self) {
        let end = loop {
            match self.wire.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break end,
                None => assert!(self.read(Instant::now() + PATIENCE), "no head: {:?}", self.wire),
            }
        };
        let head = String::from_utf8(self.wire.drain(..end + 4).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(status, 200, "{head}{}", String::from_utf8_lossy(&self.wire));
        let chunked = head.to_lowercase().contains("\r\ntransfer-encoding: chunked\r\n");
        self.chunks = if chunked { Chunks::Open } else { Chunks::None };
        self.head = Answer { status, head, body: String::new() };
    }

    /// The next event.
    #[track_caller]
    pub fn next(&mut self) -> Heard {
        self.within(PATIENCE).expect("another event")
    }

    /// The next event, if one comes in time and before the end.
    #[track_caller]
    pub fn within(&mut self, time: Duration) -> Option<Heard> {
        let deadline = Instant::now() + time;
        loop {
            self.unwrap();
            self.skip_comments();
            while let Some(end) = self.unread.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<_> = self.unread.drain(..end + 2).collect();
                self.skip_comments();
                if let Some(heard) = self.understand(std::str::from_utf8(&block).unwrap()) {
                    return Some(heard);
                }
            }
            if !self.read(deadline) {
                return None;
            }
        }
    }

    /// Comments between two events.
    fn skip_comments(&mut self) {
        while self.unread.first() == Some(&b':')
            && let Some(end) = self.unread.iter().position(|&byte| byte == b'\n')
        {
            self.unread.drain(..=end);
            self.comments += 1;
        }
    }

    /// The data of the next event, which must be a message.
    #[track_caller]
    pub fn text(&mut self) -> String {
        let heard = self.next();
        assert_eq!(heard.event, "message", "{heard:?}");
        heard.data
    }

    /// Takes what came out of its whole chunks.
    #[track_caller]
    fn unwrap(&mut self) {
        if self.chunks == Chunks::None {
            self.unread.append(&mut self.wire);
        }
        while let Some(end) = self.wire.windows(2).position(|two| two == b"\r\n") {
            assert_eq!(self.chunks, Chunks::Open, "more behind the last chunk: {:?}", self.wire);
            let size = usize::from_str_radix(std::str::from_utf8(&self.wire[..end]).unwrap(), 16).unwrap();
            let behind = end + 2 + size;
            if self.wire.len() < behind + 2 {
                return;
            }
            assert_eq!(&self.wire[behind..behind + 2], b"\r\n", "a chunk's end");
            self.unread.extend_from_slice(&self.wire[end + 2..behind]);
            self.wire.drain(..behind + 2);
            self.chunks = if size == 0 { Chunks::Over } else { Chunks::Open };
        }
    }

    /// Everything until the stream's end.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<Heard> {
        let all: Vec<_> = std::iter::from_fn(|| self.within(PATIENCE)).collect();
        assert!(self.is_over(), "the stream goes on: {all:?}");
        let polite = all.last().is_some_and(|last| last.event == "goodbye");
        assert!(!polite || self.chunks != Chunks::Open, "a goodbye without the last chunk");
        all
    }

    /// Whether the gateway has ended it.
    fn is_over(&mut self) -> bool {
        !matches!(self.socket.read(&mut [0]), Err(error) if is_for_now(error.kind()))
    }

    /// The socket below.
    pub fn raw(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Reads something more; not so where nothing comes in time, or ever.
    fn read(&mut self, deadline: Instant) -> bool {
        let mut chunk = [0; 64 * 1024];
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left)).unwrap();
            match self.socket.read(&mut chunk) {
                Ok(0) => return false,
                Ok(read) => {
                    self.wire.extend_from_slice(&chunk[..read]);
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
                Err(error) if is_for_now(error.kind()) && Instant::now() >= deadline => return false,
                Err(error) if is_for_now(error.kind()) => {}
                Err(error) => panic!("the stream broke: {error}"),
            }
        }
    }

    /// One block, up to its empty line: an event, or what none is.
    fn understand(&mut self, block: &str) -> Option<Heard> {
        let (mut event, mut data) = (String::new(), None::<String>);
        for line in block.lines().filter(|line| !line.is_empty()) {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => self.id = Some(value.to_owned()),
                "event" => event = value.to_owned(),
                "data" => data = Some(data.map_or_else(|| value.to_owned(), |data| data + "\n" + value)),
                "retry" => self.retry = Some(value.parse().unwrap()),
                other => panic!("an unknown field {other:?} in {block:?}"),
            }
        }
        let event = if event.is_empty() { "message".to_owned() } else { event };
        data.map(|data| Heard { event, data })
    }
}

/// Whether a read may be tried again.
fn is_for_now(error: ErrorKind) -> bool {
    matches!(error, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
