//! What happens when a publication meets a full outbox: the arriving topic's rule decides, and touches
//! only entries under the same rule.
//!
//! A drop is told by one gap per topic, where the first dropped entry stood. One is enough however many
//! follow: it has not left yet, so whoever reads it and looks up what was missed looks later than all
//! the drops it stands for.

use std::collections::{HashSet, VecDeque};

use bytes::BytesMut;

use super::Terms;
use super::backlog::{Backlog, Entry, Kind};
use super::run::Origin;
use crate::clock;
use crate::close::{Close, retry_hint};
use crate::event::{Event, Gap, GapReason};
use crate::metrics::Dropped;
use crate::protocol::GapWord;
use crate::settings::{OnFull, RuleIndex};

/// How long a client that was too slow should stay away at least, in ms.
const SLOW_RETRY: u32 = 1000;

impl Backlog {
    /// Takes an entry, making room by its rule where there is none. Answers whether it was taken.
    ///
    /// # Errors
    /// The client must be closed.
    pub(super) fn admit(&mut self, entry: Entry, terms: &Terms) -> Result<bool, Close> {
        let Kind::Publication { rule, on_full, .. } = entry.kind else {
            self.push(entry);
            return Ok(true);
        };
        if self.has_room(&entry, terms) {
            self.push(entry);
            return Ok(true);
        }
        match on_full {
            OnFull::Disconnect => Err(slow()),
            OnFull::DropNewest => self.dropped(self.entries.len(), &entry, terms).map(|()| false),
            OnFull::DropOldest => self.drop_oldest(entry, rule, terms),
            OnFull::Conflate => self.conflate(entry, rule, terms),
        }
    }

    /// Whether an entry fits. Where nothing waits anything does: else it could never be sent.
    pub(super) fn has_room(&self, entry: &Entry, terms: &Terms) -> bool {
        let fits = self.bytes() + entry.cost() <= terms.bytes && self.entries.len() < terms.messages;
        fits || self.is_empty()
    }

    fn drop_oldest(&mut self, entry: Entry, rule: RuleIndex, terms: &Terms) -> Result<bool, Close> {
        while !self.has_room(&entry, terms) {
            let place = self.entries.iter().position(|entry| entry.is_under(rule)).ok_or_else(slow)?;
            if let Some(oldest) = self.remove(place) {
                self.dropped(place, &oldest, terms)?;
            }
        }
        self.push(entry);
        Ok(true)
    }

    /// Keeps the newest per topic and key of all entries under the rule, the arriving one being the newest.
    fn conflate(&mut self, entry: Entry, rule: RuleIndex, terms: &Terms) -> Result<bool, Close> {
        let superseded = self.superseded(&entry, rule);
        self.drop_all(&superseded, terms)?;
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
        let gaps = self.entries.iter().filter(|entry| matches!(entry.kind, Kind::Gap(_)));
        let gap_bytes: usize = gaps.map(Entry::cost).sum();
        let fits = self.bytes() - gap_bytes + entry.cost() <= terms.bytes;
        fits && self.entries.len() - self.told.len() < terms.messages || self.is_empty()
    }

    /// The places under the rule of which a newer one stands behind, or arrives; in order.
    fn superseded(&self, arriving: &Entry, rule: RuleIndex) -> Vec<usize> {
        let mut newer: HashSet<_> = arriving.subject().into_iter().collect();
        let waiting = self.entries.iter().enumerate().rev().filter(|(_, entry)| entry.is_under(rule));
        let old = waiting.filter(|(_, entry)| entry.subject().is_some_and(|subject| !newer.insert(subject)));
        let mut places: Vec<_> = old.map(|(place, _)| place).collect();
        places.reverse();
        places
    }

    /// Drops what stands at `places`, in one walk however many they are.
    fn drop_all(&mut self, places: &[usize], terms: &Terms) -> Result<(), Close> {
        if places.is_empty() {
            return Ok(());
        }
        terms.metrics.dropped(Dropped::Slow).inc_by(places.len() as u64);
        let word = terms.protocol.on_gap();
        if word == GapWord::Close {
            return Err(Close::Gap);
        }
        let mut places = places.iter().copied().peekable();
        let told_before = std::mem::take(&mut self.told).len();
        let kept = VecDeque::with_capacity(self.entries.len());
        for (place, entry) in std::mem::replace(&mut self.entries, kept).into_iter().enumerate() {
            let drops = places.next_if_eq(&place).is_some();
            match &entry.kind {
                Kind::Publication { origin, .. } if drops => {
                    self.refund(entry.cost());
                    if word == GapWord::Told && !self.told.contains(&origin.topic) {
                        self.stand_gap(self.entries.len(), origin, terms);
                    }
                }
                // It stands earlier now.
                Kind::Gap(topic) if self.told.contains(topic) => self.refund(entry.cost()),
                kind => {
                    if let Kind::Gap(topic) = kind {
                        self.told.push(topic.clone());
                    }
                    self.entries.push_back(entry);
                }
            }
        }
        terms.metrics.gaps(GapReason::Slow).inc_by((self.told.len() - told_before) as u64);
        Ok(())
    }

    /// Counts a dropped publication and sees that its topic has one gap, at `place` or before.
    fn dropped(&mut self, place: usize, entry: &Entry, terms: &Terms) -> Result<(), Close> {
        let Kind::Publication { origin, .. } = &entry.kind else {
            return Ok(());
        };
        terms.metrics.dropped(Dropped::Slow).inc();
        match terms.protocol.on_gap() {
            GapWord::Silent => Ok(()),
            GapWord::Close => Err(Close::Gap),
            GapWord::Told => {
                self.tell(place, origin, terms);
                Ok(())
            }
        }
    }

    fn tell(&mut self, place: usize, dropped: &Origin, terms: &Terms) {
        let topic = &dropped.topic;
        if !self.told.contains(topic) {
            terms.metrics.gaps(GapReason::Slow).inc();
            return self.stand_gap(place, dropped, terms);
        }
        let is_told = |entry: &Entry| matches!(&entry.kind, Kind::Gap(told) if told == topic);
        let before = place >= self.entries.len() || self.entries.iter().take(place + 1).any(is_told);
        if !before {
            // Its topic's rule has changed since: what is dropped now stood before what was dropped then.
            let later = self.entries.iter().position(is_told);
            later.and_then(|later| self.remove(later));
            self.stand_gap(place, dropped, terms);
        }
    }

    fn stand_gap(&mut self, place: usize, dropped: &Origin, terms: &Terms) {
        let (topic, until) = (&dropped.topic, clock::unix_ms());
        let since = clock::unix_ms_at(dropped.received);
        let gap = Gap { topics: vec![topic.clone()], reason: GapReason::Slow, since, until, spread_ms: 0 };
        let mut wire = BytesMut::new();
        terms.protocol.event(&Event::Gap(&gap), &mut wire);
        self.insert(place, Entry { bytes: wire.freeze(), kind: Kind::Gap(topic.clone()) });
        self.told.push(topic.clone());
    }
}

impl Entry {
    fn is_under(&self, wanted: RuleIndex) -> bool {
        matches!(self.kind, Kind::Publication { rule, .. } if rule == wanted)
    }

    /// What `conflate` keeps the newest of: a topic, and the key its producer gave.
    fn subject(&self) -> Option<(&str, Option<&str>)> {
        match &self.kind {
            Kind::Publication { origin, .. } => Some((origin.topic.as_str(), origin.key.as_deref())),
            Kind::Kept | Kind::Begun | Kind::Gap(_) => None,
        }
    }
}

fn slow() -> Close {
    Close::Slow(retry_hint(SLOW_RETRY))
}
