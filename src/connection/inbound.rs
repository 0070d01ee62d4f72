//! What a connection makes of the bytes that its client sends.

use std::ops::ControlFlow;

use crate::close::Close;
use crate::frame::{Decoder, Extension, Message};
use crate::protocol::Hears;

/// How much a client may send that has nothing to say: a browser sends nothing, a proxy at most a request too many.
const IGNORED: usize = 16 * 1024;

/// What becomes of what a client sends.
pub(super) enum Inbound {
    /// Its frames are understood.
    Frames(Decoder),
    /// It is passed over, up to so many bytes more.
    Ignored(usize),
}

impl Inbound {
    pub fn of(hears: Hears, max_message: usize, extension: Extension) -> Self {
        match hears {
            Hears::Frames => Self::Frames(Decoder::new(max_message, extension)),
            Hears::Nothing => Self::Ignored(IGNORED),
        }
    }

    /// Takes bytes, and calls `on` with each message that they complete.
    pub fn feed(
        &mut self,
        bytes: &mut [u8],
        max_message: usize,
        on: &mut impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<(), Close> {
        match self {
            Self::Frames(decoder) => {
                // A reload may have changed it.
                decoder.set_limit(max_message);
                decoder.feed(bytes, on).map_err(Close::from)
            }
            Self::Ignored(left) => {
                let rest = left.checked_sub(bytes.len());
                *left = rest.ok_or_else(|| Close::BadRequest("a client of an event stream sends nothing".into()))?;
                Ok(())
            }
        }
    }

    /// What the end of the client's bytes means: without frames it is the only goodbye that there is.
    pub fn end(&self) -> Close {
        match self {
            Self::Frames(_) => Close::Lost,
            Self::Ignored(_) => Close::Client(1000),
        }
    }
}
