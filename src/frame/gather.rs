//! A message that comes in pieces.

use super::head::Kind;
use super::{FrameError, Opcode};

/// A data message of which not all is here yet.
#[derive(Debug)]
pub(super) struct Gathering {
    kind: Kind,
    /// How many bytes of a text are known to be whole characters.
    good: usize,
    bytes: Vec<u8>,
}

impl Gathering {
    /// A message whose first frame is of this kind.
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, good: 0, bytes: Vec::new() }
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
    /// What was judged before is not judged again, however small the fragments. What is compressed is no text yet.
    ///
    /// # Errors
    /// [`FrameError::NotUtf8`] when no next fragment could mend it.
    pub(super) fn judge(&mut self) -> Result<(), FrameError> {
        if self.kind.opcode != Opcode::Text || self.kind.compressed {
            return Ok(());
        }
        match std::str::from_utf8(&self.bytes[self.good..]) {
            Ok(text) => self.good += text.len(),
            Err(error) if error.error_len().is_some() => return Err(FrameError::NotUtf8),
            Err(error) => self.good += error.valid_up_to(),
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

    /// The kind of its first frame.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The memory it holds, in bytes.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }
}
