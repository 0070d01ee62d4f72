//! What waits for one client, oldest first, and what each entry allows.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::run::Origin;
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
}

/// What waits for one client. Every byte here is also counted in the total of all outboxes, where it
/// stands listed as long as it lives.
pub(super) struct Backlog {
    pub(super) entries: VecDeque<Entry>,
    /// The topics with a gap among the entries, each once: a gap that has begun to leave stands for no
    /// further drops.
    pub(super) told: Vec<Topic>,
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
        let (entries, told) = (VecDeque::new(), Vec::new());
        let progress = Instant::now();
        Self { entries, told, written: 0, bytes: 0, progress, full: false, thirst: None, number, total }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a frame is half out.
    pub fn is_begun(&self) -> bool {
        self.entries.front().is_some_and(|head| matches!(head.kind, Kind::Begun))
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
        self.entries.push_back(entry);
    }

    pub fn insert(&mut self, place: usize, entry: Entry) {
        self.charge(entry.cost());
        self.entries.insert(place, entry);
    }

    pub fn remove(&mut self, place: usize) -> Option<Entry> {
        let entry = self.entries.remove(place)?;
        self.refund(entry.cost());
        self.forget_told(&entry.kind);
        Some(entry)
    }

    /// Drops every publication whose first byte has not left.
    pub fn drop_publications(&mut self) {
        let mut freed = 0;
        self.entries.retain(|entry| {
            let keep = !matches!(entry.kind, Kind::Publication { .. });
            freed += if keep { 0 } else { entry.cost() };
            keep
        });
        self.refund(freed);
    }

    /// One gathered write from the head.
    pub fn write(&mut self, write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); GATHER];
        let mut count = 0;
        for (slice, entry) in slices.iter_mut().zip(&self.entries) {
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
        while let Some(head) = self.entries.front() {
            let len = head.bytes.len();
            if self.written < len {
                break;
            }
            self.written -= len;
            self.remove(0);
        }
        if self.written > 0
            && let Some(head) = self.entries.front_mut()
        {
            let begun = std::mem::replace(&mut head.kind, Kind::Begun);
            self.forget_told(&begun);
        }
    }

    /// Appends what has not left.
    #[cfg(all(test, not(fanline_loom)))]
    pub fn unsent(&self, into: &mut Vec<u8>) {
        let mut skip = self.written;
        for entry in &self.entries {
            into.extend_from_slice(&entry.bytes[std::mem::take(&mut skip)..]);
        }
    }

    fn forget_told(&mut self, kind: &Kind) {
        if let Kind::Gap(topic) = kind {
            self.told.retain(|told| told != topic);
        }
    }

    fn charge(&mut self, cost: usize) {
        self.bytes += cost;
        self.total.charge(cost);
    }

    pub fn refund(&mut self, cost: usize) {
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
