//! A replica's broker with the hub's stand-in behind it.

use std::sync::Arc;
use std::time::Duration;

use fanline::broker::redis::RedisBroker;
use fanline::broker::{Broker, Health, Liveness, PublishError, Receipt};
use fanline::identity::Replica;
use fanline::metrics::Metrics;
use fanline::publication::Header;
use fanline::settings::{self, Secret};
use fanline::topic::Topic;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::recorder::Recorder;

pub struct Replicated {
    pub broker: Arc<RedisBroker>,
    pub hub: Arc<Recorder>,
    pub metrics: Metrics,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Replicated {
    pub fn start(url: &str) -> Self {
        Self::start_with(&settings::Redis { url: Secret::new(url), ..Default::default() })
    }

    pub fn start_with(settings: &settings::Redis) -> Self {
        let (hub, metrics) = (Recorder::new(), Metrics::new());
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let replica = Replica::new("test-1");
        let broker =
            RedisBroker::start(settings, Arc::default(), &replica, hub.clone(), metrics.clone(), &tasks, stop.clone())
                .unwrap();
        Self { broker, hub, metrics, tasks, stop }
    }

    pub async fn open(url: &str) -> Self {
        let replica = Self::start(url);
        replica.until_open().await;
        replica
    }

    pub async fn until_open(&self) {
        self.hub.until("open", || self.broker.health() == Health::Open).await;
    }

    pub fn subscribe(&self, topic: &Topic) -> Liveness {
        self.hub.subscribe(&*self.broker, topic)
    }

    pub async fn subscribed(&self, topics: &[Topic]) {
        for topic in topics {
            self.subscribe(topic);
        }
        self.hub.until("all live", || self.hub.live() == topics.len()).await;
    }

    pub async fn publish(&self, topic: &Topic, payload: &'static str) -> Result<Receipt, PublishError> {
        self.broker.publish(topic, &Header::default(), payload.into()).await
    }

    pub async fn hears(&self, topic: &Topic, payload: &'static str) {
        assert_eq!(self.publish(topic, payload).await, Ok(Receipt::heard(1)));
        self.hub.until("heard", || self.hub.messages(topic).iter().any(|heard| heard == payload)).await;
    }

    pub async fn end(self) {
        self.hub.check();
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await.expect("the broker's tasks end");
        assert_eq!(self.metrics.redis_connected.get(), 0);
    }
}

pub fn topic(name: &str) -> Topic {
    Topic::parse(name).unwrap()
}

pub fn rooms(n: usize) -> Vec<Topic> {
    (0..n).map(|n| topic(&format!("room:{n}"))).collect()
}
