//! The history of a replica that is alone: what Redis would keep in streams, kept here.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::time::Instant;

use bytes::Bytes;

use super::shelf::Shelf;
use crate::broker::history::{Page, Read};
use crate::position::Position;
use crate::publication::{Header, ONCE};
use crate::settings::TopicRule;
use crate::topic::Topic;

/// How many topics are looked at for what has expired, with each publication: more than one, so that it ends.
const SWEEP: usize = 2;

/// How many topics are looked at for one that may go, with each publication, where there are too many.
const LOOKS: usize = 64;

/// The most that is kept.
pub(super) struct Bounds {
    /// Topics; those that somebody here listens to may be more, for they are bounded as such.
    pub topics: usize,
    /// Bytes of all their publications.
    pub bytes: usize,
}

/// What a replica keeps that is alone.
pub(super) const BOUNDS: Bounds = Bounds { topics: 100_000, bytes: 256 * 1024 * 1024 };

/// What is kept of all topics.
pub(super) struct Archive {
    bounds: Bounds,
    topics: HashMap<Topic, Shelf>,
    /// Every topic once, from the one that was used the longest ago.
    used: BTreeMap<u64, Topic>,
    /// Of these, those that have publications.
    filled: BTreeMap<u64, Topic>,
    /// One that has more than half of the bytes that may be.
    heavy: Option<Topic>,
    /// Counts the uses.
    uses: u64,
    /// Up to which of them it was looked for what has expired, and at which this round ends.
    swept: u64,
    round: u64,
    /// Of all publications.
    bytes: usize,
    /// Names of publications, and where they stand.
    names: HashMap<(Topic, Box<str>), Option<Position>>,
    /// The same by when they are forgotten.
    forgotten: VecDeque<(Instant, Topic, Box<str>)>,
}

