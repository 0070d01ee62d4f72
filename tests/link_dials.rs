//! What dialling meets on the way to Redis, and what it says of it.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use fanline::broker::{PublishError, Receipt};
use fanline::identity::Replica;
use fanline::link::doctor::{Finding, Level, check};
use fanline::settings::{self, Secret};

use support::cluster::Cluster;
use support::proxy::{Class, Proxy, Rule};
use support::redis::{RedisServer, free_port};
use support::replicated::{Replicated, topic};

/// The first thing that does not work.
async fn told(url: &str) -> Finding {
    let settings = settings::Redis { url: Secret::new(url), ..Default::default() };
    let findings = check(&settings, &Replica::new("test-1"), false).await;
    findings.into_iter().find(|finding| finding.level == Level::Bad).unwrap()
}

/// Answers each that asks with this, for as long as the test's process lives.
fn answering(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(answer.as_bytes());
        }
    });
    port
}

/// A greeting takes two round trips.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_that_takes_longer_than_a_publisher_waits_serves_the_next_one() {
    let Some(redis) = RedisServer::start() else { return };
    let proxy = Proxy::start(redis.port()).await;
    let delay = Duration::from_millis(300);
    for class in [Class::Subscribers, Class::Commands] {
        proxy.rule(class, Rule { delay, ..Rule::default() });
    }
    let connect_timeout = Duration::from_secs(10);
    let replica = Replicated::start_with(&settings::Redis {
        url: Secret::new(proxy.url()),
        connect_timeout,
        ..Default::default()
    });
    replica.until_open().await;
    let room = topic("room:42");
    match replica.publish(&room, "too early").await {
        Err(PublishError::Away(why)) => assert!(why.contains("nothing was published"), "{why}"),
        other => panic!("{other:?}"),
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while replica.publish(&room, "hi").await != Ok(Receipt::heard(0)) {
        assert!(tokio::time::Instant::now() < deadline, "the lane is never dialled");
    }
    replica.end().await;
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_told_and_counted_as_such() {
    let found = told("redis://nowhere.invalid:6379").await;
    assert!(found.what.starts_with("cannot look up nowhere.invalid: "), "{found}");
    assert!(found.mend.unwrap().contains("name server"));
    let url = Secret::new("redis://nowhere.invalid");
    let replica = Replicated::start_with(&settings::Redis { url, ..Default::default() });
    let count = || replica.metrics.redis_failures(fanline::metrics::RedisFailure::Lookup).get();
    replica.hub.until("counted", || count() > 0).await;
    replica.end().await;
}

#[tokio::test]
async fn what_is_no_redis_is_told_in_one_line_and_with_what_mends_it() {
    for (answer, what, mend) in [
        ("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "an HTTP server answers there", "name a Redis"),
        ("220 mail.example ESMTP\r\n", "not Redis' language", "name a Redis"),
        ("-ERR unknown command 'HELLO'\r\n", "speaks no RESP3", "without a proxy"),
        ("-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n", "speaks no RESP3", "without a proxy"),
        ("-NOPROTO unsupported protocol version\r\n", "speaks no RESP3", "without a proxy"),
        ("-LOADING Redis is loading the dataset in memory\r\n", "is loading", "look at what Redis says"),
        ("-WRONGPASS invalid username-password pair\r\n", "WRONGPASS", "redis.password"),
    ] {
        let found = told(&format!("redis://127.0.0.1:{}", answering(answer))).await;
        assert!(found.what.contains(what) && !found.what.contains('\n'), "{answer}: {found}");
        assert!(found.mend.as_deref().unwrap().contains(mend), "{answer}: {found}");
    }
}

#[tokio::test]
async fn a_cluster_that_announces_what_nobody_reaches_is_told_what_to_announce() {
    let Some(cluster) = Cluster::start() else { return };
    let master = &cluster.nodes()[cluster.masters()[0]];
    master.cli(&["CONFIG", "SET", "cluster-announce-port", &free_port().to_string()]);
    let found = told(&format!("redis+cluster://127.0.0.1:{}", master.port())).await;
    assert!(found.what.contains("a node of the cluster announces itself there"), "{found}");
    assert!(found.mend.as_deref().unwrap().contains("cluster-announce-ip"), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_changes_in_its_file_lets_links_and_lanes_in_again() {
    let Some(redis) = RedisServer::start() else { return };
    let user =
        |password: &str| redis.cli(&["ACL", "SETUSER", "ada", "on", "resetpass", password, "allchannels", "+@all"]);
    user(">old");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    std::fs::write(&path, "old\n").unwrap();
    let settings = settings::Redis {
        url: Secret::new(redis.url()),
        username: "ada".into(),
        password: Secret::new("old").standing_in(&path),
        ..Default::default()
    };
    let replica = Replicated::start_with(&settings);
    replica.until_open().await;
    let room = topic("room:42");
    replica.subscribed(std::slice::from_ref(&room)).await;
    user(">new");
    std::fs::write(&path, "new\n").unwrap();
    redis.cli(&["CLIENT", "KILL", "USER", "ada"]);
    replica.hub.until("lost", || !replica.hub.losses().is_empty()).await;
    replica.hub.until("live again", || replica.hub.is_live(&room)).await;
    replica.hears(&room, "hi").await;
    replica.until_open().await;
    replica.end().await;
}

#[tokio::test]
async fn a_database_needs_select_and_what_it_says_mends_that() {
    let Some(redis) = RedisServer::start() else { return };
    redis.cli(&["ACL", "SETUSER", "ada", "on", ">secret", "resetchannels", "&fanline:*", "-@all"]);
    redis.cli(&["ACL", "SETUSER", "ada", "+subscribe", "+unsubscribe", "+publish"]);
    let url = format!("{}/1", redis.url().replace("redis://", "redis://ada:secret@"));
    let mend = told(&url).await.mend.unwrap();
    assert_eq!(redis.cli(&mend.split(' ').collect::<Vec<_>>()), "OK");
    let settings = settings::Redis { url: Secret::new(url), ..Default::default() };
    let findings = check(&settings, &Replica::new("test-1"), false).await;
    assert!(findings.iter().all(|finding| finding.level < Level::Bad), "{findings:#?}");
    let strange = told(&format!("{}/77", redis.url())).await;
    assert_eq!(strange.mend.as_deref(), Some("take the database out of redis.url"), "{strange}");
}
