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

/// How long a topic's log is kept after the last who resumed; where all together hold more than [`LOGS`], a tenth of it.
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
    let mut under_way: FuturesUnordered<BoxFuture<'_, Vec<Errand>>> = FuturesUnordered::new();
    let mut resting: FuturesUnordered<BoxFuture<'_, Vec<Errand>>> = FuturesUnordered::new();
    let mut waiting = Waiting::default();
    let mut tick = tokio::time::interval(KEPT / 10);
    loop {
        waiting.add(interest.asks.take());
        let crowded = interest.held() > CROWDED;
        while under_way.len() < UNDER_WAY && !crowded {
            match waiting.next() {
                Some(Next::Positions(errands)) => under_way.push(healer.positions(errands).boxed()),
                Some(Next::Read(errand)) => under_way.push(healer.read(errand).boxed()),
                None => break,
            }
        }
        tokio::select! {
            Some(again) = under_way.next() => {
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
    /// Topics that have a log.
    logs: HashSet<Topic>,
}

enum Next {
    Positions(Vec<Errand>),
    Read(Errand),
}

impl Waiting {
    fn add(&mut self, errands: Vec<Errand>) {
        for errand in errands {
            match errand.what {
                What::Heal { ask: Ask::Last, .. } => self.positions.push(errand),
                What::Heal { .. } => self.reads.push_back(errand),
                What::Log(_) => {
                    self.logs.insert(errand.topic.clone());
                    self.reads.push_back(errand);
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.positions.is_empty() && self.reads.is_empty()
    }

    /// Positions first: many topics wait for one answer.
    fn next(&mut self) -> Option<Next> {
        if self.positions.is_empty() {
            return self.reads.pop_front().map(Next::Read);
        }
        let rest = self.positions.split_off(self.positions.len().min(BATCH));
        Some(Next::Positions(std::mem::replace(&mut self.positions, rest)))
    }

    /// Lets logs go that nobody needs.
    fn forget(&mut self, interest: &Interest) {
        let now = Instant::now();
        for kept in [KEPT, KEPT / 10] {
            let unused = now.checked_sub(kept).unwrap_or(now);
            let mut held = 0;
            self.logs.retain(|topic| interest.forget_log(topic, unused).inspect(|bytes| held += bytes).is_some());
            if held <= LOGS {
                break;
            }
        }
    }
}

struct Healer<'h> {
    interest: &'h Interest,
    broker: &'h dyn Broker,
}

impl Healer<'_> {
    /// Asks where topics stand. Answers those for which nobody could say.
    async fn positions(&self, mut errands: Vec<Errand>) -> Vec<Errand> {
        errands.retain(|errand| self.interest.still_wants(errand));
        let topics: Vec<Topic> = errands.iter().map(|errand| errand.topic.clone()).collect();
        let found = self.broker.positions(&topics).await;
        let mut again = Vec::new();
        for (errand, found) in errands.into_iter().zip(found) {
            match found {
                Ok(newest) => self.answer(&errand, newest),
                Err(HistoryError::Away(_)) => again.push(errand),
                Err(HistoryError::Refused(why)) => self.give_up(&errand, &why),
            }
        }
        again
    }

    /// Reads what one topic needs. Answers the errand where nobody answered it.
    async fn read(&self, errand: Errand) -> Vec<Errand> {
        if matches!(errand.what, What::Log(_)) && self.interest.logs_are_full() {
            self.give_up(&errand, "too much is kept for those who resume already");
            return Vec::new();
        }
        let read = if self.interest.still_wants(&errand) { self.what(&errand) } else { None };
        let Some(read) = read else { return Vec::new() };
        match self.broker.read(&errand.topic, read).await {
            Ok(page) => self.bring(&errand, page),
            Err(HistoryError::Away(_)) => {
                // It may have been too much for the time that an answer has.
                self.interest.ask_less(&errand);
                return vec![errand];
            }
            Err(HistoryError::Refused(why)) => self.give_up(&errand, &why),
        }
        Vec::new()
    }

    fn what(&self, errand: &Errand) -> Option<Read> {
        match errand.what {
            What::Heal { ask: Ask::After(position), .. } => self.interest.missing(&errand.topic, position),
            What::Heal { ask: Ask::Last, .. } => None,
            What::Log(id) => self.interest.older(&errand.topic, id),
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
            What::Log(id) => self.interest.logged(&errand.topic, id, Some(page)),
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
            What::Log(id) => self.interest.logged(&errand.topic, id, None),
        }
    }
}
