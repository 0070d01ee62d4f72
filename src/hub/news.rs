//! What clients are told about their topics, gathered while topics have their turns and told client by client:
//! who listens to many topics gets few events that name many, in one write. When Redis is back, 100,000
//! subscriptions are told by some thousand writes.

use std::sync::Arc;

use indexmap::IndexMap;

use super::replies::Replies;
use crate::event::{Event, Gap};
use crate::identity::ConnectionNumber;
use crate::outbox::Outbox;
use crate::topic::Topic;

/// The most topics that one event names.
const TOPICS: usize = 256;

/// With so many clients to be told, some are told before more is gathered.
const CLIENTS: usize = 16_384;

/// The longest a gap asks clients to spread their questions, in ms.
pub(super) const SPREAD: u32 = 10_000;

/// What waits to be told, per client. A client is told before anything else that concerns its topics: before a
/// publication, and before the answer to what it asks.
#[derive(Default)]
pub(super) struct News {
    clients: IndexMap<ConnectionNumber, Sheet>,
}

struct Sheet {
    outbox: Arc<Outbox>,
    /// In the order in which it happened.
    items: Vec<Item>,
}

enum Item {
    Live { topics: Vec<Topic>, live: bool },
    Gap(Gap),
}

impl News {
    /// Notes whether publications of a topic flow to this client.
    pub fn live(&mut self, outbox: &Arc<Outbox>, topic: &Topic, live: bool) {
        let items = self.items(outbox);
        match items.last_mut() {
            Some(Item::Live { topics, live: before }) if *before == live && topics.len() < TOPICS => {
                topics.push(topic.clone());
            }
            _ => items.push(Item::Live { topics: vec![topic.clone()], live }),
        }
    }

    /// Notes that this client may have missed something.
    pub fn gap(&mut self, outbox: &Arc<Outbox>, gap: &Gap) {
        let items = self.items(outbox);
        match items.last_mut() {
            Some(Item::Gap(before)) if before.reason == gap.reason && before.topics.len() < TOPICS => {
                widen(before, gap);
            }
            _ => items.push(Item::Gap(gap.clone())),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.clients.len() >= CLIENTS
    }

    /// Tells one client, by one write. Whether there was anything.
    pub fn tell(&mut self, number: ConnectionNumber) -> bool {
        self.clients.swap_remove(&number).is_some_and(Sheet::tell)
    }

    /// Tells so many clients, each by one write.
    pub fn tell_some(&mut self, most: usize) {
        for (_, sheet) in std::iter::from_fn(|| self.clients.pop()).take(most) {
            sheet.tell();
        }
    }

    /// A client that left is told nothing.
    pub fn forget(&mut self, number: ConnectionNumber) {
        self.clients.swap_remove(&number);
    }

    fn items(&mut self, outbox: &Arc<Outbox>) -> &mut Vec<Item> {
        let sheet = || Sheet { outbox: outbox.clone(), items: Vec::new() };
        &mut self.clients.entry(outbox.number()).or_insert_with(sheet).items
    }
}

impl Sheet {
    fn tell(self) -> bool {
        let mut replies = Replies::to(&self.outbox);
        for item in &self.items {
            match item {
                Item::Live { topics, live } => replies.say(&Event::Live { topics, live: *live }),
                Item::Gap(gap) => replies.say(&Event::Gap(gap)),
            }
        }
        true
    }
}

/// Lets a gap stand for another one, too: over the time of both, and over their subscribers together.
fn widen(gap: &mut Gap, other: &Gap) {
    // The same topic again and again is one that gets malformed publications, say.
    if gap.topics.last() != other.topics.last() {
        gap.topics.extend_from_slice(&other.topics);
    }
    gap.since = gap.since.min(other.since);
    gap.until = gap.until.max(other.until);
    gap.spread_ms = gap.spread_ms.saturating_add(other.spread_ms).min(SPREAD);
}
