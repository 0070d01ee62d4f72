//! What clients are told about their topics, gathered while topics have their turns and told client by client:
//! who listens to many topics gets few events that name many, in one write. When Redis is back, 100,000
//! subscriptions are told by some thousand writes.

use std::collections::HashSet;
use std::sync::Arc;

use indexmap::IndexMap;

use super::replies::Replies;
use crate::event::{Event, Gap, GapReason};
use crate::identity::ConnectionNumber;
use crate::outbox::Outbox;
use crate::topic::Topic;

/// The most topics that one event names, and that a client's news name before they are told.
const TOPICS: usize = 256;

/// With so many clients to be told, some are told before more is gathered.
const CLIENTS: usize = 16_384;

/// The longest a gap asks clients to spread their questions, in ms.
pub(super) const SPREAD: u32 = 10_000;

/// What waits to be told, per client. What happened to a topic is told before its next publication, and before the
/// answer to who subscribes or unsubscribes; an answer that itself waited for Redis goes out on its own.
pub(super) struct News {
    clients: IndexMap<ConnectionNumber, Sheet>,
    /// Whose turn it is. Clients are told round and round, so that nobody waits for more than one round.
    next: usize,
    /// How many clients make it full.
    room: usize,
}

struct Sheet {
    outbox: Arc<Outbox>,
    /// In the order in which it happened.
    items: Vec<Item>,
    /// How many topics they name.
    names: usize,
}

enum Item {
    Live {
        topics: Vec<Topic>,
        live: bool,
    },
    Gap(Gap),
    /// Publications of its topics flow again, after what may be missed of them.
    Back(Gap),
    /// Says nothing: an outage lay between two gaps, in a language without a word for it.
    Outage,
}

impl News {
    pub fn of(room: usize) -> Self {
        Self { clients: IndexMap::new(), next: 0, room }
    }

    /// Notes whether publications of a topic flow to this client. Whether it was told something, to make room.
    pub fn live(&mut self, outbox: &Arc<Outbox>, topic: &Topic, live: bool) -> bool {
        if !outbox.protocol().says_live() {
            if !live {
                self.part_gaps(outbox.number());
            }
            return false;
        }
        let (sheet, told) = self.sheet(outbox);
        sheet.names += 1;
        match sheet.items.last_mut() {
            Some(Item::Live { topics, live: before }) if *before == live => topics.push(topic.clone()),
            _ => sheet.items.push(Item::Live { topics: vec![topic.clone()], live }),
        }
        told
    }

    /// Notes that this client, whose language has a word for it, may have missed something. Whether it was told
    /// something, to make room.
    pub fn gap(&mut self, outbox: &Arc<Outbox>, gap: &Gap) -> bool {
        let (sheet, told) = self.sheet(outbox);
        match sheet.items.last_mut() {
            Some(Item::Gap(before)) if before.reason == gap.reason => sheet.names += widen(before, gap),
            _ => {
                sheet.names += gap.topics.len();
                sheet.items.push(Item::Gap(gap.clone()));
            }
        }
        told
    }

    /// Notes that publications flow again to a client that was told that they do not, and that some may be missed. Whether
    /// it was told something, to make room.
    pub fn back(&mut self, outbox: &Arc<Outbox>, gap: &Gap) -> bool {
        if !outbox.protocol().says_live() {
            return self.gap(outbox, gap);
        }
        let (sheet, told) = self.sheet(outbox);
        match sheet.items.last_mut() {
            Some(Item::Back(before)) if before.reason == gap.reason => sheet.names += widen(before, gap),
            _ => {
                sheet.names += gap.topics.len();
                sheet.items.push(Item::Back(gap.clone()));
            }
        }
        told
    }

    /// What reconnects from here on belongs to another outage, and so to another gap.
    fn part_gaps(&mut self, number: ConnectionNumber) {
        let Some(sheet) = self.clients.get_mut(&number) else { return };
        if matches!(sheet.items.last(), Some(Item::Gap(gap)) if gap.reason == GapReason::Reconnected) {
            sheet.items.push(Item::Outage);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.clients.len() >= self.room
    }

    /// Tells one client, by one write. Whether there was anything.
    pub fn tell(&mut self, number: ConnectionNumber) -> bool {
        self.clients.swap_remove(&number).map(Sheet::tell).is_some()
    }

    /// Tells so many clients, each by one write.
    pub fn tell_some(&mut self, most: usize) {
        for _ in 0..most {
            if self.next >= self.clients.len() {
                self.next = 0;
            }
            // Its place is the last one's now, who waits for the next round.
            let Some((_, sheet)) = self.clients.swap_remove_index(self.next) else { break };
            sheet.tell();
            self.next += 1;
        }
    }

    /// A client that left is told nothing.
    pub fn forget(&mut self, number: ConnectionNumber) {
        self.clients.swap_remove(&number);
    }

    /// A client's sheet, with room for another name; and whether what was on it had to be told for that.
    fn sheet(&mut self, outbox: &Arc<Outbox>) -> (&mut Sheet, bool) {
        let empty = || Sheet { outbox: outbox.clone(), items: Vec::new(), names: 0 };
        let sheet = self.clients.entry(outbox.number()).or_insert_with(empty);
        let is_full = sheet.names >= TOPICS;
        if is_full {
            std::mem::replace(sheet, empty()).tell();
        }
        (sheet, is_full)
    }
}

impl Default for News {
    fn default() -> Self {
        Self::of(CLIENTS)
    }
}

impl Sheet {
    fn tell(self) {
        let mut replies = Replies::to(&self.outbox);
        for mut item in self.items {
            if let Item::Gap(gap) | Item::Back(gap) = &mut item {
                name_once(&mut gap.topics);
            }
            match &item {
                Item::Live { topics, live } => replies.say(&Event::Live { topics, live: *live }),
                Item::Gap(gap) => replies.say(&Event::Gap(gap)),
                Item::Back(gap) => {
                    replies.say(&Event::Gap(gap));
                    replies.say(&Event::Live { topics: &gap.topics, live: true });
                }
                Item::Outage => {}
            }
        }
    }
}

/// Lets a gap of a topic stand for another one, too: over the time of both, and over their subscribers together. Answers
/// how many topics it names more.
fn widen(gap: &mut Gap, other: &Gap) -> usize {
    gap.since = gap.since.min(other.since);
    gap.until = gap.until.max(other.until);
    // An outage comes to many topics, which are not looked for one by one; what is malformed or too large comes to one
    // again and again.
    let is_outage = gap.reason == GapReason::Reconnected;
    if !is_outage && other.topics.iter().all(|topic| gap.topics.contains(topic)) {
        return 0;
    }
    gap.topics.extend_from_slice(&other.topics);
    gap.spread_ms = gap.spread_ms.saturating_add(other.spread_ms).min(SPREAD);
    other.topics.len()
}

/// Behind an outage something more may be missing of some of its topics.
fn name_once(topics: &mut Vec<Topic>) {
    let mut named = HashSet::with_capacity(topics.len());
    topics.retain(|topic| named.insert(topic.clone()));
}
