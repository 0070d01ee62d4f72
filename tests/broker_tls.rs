//! TLS towards Redis, on redis-server: what works, and what is said where it does not.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

mod support;

use fanline::broker::Broker;
use fanline::identity::Replica;
use fanline::link::doctor::{Level, check};
use fanline::publication::Header;
use fanline::settings::{self, Secret};

use support::cluster::Cluster;
use support::replicated::{Replicated, rooms, topic};
use support::sentinel::Watched;
use support::tls::{CLIENT_ENDS, Certificates, SERVER_ENDS};

fn with(certificates: &Certificates, url: String) -> settings::Redis {
    settings::Redis { url: Secret::new(url), ca: certificates.path("ca.pem"), ..Default::default() }
}

async fn serves(settings: &settings::Redis) {
    let replica = Replicated::start_with(settings);
    replica.until_open().await;
    let room = topic("room:42");
    replica.subscribed(std::slice::from_ref(&room)).await;
    replica.hears(&room, "hi").await;
    replica.end().await;
}

/// The first thing that does not work, in words.
async fn told(settings: &settings::Redis) -> String {
    let findings = check(settings, &Replica::new("test-1"), false).await;
    findings.into_iter().find(|finding| finding.level == Level::Bad).unwrap().what
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_certificate_of_our_ca_serves_links_lanes_and_canaries() {
    let certificates = Certificates::make();
    let Some((redis, port)) = certificates.server("no") else { return };
    redis.cli(&["ACL", "SETUSER", "ada", "on", ">p@ss", "allchannels", "+@all"]);
    for url in [format!("rediss://localhost:{port}"), format!("valkeys://ada:p%40ss@127.0.0.1:{port}")] {
        serves(&with(&certificates, url)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_for_our_certificate_gets_it() {
    let certificates = Certificates::make();
    let Some((_redis, port)) = certificates.server("yes") else { return };
    let without = with(&certificates, format!("rediss://127.0.0.1:{port}"));
    let why = told(&without).await;
    assert!(why.contains("redis.cert"), "{why}");
    let (cert, key) = (certificates.path("client.pem"), certificates.path("client.key"));
    serves(&settings::Redis { cert, key, ..without.clone() }).await;
    let stranger = Certificates::make();
    let (cert, key) = (stranger.path("client.pem"), stranger.path("client.key"));
    let why = told(&settings::Redis { cert, key, ..without }).await;
    assert!(why.contains("tls-ca-cert-file"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_told_with_what_to_write_and_without_the_password() {
    let certificates = Certificates::make();
    let Some((redis, port)) = certificates.server("no") else { return };
    let at = |scheme: &str, host: &str, port: u16| with(&certificates, format!("{scheme}://:hunter2@{host}:{port}"));
    let Some((_other, misnamed)) = certificates.server_as("client", "no") else { return };
    let stranger = Certificates::make();
    let strange = settings::Redis { ca: stranger.path("ca.pem"), ..at("rediss", "127.0.0.1", port) };
    for (settings, part) in [
        (strange, "set redis.ca to the file of the CA that did"),
        (at("rediss", "127.0.0.1", misnamed), "not made out for 127.0.0.1"),
        (at("rediss", "127.0.0.1", redis.port()), "is that its TLS port?"),
        (at("redis", "127.0.0.1", port), "write rediss://"),
        (
            settings::Redis { ca: "/nonexistent".into(), ..at("rediss", "127.0.0.1", port) },
            "redis.ca = \"/nonexistent\"",
        ),
    ] {
        let why = told(&settings).await;
        assert!(why.contains(part) && !why.contains("hunter2"), "{part}: {why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_followed_by_tls_to_every_node() {
    let certificates = Certificates::make();
    let Some(cluster) = Cluster::start_tls(&certificates) else { return };
    let settings = with(&certificates, cluster.url());
    for sharded in [false, true] {
        let replica = Replicated::start_with(&settings::Redis { sharded, ..settings.clone() });
        replica.until_open().await;
        let topics = rooms(30);
        replica.subscribed(&topics).await;
        for topic in &topics {
            replica.broker.publish(topic, &Header::default(), "hi".into()).await.unwrap();
        }
        replica.hub.until("heard", || topics.iter().all(|topic| replica.hub.messages(topic) == ["hi"])).await;
        replica.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_and_the_master_that_they_name_are_reached_by_tls() {
    let certificates = Certificates::make();
    let Some(watched) = Watched::start_tls(&certificates) else { return };
    serves(&with(&certificates, watched.url())).await;
}

fn series(replica: &Replicated, name: &str) -> f64 {
    let page = prometheus::TextEncoder::new().encode_to_string(&replica.metrics.registry().gather()).unwrap();
    let value = page.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
    value.trim().parse().unwrap()
}

const ENDS: &str = "fanline_certificate_expiry_timestamp_seconds{name=\"redis\"}";

/// The first of ours and the server's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_when_the_first_certificate_ends() {
    let certificates = Certificates::make();
    let Some((redis, port)) = certificates.server("no") else { return };
    let plain = Replicated::open(&redis.url()).await;
    assert_eq!(series(&plain, ENDS), 0.0);
    plain.end().await;
    let settings = with(&certificates, format!("rediss://127.0.0.1:{port}"));
    let (cert, key) = (certificates.path("client.pem"), certificates.path("client.key"));
    for (settings, ends) in [(settings.clone(), SERVER_ENDS), (settings::Redis { cert, key, ..settings }, CLIENT_ENDS)]
    {
        let replica = Replicated::start_with(&settings);
        replica.until_open().await;
        assert_eq!(series(&replica, ENDS), ends);
        replica.end().await;
    }
}

/// As cert-manager renews them: the server's first, ours and the CA's by files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_change_in_their_files_are_used_by_the_next_dial() {
    let (before, after) = (Certificates::make(), Certificates::make());
    let (Some((mut old, _)), Some((new, port))) = (before.server("yes"), after.server("yes")) else { return };
    let (cert, key) = (before.path("expired.pem"), before.path("expired.key"));
    let settings = settings::Redis { cert, key, ..with(&before, format!("rediss://127.0.0.1:{port}")) };
    old.kill();
    let replica = Replicated::start_with(&settings);
    let count = "fanline_redis_failures_total{reason=\"tls\"}";
    replica.hub.until("refused", || series(&replica, count) > 0.0).await;
    for (from, to) in [("ca.pem", "ca.pem"), ("client.pem", "expired.pem"), ("client.key", "expired.key")] {
        std::fs::copy(after.path(from), before.path(to)).unwrap();
    }
    replica.until_open().await;
    assert_eq!(series(&replica, ENDS), CLIENT_ENDS);
    replica.end().await;
    drop(new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_redis_is_not_reached_is_counted() {
    let certificates = Certificates::make();
    let Some((redis, port)) = certificates.server("no") else { return };
    redis.cli(&["ACL", "SETUSER", "ada", "on", ">secret", "allchannels", "+@all"]);
    let stranger = Certificates::make();
    let strange = settings::Redis {
        url: Secret::new(format!("rediss://127.0.0.1:{port}")),
        ca: stranger.path("ca.pem"),
        ..Default::default()
    };
    let at = |url: String| settings::Redis { url: Secret::new(url), ..Default::default() };
    let Some((_asking, asking)) = certificates.server("yes") else { return };
    let expired = settings::Redis {
        cert: certificates.path("expired.pem"),
        key: certificates.path("expired.key"),
        ..with(&certificates, format!("rediss://127.0.0.1:{asking}"))
    };
    let why = told(&expired).await;
    assert!(why.contains("redis.cert has expired"), "{why}");
    for (settings, reason) in [
        (strange, "tls"),
        (expired, "tls"),
        (at(format!("redis://ada:wrong@127.0.0.1:{}", redis.port())), "auth"),
        (at("redis://127.0.0.1:1".into()), "unreachable"),
    ] {
        let replica = Replicated::start_with(&settings);
        let count = format!("fanline_redis_failures_total{{reason=\"{reason}\"}}");
        replica.hub.until("counted", || series(&replica, &count) > 0.0).await;
        replica.end().await;
    }
}
