//! What a client asks for, whatever it speaks.

use bytes::Bytes;

use crate::topic::Topic;

/// A client's own name for a command, as JSON text (a string or a number); its answer repeats it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageId(pub Box<str>);

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Listen to topics.
    Subscribe {
        /// What to listen to.
        topics: Vec<Topic>,
        /// Asked to resume; topics without history answer `recovered: false`.
        resume: bool,
        /// Repeated in every answer.
        id: Option<MessageId>,
    },
    /// Listen no longer.
    Unsubscribe {
        /// What to leave.
        topics: Vec<Topic>,
        /// Repeated in every answer.
        id: Option<MessageId>,
    },
    /// Publish to a named topic.
    Publish {
        /// Where to.
        topic: Topic,
        /// What subscribers receive.
        payload: Bytes,
        /// The event's name.
        event: Option<Box<str>>,
        /// What `conflate` goes by.
        key: Option<Box<str>>,
        /// Repeated in the answer.
        id: Option<MessageId>,
    },
    /// A message in a protocol without commands; the route says what it means.
    Message(Payload),
    /// Is anybody there?
    Ping {
        /// Repeated in the answer.
        id: Option<MessageId>,
    },
}

/// The bytes of a message and whether they came as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A text message: valid UTF-8.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
}

impl Payload {
    /// The bytes, either way.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes,
        }
    }
}
