//! WebSocket frames of RFC 6455, compressed ones of RFC 7692: bytes ⇄ messages. Functions over bytes, no I/O,
//! no clocks.
//!
//! It is ours because no crate lets thousands of sockets share one encoded frame, or delivers a message from
//! the read buffer without a copy and keeps nothing between messages. tungstenite is the oracle of its tests.

mod decode;
mod deflate;
mod encode;
mod gather;
mod head;
mod mask;

use crate::close::Close;

pub use decode::Decoder;
pub use deflate::deflated;
pub use encode::{Mask, PING, PONG, close, encode, encode_masked, encode_with, header};
pub use head::Header;

/// The most bytes that a control frame carries (RFC 6455 §5.5).
pub const MAX_CONTROL: usize = 125;

/// What a frame is (RFC 6455 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// More of a message that an earlier frame began.
    Continuation = 0x0,
    /// Text, or the beginning of it.
    Text = 0x1,
    /// Bytes, or the beginning of them.
    Binary = 0x2,
    /// The last word.
    Close = 0x8,
    /// To be answered by a pong with the same bytes.
    Ping = 0x9,
    /// A sign of life.
    Pong = 0xA,
}

/// What was agreed on beyond RFC 6455.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extension {
    /// Nothing.
    #[default]
    None,
    /// permessage-deflate (RFC 7692) without context takeover, in either direction.
    Deflate,
}

/// One message, in the buffer it was read into where it came in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// To be answered by a pong with the same bytes.
    Ping(&'a [u8]),
    /// A sign of life.
    Pong(&'a [u8]),
    /// The peer says goodbye, with its code and reason if it gave one.
    Close(Option<(u16, &'a str)>),
    /// No message yet: a frame of this many bytes, as they came, whose message goes on in the next one.
    Fragment(usize),
}

/// Why a stream of bytes is not what a client may send. Nothing after it can be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// RFC 6455 or RFC 7692 was broken.
    #[error("{0}")]
    Protocol(&'static str),
    /// A text message or a close reason is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// A message is announced, or inflates, above the limit, in bytes.
    #[error("a message above {0} bytes")]
    TooBig(usize),
}

impl From<FrameError> for Close {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Protocol(what) => Self::Protocol(what),
            FrameError::NotUtf8 => Self::NotUtf8,
            FrameError::TooBig(limit) => Self::TooBig(limit),
        }
    }
}

impl Opcode {
    /// Reads the low four bits of a frame's first byte; none for the reserved ones.
    fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    /// Whether it may stand between the fragments of a message, and never be one.
    fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

#[cfg(test)]
mod tests;
