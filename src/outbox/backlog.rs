//! What waits for one client, oldest first, and what each entry allows.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::row::{Place, Row};
use super::run::Origin;
use super::spare::Spare;
use super::{GATHER, Thirst, Total};
use crate::identity::ConnectionNumber;
use crate::settings::{OnFull, RuleIndex};
use crate::topic::Topic;

/// What an entry costs beside its bytes: the entry itself and the allocator's share.
pub(super) const ENTRY: usize = 64;

/// One frame, or several that go together, and what may happen to it.
pub(super) struct Entry {
    pub bytes: Bytes,
    pub kind: Kind,
}

pub(super) enum Kind {
    /// A reply, a control frame, a farewell.
    Kept,
    /// What is left of a frame whose first byte is out; it goes out whole.
    Begun,
    /// A publication, under the rule of its topic.
    Publication { origin: Arc<Origin>, rule: RuleIndex, on_full: OnFull },
    /// "You may have missed something" of this topic, where the first dropped entry stood.
    Gap(Topic),
}

impl Entry {
    pub fn kept(bytes: Bytes) -> Self {
        Self { bytes, kind: Kind::Kept }
    }

    pub fn begun(bytes: Bytes) -> Self {
        Self { bytes, kind: Kind::Begun }
    }

    pub fn publication(bytes: Bytes, (rule, on_full): (RuleIndex, OnFull), origin: Arc<Origin>) -> Self {
        Self { bytes, kind: Kind::Publication { origin, rule, on_full } }
    }

    pub fn cost(&self) -> usize {
        self.bytes.len() + ENTRY
    }

    /// Of a publication: its rule, and where it is from.
    pub fn droppable(&self) -> Option<(RuleIndex, &Arc<Origin>)> {
        match &self.kind {
            Kind::Publication { origin, rule, .. } => Some((*rule, origin)),
            Kind::Kept | Kind::Begun | Kind::Gap(_) => None,
        }
    }
}

/// What waits for one client. Every byte here is also counted in the total of all outboxes, where it
/// stands listed as long as it lives.
pub(super) struct Backlog {
    pub(super) entries: Row,
    /// Where the gap of a topic stands, which has one at most: a gap that has begun to leave stands for no further drops.
    pub(super) gaps: HashMap<Topic, Place>,
    /// What these cost.
    pub(super) gap_bytes: usize,
    /// What may be dropped under each rule that has met a full outbox here.
    pub(super) spares: HashMap<RuleIndex, Spare>,
    /// How many bytes of the head have left.
    written: usize,
    bytes: usize,
    /// When the socket last took anything.
    progress: Instant,
    /// Whether the socket has said that it is full since it last took anything.
    full: bool,
    /// Who is told once all is out.
    pub(super) thirst: Option<Arc<dyn Thirst>>,
    number: ConnectionNumber,
    total: Arc<Total>,
}

impl Backlog {
    pub fn new(number: ConnectionNumber, total: Arc<Total>) -> Self {
        Self {
            entries: Row::new(),
            gaps: HashMap::new(),
            gap_bytes: 0,
            spares: HashMap::new(),
            written: 0,
            bytes: 0,
            progress: Instant::now(),
            full: false,
            thirst: None,
            number,
            total,
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a frame is half out.
    pub fn is_begun(&self) -> bool {
        self.entries.head().is_some_and(|head| matches!(head.kind, Kind::Begun))
    }

    pub fn meets_full(&mut self) {
        self.full = true;
    }

    /// Whether a full socket has taken bytes again, which means that the peer took some; told once.
    pub fn shows_life(&mut self) -> bool {
        std::mem::take(&mut self.full)
    }

    pub fn stalled(&self) -> Duration {
        self.progress.elapsed()
    }

    pub fn push(&mut self, entry: Entry) {
        self.charge(entry.cost());
        let spare = entry.droppable().and_then(|(rule, origin)| Some((self.spares.get_mut(&rule)?, origin.clone())));
        let place = self.entries.push(entry);
        if let Some((spare, origin)) = spare {
            spare.came(&origin, place);
        }
    }

    pub fn take(&mut self, place: Place) -> Option<Entry> {
        let entry = self.entries.take(place)?;
        self.forget(&entry, place);
        Some(entry)
    }

    /// Puts the gap of a topic, which has none yet, where an entry stands, or behind all.
    pub fn put_gap(&mut self, topic: Topic, bytes: Bytes, place: Option<Place>) {
        let entry = Entry { bytes, kind: Kind::Gap(topic.clone()) };
        let cost = entry.cost();
        self.charge(cost);
        self.gap_bytes += cost;
        let place = match place {
            None => self.entries.push(entry),
            Some(place) => {
                let dropped = self.entries.replace(place, entry);
                dropped.into_iter().for_each(|dropped| self.forget(&dropped, place));
                place
            }
        };
        self.gaps.insert(topic, place);
    }

    /// Drops every publication whose first byte has not left.
    pub fn drop_publications(&mut self) {
        let publications = self.entries.iter().filter(|(_, entry)| entry.droppable().is_some());
        let places: Vec<_> = publications.map(|(place, _)| place).collect();
        self.spares.clear();
        for place in places {
            self.take(place);
        }
    }

    /// One gathered write from the head.
    pub fn write(&mut self, write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); GATHER];
        let mut count = 0;
        for (slice, (_, entry)) in slices.iter_mut().zip(self.entries.iter()) {
            let start = if count == 0 { self.written } else { 0 };
            *slice = IoSlice::new(&entry.bytes[start..]);
            count += 1;
        }
        let taken = write(&slices[..count])?;
        if taken == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.advance(taken);
        Ok(())
    }

    fn advance(&mut self, taken: usize) {
        self.progress = Instant::now();
        self.written += taken;
        while let Some(place) = self.entries.first() {
            let len = self.entries.head().map_or(0, |head| head.bytes.len());
            if self.written < len {
                break;
            }
            self.written -= len;
            self.take(place);
        }
        if self.written > 0 {
            self.begin();
        }
    }

    /// Some bytes of the head are out: it goes out whole.
    fn begin(&mut self) {
        let Some(place) = self.entries.first() else { return };
        let Some(head) = self.entries.head().filter(|head| !matches!(head.kind, Kind::Begun)) else { return };
        let begun = Entry::begun(head.bytes.clone());
        self.charge(begun.cost());
        let before = self.entries.replace(place, begun);
        before.into_iter().for_each(|before| self.forget(&before, place));
    }

    /// Appends what has not left.
    #[cfg(all(test, not(fanline_loom)))]
    pub fn unsent(&self, into: &mut Vec<u8>) {
        let mut skip = self.written;
        for (_, entry) in self.entries.iter() {
            into.extend_from_slice(&entry.bytes[std::mem::take(&mut skip)..]);
        }
    }

    /// What stood at this place does so no more.
    fn forget(&mut self, entry: &Entry, place: Place) {
        self.refund(entry.cost());
        match &entry.kind {
            Kind::Kept | Kind::Begun => {}
            Kind::Gap(topic) => {
                self.gaps.remove(topic);
                self.gap_bytes -= entry.cost();
            }
            Kind::Publication { origin, rule, .. } => {
                if let Some(spare) = self.spares.get_mut(rule) {
                    spare.left(origin, place);
                }
            }
        }
    }

    fn charge(&mut self, cost: usize) {
        self.bytes += cost;
        self.total.charge(cost);
    }

    fn refund(&mut self, cost: usize) {
        self.bytes -= cost;
        self.total.refund(cost);
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.total.refund(self.bytes);
        self.total.discharge(self.number);
    }
}
