//! What a connection makes of the bytes that its client sends.

use std::ops::ControlFlow;

use crate::clock;
use crate::close::Close;
use crate::frame::{Decoder, Extension, Message};
use crate::protocol::Hears;
use crate::session::Claim;

/// How much a client may send that has nothing to say: a browser sends nothing, a proxy at most a request too many.
const IGNORED: usize = 16 * 1024;

/// What becomes of what a client sends.
pub(super) enum Inbound {
    /// Its frames are understood; where a message is not all here, it has its share of the room for those.
    Frames(Decoder, Option<Box<Claim>>),
    /// It is passed over, up to so many bytes more.
    Ignored(usize),
    /// The connection ends: what is here of a message is given back.
    Over,
}

impl Inbound {
    pub fn of(hears: Hears, max_message: usize, extension: Extension) -> Self {
        match hears {
            Hears::Frames => Self::Frames(Decoder::new(max_message, extension), None),
            Hears::Nothing => Self::Ignored(IGNORED),
        }
    }

    /// Takes bytes, and calls `on` with each message that they complete. Where they leave one unfinished, [`settle`]
    /// comes next.
    ///
    /// [`settle`]: Self::settle
    pub fn feed(
        &mut self,
        bytes: &mut [u8],
        max_message: usize,
        on: &mut impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<(), Close> {
        match self {
            Self::Frames(decoder, claim) => {
                // A reload may have changed it.
                decoder.set_limit(max_message);
                decoder.feed(bytes, &mut |message| {
                    if matches!(message, Message::Text(_) | Message::Binary(_)) {
                        // It is all here. What may follow it begins anew.
                        *claim = None;
                    }
                    on(message)
                })?;
                Ok(())
            }
            Self::Ignored(left) => {
                let rest = left.checked_sub(bytes.len());
                *left = rest.ok_or_else(|| Close::BadRequest("a client of an event stream sends nothing".into()))?;
                Ok(())
            }
            Self::Over => Ok(()),
        }
    }

    /// Claims room for what is not all here, and gives back what no longer needs any.
    ///
    /// # Errors
    /// There is none.
    pub fn settle(&mut self, room: impl FnOnce() -> Box<Claim>) -> Result<(), Close> {
        let Self::Frames(decoder, claim) = self else { return Ok(()) };
        match decoder.held() {
            0 => *claim = None,
            held => claim.get_or_insert_with(room).hold(held)?,
        }
        Ok(())
    }

    /// A client that waits for our work on what it sent before is not to blame for what we have not read.
    pub fn excuse(&mut self) {
        if let Self::Frames(_, Some(claim)) = self {
            claim.excuse(clock::now_ms());
        }
    }

    /// What the end of the client's bytes means: without frames it is the only goodbye that there is.
    pub fn end(&self) -> Close {
        match self {
            Self::Frames(..) | Self::Over => Close::Lost,
            Self::Ignored(_) => Close::Client(1000),
        }
    }
}
