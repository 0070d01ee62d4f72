//! A hub that only writes down what a broker tells it, and checks that the broker keeps its word: it takes
//! its own lock around every call in either direction, as the real one does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanline::broker::{Broker, Deliver, Liveness};
use fanline::event::GapReason;
use fanline::publication::Publication;
use fanline::topic::Topic;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// What the broker told, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Message(Bytes),
    Live,
    Lost(u64),
    /// Why, and since when something is missing.
    Gap(GapReason, u64),
}

/// The hub's stand-in.
#[derive(Default)]
pub struct Recorder {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    topics: HashMap<Topic, Heard>,
    /// Calls of `lost`, with how many topics each.
    losses: Vec<usize>,
    broken: Vec<String>,
    messages: usize,
    /// Messages are counted, not kept.
    counting: bool,
}

#[derive(Default)]
struct Heard {
    subscribed: bool,
    live: bool,
    /// A call for this topic is under way.
    busy: bool,
    told: Vec<Told>,
    publications: Vec<Publication>,
}

impl Recorder {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Keeps no messages, only their number.
    pub fn count_only(&self) {
        self.state.lock().counting = true;
    }

    /// Subscribes as the hub does: with the topic locked.
    pub fn subscribe(&self, broker: &dyn Broker, topic: &Topic) -> Liveness {
        let mut state = self.state.lock();
        let liveness = broker.subscribe(topic);
        let heard = state.topics.entry(topic.clone()).or_default();
        heard.subscribed = true;
        heard.live = liveness == Liveness::Live;
        liveness
    }

    pub fn unsubscribe(&self, broker: &dyn Broker, topic: &Topic) {
        let mut state = self.state.lock();
        broker.unsubscribe(topic);
        let heard = state.topics.entry(topic.clone()).or_default();
        (heard.subscribed, heard.live) = (false, false);
    }

    pub fn told(&self, topic: &Topic) -> Vec<Told> {
        self.state.lock().topics.get(topic).map(|heard| heard.told.clone()).unwrap_or_default()
    }

    pub fn messages(&self, topic: &Topic) -> Vec<Bytes> {
        let message = |told| if let Told::Message(payload) = told { Some(payload) } else { None };
        self.told(topic).into_iter().filter_map(message).collect()
    }

    /// What was delivered on a topic, headers and all.
    pub fn publications(&self, topic: &Topic) -> Vec<Publication> {
        self.state.lock().topics.get(topic).map(|heard| heard.publications.clone()).unwrap_or_default()
    }

    pub fn count(&self) -> usize {
        self.state.lock().messages
    }

    pub fn live(&self) -> usize {
        self.state.lock().topics.values().filter(|heard| heard.live).count()
    }

    pub fn is_live(&self, topic: &Topic) -> bool {
        self.state.lock().topics.get(topic).is_some_and(|heard| heard.live)
    }

    pub fn losses(&self) -> Vec<usize> {
        self.state.lock().losses.clone()
    }

    /// Fails where the broker broke the contract of `Deliver`.
    pub fn check(&self) {
        let broken = self.state.lock().broken.clone();
        assert!(broken.is_empty(), "the broker broke its word: {broken:?}");
    }

    /// Waits until something holds, at most 20 s.
    pub async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let wait = async {
            while !holds() {
                // Also looked at now and then, for what is not told through `Deliver`.
                let _ = tokio::time::timeout(Duration::from_millis(10), self.changed.notified()).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(20), wait).await.is_ok(), "in 20 s not: {what}");
        self.check();
    }

    fn tell(&self, topic: &Topic, told: Told) {
        self.enter(topic);
        // Somebody who calls at the same time gets a chance to be caught. Not a yield: on a busy machine that
        // costs milliseconds each, and a link that still delivers cannot end.
        (0..200).for_each(|_| std::hint::spin_loop());
        let mut state = self.state.lock();
        let counting = state.counting;
        let mut broken = None;
        if let Some(heard) = state.topics.get_mut(topic) {
            heard.busy = false;
            match told {
                Told::Live => heard.live |= heard.subscribed,
                Told::Lost(_) => heard.live = false,
                Told::Message(_) if heard.subscribed && !heard.live => {
                    broken = Some(format!("{topic}: {told:?} while it is not live"));
                }
                Told::Message(_) | Told::Gap(..) => {}
            }
            if heard.subscribed && !(counting && matches!(told, Told::Message(_))) {
                heard.told.push(told);
            }
        }
        state.broken.extend(broken);
        drop(state);
        self.changed.notify_one();
    }
}

impl Recorder {
    fn enter(&self, topic: &Topic) {
        let mut state = self.state.lock();
        let heard = state.topics.get_mut(topic);
        let twice = heard.is_some_and(|heard| std::mem::replace(&mut heard.busy, true));
        if twice {
            state.broken.push(format!("{topic}: two calls at once"));
        }
    }
}

impl Deliver for Recorder {
    fn deliver(&self, publication: Publication) {
        {
            let mut state = self.state.lock();
            state.messages += 1;
            let counting = state.counting;
            let heard = state.topics.get_mut(&publication.topic).filter(|heard| heard.subscribed && !counting);
            heard.into_iter().for_each(|heard| heard.publications.push(publication.clone()));
        }
        self.tell(&publication.topic, Told::Message(publication.payload));
    }

    fn live(&self, topic: &Topic) {
        self.tell(topic, Told::Live);
    }

    fn lost(&self, topics: &[Topic], since: u64) {
        self.state.lock().losses.push(topics.len());
        for topic in topics {
            self.tell(topic, Told::Lost(since));
        }
    }

    fn gap(&self, topic: &Topic, reason: GapReason, since: u64) {
        self.tell(topic, Told::Gap(reason, since));
    }
}
