//! What operators look at: health, readiness, version, metrics, logs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::client::{Client, HANDSHAKE, exchange};
use crate::gateway::{Gateway, eventually};
use crate::support::redis::{RedisServer, free_port};

#[test]
fn without_redis_it_is_alive_and_ready_at_once_and_says_its_version() {
    let gateway = Gateway::start::<&str>(&[]);
    assert_eq!((gateway.get("/livez").status, gateway.readyz()), (200, 200));
    let ready: Value = serde_json::from_str(&gateway.get("/readyz?strict").body).unwrap();
    assert_eq!(ready, json!({"status": "ready", "redis": "none"}));
    let version: Value = serde_json::from_str(&gateway.get("/version").body).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    eventually("it says that it is alone", || gateway.log().contains("no Redis is configured").then_some(()));
}

#[test]
fn what_a_query_of_the_api_says_is_understood_or_refused_and_never_passed_over() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let get = |path: &str| gateway.get(path);
    for (answer, named) in [
        (get("/api/history?topic=a&topic=b"), "topic is given more than once"),
        (get("/api/history?topic=a&limit=1&limit=2"), "limit is given more than once"),
        (get("/api/history?topic=a&x"), "there are topic, since, before and limit"),
        (gateway.post("/api/publish?topic=a&event=b&event=c", "x"), "event is given more than once"),
        (gateway.post("/api/publish?topic=a&type=text&type=json", "x"), "type is given more than once"),
        (
            gateway.post("/api/publish?topic=a&evnt=c", "x"),
            "there are topic, event, key, type, idempotency_key and except",
        ),
        (gateway.delete("/api/shed?x"), "there are none"),
    ] {
        assert_eq!(answer.status, 400, "{named}: {}", answer.body);
        assert!(answer.body.contains(named), "{named}: {}", answer.body);
        assert!(answer.head.contains("application/problem+json"), "{}", answer.head);
    }
    assert_eq!(gateway.post("/api/publish?topic=a&topic=b&except=c&except=d", "x").status, 200, "these are lists");
}

/// A probe with a parameter that some proxy adds takes no replica out that is well.
#[test]
fn no_parameter_fails_a_probe() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    for query in [
        "",
        "?",
        "?strict",
        "?strict=",
        "?strict=1",
        "?strict=false",
        "?strict&strict=0",
        "?verbose",
        "?_=17&x&x",
        "?%ff",
    ] {
        let answers = [gateway.get(&format!("/readyz{query}")), gateway.get(&format!("/livez{query}"))];
        assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 200], "{query}");
        assert_eq!(answers[0].body, r#"{"redis":"none","status":"ready"}"#, "{query}");
    }
    let odd = gateway.get("/readyz?strict=yes");
    let named = r#""strict":"\"yes\" counts as strict; write ?strict, or strict=true or strict=false""#;
    assert!(odd.status == 200 && odd.body.contains(named), "{}", odd.body);
}

#[test]
fn a_page_under_another_name_learns_whether_redis_is_there_and_not_where() {
    let port = free_port().to_string();
    let gateway = Gateway::start(&["--redis-url", &format!("redis://127.0.0.1:{port}")]);
    let ask = |host: &str| {
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        exchange(gateway.internal(), request.as_bytes())
    };
    eventually("it says where it looked for Redis", || ask("localhost").body.contains(&port).then_some(()));
    let rebound = ask("evil.example");
    assert_eq!((rebound.status, rebound.status), (ask("localhost").status, 503));
    assert!(!rebound.body.contains("cause") && !rebound.body.contains(&port), "{}", rebound.body);
    let told: Value = serde_json::from_str(&rebound.body).unwrap();
    assert_eq!(told["redis"], "starting", "{told}");
}

/// One family of a page of metrics.
#[derive(Default)]
struct Family {
    help: bool,
    kind: String,
    samples: usize,
}

/// Parses the text format: every sample behind the HELP and TYPE of its family, no series twice.
fn parse(page: &str) -> BTreeMap<String, Family> {
    let (mut families, mut seen) = (BTreeMap::<String, Family>::new(), BTreeSet::new());
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap();
            assert!(!text.is_empty());
            assert!(!families.contains_key(name), "{name} twice");
            families.entry(name.into()).or_default().help = true;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            families.get_mut(name).unwrap().kind = kind.into();
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(seen.insert(series.to_owned()), "{series} twice");
            let name = series.split('{').next().unwrap();
            let family = ["", "_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end).filter(|name| families.contains_key(*name)));
            families.get_mut(family.unwrap_or_else(|| panic!("{line} has no family"))).unwrap().samples += 1;
        }
    }
    families
}

