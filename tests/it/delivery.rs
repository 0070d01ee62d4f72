//! One publish reaches every client on every replica: verbatim, in order, once.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::client::Client;
use crate::foreign::{Foreign, Language};
use crate::gateway::{Gateway, eventually};
use crate::support::proxy::{Class, Proxy, Rule};
use crate::support::redis::RedisServer;

/// Two replicas on one Redis.
fn replicas(redis: &RedisServer) -> [Gateway; 2] {
    [(); 2].map(|()| Gateway::start(&["--redis-url", &redis.url()])).map(Gateway::ready)
}

/// `redis-cli -x PUBLISH`, which takes any bytes; answers how many replicas listened.
fn publish(redis: &RedisServer, channel: &str, payload: &[u8]) -> u64 {
    let mut cli = Command::new("redis-cli")
        .args(["-p", &redis.port().to_string(), "-x", "PUBLISH", channel])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    cli.stdin.take().unwrap().write_all(payload).unwrap();
    String::from_utf8(cli.wait_with_output().unwrap().stdout).unwrap().trim().parse().unwrap()
}

/// What producers send, and some of what they send by mistake.
fn payloads() -> Vec<Vec<u8>> {
    vec![
        b"hello".to_vec(),
        "grüße, 世界 🎈".as_bytes().to_vec(),
        br#"{"type":"cpu", "value": 1.50, "big": 12345678901234567890}"#.to_vec(),
        b" [1, 2 ]\n".to_vec(),
        vec![0, 0xff, 0xfe, 0x80, 0],
        (0..60 * 1024).map(|i| u8::try_from(i % 251).unwrap()).collect(),
        "x".repeat(60 * 1024).into_bytes(),
        b"".to_vec(),
        b"\x1e{\"record\":1}\n".to_vec(),
        b"\x1e".to_vec(),
        b"\x1eFL".to_vec(),
        b"null".to_vec(),
    ]
}

/// How a plain client's library names a payload.
fn as_plain(payload: &[u8]) -> Value {
    match std::str::from_utf8(payload) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "b64": STANDARD.encode(payload) }),
    }
}

