//! Redis is there, and nobody new gets in: what is connected goes on, and what was refused says why.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use fanline::broker::{Broker, Health, PublishError};
use fanline::settings::{self, Secret};
use fanline::topic::Topic;
use futures_util::future::join_all;

use support::proxy::{Class, Proxy, Rule};
use support::redis::RedisServer;
use support::replicated::{Replicated, rooms, topic};

/// Longer than a canary may be overdue after the next one was due.
const WATCHED: Duration = Duration::from_secs(7);

/// A redis-server with a user of the gateway's, and a replica on it that listens to a room and has published there.
async fn guarded() -> Option<(RedisServer, Replicated, Topic)> {
    let redis = RedisServer::start()?;
    redis.let_in(">old");
    let url = redis.url().replace("redis://", "redis://gateway:old@");
    let replica = Replicated::open(&url).await;
    let room = topic("room:42");
    replica.subscribed(std::slice::from_ref(&room)).await;
    replica.hears(&room, "before").await;
    Some((redis, replica, room))
}

/// The number of the connection that sends the canaries.
fn canary(redis: &RedisServer) -> Option<String> {
    let clients = redis.cli(&["CLIENT", "LIST"]);
    let line = clients.lines().find(|line| line.contains("name=fanline:test-1:canary.0 "))?;
    Some(line.split(' ').next()?.strip_prefix("id=")?.to_owned())
}

/// How many there were of all connections.
fn publications(redis: &RedisServer) -> usize {
    let stats = redis.cli(&["INFO", "commandstats"]);
    let calls = stats.split("cmdstat_publish:calls=").nth(1).unwrap().split(',').next().unwrap();
    calls.parse().unwrap()
}

fn hang_up_on_the_canary(redis: &RedisServer) {
    assert_eq!(redis.cli(&["CLIENT", "KILL", "ID", &canary(redis).unwrap()]), "1");
}