#[test]
fn the_metrics_page_is_well_formed_and_every_name_of_the_contract_is_on_it() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let families = parse(&gateway.get("/metrics").body);
    for (name, family) in &families {
        assert!(family.help && !family.kind.is_empty() && family.samples > 0, "{name}");
        assert!(name.starts_with("fanline_") || name.starts_with("process_"), "{name}");
        assert_eq!(family.kind == "counter", name.ends_with("_total"), "{name} is a {}", family.kind);
    }
    for name in [
        "connections",
        "subscriptions",
        "topics",
        "live_topics",
        "connections_opened_total",
        "connections_closed_total",
        "handshakes_total",
        "publications_total",
        "deliveries_total",
        "delivered_bytes_total",
        "broadcast_seconds",
        "delivery_latency_seconds",
        "inbox_publications",
        "outbox_bytes",
        "dropped_total",
        "gaps_total",
        "redis_connected",
        "redis_reconnects_total",
        "redis_resubscribe_seconds",
        "redis_canary_rtt_seconds",
        "inbound_messages_total",
        "drain_remaining",
        "ready",
        "build_info",
        "limit",
    ] {
        assert!(families.contains_key(&format!("fanline_{name}")), "{name}");
    }
    assert!(families.contains_key("process_open_fds"));
}

