//! What one link should carry and what it does carry: a state machine without clocks of its own, sockets or
//! calls to anyone.
//!
//! A topic has at most one command on the wire at a time, so the next confirmation for it is always of
//! that command: SUBSCRIBE, UNSUBSCRIBE, SUBSCRIBE in a row cannot be mistaken for each other.

mod formerly;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use super::entry::{Entry, Want, Wire};
use crate::broker::Liveness;
use crate::topic::Topic;

/// A stay shorter than this part of the linger is not followed by one: of a second, where it is ten.
const SHORT: u32 = 10;

/// One connection in the life of a link; what an earlier one still says is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Generation(u64);

/// The topics of one link.
#[derive(Debug)]
pub struct Desired {
    /// In about the order in which they were first wanted, so that topics wanted together are subscribed, lost
    /// and live together, and a client is told of many at once.
    entries: IndexMap<Topic, Entry>,
    /// Topics whose two halves may disagree; each stands here at most once.
    queue: VecDeque<Topic>,
    /// When to look at a topic that lingers; each stands here at most once.
    tickets: BinaryHeap<Reverse<(Instant, Topic)>>,
    /// Topics that Redis refused to subscribe, until they are tried again.
    refused: HashSet<Topic>,
    linger: Duration,
    /// How many topics do.
    lingering: usize,
    link: Option<Generation>,
    last: Generation,
    /// How many wanted topics are not held.
    missing: usize,
}

/// What to say to Redis next.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// To be subscribed.
    pub subscribe: Vec<Topic>,
    /// To be unsubscribed.
    pub unsubscribe: Vec<Topic>,
}

impl Desired {
    /// Nothing wanted, no connection.
    #[must_use]
    pub fn new(linger: Duration) -> Self {
        Self {
            entries: IndexMap::new(),
            queue: VecDeque::new(),
            tickets: BinaryHeap::new(),
            refused: HashSet::new(),
            linger,
            lingering: 0,
            link: None,
            last: Generation::default(),
            missing: 0,
        }
    }

    /// The hub wants the topic. Live: it is held already, and nothing more will be said.
    pub fn want(&mut self, topic: &Topic, now: Instant) -> Liveness {
        if !self.entries.contains_key(topic) {
            let entry = Entry { want: Want::No, wire: Wire::Absent, queued: false, ticket: false };
            self.entries.insert(topic.clone(), entry);
        }
        let (linger, shortest) = (self.linger, self.linger / SHORT);
        self.change(topic.as_str(), |entry| {
            entry.want = match entry.want {
                Want::Since(since) => Want::Since(since),
                // It has stayed for long enough already.
                Want::Until(until) => Want::Since(until.checked_sub(linger + shortest).unwrap_or(now)),
                Want::No => Want::Since(now),
            }
        });
        self.enqueue(topic.as_str());
        match self.entries.get(topic) {
            Some(Entry { wire: Wire::Held, .. }) => Liveness::Live,
            _ => Liveness::Pending,
        }
    }

    /// The hub wants the topic no longer. After a short stay it is left at once: who comes and goes like that would hold
    /// more topics by their lingering than by its own bound.
    pub fn unwant(&mut self, topic: &Topic, now: Instant) {
        let (until, shortest) = (now + self.linger, self.linger / SHORT);
        let mut ticket = false;
        self.change(topic.as_str(), |entry| {
            let Want::Since(since) = entry.want else { return };
            let lingers = entry.wire != Wire::Absent && now.saturating_duration_since(since) >= shortest;
            entry.want = if lingers { Want::Until(until) } else { Want::No };
            ticket = lingers && !std::mem::replace(&mut entry.ticket, true);
        });
        if ticket {
            self.tickets.push(Reverse((until, topic.clone())));
        }
        self.enqueue(topic.as_str());
        self.sweep(topic.as_str());
    }

    /// How many topics linger.
    #[must_use]
    pub fn lingering(&self) -> usize {
        self.lingering
    }

    /// Ends lingering until at most so many topics do, those first that have lingered for longest. Whether it ended any.
    pub fn linger_at_most(&mut self, most: usize) -> bool {
        let before = self.lingering;
        while self.lingering > most {
            let Some(Reverse((_, topic))) = self.tickets.pop() else { break };
            let Some(entry) = self.entries.get_mut(&topic) else { continue };
            entry.ticket = false;
            if matches!(entry.want, Want::Until(_)) {
                self.give_up(topic.as_str());
            }
            self.sweep(topic.as_str());
        }
        self.lingering < before
    }

