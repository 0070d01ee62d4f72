//! Whether a topic's publications follow one another: pure, told what came and what was read, and answering what may go
//! on to the subscribers and in which order.
//!
//! A publication follows where its `prev` is the position of the one before it, and by nothing else: so a history that was
//! set back, by a failover say, is seen although its positions grow. What does not follow waits, within bounds, while what
//! is missing is read; what the history cannot prove is told as a gap, and it goes on behind the newest.

use std::collections::VecDeque;

use crate::event::GapReason;
use crate::position::Position;
use crate::publication::Publication;

/// The most publications that wait for what is missing before them …
pub(super) const RING: usize = 5_000;
/// … and their bytes.
pub(super) const RING_BYTES: usize = 8 * 1024 * 1024;

/// How often something that does not fit is read again before it is believed.
const TRIES: u32 = 3;

/// A topic's publications, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// Behind what publications must follow; none before anything is known, and where no history can be read.
    last: Option<Position>,
    /// Up to where a read has brought, or skipped, what may still be on its way here.
    floor: Option<Position>,
    state: State,
    waiting: VecDeque<Publication>,
    bytes: usize,
    /// How often a read has not brought us on.
    tries: u32,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The road is closed.
    #[default]
    Closed,
    /// An answer is awaited; what comes waits.
    Holed,
    /// What follows `last` goes on.
    Following,
}

/// What is to be read, so that it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// The topic's last position.
    Last,
    /// What follows a position, oldest first.
    After(Position),
}

/// One thing that subscribers are to see.
#[derive(Debug)]
pub(super) enum Step {
    Publication(Publication),
    /// Something is missing for ever between the publication before and what follows this position, where that is known.
    Gap(GapReason, Option<Position>),
}

/// What something led to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// In order.
    pub steps: Vec<Step>,
    pub ask: Option<Ask>,
}

impl Sequence {
    /// The position of the last publication that went on.
    pub fn last(&self) -> Option<Position> {
        self.last
    }

    /// Whether what follows goes on at once.
    pub fn is_whole(&self) -> bool {
        self.state == State::Following
    }

    /// The road is closed: nothing comes, and what is read now may be out of date when it opens.
    pub fn closed(&mut self) {
        self.state = State::Closed;
        self.drop_waiting();
    }

    /// The road is open: from now on what is published comes.
    pub fn opened(&mut self) -> Outcome {
        (self.state, self.floor, self.tries) = (State::Holed, None, 0);
        Outcome { steps: Vec::new(), ask: Some(Ask::Last) }
    }

    /// A publication came.
    pub fn came(&mut self, publication: Publication) -> Outcome {
        match self.state {
            State::Closed => Outcome::default(),
            State::Holed => self.wait(publication),
            State::Following => self.follow(publication),
        }
    }

    /// The topic's last position was read after the road opened.
    pub fn answered(&mut self, newest: Position) -> Outcome {
        match (self.state, self.last) {
            (State::Holed, Some(last)) => self.go_on(Vec::new(), last, last == newest),
            (State::Holed, None) => {
                // What waits tells best where it begins.
                let first = self.waiting.iter().find_map(Publication::step);
                let begin = first.map_or(newest, |(prev, _)| prev);
                self.floor = Some(begin);
                self.go_on(Vec::new(), begin, true)
            }
            _ => Outcome::default(),
        }
    }

    /// What follows [`Sequence::last`] was read, oldest first, perhaps not all of it; and the newest position there was
    /// at that moment.
    pub fn read(&mut self, entries: Vec<Publication>, newest: Position) -> Outcome {
        let (State::Holed, Some(last)) = (self.state, self.last) else { return Outcome::default() };
        let (mut steps, mut at) = (Vec::new(), last);
        for entry in entries {
            match entry.step() {
                Some((prev, pos)) if prev == at => {
                    at = pos;
                    self.floor = Some(pos);
                    steps.push(Step::Publication(entry));
                }
                step if steps.is_empty() => return self.broken(last, step.map(|(prev, _)| prev), newest),
                // A break between two entries is looked at by itself: what stands before it goes on first.
                _ => return self.go_on(steps, at, false),
            }
        }
        match steps.is_empty() && at != newest {
            true => self.broken(last, None, newest),
            false => self.go_on(steps, at, at >= newest),
        }
    }

    /// Somebody says that it goes on behind its last publication, and what followed then was read: what has not come by itself
    /// since was missed. Where it is whole nothing waits for this.
    pub fn looked(&mut self, mut entries: Vec<Publication>, newest: Position) -> Outcome {
        let Some(last) = self.last.filter(|_| self.state == State::Following) else { return Outcome::default() };
        entries.retain(|entry| entry.position() > Some(last));
        if entries.is_empty() && newest <= last {
            return Outcome::default();
        }
        (self.state, self.tries) = (State::Holed, 0);
        // It was cut before what has come by itself: what stands behind that may be on its way, and is no hole yet.
        if entries.is_empty() {
            return Outcome { steps: Vec::new(), ask: Some(Ask::After(last)) };
        }
        self.read(entries, newest)
    }

