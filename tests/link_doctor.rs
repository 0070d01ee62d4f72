//! What `check-config --connect` finds in a Redis, and what it says mends it.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

mod support;

use fanline::identity::Replica;
use fanline::link::doctor::{Finding, Level, check};
use fanline::settings::{self, Secret};

use support::proxy::{Class, Proxy, Rule};
use support::redis::RedisServer;

async fn examine(url: &str) -> Vec<Finding> {
    let settings = settings::Redis { url: Secret::new(url), ..Default::default() };
    check(&settings, &Replica::new("test-1")).await
}

fn worst(findings: &[Finding]) -> Option<&Finding> {
    findings.iter().max_by_key(|finding| finding.level)
}

#[tokio::test]
async fn a_redis_with_more_room_for_subscribers_than_by_default_has_nothing_to_mend() {
    let Some(redis) = RedisServer::start() else { return };
    let findings = examine(&redis.url()).await;
    let tight = worst(&findings).unwrap();
    assert_eq!(tight.level, Level::Warning, "{findings:#?}");
    let mend = tight.mend.as_deref().unwrap();
    assert_eq!(mend, "CONFIG SET client-output-buffer-limit \"pubsub 256mb 64mb 60\"");
    redis.cli(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 256mb 64mb 60"]);
    let findings = examine(&redis.url()).await;
    assert!(findings.iter().all(|finding| finding.level == Level::Good), "{findings:#?}");
    assert_eq!(redis.channels(""), 0, "it leaves nothing behind");
}

#[tokio::test]
async fn what_it_says_mends_a_missing_permission_does() {
    let Some(redis) = RedisServer::start() else { return };
    redis.cli(&["ACL", "SETUSER", "gateway", "on", ">secret", "resetchannels", "-@all"]);
    let url = redis.url().replace("redis://", "redis://gateway:secret@");
    let findings = examine(&url).await;
    let bad: Vec<_> = findings.iter().filter(|finding| finding.level == Level::Bad).collect();
    assert_eq!(bad.len(), 2, "{findings:#?}");
    let mend = bad[0].mend.as_deref().unwrap();
    assert_eq!(redis.cli(&mend.split(' ').collect::<Vec<_>>()), "OK");
    let findings = examine(&url).await;
    assert!(findings.iter().all(|finding| finding.level == Level::Good), "{findings:#?}");
}

#[tokio::test]
async fn a_replica_and_a_wrong_password_and_nobody_at_all_are_told_apart() {
    let (Some(master), Some(mut redis)) = (RedisServer::start(), RedisServer::start()) else { return };
    redis.cli(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    let findings = examine(&redis.url()).await;
    assert_eq!(worst(&findings).unwrap().mend.as_deref(), Some("point redis.url at the master"));
    let findings = examine(&redis.url().replace("redis://", "redis://nobody:wrong@")).await;
    assert!(findings[0].what.contains("WRONGPASS") || findings[0].what.contains("uthentication"), "{findings:#?}");
    redis.kill();
    let findings = examine(&redis.url()).await;
    assert!(findings[0].what.starts_with("cannot connect to 127.0.0.1:"), "{findings:#?}");
    let findings = examine("localhost").await;
    assert!(findings[0].what.starts_with("redis.url is no URL"), "{findings:#?}");
}

#[tokio::test]
async fn a_road_on_which_nothing_comes_back_is_found() {
    let Some(redis) = RedisServer::start() else { return };
    let proxy = Proxy::start(redis.port()).await;
    proxy.rule(Class::Subscribers, Rule { swallow_down: true, ..Rule::default() });
    let findings = examine(&proxy.url()).await;
    assert_eq!(worst(&findings).unwrap().level, Level::Bad, "{findings:#?}");
}
