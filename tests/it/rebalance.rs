//! Clients that go to other replicas: by `POST /api/shed`, or because their time is over.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, retry_ms};
use crate::gateway::{Gateway, eventually};
use crate::stream::Stream;
use crate::support::redis::RedisServer;

fn shed(gateway: &Gateway, order: &Value) -> (u16, Value) {
    let answer = gateway.post("/api/shed", &order.to_string());
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

#[test]
fn a_shed_closes_its_fraction_with_4200_and_a_hint_and_leaves_the_others_alone() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let mut clients: Vec<_> = (0..40).map(|_| Client::json(&gateway, &["a"])).collect();
    let begin = Instant::now();
    let (status, answer) = shed(&gateway, &json!({ "fraction": 0.25, "over": "1s" }));
    assert_eq!((status, answer), (202, json!({ "connections": 10, "of": 40, "over_ms": 1000 })));
    eventually("ten have gone", || (gateway.metric("fanline_connections{protocol=\"json\"}") == 30.0).then_some(()));
    assert!(begin.elapsed() > Duration::from_millis(700), "{:?}", begin.elapsed());
    assert_eq!(gateway.metric("fanline_connections_closed_total{reason=\"shed\"}"), 10.0);
    eventually("none has yet to go", || (gateway.metric("fanline_shed_remaining") == 0.0).then_some(()));
    assert_eq!(gateway.publish("a", "still here"), 1);
    let mut gone = 0;
    for client in &mut clients {
        let told = client.told();
        if told["type"] == "goodbye" {
            assert_eq!((&told["code"], &told["reason"]), (&4200.into(), &"shed".into()));
            let (code, reason) = client.closed();
            assert_eq!((code, told["retry_ms"].as_u64()), (4200, Some(retry_ms(&reason))));
            gone += 1;
        } else {
            assert_eq!(told["text"], "still here");
        }
    }
    assert_eq!(gone, 10);
    assert_eq!(gateway.readyz(), 200);
}

#[test]
fn a_second_order_waits_and_the_first_can_be_ended() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let mut client = Client::json(&gateway, &["a"]);
    assert_eq!(shed(&gateway, &json!({ "fraction": 1, "over": "720h" })).0, 202);
    let (status, problem) = shed(&gateway, &json!({ "fraction": 1 }));
    assert_eq!(status, 409);
    assert!(problem["detail"].as_str().unwrap().contains("DELETE /api/shed"), "{problem}");
    let ended = gateway.delete("/api/shed");
    assert_eq!((ended.status, ended.body.as_str()), (200, r#"{"spared":1}"#));
    assert_eq!(shed(&gateway, &json!({ "fraction": 1, "over": "100ms" })).0, 202);
    assert_eq!(client.told()["code"], 4200);
}

#[test]
fn an_order_that_makes_no_sense_is_told_what_to_write_and_a_stranger_gives_none() {
    let gateway = Gateway::start::<&str>(&["--set", "internal.api_keys=ops:secret"]).ready();
    assert_eq!(shed(&gateway, &json!({ "fraction": 0.5 })).0, 401);
    assert_eq!(gateway.delete("/api/shed").status, 401);
    let gateway = Gateway::start::<&str>(&[]).ready();
    let (status, problem) = shed(&gateway, &json!({ "fraction": 20, "over": "60s" }));
    assert_eq!((status, &problem["field"]), (400, &"fraction".into()));
    let (status, problem) = shed(&gateway, &json!({ "fraction": 0.2, "over": "1 min" }));
    assert_eq!((status, &problem["field"]), (400, &"over".into()));
    assert!(problem["detail"].as_str().unwrap().contains(r#"write "1m""#), "{problem}");
    assert_eq!(gateway.get("/api/shed").status, 405);
}

/// A socket and an event stream alike; each comes back to another replica, and misses nothing.
#[test]
fn whose_time_is_over_is_closed_with_4203_and_misses_nothing_elsewhere() {
    let Some(redis) = RedisServer::start() else { return };
    const RULE: &str = "[[topics]]\nmatch = \"h\"\nhistory_size = 100\n";
    let url = format!("redis.url={}", redis.url());
    let old = Gateway::with_toml(RULE, &["--set", &url, "--set", "public.max_age=10s"]).ready();
    let new = Gateway::with_toml(RULE, &["--set", &url]).ready();
    let begin = Instant::now();
    let mut client = Client::json(&old, &["h"]);
    let mut stream = Stream::open(&old, "/sse?topic=h");
    assert_eq!(new.publish("h", "one"), 1);
    let position = client.told()["position"].as_str().unwrap().to_owned();
    let goodbye = client.told();
    let (code, reason) = client.closed();
    let lived = begin.elapsed();
    assert_eq!(
        (code, &goodbye["reason"], goodbye["retry_ms"].as_u64()),
        (4203, &"max_age".into(), Some(retry_ms(&reason)))
    );
    assert!(lived > Duration::from_millis(7400) && lived < Duration::from_secs(16), "{lived:?}");
    let farewell = stream.rest().into_iter().find(|event| event.event == "goodbye").expect("a goodbye");
    assert_eq!(farewell.json()["code"], 4203);
    new.publish("h", "two");
    let mut again = Client::json_open(&new);
    again.say(&json!({ "type": "subscribe", "topic": "h", "since": position }));
    assert_eq!(again.until("subscribed")["recovered"], true);
    assert_eq!(again.told()["text"], "two");
}
