//! A shard's promises, driven by hand: no task, no clock, a broker that only notes what it is asked.

mod bounds;
mod deflate;
mod delivery;
mod doubts;
mod gaps;
mod liveness;
mod model;
mod news;
mod patience;
mod proof;
mod resume;
mod sequence;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;

use super::order::Order;
use super::pass::Turn;
use super::shard::Shard;
use super::{Answer, Interest, Parts};
use crate::broker::{Broker, Deliver, Health, Liveness, PublishError, Receipt};
use crate::command::{MessageId, Wanted};
use crate::event::GapReason;
use crate::identity::{ConnectionNumber, Replica};
use crate::metrics::Metrics;
use crate::outbox::fake::{Frame, Pipe, terms, topic};
use crate::outbox::{Outbox, Total};
use crate::protocol::{Json, Plain, Protocol};
use crate::publication::{Header, Publication};
use crate::settings::{OnGap, TopicRules};
use crate::topic::Topic;

/// A broker that notes what it is asked.
struct Road {
    up: Mutex<bool>,
    asked: Mutex<Vec<String>>,
    /// How many topics may linger, at most.
    spared: Mutex<Vec<usize>>,
}

impl Broker for Road {
    fn subscribe(&self, topic: &Topic) -> Liveness {
        self.asked.lock().push(format!("+{topic}"));
        if *self.up.lock() { Liveness::Live } else { Liveness::Pending }
    }

    fn unsubscribe(&self, topic: &Topic) {
        self.asked.lock().push(format!("-{topic}"));
    }

    fn linger_at_most(&self, most: usize) {
        self.spared.lock().push(most);
    }

    fn publish<'a>(&'a self, _: &'a Topic, _: &'a Header, _: Bytes) -> BoxFuture<'a, Result<Receipt, PublishError>> {
        async { Ok(Receipt::heard(0)) }.boxed()
    }

    fn health(&self) -> Health {
        Health::Open
    }
}

/// One shard of a hub, and what is around it.
struct House {
    shard: Shard,
    interest: Arc<Interest>,
    road: Arc<Road>,
    replica: Replica,
    metrics: Arc<Metrics>,
    total: Arc<Total>,
}

/// One client whose socket takes everything.
struct Client {
    outbox: Arc<Outbox>,
    pipe: Arc<Outbox<Pipe>>,
}

impl House {
    /// A house on a road that is up, or not yet.
    fn new(up: bool) -> Self {
        Self::under(up, TopicRules::default())
    }

    /// The same under rules of the test's own.
    fn under(up: bool, rules: TopicRules) -> Self {
        Self::built(up, rules, usize::MAX)
    }

    /// A house with room for so many topics, on a road that is up.
    fn with_room(topics: usize) -> Self {
        Self::built(true, TopicRules::default(), topics)
    }

    fn built(up: bool, rules: TopicRules, most: usize) -> Self {
        let (metrics, replica) = (Arc::new(Metrics::new()), Replica::new("here"));
        let rules = Arc::new(ArcSwap::from_pointee(rules));
        let interest = Interest::bounded(1, rules.clone(), metrics.clone(), most);
        let road = Arc::new(Road { up: Mutex::new(up), asked: Mutex::default(), spared: Mutex::default() });
        let (broker, replica_too) = (road.clone(), replica.clone());
        let parts = Parts {
            broker,
            interest: interest.clone(),
            replica: replica_too,
            rules,
            metrics: metrics.clone(),
            least_deflated: 100,
        };
        let shard = Shard::new(0, &parts);
        Self { shard, interest, road, replica, metrics, total: Total::new(usize::MAX) }
    }

    fn json(&self, number: u64) -> Client {
        self.client(number, Box::new(Json))
    }

    fn plain(&self, number: u64) -> Client {
        self.client(number, Box::new(Plain::new(OnGap::Ignore)))
    }

    fn client(&self, number: u64, protocol: Box<dyn Protocol>) -> Client {
        let terms = terms(protocol, 1 << 30, usize::MAX, &self.total);
        let pipe = Outbox::new(terms, ConnectionNumber(number), Pipe::with_room(usize::MAX));
        Client { outbox: pipe.clone(), pipe }
    }

    fn subscribe(&mut self, client: &Client, topics: &[&str]) {
        self.ask(client, topics, None);
    }

