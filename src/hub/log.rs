//! The newest publications of a topic, kept while clients resume: read backwards from where the topic stands, as far as
//! somebody needs, and lengthened by what comes. All who resume share it, each with a cursor of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::portion::Portion;
use super::sequence::reason;
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

/// Where they hold more than this, those go that nobody has had use for the longest. A client that had not seen all of one
/// has it read again from where it stands, so what one client asks for is never the end of what another does.
pub(super) const LOGS: usize = 64 * 1024 * 1024;

/// How many publications the first read brings where the first who resumes names a place: most have missed little, and each
/// costs Redis some µs …
const FEW: usize = 32;
/// … and how many, and how many bytes, at most: for one who asks for the last so many.
pub(super) const FIRST: (usize, usize) = (100, 1024 * 1024);
/// … while the others bring what may be of use besides, in pieces for which Redis lets nobody wait for long.
pub(super) const FURTHER: (usize, usize) = (1_000, 4 * 1024 * 1024);

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
    /// How much of a page is read.
    pub portion: Portion,
    /// How many publications the first read brings.
    few: usize,
    /// Whether that was done.
    begun: bool,
    reach: Reach,
}

/// What is known of what stands before the first entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// There may be more.
    Open,
    /// There is nothing older, or nothing that is of use.
    All,
    /// It cannot be read: nothing is known.
    Unread(Instant),
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
    /// The cursor points at what is not here any more, nor to be had elsewhere: why.
    Behind(GapReason),
    /// The log made room for others: it is to be read again.
    Away,
}

impl Log {
    /// Begins behind `last`, where the next publication will have this number, for one who resumes so.
    pub fn new((next, last): (u64, Position), resume: Resume, now: Instant, held: Held) -> Self {
        let few = match resume {
            Resume::Last(most) => usize::try_from(most).unwrap_or(usize::MAX).clamp(1, FIRST.0),
            Resume::After(_) | Resume::Since(_) => FEW,
        };
        Self {
            few,
            begun: false,
            held,
            id: crate::clock::next_version(),
            asked: false,
            used: now,
            entries: VecDeque::new(),
            first: next,
            start: last,
            bytes: 0,
            portion: Portion::default(),
            reach: Reach::Open,
        }
    }

    /// What it holds, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a read has told what it holds, or that there is nothing.
    pub fn is_read(&self) -> bool {
        self.reach != Reach::Open || !self.entries.is_empty()
    }

    /// Whether it could not be read, and that was found out before this moment.
    pub fn is_unread_since(&self, long_ago: Instant) -> bool {
        matches!(self.reach, Reach::Unread(at) if at <= long_ago)
    }

    /// Whether the next read goes further back than the first one.
    pub fn goes_further(&self) -> bool {
        self.begun
    }

