//! The table by symptom on the README's first screen: what it says one sees, one sees.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::foreign::{Foreign, Language};
use crate::gateway::{Gateway, PATIENCE, eventually};
use crate::redis::free_port;

#[test]
fn without_a_topic_a_plain_client_listens_to_all_and_a_json_client_to_nothing() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let plain = Foreign::open(Language::Python, &gateway.ws_url("/ws"));
    let mut json = Foreign::open_as(Language::Node, &gateway.ws_url("/ws"), "fanline.json");
    assert_eq!(json.json()["type"], "welcome");
    gateway.publish("all", "for plain");
    json.send(r#"{"type":"subscribe","topic":"all"}"#);
    assert_eq!(json.json()["type"], "subscribed");
    gateway.publish("all", "for both");
    assert_eq!((plain.text(), plain.text()), ("for plain".into(), "for both".into()));
    assert_eq!(json.json()["text"], "for both");
}

#[test]
fn a_silent_client_is_pinged_every_so_often_even_where_its_answer_may_take_longer() {
    let gateway = Gateway::start(&["--set", "heartbeat.every=150ms", "--set", "heartbeat.timeout=20s"]).ready();
    let client = Foreign::open(Language::Node, &gateway.ws_url("/ws"));
    let begin = Instant::now();
    (0..4).for_each(|_| client.ping());
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
}

#[test]
fn a_plain_get_and_a_proxy_that_speaks_http_1_0_are_answered_400_and_an_unknown_path_404() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let plain = answer(&gateway, "/ws", "");
    assert!(plain.starts_with("HTTP/1.1 400 ") && plain.contains("this path speaks WebSocket"), "{plain}");
    assert!(answer(&gateway, "/sse", "").starts_with("HTTP/1.1 400 "));
    for path in ["/socket.io/", "/"] {
        assert!(answer(&gateway, path, "").starts_with("HTTP/1.1 404 "), "{path}");
    }
}

#[test]
fn a_403_says_whether_the_rule_or_the_origin_refuses() {
    let rules = "[public]\norigins = [\"https://a.example\"]\n[[topics]]\nmatch = \"private:*\"\nsubscribe = \"none\"";
    let gateway = Gateway::with_toml(rules, &[]).ready();
    let (status, body) = Foreign::refused(Language::Python, &gateway.ws_url("/ws?topic=private:1"));
    assert_eq!((status, body.contains("subscribe = \"none\"")), (403, true), "{body}");
    let handshake = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nOrigin: https://b.example\r\n";
    let answer = answer(&gateway, "/ws", handshake);
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("public.origins"), "{answer}");
}

#[test]
fn while_redis_is_away_a_client_stays_and_is_told_live_false() {
    let url = format!("redis.url=redis://127.0.0.1:{}", free_port());
    let gateway = Gateway::start(&["--set", &url]);
    let client = Foreign::open_as(Language::Node, &gateway.ws_url("/ws?topic=hello"), "fanline.json");
    assert_eq!(client.json()["type"], "welcome");
    assert_eq!(client.json(), json!({"type": "subscribed", "topic": "hello", "live": false}));
    assert_eq!(gateway.post("/api/publish", r#"{"topic":"hello","text":"hi"}"#).status, 503);
    assert_eq!(gateway.readyz(), 503);
}

#[test]
fn a_client_that_sends_too_much_is_closed_with_4101_and_told_when_to_come_back() {
    let gateway = Gateway::start(&["--set", "limits.burst=3", "--set", "limits.messages_per_second=1"]).ready();
    let mut client = Foreign::open_as(Language::Node, &gateway.ws_url("/ws"), "fanline.json");
    (0..4).for_each(|_| client.send(r#"{"type":"ping"}"#));
    let heard: Vec<_> = (0..5).map(|_| client.json()).collect();
    assert_eq!((&heard[3]["type"], &heard[4]["code"]), (&json!("pong"), &json!(4101)), "{heard:?}");
    let (code, reason) = client.closed();
    let reason: serde_json::Value = serde_json::from_str(&reason).expect("JSON");
    assert_eq!((code, &reason["retry_ms"]), (4101, &heard[4]["retry_ms"]));
}

#[test]
fn a_client_that_reads_too_slowly_is_closed_as_slow() {
    let gateway = Gateway::start(&["--set", "outbox.bytes=64KiB"]).ready();
    let client = Foreign::open(Language::Node, &gateway.ws_url("/ws?topic=hello"));
    client.freeze();
    let (text, slow) = ("x".repeat(256 * 1024), r#"fanline_connections_closed_total{reason="slow"}"#);
    eventually("the frozen client is closed", || {
        gateway.publish("hello", &text);
        (gateway.metric(slow) >= 1.0).then_some(())
    });
    drop(client);
}

/// What the public listener answers to a `GET` with these header lines, which must be no 101.
fn answer(gateway: &Gateway, path: &str, headers: &str) -> String {
    let mut socket = TcpStream::connect(gateway.public()).expect("a connection");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let end = if headers.contains("Connection:") { "" } else { "Connection: close\r\n" };
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{end}\r\n").expect("sent");
    let mut answer = vec![0; 4096];
    let length = socket.read(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}
