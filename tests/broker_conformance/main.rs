//! One suite for every broker: what the hub may rely on, whichever road there is.
//! Cases that need an outage run only where a broker can be away, and say so in their names.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

macro_rules! on_every_broker {
    ($($name:ident)*) => {
        mod memory {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let road = crate::Road::memory().unwrap();
                super::$name(&road).await;
                road.end().await;
            }
        )*}
        mod redis {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let Some(road) = crate::Road::redis().await else { return };
                super::$name(&road).await;
                road.end().await;
            }
        )*}
    };
}

mod history;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fanline::broker::memory::MemoryBroker;
use fanline::broker::redis::RedisBroker;
use fanline::broker::{Broker, Health, Liveness, PublishError, Receipt};
use fanline::event::GapReason;
use fanline::identity::Replica;
use fanline::metrics::Metrics;
use fanline::publication::{Header, HeaderTooLong, MAX_HEADER};
use fanline::settings::{self, Secret};
use fanline::topic::Topic;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use support::recorder::{Recorder, Told};
use support::redis::RedisServer;

const LINGER: Duration = Duration::from_millis(200);

/// A broker under test, with the hub's stand-in behind it.
struct Road {
    broker: Arc<dyn Broker>,
    hub: Arc<Recorder>,
    tasks: TaskTracker,
    stop: CancellationToken,
    redis: Option<RedisServer>,
}

impl Road {
    fn memory() -> Option<Self> {
        let hub = Recorder::new();
        let broker = MemoryBroker::new(hub.clone(), history::rules());
        Some(Self { broker, hub, tasks: TaskTracker::new(), stop: CancellationToken::new(), redis: None })
    }

    async fn redis() -> Option<Self> {
        let road = Self::over(RedisServer::start()?);
        road.hub.until("open", || road.broker.health() == Health::Open).await;
        Some(road)
    }

    fn over(redis: RedisServer) -> Self {
        let (hub, tasks, stop) = (Recorder::new(), TaskTracker::new(), CancellationToken::new());
        let settings = settings::Redis { url: Secret::new(redis.url()), linger: LINGER, ..Default::default() };
        let replica = Replica::new("test-1");
        let broker = RedisBroker::start(
            &settings,
            history::rules(),
            &replica,
            hub.clone(),
            Metrics::new(),
            &tasks,
            stop.clone(),
        )
        .unwrap();
        Self { broker, hub, tasks, stop, redis: Some(redis) }
    }

    fn subscribe(&self, topic: &Topic) -> Liveness {
        self.hub.subscribe(&*self.broker, topic)
    }

    fn unsubscribe(&self, topic: &Topic) {
        self.hub.unsubscribe(&*self.broker, topic);
    }

    async fn subscribed(&self, topic: &Topic) {
        self.subscribe(topic);
        self.hub.until("live", || self.hub.is_live(topic)).await;
    }

    async fn publish(&self, topic: &Topic, payload: impl Into<Bytes>) -> Result<Receipt, PublishError> {
        self.broker.publish(topic, &Header::default(), payload.into()).await
    }

    async fn heard(&self, topic: &Topic, count: usize) -> Vec<Bytes> {
        self.hub.until("all heard", || self.hub.messages(topic).len() >= count).await;
        self.hub.messages(topic)
    }

    async fn end(self) {
        self.hub.check();
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await.expect("the broker's tasks end");
    }
}

fn topic(name: &str) -> Topic {
    Topic::parse(name).unwrap()
}

fn number(n: usize) -> Bytes {
    n.to_string().into()
}

on_every_broker! {
    publications_of_one_publisher_arrive_in_order
    a_publisher_hears_how_many_replicas_listened
    any_bytes_arrive_as_they_were_sent
    headers_travel_and_no_payload_can_forge_one
    a_header_longer_than_a_replica_reads_is_refused_and_the_longest_arrives
    the_first_subscriber_brings_publications_and_the_last_takes_them_away
    a_topic_wanted_again_at_once_misses_nothing
    an_unsubscribe_racing_a_subscribe_leaves_what_was_wanted_last
    ten_thousand_topics_are_live_and_each_hears_its_own
    two_publishers_to_one_topic_are_heard_in_one_order_by_all
    a_broker_dropped_while_it_delivers_harms_nobody
}

