//! What a replica knows of the past of one topic whose history is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::asks::What;
use super::log::{Found, Held, Log, Stretch};
use super::portion::Portion;
use super::sequence::{Ask, Outcome, Sequence, Step};
use crate::broker::{Part, Read};
use crate::command::Resume;
use crate::event::GapReason;
use crate::identity::ConnectionNumber;
use crate::position::Position;
use crate::publication::Publication;

/// The number of the first publication that is delivered here; what was before it has smaller ones.
const FIRST: u64 = 1 << 40;

/// How many publications a read brings that fills a hole, and how many bytes.
pub(super) const PAGE: (usize, usize) = (1_000, 1024 * 1024);

/// How long it holds what was found out about who is ahead, and that a history cannot be read.
const DOUBT: Duration = Duration::from_secs(1);

/// One topic's past, shared by all shards.
#[derive(Debug)]
pub(super) struct Past {
    /// Tells the time between two closings of the road from the next: what was asked in one is no answer in the other.
    pub epoch: u64,
    /// How much of a page is read.
    pub portion: Portion,
    sequence: Sequence,
    log: Option<Log>,
    doubt: Doubt,
    /// The number of the next publication that is delivered.
    next: u64,
    /// The last hole that was told, by the number of what stands behind it.
    hole: Option<(u64, GapReason)>,
    /// Whether publications came that are in no history.
    pub has_strays: bool,
    /// Until when everything had come that was published, in ms since 1970, where the road was closed since.
    heard: Option<u64>,
}

/// What became of it that a client says to be ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    None,
    /// It is looked whether it is right.
    Asked,
    /// It was looked.
    Settled(Instant),
}

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Which log: in another one the numbers may stand for others.
    log: u64,
    /// The number of the next publication.
    pub next: u64,
}

/// What somebody who resumes is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resumed {
    /// It has missed nothing: it goes on with the others, behind this position, and the next it gets has this number.
    Here { next: u64, position: Position },
    /// It goes on at this cursor of the log, behind this position.
    At { cursor: Cursor, position: Position },
    /// More is being read; `Logged` says when to ask again.
    Wait,
    /// It cannot go on from there, and why.
    Gone(GapReason),
}

/// One thing for the subscribers: a publication with its number, or a gap and what stands before it.
pub(super) enum Told {
    Publication(Arc<Publication>),
    Gap { reason: GapReason, since: Position, behind: Option<Position> },
}

impl Told {
    /// Behind what it stands, where it says so.
    pub fn prev(&self) -> Option<Position> {
        match self {
            Self::Publication(publication) => publication.step().map(|(prev, _)| prev),
            Self::Gap { .. } => None,
        }
    }
}

impl Default for Past {
    fn default() -> Self {
        let (sequence, log) = (Sequence::default(), None);
        let epoch = crate::clock::next_version();
        Self {
            epoch,
            portion: Portion::default(),
            sequence,
            log,
            doubt: Doubt::None,
            next: FIRST,
            hole: None,
            has_strays: false,
            heard: None,
        }
    }
}

impl Past {
    /// Behind which position the next publication stands.
    pub fn last(&self) -> Option<Position> {
        self.sequence.last()
    }

    /// Whether what comes goes on at once.
    pub fn is_whole(&self) -> bool {
        self.sequence.is_whole()
    }

    /// The road is closed; until `heard`, in ms since 1970, everything had come.
    pub fn closed(&mut self, heard: u64) {
        if self.is_whole() {
            self.heard = Some(heard);
        }
        self.begin();
        self.sequence.closed();
    }

    pub fn opened(&mut self) -> Option<Ask> {
        self.begin();
        self.sequence.opened().ask
    }

    /// What was asked before is answered to nobody.
    fn begin(&mut self) {
        self.epoch = crate::clock::next_version();
        self.doubt = Doubt::None;
    }

    /// Where the topic stands though Redis has forgotten it, because nothing was published for as long as it remembers:
    /// what was published since would still be remembered, and until the road closed nothing was missed. None where
    /// that explains nothing: the history is gone, or the road was closed for too long.
    pub fn outlived(&self, now_ms: u64, remembered: Duration) -> Option<Position> {
        let remembered = u64::try_from(remembered.as_millis()).unwrap_or(u64::MAX);
        let heard = self.heard.filter(|_| !self.is_whole()).unwrap_or(now_ms);
        let is_old = |last: &Position| last.ms.saturating_add(remembered) <= now_ms;
        self.sequence.last().filter(is_old).filter(|_| now_ms < heard.saturating_add(remembered))
    }

    /// The read that brings what follows a position.
    pub fn missing(&self, position: Position) -> Read {
        let (most, bytes) = PAGE;
        self.portion.of(Read { part: Part::After(position), most, bytes })
    }

