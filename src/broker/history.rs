//! What a broker keeps of the past, where a topic's rule says so.

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::{Broker, PUBLISH_WAIT, PublishError};
use crate::command::{From, MOST_TOLD, Question};
use crate::position::Position;
use crate::publication::Publication;
use crate::repeat::Repeats;
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

/// Whether a topic has a history, by what was found of where it ended. What is refused is none: publishing there will say
/// better what is, and why.
pub(super) fn is_known(found: Option<Result<Position, HistoryError>>) -> Result<bool, PublishError> {
    match found {
        Some(Ok(newest)) => Ok(newest > Position::START),
        Some(Err(HistoryError::Away(why))) => Err(PublishError::Away(why)),
        Some(Err(HistoryError::Refused(_))) | None => Ok(false),
    }
}

/// The most bytes that a question brings, but for the first publication.
const BYTES_TOLD: usize = 1024 * 1024;

/// So many questions of clients are answered at a time, the others wait: what is read for them shares its way with
/// publications …
static CLIENTS: Readers = Readers { of: "clients", places: Semaphore::const_new(16) };
/// … and so many of operators, who wait for no client.
static OPERATORS: Readers = Readers { of: "the API", places: Semaphore::const_new(4) };

/// Those who ask, and their places.
struct Readers {
    of: &'static str,
    places: Semaphore,
}

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

/// Reads what a client asks for. Waits for its turn for [`PUBLISH_WAIT`] at most: meanwhile its connection hears nothing else.
///
/// # Errors
/// As of [`Broker::read`]; and where it has no turn in that time.
pub async fn chapter(broker: &dyn Broker, topic: &Topic, question: Question) -> Result<Chapter, HistoryError> {
    let _place = CLIENTS.turn().await?;
    read(broker, topic, question).await
}

/// Reads what an operator asks for, in the same way.
///
/// # Errors
/// As of [`chapter`].
pub async fn operators_chapter(
    broker: &dyn Broker,
    topic: &Topic,
    question: Question,
) -> Result<Chapter, HistoryError> {
    let _place = OPERATORS.turn().await?;
    read(broker, topic, question).await
}

impl Readers {
    async fn turn(&'static self) -> Result<SemaphorePermit<'static>, HistoryError> {
        static TOLD: Repeats = Repeats::new();
        if let Ok(Ok(place)) = timeout(PUBLISH_WAIT, self.places.acquire()).await {
            return Ok(place);
        }
        if let Some(repeated) = TOLD.due(self.of) {
            let who = self.of;
            tracing::warn!(
                who,
                repeated,
                "pages of histories are asked for faster than Redis answers; who had no turn within 1 s is told so"
            );
        }
        Err(HistoryError::Away("it answers others first, and there was no turn within 1 s".into()))
    }
}

async fn read(broker: &dyn Broker, topic: &Topic, question: Question) -> Result<Chapter, HistoryError> {
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
