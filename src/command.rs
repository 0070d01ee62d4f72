//! What a client asks for, whatever it speaks.

use bytes::Bytes;

use crate::clock;
use crate::position::Position;
use crate::publication::PayloadKind;
use crate::topic::Topic;

/// A client's own name for a command, as JSON text (a string or a number); its answer repeats it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageId(pub Box<str>);

/// A topic that a client wants to listen to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub topic: Topic,
    /// What it wants of the past; nothing: what comes from now on.
    pub resume: Option<Resume>,
}

/// What a client wants of a topic's past, before what comes from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// What followed this publication.
    After(Position),
    /// What was published at this time, in ms since 1970, or later.
    Since(u64),
    /// The newest so many.
    Last(u32),
}

/// The most publications of a history that one question brings.
pub const MOST_TOLD: usize = 300;

/// A page of a topic's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Where.
    pub from: From,
    /// How many publications, up to [`MOST_TOLD`].
    pub limit: usize,
}

/// Where a page of a history lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The newest.
    Newest,
    /// Those that follow a position.
    After(Position),
    /// Those that lead up to a position, without the one that stands there.
    Before(Position),
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Listen to topics.
    Subscribe {
        /// What to listen to, and where to take each up again.
        topics: Vec<Wanted>,
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
        /// What the client says it is.
        kind: PayloadKind,
        /// The event's name.
        event: Option<Box<str>>,
        /// What `conflate` goes by.
        key: Option<Box<str>>,
        /// Repeated in the answer.
        id: Option<MessageId>,
    },
    /// Read a topic's history.
    History {
        /// Of which topic.
        topic: Topic,
        /// Which publications.
        question: Question,
        /// Repeated in the answer.
        id: Option<MessageId>,
    },
    /// A message in a protocol without commands; the route says what it means.
    Message(Payload),
    /// Nothing, but something in the client's message is ignored, and it should know.
    Warn(String),
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

impl Resume {
    /// Reads a time in ms since 1970, of which a fraction is cut off, or a position.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let time = text.parse().map(Self::Since).ok();
        let fraction = || text.parse().ok().and_then(clock::whole_ms).map(Self::Since);
        time.or_else(|| text.parse().map(Self::After).ok()).or_else(fraction)
    }

    /// The position that it names.
    #[must_use]
    pub fn position(self) -> Option<Position> {
        if let Self::After(position) = self { Some(position) } else { None }
    }

    /// The time that it names, in ms since 1970.
    #[must_use]
    pub fn ms(self) -> Option<u64> {
        match self {
            Self::After(Position::NOWHERE) | Self::Last(_) => None,
            Self::After(position) => Some(position.ms),
            Self::Since(ms) => Some(ms),
        }
    }
}

impl From {
    /// What follows where somebody would resume.
    #[must_use]
    pub fn since(resume: Resume) -> Self {
        match resume {
            Resume::After(position) => Self::After(position),
            Resume::Since(ms) => Self::After(Position::at(ms).before()),
            Resume::Last(_) => Self::Newest,
        }
    }
}

impl Wanted {
    /// A topic from now on.
    #[must_use]
    pub fn fresh(topic: Topic) -> Self {
        Self { topic, resume: None }
    }
}
