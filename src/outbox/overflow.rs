//! What happens when a publication meets a full outbox: the arriving topic's rule decides, and touches
//! only entries under the same rule.
//!
//! A drop is told by one gap per topic, where the first dropped entry stood. One is enough however many
//! follow: it has not left yet, so whoever reads it and looks up what was missed looks later than all
//! the drops it stands for.
//!
//! An arrival costs the same however much waits: it would else be paid for by all whose turn comes after it. What is
//! dropped is found by the rule's [`Spare`], and gaps by their topics.

use bytes::BytesMut;

use super::Terms;
use super::backlog::{Backlog, Entry, Kind};
use super::row::Place;
use super::run::Origin;
use super::spare::Spare;
use crate::clock;
use crate::close::{Close, retry_hint};
use crate::event::{Event, Gap, GapReason};
use crate::metrics::Dropped;
use crate::protocol::GapWord;
use crate::settings::{OnFull, RuleIndex};

/// How long a client that was too slow should stay away at least, in ms.
const SLOW_RETRY: u32 = 1000;

/// Whether a client hears of what is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Silent,
    Told,
}

impl Backlog {
    /// Takes an entry, making room by its rule where there is none. Answers whether it was taken.
    ///
    /// # Errors
    /// The client must be closed.
    pub(super) fn admit(&mut self, entry: Entry, terms: &Terms) -> Result<bool, Close> {
        let Kind::Publication { rule, on_full, ref origin } = entry.kind else {
            self.push(entry);
            return Ok(true);
        };
        if self.has_room(&entry, terms) {
            self.push(entry);
            return Ok(true);
        }
        match on_full {
            OnFull::Disconnect => Err(slow()),
            OnFull::DropNewest => self.drop_newest(origin, terms).map(|()| false),
            OnFull::DropOldest => self.drop_oldest(entry, rule, terms),
            OnFull::Conflate => self.conflate(entry, rule, terms),
        }
    }

    /// Whether an entry fits. Where nothing waits anything does: else it could never be sent.
    pub(super) fn has_room(&self, entry: &Entry, terms: &Terms) -> bool {
        let fits = self.bytes() + entry.cost() <= terms.bytes && self.entries.len() < terms.messages;
        fits || self.is_empty()
    }

    fn drop_newest(&mut self, arriving: &Origin, terms: &Terms) -> Result<(), Close> {
        if self.count_drops(1, terms)? == Word::Told && !self.gaps.contains_key(&arriving.topic) {
            terms.metrics.gaps(GapReason::Slow).inc();
            self.stand_gap(None, arriving, terms);
        }
        Ok(())
    }

    fn drop_oldest(&mut self, entry: Entry, rule: RuleIndex, terms: &Terms) -> Result<bool, Close> {
        while !self.has_room(&entry, terms) {
            let oldest = self.spare(rule, Spare::oldest).first().ok_or_else(slow)?;
            let word = self.count_drops(1, terms)?;
            self.drop_at(oldest, word, terms);
        }
        self.push(entry);
        Ok(true)
    }

    /// Keeps the newest per topic and key of all entries under the rule, the arriving one being the newest.
    fn conflate(&mut self, entry: Entry, rule: RuleIndex, terms: &Terms) -> Result<bool, Close> {
        let superseded = self.superseded(&entry, rule);
        if !superseded.is_empty() {
            let word = self.count_drops(superseded.len(), terms)?;
            superseded.into_iter().for_each(|place| self.drop_at(place, word, terms));
        }
        match self.has_room_beside_gaps(&entry, terms) {
            true => {
                self.push(entry);
                Ok(true)
            }
            false => Err(slow()),
        }
    }

    /// As [`Backlog::has_room`], but a gap does not count: else it would take the room of the one entry that was
    /// dropped for the newer one's sake. They are as many as topics at most.
    fn has_room_beside_gaps(&self, entry: &Entry, terms: &Terms) -> bool {
        let fits = self.bytes() - self.gap_bytes + entry.cost() <= terms.bytes;
        fits && self.entries.len() - self.gaps.len() < terms.messages || self.is_empty()
    }

    /// The places under the rule of which a newer one stands behind, or arrives; in order.
    fn superseded(&mut self, arriving: &Entry, rule: RuleIndex) -> Vec<Place> {
        let Some((_, origin)) = arriving.droppable() else { return Vec::new() };
        let mut places = self.spare(rule, Spare::superseded).stale(origin);
        places.sort_unstable_by_key(|place| self.entries.number(*place));
        places
    }

    /// What may be dropped under a rule. It is of another kind where the rule was another one when it was made.
    fn spare(&mut self, rule: RuleIndex, empty: impl FnOnce() -> Spare) -> &Spare {
        let empty = empty();
        let is_known = self.spares.get(&rule).is_some_and(|known| known.is_like(&empty));
        if !is_known {
            let mut spare = empty;
            for (place, entry) in self.entries.iter() {
                if let Some((_, origin)) = entry.droppable().filter(|(of, _)| *of == rule) {
                    spare.came(origin, place);
                }
            }
            self.spares.insert(rule, spare);
        }
        &self.spares[&rule]
    }

    /// Counts drops, and answers how they are told.
    fn count_drops(&self, drops: usize, terms: &Terms) -> Result<Word, Close> {
        terms.metrics.dropped(Dropped::Slow).inc_by(drops as u64);
        match terms.protocol.on_gap() {
            GapWord::Silent => Ok(Word::Silent),
            GapWord::Told => Ok(Word::Told),
            GapWord::Close => Err(Close::Gap),
        }
    }

    /// Drops the publication at a place, and sees that its topic has one gap there or before.
    fn drop_at(&mut self, place: Place, word: Word, terms: &Terms) {
        let known = self.entries.get(place).and_then(Entry::droppable).map(|(_, origin)| origin.clone());
        let Some(origin) = known.filter(|_| word == Word::Told) else { return drop(self.take(place)) };
        match self.gaps.get(&origin.topic).copied() {
            Some(gap) if self.entries.number(gap) < self.entries.number(place) => drop(self.take(place)),
            // It stands earlier from now on.
            Some(later) => {
                self.take(later);
                self.stand_gap(Some(place), &origin, terms);
            }
            None => {
                terms.metrics.gaps(GapReason::Slow).inc();
                self.stand_gap(Some(place), &origin, terms);
            }
        }
    }

    fn stand_gap(&mut self, place: Option<Place>, dropped: &Origin, terms: &Terms) {
        let (topic, until) = (&dropped.topic, clock::unix_ms());
        let since = clock::unix_ms_at(dropped.received);
        let gap = Gap { topics: vec![topic.clone()], reason: GapReason::Slow, since, until, spread_ms: 0 };
        let mut wire = BytesMut::new();
        terms.protocol.event(&Event::Gap(&gap), &mut wire);
        self.put_gap(topic.clone(), wire.freeze(), place);
    }
}

fn slow() -> Close {
    Close::Slow(retry_hint(SLOW_RETRY))
}
