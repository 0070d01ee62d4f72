//! The task that reads histories for all shards: once for each topic, however many wait for it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio_util::sync::CancellationToken;

use super::asks::{Errand, What};
use super::inbox::INBOX_PUBLICATIONS;
use super::interest::Interest;
use super::sequence::Ask;
use super::waiting::{Next, UNDER_WAY, Waiting};
use crate::broker::{Broker, HistoryError, Page, Read};
use crate::position::Position;
use crate::repeat::Repeats;
use crate::topic::Topic;

/// So often logs that nobody needs are let go.
const LOOK_AT_LOGS: Duration = Duration::from_secs(1);

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
    let mut tick = tokio::time::interval(LOOK_AT_LOGS);
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
                waiting.done(further);
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

/// What came of errands.
struct Done {
    /// Those that nobody answered.
    again: Vec<Errand>,
    /// Whether it was a read that goes further back.
    further: bool,
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
            What::Doubt { after, .. } => self.interest.missing(&errand.topic, after),
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
            What::Doubt { epoch, .. } => self.interest.looked(&errand.topic, epoch, Some(page)),
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
            What::Doubt { epoch, .. } => self.interest.looked(&errand.topic, epoch, None),
            What::Log { id, .. } => self.interest.logged(&errand.topic, id, None),
        }
    }
}
