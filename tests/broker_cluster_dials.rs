//! Redis Cluster is there, and one of its nodes lets nobody new in: what is connected to it goes on, and what was
//! refused says why.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

mod support;

use std::time::{Duration, Instant};

use fanline::broker::{Broker, Health, PublishError};
use fanline::settings::{self, Secret};
use fanline::topic::Topic;

use support::cluster::Cluster;
use support::proxy::{Class, Proxy, Rule};
use support::redis::RedisServer;
use support::replicated::{Replicated, rooms, topic};

/// How many rounds of canaries are watched: they fly every two seconds, and one is overdue after three.
const ROUNDS: u64 = 5;

/// A cluster whose nodes know a user of the gateway's.
fn guarded() -> Option<Cluster> {
    let cluster = Cluster::start()?;
    cluster.nodes().iter().for_each(|node| node.let_in(">old"));
    Some(cluster)
}

async fn open(cluster: &Cluster, sharded: bool) -> Replicated {
    let url = Secret::new(cluster.url().replace("+cluster://", "+cluster://gateway:old@"));
    let replica = Replicated::start_with(&settings::Redis { url, sharded, ..Default::default() });
    replica.until_open().await;
    replica
}

fn channel(topic: &Topic) -> String {
    format!("fanline:{topic}")
}

/// The node lets nobody in any more, and hangs up on canaries and publishers.
async fn shut(node: &RedisServer, replica: &Replicated) {
    node.let_in(">new");
    assert_ne!(node.cli(&["CLIENT", "KILL", "TYPE", "normal"]), "0");
    replica.hub.until("somebody is dialled in vain", || is_told(replica)).await;
}

fn is_told(replica: &Replicated) -> bool {
    replica.broker.trouble().is_some_and(|why| why.contains("WRONGPASS"))
}

/// Whom the link subscribes at.
fn link(cluster: &Cluster) -> Option<usize> {
    (0..6).find(|&at| cluster.nodes()[at].cli(&["CLIENT", "LIST", "TYPE", "pubsub"]).contains("test-1:0 "))
}

/// A node lets nobody in any more; its topics are heard all the same, and the others' are published, too.
async fn goes_on(sharded: bool) {
    let Some(cluster) = guarded() else { return };
    let replica = open(&cluster, sharded).await;
    let topics = rooms(30);
    replica.subscribed(&topics).await;
    let link = link(&cluster).filter(|_| !sharded);
    let victim = cluster.masters().into_iter().find(|&at| Some(at) != link).unwrap();
    let is_its = |topic: &&Topic| cluster.owner(&channel(topic)) == victim;
    let (its, others): (Vec<&Topic>, Vec<&Topic>) = topics.iter().partition(is_its);
    let node = &cluster.nodes()[victim];
    replica.publish(its[0], "before").await.unwrap();
    replica.hub.until("heard", || replica.hub.messages(its[0]).len() == 1).await;
    shut(node, &replica).await;

    let canaries = || replica.metrics.redis_canary_rtt_seconds.get_sample_count();
    let (began, enough, mut produced) = (Instant::now(), canaries() + 2 * ROUNDS, 0);
    while canaries() < enough {
        assert!(began.elapsed() < Duration::from_secs(60), "{} canaries are missing", enough - canaries());
        produced += 1;
        let publish = if sharded { "SPUBLISH" } else { "PUBLISH" };
        node.cli(&[publish, &channel(its[0]), &produced.to_string()]);
        replica.hub.until("heard", || replica.hub.messages(its[0]).len() == produced + 1).await;
        replica.publish(others[0], "still").await.unwrap();
        assert_eq!(replica.hub.losses(), [0; 0]);
        assert_eq!(replica.broker.health(), Health::Open);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(is_told(&replica), "{:?}", replica.broker.trouble());
    let refused = replica.publish(its[0], "no").await;
    assert!(matches!(&refused, Err(PublishError::Away(why)) if why.contains("WRONGPASS")), "{refused:?}");

    node.let_in(">old");
    for topic in &topics {
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Err(error) = replica.publish(topic, "again").await {
            assert!(Instant::now() < deadline, "{error}");
        }
    }
    replica.hub.until("nothing is wrong", || replica.broker.trouble().is_none()).await;
    assert_eq!((replica.broker.health(), replica.hub.losses()), (Health::Open, vec![]));
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lets_nobody_new_in_is_no_proof_against_the_link() {
    goes_on(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lets_nobody_new_in_keeps_those_who_are_subscribed_there() {
    goes_on(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lets_nobody_new_in_and_then_dies_is_given_up_as_fast_as_any() {
    for sharded in [false, true] {
        let Some(mut cluster) = guarded() else { return };
        let replica = open(&cluster, sharded).await;
        let topics = rooms(30);
        replica.subscribed(&topics).await;
        let link = link(&cluster).filter(|_| !sharded);
        let victim = cluster.masters().into_iter().find(|&at| Some(at) != link).unwrap();
        shut(&cluster.nodes()[victim], &replica).await;
        // No failover meanwhile.
        let heir = cluster.replica_of(victim);
        cluster.nodes()[heir].freeze();
        cluster.kill(victim);
        let killed = Instant::now();
        replica.hub.until("lost", || !replica.hub.losses().is_empty()).await;
        // The next canary finds nobody within two seconds, and is overdue after three.
        assert!(killed.elapsed() < Duration::from_secs(6), "{:?}", killed.elapsed());
        cluster.nodes()[heir].thaw();
        replica.hub.until("all live", || replica.hub.live() == 30).await;
        replica.until_open().await;
        replica.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wire_that_nothing_comes_back_on_is_given_up_though_its_node_lets_nobody_new_in() {
    let Some(cluster) = guarded() else { return };
    let room = topic("room:7");
    let node = &cluster.nodes()[cluster.owner(&channel(&room))];
    let proxy = Proxy::start(node.port()).await;
    assert_eq!(node.cli(&["CONFIG", "SET", "cluster-announce-port", &proxy.port().to_string()]), "OK");
    cluster.until("told by all", |cluster| {
        cluster.nodes().iter().all(|node| node.cli(&["CLUSTER", "SLOTS"]).contains(&proxy.port().to_string()))
    });
    let replica = open(&cluster, true).await;
    replica.subscribed(std::slice::from_ref(&room)).await;
    replica.hears(&room, "before").await;
    shut(node, &replica).await;
    proxy.rule(Class::Subscribers, Rule { swallow_down: true, ..Rule::default() });
    let swallowed = Instant::now();
    replica.hub.until("lost", || !replica.hub.is_live(&room)).await;
    assert!(swallowed.elapsed() < Duration::from_secs(7), "{:?}", swallowed.elapsed());
    proxy.renew();
    node.let_in(">old");
    replica.hub.until("live", || replica.hub.is_live(&room)).await;
    replica.until_open().await;
    replica.hears(&room, "hi").await;
    assert_eq!(replica.hub.losses(), [1]);
    replica.end().await;
}
