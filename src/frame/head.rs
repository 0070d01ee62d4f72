//! A frame's header, written and read.

use std::ops::Deref;

use super::{Extension, FrameError, MAX_CONTROL, Opcode};

/// The longest header a client sends: two bytes, eight of length, four of mask.
pub(super) const MAX_HEAD: usize = 14;

/// The bit of a header's first byte that says: this message is compressed (RSV1, RFC 7692 §6).
const COMPRESSED: u8 = 0x40;

/// The bytes of a header we write: 2, 4 or 10 of them.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    bytes: [u8; 10],
    len: u8,
}

impl Header {
    /// The shortest header of an unmasked frame of `len` bytes of payload.
    pub(super) fn new(opcode: Opcode, len: usize, fin: bool) -> Self {
        let mut bytes = [0; 10];
        bytes[0] = u8::from(fin) << 7 | opcode as u8;
        let long = (len as u64).to_be_bytes();
        let used = match len {
            0..=125 => {
                bytes[1] = long[7];
                2
            }
            126..=0xFFFF => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&long[6..]);
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..].copy_from_slice(&long);
                10
            }
        };
        Self { bytes, len: used }
    }

    /// The header of a compressed frame in the place of one that begins with `first`.
    pub(super) fn deflated(first: u8, len: usize) -> Self {
        let mut header = Self::new(Opcode::Continuation, len, false);
        header.bytes[0] = first | COMPRESSED;
        header
    }

    /// The header of the same frame when a mask follows it.
    pub(super) fn masked(mut self) -> Self {
        self.bytes[1] |= 0x80;
        self
    }
}

impl Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// What a client's header says; valid in itself, not yet in its place among others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) mask: [u8; 4],
    pub(super) len: usize,
}

/// What a header's first byte says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) opcode: Opcode,
    /// Whether its message is compressed; said on the first frame only.
    pub(super) compressed: bool,
    /// Whether its message ends with it.
    pub(super) fin: bool,
}

impl Head {
    /// Reads the header that `bytes` begin with and how many bytes it takes; none while it is cut short.
    /// `judge` says whether such a frame may come here, as soon as its kind and length are known: who
    /// sends no mask behind a length that is refused is told at once.
    ///
    /// # Errors
    /// What is wrong with it, as soon as that byte is there.
    pub(super) fn parse(
        bytes: &[u8],
        extension: Extension,
        judge: impl FnOnce(Kind, usize) -> Result<(), FrameError>,
    ) -> Result<Option<(Self, usize)>, FrameError> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        let kind = Kind::of(first, extension)?;
        let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
        let Some((len, rest)) = length(kind.opcode, second, rest)? else { return Ok(None) };
        judge(kind, len)?;
        let Some((&mask, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        Ok(Some((Self { kind, mask, len }, bytes.len() - rest.len())))
    }
}

impl Kind {
    /// Judges a header's first byte.
    fn of(first: u8, extension: Extension) -> Result<Self, FrameError> {
        let reserved = match (first & 0x70, extension) {
            (0, _) | (COMPRESSED, Extension::Deflate) => None,
            (_, Extension::None) => Some("reserved bits are set, and no extension was agreed"),
            (_, Extension::Deflate) => Some("reserved bits are set that permessage-deflate does not use"),
        };
        if let Some(what) = reserved {
            return Err(FrameError::Protocol(what));
        }
        let opcode = Opcode::of(first & 0x0F).ok_or(FrameError::Protocol("a frame of an unknown opcode"))?;
        let kind = Self { opcode, compressed: first & COMPRESSED != 0, fin: first & 0x80 != 0 };
        match opcode {
            Opcode::Text | Opcode::Binary => Ok(kind),
            _ if kind.compressed => Err(FrameError::Protocol("a compressed frame that begins no message")),
            control if control.is_control() && !kind.fin => Err(FrameError::Protocol("a fragmented control frame")),
            _ => Ok(kind),
        }
    }
}

/// Judges a header's second byte and reads the length it announces; none while that is cut short.
fn length(opcode: Opcode, second: u8, rest: &[u8]) -> Result<Option<(usize, &[u8])>, FrameError> {
    if second & 0x80 == 0 {
        return Err(FrameError::Protocol("a client's frame must be masked"));
    }
    let short = usize::from(second & 0x7F);
    if opcode.is_control() && short > MAX_CONTROL {
        return Err(FrameError::Protocol("a control frame above 125 bytes"));
    }
    let (len, least, rest) = match short {
        126 => match rest.split_first_chunk() {
            Some((len, rest)) => (u64::from(u16::from_be_bytes(*len)), 126, rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((len, rest)) => (u64::from_be_bytes(*len), 0x1_0000, rest),
            None => return Ok(None),
        },
        _ => return Ok(Some((short, rest))),
    };
    match len {
        0x8000_0000_0000_0000.. => Err(FrameError::Protocol("a length with its highest bit set")),
        _ if len < least => Err(FrameError::Protocol("a length written longer than needed")),
        // On a 32-bit machine what does not fit is above every limit anyhow.
        _ => Ok(Some((usize::try_from(len).unwrap_or(usize::MAX), rest))),
    }
}