    /// A publication went out.
    pub fn append(&mut self, publication: &Arc<Publication>) {
        let at = publication.position().unwrap_or_else(|| self.end());
        self.grow(size(publication));
        self.entries.push_back(Kept { at, publication: publication.clone() });
        while self.is_over() {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.shrink(size(&oldest.publication));
            (self.start, self.reach) = (oldest.at, Reach::All);
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
        let before = self.before(behind);
        match before == position {
            true => self.at(behind),
            false if position < self.start => self.further(reason(position, Some(before), self.end())),
            false => Found::Gone(reason(position, Some(before), self.end())),
        }
    }

    /// A publication that is older than the moment proves that nothing is missing behind it, and so does the very first one,
    /// if it is of that moment. That there is none before proves nothing: a history that was flushed begins anew, and so
    /// does one whose last position was forgotten.
    fn since(&self, ms: u64) -> Found {
        let place = self.entries.partition_point(|kept| kept.at.ms < ms);
        match self.before(place) {
            Position::START if ms == 0 && self.reach == Reach::All => self.at(0),
            Position::START if self.entries.front().is_some_and(|first| first.at.ms == ms) => self.at(0),
            Position::START => self.further(GapReason::Lost),
            before if before.ms < ms => self.at(place),
            _ => self.further(GapReason::Trimmed),
        }
    }

    fn last(&self, most: usize) -> Found {
        match self.entries.len().checked_sub(most) {
            Some(place) => self.at(place),
            None if self.reach == Reach::All => self.at(0),
            None => self.further(GapReason::Lost),
        }
    }

    /// What somebody needs stands further back, if it is anywhere.
    fn further(&self, why_not: GapReason) -> Found {
        match self.reach {
            Reach::Open => Found::Older,
            Reach::All => Found::Gone(why_not),
            Reach::Unread(_) => Found::Gone(GapReason::Lost),
        }
    }

    /// The position before the entry at a place.
    fn before(&self, place: usize) -> Position {
        place.checked_sub(1).map_or(self.start, |before| self.entries[before].at)
    }

    fn at(&self, place: usize) -> Found {
        Found::At { next: self.first + place as u64, position: self.before(place) }
    }

    /// The read that makes it longer.
    pub fn older(&self) -> Read {
        let (most, bytes) = if self.begun { FURTHER } else { (self.few, FIRST.1) };
        let room = (RECOVERY.saturating_sub(self.entries.len()), RECOVERY_BYTES.saturating_sub(self.bytes));
        let (most, bytes) = (most.min(room.0), bytes.min(room.1));
        self.portion.of(Read { part: Part::Until(self.start), most, bytes })
    }

    /// What [`Log::older`] brought is put in front, as far as it leads up to what is here.
    pub fn lengthen(&mut self, page: Page) {
        self.portion.grow();
        self.begun = true;
        let mut ends = !page.more;
        for entry in page.entries.into_iter().rev() {
            let bytes = size(&entry);
            let step = entry.step().filter(|(_, pos)| *pos == self.start);
            let Some((prev, pos)) = step.filter(|_| self.has_room(bytes)) else {
                ends = true;
                break;
            };
            self.grow(bytes);
            self.first -= 1;
            self.start = prev;
            self.entries.push_front(Kept { at: pos, publication: Arc::new(entry) });
        }
        if ends || self.start == Position::START {
            self.reach = Reach::All;
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.entries.len() < RECOVERY && self.bytes + bytes <= RECOVERY_BYTES
    }

    /// What is older cannot be read.
    pub fn give_up(&mut self, now: Instant) {
        self.reach = Reach::Unread(now);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::fake::topic;
    use crate::publication::Header;

    fn log() -> Log {
        Log::new((1 << 40, Position::at(10_000)), Resume::Last(100), Instant::now(), Held::default())
    }

    /// What Redis answers, of a history without a beginning.
    fn page(read: Read, size: usize) -> Page {
        let Part::Until(end) = read.part else { panic!("{read:?}") };
        let count = (read.bytes / size).clamp(1, read.most);
        let entry = |ms| {
            let header = Header { prev: Some(Position::at(ms - 1)), pos: Some(Position::at(ms)), ..Header::default() };
            Publication::new(topic("t"), Some(Box::new(header)), vec![b'x'; size].into(), Instant::now())
        };
        Page { entries: (end.ms + 1 - count as u64..=end.ms).map(entry).collect(), newest: end, more: true }
    }

    fn read(log: &mut Log, size: usize) -> usize {
        let page = page(log.older(), size);
        let bytes = page.entries.iter().map(|entry| entry.payload.len()).sum();
        log.lengthen(page);
        bytes
    }

    #[test]
    fn who_has_missed_a_hundred_small_publications_costs_one_read_and_who_has_missed_a_thousand_two() {
        let mut log = log();
        read(&mut log, 100);
        assert!(matches!(log.find(Resume::Last(100)), Found::At { .. }));
        assert_eq!(log.find(Resume::Last(1_000)), Found::Older);
        read(&mut log, 100);
        assert!(matches!(log.find(Resume::Last(1_000)), Found::At { .. }));
    }

    #[test]
    fn what_comes_while_the_first_read_waits_makes_it_no_larger() {
        let mut log = log();
        let publication = Publication::new(topic("t"), None, vec![b'x'; 9].into(), Instant::now());
        log.append(&Arc::new(publication));
        assert!(!log.goes_further());
        assert_eq!((log.older().most, log.older().bytes), FIRST);
        read(&mut log, 100);
        assert!(log.goes_further());
        assert_eq!(log.older().most, FURTHER.0);
    }

    #[test]
    fn the_first_read_brings_what_is_asked_for_and_few_where_a_place_is() {
        let first = |resume| Log::new((1 << 40, Position::at(10_000)), resume, Instant::now(), Held::default()).older();
        assert_eq!(first(Resume::After(Position::at(5))).most, 32);
        assert_eq!([0, 7, 1_000].map(|most| first(Resume::Last(most)).most), [1, 7, 100]);
    }

    #[test]
    fn large_publications_are_read_a_few_megabytes_at_a_time_until_it_is_known_that_they_are_too_many() {
        let (mut log, mut reads) = (log(), Vec::new());
        let long_ago = Resume::After(Position::at(5));
        while log.find(long_ago) == Found::Older {
            reads.push(read(&mut log, 500_000));
        }
        assert_eq!(reads, [1_000_000, 4_000_000, 3_000_000, 500_000]);
        assert_eq!(log.find(long_ago), Found::Gone(GapReason::Trimmed));
    }

    #[test]
    fn after_what_was_too_much_less_is_asked_for_down_to_one_publication_and_soon_as_much_as_before() {
        let mut log = log();
        let (most, bytes) = FIRST;
        log.portion.lessen();
        assert_eq!((log.older().most, log.older().bytes), (most / 4, bytes / 4));
        (0..40).for_each(|_| log.portion.lessen());
        assert_eq!(log.older().most, 1);
        (0..3).for_each(|_| _ = read(&mut log, 100));
        assert_eq!((log.older().most, log.older().bytes), FURTHER);
    }
}
