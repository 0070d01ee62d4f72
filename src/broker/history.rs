//! What a broker keeps of the past, where a topic's rule says so.

use crate::position::Position;
use crate::publication::Publication;

/// The most publications that one read brings.
pub const MOST_READ: usize = 5_000;

/// Which part of a topic's history is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What follows this position.
    After(Position),
    /// What leads up to this position, the publication that stands there included.
    Until(Position),
}

/// A read: at most `most` publications of a part, those nearest to its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Where.
    pub part: Part,
    /// How many, up to [`MOST_READ`].
    pub most: usize,
}

/// What was read, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The publications, oldest first, each with its position and the one before it.
    pub entries: Vec<Publication>,
    /// The position of the newest publication of the topic, kept or not; [`Position::START`] where nothing is known of any.
    pub newest: Position,
}

/// Why nothing was read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The road is closed; try again later.
    #[error("Redis is away: {0}")]
    Away(String),
    /// The other side answered, and refused: trying again helps only when somebody has changed something there.
    #[error("Redis refused: {0}")]
    Refused(String),
}
