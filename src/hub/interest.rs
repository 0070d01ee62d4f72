//! Which shards want which topics, and what the broker delivers to: from here a publication goes into
//! the inbox of each interested shard.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tracing::warn;

use super::asks::Asks;
use super::inbox::{Inbox, Word};
use super::log::Held;
use super::past::Past;
use crate::broker::{Broker, Deliver, Liveness};
use crate::event::GapReason;
use crate::metrics::{Dropped, Metrics, Source};
use crate::position::Position;
use crate::publication::Publication;
use crate::repeat::Repeats;
use crate::settings::TopicRules;
use crate::topic::Topic;

/// The most shards: an entry keeps them as the bits of one word.
pub const MAX_SHARDS: usize = 64;

/// How often it is said that somebody publishes past a history, in ms.
const STRAY_EVERY: u64 = 60_000;

/// How many locks the topics are spread over.
const STRIPES: usize = 16;

/// Which shards want which topics.
pub struct Interest {
    /// Each lock guards lookups and flips of its topics' entries, and the pushes that must be in their order; now and
    /// then, a page that was read from a topic's history.
    stripes: [Mutex<HashMap<Topic, Entry>>; STRIPES],
    inboxes: Box<[Arc<Inbox>]>,
    /// How many topics there are, and may be.
    topics: AtomicUsize,
    most: usize,
    /// What must be read from the histories.
    pub(super) asks: Asks,
    /// What was read of them, and is kept for those who resume.
    pub(super) logs: Held,
    hasher: std::hash::RandomState,
    /// When it was last said that something is published past a history, in ms of [`crate::clock::now_ms`]; 0: never.
    strayed: AtomicU64,
    rules: Arc<ArcSwap<TopicRules>>,
    pub(super) metrics: Arc<Metrics>,
}

#[derive(Default)]
pub(super) struct Entry {
    /// One bit per interested shard.
    pub shards: u64,
    live: bool,
    /// What is known of its past, where a history is kept.
    pub past: Option<Box<Past>>,
    /// What its listeners may have missed since it was live.
    missed: Missed,
    /// Counts the flips, so that a shard that left and came back ignores older ones.
    version: u64,
}

/// What may have been missed of a topic that is not live, and since when, in ms since 1970.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Missed {
    #[default]
    Nothing,
    /// What was published since; of a history it is read once the topic is live.
    Outage(u64),
    /// Something that stands in no history that could be read.
    ForGood(u64),
}

impl Missed {
    fn outage(&mut self, since: u64) {
        if *self == Self::Nothing {
            *self = Self::Outage(since);
        }
    }

    fn for_good(&mut self, since: u64) {
        let before = match *self {
            Self::Nothing => since,
            Self::Outage(before) | Self::ForGood(before) => before,
        };
        *self = Self::ForGood(since.min(before));
    }

    /// Since when something is missing, where what a history has is read.
    fn is_missing(self, is_read: bool) -> Option<u64> {
        match self {
            Self::Nothing => None,
            Self::Outage(since) => (!is_read).then_some(since),
            Self::ForGood(since) => Some(since),
        }
    }
}

/// How a topic stands when a shard joins it.
pub(super) struct Standing {
    pub live: bool,
    pub version: u64,
    /// Behind what its publications stand, where a history is kept.
    pub position: Option<Position>,
    pub keeps_history: bool,
}

impl Interest {
    /// No topics, `shards` inboxes.
    #[must_use]
    pub fn new(shards: usize, rules: Arc<ArcSwap<TopicRules>>, metrics: Arc<Metrics>) -> Arc<Self> {
        Self::bounded(shards, rules, metrics, usize::MAX)
    }