/// The link stays, and whoever has a connection to publish on publishes; whoever needs one is told why there is none.
async fn goes_on(replica: &Replicated, room: &Topic, cause: &str) {
    let losses = replica.hub.losses();
    let is_told = || replica.broker.trouble().is_some_and(|why| why.contains(cause));
    replica.hub.until("somebody is dialled in vain", is_told).await;
    let until = Instant::now() + WATCHED;
    while Instant::now() < until {
        replica.hears(room, "still").await;
        assert_eq!(replica.broker.health(), Health::Open);
        assert_eq!(replica.hub.losses(), losses);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(is_told(), "{:?}, and not {cause}", replica.broker.trouble());
    let mut refused = 0;
    for topic in rooms(40) {
        match replica.publish(&topic, "by whatever connection").await {
            Ok(_) => {}
            Err(PublishError::Away(why)) if why.contains(cause) => refused += 1,
            Err(error) => panic!("{error}, and not {cause}"),
        }
    }
    assert!(refused > 0, "all of them had a connection");
}

/// All is well again, without another loss.
async fn heals(replica: &Replicated) {
    let losses = replica.hub.losses();
    for topic in rooms(40) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Err(error) = replica.publish(&topic, "again").await {
            assert!(Instant::now() < deadline, "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    replica.until_open().await;
    replica.hub.until("nothing is wrong", || replica.broker.trouble().is_none()).await;
    assert_eq!(replica.hub.losses(), losses);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_changes_takes_no_connection_that_is_well() {
    let Some((redis, replica, room)) = guarded().await else { return };
    // After fifteen canaries their sender is to be dialled anew. Every link that is made flies some at once.
    let first = canary(&redis);
    let (mut published, mut made) = (None, 0);
    while published.is_none_or(|before| publications(&redis) < before + 9) {
        made += 1;
        redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        let is_made = || replica.metrics.redis_reconnects.get() == made && replica.hub.is_live(&room);
        replica.hub.until("the link is there again", is_made).await;
        if published.is_none() && canary(&redis) != first {
            published = Some(publications(&redis));
        }
    }
    replica.until_open().await;
    replica.hears(&room, "between").await;
    let before = canary(&redis);
    redis.let_in(">new");
    goes_on(&replica, &room, "WRONGPASS").await;
    assert_eq!(canary(&redis), before, "the canaries have the sender they had");
    redis.let_in(">old");
    heals(&replica).await;
    replica.hub.until("their sender is another", || canary(&redis).is_some_and(|now| Some(now) != before)).await;
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hiccup_after_a_password_has_changed_takes_no_connection() {
    let Some((redis, replica, room)) = guarded().await else { return };
    let topics = rooms(40);
    for topic in &topics {
        replica.publish(topic, "on each lane").await.unwrap();
    }
    let before = canary(&redis);
    redis.let_in(">new");
    assert_eq!(redis.cli(&["CLIENT", "PAUSE", "2000"]), "OK");
    replica.broker.rules_changed();
    let published = join_all(topics.iter().map(|topic| replica.publish(topic, "late"))).await;
    assert!(published.iter().all(Result::is_err), "{published:?}");
    let paused = Instant::now();
    for topic in &topics {
        while let Err(error) = replica.publish(topic, "on the connection of before").await {
            assert!(paused.elapsed() < Duration::from_secs(10), "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    replica.until_open().await;
    replica.hears(&room, "after").await;
    let is_told = || replica.broker.trouble().is_some_and(|why| why.contains("WRONGPASS"));
    replica.hub.until("the canaries are dialled for in vain", is_told).await;
    assert_eq!(canary(&redis), before, "the canaries have the sender they had");
    assert_eq!(replica.hub.losses(), [0; 0]);
    redis.let_in(">old");
    heals(&replica).await;
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_without_a_connection_is_no_proof_against_its_link() {
    let Some((redis, replica, room)) = guarded().await else { return };
    redis.let_in(">new");
    hang_up_on_the_canary(&redis);
    goes_on(&replica, &room, "WRONGPASS").await;
    redis.let_in(">old");
    heals(&replica).await;
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_without_canaries_is_given_up_all_the_same_when_nothing_comes_back_on_it() {
    let Some((redis, replica, room)) = guarded().await else { return };
    redis.let_in(">new");
    hang_up_on_the_canary(&redis);
    replica
        .hub
        .until("dialled in vain", || replica.broker.trouble().is_some_and(|why| why.contains("WRONGPASS")))
        .await;
    redis.freeze();
    let frozen = Instant::now();
    replica.hub.until("lost", || !replica.hub.is_live(&room)).await;
    assert!(frozen.elapsed() < Duration::from_secs(7), "{:?}", frozen.elapsed());
    redis.thaw();
    redis.let_in(">old");
    replica.hub.until("live", || replica.hub.is_live(&room)).await;
    replica.until_open().await;
    replica.hears(&room, "hi").await;
    assert_eq!(replica.hub.losses(), [1]);
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_full_keeps_whom_it_has() {
    let Some((redis, replica, room)) = guarded().await else { return };
    let id = canary(&redis).unwrap();
    // By a connection that was there before: there is no other way in then.
    let mut console = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    let mut ask = |what: &str| {
        console.write_all(format!("{what}\r\n").as_bytes()).unwrap();
        let mut answer = [0; 64];
        let read = console.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..read]).trim().to_owned()
    };
    assert_eq!(ask("CONFIG SET maxclients 1"), "+OK");
    assert_eq!(ask(&format!("CLIENT KILL ID {id}")), ":1");
    goes_on(&replica, &room, "max number of clients").await;
    assert_eq!(ask("CONFIG SET maxclients 1000"), "+OK");
    heals(&replica).await;
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_leads_nowhere_for_a_while_takes_nobody_away() {
    let Some(redis) = RedisServer::start() else { return };
    let url = Secret::new(format!("unix://{}", redis.unix_socket()));
    let replica = Replicated::start_with(&settings::Redis { url, ..Default::default() });
    replica.until_open().await;
    let room = topic("room:42");
    replica.subscribed(std::slice::from_ref(&room)).await;
    replica.hears(&room, "before").await;
    let elsewhere = redis.unix_socket() + ".elsewhere";
    std::fs::rename(redis.unix_socket(), &elsewhere).unwrap();
    hang_up_on_the_canary(&redis);
    goes_on(&replica, &room, "No such file").await;
    std::fs::rename(&elsewhere, redis.unix_socket()).unwrap();
    heals(&replica).await;
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_back_and_confirmed_within_a_canarys_time_leaves_the_replica_ready() {
    let Some(redis) = RedisServer::start() else { return };
    let replica = Replicated::open(&redis.url()).await;
    let room = topic("room:42");
    replica.subscribed(std::slice::from_ref(&room)).await;
    redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let until = Instant::now() + Duration::from_secs(6);
    while Instant::now() < until {
        assert_eq!(replica.broker.health(), Health::Open);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((replica.metrics.redis_reconnects.get(), replica.hub.losses()), (1, vec![1]));
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_comes_back_and_hears_nothing_is_deaf_all_the_same() {
    let Some(redis) = RedisServer::start() else { return };
    let proxy = Proxy::start(redis.port()).await;
    let replica = Replicated::open(&proxy.url()).await;
    proxy.rule(Class::Subscribers, Rule { swallow_down: true, ..Rule::default() });
    proxy.cut(Class::Subscribers);
    let cut = Instant::now();
    replica.hub.until("deaf", || replica.broker.health() == Health::Deaf).await;
    assert!(cut.elapsed() < Duration::from_secs(6), "{:?}", cut.elapsed());
    // It is made again and again, and none of these is an excuse.
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        assert_eq!(replica.broker.health(), Health::Deaf);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    proxy.rule(Class::Subscribers, Rule::default());
    replica.until_open().await;
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_canaries_lacked_for_a_while_leaves_the_replica_ready_when_it_is_back() {
    let Some((redis, replica, _)) = guarded().await else { return };
    assert_eq!(redis.cli(&["ACL", "SETUSER", "gateway", "-publish"]), "OK");
    let is_refused = || replica.broker.trouble().is_some_and(|why| why.contains("no permissions"));
    replica.hub.until("a canary is refused", is_refused).await;
    assert_eq!(redis.cli(&["ACL", "SETUSER", "gateway", "+publish"]), "OK");
    let canaries = || replica.metrics.redis_canary_rtt_seconds.get_sample_count();
    let (given, enough) = (Instant::now(), canaries() + 3);
    while canaries() < enough {
        assert!(given.elapsed() < Duration::from_secs(20), "no canaries come");
        assert_eq!(replica.broker.health(), Health::Open);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(replica.hub.losses(), [0; 0]);
    replica.end().await;
}
