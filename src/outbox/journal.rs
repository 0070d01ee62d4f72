//! How far a client has come on each of its topics: for the language in which every message says it.

use std::fmt::Write;

use parking_lot::Mutex;

use crate::position::Position;
use crate::topic::Topic;

/// What stands for a position that is not known.
const UNKNOWN: &str = "-";

/// What stands for a place that the client named and nobody can find: a client that comes back with it is told that
/// something is missing. It is no position, so an older version of ours tells it of all topics.
const LOST: &str = "?";

/// The positions behind which a client stands, topic by topic, in the order in which it asked for them.
#[derive(Debug)]
pub struct Journal {
    topics: Box<[Topic]>,
    /// Guards one position's change, or their writing into a message.
    positions: Mutex<Box<[Option<Position>]>>,
}

impl Journal {
    /// Of the topics with history among those a client listens to, and behind what it says it stands on each.
    #[must_use]
    pub fn new(topics: Vec<Topic>, said: &[Option<Position>]) -> Self {
        let known = (0..topics.len()).map(|place| said.get(place).copied().flatten());
        let positions = Mutex::new(known.collect());
        Self { topics: topics.into(), positions }
    }

    /// Whether a message must say more than its own position.
    #[must_use]
    pub fn is_several(&self) -> bool {
        self.topics.len() > 1
    }

    /// The client stands behind this position. Whether it is one of its topics.
    pub fn note(&self, topic: &Topic, position: Position) -> bool {
        let place = self.topics.iter().position(|known| known == topic);
        if let Some(place) = place {
            self.positions.lock()[place] = Some(position);
        }
        place.is_some()
    }

    /// Where the client stands: positions with commas.
    #[must_use]
    pub fn id(&self) -> String {
        let mut id = String::new();
        for (place, position) in self.positions.lock().iter().enumerate() {
            if place > 0 {
                id.push(',');
            }
            // A string takes all that is written to it.
            let _ = match position {
                Some(Position::NOWHERE) => id.write_str(LOST),
                Some(position) => write!(id, "{position}"),
                None => id.write_str(UNKNOWN),
            };
        }
        id
    }

    /// Reads what [`Journal::id`] wrote for so many topics; none where it is no such text.
    #[must_use]
    pub fn read_id(text: &str, topics: usize) -> Option<Vec<Option<Position>>> {
        let read = |part: &str| match part {
            UNKNOWN => Some(None),
            LOST => Some(Some(Position::NOWHERE)),
            part => part.parse().ok().map(Some),
        };
        let positions: Vec<_> = text.split(',').map(read).collect::<Option<_>>()?;
        (positions.len() == topics).then_some(positions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_in_the_order_of_the_topics() {
        let [a, b, stranger] = ["a", "b", "c"].map(|name| Topic::parse(name).unwrap());
        let journal = Journal::new(vec![a, b.clone()], &[]);
        assert_eq!(journal.id(), "-,-");
        assert!(journal.note(&b, Position::at(7)) && !journal.note(&stranger, Position::at(1)));
        assert_eq!(journal.id(), "-,7-0");
        assert_eq!(Journal::new(vec![b], &[Some(Position::at(5))]).id(), "5-0");
        let lost = Journal::new(vec![Topic::parse("a").unwrap()], &[Some(Position::NOWHERE)]).id();
        assert_eq!((&*lost, Journal::read_id(&lost, 1)), ("?", Some(vec![Some(Position::NOWHERE)])));
        assert_eq!(Journal::read_id("-,7-0", 2), Some(vec![None, Some(Position::at(7))]));
        for (text, topics) in [("7-0", 2), ("7-0,", 2), ("", 1), ("42", 1), ("1-0,2-0,3-0", 2)] {
            assert_eq!(Journal::read_id(text, topics), None, "{text}");
        }
    }
}