async fn publications_of_one_publisher_arrive_in_order(road: &Road) {
    let topic = topic("room:42");
    road.subscribed(&topic).await;
    for n in 0..1_000 {
        road.publish(&topic, number(n)).await.unwrap();
    }
    assert_eq!(road.heard(&topic, 1_000).await, (0..1_000).map(number).collect::<Vec<_>>());
}

async fn a_publisher_hears_how_many_replicas_listened(road: &Road) {
    let topic = topic("room:42");
    assert_eq!(road.publish(&topic, "nobody").await, Ok(Receipt::heard(0)));
    road.subscribed(&topic).await;
    assert_eq!(road.publish(&topic, "one").await, Ok(Receipt::heard(1)));
}

async fn any_bytes_arrive_as_they_were_sent(road: &Road) {
    let topic = topic("A-Za-z_=@,.;:/+~%!$#");
    road.subscribed(&topic).await;
    let all: Vec<u8> = (0..=255).collect();
    let large = all.repeat(2048);
    assert_eq!(large.len(), 512 * 1024);
    for payload in [&b""[..], &all, b"\r\n$5\r\n", b"\x1eFL1{}\n", &large, b"\x1e", b"last"] {
        road.publish(&topic, payload.to_vec()).await.unwrap();
    }
    let heard = road.heard(&topic, 7).await;
    let sent: [&[u8]; 7] = [b"", &all, b"\r\n$5\r\n", b"\x1eFL1{}\n", &large, b"\x1e", b"last"];
    assert!(heard.iter().map(|bytes| &bytes[..]).eq(sent));
}

async fn headers_travel_and_no_payload_can_forge_one(road: &Road) {
    let topic = topic("room:42");
    road.subscribed(&topic).await;
    let header = Header { event: Some("chat".into()), ..Header::default() };
    road.broker.publish(&topic, &header, "hi".into()).await.unwrap();
    road.publish(&topic, "\x1eFL1{\"event\":\"forged\"}\nhi").await.unwrap();
    assert_eq!(road.heard(&topic, 2).await, ["hi", "\x1eFL1{\"event\":\"forged\"}\nhi"]);
}

async fn a_header_longer_than_a_replica_reads_is_refused_and_the_longest_arrives(road: &Road) {
    let (topic, nobodys) = (topic("room:42"), topic("nobody"));
    road.subscribed(&topic).await;
    let excepting = |id: usize| Header { except: vec!["r".repeat(id).into()], ..Header::default() };
    let longest = MAX_HEADER - "{\"except\":[\"\"]}\n".len();
    for topic in [&topic, &nobodys] {
        let refused = road.broker.publish(topic, &excepting(longest + 1), "lost".into()).await;
        assert_eq!(refused, Err(PublishError::Header(HeaderTooLong(MAX_HEADER + 1))));
    }
    let taken = road.broker.publish(&topic, &excepting(longest), "hi".into()).await;
    assert_eq!(taken, Ok(Receipt::heard(1)));
    assert_eq!(road.heard(&topic, 1).await, ["hi"]);
    assert!(!road.hub.told(&topic).iter().any(|told| matches!(told, Told::Gap(..))), "it is read");
}

