//! What a broker keeps of the past, where a topic's rule says so.

use tokio::sync::Semaphore;

use super::Broker;
use crate::command::{From, MOST_TOLD, Question};
use crate::position::Position;
use crate::publication::Publication;
use crate::topic::Topic;

/// Which part of a topic's history is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What follows this position.
    After(Position),
    /// What leads up to this position, the publication that stands there included.
    Until(Position),
}

/// A read: at most `most` publications of a part, those nearest to its position; and of these, but for the first, at most
/// `bytes` with what stands beside their payloads. So what is on its way is bounded by who asks, before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Where.
    pub part: Part,
    /// How many.
    pub most: usize,
    /// How many bytes.
    pub bytes: usize,
}

impl Read {
    /// A quarter of it for each of so many that were too much.
    #[must_use]
    pub fn quartered(self, times: u32) -> Self {
        let part = |whole: usize| (whole >> (2 * times.min(16))).max(1);
        Self { most: part(self.most), bytes: part(self.bytes), ..self }
    }
}

/// What was read, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The publications, oldest first, each with its position and the one before it.
    pub entries: Vec<Publication>,
    /// The position of the newest publication of the topic, kept or not; [`Position::START`] where nothing is known of any.
    pub newest: Position,
    /// Whether there is more of that part than was read.
    pub more: bool,
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

/// The most bytes that a question brings, but for the first publication.
const BYTES_TOLD: usize = 1024 * 1024;

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

/// Reads what somebody asks for.
///
/// # Errors
/// As of [`Broker::read`].
pub async fn chapter(broker: &dyn Broker, topic: &Topic, question: Question) -> Result<Chapter, HistoryError> {
    // Fails only where it is closed, which it never is.
    let _place = READERS.acquire().await;
    let (part, most) = (Part::of(question.from), question.limit.min(MOST_TOLD));
    let Page { entries, newest, more } = broker.read(topic, Read { part, most, bytes: BYTES_TOLD }).await?;
    Ok(Chapter { publications: entries, newest, more })
}

impl Part {
    fn of(from: From) -> Self {
        match from {
            From::Newest => Self::Until(Position::NOWHERE),
            From::After(position) => Self::After(position),
            From::Before(position) => Self::Until(position.before()),
        }
    }
}
