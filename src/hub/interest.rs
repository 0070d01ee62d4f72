//! Which shards want which topics, and what the broker delivers to: from here a publication goes into
//! the inbox of each interested shard.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::inbox::{Inbox, Item};
use crate::broker::{Broker, Deliver, Liveness};
use crate::event::GapReason;
use crate::metrics::{Dropped, Metrics, Source};
use crate::publication::Publication;
use crate::settings::TopicRules;
use crate::topic::Topic;

/// The most shards: an entry keeps them as the bits of one word.
pub const MAX_SHARDS: usize = 64;

/// How many locks the topics are spread over.
const STRIPES: usize = 16;

/// Which shards want which topics.
pub struct Interest {
    /// Each lock guards lookups and flips of its topics' entries, and the pushes that must be in their order.
    stripes: [Mutex<HashMap<Topic, Entry>>; STRIPES],
    inboxes: Box<[Arc<Inbox>]>,
    hasher: std::hash::RandomState,
    rules: Arc<ArcSwap<TopicRules>>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Entry {
    /// One bit per interested shard.
    shards: u64,
    live: bool,
    /// Since when publications may have been missed, if the topic was live before.
    lost_since: Option<u64>,
    /// Counts the flips, so that a shard that left and came back ignores older ones.
    version: u64,
}

/// How a topic stands when a shard joins it.
pub(super) struct Standing {
    pub live: bool,
    pub version: u64,
}

impl Interest {
    /// No topics, `shards` inboxes.
    #[must_use]
    pub fn new(shards: usize, rules: Arc<ArcSwap<TopicRules>>, metrics: Arc<Metrics>) -> Arc<Self> {
        let shards = shards.clamp(1, MAX_SHARDS);
        Arc::new(Self {
            stripes: Default::default(),
            inboxes: (0..shards).map(|_| Arc::new(Inbox::default())).collect(),
            hasher: std::hash::RandomState::new(),
            rules,
            metrics,
        })
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.inboxes.len()
    }

    /// Publications handed in and not yet fanned out.
    #[must_use]
    pub fn held(&self) -> usize {
        self.inboxes.iter().map(|inbox| inbox.held()).sum()
    }

    pub(super) fn inbox(&self, shard: usize) -> Arc<Inbox> {
        self.inboxes[shard].clone()
    }

    /// A shard's first subscriber of a topic. From here on its inbox gets the topic's publications; the
    /// broker is asked under the entry's lock, so that no flip falls between its answer and our note of it.
    pub(super) fn join(&self, topic: &Topic, shard: usize, broker: &dyn Broker) -> Standing {
        let mut stripe = self.stripe(topic).lock();
        let entry = stripe.entry(topic.clone()).or_insert_with(|| {
            self.metrics.topics.inc();
            Entry { version: crate::clock::next_version(), ..Entry::default() }
        });
        if entry.shards == 0 {
            entry.live = broker.subscribe(topic) == Liveness::Live;
            self.metrics.live_topics.add(i64::from(entry.live));
        }
        entry.shards |= 1 << shard;
        Standing { live: entry.live, version: entry.version }
    }

    /// A shard's last subscriber of a topic left.
    pub(super) fn leave(&self, topic: &Topic, shard: usize, broker: &dyn Broker) {
        let mut stripe = self.stripe(topic).lock();
        let Some(entry) = stripe.get_mut(topic) else { return };
        entry.shards &= !(1 << shard);
        if entry.shards == 0 {
            self.metrics.topics.dec();
            self.metrics.live_topics.sub(i64::from(entry.live));
            stripe.remove(topic);
            broker.unsubscribe(topic);
        }
    }

    fn stripe(&self, topic: &Topic) -> &Mutex<HashMap<Topic, Entry>> {
        let hash = self.hasher.hash_one(topic.as_str());
        &self.stripes[usize::try_from(hash % STRIPES as u64).unwrap_or(0)]
    }

    fn each(&self, shards: u64, mut act: impl FnMut(&Inbox)) {
        for (index, inbox) in self.inboxes.iter().enumerate() {
            if shards & (1 << index) != 0 {
                act(inbox);
            }
        }
    }
}

impl Deliver for Interest {
    fn deliver(&self, publication: Publication) {
        self.metrics.publications(Source::Broker).inc();
        let stripe = self.stripe(&publication.topic).lock();
        let Some(entry) = stripe.get(&publication.topic) else { return };
        if publication.payload.len() > self.rules.load().rule(publication.topic.as_str()).publication.0 {
            self.metrics.dropped(Dropped::TooLarge).inc();
            return self.each(entry.shards, |inbox| inbox.flag(&publication.topic, GapReason::TooLarge));
        }
        let publication = Arc::new(publication);
        self.each(entry.shards, |inbox| {
            if !inbox.offer(&publication) {
                self.metrics.dropped(Dropped::Overflow).inc();
                inbox.flag(&publication.topic, GapReason::Overflow);
            }
        });
    }

    fn live(&self, topic: &Topic) {
        let mut stripe = self.stripe(topic).lock();
        let Some(entry) = stripe.get_mut(topic) else { return };
        if entry.live {
            return;
        }
        entry.live = true;
        entry.version = crate::clock::next_version();
        self.metrics.live_topics.inc();
        let (version, lost_since) = (entry.version, entry.lost_since.take());
        self.each(entry.shards, |inbox| inbox.push(Item::Live { topic: topic.clone(), version, lost_since }));
    }

    fn lost(&self, topics: &[Topic], since: u64) {
        for topic in topics {
            let mut stripe = self.stripe(topic).lock();
            let Some(entry) = stripe.get_mut(topic).filter(|entry| entry.live) else { continue };
            entry.live = false;
            entry.version = crate::clock::next_version();
            entry.lost_since.get_or_insert(since);
            self.metrics.live_topics.dec();
            let version = entry.version;
            self.each(entry.shards, |inbox| inbox.push(Item::Lost { topic: topic.clone(), version }));
        }
    }

    fn gap(&self, topic: &Topic, reason: GapReason) {
        let stripe = self.stripe(topic).lock();
        if let Some(entry) = stripe.get(topic) {
            self.each(entry.shards, |inbox| inbox.flag(topic, reason));
        }
    }
}
