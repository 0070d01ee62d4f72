//! One listening socket: asks for its topic, then counts whole frames.

use crate::{
    crowd::ledger::{Arrival, Ledger},
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
    pub ledger: Ledger,
    /// The head of a frame (or of the handshake's answer) whose end has not come.
    carry: Vec<u8>,
    greeted: bool,
}

/// Why a socket's life ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    #[error("the server hung up")]
    HungUp,
    #[error("the server closed with code {0}")]
    Closed(u16),
    #[error("the handshake was answered `{0}`")]
    Refused(String),
    #[error("{0}")]
    BadFrame(#[from] BadFrame),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Client {
    /// Sends the handshake on a fresh socket.
    pub fn ask(mut stream: TcpStream, request: &str, audience: usize, ledger: Ledger) -> Result<Self, End> {
        stream.write_all(request.as_bytes())?;
        Ok(Self { stream, audience, ledger, carry: Vec::new(), greeted: false })
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The server has answered 101.
    pub fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// One read, and each stamped message that it completed.
    pub fn hear(&mut self, chunk: &mut [u8], message: impl FnMut(Arrival, Stamp)) -> Result<(), End> {
        let kept = self.carry.len();
        chunk[..kept].copy_from_slice(&self.carry);
        let len = match nix::unistd::read(&self.stream, &mut chunk[kept..]) {
            Ok(0) => return Err(End::HungUp),
            Ok(len) => kept + len,
            Err(Errno::EAGAIN) => return Ok(()),
            Err(error) => return Err(End::Io(error.into())),
        };
        let mut bytes = &chunk[..len];
        if !self.greeted {
            let Some(end) = websocket::head_end(bytes) else { return self.keep(bytes) };
            check_greeting(&bytes[..end])?;
            self.greeted = true;
            bytes = &bytes[end..];
        }
        let done = self.count(bytes, message)?;
        self.keep(&bytes[done..])
    }

    fn count(&mut self, bytes: &[u8], mut message: impl FnMut(Arrival, Stamp)) -> Result<usize, End> {
        let mut done = 0;
        while let Some(frame) = websocket::next_frame(&bytes[done..])? {
            let payload = &bytes[done..][frame.payload.clone()];
            done += frame.payload.end;
            match frame.kind {
                Kind::Message => {
                    if let Some(stamp) = Stamp::read(payload) {
                        message(self.ledger.enter(stamp.number), stamp);
                    }
                }
                Kind::Ping => self.stream.write_all(&websocket::pong(payload))?,
                Kind::Pong => {}
                Kind::Close => {
                    return Err(End::Closed(payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))));
                }
            }
        }
        Ok(done)
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

fn check_greeting(head: &[u8]) -> Result<(), End> {
    let head = String::from_utf8_lossy(head);
    let accepted = websocket::header(&head, "sec-websocket-accept") == Some(websocket::ACCEPT);
    if head.starts_with("HTTP/1.1 101 ") && accepted {
        return Ok(());
    }
    Err(End::Refused(head.lines().next().unwrap_or_default().to_owned()))
}
