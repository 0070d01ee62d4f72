//! The newest publications of a topic, kept while clients resume: read backwards from where the topic stands, as far as
//! somebody needs, and lengthened by what comes. All who resume share it, each with a cursor of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::sequence::reason;
use crate::broker::history::MOST_READ;
use crate::broker::{Page, Part, Read};
use crate::command::Resume;
use crate::event::GapReason;
use crate::position::Position;
use crate::publication::Publication;

/// Who missed more publications than this is not brought up to date …
pub(super) const RECOVERY: usize = 5_000;
/// … nor who missed more bytes.
pub(super) const RECOVERY_BYTES: usize = 8 * 1024 * 1024;

/// What all logs of a replica hold, in bytes.
pub(super) type Held = Arc<AtomicUsize>;

/// While they hold more than this nobody else begins to resume further back than a log reaches: who asks is told so, and
/// fetches the current state.
pub(super) const LOGS: usize = 64 * 1024 * 1024;

/// How many publications the first read brings. The others bring all that may be of use, by the size of these.
const FIRST_READ: usize = 128;

/// What a publication counts beside its payload, in bytes.
const BESIDE: usize = 128;

/// The newest publications of a topic, without a hole, up to the last that went out.
#[derive(Debug)]
pub(super) struct Log {
    /// Tells this log from an earlier one of its topic.
    pub id: u64,
    /// Whether a read is under way.
    pub asked: bool,
    /// When somebody last had use for it.
    pub used: Instant,
    entries: VecDeque<Kept>,
    /// The number of the first entry.
    first: u64,
    /// The position before the first entry.
    start: Position,
    bytes: usize,
    /// What all logs of the replica hold.
    held: Held,
    /// How many publications the read under way asks for.
    most: usize,
    /// How many it may ask for.
    largest: usize,
    /// Whether there is nothing older, or nothing that is of use.
    complete: bool,
}

#[derive(Debug)]
struct Kept {
    /// Its position; without one, that of the publication before.
    at: Position,
    publication: Arc<Publication>,
}

/// Where somebody who resumes goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Before the publication of this number, and behind this position.
    At { next: u64, position: Position },
    /// Perhaps further back: more must be read.
    Older,
    /// Nowhere, and why.
    Gone(GapReason),
}

/// Some publications from a cursor on.
#[derive(Debug)]
pub(super) enum Stretch {
    Of(Vec<Arc<Publication>>),
    /// All have been seen.
    End,
    /// The cursor points at what is not here any more: why.
    Behind(GapReason),
}

impl Log {
    /// Begins behind `last`, where the next publication will have this number.
    pub fn new(next: u64, last: Position, now: Instant, held: Held) -> Self {
        Self {
            held,
            id: crate::clock::next_version(),
            asked: false,
            used: now,
            entries: VecDeque::new(),
            first: next,
            start: last,
            bytes: 0,
            most: 0,
            largest: MOST_READ,
            complete: last == Position::START,
        }
    }

    /// What it holds, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it has no publications.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A publication went out.
    pub fn append(&mut self, publication: &Arc<Publication>) {
        let at = publication.position().unwrap_or_else(|| self.end());
        self.grow(size(publication));
        self.entries.push_back(Kept { at, publication: publication.clone() });
        while self.is_over() {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.shrink(size(&oldest.publication));
            (self.start, self.complete) = (oldest.at, true);
            self.first += 1;
        }
    }

    /// Where somebody goes on.
    pub fn find(&self, resume: Resume) -> Found {
        match resume {
            Resume::After(position) => self.after(position),
            Resume::Since(ms) => self.since(ms),
            Resume::Last(most) => self.last(usize::try_from(most).unwrap_or(usize::MAX)),
        }
    }

    fn after(&self, position: Position) -> Found {
        let behind = self.entries.partition_point(|kept| kept.at <= position);
        let before = behind.checked_sub(1).map_or(self.start, |place| self.entries[place].at);
        match before == position {
            true => self.at(behind),
            false if position < self.start && !self.complete => Found::Older,
            false => Found::Gone(reason(position, Some(before), self.end())),
        }
    }

    fn since(&self, ms: u64) -> Found {
        if self.start.ms >= ms && self.start != Position::START {
            return if self.complete { Found::Gone(GapReason::Trimmed) } else { Found::Older };
        }
        self.at(self.entries.partition_point(|kept| kept.at.ms < ms))
    }

    fn last(&self, most: usize) -> Found {
        match self.entries.len().checked_sub(most) {
            Some(place) => self.at(place),
            None if self.complete => self.at(0),
            None => Found::Older,
        }
    }

    fn at(&self, place: usize) -> Found {
        let position = place.checked_sub(1).map_or(self.start, |before| self.entries[before].at);
        Found::At { next: self.first + place as u64, position }
    }

    /// The read that makes it longer.
    pub fn older(&mut self) -> Read {
        let most = match self.entries.len() {
            0 => FIRST_READ,
            read => {
                let each = (self.bytes / read).max(1);
                (RECOVERY_BYTES.saturating_sub(self.bytes) / each).min(RECOVERY - read).max(FIRST_READ)
            }
        };
        self.most = most.min(self.largest);
        Read { part: Part::Until(self.start), most: self.most }
    }

    /// The last read was too much.
    pub fn ask_less(&mut self) {
        self.largest = (self.most / 4).max(1);
    }

    /// What [`Log::older`] brought is put in front, as far as it leads up to what is here.
    pub fn lengthen(&mut self, page: Page) {
        self.complete |= page.entries.len() < self.most;
        for entry in page.entries.into_iter().rev() {
            let Some((prev, pos)) = entry.step().filter(|(_, pos)| *pos == self.start) else {
                self.complete = true;
                break;
            };
            let bytes = size(&entry);
            if self.entries.len() >= RECOVERY || self.bytes + bytes > RECOVERY_BYTES {
                self.complete = true;
                break;
            }
            self.grow(bytes);
            self.first -= 1;
            self.start = prev;
            self.entries.push_front(Kept { at: pos, publication: Arc::new(entry) });
        }
        self.complete |= self.start == Position::START;
    }

    /// Nothing older can be read.
    pub fn give_up(&mut self) {
        self.complete = true;
    }

    /// The publications from a number on, up to so many and, but for the first, so many bytes. None where that one is
    /// not here any more.
    pub fn stretch(&self, next: u64, most: usize, bytes: usize) -> Option<Stretch> {
        let place = usize::try_from(next.checked_sub(self.first)?).ok()?;
        let (mut taken, mut held) = (Vec::new(), 0);
        for kept in self.entries.iter().skip(place).take(most) {
            held += kept.publication.payload.len();
            if held > bytes && !taken.is_empty() {
                break;
            }
            taken.push(kept.publication.clone());
        }
        Some(if taken.is_empty() { Stretch::End } else { Stretch::Of(taken) })
    }

    fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    fn shrink(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn end(&self) -> Position {
        self.entries.back().map_or(self.start, |newest| newest.at)
    }

    fn is_over(&self) -> bool {
        self.entries.len() > RECOVERY || self.bytes > RECOVERY_BYTES && self.entries.len() > 1
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn size(publication: &Publication) -> usize {
    publication.payload.len() + BESIDE
}
