//! What we say to a client, whatever it speaks. Publications travel apart: they are encoded once for all.

use crate::close::Close;
use crate::command::{MessageId, Payload};
use crate::identity::ConnectionId;
use crate::position::Position;
use crate::publication::Publication;
use crate::topic::Topic;

/// What we say to one client.
#[derive(Debug)]
pub enum Event<'a> {
    /// The first word.
    Welcome {
        /// Its id in the fleet.
        connection: &'a ConnectionId,
        /// How often we give a sign of life, in ms; 0 where we give none.
        heartbeat_ms: u64,
    },
    /// It listens to a topic now.
    Subscribed {
        /// The topic.
        topic: &'a Topic,
        /// The command it answers.
        id: Option<&'a MessageId>,
        /// Whether publications flow already; if not, `Live` or `Gap` follows.
        live: bool,
        /// Whether what it missed follows; told where it asked to resume.
        recovered: Option<bool>,
        /// Behind what the first message stands that follows, where a history is kept.
        position: Option<Position>,
    },
    /// It listens no longer.
    Unsubscribed {
        /// The topic.
        topic: &'a Topic,
        /// The command it answers.
        id: Option<&'a MessageId>,
    },
    /// Its publication is on the bus.
    Published {
        /// The command it answers.
        id: Option<&'a MessageId>,
        /// Where it stands in the topic's history, where one is kept.
        position: Option<Position>,
    },
    /// A page of a topic's history.
    History {
        /// The topic.
        topic: &'a Topic,
        /// The command it answers.
        id: Option<&'a MessageId>,
        /// Oldest first.
        publications: &'a [Publication],
        /// The position of the topic's newest publication.
        newest: Position,
        /// Whether there are more in the direction that was asked for.
        more: bool,
    },
    /// It may have missed something.
    Gap(&'a Gap),
    /// Publications of these topics flow, or do not for now.
    Live {
        /// The topics.
        topics: &'a [Topic],
        /// Whether they flow.
        live: bool,
    },
    /// A command was not carried out.
    Error(&'a Refusal),
    /// Something in a command of the client, or in the query that it came with, is ignored.
    Warning(&'a str),
    /// A plain client's message comes back, as its route says.
    Echo(&'a Payload),
    /// We hang up.
    Goodbye(&'a Close),
    /// Somebody is there.
    Pong {
        /// The command it answers.
        id: Option<&'a MessageId>,
    },
}

/// "You may have missed something."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Where.
    pub topics: Vec<Topic>,
    /// Why.
    pub reason: GapReason,
    /// Since when, in ms since 1970: when the last canary that came back was sent, or when the first that was
    /// dropped came.
    pub since: u64,
    /// When it was noted: publications flow again. More may be dropped while it waits to be read, so what is
    /// looked up must reach from `since` to the moment of looking.
    pub until: u64,
    /// Clients that fetch what they missed should wait a random part of this, in ms.
    pub spread_ms: u32,
}

/// Why something may have been missed; the label of `fanline_gaps_total{reason}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The link to Redis was lost.
    Reconnected,
    /// More came in than the shards could take.
    Overflow,
    /// The client read too slowly.
    Slow,
    /// A publication above the topic's limit.
    TooLarge,
    /// A publication with a broken header.
    Malformed,
    /// The history reaches back less far than what was missed.
    Trimmed,
    /// The history was set back to an earlier time: some of what was delivered is not in it any more.
    Rewound,
    /// The history is gone, or cannot be read.
    Lost,
}

impl GapReason {
    /// Every reason, in the order of their labels' first use.
    pub const ALL: [Self; 8] = [
        Self::Reconnected,
        Self::Overflow,
        Self::Slow,
        Self::TooLarge,
        Self::Malformed,
        Self::Trimmed,
        Self::Rewound,
        Self::Lost,
    ];

    /// Whether it is a hole in a history, which has a place between two positions.
    #[must_use]
    pub fn is_of_history(self) -> bool {
        matches!(self, Self::Trimmed | Self::Rewound | Self::Lost)
    }

    /// The word on the wire and in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Reconnected => "reconnected",
            Self::Overflow => "overflow",
            Self::Slow => "slow",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Trimmed => "trimmed",
            Self::Rewound => "rewound",
            Self::Lost => "lost",
        }
    }
}

/// A command that was not carried out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The command it answers, where it had a readable id.
    pub id: Option<MessageId>,
    /// The kind, from a closed list.
    pub code: RefusalCode,
    /// What was found, where, and what to write instead.
    pub message: String,
}

/// The kinds of refusal: the closed list of `error.code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCode {
    /// Not a JSON object of the protocol.
    BadMessage,
    /// A `type` that nobody here knows.
    UnknownType,
    /// A text that is no topic.
    BadTopic,
    /// The topic's or the route's rule says no.
    Forbidden,
    /// More topics than `limits.topics`.
    TooManyTopics,
    /// A publication above the topic's limit.
    TooLarge,
    /// The topic's rule keeps no history.
    NoHistory,
    /// Redis is away or refused. Where it did not answer in time the message may have been published all the same.
    Unavailable,
}

impl RefusalCode {
    /// The word on the wire.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::BadMessage => "bad_message",
            Self::UnknownType => "unknown_type",
            Self::BadTopic => "bad_topic",
            Self::Forbidden => "forbidden",
            Self::TooManyTopics => "too_many_topics",
            Self::TooLarge => "too_large",
            Self::NoHistory => "no_history",
            Self::Unavailable => "unavailable",
        }
    }
}
