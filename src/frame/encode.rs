//! Messages → frames. What a server sends is not masked, so one frame serves all its clients.

use bytes::{BufMut, BytesMut};

use super::{Header, MAX_CONTROL, Opcode, mask};

/// A ping without bytes: one for every socket.
pub const PING: [u8; 2] = [0x89, 0];

/// A pong without bytes.
pub const PONG: [u8; 2] = [0x8A, 0];

/// What a client's frame is masked with.
pub type Mask = [u8; 4];

/// The header of an unmasked frame with `len` bytes of payload; `fin` on the last of a message.
#[must_use]
pub fn header(opcode: Opcode, len: usize, fin: bool) -> Header {
    Header::new(opcode, len, fin)
}

/// Appends one complete, unmasked frame. A control frame's payload has at most [`MAX_CONTROL`] bytes.
pub fn encode(opcode: Opcode, payload: &[u8], wire: &mut BytesMut) {
    debug_assert!(!opcode.is_control() || payload.len() <= MAX_CONTROL);
    let header = Header::new(opcode, payload.len(), true);
    wire.reserve(header.len() + payload.len());
    wire.put_slice(&header);
    wire.put_slice(payload);
}

/// Appends one complete, unmasked frame whose payload `write` appends; `write` only ever appends.
///
/// `expected` is its guess at the payload's length in bytes. Where the guess calls for a header of another
/// size, the payload is moved by the difference.
pub fn encode_with(opcode: Opcode, expected: usize, wire: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let guess = Header::new(opcode, expected, true);
    let start = wire.len();
    wire.reserve(guess.len() + expected);
    wire.put_slice(&guess);
    write(wire);
    let begun = start + guess.len();
    let len = wire.len() - begun;
    let header = Header::new(opcode, len, true);
    let body = start + header.len();
    if body != begun {
        wire.resize(wire.len().max(body + len), 0);
        wire.copy_within(begun..begun + len, body);
        wire.truncate(body + len);
    }
    wire[start..body].copy_from_slice(&header);
}

/// Appends a close frame; a reason above 123 bytes is cut at a character.
pub fn close(code: u16, reason: &str, wire: &mut BytesMut) {
    let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL - 2)];
    wire.put_slice(&Header::new(Opcode::Close, 2 + reason.len(), true));
    wire.put_u16(code);
    wire.put_slice(reason.as_bytes());
}

/// Appends one frame as a client sends it: for tests and load.
pub fn encode_masked(opcode: Opcode, payload: &[u8], fin: bool, mask: Mask, wire: &mut BytesMut) {
    wire.put_slice(&Header::new(opcode, payload.len(), fin).masked());
    wire.put_slice(&mask);
    let start = wire.len();
    wire.put_slice(payload);
    mask::apply(&mut wire[start..], mask, 0);
}