    /// No history can be read: what waits goes on, behind a gap where something may be missing.
    pub fn gave_up(&mut self) -> Outcome {
        if self.state != State::Holed {
            return Outcome::default();
        }
        let gap = self.last.map(|_| Step::Gap(GapReason::Lost, None));
        let mut steps: Vec<_> = gap.into_iter().collect();
        self.last = None;
        for publication in std::mem::take(&mut self.waiting) {
            if let Some((prev, pos)) = publication.step() {
                if self.floor.is_some_and(|floor| pos <= floor) {
                    continue;
                }
                if self.last.is_some_and(|last| prev != last) {
                    steps.push(Step::Gap(GapReason::Lost, Some(prev)));
                }
                self.last = Some(pos);
            }
            steps.push(Step::Publication(publication));
        }
        self.state = State::Following;
        self.bytes = 0;
        Outcome { steps, ask: None }
    }

    /// Lets go `steps`, which end at `at`, and of what waits whatever follows. `whole`: there is nothing behind `at` but
    /// what waits.
    fn go_on(&mut self, mut steps: Vec<Step>, at: Position, mut whole: bool) -> Outcome {
        let mut last = at;
        let fits = loop {
            let Some(head) = self.waiting.front() else { break whole };
            match head.step() {
                Some((_, pos)) if pos <= last => {
                    self.waiting.pop_front();
                    continue;
                }
                Some((prev, pos)) if prev == last => (last, whole) = (pos, true),
                // What has no position stands behind what came before it.
                None if whole => {}
                _ => break false,
            }
            steps.extend(self.waiting.pop_front().map(Step::Publication));
        };
        self.last = Some(last);
        if !fits {
            return self.again(steps, last);
        }
        self.state = State::Following;
        self.tries = 0;
        self.drop_waiting();
        Outcome { steps, ask: None }
    }

    /// More must be read. Where that has brought nothing, again and again, what waits is believed.
    fn again(&mut self, mut steps: Vec<Step>, last: Position) -> Outcome {
        self.tries = if steps.is_empty() { self.tries + 1 } else { 0 };
        if self.tries <= TRIES {
            return Outcome { steps, ask: Some(Ask::After(last)) };
        }
        let first = self.waiting.iter().find_map(Publication::step);
        let at = first.map_or(last, |(prev, _)| prev);
        steps.push(Step::Gap(GapReason::Lost, Some(at)));
        self.go_on(steps, at, true)
    }

    /// The history does not go on from `last`: its first entry behind that follows `prev`, where there is one.
    fn broken(&mut self, last: Position, prev: Option<Position>, newest: Position) -> Outcome {
        // What has come since is told all the same: the hole is before it. Not what a read has told already.
        let floor = self.floor;
        self.waiting.retain(|publication| publication.position().is_none_or(|position| Some(position) > floor));
        let first = self.waiting.iter().find_map(Publication::step).filter(|(_, pos)| *pos <= newest);
        let at = first.map_or(newest, |(prev, _)| prev);
        self.floor = Some(at);
        self.go_on(vec![Step::Gap(reason(last, prev, newest), Some(at))], at, true)
    }

    fn follow(&mut self, publication: Publication) -> Outcome {
        let Some((prev, pos)) = publication.step() else {
            return Outcome { steps: vec![Step::Publication(publication)], ask: None };
        };
        match self.last {
            // What begins a history anew may be no echo, wherever it stands: a read tells, where there is anything to read
            // behind.
            last if self.floor.is_some_and(|floor| pos <= floor) && (prev != Position::START || last.is_none()) => {
                Outcome::default()
            }
            Some(last) if prev != last => {
                self.state = State::Holed;
                self.tries = 0;
                self.wait(publication);
                Outcome { steps: Vec::new(), ask: Some(Ask::After(last)) }
            }
            _ => {
                (self.last, self.floor) = (Some(pos), None);
                Outcome { steps: vec![Step::Publication(publication)], ask: None }
            }
        }
    }

    /// Keeps a publication until what is missing was read. Where there is no room all go: they are in the history, and
    /// read from there. What is not in it would be lost in silence, and so is told.
    fn wait(&mut self, publication: Publication) -> Outcome {
        let mut outcome = Outcome::default();
        let size = publication.payload.len();
        if self.waiting.len() >= RING || self.bytes + size > RING_BYTES {
            if self.waiting.iter().any(|waiting| waiting.step().is_none()) {
                outcome.steps.push(Step::Gap(GapReason::Overflow, self.last));
            }
            self.drop_waiting();
        }
        self.bytes += size;
        self.waiting.push_back(publication);
        outcome
    }

    fn drop_waiting(&mut self) {
        self.waiting = VecDeque::new();
        self.bytes = 0;
    }
}

/// Why a history does not go on from `last`.
pub(super) fn reason(last: Position, prev: Option<Position>, newest: Position) -> GapReason {
    match prev.unwrap_or(newest) {
        _ if last == Position::NOWHERE => GapReason::Lost,
        Position::START => GapReason::Lost,
        before if before < last => GapReason::Rewound,
        _ => GapReason::Trimmed,
    }
}
