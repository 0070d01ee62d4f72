//! What a broker keeps of the past, where a topic's rule says so.

use std::collections::VecDeque;

use tokio::sync::Semaphore;

use super::Broker;
use crate::command::{From, MOST_TOLD, Question};
use crate::position::Position;
use crate::publication::Publication;
use crate::topic::Topic;

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

/// The most bytes of payload that a question brings, but for the first publication.
const BYTES_TOLD: usize = 1024 * 1024;

/// How many publications are read first, while it is not known how large they are.
const FIRST_READ: usize = 16;

/// So many questions are answered at a time, the others wait: what is read for them shares its way with publications.
static READERS: Semaphore = Semaphore::const_new(16);

/// A page of a history, as somebody asked for it.
#[derive(Debug, Default)]
pub struct Chapter {
    /// Oldest first.
    pub publications: Vec<Publication>,
    /// The position of the topic's newest publication.
    pub newest: Position,
    /// Whether there are more in the direction that was asked for.
    pub more: bool,
}

/// Reads what somebody asks for: a few publications first, and by their size the others, so that nobody makes us hold
/// much more than is told.
///
/// # Errors
/// As of [`Broker::read`].
pub async fn chapter(broker: &dyn Broker, topic: &Topic, question: Question) -> Result<Chapter, HistoryError> {
    // Fails only where it is closed, which it never is.
    let _place = READERS.acquire().await;
    let limit = question.limit.min(MOST_TOLD);
    let (mut told, mut bytes): (VecDeque<Publication>, usize) = (VecDeque::new(), 0);
    let mut part = Part::of(question.from);
    let mut most = FIRST_READ;
    loop {
        // One more than is told says whether there are more.
        most = most.min(limit + 1 - told.len());
        let mut page = broker.read(topic, Read { part, most }).await?;
        let (read, newest) = (page.entries.len(), page.newest);
        if matches!(part, Part::Until(_)) {
            page.entries.reverse();
        }
        for entry in page.entries {
            bytes += entry.payload.len();
            if told.len() == limit || bytes > BYTES_TOLD && !told.is_empty() {
                return Ok(Chapter { publications: told.into(), newest, more: true });
            }
            part = part.behind(&entry);
            match part {
                Part::After(_) => told.push_back(entry),
                Part::Until(_) => told.push_front(entry),
            }
        }
        if read < most {
            return Ok(Chapter { publications: told.into(), newest, more: false });
        }
        most = (BYTES_TOLD.saturating_sub(bytes) / (bytes / told.len()).max(1)).max(FIRST_READ);
    }
}

impl Part {
    fn of(from: From) -> Self {
        match from {
            From::Newest => Self::Until(Position::NOWHERE),
            From::After(position) => Self::After(position),
            From::Before(position) => Self::Until(position.before()),
        }
    }

    /// What is left of it behind a publication.
    fn behind(self, publication: &Publication) -> Self {
        self.beyond(publication.position().unwrap_or_default())
    }

    /// What is left of it behind what stands at a position.
    #[must_use]
    pub fn beyond(self, position: Position) -> Self {
        match self {
            Self::After(_) => Self::After(position),
            Self::Until(_) => Self::Until(position.before()),
        }
    }
}
