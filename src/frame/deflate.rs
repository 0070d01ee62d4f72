//! Compressed messages of RFC 7692, each by itself: nothing is remembered from one message to the next, so one
//! compressed frame serves all clients, and an idle connection holds no window.

use std::cell::Cell;

use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::FrameError;
use super::head::Header;

/// How hard we try, of 9. Against 6, JSON of 1 KiB gets 3 % larger and costs about the same, of 512 KiB 10 % larger
/// at half the time. 1 fits no codes to the text: JSON gets a quarter to a half larger.
const LEVEL: u32 = 3;

/// What ends each message we compress and is cut off it (RFC 7692 §7.2.1).
const CUT: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// What was cut off, and a last block: only a whole message without one of its own ends with it.
const END: [u8; 9] = [0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF];

/// The most streams, each begun anew behind a last block, in one message: for two bytes of its sender each costs us as
/// much as some hundred bytes do. Nobody is known to send more than one.
const STREAMS: usize = 16;

/// How much of its buffer a pooled inflater or deflater keeps: the default of the largest message.
const KEPT: usize = 64 * 1024;

/// How much an inflated message is given at first.
const FIRST_ROOM: usize = 4 * 1024;

thread_local! {
    /// One for each thread that ever compressed, about 400 KiB.
    static DEFLATER: Cell<Option<Box<Deflater>>> = const { Cell::new(None) };
    /// One for each thread that ever got a compressed message, about 50 KiB and what it keeps. It is here
    /// whenever no message is being inflated.
    static INFLATER: Cell<Option<Box<Inflater>>> = const { Cell::new(None) };
}