    /// Something happened to the sequence: what the subscribers see of it, and what must be read next.
    pub fn act(&mut self, act: impl FnOnce(&mut Sequence) -> Outcome) -> (Vec<Told>, Option<Ask>) {
        let mut before = self.sequence.last().unwrap_or_default();
        let Outcome { steps, ask } = act(&mut self.sequence);
        let told = steps.into_iter().map(|step| match step {
            Step::Publication(publication) => {
                before = publication.position().unwrap_or(before);
                Told::Publication(self.number(publication))
            }
            Step::Gap(reason, behind) => {
                // Behind a hole nobody is brought up to date from before it.
                self.log = None;
                self.hole = Some((self.next, reason));
                Told::Gap { reason, since: before, behind }
            }
        });
        let told = told.collect();
        if self.is_whole() {
            self.heard = None;
        }
        (told, ask)
    }

    fn number(&mut self, mut publication: Publication) -> Arc<Publication> {
        publication.ordinal = self.next;
        self.next += 1;
        let publication = Arc::new(publication);
        if let Some(log) = &mut self.log {
            log.append(&publication);
        }
        publication
    }

    /// Where somebody who resumes goes on; and what must be read now.
    pub fn resume(&mut self, wish: (Resume, ConnectionNumber), now: Instant, held: &Held) -> (Resumed, Option<What>) {
        let (resume, by) = wish;
        let Some(last) = self.sequence.last() else {
            return (Resumed::Gone(GapReason::Lost), None);
        };
        if let Some(ask) = self.is_ahead(wish, last, now) {
            return (Resumed::Wait, ask);
        }
        let missed_nothing = match resume {
            Resume::After(position) => position == last,
            // Nothing is proven by a topic of which nothing is known.
            Resume::Since(ms) => last != Position::START && last.ms < ms,
            Resume::Last(most) => most == 0,
        };
        if missed_nothing {
            return (Resumed::Here { next: self.next, position: last }, None);
        }
        self.log.take_if(|log| now.checked_sub(DOUBT).is_some_and(|before| log.is_unread_since(before)));
        let mut log = self.log.take().unwrap_or_else(|| Log::new((self.next, last), resume, now, held.clone()));
        log.used = now;
        let found = match log.find(resume) {
            // All there is has been seen: there is nothing to be brought, from a log or otherwise.
            Found::At { next, .. } if next == self.next => (Resumed::Here { next, position: last }, None),
            Found::At { next, position } => (Resumed::At { cursor: Cursor { log: log.id, next }, position }, None),
            Found::Gone(reason) => (Resumed::Gone(reason), None),
            Found::Older => {
                let ask = What::Log { id: log.id, further: log.goes_further(), by };
                (Resumed::Wait, (!std::mem::replace(&mut log.asked, true)).then_some(ask))
            }
        };
        // One of which nothing was read is of no use to others either.
        self.log = (log.asked || log.is_read()).then_some(log);
        found
    }

    /// Whether somebody was on another replica that is ahead of this one: then it waits until it is known what this one
    /// has missed; and what is to be read for that, once a second at most, for it may have seen what is no more. Nobody else
    /// waits for that, or hears of it: it is Redis' word that counts, and not a client's.
    fn is_ahead(
        &mut self,
        (resume, by): (Resume, ConnectionNumber),
        last: Position,
        now: Instant,
    ) -> Option<Option<What>> {
        let is_ahead = resume.position().is_some_and(|position| position > last && position != Position::NOWHERE);
        let is_settled = matches!(self.doubt, Doubt::Settled(at) if now.duration_since(at) < DOUBT);
        if !is_ahead || is_settled && self.is_whole() {
            return None;
        }
        if !self.is_whole() || self.doubt == Doubt::Asked {
            return Some(None);
        }
        self.doubt = Doubt::Asked;
        Some(Some(What::Doubt { epoch: self.epoch, after: last, by }))
    }

    /// It was looked whether somebody who is ahead is right.
    pub fn looked(&mut self, epoch: u64, now: Instant) {
        if self.epoch == epoch {
            self.doubt = Doubt::Settled(now);
        }
    }

    /// Some publications from a cursor on.
    pub fn stretch(&mut self, cursor: Cursor, most: usize, bytes: usize, now: Instant) -> Stretch {
        let hole = self.hole.filter(|(behind, _)| *behind >= cursor.next);
        let has_strays = self.has_strays;
        match (self.log(cursor.log), hole) {
            (Some(log), _) => {
                log.used = now;
                log.stretch(cursor.next, most, bytes).unwrap_or(Stretch::Behind(GapReason::Slow))
            }
            (None, Some((_, reason))) => Stretch::Behind(reason),
            // What is in no history cannot be read again.
            (None, None) if has_strays => Stretch::Behind(GapReason::Slow),
            (None, None) => Stretch::Away,
        }
    }

    /// The log of this id, if it is still there.
    pub fn log(&mut self, id: u64) -> Option<&mut Log> {
        self.log.as_mut().filter(|log| log.id == id)
    }

    /// Lets the log go where nobody has had use for it since `unused`, and no read is under way. When the one that stays
    /// was last of use.
    pub fn forget(&mut self, unused: Instant) -> Option<Instant> {
        self.log.take_if(|log| log.used <= unused && !log.asked);
        self.log.as_ref().map(|log| log.used)
    }

    /// Makes room for other topics' logs. Whether there was anything to let go.
    pub fn evict(&mut self) -> bool {
        self.log.take_if(|log| log.bytes() > 0).is_some()
    }
}
