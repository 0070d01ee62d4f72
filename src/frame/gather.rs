//! A message that comes in pieces.

use super::{FrameError, Opcode};

/// A data message of which not all is here yet.
#[derive(Debug)]
pub(super) struct Gathering {
    kind: Kind,
    bytes: Vec<u8>,
}

/// Text or not.
#[derive(Debug)]
enum Kind {
    /// Text, of which this many bytes are known to be whole characters.
    Text(usize),
    /// Bytes.
    Binary,
}

impl Gathering {
    /// A message whose first frame has this opcode.
    pub(super) fn new(opcode: Opcode) -> Self {
        let kind = if opcode == Opcode::Text { Kind::Text(0) } else { Kind::Binary };
        Self { kind, bytes: Vec::new() }
    }

    /// Appends `more`. Room at most doubles with what really came and stays within `limit`: an announcement
    /// alone costs nothing, and a thousand small fragments are not copied a thousand times.
    pub(super) fn append(&mut self, more: &[u8], limit: usize) {
        let needed = self.bytes.len() + more.len();
        if needed > self.bytes.capacity() {
            let room = (self.bytes.capacity() * 2).min(limit).max(needed);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(more);
    }

    /// A fragment ended: text must be good so far, but for a character that the next fragment may complete.
    /// What was judged before is not judged again, however small the fragments.
    ///
    /// # Errors
    /// [`FrameError::NotUtf8`] when no next fragment could mend it.
    pub(super) fn judge(&mut self) -> Result<(), FrameError> {
        let Kind::Text(good) = &mut self.kind else { return Ok(()) };
        match std::str::from_utf8(&self.bytes[*good..]) {
            Ok(text) => *good += text.len(),
            Err(error) if error.error_len().is_some() => return Err(FrameError::NotUtf8),
            Err(error) => *good += error.valid_up_to(),
        }
        Ok(())
    }

    /// How many bytes are here.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes that are here.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The opcode it began with.
    pub(super) fn opcode(&self) -> Opcode {
        match self.kind {
            Kind::Text(_) => Opcode::Text,
            Kind::Binary => Opcode::Binary,
        }
    }

    /// The memory it holds, in bytes.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }
}
