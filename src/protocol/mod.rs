//! A client's wire language: bytes ⇄ commands and events. No sockets, no clocks.

mod json;
mod plain;
mod sse;

use bytes::{BufMut, BytesMut};

pub use json::{Json, MAX_DEPTH, is_shallow};
pub use plain::Plain;
pub use sse::Sse;

use crate::close::Close;
use crate::command::{Command, Payload};
use crate::event::{Event, Refusal};
use crate::frame;
use crate::publication::Publication;

/// Appends an event as the json protocol's object, without a frame: for answers over HTTP.
pub fn json_object(event: &Event<'_>, wire: &mut BytesMut) {
    json::write_object(event, wire);
}

/// Whether a message is what clients of json send, wherever it came in.
#[must_use]
pub fn reads_as_command(message: Payload) -> bool {
    let mut commands = Vec::new();
    Json.commands(message, &mut commands).is_ok() && commands.iter().any(Result::is_ok)
}

/// A client's wire language.
pub trait Protocol: Send + Sync + 'static {
    /// Which of the encoded forms of a publication its clients share.
    fn form(&self) -> Form;

    /// What its clients send once their connection stands.
    fn hears(&self) -> Hears {
        Hears::Frames
    }

    /// Appends one publication as it leaves the socket: a complete frame.
    fn publication(&self, publication: &Publication, wire: &mut BytesMut);

    /// Appends one event as it leaves the socket: complete frames, or nothing where the language has no
    /// word for it.
    fn event(&self, event: &Event<'_>, wire: &mut BytesMut);

    /// Appends a publication's frame once more, for a client that is told with every message where it stands on several
    /// topics: `id` takes the place of the publication's own position.
    fn signed(&self, frame: &[u8], _id: &str, wire: &mut BytesMut) {
        wire.put_slice(frame);
    }

    /// Appends where the client stands, without a message: nothing where the language does not say it.
    fn stands(&self, _id: &str, _wire: &mut BytesMut) {}

    /// Appends the last words to a client: what the language says about it, and the close frame where it has one.
    fn farewell(&self, close: &Close, wire: &mut BytesMut) {
        self.event(&Event::Goodbye(close), wire);
        frame::close(close.code(), &close.reason(), wire);
    }

    /// Whether the language has a word for a topic that is live, or not any more.
    fn says_live(&self) -> bool;

    /// What the language does with a gap.
    fn on_gap(&self) -> GapWord;

    /// Understands one message, and appends what it asks for, in order: a command, or why one is refused.
    ///
    /// # Errors
    /// The message is no use at all and the connection is closed; commands appended before stay.
    fn commands(&self, message: Payload, commands: &mut Vec<Result<Command, Refusal>>) -> Result<(), Close>;
}

/// An encoded form of a publication: every client of one form gets the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The payload verbatim in a WebSocket frame.
    Plain,
    /// A `message` object in a WebSocket frame.
    Json,
    /// An event of a stream, in a chunk (HTTP/1.1).
    Sse,
    /// An event of a stream that only its end delimits (HTTP/1.0).
    SseBare,
}

impl Form {
    /// How many forms there are.
    pub const COUNT: usize = 4;
    /// All forms, by index.
    pub const ALL: [Self; Self::COUNT] = [Self::Plain, Self::Json, Self::Sse, Self::SseBare];

    /// The label of `{protocol}` in metrics; the two forms of a stream have the same.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Json => "json",
            Self::Sse | Self::SseBare => "sse",
        }
    }

    /// Whether it is an event stream's.
    #[must_use]
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Sse | Self::SseBare)
    }
}

/// What clients of a language send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hears {
    /// WebSocket frames.
    Frames,
    /// Nothing that means anything.
    Nothing,
}

/// What a language does when something may have been missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapWord {
    /// Keeps silent: the route says so.
    Silent,
    /// Says so in an event.
    Told,
    /// Hangs up.
    Close,
}
