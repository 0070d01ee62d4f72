//! What `check-config --connect` finds in a Redis, and what it says mends it.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

mod support;

use fanline::identity::Replica;
use fanline::link::doctor::{Finding, Level, check};
use fanline::settings::{self, Secret};

use support::cluster::Cluster;
use support::proxy::{Class, Proxy, Rule};
use support::redis::RedisServer;

async fn examine(url: &str) -> Vec<Finding> {
    let settings = settings::Redis { url: Secret::new(url), ..Default::default() };
    check(&settings, &Replica::new("test-1"), true).await
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
    assert_eq!(bad.len(), 2 + 1, "{findings:#?}");
    for mend in [bad[0], bad[2]].map(|bad| bad.mend.as_deref().unwrap()) {
        assert_eq!(redis.cli(&mend.split(' ').collect::<Vec<_>>()), "OK");
    }
    let findings = examine(&url).await;
    assert!(findings.iter().all(|finding| finding.level == Level::Good), "{findings:#?}");
}

/// Each right of those that keep histories, taken away alone, is found, and given back by what mends it.
#[tokio::test]
async fn a_right_that_histories_need_and_the_user_lacks_is_named() {
    let Some(redis) = RedisServer::start() else { return };
    redis.cli(&["ACL", "SETUSER", "gateway", "on", ">secret", "~{fanline:*", "allchannels", "+@all"]);
    let url = redis.url().replace("redis://", "redis://gateway:secret@");
    for right in ["eval", "evalsha", "get", "mget", "set", "xadd", "xrange", "xrevrange", "pexpire", "time"] {
        redis.cli(&["ACL", "SETUSER", "gateway", &format!("-{right}")]);
        let findings = examine(&url).await;
        let bad = worst(&findings).unwrap();
        assert_eq!(bad.level, Level::Bad, "without {right}: {findings:#?}");
        assert!(bad.what.to_lowercase().contains(right) || bad.what.contains("EVAL"), "{right}: {bad}");
        assert_eq!(redis.cli(&bad.mend.as_deref().unwrap().split(' ').collect::<Vec<_>>()), "OK");
        let findings = examine(&url).await;
        assert!(findings.iter().all(|finding| finding.level < Level::Bad), "{right}: {findings:#?}");
    }
    assert_eq!(redis.cli(&["DBSIZE"]), "0", "it leaves nothing behind");
}

/// Who lets no producer call the function need not let the gateway replace libraries.
#[tokio::test]
async fn a_user_that_may_not_load_functions_is_told_what_it_costs() {
    let Some(redis) = RedisServer::start() else { return };
    redis.cli(&["ACL", "SETUSER", "gateway", "on", ">secret", "allkeys", "allchannels", "+@all", "-function|load"]);
    let url = redis.url().replace("redis://", "redis://gateway:secret@");
    let findings = examine(&url).await;
    assert!(findings.iter().all(|finding| finding.level < Level::Bad), "{findings:#?}");
    let told = findings.iter().find(|finding| finding.what.contains("cannot FCALL")).unwrap();
    assert!(told.what.contains("FUNCTION LOAD") && told.what.contains("ACL SETUSER gateway"), "{told}");
}

/// As managed offerings do, and as a full Redis does.
#[tokio::test]
async fn a_redis_that_lacks_a_command_or_memory_does_not_keep_histories() {
    let Some(full) = RedisServer::start() else { return };
    full.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let findings = examine(&full.url()).await;
    let bad = worst(&findings).unwrap();
    assert!(bad.level == Level::Bad && bad.what.contains("EVAL"), "{findings:#?}");
    assert!(bad.mend.as_deref().unwrap().contains("maxmemory"), "{bad}");
    let Some(redis) = RedisServer::start_with(&["--rename-command", "EVALSHA", ""]) else { return };
    let findings = examine(&redis.url()).await;
    let bad = worst(&findings).unwrap();
    assert!(bad.level == Level::Bad && bad.what.contains("EVALSHA"), "{findings:#?}");
    assert!(bad.mend.as_deref().unwrap().contains("does not offer"), "{bad}");
    assert_eq!(full.cli(&["DBSIZE"]), "0");
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
async fn each_master_of_a_cluster_is_looked_at_with_the_commands_that_the_gateway_will_use() {
    let Some(mut cluster) = Cluster::start() else { return };
    for (sharded, verb) in [(false, "PUBLISH"), (true, "SPUBLISH")] {
        let settings = settings::Redis { url: Secret::new(cluster.url()), sharded, ..Default::default() };
        let findings = check(&settings, &Replica::new("test-1"), true).await;
        assert!(findings.iter().all(|finding| finding.level < Level::Bad), "{findings:#?}");
        let allowed = format!("{verb} on fanline:* is allowed");
        assert_eq!(findings.iter().filter(|finding| finding.what == allowed).count(), 3, "{findings:#?}");
        let back = findings.iter().filter(|finding| finding.what == "what is published there comes back");
        assert_eq!(back.count(), 3, "{findings:#?}");
    }
    let user = ["ACL", "SETUSER", "gateway", "on", ">secret", "resetchannels", "-@all"];
    cluster.nodes().iter().for_each(|node| _ = node.cli(&user));
    let url = cluster.url().replace("://", "://gateway:secret@");
    // To find the cluster and to publish, and then to keep histories.
    for _ in 0..2 {
        let findings = examine(&url).await;
        let mend = worst(&findings).unwrap().mend.clone().unwrap();
        cluster.nodes().iter().for_each(|node| assert_eq!(node.cli(&mend.split(' ').collect::<Vec<_>>()), "OK"));
    }
    let findings = examine(&url).await;
    assert!(findings.iter().all(|finding| finding.level < Level::Bad), "{findings:#?}");
    for _ in 0..2 {
        let victim = cluster.masters()[0];
        cluster.kill(victim);
    }
    let findings = examine(&cluster.url()).await;
    assert_eq!(worst(&findings).unwrap().level, Level::Bad, "{findings:#?}");
}

#[tokio::test]
async fn of_several_redis_the_one_that_is_away_is_named_and_no_cluster_is_told_as_such() {
    let (Some(one), Some(mut other)) = (RedisServer::start(), RedisServer::start()) else { return };
    let both = format!("{},{}", one.url(), other.url());
    let answering =
        |findings: &[Finding]| findings.iter().filter(|finding| finding.what.contains(" answers, ")).count();
    assert_eq!(answering(&examine(&both).await), 2);
    other.kill();
    let findings = examine(&both).await;
    assert_eq!(answering(&findings), 1);
    assert!(worst(&findings).unwrap().what.contains(&other.port().to_string()), "{findings:#?}");
    let findings = examine(&one.url().replace("redis://", "redis+cluster://")).await;
    assert!(findings[0].what.contains("it is no node of a cluster; write redis://"), "{findings:#?}");
}

#[tokio::test]
async fn a_road_on_which_nothing_comes_back_is_found() {
    let Some(redis) = RedisServer::start() else { return };
    let proxy = Proxy::start(redis.port()).await;
    proxy.rule(Class::Subscribers, Rule { swallow_down: true, ..Rule::default() });
    let findings = examine(&proxy.url()).await;
    assert_eq!(worst(&findings).unwrap().level, Level::Bad, "{findings:#?}");
}
