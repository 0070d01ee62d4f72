//! What clients are told about their topics, gathered over one turn: who listens to many gets few events that
//! name many, in one write. When Redis is back, 100,000 subscriptions are told by some thousand writes.

use std::sync::Arc;

use indexmap::IndexMap;

use super::replies::Replies;
use crate::event::{Event, Gap};
use crate::identity::ConnectionNumber;
use crate::outbox::Outbox;
use crate::topic::Topic;

/// The most topics that one event names.
const TOPICS: usize = 256;

/// The longest a gap asks clients to spread their questions, in ms.
pub(super) const SPREAD: u32 = 10_000;

/// What waits to be told, per client; empty between two turns.
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
    /// Whether publications of a topic flow to this client.
    pub fn live(&mut self, outbox: &Arc<Outbox>, topic: &Topic, live: bool) {
        let items = self.items(outbox);
        match items.last_mut() {
            Some(Item::Live { topics, live: before }) if *before == live && topics.len() < TOPICS => {
                topics.push(topic.clone());
            }
            _ => items.push(Item::Live { topics: vec![topic.clone()], live }),
        }
    }

    /// This client may have missed something.
    pub fn gap(&mut self, outbox: &Arc<Outbox>, gap: &Gap) {
        let items = self.items(outbox);
        match items.last_mut() {
            Some(Item::Gap(before)) if before.reason == gap.reason && before.topics.len() < TOPICS => {
                widen(before, gap);
            }
            _ => items.push(Item::Gap(gap.clone())),
        }
    }

    /// How many clients have something to be told.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Tells everybody, each by one write.
    pub fn tell(&mut self) {
        for (_, sheet) in self.clients.drain(..) {
            let mut replies = Replies::to(&sheet.outbox);
            for item in &sheet.items {
                match item {
                    Item::Live { topics, live } => replies.say(&Event::Live { topics, live: *live }),
                    Item::Gap(gap) => replies.say(&Event::Gap(gap)),
                }
            }
        }
    }

    fn items(&mut self, outbox: &Arc<Outbox>) -> &mut Vec<Item> {
        let sheet = || Sheet { outbox: outbox.clone(), items: Vec::new() };
        &mut self.clients.entry(outbox.number()).or_insert_with(sheet).items
    }
}

/// Lets a gap stand for another one, too: over the time of both, and over their subscribers together.
fn widen(gap: &mut Gap, other: &Gap) {
    gap.topics.extend(other.topics.iter().filter(|topic| !gap.topics.contains(topic)).cloned().collect::<Vec<_>>());
    gap.since = gap.since.min(other.since);
    gap.until = gap.until.max(other.until);
    gap.spread_ms = gap.spread_ms.saturating_add(other.spread_ms).min(SPREAD);
}
