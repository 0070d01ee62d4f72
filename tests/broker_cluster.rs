//! Redis Cluster, on redis-server: what moves, dies and comes back, with SUBSCRIBE and with SSUBSCRIBE.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

mod support;

use std::time::{Duration, Instant};

use fanline::broker::{Broker, Health, Part, PublishError, Read};
use fanline::publication::Header;
use fanline::settings::{self, Secret};
use fanline::topic::Topic;

use support::cluster::Cluster;
use support::recorder::Told;
use support::replicated::{Replicated, rooms, topic};

/// How long a failover may keep publications from a topic: the nodes take 1.5 s to call a master dead, and elect.
const FAILOVER: Duration = Duration::from_secs(12);

async fn open(cluster: &Cluster, sharded: bool) -> Replicated {
    let settings = settings::Redis { url: Secret::new(cluster.url()), sharded, ..Default::default() };
    let replica = Replicated::start_with(&settings);
    replica.until_open().await;
    replica
}

fn channel(topic: &Topic) -> String {
    format!("fanline:{topic}")
}

/// Publishes to a topic until it is taken and heard.
async fn heard_again(replica: &Replicated, topic: &Topic, payload: &'static str, within: Duration) {
    let deadline = Instant::now() + within;
    loop {
        let answer = replica.broker.publish(topic, &Header::default(), payload.into()).await;
        let heard = || replica.hub.messages(topic).iter().any(|heard| heard == payload);
        let soon = Instant::now() + Duration::from_millis(300);
        while answer.is_ok() && !heard() && Instant::now() < soon {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if answer.is_ok() && heard() {
            return;
        }
        assert!(Instant::now() < deadline, "{topic} is not heard within {within:?}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn all_heard_once(replica: &Replicated, topics: &[Topic], payload: &'static str) {
    for topic in topics {
        replica.broker.publish(topic, &Header::default(), payload.into()).await.unwrap();
    }
    replica
        .hub
        .until("all heard", || {
            topics.iter().all(|topic| replica.hub.messages(topic).iter().any(|heard| heard == payload))
        })
        .await;
    let twice =
        topics.iter().find(|topic| replica.hub.messages(topic).iter().filter(|heard| *heard == payload).count() > 1);
    assert_eq!(twice, None, "heard twice");
}

/// Whether a topic was lost and live again, however often.
fn told(replica: &Replicated, topic: &Topic) -> bool {
    let told = replica.hub.told(topic);
    let lost = told.iter().position(|told| matches!(told, Told::Lost(_)));
    lost.is_some_and(|at| told[at..].contains(&Told::Live))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_at_any_node_is_heard_and_ours_go_to_the_master_of_the_slot() {
    let Some(cluster) = Cluster::start() else { return };
    let replica = open(&cluster, false).await;
    let topics = rooms(60);
    replica.subscribed(&topics).await;
    all_heard_once(&replica, &topics, "ours").await;
    for node in cluster.nodes() {
        node.cli(&["PUBLISH", "fanline:room:7", &format!("from {}", node.port())]);
    }
    replica.hub.until("heard from all", || replica.hub.messages(&topics[7]).len() == 7).await;
    for master in cluster.masters() {
        let stats = cluster.nodes()[master].cli(&["INFO", "commandstats"]);
        let calls = stats.split("cmdstat_publish:calls=").nth(1).unwrap().split(',').next().unwrap();
        assert!(calls.parse::<usize>().unwrap() > 10, "each master takes its share: {calls}");
    }
    assert_eq!(replica.hub.losses(), [0; 0]);
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_any_master_is_told_to_everybody_and_publishing_works_again_after_the_failover() {
    let Some(mut cluster) = Cluster::start() else { return };
    let replica = open(&cluster, false).await;
    let topics = rooms(30);
    replica.subscribed(&topics).await;
    let link = (0..6).find(|&at| cluster.nodes()[at].cli(&["CLIENT", "LIST", "TYPE", "pubsub"]).contains("test-1:0 "));
    let other = cluster.masters().into_iter().find(|&at| Some(at) != link).unwrap();
    for (victim, payload) in [(link.unwrap(), "after the link's own"), (other, "after another")] {
        let before = replica.hub.losses().len();
        let owned: Vec<&Topic> = topics.iter().filter(|topic| cluster.owner(&channel(topic)) == victim).collect();
        cluster.kill(victim);
        replica.hub.until("told", || replica.hub.losses().len() > before && replica.hub.live() == 30).await;
        for topic in owned {
            heard_again(&replica, topic, payload, FAILOVER).await;
        }
        replica.until_open().await;
        all_heard_once(&replica, &topics, if victim == other { "2" } else { "1" }).await;
        assert!(topics.iter().all(|topic| told(&replica, topic)));
        if victim != other {
            // The others keep a majority only with the dead one back.
            cluster.revive(victim);
        }
    }
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_one_master_is_silent_the_topics_of_the_others_are_heard_and_health_says_so() {
    let Some(cluster) = Cluster::start() else { return };
    let replica = open(&cluster, false).await;
    let topics = rooms(30);
    replica.subscribed(&topics).await;
    let victim = cluster.owner("fanline:room:0");
    let others: Vec<&Topic> = topics.iter().filter(|topic| cluster.owner(&channel(topic)) != victim).collect();
    // No failover: its replica is frozen too.
    cluster.nodes()[cluster.replica_of(victim)].freeze();
    cluster.nodes()[victim].freeze();
    replica.hub.until("told", || !replica.hub.losses().is_empty() && replica.hub.live() == 30).await;
    replica.hub.until("away", || replica.broker.health() == Health::Away).await;
    let losses = replica.hub.losses().len();
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        heard_again(&replica, others[0], "still", Duration::from_secs(2)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(replica.hub.losses().len(), losses, "told once, however long it lasts");
    let began = Instant::now();
    assert!(replica.publish(&topics[0], "no").await.is_err());
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    let late = Replicated::start(&cluster.url());
    late.hub.until("a replica that starts now is as well", || late.broker.health() == Health::Away).await;
    cluster.nodes().iter().for_each(|node| node.thaw());
    late.until_open().await;
    late.end().await;
    replica.until_open().await;
    heard_again(&replica, &topics[0], "again", FAILOVER).await;
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_follow_a_slot_while_it_moves_and_after_it_has() {
    let Some(cluster) = Cluster::start() else { return };
    let replica = open(&cluster, false).await;
    let (room, key) = (topic("room:7"), "{fanline:room:7}:count");
    let to = cluster.masters().into_iter().find(|&at| at != cluster.owner("fanline:room:7")).unwrap();
    let incremented = async || {
        let answer = replica.broker.ask(&room, redis::cmd("INCR").arg(key)).await.unwrap();
        redis::from_redis_value::<i64>(answer).unwrap()
    };
    assert_eq!(incremented().await, 1);
    let from = cluster.begin_to_move_slot("fanline:room:7", to);
    assert_eq!(incremented().await, 2, "the key is still there");
    let port = cluster.nodes()[to].port().to_string();
    assert_eq!(cluster.nodes()[from].cli(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]), "OK");
    assert_eq!(incremented().await, 3, "ASK is followed");
    cluster.move_slot("fanline:room:7", to);
    let began = Instant::now();
    assert_eq!(incremented().await, 4, "MOVED is followed");
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    let errors = cluster.nodes()[from].cli(&["INFO", "errorstats"]);
    assert!(errors.contains("ASK") && errors.contains("MOVED"), "{errors}");
    let wrong = replica.broker.ask(&room, redis::cmd("LPUSH").arg(key).arg("x")).await;
    assert!(matches!(wrong, Err(PublishError::Refused(_))), "{wrong:?}");
    replica.end().await;
}

/// The stream of a topic that was quiet for long is gone, and where it ended is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_is_read_while_its_slot_moves_though_one_of_its_keys_is_not_there() {
    let Some(cluster) = Cluster::start() else { return };
    let replica = open(&cluster, false).await;
    let (room, from) = (topic("room:7"), cluster.owner("fanline:room:7"));
    let to = cluster.masters().into_iter().find(|&at| at != from).unwrap();
    assert_eq!(cluster.nodes()[from].cli(&["SET", "{fanline:room:7}:last", "5-0"]), "OK");
    cluster.begin_to_move_slot("fanline:room:7", to);
    let newest = "5-0".parse().unwrap();
    let page = replica.broker.read(&room, Read { part: Part::Until(newest), most: 9, bytes: 1 << 20 }).await.unwrap();
    assert_eq!((page.entries.len(), page.newest, page.more), (0, newest, false));
    replica.end().await;
}

async fn arrive_in_order(replica: &Replicated) {
    let topics = rooms(6);
    replica.subscribed(&topics).await;
    for n in 0..200 {
        for topic in &topics {
            replica.broker.publish(topic, &Header::default(), n.to_string().into()).await.unwrap();
        }
    }
    let expected: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    for topic in &topics {
        replica.hub.until("all heard", || replica.hub.messages(topic).len() == 200).await;
        assert!(replica.hub.messages(topic).iter().eq(expected.iter()), "{topic}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publications_of_one_publisher_arrive_in_order_with_either_kind_of_subscription() {
    let Some(cluster) = Cluster::start() else { return };
    for sharded in [false, true] {
        let replica = open(&cluster, sharded).await;
        arrive_in_order(&replica).await;
        replica.end().await;
    }
}

mod sharded {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn slots_that_move_while_topics_are_subscribed_leave_none_behind() {
        let Some(cluster) = Cluster::start() else { return };
        let replica = open(&cluster, true).await;
        let topics = rooms(3_000);
        let (first, rest) = topics.split_at(1_000);
        replica.subscribed(first).await;
        for (n, topic) in first.iter().enumerate().take(20) {
            let from = cluster.owner(&channel(topic));
            let to = cluster.masters().into_iter().find(|&at| at != from).unwrap();
            rest[n * 100..(n + 1) * 100].iter().for_each(|topic| _ = replica.subscribe(topic));
            cluster.move_slot(&channel(topic), to);
        }
        replica.hub.until("all live", || replica.hub.live() == 3_000).await;
        all_heard_once(&replica, &topics, "all").await;
        let held: usize = cluster.masters().into_iter().map(|node| cluster.shard_channels(node)).sum();
        assert_eq!(held, 3_000);
        replica.until_open().await;
        replica.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_master_carries_the_topics_of_its_slots() {
        let Some(cluster) = Cluster::start() else { return };
        let replica = open(&cluster, true).await;
        let topics = rooms(300);
        replica.subscribed(&topics).await;
        all_heard_once(&replica, &topics, "ours").await;
        let own = cluster.owner("fanline:room:7");
        assert_eq!(cluster.nodes()[own].cli(&["SPUBLISH", "fanline:room:7", "a producer's"]), "1");
        replica.hub.until("heard", || replica.hub.messages(&topics[7]).len() == 2).await;
        let held: usize = cluster.masters().into_iter().map(|node| cluster.shard_channels(node)).sum();
        assert_eq!(held, 300);
        assert_eq!(replica.hub.losses(), [0; 0]);
        replica.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_slot_that_moves_takes_its_topic_along_and_only_that_is_told() {
        let Some(cluster) = Cluster::start() else { return };
        let replica = open(&cluster, true).await;
        let topics = rooms(100);
        replica.subscribed(&topics).await;
        let from = cluster.owner("fanline:room:7");
        let to = cluster.masters().into_iter().find(|&at| at != from).unwrap();
        cluster.move_slot("fanline:room:7", to);
        let moved = Instant::now();
        replica.hub.until("told", || told(&replica, &topics[7])).await;
        assert!(moved.elapsed() < Duration::from_secs(5), "{:?}", moved.elapsed());
        heard_again(&replica, &topics[7], "moved", Duration::from_secs(2)).await;
        all_heard_once(&replica, &topics, "all").await;
        assert_eq!(replica.hub.losses(), [1], "nobody else is told");
        replica.until_open().await;
        replica.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_death_of_a_master_is_told_and_the_topics_of_the_others_are_back_before_the_failover() {
        let Some(mut cluster) = Cluster::start() else { return };
        let replica = open(&cluster, true).await;
        let topics = rooms(30);
        replica.subscribed(&topics).await;
        let victim = cluster.owner("fanline:room:7");
        let others = topics.iter().filter(|topic| cluster.owner(&channel(topic)) != victim).count();
        cluster.kill(victim);
        let killed = Instant::now();
        replica.hub.until("lost", || !replica.hub.losses().is_empty()).await;
        replica.hub.until("the others live", || replica.hub.live() >= others).await;
        assert!(killed.elapsed() < Duration::from_millis(1_500), "{:?}", killed.elapsed());
        heard_again(&replica, &topics[7], "after", FAILOVER).await;
        replica.hub.until("all live", || replica.hub.live() == 30).await;
        replica.until_open().await;
        all_heard_once(&replica, &topics, "all").await;
        assert!(topics.iter().all(|topic| told(&replica, topic)));
        replica.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_master_that_hands_over_and_lives_on_is_left() {
        let Some(cluster) = Cluster::start() else { return };
        let replica = open(&cluster, true).await;
        let topics = rooms(30);
        replica.subscribed(&topics).await;
        let old = cluster.owner("fanline:room:7");
        cluster.hand_over(old);
        replica.hub.until("told", || told(&replica, &topics[7])).await;
        heard_again(&replica, &topics[7], "after", FAILOVER).await;
        // The old one serves as a replica until the new map is known.
        replica.hub.until("left", || cluster.shard_channels(old) == 0 && replica.hub.live() == 30).await;
        all_heard_once(&replica, &topics, "all").await;
        replica.until_open().await;
        replica.end().await;
    }
}
