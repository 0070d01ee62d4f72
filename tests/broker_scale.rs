//! How fast a link with many topics heals.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fanline::broker::redis::RedisBroker;
use fanline::broker::{Broker, Deliver, Health};
use fanline::event::GapReason;
use fanline::identity::Replica;
use fanline::metrics::Metrics;
use fanline::publication::Publication;
use fanline::settings::{self, Secret};
use fanline::topic::Topic;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use support::redis::RedisServer;

const TOPICS: usize = 100_000;

/// Counts; so that what is measured is the link.
#[derive(Default)]
struct Counter {
    live: AtomicUsize,
    messages: AtomicUsize,
}

impl Deliver for Counter {
    fn deliver(&self, _: Publication) {
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    fn live(&self, _: &Topic) {
        self.live.fetch_add(1, Ordering::Relaxed);
    }

    fn lost(&self, topics: &[Topic], _: u64) {
        self.live.fetch_sub(topics.len(), Ordering::Relaxed);
    }

    fn gap(&self, _: &Topic, _: GapReason, _: u64) {}
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), wait).await.is_ok(), "in 60 s not: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_topics_are_live_two_seconds_after_redis_answers_again() {
    let Some(mut redis) = RedisServer::start() else { return };
    let (counter, stop, tasks) = (Arc::new(Counter::default()), CancellationToken::new(), TaskTracker::new());
    let settings = settings::Redis { url: Secret::new(redis.url()), ..Default::default() };
    let replica = Replica::new("test-1");
    let broker =
        RedisBroker::start(&settings, Arc::default(), &replica, counter.clone(), Metrics::new(), &tasks, stop.clone())
            .unwrap();
    for n in 0..TOPICS {
        broker.subscribe(&Topic::parse(&format!("room:{n}")).unwrap());
    }
    until("all live", || counter.live.load(Ordering::Relaxed) == TOPICS).await;
    until("open", || broker.health() == Health::Open).await;
    redis.kill();
    until("all lost", || counter.live.load(Ordering::Relaxed) == 0).await;
    redis.restart();
    let answers = Instant::now();
    until("all live again", || counter.live.load(Ordering::Relaxed) == TOPICS).await;
    let took = answers.elapsed();
    println!("100,000 topics live again {took:?} after Redis answers");
    // Unoptimised code on a busy machine is given more.
    let bound = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 2 });
    assert!(took < bound, "{took:?}");
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}