impl Archive {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            topics: HashMap::new(),
            used: BTreeMap::new(),
            filled: BTreeMap::new(),
            heavy: None,
            uses: 0,
            swept: 0,
            round: 0,
            bytes: 0,
            names: HashMap::new(),
            forgotten: VecDeque::new(),
        }
    }

    /// Where a publication of this name stands, if one was published not long ago.
    pub fn named(&mut self, topic: &Topic, name: &str, now: Instant) -> Option<Option<Position>> {
        while let Some((_, topic, name)) = self.forgotten.pop_front_if(|(until, ..)| *until <= now) {
            self.names.remove(&(topic, name));
        }
        self.names.get(&(topic.clone(), name.into())).copied()
    }

    /// Remembers a name.
    pub fn name(&mut self, topic: &Topic, name: &str, position: Option<Position>, now: Instant) {
        self.names.insert((topic.clone(), name.into()), position);
        self.forgotten.push_back((now + ONCE, topic.clone(), name.into()));
    }

    /// Keeps a publication as its topic's rule says, and writes its place into its header.
    pub fn keep(&mut self, topic: &Topic, rule: &TopicRule, header: &mut Header, payload: &Bytes, now: Instant) {
        self.sweep(now);
        self.topics.entry(topic.clone()).or_default();
        self.touch(topic);
        self.with(topic, |shelf| shelf.keep(rule, header, payload, now));
    }

    /// Where too much is kept that history goes which was of no use for the longest. Of a topic that is heard it is
    /// remembered where it ended: who listens misses nothing. `newest` is what was kept just now. Whether any had to go.
    pub fn make_room(&mut self, newest: &Topic, is_heard: impl Fn(&Topic) -> bool) -> bool {
        let was_full = self.bytes > self.bounds.bytes;
        if was_full {
            self.let_bytes_go(newest, &is_heard);
        }
        self.let_topics_go(newest, is_heard) || was_full
    }

    /// A topic that has more than half of the room makes its own: nobody else's history is the price of it. Otherwise others
    /// go, and only such as have something, so that each is looked at once for what was published there.
    fn let_bytes_go(&mut self, newest: &Topic, is_heard: impl Fn(&Topic) -> bool) {
        if let Some(heavy) = self.heavy.clone() {
            self.shrink(&heavy);
        }
        while self.bytes > self.bounds.bytes {
            // The newest was used last, so nobody else has anything where it comes first.
            match self.filled.first_key_value().map(|(_, topic)| topic.clone()) {
                Some(oldest) if oldest != *newest && is_heard(&oldest) => _ = self.with(&oldest, Shelf::clear),
                Some(oldest) if oldest != *newest => self.remove(&oldest),
                _ => return self.shrink(newest),
            }
        }
    }

    /// Lets go of the oldest publications of a topic, as far as there are too many bytes.
    fn shrink(&mut self, topic: &Topic) {
        let over = self.bytes.saturating_sub(self.bounds.bytes);
        self.with(topic, |shelf| shelf.shrink(over));
    }

    fn let_topics_go(&mut self, newest: &Topic, is_heard: impl Fn(&Topic) -> bool) -> bool {
        let mut any = false;
        for _ in 0..LOOKS {
            if self.topics.len() <= self.bounds.topics {
                break;
            }
            let Some(oldest) = self.used.first_key_value().map(|(_, topic)| topic.clone()) else { break };
            if oldest == *newest || is_heard(&oldest) {
                self.touch(&oldest);
            } else {
                self.remove(&oldest);
                any = true;
            }
        }
        any
    }

    /// It was used.
    fn touch(&mut self, topic: &Topic) {
        let Some(shelf) = self.topics.get_mut(topic) else { return };
        self.uses += 1;
        let before = std::mem::replace(&mut shelf.used, self.uses);
        self.used.remove(&before);
        self.used.insert(self.uses, topic.clone());
        if let Some(topic) = self.filled.remove(&before) {
            self.filled.insert(self.uses, topic);
        }
    }

    /// Does something to a topic's shelf that may change how much there is.
    fn with<R>(&mut self, topic: &Topic, act: impl FnOnce(&mut Shelf) -> R) -> Option<R> {
        let shelf = self.topics.get_mut(topic)?;
        self.bytes -= shelf.bytes;
        let done = act(shelf);
        self.bytes += shelf.bytes;
        match shelf.bytes {
            0 => _ = self.filled.remove(&shelf.used),
            _ => _ = self.filled.entry(shelf.used).or_insert_with(|| topic.clone()),
        }
        if shelf.bytes > self.bounds.bytes / 2 {
            self.heavy.get_or_insert_with(|| topic.clone());
        } else if self.heavy.as_ref() == Some(topic) {
            self.heavy = None;
        }
        Some(done)
    }

    fn remove(&mut self, topic: &Topic) {
        self.with(topic, Shelf::clear);
        if let Some(shelf) = self.topics.remove(topic) {
            self.used.remove(&shelf.used);
        }
    }

    pub fn last(&self, topic: &Topic) -> Position {
        self.topics.get(topic).map_or(Position::START, |shelf| shelf.last)
    }

    pub fn read(&mut self, topic: &Topic, read: Read, now: Instant) -> Page {
        self.touch(topic);
        self.with(topic, |shelf| shelf.expire(now));
        let Some(shelf) = self.topics.get(topic) else { return Page::default() };
        shelf.read(topic, read, now)
    }

    /// Lets go of what has expired of the next topics in the round.
    fn sweep(&mut self, now: Instant) {
        for _ in 0..SWEEP {
            let next = self.used.range((Bound::Excluded(self.swept), Bound::Included(self.round))).next();
            let Some((used, topic)) = next.map(|(used, topic)| (*used, topic.clone())) else {
                (self.swept, self.round) = (0, self.uses);
                return;
            };
            self.swept = used;
            let is_gone = self.with(&topic, |shelf| {
                shelf.expire(now);
                shelf.is_forgotten(now)
            });
            if is_gone == Some(true) {
                self.remove(&topic);
            }
        }
    }
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
