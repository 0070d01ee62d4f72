//! What one link's task and the hub's threads share.
//!
//! Locks: the hub calls [`LinkState::subscribe`] with its topic locked, so whoever holds a lock of this
//! page calls nobody. Everything is told to the hub by the link's one task (the supervisor, and the driver
//! that it polls), so per topic the calls keep their order without a lock: `live`, publications, `lost`.
//! What the hub does between our unlocking and our call is harmless: it then hears `live` or `lost` of a
//! topic that it left, or `lost` of one that it joined anew as pending, and both change nothing there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::broker::redis::canaries::Canaries;
use crate::broker::redis::desired::Desired;
use crate::broker::redis::lanes::Lanes;
use crate::broker::redis::late::Late;
use crate::broker::redis::status::{Commands, Condition};
use crate::broker::{Deliver, Health, Liveness};
use crate::event::GapReason;
use crate::link::address::Place;
use crate::link::keys::Keys;
use crate::link::placement::Link;
use crate::metrics::Metrics;
use crate::repeat::Repeats;
use crate::topic::Topic;

/// One link, as the hub's threads and its own task see it.
pub struct LinkState {
    pub(super) link: Link,
    pub(super) keys: Keys,
    /// What every canary's channel begins with.
    pub(super) canary_base: String,
    /// Guards one map operation, or one batch of 1,000; on connecting and losing, one walk over all topics.
    pub(super) desired: Mutex<Desired>,
    pub(super) canaries: Mutex<Canaries>,
    /// Where the master is in the word of Sentinel, if it was asked.
    pub(super) named: Mutex<Option<Place>>,
    pub(super) condition: Mutex<Condition>,
    /// Wakes the supervisor: there is work, or a verdict.
    pub(super) wake: Notify,
    /// Wakes the canary's sender: fly now.
    pub(super) fly: Notify,
    pub(super) lanes: Arc<Lanes>,
    pub(super) deliver: Arc<dyn Deliver>,
    pub(super) metrics: Metrics,
    /// What comes from a master that was left.
    pub(super) late: Mutex<Late>,
    /// What was said of this link's troubles.
    pub(super) repeats: Repeats,
    /// The log's last word is that there is no link.
    pub(super) said_down: AtomicBool,
    clock: Clock,
    /// Messages on channels that are no topics of ours.
    pub(super) strangers: AtomicU64,
}

/// Moments as numbers, so that they can be noted without a lock. All in ms since the start.
struct Clock {
    start: Instant,
    whole: AtomicU64,
    ticked: AtomicU64,
}

/// What a link is made of.
pub(super) struct Parts {
    pub link: Link,
    pub keys: Keys,
    pub canary: Topic,
    pub linger: Duration,
    pub lanes: Arc<Lanes>,
    pub deliver: Arc<dyn Deliver>,
    pub metrics: Metrics,
}

impl LinkState {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { link, keys, canary, linger, lanes, deliver, metrics } = parts;
        let clock = Clock { start: Instant::now(), whole: AtomicU64::new(0), ticked: AtomicU64::new(0) };
        let canary_base = keys.channel(&canary);
        Self {
            link,
            canaries: Mutex::new(Canaries::new(canary_base.clone())),
            canary_base,
            named: Mutex::new(None),
            keys,
            desired: Mutex::new(Desired::new(linger)),
            condition: Mutex::new(Condition::new()),
            wake: Notify::new(),
            fly: Notify::new(),
            lanes,
            deliver,
            metrics,
            late: Mutex::default(),
            repeats: Repeats::new(),
            said_down: AtomicBool::new(false),
            clock,
            strangers: AtomicU64::new(0),
        }
    }

    pub(super) fn subscribe(&self, topic: &Topic) -> Liveness {
        let liveness = self.desired.lock().want(topic, Instant::now());
        if liveness == Liveness::Pending {
            self.wake.notify_one();
        }
        liveness
    }

    /// Nobody is woken where the topic lingers: the supervisor looks by itself when that is over.
    pub(super) fn unsubscribe(&self, topic: &Topic) {
        let mut desired = self.desired.lock();
        desired.unwant(topic, Instant::now());
        if desired.has_work() {
            self.wake.notify_one();
        }
    }

    /// Ends lingering until at most so many topics do; answers how many.
    pub(super) fn linger_at_most(&self, most: usize) -> usize {
        let mut desired = self.desired.lock();
        if desired.linger_at_most(most) {
            self.wake.notify_one();
        }
        desired.lingering()
    }

    pub(super) fn health(&self) -> Health {
        self.condition.lock().health(Instant::now())
    }

    /// Whether a connection is there and commands are not known to go unanswered.
    pub(super) fn is_up(&self) -> bool {
        let silent = self.condition.lock().met() == Commands::Silent;
        !silent && self.is_connected()
    }

    /// Whether there is a connection.
    pub(super) fn is_connected(&self) -> bool {
        self.desired.lock().is_connected()
    }

    /// Something of a topic that was published since then, in ms since 1970, comes to nobody.
    pub(super) fn gap(&self, topic: &Topic, since: u64) {
        self.deliver.gap(topic, GapReason::Reconnected, since);
    }

    /// The same of those of these topics that are wanted still.
    pub(super) fn gaps(&self, topics: &[Topic], since: u64) {
        let wanted = self.desired.lock().wanted_of(topics);
        wanted.iter().for_each(|topic| self.gap(topic, since));
    }

    /// The command connection met this, and that was wrong. What changed for the worse concerns publishers, too.
    pub(super) fn met(&self, commands: Commands, trouble: Option<String>) {
        self.lanes.bar(trouble.clone().filter(|_| commands == Commands::Undialled));
        let before = {
            let mut condition = self.condition.lock();
            let before = condition.met();
            condition.commands(commands, trouble, Instant::now());
            before
        };
        match commands {
            same if same == before => return,
            Commands::Silent => self.lanes.renew(),
            Commands::Replica => self.lanes.leave(),
            Commands::Undialled | Commands::PartlyUndialled => {}
            Commands::Unknown | Commands::Answering | Commands::Partly => return,
        }
        self.wake.notify_one();
    }

    /// Sentinel names this address. Where that is another than before, links and publishers leave the old one,
    /// whatever it still answers.
    pub(super) fn name_master(&self, place: &Place) {
        let before = self.named.lock().replace(place.clone());
        if before.as_ref() != Some(place) {
            self.lanes.leave();
            self.wake.notify_one();
        }
    }

    /// The supervisor ran just now.
    pub(super) fn tick(&self) {
        self.clock.note(&self.clock.ticked, Instant::now());
    }

    /// How long ago the supervisor ran.
    pub(super) fn since_tick(&self) -> Duration {
        self.clock.ago(&self.clock.ticked)
    }

    /// What was published before this moment has come, or its loss was told. Only a canary shows that: when a
    /// message comes, nobody knows how long it was on its way, and what was published behind it.
    pub(super) fn whole_until(&self, moment: Option<Instant>) {
        if let Some(moment) = moment {
            self.clock.note(&self.clock.whole, moment);
        }
    }

    /// Until when all is known to have come, in ms since 1970.
    pub(super) fn last_whole(&self) -> u64 {
        let ago = self.clock.ago(&self.clock.whole);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        millis(now.saturating_sub(ago))
    }
}

impl Clock {
    fn note(&self, what: &AtomicU64, now: Instant) {
        what.store(millis(now.duration_since(self.start)), Ordering::Relaxed);
    }

    fn ago(&self, what: &AtomicU64) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_millis(what.load(Ordering::Relaxed)))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