#[test]
fn metrics_count_what_happens() {
    let Some(redis) = RedisServer::start() else { return };
    // One shard: with more, each observes its own pass.
    let gateway = Gateway::start(&["--redis-url", &redis.url(), "--set", "replica.shards=1"]).ready();
    let mut json = Client::json(&gateway, &["a", "b"]);
    let mut plain = Client::open(&gateway.ws_url("/ws?topic=a"));
    gateway.publish("a", "hello");
    redis.cli(&["PUBLISH", "fanline:a", "again"]);
    for _ in 0..2 {
        json.until("message");
        plain.text();
    }
    // A pass counts when it ends, a moment after the last socket was written.
    let deliveries = r#"fanline_deliveries_total{protocol="plain"}"#;
    let metrics = eventually("both are counted", || {
        let metrics = gateway.metrics();
        (metrics[deliveries] as u64 == 2).then_some(metrics)
    });
    for (series, value) in [
        (r#"fanline_connections{protocol="json"}"#, 1),
        (r#"fanline_connections{protocol="plain"}"#, 1),
        ("fanline_subscriptions", 3),
        ("fanline_topics", 2),
        ("fanline_live_topics", 2),
        (r#"fanline_connections_opened_total{protocol="plain"}"#, 1),
        (r#"fanline_handshakes_total{outcome="accepted"}"#, 2),
        (r#"fanline_publications_total{source="api"}"#, 1),
        (r#"fanline_publications_total{source="broker"}"#, 2),
        (r#"fanline_deliveries_total{protocol="json"}"#, 2),
        ("fanline_delivery_latency_seconds_count", 1),
        ("fanline_redis_connected", 1),
        ("fanline_ready", 1),
        (r#"fanline_inbound_messages_total{outcome="accepted"}"#, 1),
        ("fanline_outbox_bytes", 0),
    ] {
        assert_eq!(metrics[series] as u64, value, "{series}");
    }
    assert!(metrics["fanline_redis_canary_rtt_seconds_count"] >= 2.0);
    assert!(metrics["fanline_delivered_bytes_total"] > 20.0);
    drop((json, plain));
    let by_client = r#"fanline_connections_closed_total{reason="lost"}"#;
    eventually("both ends are counted", || (gateway.metric(by_client) as u64 == 2).then_some(()));
}

#[test]
fn logs_hold_no_payload_no_query_and_no_secret() {
    let Some(redis) = RedisServer::start_with(&["--requirepass", "hunter22"]) else { return };
    let url = redis.url().replace("redis://", "redis://:hunter22@");
    let gateway = Gateway::start(&["--redis-url", &url, "--log-level", "trace"]).ready();
    let mut client = Client::open(&gateway.ws_url("/ws?topic=a&password=letmein"));
    gateway.publish("a", "payload-42");
    assert_eq!(client.text(), "payload-42");
    client.send("inbound-43".into());
    assert_eq!(client.closed().0, 4003);
    let (_, log) = {
        drop(client);
        gateway.stop()
    };
    for secret in ["hunter22", "letmein", "payload-42", "inbound-43"] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is in the log");
    }
}

#[test]
fn a_command_that_redis_does_not_know_brings_no_payload_into_the_log() {
    let Some(redis) = RedisServer::start_with(&["--rename-command", "PUBLISH", ""]) else { return };
    let gateway = Gateway::start(&["--redis-url", &redis.url(), "--log-level", "trace"]);
    let answer = eventually("Redis refuses", || {
        let answer = gateway.post("/api/publish", r#"{"topic":"a","text":"payload-44"}"#);
        (answer.status == 502).then_some(answer)
    });
    assert!(answer.body.contains("unknown command") && !answer.body.contains("payload-44"), "{}", answer.body);
    let log = eventually("it is told", || Some(gateway.log()).filter(|log| log.contains("Redis refuses publications")));
    let line = log.lines().find(|line| line.contains("payload-44"));
    assert_eq!(line, None, "the payload is in the log");
}

/// Topics with a history, topics that are closed, and a route whose topic has holes, for both kinds of door.
const DOORS: &str = "[[topics]]\nmatch = \"h:*\"\nhistory_size = 9\n\
                     [[topics]]\nmatch = \"closed:*\"\nsubscribe = \"none\"\n\
                     [[routes]]\npath = \"/ws/{id}\"\ntopics = [\"{path.id}:{query.part}\"]\n\
                     [[routes]]\npath = \"/sse/{id}\"\nprotocol = \"sse\"\ntopics = [\"{path.id}:{query.part}\"]\n";

#[test]
fn a_refused_handshake_forges_no_line_and_leaves_nothing_of_its_query_in_the_log() {
    for (door, lines) in [("/ws", HANDSHAKE), ("/sse", "")] {
        let gateway = Gateway::with_toml(DOORS, &["--log-level", "trace", "--set", "drain.delay=0s"]).ready();
        let long = "c4nary".repeat(400);
        for (path, status, logged) in [
            ("?topic=c4nary%0A2001-01-01T00:00:00Z%20ERROR%20forged", 400, "?topic= names no topic: a character"),
            ("?topic=@c4nary", 400, "?topic= names no topic: it begins with '@'"),
            (format!("?topic={long}").as_str(), 400, "?topic= names no topic: it is too long"),
            ("?c4nary%0A&topic=", 400, "?topic= names no topic: it is empty"),
            ("?topic=c4nary%FF%0A", 400, "?topic= is not UTF-8"),
            ("?token=c4nary%FF%0A&topic=a", 400, "a parameter that is not read here is not UTF-8"),
            ("?c4nary%FF%0A=1&topic=a", 400, "a parameter that is not read here is not UTF-8"),
            (
                (0..300).fold(String::from("?"), |all, n| format!("{all}topic=c4nary{n}&")).as_str(),
                400,
                "more than 200 topics (limits.topics)",
            ),
            ("?topic=h:a&since=c4nary%0A2001-01-01T00:00:00Z%20ERROR%20forged", 400, "?since= says nothing"),
            (format!("?topic=h:a&last={long}").as_str(), 400, "?last= says nothing"),
            ("?protocol=c4nary%0A&topic=a", 400, "?protocol= is neither json nor plain"),
            ("?topic=closed:c4nary", 403, r#"the topic rule of "closed:*""#),
            ("/a?part=c4nary%0A2001-01-01T00:00:00Z%20ERROR%20forged", 400, "{path.id}:{query.part} names no topic"),
            ("/a%0A2001-01-01T00:00:00Z%20ERROR%20forged?part=c4nary", 400, "{path.id}:{query.part} names no topic"),
            ("/a?c4nary%0A", 400, "this route needs ?part=…"),
            ("/?topic=c4nary%0A", 404, "no route on this path, but one on /"),
            ("/a/%0A2001-01-01T00:00:00Z%20ERROR%20forged?c4nary%0A", 404, "no route on this path: "),
        ] {
            // An event stream's route reads no protocol.
            if door == "/sse" && path.starts_with("?protocol") {
                continue;
            }
            let request = format!("GET {door}{path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
            let answer = exchange(gateway.public(), request.as_bytes());
            assert_eq!(answer.status, status, "{door}{path}: {}", answer.body);
            assert_eq!(answer.body.matches('\n').count(), 1, "{door}{path}: {}", answer.body);
            assert!(answer.body.len() < 700, "{door}{path}: {} bytes: {}", answer.body.len(), answer.body);
            eventually(logged, || gateway.log().contains(&format!("handshake refused: {logged}")).then_some(()));
        }
        let (_, log) = gateway.stop();
        let line = log.lines().find(|line| line.starts_with("2001") || line.contains("c4nary"));
        assert_eq!(line, None, "{log}");
    }
}