    /// Subscribes with an id of the client's.
    fn ask(&mut self, client: &Client, topics: &[&str], id: Option<&str>) {
        let answer = Answer { id: id.map(|id| MessageId(id.into())), ..Answer::default() };
        let (outbox, topics) = (client.outbox.clone(), topics.iter().map(|name| Wanted::fresh(topic(name))).collect());
        self.shard.obey(Order::Subscribe { outbox, topics, limit: 3, answer });
    }

    fn unsubscribe(&mut self, client: &Client, name: &str) {
        self.shard.obey(Order::Unsubscribe { outbox: client.outbox.clone(), topics: vec![topic(name)], id: None });
    }

    fn leave(&mut self, client: &Client) {
        client.outbox.gone();
        self.shard.obey(Order::Leave(client.outbox.number()));
    }

    fn publish(&self, name: &str, text: &str) {
        self.publish_except(name, text, None);
    }

    fn publish_except(&self, name: &str, text: &str, except: Option<&Client>) {
        let id = except.map(|client| self.replica.connection(client.outbox.number()).to_string().into());
        let header = id.map(|id| Box::new(Header { except: vec![id], ..Header::default() }));
        let payload = Bytes::copy_from_slice(text.as_bytes());
        self.interest.deliver(Publication::new(topic(name), header, payload, Instant::now()));
    }

    /// The road is up, or down, and says so for these topics.
    fn road(&self, up: bool, topics: &[&str]) {
        *self.road.up.lock() = up;
        let topics: Vec<_> = topics.iter().map(|name| topic(name)).collect();
        match up {
            true => topics.iter().for_each(|topic| self.interest.live(topic)),
            false => self.interest.lost(&topics, 7),
        }
    }

    /// The broker lost something of a topic just now.
    fn gap(&self, name: &str, reason: GapReason) {
        self.interest.gap(&topic(name), reason, crate::clock::unix_ms());
    }

    /// One turn of so many sockets.
    fn turn(&mut self, sockets: u32) {
        self.shard.take_inbox();
        self.shard.work(Turn::of(sockets, Duration::from_secs(3600)));
    }

    /// Turns until nothing is left to do.
    fn settle(&mut self) {
        self.shard.take_inbox();
        while self.shard.is_busy() {
            self.turn(64);
        }
    }

    fn asked(&self) -> Vec<String> {
        self.road.asked.lock().clone()
    }

    /// Nobody is here and nothing is held.
    fn assert_empty(&self) {
        assert_eq!(self.shard.census(), (0, 0, 0));
        assert_eq!(self.interest.held(), 0);
        assert_eq!((self.metrics.subscriptions.get(), self.metrics.topics.get()), (0, 0));
        assert_eq!(self.metrics.live_topics.get(), 0);
    }
}

impl Client {
    /// What it was told, in short.
    fn told(&self) -> Vec<String> {
        self.pipe.wire().frames().iter().map(short).collect()
    }

    /// Since when something was missing, gap by gap.
    fn gaps(&self) -> Vec<u64> {
        self.pipe.wire().frames().iter().filter_map(|frame| frame.json()["since"].as_u64()).collect()
    }

    /// What it was told of one topic.
    fn told_of(&self, topic: &str) -> Vec<String> {
        let frames = self.pipe.wire().frames();
        frames.iter().filter(|frame| is_about(frame, topic)).map(short).collect()
    }
}

fn is_about(frame: &Frame, topic: &str) -> bool {
    let json = frame.json();
    json["topic"] == topic || json["topics"].as_array().is_some_and(|topics| topics.iter().any(|name| name == topic))
}

/// `subscribed:<live>#<id>`, `live:<live>`, `gap:<reason>`, a text.
fn short(frame: &Frame) -> String {
    let json = frame.json();
    let id = if json["id"].is_null() { String::new() } else { format!("#{}", json["id"]) };
    match json["type"].as_str() {
        Some(kind @ ("subscribed" | "live")) => format!("{kind}:{}{id}", json["live"]),
        Some("gap") => format!("gap:{}", json["reason"].as_str().unwrap()),
        Some("message") => json["text"].as_str().map_or_else(|| json["data"].to_string(), Into::into),
        Some("error") => format!("error:{}{id}", json["code"].as_str().unwrap()),
        Some(other) => format!("{other}{id}"),
        None => String::from_utf8(frame.payload.clone()).unwrap(),
    }
}
