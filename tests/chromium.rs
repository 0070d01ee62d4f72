//! A page in a real browser: Chromium without a window, driven over its debugging protocol.

#[path = "readme/blocks.rs"]
#[allow(dead_code, reason = "shared with the README's own tests")]
mod blocks;
#[path = "support/compressed.rs"]
mod compressed;
#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/tap.rs"]
mod tap;

#[path = "support/redis.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "shared; a broken fixture should panic where it broke")]
mod redis;

use std::fs;

use foreign::{Foreign, Language};
use gateway::{Gateway, eventually};
use redis::{RedisServer, free_port};
use serde_json::json;

#[test]
fn a_page_in_chromium_hears_and_speaks_compressed() {
    compressed::both_ways(Language::Chromium);
}

/// A gateway on a port that its successor can have, too.
fn gateway(port: u16, redis: &RedisServer) -> Gateway {
    let (listen, url) = (format!("public.listen=127.0.0.1:{port}"), format!("redis.url={}", redis.url()));
    Gateway::start(&["--set", &listen, "--set", &url, "--set", "drain.delay=0s"]).ready()
}

#[test]
fn an_event_source_hears_is_told_and_comes_back_by_itself() {
    let Some(mut redis) = RedisServer::start() else { return };
    let port = free_port();
    let first = gateway(port, &redis);
    let page = Foreign::events(&first.http_url("/sse?topic=a"), &["chat", "gap", "goodbye"]);
    first.publish("a", "grüße\n🎈");
    assert_eq!(page.next(), json!({"event": "message", "text": "grüße\n🎈"}));
    first.post("/api/publish", r#"{"topic":"a","text":"hi","event":"chat"}"#);
    assert_eq!(page.next(), json!({"event": "chat", "text": "hi"}));

    redis.restart();
    let gap = page.next();
    assert_eq!(gap["event"], "gap");
    assert!(gap["text"].as_str().is_some_and(|text| text.contains(r#""reason":"reconnected""#)), "{gap}");

    let begin = std::time::Instant::now();
    assert!(first.stop().0.success());
    let goodbye = page.next();
    assert_eq!(goodbye["event"], "goodbye");
    assert_eq!(page.next(), json!({"error": 0}), "it is connecting again");
    let second = gateway(port, &redis);
    let mut next = page.next();
    while next["error"] == 0 {
        next = page.next();
    }
    assert_eq!(next, json!({"open": true}), "after {:?}", begin.elapsed());
    second.publish("a", "again");
    assert_eq!(page.next(), json!({"event": "message", "text": "again"}));
}

#[test]
fn the_readmes_event_source_shows_messages_and_gaps_and_comes_back_after_a_restart() {
    let Some(mut redis) = RedisServer::start() else { return };
    let port = free_port();
    let blocks = blocks::of("js sse");
    let [snippet] = blocks.as_slice() else { panic!("one block of js sse, not {}", blocks.len()) };
    let home = tempfile::tempdir().expect("a temporary directory");
    let script = home.path().join("page.js");
    fs::write(&script, snippet.text.replace("8080", &port.to_string())).expect("a script");
    let first = gateway(port, &redis);
    let page = Foreign::page(&script);
    let shows = |what: &str| assert_eq!(page.next()["shown"], what);
    let listens = |gateway: &Gateway| {
        eventually("the page listens", || (gateway.metric("fanline_subscriptions") as u64 == 1).then_some(()));
    };
    listens(&first);
    first.publish("hello", "hi");
    shows("hi");
    redis.restart();
    shows("missed something");
    first.publish("hello", "after the outage");
    shows("after the outage");
    // Gone without a word, as a crash would be.
    first.signal("KILL");
    drop(first);
    let second = gateway(port, &redis);
    shows("missed something");
    listens(&second);
    second.publish("hello", "after the restart");
    shows("after the restart");
    assert!(second.stop().0.success());
    let full =
        Gateway::start(&["--set", &format!("public.listen=127.0.0.1:{port}"), "--set", "public.max_connections=1"]);
    let guest = Foreign::open(Language::Node, &full.ws_url("/ws"));
    let refused = r#"fanline_handshakes_total{outcome="busy"}"#;
    eventually("it is refused, for which an EventSource gives up", || (full.metric(refused) >= 1.0).then_some(()));
    drop(guest);
    shows("missed something");
}
