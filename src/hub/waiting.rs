//! What waits to be read from the histories, in the order in which it is: what makes topics whole first, then what clients
//! who resume ask for, each client in its turn; and the logs that may be forgotten.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::asks::{Errand, What};
use super::interest::Interest;
use super::log::{self, LOGS};
use super::past::PAGE;
use super::sequence::Ask;
use crate::identity::ConnectionNumber;
use crate::topic::Topic;

/// How many topics' last positions are asked for at once.
const BATCH: usize = 1_000;

/// How many reads are under way at a time: enough to keep Redis busy, few enough that their pages take little room.
pub(super) const UNDER_WAY: usize = 16;

/// How many of these may go further back than a topic's first read: those bring more, and keep nobody waiting who
/// has missed little.
const FURTHER: usize = UNDER_WAY / 4;

/// What is on its way from Redis at a time, in bytes, beside what the logs hold; but for a single publication that is larger
/// than what is asked for.
const ON_ITS_WAY: usize = 32 * 1024 * 1024;
const _: () = {
    let near = if PAGE.1 > log::FIRST.1 { PAGE.1 } else { log::FIRST.1 };
    assert!((UNDER_WAY - FURTHER) * near + FURTHER * log::FURTHER.1 <= ON_ITS_WAY);
};

/// How long a topic's log is kept after the last who resumed, where all together hold no more than [`LOGS`].
const KEPT: Duration = Duration::from_secs(10);

/// What is to be read, and what may be forgotten.
#[derive(Default)]
pub(super) struct Waiting {
    positions: Vec<Errand>,
    heals: VecDeque<Errand>,
    /// What clients begin: the first reads of logs, and of what they say to be there.
    begun: Turns,
    /// Reads that go further back, and how many of them are under way.
    further: Turns,
    further_under_way: usize,
    /// Topics that have a log.
    logs: HashSet<Topic>,
}

/// What is read next.
pub(super) enum Next {
    Positions(Vec<Errand>),
    Read(Errand),
}

/// One queue for each client that asked, served in turn: who asks for much waits for it alone.
#[derive(Default)]
struct Turns {
    queues: HashMap<ConnectionNumber, VecDeque<Errand>>,
    /// The clients that have a queue.
    order: VecDeque<ConnectionNumber>,
}

impl Turns {
    fn push(&mut self, by: ConnectionNumber, errand: Errand) {
        let queue = self.queues.entry(by).or_default();
        if queue.is_empty() {
            self.order.push_back(by);
        }
        queue.push_back(errand);
    }

    fn pop(&mut self) -> Option<Errand> {
        let by = self.order.pop_front()?;
        let queue = self.queues.get_mut(&by)?;
        let errand = queue.pop_front();
        match queue.is_empty() {
            true => _ = self.queues.remove(&by),
            false => self.order.push_back(by),
        }
        errand
    }

    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

impl Waiting {
    pub fn add(&mut self, errands: Vec<Errand>) {
        for errand in errands {
            match errand.what {
                What::Heal { ask: Ask::Last, .. } => self.positions.push(errand),
                What::Heal { .. } => self.heals.push_back(errand),
                What::Log { further, by, .. } => {
                    self.logs.insert(errand.topic.clone());
                    let turns = if further { &mut self.further } else { &mut self.begun };
                    turns.push(by, errand);
                }
                What::Doubt { by, .. } => self.begun.push(by, errand),
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.positions.is_empty() && self.heals.is_empty() && self.begun.is_empty() && self.further.is_empty()
    }

    /// Positions first: many topics wait for one answer.
    pub fn next(&mut self) -> Option<Next> {
        if self.positions.is_empty() {
            return self.next_read().map(Next::Read);
        }
        let rest = self.positions.split_off(self.positions.len().min(BATCH));
        Some(Next::Positions(std::mem::replace(&mut self.positions, rest)))
    }

    fn next_read(&mut self) -> Option<Errand> {
        self.heals.pop_front().or_else(|| self.begun.pop()).or_else(|| {
            let errand = if self.further_under_way < FURTHER { self.further.pop() } else { None };
            self.further_under_way += usize::from(errand.is_some());
            errand
        })
    }

    /// A read is over: whether it was one that goes further back.
    pub fn done(&mut self, further: bool) {
        self.further_under_way -= usize::from(further);
    }

    /// Lets logs go that nobody needs.
    pub fn forget(&mut self, interest: &Interest) {
        let now = Instant::now();
        let unused = now.checked_sub(KEPT).unwrap_or(now);
        self.logs.retain(|topic| interest.forget_log(topic, unused).is_some());
    }

    /// Where the logs together hold too much, those go that nobody has had use for the longest, until an eighth is free: so
    /// that the search is not made anew for every read.
    pub fn make_room(&mut self, interest: &Interest) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_reads_that_bring_much_few_are_under_way() {
        let mut waiting = Waiting::default();
        let errand = |n: usize, further| Errand {
            topic: Topic::parse(&format!("t.{n}")).unwrap(),
            what: What::Log { id: 1, further, by: ConnectionNumber(n as u64) },
            until: tokio::time::Instant::now(),
        };
        waiting.add((0..UNDER_WAY).map(|n| errand(n, true)).collect());
        assert_eq!(std::iter::from_fn(|| waiting.next()).count(), FURTHER);
        waiting.add(vec![errand(100, false)]);
        assert!(matches!(waiting.next(), Some(Next::Read(errand)) if errand.topic.as_str() == "t.100"));
        assert!(waiting.next().is_none());
        waiting.done(true);
        assert!(waiting.next().is_some());
    }

    #[test]
    fn who_asks_for_much_is_served_in_turn_with_who_asks_for_little() {
        let mut waiting = Waiting::default();
        let errand = |by: u64, name: String, further| Errand {
            topic: Topic::parse(&name).unwrap(),
            what: What::Log { id: 1, further, by: ConnectionNumber(by) },
            until: tokio::time::Instant::now(),
        };
        for further in [true, false] {
            waiting.add((0..200).map(|n| errand(1, format!("much.{n}"), further)).collect());
            waiting.add(vec![errand(2, "little".into(), further)]);
            let mut next = || match waiting.next() {
                Some(Next::Read(errand)) => errand.topic.as_str().to_owned(),
                _ => panic!("nothing to read"),
            };
            assert_eq!([next(), next(), next()], ["much.0", "little", "much.1"]);
            while waiting.begun.pop().or_else(|| waiting.further.pop()).is_some() {}
        }
    }
}