    /// Nobody came back to a topic.
    fn give_up(&mut self, name: &str) {
        self.change(name, |entry| entry.want = Want::No);
        self.enqueue(name);
    }

    /// A name for the next connection.
    pub fn next_generation(&mut self) -> Generation {
        self.last.0 += 1;
        self.last
    }

    /// Whether there is a connection.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// A connection is there and nothing is subscribed on it: everything wanted is to be subscribed.
    pub fn connected(&mut self, generation: Generation) {
        self.link = Some(generation);
        self.refused.clear();
        let wanted = self.entries.iter().filter(|(_, entry)| entry.is_wanted());
        let names: Vec<Topic> = wanted.map(|(topic, _)| topic.clone()).collect();
        for topic in names {
            self.enqueue(topic.as_str());
        }
    }

    /// The connection is gone. The topics that were live and are wanted: the ones to call lost.
    /// A second loss before they were live again does not name them again.
    pub fn lost(&mut self) -> Vec<Topic> {
        self.link = None;
        self.queue.clear();
        self.tickets.clear();
        self.refused.clear();
        let mut lost = Vec::new();
        (self.missing, self.lingering) = (0, 0);
        self.entries.retain(|topic, entry| {
            if !entry.is_wanted() {
                return false;
            }
            if entry.wire == Wire::Held {
                lost.push(topic.clone());
            }
            *entry = Entry { want: entry.want, wire: Wire::Absent, queued: false, ticket: false };
            self.missing += 1;
            true
        });
        lost
    }

    /// Redis confirmed a SUBSCRIBE. The topic, where somebody is to be told that it is live.
    pub fn confirm(&mut self, generation: Generation, name: &str) -> Option<Topic> {
        let wanted = self.settle(generation, name, Wire::Asked, Wire::Held)?;
        wanted.then(|| self.entries.get_key_value(name).map(|(topic, _)| topic.clone())).flatten()
    }

    /// Redis confirmed an UNSUBSCRIBE. The topic, where that was none of ours and it is now lost.
    pub fn left(&mut self, generation: Generation, name: &str) -> Option<Topic> {
        if self.settle(generation, name, Wire::Leaving, Wire::Absent).is_some() {
            return None;
        }
        let wanted = self.settle(generation, name, Wire::Held, Wire::Absent)?;
        wanted.then(|| self.entries.get_key_value(name).map(|(topic, _)| topic.clone())).flatten()
    }

    /// Redis refused a SUBSCRIBE of these: they wait until [`Desired::retry`].
    pub fn refuse(&mut self, generation: Generation, topics: Vec<Topic>) {
        for topic in topics {
            let wanted = self.settle_quietly(generation, topic.as_str(), Wire::Asked, Wire::Absent);
            if wanted == Some(true) {
                self.refused.insert(topic);
            }
        }
    }

    /// Redis refused an UNSUBSCRIBE of these: they are held still. Those that became live by it.
    pub fn kept(&mut self, generation: Generation, topics: &[Topic]) -> Vec<Topic> {
        let still =
            |topic: &&Topic| self.settle_quietly(generation, topic.as_str(), Wire::Leaving, Wire::Held) == Some(true);
        topics.iter().filter(still).cloned().collect()
    }

    /// At most `most` of the refused topics, to be tried again.
    pub fn retry(&mut self, most: usize) -> Vec<Topic> {
        let topics: Vec<Topic> = self.refused.iter().take(most).cloned().collect();
        for topic in &topics {
            self.refused.remove(topic);
            self.change(topic.as_str(), |entry| entry.wire = Wire::Asked);
        }
        topics
    }

    /// Redis changed its mind about one of them: all refused topics are tried again at once.
    pub fn pardon(&mut self) {
        for topic in std::mem::take(&mut self.refused) {
            self.enqueue(topic.as_str());
        }
    }

    /// Whether Redis refuses any topic.
    #[must_use]
    pub fn refuses(&self) -> bool {
        !self.refused.is_empty()
    }

    /// The next commands, of at most `most` topics in all.
    pub fn take(&mut self, most: usize) -> Work {
        let mut work = Work::default();
        while work.subscribe.len() + work.unsubscribe.len() < most {
            let Some(topic) = self.queue.pop_front() else { break };
            let Some(entry) = self.entries.get_mut(&topic) else { continue };
            entry.queued = false;
            match (entry.want, entry.wire) {
                (Want::Since(_), Wire::Absent) => {
                    entry.wire = Wire::Asked;
                    work.subscribe.push(topic);
                }
                (Want::No, Wire::Held) => {
                    entry.wire = Wire::Leaving;
                    work.unsubscribe.push(topic);
                }
                _ => self.sweep(topic.as_str()),
            }
        }
        work
    }