    /// The same with room for so many topics.
    #[must_use]
    pub fn bounded(shards: usize, rules: Arc<ArcSwap<TopicRules>>, metrics: Arc<Metrics>, most: usize) -> Arc<Self> {
        let shards = shards.clamp(1, MAX_SHARDS);
        Arc::new(Self {
            stripes: Default::default(),
            inboxes: (0..shards).map(|_| Arc::new(Inbox::default())).collect(),
            topics: AtomicUsize::new(0),
            most,
            asks: Asks::default(),
            logs: Held::default(),
            hasher: std::hash::RandomState::new(),
            strayed: AtomicU64::new(0),
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
    /// None where there is no room for another topic.
    pub(super) fn join(&self, topic: &Topic, shard: usize, broker: &dyn Broker) -> Option<Standing> {
        let mut stripe = self.stripe(topic).lock();
        let entry = match stripe.entry(topic.clone()) {
            Place::Occupied(entry) => entry.into_mut(),
            Place::Vacant(place) => {
                self.make_room(broker)?;
                place.insert(Entry { version: crate::clock::next_version(), ..Entry::default() })
            }
        };
        if entry.shards == 0 {
            let flows = broker.subscribe(topic) == Liveness::Live;
            let rules = self.rules.load();
            entry.past = rules.rule(topic.as_str()).keeps_history().then(Box::default);
            match &mut entry.past {
                // It is live once it is known where it stands.
                Some(past) if flows => self.open(topic, past),
                Some(_) => {}
                None => entry.live = flows,
            }
            self.metrics.live_topics.add(i64::from(entry.live));
        }
        entry.shards |= 1 << shard;
        let position = entry.past.as_ref().and_then(|past| past.last()).filter(|_| entry.live);
        Some(Standing { live: entry.live, version: entry.version, position, keeps_history: entry.past.is_some() })
    }

    /// Counts another topic, where there is room for it: those that only linger go before anybody is refused.
    fn make_room(&self, broker: &dyn Broker) -> Option<()> {
        let topics = self.topics.fetch_add(1, Ordering::Relaxed) + 1;
        if topics > self.most {
            self.topics.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        broker.linger_at_most(self.most - topics);
        self.metrics.topics.inc();
        Some(())
    }

    /// How many topics may have subscribers here.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// A shard's last subscriber of a topic left.
    pub(super) fn leave(&self, topic: &Topic, shard: usize, broker: &dyn Broker) {
        let mut stripe = self.stripe(topic).lock();
        let Some(entry) = stripe.get_mut(topic) else { return };
        entry.shards &= !(1 << shard);
        if entry.shards == 0 {
            self.topics.fetch_sub(1, Ordering::Relaxed);
            self.metrics.topics.dec();
            self.metrics.live_topics.sub(i64::from(entry.live));
            stripe.remove(topic);
            broker.unsubscribe(topic);
        }
    }

    /// Puts a publication into the inboxes of these shards.
    pub(super) fn hand_out(&self, shards: u64, publication: &Arc<Publication>) {
        if publication.payload.len() > self.rules.load().rule(publication.topic.as_str()).publication.0 {
            self.metrics.dropped(Dropped::TooLarge).inc();
            say_too_large(publication);
            let since = crate::clock::unix_ms();
            return self.each(shards, |inbox| inbox.flag(&publication.topic, GapReason::TooLarge, since));
        }
        self.each(shards, |inbox| {
            if !inbox.offer(publication) {
                self.metrics.dropped(Dropped::Overflow).inc();
                inbox.flag(&publication.topic, GapReason::Overflow, crate::clock::unix_ms());
            }
        });
    }

    /// A publication came that is in no history, though its topic keeps one: it is delivered, and cannot be healed.
    fn stray(&self, topic: &Topic) {
        self.metrics.publications(Source::Stray).inc();
        let now = crate::clock::now_ms();
        let last = self.strayed.load(Ordering::Relaxed);
        let due = last == 0 || now >= last + STRAY_EVERY;
        if due && self.strayed.compare_exchange(last, now.max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            warn!(%topic, "a plain PUBLISH on a topic with history: nobody who was away gets it; publish through the gateway or by the function that `fanline which TOPIC` names");
        }
    }

    /// How long Redis remembers where a topic ended.
    pub(super) fn remembered(&self, topic: &Topic) -> Duration {
        self.rules.load().rule(topic.as_str()).remembered()
    }

    /// From here on a topic's publications flow, behind this position where a history is kept.
    pub(super) fn flip_live(&self, topic: &Topic, entry: &mut Entry, position: Option<Position>) {
        if entry.live {
            return;
        }
        entry.live = true;
        entry.version = crate::clock::next_version();
        self.metrics.live_topics.inc();
        // What was read is not missed; what is in no history may be.
        let is_read = entry.past.as_ref().is_some_and(|past| !past.has_strays);
        let (version, lost_since) = (entry.version, std::mem::take(&mut entry.missed).is_missing(is_read));
        let live = || Word::Live { topic: topic.clone(), version, lost_since, position };
        self.each(entry.shards, |inbox| inbox.push(live().into()));
    }

    pub(super) fn stripe(&self, topic: &Topic) -> &Mutex<HashMap<Topic, Entry>> {
        let hash = self.hasher.hash_one(topic.as_str());
        &self.stripes[usize::try_from(hash % STRIPES as u64).unwrap_or(0)]
    }

    pub(super) fn each(&self, shards: u64, mut act: impl FnMut(&Inbox)) {
        for (index, inbox) in self.inboxes.iter().enumerate() {
            if shards & (1 << index) != 0 {
                act(inbox);
            }
        }
    }
}

impl Deliver for Interest {
    fn deliver(&self, mut publication: Publication) {
        self.metrics.publications(Source::Broker).inc();
        let mut stripe = self.stripe(&publication.topic).lock();
        let Some(entry) = stripe.get_mut(&publication.topic) else { return };
        match &mut entry.past {
            None => {
                publication.displace();
                self.hand_out(entry.shards, &Arc::new(publication));
            }
            Some(past) => {
                if publication.step().is_none() {
                    publication.displace();
                    past.has_strays = true;
                    self.stray(&publication.topic);
                }
                let topic = publication.topic.clone();
                self.attach(past, &mut publication);
                self.advance(&topic, entry, |sequence| sequence.came(publication));
            }
        }
    }

    fn live(&self, topic: &Topic) {
        let mut stripe = self.stripe(topic).lock();
        let Some(entry) = stripe.get_mut(topic) else { return };
        match &mut entry.past {
            Some(past) => self.open(topic, past),
            None => self.flip_live(topic, entry, None),
        }
    }

    fn lost(&self, topics: &[Topic], since: u64) {
        for topic in topics {
            let mut stripe = self.stripe(topic).lock();
            let Some(entry) = stripe.get_mut(topic) else { continue };
            entry.past.iter_mut().for_each(|past| past.closed(since));
            if !entry.live {
                continue;
            }
            entry.live = false;
            entry.version = crate::clock::next_version();
            entry.missed.outage(since);
            self.metrics.live_topics.dec();
            // What is in no history cannot be read afterwards.
            let heals = entry.past.as_ref().is_some_and(|past| !past.has_strays);
            let version = entry.version;
            self.each(entry.shards, |inbox| inbox.push(Word::Lost { topic: topic.clone(), version, heals }.into()));
        }
    }

    fn gap(&self, topic: &Topic, reason: GapReason, since: u64) {
        let mut stripe = self.stripe(topic).lock();
        match stripe.get_mut(topic) {
            Some(entry) if entry.live => self.each(entry.shards, |inbox| inbox.flag(topic, reason, since)),
            Some(entry) => entry.missed.for_good(since),
            None => {}
        }
    }
}

/// Only the log tells which producer it is; its listeners are told of a gap.
fn say_too_large(publication: &Publication) {
    static SAID: Repeats = Repeats::new();
    if let Some(unsaid) = SAID.due(()) {
        let bytes = publication.payload.len();
        warn!(topic = %publication.topic, bytes, unsaid, "publication above its topic rule's `publication`; nobody gets it: those who can be told get a gap in its place");
    }
}
