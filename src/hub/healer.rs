//! The task that reads histories for all shards: once for each topic, however many wait for it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio_util::sync::CancellationToken;

use super::asks::{Errand, What};
use super::inbox::INBOX_PUBLICATIONS;
use super::interest::Interest;
use super::log::LOGS;
use super::sequence::Ask;
use crate::broker::{Broker, HistoryError, Page, Read};
use crate::position::Position;
use crate::repeat::Repeats;
use crate::topic::Topic;

/// How many topics' last positions are asked for at once.
const BATCH: usize = 1_000;

/// How many reads are under way at a time: enough to keep Redis busy, few enough that their pages take little room.
const UNDER_WAY: usize = 16;

/// Of these, how many that go further back than a topic's first read: those bring more, and keep nobody waiting who has
/// missed little.
const FURTHER: usize = UNDER_WAY / 4;

/// How long a topic's log is kept after the last who resumed, where all together hold no more than [`LOGS`].
const KEPT: Duration = Duration::from_secs(10);

/// How long an errand rests that came to nothing because Redis was away.
const AGAIN: Duration = Duration::from_millis(200);

/// While the shards hold more than so many publications nothing is read that would be put on top of them …
const CROWDED: usize = INBOX_PUBLICATIONS / 2;
/// … and it is looked again so soon.
const LOOK: Duration = Duration::from_millis(2);

/// Reads until told to stop.
pub(super) async fn run(interest: Arc<Interest>, broker: Arc<dyn Broker>, stop: CancellationToken) {
    let healer = Healer { interest: &interest, broker: &*broker };
    // Each answers the errands that must be tried again; these rest apart, and take nobody's place meanwhile.
    let mut under_way: FuturesUnordered<BoxFuture<'_, Done>> = FuturesUnordered::new();
    let mut resting: FuturesUnordered<BoxFuture<'_, Vec<Errand>>> = FuturesUnordered::new();
    let mut waiting = Waiting::default();
    let mut tick = tokio::time::interval(KEPT / 10);
    loop {
        waiting.add(interest.asks.take());
        waiting.make_room(&interest);
        let crowded = interest.held() > CROWDED;
        while under_way.len() < UNDER_WAY && !crowded {
            match waiting.next() {
                Some(Next::Positions(errands)) => under_way.push(healer.positions(errands).boxed()),
                Some(Next::Read(errand)) => under_way.push(healer.read(errand).boxed()),
                None => break,
            }
        }
        tokio::select! {
            Some(Done { again, further }) = under_way.next() => {
                waiting.further_under_way -= usize::from(further);
                if !again.is_empty() {
                    resting.push(tokio::time::sleep(AGAIN).map(|()| again).boxed());
                }
            }
            Some(again) = resting.next() => waiting.add(again),
            () = interest.asks.filled() => {}
            () = tokio::time::sleep(LOOK), if crowded && !waiting.is_empty() => {}
            _ = tick.tick() => waiting.forget(&interest),
            () = stop.cancelled() => return,
        }
    }
}

/// What is to be read, and what may be forgotten.
#[derive(Default)]
struct Waiting {
    positions: Vec<Errand>,
    reads: VecDeque<Errand>,
    /// Reads that go further back, and how many of them are under way.
    further: VecDeque<Errand>,
    further_under_way: usize,
    /// Topics that have a log.
    logs: HashSet<Topic>,
}

enum Next {
    Positions(Vec<Errand>),
    Read(Errand),
}

/// What came of errands.
struct Done {
    /// Those that nobody answered.
    again: Vec<Errand>,
    /// Whether it was a read that goes further back.
    further: bool,
}

