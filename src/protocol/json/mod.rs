//! One JSON object a frame, both ways; its bytes are a contract.

mod depth;
mod line;
mod read;
mod write;

use bytes::BytesMut;

use super::{Form, GapWord, Protocol};
use crate::close::Close;
use crate::command::{Command, Payload};
use crate::event::{Event, Refusal};
use crate::publication::Publication;

pub use depth::{MAX_DEPTH, is_shallow};
pub(super) use write::event as write_event;
pub(super) use write::object as write_object;

/// The language of `fanline.json`: `subscribe`, `publish` and `ping` from the client, `message` and the rest
/// from us.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

impl Protocol for Json {
    fn form(&self) -> Form {
        Form::Json
    }

    fn publication(&self, publication: &Publication, wire: &mut BytesMut) {
        write::publication(publication, wire);
    }

    fn event(&self, event: &Event<'_>, wire: &mut BytesMut) {
        write::event(event, wire);
    }

    fn says_live(&self) -> bool {
        true
    }

    fn on_gap(&self) -> GapWord {
        GapWord::Told
    }

    fn commands(&self, message: Payload, commands: &mut Vec<Result<Command, Refusal>>) -> Result<(), Close> {
        match message {
            Payload::Text(text) => read::commands(&text, commands),
            Payload::Binary(_) => {
                commands.push(Err(read::binary()));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
