//! One listening socket: asks for its topic, then counts whole frames.

use crate::{
    crowd::inflate::Inflater,
    crowd::ledger::Ledger,
    crowd::server::Speech,
    crowd::socketio::{self, Word},
    crowd::tally::Message,
    wire::stamp::Stamp,
    wire::websocket::{self, BadFrame, Kind},
};
use nix::errno::Errno;
use std::{
    io::{self, Write},
    net::TcpStream,
};

/// A socket and what it has got.
pub struct Client {
    stream: TcpStream,
    pub audience: usize,
    /// Closed until the crowd opens it, once the socket is greeted.
    pub ledger: Ledger,
    /// The head of a frame (or of the handshake's answer) whose end has not come.
    carry: Vec<u8>,
    greeting: Greeting,
    /// Compressed messages are welcome only where they were offered.
    speech: Speech,
}

/// What a socket still waits for before it counts as listening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Greeting {
    /// The answer to the handshake, and behind it so many `subscribed`.
    Head {
        then: usize,
    },
    /// So many `subscribed`.
    Subscribed(usize),
    Done,
}

/// Why a socket's life ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    #[error("the server hung up")]
    HungUp,
    #[error("the server closed with code {0}")]
    Closed(u16),
    #[error("the server refused: `{0}`")]
    Refused(String),
    #[error("the server compressed what was not offered")]
    Compressed,
    #[error("{0}")]
    BadFrame(#[from] BadFrame),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Client {
    /// Sends the handshake on a fresh socket, for so many topics.
    pub fn ask(
        mut stream: TcpStream,
        request: &str,
        speech: Speech,
        topics: usize,
        audience: usize,
    ) -> Result<Self, End> {
        stream.write_all(request.as_bytes())?;
        // By plain, the 101 says that the topics are live; by json, an event for each says it; by Socket.IO, the answer
        // to joining.
        let then = match speech {
            Speech::Plain | Speech::Deflated => 0,
            Speech::Json => topics,
            Speech::SocketIo => 1,
        };
        let greeting = Greeting::Head { then };
        Ok(Self { stream, audience, ledger: Ledger::closed(), carry: Vec::new(), greeting, speech })
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The server has said that it listens.
    pub fn is_greeted(&self) -> bool {
        self.greeting == Greeting::Done
    }

    /// One read, and each stamped message that it completed.
    pub fn hear(&mut self, chunk: &mut [u8], inflater: &mut Inflater, message: impl FnMut(Message)) -> Result<(), End> {
        let kept = self.carry.len();
        chunk[..kept].copy_from_slice(&self.carry);
        let len = match nix::unistd::read(&self.stream, &mut chunk[kept..]) {
            Ok(0) => return Err(End::HungUp),
            Ok(len) => kept + len,
            Err(Errno::EAGAIN) => return Ok(()),
            Err(error) => return Err(End::Io(error.into())),
        };
        let mut bytes = &chunk[..len];
        if let Greeting::Head { then } = self.greeting {
            let Some(end) = websocket::head_end(bytes) else { return self.keep(bytes) };
            check_greeting(&bytes[..end])?;
            self.greeting = Greeting::after(then);
            bytes = &bytes[end..];
        }
        let done = self.count(bytes, inflater, message)?;
        self.keep(&bytes[done..])
    }

    fn count(&mut self, bytes: &[u8], inflater: &mut Inflater, mut message: impl FnMut(Message)) -> Result<usize, End> {
        let mut done = 0;
        while let Some(frame) = websocket::next_frame(&bytes[done..])? {
            let payload = &bytes[done..][frame.payload.clone()];
            let frame_bytes = frame.payload.end;
            done += frame_bytes;
            let (stamp, deflated) = match frame.kind {
                Kind::Message if self.speech == Speech::SocketIo => (self.hear_socketio(payload)?, false),
                Kind::Message => (Stamp::find(payload), false),
                Kind::Deflated if self.speech == Speech::Deflated => (inflater.stamp(payload), true),
                Kind::Deflated => return Err(End::Compressed),
                Kind::Ping => {
                    self.stream.write_all(&websocket::pong(payload))?;
                    continue;
                }
                Kind::Pong => continue,
                Kind::Close => {
                    return Err(End::Closed(payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))));
                }
            };
            match stamp {
                Some(stamp) => {
                    let arrival = self.ledger.enter(stamp.number);
                    message(Message { arrival, stamp, frame_bytes, deflated });
                }
                None => self.hear_event(payload),
            }
        }
        Ok(done)
    }

    fn hear_event(&mut self, payload: &[u8]) {
        if let Greeting::Subscribed(left) = self.greeting
            && payload.starts_with(b"{\"type\":\"subscribed\"")
        {
            self.greeting = Greeting::after(left - 1);
        }
    }

    fn hear_socketio(&mut self, message: &[u8]) -> Result<Option<Stamp>, End> {
        match socketio::read(message) {
            Word::Publication(text) => return Ok(Stamp::read(text)),
            Word::Greeting => self.greeting = Greeting::Done,
            Word::Answer(text) => self.stream.write_all(&websocket::text(text))?,
            Word::Refusal => return Err(End::Refused(String::from_utf8_lossy(message).into_owned())),
            Word::Other => {}
        }
        Ok(None)
    }

    /// Says goodbye as a browser's tab that is closed, and does not wait for an answer.
    pub fn part(mut self) {
        // It may have been hung up on already.
        let _ = self.stream.write_all(&websocket::GOING_AWAY);
    }

    fn keep(&mut self, rest: &[u8]) -> Result<(), End> {
        self.carry.clear();
        if rest.is_empty() {
            self.carry.shrink_to_fit();
        }
        self.carry.extend_from_slice(rest);
        Ok(())
    }
}

impl Greeting {
    fn after(subscribed: usize) -> Self {
        if subscribed == 0 { Self::Done } else { Self::Subscribed(subscribed) }
    }
}

fn check_greeting(head: &[u8]) -> Result<(), End> {
    let head = String::from_utf8_lossy(head);
    let accepted = websocket::header(&head, "sec-websocket-accept") == Some(websocket::ACCEPT);
    if head.starts_with("HTTP/1.1 101 ") && accepted {
        return Ok(());
    }
    Err(End::Refused(head.lines().next().unwrap_or_default().to_owned()))
}