    /// Ends the lingering whose time has come.
    pub fn expire(&mut self, now: Instant) {
        while let Some(Reverse((due, _))) = self.tickets.peek() {
            if *due > now {
                return;
            }
            let Some(Reverse((_, topic))) = self.tickets.pop() else { return };
            let Some(entry) = self.entries.get_mut(&topic) else { continue };
            entry.ticket = false;
            match entry.want {
                Want::Since(_) | Want::No => self.sweep(topic.as_str()),
                // Somebody came and went meanwhile: it lingers from then on.
                Want::Until(until) if until > now => {
                    entry.ticket = true;
                    self.tickets.push(Reverse((until, topic)));
                }
                Want::Until(_) => {
                    self.give_up(topic.as_str());
                    self.sweep(topic.as_str());
                }
            }
        }
    }

    /// When [`Desired::expire`] has something to do next.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.tickets.peek().map(|Reverse((due, _))| *due)
    }

    /// The topic of a message, where it is live and wanted.
    #[must_use]
    pub fn live(&self, generation: Generation, name: &str) -> Heard<'_> {
        match self.entries.get_key_value(name) {
            _ if self.link != Some(generation) => Heard::Retired,
            None => Heard::Stranger,
            Some((topic, Entry { want: Want::Since(_), wire: Wire::Held, .. })) => Heard::Live(topic),
            Some(_) => Heard::Unwanted,
        }
    }

    /// The connection that there is.
    #[must_use]
    pub fn current(&self) -> Option<Generation> {
        self.link
    }

    /// How many wanted topics are not live.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// Whether there is work for [`Desired::take`].
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Moves a topic of this generation from one state of the wire to another and queues what disagrees
    /// then. Whether it is wanted; none where the topic was in another state.
    fn settle(&mut self, generation: Generation, name: &str, from: Wire, to: Wire) -> Option<bool> {
        let wanted = self.settle_quietly(generation, name, from, to)?;
        self.enqueue(name);
        self.sweep(name);
        Some(wanted)
    }

    fn settle_quietly(&mut self, generation: Generation, name: &str, from: Wire, to: Wire) -> Option<bool> {
        if self.link != Some(generation) || self.entries.get(name)?.wire != from {
            return None;
        }
        self.change(name, |entry| entry.wire = to);
        let wanted = self.entries.get(name)?.is_wanted();
        self.sweep(name);
        Some(wanted)
    }

    /// The one place that changes an entry's halves, so that the counts are always right.
    fn change(&mut self, name: &str, how: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        let before = entry.counts();
        how(entry);
        let after = entry.counts();
        self.missing = self.missing + after.0 - before.0;
        self.lingering = self.lingering + after.1 - before.1;
    }

    /// Queues a topic whose halves disagree, where there is a connection to say so on. Refused ones wait.
    fn enqueue(&mut self, name: &str) {
        let connected = self.link.is_some();
        let Some((topic, _)) = self.entries.get_key_value(name) else { return };
        if !connected || self.refused.contains(topic) {
            return;
        }
        let topic = topic.clone();
        let Some(entry) = self.entries.get_mut(name) else { return };
        if entry.disagrees() && !entry.queued {
            entry.queued = true;
            self.queue.push_back(topic);
        }
    }

    /// Forgets a topic that nobody wants and Redis does not have, once nothing else refers to it.
    fn sweep(&mut self, name: &str) {
        let Some(entry) = self.entries.get(name) else { return };
        if entry.is_wanted() || entry.wire != Wire::Absent {
            return;
        }
        self.refused.remove(name);
        // Its place in the queue or among the tickets would outlive it, and be doubled were it wanted again.
        if !entry.queued && !entry.ticket {
            self.entries.swap_remove(name);
        }
    }
}

/// The listeners that a message has.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<'d> {
    /// Somebody listens.
    Live(&'d Topic),
    /// Nobody listens (any more, or yet).
    Unwanted,
    /// The connection is a retired one.
    Retired,
    /// Not a topic that was ever asked for on this link.
    Stranger,
}

#[cfg(test)]
#[path = "desired_tests.rs"]
mod tests;
