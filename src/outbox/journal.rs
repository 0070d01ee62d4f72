//! How far a client has come on each of its topics: for the language in which every message says it.

use bytes::{BufMut, BytesMut};
use parking_lot::Mutex;

use crate::position::Position;
use crate::topic::Topic;

/// What stands for a position that is not known.
const UNKNOWN: &str = "-";

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

    /// Appends where the client stands, as the line that an event stream has for it: positions with commas.
    pub fn write_id(&self, wire: &mut BytesMut) {
        wire.put_slice(b"id: ");
        for (place, position) in self.positions.lock().iter().enumerate() {
            if place > 0 {
                wire.put_u8(b',');
            }
            match position {
                Some(position) => wire.put_slice(position.to_string().as_bytes()),
                None => wire.put_slice(UNKNOWN.as_bytes()),
            }
        }
        wire.put_u8(b'\n');
    }

    /// Reads what [`Journal::write_id`] wrote for so many topics; none where it is no such line.
    #[must_use]
    pub fn read_id(text: &str, topics: usize) -> Option<Vec<Option<Position>>> {
        let read = |part: &str| match part {
            UNKNOWN => Some(None),
            part => part.parse().ok().map(Some),
        };
        let positions: Vec<_> = text.split(',').map(read).collect::<Option<_>>()?;
        (positions.len() == topics).then_some(positions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(journal: &Journal) -> String {
        let mut wire = BytesMut::new();
        journal.write_id(&mut wire);
        String::from_utf8(wire.to_vec()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again_in_the_order_of_the_topics() {
        let [a, b, stranger] = ["a", "b", "c"].map(|name| Topic::parse(name).unwrap());
        let journal = Journal::new(vec![a, b.clone()], &[]);
        assert_eq!(written(&journal), "id: -,-\n");
        assert!(journal.note(&b, Position::at(7)) && !journal.note(&stranger, Position::at(1)));
        assert_eq!(written(&journal), "id: -,7-0\n");
        assert_eq!(written(&Journal::new(vec![b], &[Some(Position::at(5))])), "id: 5-0\n");
        assert_eq!(Journal::read_id("-,7-0", 2), Some(vec![None, Some(Position::at(7))]));
        for (text, topics) in [("7-0", 2), ("7-0,", 2), ("", 1), ("42", 1), ("1-0,2-0,3-0", 2)] {
            assert_eq!(Journal::read_id(text, topics), None, "{text}");
        }
    }
}