/// The compressed twin of one whole unmasked data frame; none where it would be no smaller.
#[must_use]
pub fn deflated(frame: &[u8]) -> Option<Bytes> {
    let (&first, &short) = (frame.first()?, frame.get(1)?);
    let head = match short {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let payload = frame.get(head..)?;
    let mut deflater = DEFLATER.take().unwrap_or_default();
    let twin = deflater.deflate(payload).map(|body| {
        let header = Header::deflated(first, body.len());
        let mut twin = BytesMut::with_capacity(header.len() + body.len());
        twin.put_slice(&header);
        twin.put_slice(body);
        twin.freeze()
    });
    deflater.out.clear();
    deflater.out.shrink_to(KEPT);
    DEFLATER.set(Some(deflater));
    twin
}

/// Hands the inflated `message` over, in a buffer that is nobody's afterwards.
///
/// # Errors
/// [`FrameError::TooBig`] at the first byte above `limit`, for which no room is made;
/// [`FrameError::Protocol`] where it is no whole compressed message.
pub(super) fn inflate<T>(message: &[u8], limit: usize, on: impl FnOnce(&[u8]) -> T) -> Result<T, FrameError> {
    let mut inflater = INFLATER.take().unwrap_or_default();
    let inflated = inflater.inflate(message, limit).map(|()| on(&inflater.buffer[..inflater.filled]));
    inflater.buffer.truncate(KEPT);
    inflater.buffer.shrink_to_fit();
    INFLATER.set(Some(inflater));
    inflated
}

/// The most bytes that a compressed message of at most `limit` bytes has: where nothing can be saved, deflaters
/// add no more than this to it (zlib's own bound is an eighth and some). What has more is refused unread.
pub(super) fn compressed_limit(limit: usize) -> usize {
    limit.saturating_add(limit / 7).saturating_add(64)
}

struct Deflater {
    raw: Compress,
    out: Vec<u8>,
}

impl Default for Deflater {
    fn default() -> Self {
        Self { raw: Compress::new(Compression::new(LEVEL), false), out: Vec::new() }
    }
}

impl Deflater {
    /// The compressed payload, without what is cut off; none where it is no shorter.
    fn deflate(&mut self, payload: &[u8]) -> Option<&[u8]> {
        self.raw.reset();
        self.out.clear();
        // Stops here where it would not get shorter; the rest is found by the next `reset`.
        self.out.reserve_exact(payload.len() + CUT.len());
        let status = self.raw.compress_vec(payload, &mut self.out, FlushCompress::Sync);
        let body = self.out.strip_suffix(&CUT)?;
        let whole = status.is_ok() && self.raw.total_in() == payload.len() as u64;
        (whole && body.len() < payload.len()).then_some(body)
    }
}

struct Inflater {
    raw: Decompress,
    /// Room for what comes out; all of it is initialised.
    buffer: Vec<u8>,
    /// How much of it came out.
    filled: usize,
    /// Whether a last block ended. More may follow it, as a stream of its own (RFC 7692 §7.2.3.4).
    ended: bool,
    /// How many of those were begun.
    streams: usize,
}

impl Default for Inflater {
    fn default() -> Self {
        Self { raw: Decompress::new(false), buffer: Vec::new(), filled: 0, ended: false, streams: 0 }
    }
}

impl Inflater {
    fn inflate(&mut self, message: &[u8], limit: usize) -> Result<(), FrameError> {
        // Also forgets the window: nobody can refer to what another client sent.
        self.raw.reset(false);
        (self.filled, self.ended, self.streams) = (0, false, 1);
        self.feed(message, limit)?;
        // What ends with a last block is whole, also without the octet behind it that RFC 7692 §7.2.3.4 asks for, and
        // nothing at all is the empty message: peers take both.
        if message.is_empty() || self.ended {
            return Ok(());
        }
        self.feed(&END, limit)?;
        match self.ended {
            true => Ok(()),
            false => Err(FrameError::Protocol("a compressed message breaks off")),
        }
    }

    /// Takes all of `input`.
    fn feed(&mut self, mut input: &[u8], limit: usize) -> Result<(), FrameError> {
        loop {
            if self.ended {
                if input.is_empty() {
                    return Ok(());
                }
                if self.streams == STREAMS {
                    return Err(FrameError::Protocol("a compressed message of more than 16 streams"));
                }
                self.streams += 1;
                self.raw.reset(false);
            }
            let (read, room, made) = self.step(input, limit)?;
            input = &input[read..];
            // What is left inside may fill more than the room there was.
            if input.is_empty() && made < room {
                return Ok(());
            }
            if read == 0 && made == 0 && !self.ended {
                return Err(FrameError::Protocol(NO_DEFLATE));
            }
        }
    }

    /// One call of the inflater: how much it read, how much room it had, and how much it made.
    fn step(&mut self, input: &[u8], limit: usize) -> Result<(usize, usize, usize), FrameError> {
        let mut above = [0];
        let room = match self.filled < limit {
            true => room(&mut self.buffer, self.filled, limit),
            false => &mut above,
        };
        let size = room.len();
        let (read, made) = (self.raw.total_in(), self.raw.total_out());
        let status = self.raw.decompress(input, room, FlushDecompress::None);
        self.ended = status.map_err(|_| FrameError::Protocol(NO_DEFLATE))? == Status::StreamEnd;
        let (read, made) = (self.raw.total_in() - read, self.raw.total_out() - made);
        // Both are at most as long as the slices given.
        let (read, made) = (usize::try_from(read).unwrap_or(0), usize::try_from(made).unwrap_or(0));
        if made > 0 && self.filled >= limit {
            return Err(FrameError::TooBig(limit));
        }
        self.filled += made;
        Ok((read, size, made))
    }
}

/// Room for more below `limit`, where that is not reached; it at most doubles with what really came out.
fn room(buffer: &mut Vec<u8>, filled: usize, limit: usize) -> &mut [u8] {
    if filled == buffer.len() {
        let size = (filled * 2).max(FIRST_ROOM).min(limit);
        buffer.reserve_exact(size - filled);
        buffer.resize(size, 0);
    }
    let end = buffer.len().min(limit);
    &mut buffer[filled..end]
}

const NO_DEFLATE: &str = "a compressed message is no DEFLATE data";

/// How much room a new inflater makes for a message, in bytes.
#[cfg(test)]
pub(super) fn room_made(message: &[u8], limit: usize) -> usize {
    let mut inflater = Inflater::default();
    // Whether it is refused, others ask.
    let _ = inflater.inflate(message, limit);
    inflater.buffer.capacity()
}

/// How much room this thread's inflater keeps, in bytes.
#[cfg(test)]
pub(super) fn room_kept() -> usize {
    let inflater = INFLATER.take();
    let kept = inflater.as_ref().map_or(0, |inflater| inflater.buffer.capacity());
    INFLATER.set(inflater);
    kept
}
