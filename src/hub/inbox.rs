//! What waits for one shard: bounded in publications and bytes. What does not fit is dropped and its
//! topic flagged, so that telling needs no room.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::event::GapReason;
use crate::identity::ConnectionNumber;
use crate::outbox::Thirst;
use crate::position::Position;
use crate::publication::Publication;
use crate::topic::Topic;

/// The most publications that wait for one shard (a burst of 3,500 out of the driver is normal).
pub const INBOX_PUBLICATIONS: usize = 65_536;
/// The most payload bytes that wait for one shard.
pub const INBOX_BYTES: usize = 64 * 1024 * 1024;

/// What waits for one shard.
#[derive(Default)]
pub(super) struct Inbox {
    queue: Mutex<Queue>,
    wake: Notify,
    /// Publications and bytes handed in and not yet fanned out: here, or in the shard's topic queues.
    held: AtomicUsize,
    held_bytes: AtomicUsize,
}

#[derive(Default)]
struct Queue {
    /// Publications are bounded by `held`, gaps by `flagged` (and behind it by one per reason that waits in the
    /// topic between two flips); a topic flips at most twice per link and back-off; the rest by who resumes.
    items: Vec<Item>,
    /// Topics with a gap among the items, why, and where it stands. One for each reason is enough: it is told after all
    /// that was dropped behind it, so whoever looks up what was missed finds that too.
    flagged: HashMap<(Topic, GapReason), usize>,
}

/// One thing that happened on the road.
pub(super) enum Item {
    Publication(Arc<Publication>),
    /// Something rarer, and larger than a place in the queue should be.
    Word(Box<Word>),
    /// More of the topic's past is there, or it is known that there is none: for those who resume.
    Logged(Topic),
    /// What waited for this client's socket is out.
    Drained(ConnectionNumber),
}

/// What happened to a topic.
pub(super) enum Word {
    /// Publications flow; after an outage, since when they may have been missed.
    Live {
        topic: Topic,
        version: u64,
        lost_since: Option<u64>,
        /// Behind what they stand, where a history is kept.
        position: Option<Position>,
    },
    Lost {
        topic: Topic,
        version: u64,
        /// What is missed will be read: who listens need not know.
        heals: bool,
    },
    /// A publication could not be taken here, or is missing in the history.
    Gap {
        topic: Topic,
        reason: GapReason,
        since: u64,
        /// Behind what the next publication stands, where that is known.
        position: Option<Position>,
    },
}

impl From<Word> for Item {
    fn from(word: Word) -> Self {
        Self::Word(Box::new(word))
    }
}

impl Inbox {
    /// Takes a publication, unless there is no room.
    pub fn offer(&self, publication: &Arc<Publication>) -> bool {
        let size = publication.payload.len();
        let fits = self.held.load(Ordering::Relaxed) < INBOX_PUBLICATIONS
            && self.held_bytes.load(Ordering::Relaxed) + size <= INBOX_BYTES;
        if fits {
            self.held.fetch_add(1, Ordering::Relaxed);
            self.held_bytes.fetch_add(size, Ordering::Relaxed);
            self.push(Item::Publication(publication.clone()));
        }
        fits
    }

    pub fn push(&self, item: Item) {
        self.queue.lock().items.push(item);
        self.wake.notify_one();
    }

    pub fn flag(&self, topic: &Topic, reason: GapReason, since: u64) {
        let Queue { items, flagged } = &mut *self.queue.lock();
        match flagged.entry((topic.clone(), reason)) {
            Entry::Occupied(place) => {
                if let Some(Item::Word(word)) = items.get_mut(*place.get())
                    && let Word::Gap { since: before, .. } = &mut **word
                {
                    *before = since.min(*before);
                }
            }
            Entry::Vacant(place) => {
                place.insert(items.len());
                items.push(Word::Gap { topic: topic.clone(), reason, since, position: None }.into());
                self.wake.notify_one();
            }
        }
    }

    /// Takes all that waits.
    pub fn take(&self) -> Vec<Item> {
        std::mem::take(&mut *self.queue.lock()).items
    }

    /// Resolves when something was put in since the last time.
    pub async fn filled(&self) {
        self.wake.notified().await;
    }

    /// A publication that was taken out has been fanned out, or nobody wanted it any more.
    pub fn release(&self, publication: &Publication) {
        self.held.fetch_sub(1, Ordering::Relaxed);
        self.held_bytes.fetch_sub(publication.payload.len(), Ordering::Relaxed);
    }

    /// Whether what is left, a quarter, is for those who are not far behind.
    pub fn is_tight(&self) -> bool {
        self.held() > INBOX_PUBLICATIONS / 4 * 3
    }

    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

impl Thirst for Inbox {
    fn drained(&self, number: ConnectionNumber) {
        self.push(Item::Drained(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::time::Instant;

    fn publication(len: usize) -> Arc<Publication> {
        let topic = Topic::parse("t").unwrap();
        Arc::new(Publication::new(topic, None, Bytes::from(vec![0; len]), Instant::now()))
    }

    #[test]
    fn an_inbox_is_bounded_in_publications_until_they_are_fanned_out() {
        let inbox = Inbox::default();
        let one = publication(1);
        assert!((0..INBOX_PUBLICATIONS).all(|_| inbox.offer(&one)));
        assert!(!inbox.offer(&one));
        assert_eq!(inbox.take().len(), INBOX_PUBLICATIONS);
        assert!(!inbox.offer(&one), "taken out is not yet fanned out");
        inbox.release(&one);
        assert!(inbox.offer(&one));
    }

    #[test]
    fn one_gap_of_a_reason_waits_and_begins_where_the_earliest_does() {
        let (inbox, topic) = (Inbox::default(), Topic::parse("t").unwrap());
        inbox.offer(&publication(1));
        for since in [7, 5, 9] {
            inbox.flag(&topic, GapReason::Reconnected, since);
        }
        inbox.flag(&topic, GapReason::Overflow, 8);
        let gap = |item| match item {
            Item::Word(word) => match *word {
                Word::Gap { reason, since, .. } => Some((reason, since)),
                _ => None,
            },
            _ => None,
        };
        let told: Vec<_> = inbox.take().into_iter().filter_map(gap).collect();
        assert_eq!(told, [(GapReason::Reconnected, 5), (GapReason::Overflow, 8)]);
    }

    #[test]
    fn an_inbox_is_bounded_in_bytes() {
        let inbox = Inbox::default();
        assert!(inbox.offer(&publication(INBOX_BYTES)));
        assert!(!inbox.offer(&publication(1)));
        assert!(inbox.offer(&publication(0)));
    }
}
