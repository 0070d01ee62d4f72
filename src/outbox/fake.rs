//! A socket for tests: it takes as many bytes as it is given room for, and shows what it got.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::BytesMut;
use parking_lot::Mutex;
use serde_json::Value;

use super::{Run, RunFrame, Terms, Total, Wire};
use crate::frame::Extension;
use crate::metrics::Metrics;
use crate::protocol::Protocol;
use crate::publication::{Header, Publication};
use crate::settings::{OnFull, RuleIndex};
use crate::topic::Topic;

/// A socket with room for so many bytes.
#[derive(Default)]
pub struct Pipe(Mutex<Held>);

#[derive(Default)]
struct Held {
    room: usize,
    broken: bool,
    writes: usize,
    taken: Vec<u8>,
}

impl Pipe {
    pub fn with_room(room: usize) -> Self {
        Self(Mutex::new(Held { room, ..Held::default() }))
    }

    pub fn give_room(&self, bytes: usize) {
        let room = &mut self.0.lock().room;
        *room = room.saturating_add(bytes);
    }

    pub fn has_room(&self) -> bool {
        let held = self.0.lock();
        held.broken || held.room > 0
    }

    pub fn break_down(&self) {
        self.0.lock().broken = true;
    }

    /// How many writes took anything.
    pub fn writes(&self) -> usize {
        self.0.lock().writes
    }

    pub fn taken(&self) -> Vec<u8> {
        self.0.lock().taken.clone()
    }

    /// What came out so far: whole frames only.
    pub fn frames(&self) -> Vec<Frame> {
        frames(&self.taken())
    }

    /// As texts, without their frames.
    pub fn texts(&self) -> Vec<String> {
        self.frames().into_iter().map(|frame| String::from_utf8(frame.payload).unwrap()).collect()
    }
}

impl Wire for Pipe {
    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut held = self.0.lock();
        if held.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if held.room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<_>>();
        let taken = bytes.len().min(held.room);
        held.room -= taken;
        held.writes += 1;
        held.taken.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }
}

/// One frame as a client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub compressed: bool,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The code of a close frame.
    pub fn close_code(&self) -> Option<u16> {
        let code = *self.payload.first_chunk()?;
        (self.opcode == 8).then(|| u16::from_be_bytes(code))
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap_or_default()
    }
}

/// Cuts a server's bytes into frames; anything but whole ones fails the test.
pub fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (len, rest) = match second {
            126 => (usize::from(u16::from_be_bytes(*rest.first_chunk().unwrap())), &rest[2..]),
            127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk().unwrap())).unwrap(), &rest[8..]),
            short => (usize::from(*short), rest),
        };
        assert!(len <= rest.len(), "a frame is cut: {len} bytes announced, {} there", rest.len());
        assert_eq!(first & 0x80, 0x80, "no frame begins here: {first:#x}");
        frames.push(Frame { opcode: first & 0xF, compressed: first & 0x40 != 0, payload: rest[..len].to_vec() });
        bytes = &rest[len..];
    }
    assert!(bytes.is_empty(), "a frame is cut in its header");
    frames
}

pub fn terms(protocol: Box<dyn Protocol>, bytes: usize, messages: usize, total: &Arc<Total>) -> Arc<Terms> {
    terms_with(Extension::None, protocol, bytes, messages, total)
}

pub fn terms_with(
    extension: Extension,
    protocol: Box<dyn Protocol>,
    bytes: usize,
    messages: usize,
    total: &Arc<Total>,
) -> Arc<Terms> {
    Arc::new(Terms { protocol, extension, bytes, messages, total: total.clone(), metrics: Arc::new(Metrics::new()) })
}

pub fn topic(name: &str) -> Topic {
    Topic::parse(name).unwrap()
}

pub fn publication(name: &str, key: Option<&str>, payload: impl Into<bytes::Bytes>) -> Arc<Publication> {
    let header = key.map(|key| Box::new(Header { key: Some(key.into()), ..Header::default() }));
    Arc::new(Publication::new(topic(name), header, payload.into(), std::time::Instant::now()))
}

/// Publications of one topic, encoded together, under a rule.
pub fn run(protocol: &dyn Protocol, rule: (u16, OnFull), publications: &[Arc<Publication>]) -> Run {
    let mut wire = BytesMut::new();
    let encode = |publication: &Arc<Publication>| {
        protocol.publication(publication, &mut wire);
        RunFrame::new(wire.len(), publication.clone())
    };
    let frames = publications.iter().map(encode).collect();
    Run { joined: wire.freeze(), frames, rule: (RuleIndex(rule.0), rule.1) }
}
