//! The broker of a replica that is alone: a publication goes straight to the hub. Never lingers, never away.

mod archive;
mod shelf;

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;

use crate::broker::history::{HistoryError, Page, Read};
use crate::broker::{Broker, Deliver, Health, Liveness, PublishError, Receipt};
use crate::position::Position;
use crate::publication::{Header, Publication};
use crate::repeat::Repeats;
use crate::settings::TopicRules;
use crate::topic::Topic;

use archive::{Archive, BOUNDS};

/// How many publishers to different topics need not wait for each other, about.
const LANES: usize = 64;

/// The in-process broker.
pub struct MemoryBroker {
    deliver: Arc<dyn Deliver>,
    rules: Arc<ArcSwap<TopicRules>>,
    /// Guards one set operation each time; taken with the hub's topic or the archive locked, so nothing is called under it.
    wanted: Mutex<HashSet<Topic>>,
    /// One is held while a publication is kept and delivered, so that two publishers to one topic keep one order, which
    /// is that of the history. Only publishers take them, and before the hub's locks: `subscribe` never waits for one.
    lanes: [Mutex<()>; LANES],
    /// Guards one look or one change.
    archive: Mutex<Archive>,
    hasher: RandomState,
}

impl MemoryBroker {
    /// Delivers to `deliver`, and keeps what these rules say.
    #[must_use]
    pub fn new(deliver: Arc<dyn Deliver>, rules: Arc<ArcSwap<TopicRules>>) -> Arc<Self> {
        let lanes = std::array::from_fn(|_| Mutex::new(()));
        let (wanted, archive) = (Mutex::default(), Mutex::new(Archive::new(BOUNDS)));
        Arc::new(Self { deliver, rules, wanted, lanes, archive, hasher: RandomState::new() })
    }

    fn lane(&self, topic: &Topic) -> &Mutex<()> {
        let hash = self.hasher.hash_one(topic);
        &self.lanes[(hash % LANES as u64) as usize]
    }

    fn take(&self, topic: &Topic, mut header: Header, payload: Bytes) -> Receipt {
        let (_turn, now) = (self.lane(topic).lock(), Instant::now());
        if let Some(position) = self.keep(topic, &mut header, &payload, now) {
            return Receipt { replicas: 0, position, repeated: true };
        }
        let position = header.pos;
        if !self.wanted.lock().contains(topic) {
            return Receipt { replicas: 0, position, repeated: false };
        }
        self.deliver.deliver(Publication::new(topic.clone(), Some(Box::new(header)), payload, now));
        Receipt { replicas: 1, position, repeated: false }
    }

    /// Keeps what the topic's rule says. Where it was published before under its name: where it stands.
    fn keep(&self, topic: &Topic, header: &mut Header, payload: &Bytes, now: Instant) -> Option<Option<Position>> {
        let rules = self.rules.load();
        let rule = rules.rule(topic.as_str());
        if !rule.keeps_history() && header.id.is_none() {
            return None;
        }
        let mut archive = self.archive.lock();
        if let Some(first) = header.id.as_ref().and_then(|name| archive.named(topic, name, now)) {
            return Some(first);
        }
        if rule.keeps_history() {
            archive.keep(topic, rule, header, payload, now);
            if archive.make_room(topic, |topic| self.wanted.lock().contains(topic)) {
                say_full();
            }
        }
        if let Some(name) = &header.id {
            archive.name(topic, name, header.pos, now);
        }
        None
    }
}

impl Broker for MemoryBroker {
    fn subscribe(&self, topic: &Topic) -> Liveness {
        self.wanted.lock().insert(topic.clone());
        Liveness::Live
    }

    fn unsubscribe(&self, topic: &Topic) {
        self.wanted.lock().remove(topic);
    }

    fn publish<'a>(
        &'a self,
        topic: &'a Topic,
        header: &'a Header,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<Receipt, PublishError>> {
        async move {
            // What cannot travel between replicas does not travel on one either.
            header.check()?;
            Ok(self.take(topic, header.clone(), payload))
        }
        .boxed()
    }

    fn positions<'a>(&'a self, topics: &'a [Topic]) -> BoxFuture<'a, Vec<Result<Position, HistoryError>>> {
        async move {
            let archive = self.archive.lock();
            topics.iter().map(|topic| Ok(archive.last(topic))).collect()
        }
        .boxed()
    }

    fn read<'a>(&'a self, topic: &'a Topic, read: Read) -> BoxFuture<'a, Result<Page, HistoryError>> {
        async move { Ok(self.archive.lock().read(topic, read, Instant::now())) }.boxed()
    }

    fn health(&self) -> Health {
        Health::Open
    }
}

/// Only the log tells; who resumes is told that it cannot.
fn say_full() {
    static SAID: Repeats = Repeats::new();
    if let Some(unsaid) = SAID.due(()) {
        let (topics, bytes) = (BOUNDS.topics, BOUNDS.bytes);
        tracing::warn!(
            topics,
            bytes,
            unsaid,
            "this process keeps as much of the past as it may; what was of no use for the longest goes, and who resumes there is told so. With redis.url Redis keeps it"
        );
    }
}