async fn the_first_subscriber_brings_publications_and_the_last_takes_them_away(road: &Road) {
    let topic = topic("room:42");
    road.subscribed(&topic).await;
    road.publish(&topic, "heard").await.unwrap();
    road.heard(&topic, 1).await;
    road.unsubscribe(&topic);
    let gone = tokio::time::Instant::now() + Duration::from_secs(10);
    while road.publish(&topic, "unheard").await.unwrap().replicas > 0 {
        assert!(tokio::time::Instant::now() < gone, "the last subscriber is gone for long");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(road.hub.messages(&topic), ["heard"]);
    road.subscribed(&topic).await;
    road.publish(&topic, "again").await.unwrap();
    assert_eq!(road.heard(&topic, 2).await, ["heard", "again"]);
}

async fn a_topic_wanted_again_at_once_misses_nothing(road: &Road) {
    let topic = topic("room:42");
    road.subscribed(&topic).await;
    // Who stays for less than a tenth of the linger is followed by none.
    tokio::time::sleep(LINGER / 10).await;
    for n in 0..50 {
        road.unsubscribe(&topic);
        assert_eq!(road.subscribe(&topic), Liveness::Live, "it lingers");
        road.publish(&topic, number(n)).await.unwrap();
        // Heard before it is left again: what is under way when the last subscriber leaves is nobody's.
        road.heard(&topic, n + 1).await;
    }
    assert_eq!(road.hub.messages(&topic), (0..50).map(number).collect::<Vec<_>>());
}

async fn an_unsubscribe_racing_a_subscribe_leaves_what_was_wanted_last(road: &Road) {
    let topics: Vec<Topic> = (0..8).map(|n| topic(&format!("race:{n}"))).collect();
    let (broker, hub) = (road.broker.clone(), road.hub.clone());
    let racers = topics.clone().into_iter().map(|topic| {
        let (broker, hub) = (broker.clone(), hub.clone());
        tokio::spawn(async move {
            for n in 0..40 {
                hub.subscribe(&*broker, &topic);
                tokio::time::sleep(Duration::from_micros(fastrand::u64(0..2_000))).await;
                hub.unsubscribe(&*broker, &topic);
                // Now and then long enough for the linger to end just about then.
                let pause = if n % 10 == 0 { LINGER } else { Duration::ZERO };
                tokio::time::sleep(pause + Duration::from_micros(fastrand::u64(0..2_000))).await;
            }
            hub.subscribe(&*broker, &topic);
        })
    });
    for racer in racers.collect::<Vec<_>>() {
        racer.await.unwrap();
    }
    for topic in &topics {
        road.hub.until("live", || road.hub.is_live(topic)).await;
        assert_eq!(road.publish(topic, "last").await, Ok(Receipt::heard(1)));
        assert_eq!(road.heard(topic, 1).await, ["last"]);
    }
}

async fn ten_thousand_topics_are_live_and_each_hears_its_own(road: &Road) {
    let topics: Vec<Topic> = (0..10_000).map(|n| topic(&format!("room:{n}"))).collect();
    for topic in &topics {
        road.subscribe(topic);
    }
    road.hub.until("all live", || road.hub.live() == 10_000).await;
    for n in [0, 1, 4_999, 9_999] {
        road.publish(&topics[n], number(n)).await.unwrap();
        assert_eq!(road.heard(&topics[n], 1).await, [number(n)]);
    }
    for topic in &topics {
        road.unsubscribe(topic);
    }
    if let Some(redis) = &road.redis {
        road.hub.until("all left", || redis.channels("fanline:room:") == 0).await;
    }
}

async fn two_publishers_to_one_topic_are_heard_in_one_order_by_all(road: &Road) {
    let topic = topic("room:42");
    road.subscribed(&topic).await;
    let publishers = [0, 1].map(|who| {
        let (broker, topic) = (road.broker.clone(), topic.clone());
        tokio::spawn(async move {
            for n in 0..500 {
                broker.publish(&topic, &Header::default(), format!("{who}:{n}").into()).await.unwrap();
            }
        })
    });
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let heard = road.heard(&topic, 1_000).await;
    for who in [b'0', b'1'] {
        let own: Vec<&Bytes> = heard.iter().filter(|payload| payload[0] == who).collect();
        let sent: Vec<Bytes> = (0..500).map(|n| format!("{}:{n}", char::from(who)).into()).collect();
        assert!(own.into_iter().eq(&sent));
    }
}

async fn a_broker_dropped_while_it_delivers_harms_nobody(road: &Road) {
    let topic = topic("room:42");
    road.subscribed(&topic).await;
    let (broker, target) = (road.broker.clone(), topic.clone());
    let publisher = tokio::spawn(async move {
        while broker.publish(&target, &Header::default(), "x".into()).await.is_ok() && broker.health() == Health::Open {
            tokio::task::yield_now().await;
        }
    });
    road.heard(&topic, 10).await;
    road.stop.cancel();
    road.tasks.close();
    tokio::time::timeout(Duration::from_secs(5), road.tasks.wait()).await.expect("the broker's tasks end");
    road.subscribe(&topic);
    road.unsubscribe(&topic);
    publisher.abort();
    let _ = publisher.await;
    road.hub.check();
}

/// What can only be asked of a broker that can be away.
mod away {
    use super::*;

    async fn outage(road: &mut Road) {
        road.redis.as_mut().unwrap().kill();
        road.hub.until("away", || road.broker.health() == Health::Away).await;
    }

    fn now() -> u64 {
        u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_topic_wanted_while_redis_is_away_is_pending_and_live_later() {
        let Some(mut road) = Road::redis().await else { return };
        outage(&mut road).await;
        let topic = topic("room:42");
        assert_eq!(road.subscribe(&topic), Liveness::Pending);
        road.redis.as_mut().unwrap().restart();
        road.hub.until("live", || road.hub.is_live(&topic)).await;
        assert_eq!(road.hub.told(&topic), [Told::Live], "what never was live is not lost");
        road.publish(&topic, "hi").await.unwrap();
        assert_eq!(road.heard(&topic, 1).await, ["hi"]);
        road.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_broker_that_starts_before_redis_starts_all_the_same() {
        let Some(mut redis) = RedisServer::start() else { return };
        redis.kill();
        let mut road = Road::over(redis);
        let topic = topic("room:42");
        assert_eq!(road.subscribe(&topic), Liveness::Pending);
        assert_eq!(road.broker.health(), Health::Starting);
        road.redis.as_mut().unwrap().restart();
        road.hub.until("live", || road.hub.is_live(&topic)).await;
        road.hub.until("open", || road.broker.health() == Health::Open).await;
        road.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_outage_of_redis_is_told_once_as_lost_since_the_last_canary_and_once_as_live() {
        let Some(mut road) = Road::redis().await else { return };
        let (topic, left) = (topic("room:42"), topic("left"));
        road.subscribed(&topic).await;
        road.subscribed(&left).await;
        road.unsubscribe(&left);
        road.publish(&topic, "hi").await.unwrap();
        road.heard(&topic, 1).await;
        let whole = now();
        outage(&mut road).await;
        assert_eq!(road.hub.losses(), [1], "a topic that nobody wants is not lost");
        road.redis.as_mut().unwrap().restart();
        road.hub.until("live", || road.hub.is_live(&topic)).await;
        let told = road.hub.told(&topic);
        let [Told::Live, Told::Message(_), Told::Lost(since), Told::Live] = told[..] else { panic!("{told:?}") };
        // The last canary that came back, so within its 2 s.
        assert!((whole - 3_000..=whole).contains(&since), "{whole} {since}");
        road.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_publish_while_redis_is_away_is_an_error_at_once() {
        let Some(mut road) = Road::redis().await else { return };
        outage(&mut road).await;
        let began = std::time::Instant::now();
        let answer = road.publish(&topic("room:42"), "hi").await;
        assert!(matches!(answer, Err(PublishError::Away(_))), "{answer:?}");
        assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
        road.redis.as_mut().unwrap().restart();
        road.hub.until("open", || road.broker.health() == Health::Open).await;
        assert_eq!(road.publish(&topic("room:42"), "hi").await, Ok(Receipt::heard(0)));
        road.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_publication_with_a_broken_header_is_a_gap_and_a_bare_payload_is_verbatim() {
        let Some(road) = Road::redis().await else { return };
        let topic = topic("room:42");
        road.subscribed(&topic).await;
        let redis = road.redis.as_ref().unwrap();
        for payload in ["\x1eFL1nonsense\n", "\x1e", "hello"] {
            assert_eq!(redis.cli(&["PUBLISH", "fanline:room:42", payload]), "1");
        }
        road.hub.until("told", || road.hub.told(&topic).len() == 4).await;
        let told = road.hub.told(&topic);
        assert!(matches!(told[..2], [Told::Live, Told::Gap(GapReason::Malformed, _)]), "{told:?}");
        assert_eq!(told[2..], [Told::Message("\x1e".into()), Told::Message("hello".into())]);
        road.end().await;
    }
}