impl Waiting {
    fn add(&mut self, errands: Vec<Errand>) {
        for errand in errands {
            match errand.what {
                What::Heal { ask: Ask::Last, .. } => self.positions.push(errand),
                What::Heal { .. } => self.reads.push_back(errand),
                What::Log { further, .. } => {
                    self.logs.insert(errand.topic.clone());
                    let queue = if further { &mut self.further } else { &mut self.reads };
                    queue.push_back(errand);
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.positions.is_empty() && self.reads.is_empty() && self.further.is_empty()
    }

    /// Positions first: many topics wait for one answer.
    fn next(&mut self) -> Option<Next> {
        if self.positions.is_empty() {
            return self.next_read().map(Next::Read);
        }
        let rest = self.positions.split_off(self.positions.len().min(BATCH));
        Some(Next::Positions(std::mem::replace(&mut self.positions, rest)))
    }

    fn next_read(&mut self) -> Option<Errand> {
        self.reads.pop_front().or_else(|| {
            let errand = if self.further_under_way < FURTHER { self.further.pop_front() } else { None };
            self.further_under_way += usize::from(errand.is_some());
            errand
        })
    }

    /// Lets logs go that nobody needs.
    fn forget(&mut self, interest: &Interest) {
        let now = Instant::now();
        let unused = now.checked_sub(KEPT).unwrap_or(now);
        self.logs.retain(|topic| interest.forget_log(topic, unused).is_some());
    }

    /// Where the logs together hold too much, those go that nobody has had use for the longest, until an eighth is free: so
    /// that the search is not made anew for every read.
    fn make_room(&mut self, interest: &Interest) {
        if interest.logs_hold() <= LOGS {
            return;
        }
        let now = Instant::now();
        let unused = now.checked_sub(KEPT).unwrap_or(now);
        let used = self.logs.iter().filter_map(|topic| Some((interest.forget_log(topic, unused)?, topic.clone())));
        let mut oldest_first: Vec<_> = used.collect();
        oldest_first.sort();
        for (_, topic) in oldest_first {
            if interest.logs_hold() <= LOGS - LOGS / 8 {
                break;
            }
            interest.evict_log(&topic);
            self.logs.remove(&topic);
        }
    }
}

struct Healer<'h> {
    interest: &'h Interest,
    broker: &'h dyn Broker,
}

impl Healer<'_> {
    /// Asks where topics stand.
    async fn positions(&self, mut errands: Vec<Errand>) -> Done {
        errands.retain(|errand| self.interest.still_wants(errand));
        let topics: Vec<Topic> = errands.iter().map(|errand| errand.topic.clone()).collect();
        let found = self.broker.positions(&topics).await;
        let mut again = Vec::new();
        for (errand, found) in errands.into_iter().zip(found) {
            match found {
                Ok(newest) => self.answer(&errand, newest),
                Err(error) => again.extend(self.failed(errand, &error)),
            }
        }
        Done { again, further: false }
    }

    /// Reads what one topic needs.
    async fn read(&self, errand: Errand) -> Done {
        let further = matches!(errand.what, What::Log { further: true, .. });
        let read = if self.interest.still_wants(&errand) { self.what(&errand) } else { None };
        let Some(read) = read else { return Done { again: Vec::new(), further } };
        let again = match self.broker.read(&errand.topic, read).await {
            Ok(page) => {
                self.bring(&errand, page);
                None
            }
            Err(error) => {
                // It may have been too much for the time that an answer has.
                self.interest.ask_less(&errand);
                self.failed(errand, &error)
            }
        };
        Done { again: again.into_iter().collect(), further }
    }

    /// Nobody answered an errand: it is tried again, unless that is in vain, or was for too long.
    fn failed(&self, errand: Errand, error: &HistoryError) -> Option<Errand> {
        match error {
            HistoryError::Away(_) if tokio::time::Instant::now() < errand.until => Some(errand),
            HistoryError::Away(why) | HistoryError::Refused(why) => {
                self.give_up(&errand, why);
                None
            }
        }
    }

    fn what(&self, errand: &Errand) -> Option<Read> {
        match errand.what {
            What::Heal { ask: Ask::After(position), .. } => self.interest.missing(&errand.topic, position),
            What::Heal { ask: Ask::Last, .. } => None,
            What::Log { id, .. } => self.interest.older(&errand.topic, id),
        }
    }

    fn answer(&self, errand: &Errand, newest: Position) {
        if let What::Heal { epoch, .. } = errand.what {
            self.interest.answered(&errand.topic, epoch, newest);
        }
    }

    fn bring(&self, errand: &Errand, page: Page) {
        match errand.what {
            What::Heal { epoch, .. } => self.interest.healed(&errand.topic, epoch, page),
            What::Log { id, .. } => self.interest.logged(&errand.topic, id, Some(page)),
        }
    }

    fn give_up(&self, errand: &Errand, why: &str) {
        static TOLD: Repeats = Repeats::new();
        // A right that is missing is met by every topic and by everybody who resumes.
        if let Some(repeated) = TOLD.due(why.replace(errand.topic.as_str(), "")) {
            tracing::error!(topic = %errand.topic, error = why, repeated, "a history cannot be read; who resumes is told so");
        }
        match errand.what {
            What::Heal { epoch, .. } => self.interest.gave_up(&errand.topic, epoch),
            What::Log { id, .. } => self.interest.logged(&errand.topic, id, None),
        }
    }
}