/// The member of a json `message` that carries a payload, as JSON text.
fn as_json(payload: &[u8]) -> String {
    match std::str::from_utf8(payload) {
        Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => format!(r#""data":{text}}}"#),
        Ok(text) => format!(r#""text":{}}}"#, json!(text)),
        Err(_) => format!(r#""b64":"{}"}}"#, STANDARD.encode(payload)),
    }
}

#[test]
fn what_redis_cli_publishes_arrives_verbatim_on_every_replica_in_every_language() {
    let Some(redis) = RedisServer::start() else { return };
    let [a, b] = replicas(&redis);
    let plain = [
        Foreign::open(Language::Node, &a.ws_url("/ws?topic=room:42")),
        Foreign::open(Language::Python, &b.ws_url("/ws?topic=room:42")),
    ];
    let json = [
        Foreign::open_as(Language::Node, &b.ws_url("/ws?topic=room:42"), "fanline.json"),
        Foreign::open_as(Language::Python, &a.ws_url("/ws?topic=room:42"), "fanline.json"),
    ];
    for client in &json {
        assert_eq!(client.json()["type"], "welcome");
        assert_eq!(client.json(), json!({"type": "subscribed", "topic": "room:42", "live": true}));
    }
    for payload in payloads() {
        assert_eq!(publish(&redis, "fanline:room:42", &payload), 2);
        for client in &plain {
            assert_eq!(client.next(), as_plain(&payload));
        }
        for client in &json {
            let text = client.text();
            let wanted = as_json(payload.trim_ascii());
            let alike = text.starts_with(r#"{"type":"message","topic":"room:42","#)
                && (text.ends_with(&wanted) || text.ends_with(&as_json(&payload)));
            assert!(alike, "{text} should end in {wanted}");
        }
    }
}

#[test]
fn ten_thousand_publications_arrive_on_both_replicas_in_order_none_lost_none_twice() {
    const COUNT: usize = 10_000;
    let Some(redis) = RedisServer::start() else { return };
    let [a, b] = replicas(&redis);
    let clients = [
        Foreign::open(Language::Node, &a.ws_url("/ws?topic=many")),
        Foreign::open(Language::Python, &b.ws_url("/ws?topic=many")),
    ];
    let mut producer = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    let mut commands = Vec::new();
    for number in 0..COUNT {
        let text = number.to_string();
        write!(commands, "*3\r\n$7\r\nPUBLISH\r\n$12\r\nfanline:many\r\n${}\r\n{text}\r\n", text.len()).unwrap();
    }
    producer.write_all(&commands).unwrap();
    for client in &clients {
        for number in 0..COUNT {
            assert_eq!(client.text(), number.to_string());
        }
    }
    publish(&redis, "fanline:many", b"end");
    for client in &clients {
        assert_eq!(client.text(), "end", "nothing came twice");
    }
    for gateway in [&a, &b] {
        assert_eq!(gateway.metric("fanline_gaps_total{reason=\"overflow\"}") as u64, 0);
    }
}

#[test]
fn a_replica_subscribes_a_channel_while_it_has_listeners_and_leaves_it_after_the_linger() {
    let Some(redis) = RedisServer::start() else { return };
    let args = ["--redis-url", &redis.url(), "--set", "redis.linger=200ms"];
    let (near, far) = (Gateway::start(&args).ready(), Gateway::start(&args).ready());
    let listener = Client::json(&near, &["room:1"]);
    assert_eq!(redis.cli(&["PUBSUB", "NUMSUB", "fanline:room:1"]), "fanline:room:1\n1");
    assert_eq!(publish(&redis, "fanline:room:2", b"x"), 0, "nobody listens");
    let both = Client::json(&far, &["room:1"]);
    assert_eq!(publish(&redis, "fanline:room:1", b"x"), 2);
    drop(listener);
    drop(both);
    crate::gateway::eventually("both leave the channel", || {
        (redis.cli(&["PUBSUB", "CHANNELS", "fanline:room:*"]).is_empty()).then_some(())
    });
}

#[test]
fn an_open_plain_socket_listens_already() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = Gateway::start(&["--redis-url", &redis.url(), "--set", "redis.linger=0s"]).ready();
    for round in 0..200 {
        let topic = format!("round:{round}");
        let mut client = Client::open(&gateway.ws_url(&format!("/ws?topic={topic}")));
        assert_eq!(gateway.publish(&topic, "already"), 1, "round {round}");
        assert_eq!(client.text(), "already", "round {round}");
    }
}

/// The link is slow, the publisher is not: who opened the door too early would be found out.
#[test]
fn an_open_plain_socket_listens_already_while_the_gateway_still_proves_its_link() {
    let Some(redis) = RedisServer::start() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let proxy = runtime.block_on(Proxy::start(redis.port()));
    proxy.rule(Class::Subscribers, Rule { delay: Duration::from_millis(50), ..Rule::default() });
    let gateway = Gateway::start(&["--redis-url", &proxy.url()]);
    eventually("the link is up", || (gateway.metric("fanline_redis_connected") as u64 == 1).then_some(()));
    for round in 0..10 {
        let topic = format!("round:{round}");
        let _client = Client::open(&gateway.ws_url(&format!("/ws?topic={topic}")));
        let heard = redis.cli(&["PUBLISH", &format!("fanline:{topic}"), "already"]);
        assert_eq!(heard, "1", "round {round}, ready: {}", gateway.readyz());
    }
}

#[test]
fn a_client_without_a_topic_listens_to_all() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let mut client = Client::open(&gateway.ws_url("/ws"));
    gateway.publish("all", "everybody");
    assert_eq!(client.text(), "everybody");
}

#[test]
fn a_json_client_subscribes_and_unsubscribes_as_it_likes_and_every_id_is_answered() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let mut client = Client::json_open(&gateway);
    client.send(tungstenite::Message::text(
        "{\"type\":\"subscribe\",\"topics\":[\"a\",\"b\"],\"id\":1}\n{\"type\":\"subscribe\",\"topic\":\"@user:1\",\"id\":\"x\"}",
    ));
    // Each is answered; which first is not promised.
    let (answers, refusals): (Vec<_>, Vec<_>) = (0..3).map(|_| client.told()).partition(|told| told["id"] == 1);
    assert_eq!(answers, ["a", "b"].map(|topic| json!({"type": "subscribed", "topic": topic, "id": 1, "live": true})));
    assert_eq!(
        (&refusals[0]["type"], &refusals[0]["id"], &refusals[0]["code"]),
        (&json!("error"), &json!("x"), &json!("bad_topic"))
    );
    client.say(&json!({"type": "unsubscribe", "topic": "a", "id": 2}));
    assert_eq!(client.told(), json!({"type": "unsubscribed", "topic": "a", "id": 2}));
    gateway.publish("a", "not for it");
    gateway.publish("b", "for it");
    let message = client.told();
    assert_eq!((&message["topic"], &message["text"]), (&json!("b"), &json!("for it")));
    client.say(&json!({"type": "dance", "id": 3}));
    let refused = client.told();
    assert_eq!((&refused["id"], &refused["code"]), (&json!(3), &json!("unknown_type")));
}
