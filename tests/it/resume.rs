//! Resuming, where it is many or much: a crowd that comes back at once, and one who has missed a lot.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::bare::Bare;
use crate::gateway::{Gateway, eventually};
use crate::support::redis::RedisServer;

const HISTORY: &str = "[[topics]]\nmatch = \"h:*\"\nhistory_size = 10000\n";

/// The crowd, where the descriptor limit allows it …
const CROWD: usize = 10_000;
/// … and what it must be at least.
const LEAST: usize = 2_000;

/// What the crowd resumes behind: each of the last so many.
const PLACES: usize = 100;

/// The most reads that a crowd may cost: where the topic stands, and a page or two of it.
const READS: u64 = 3;

fn gateway(redis: &RedisServer) -> Gateway {
    Gateway::with_toml(HISTORY, &["--set", &format!("redis.url={}", redis.url())]).ready()
}

/// Publishes and answers the position.
fn publish(gateway: &Gateway, topic: &str, n: usize, pad: usize) -> String {
    let request = json!({ "topic": topic, "data": { "n": n, "pad": "x".repeat(pad) } });
    let answer = gateway.post("/api/publish", &request.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    answer["topics"][topic]["position"].as_str().expect("a position").to_owned()
}

fn resume(topic: &str, since: &str) -> Value {
    json!({ "type": "subscribe", "topic": topic, "since": since, "id": 1 })
}

/// How often Redis ran each of the commands by which a past is read.
fn reads(redis: &RedisServer) -> [u64; 4] {
    let page = redis.cli(&["INFO", "commandstats"]);
    ["xrange", "xrevrange", "mget", "get"].map(|command| {
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    })
}

#[test]
fn a_crowd_that_resumes_at_once_costs_three_reads_and_each_gets_what_it_missed() {
    let Some(redis) = RedisServer::start() else { return };
    let size = CROWD.min(fanline::server::raise_descriptors().saturating_sub(1_000));
    assert!(size >= LEAST, "ulimit -n is too small for {LEAST} clients");
    let gateway = gateway(&redis);
    let positions: Vec<_> = (0..PLACES + 20).map(|n| publish(&gateway, "h:1", n, 10)).collect();
    let positions = &positions[20..];
    let mut crowd: Vec<_> = (0..size).map(|_| Bare::open(&gateway)).collect();
    let before = reads(&redis);
    for (nth, client) in crowd.iter_mut().enumerate() {
        client.say(&resume("h:1", &positions[nth % PLACES]));
    }
    for (nth, client) in crowd.iter_mut().enumerate() {
        let (told, since) = (client.told(), &positions[nth % PLACES]);
        assert_eq!((&told["recovered"], &told["position"]), (&json!(true), &json!(since)), "{told}");
        for position in &positions[nth % PLACES + 1..] {
            let text = client.text();
            assert!(text.contains(&format!("\"position\":\"{position}\"")), "expected {position}, got {text}");
        }
    }
    let after = reads(&redis);
    let last = publish(&gateway, "h:1", 0, 0);
    for client in &mut crowd {
        assert_eq!(client.told()["position"], last.as_str());
    }
    let [xrange, xrevrange, mget, get] = std::array::from_fn(|which| after[which] - before[which]);
    println!("{size} clients: XRANGE {xrange}, XREVRANGE {xrevrange}, MGET {mget}, GET {get}");
    // A page is read together with the topic's last position, in one go.
    assert!(xrange + xrevrange + mget <= READS && get <= xrange + xrevrange, "{before:?} {after:?}");
}

#[test]
fn who_has_missed_more_than_an_outbox_holds_gets_all_of_it_however_slowly_it_reads() {
    const MISSED: usize = 4_000;
    const LIVE: usize = 20;
    let Some(redis) = RedisServer::start() else { return };
    let gateway = gateway(&redis);
    let since = publish(&gateway, "h:1", 0, 300);
    (1..=MISSED).for_each(|n| drop(publish(&gateway, "h:1", n, 300)));
    let mut slow = sluggard(&gateway);
    slow.say(&resume("h:1", &since));
    eventually("what has no room in its socket waits", || (waiting(&gateway) > 0.0).then_some(()));
    slow.dawdle(8 * 1024, Duration::from_millis(2));
    let told = slow.told();
    assert_eq!((&told["live"], &told["recovered"]), (&json!(true), &json!(true)), "{told}");
    for n in 1..=MISSED + LIVE {
        let told = slow.told();
        assert_eq!((&told["type"], &told["data"]["n"]), (&json!("message"), &json!(n)), "{told}");
        // Others go on meanwhile.
        if n % (MISSED / LIVE) == 0 && n <= MISSED {
            publish(&gateway, "h:1", MISSED + n * LIVE / MISSED, 300);
            assert!(waiting(&gateway) <= 1024.0 * 1024.0, "the room is bounded");
        }
    }
}

/// Ninety MiB of several topics, asked for by one client that reads none of it: half as much again as is kept for all.
#[test]
fn one_client_that_asks_for_the_past_of_many_topics_takes_resuming_from_nobody() {
    const TOPICS: usize = 12;
    const EACH: usize = 15;
    const VICTIMS: usize = 10;
    let Some(redis) = RedisServer::start() else { return };
    let gateway = gateway(&redis);
    for topic in 0..TOPICS {
        (0..EACH).for_each(|n| drop(publish(&gateway, &format!("h:greedy:{topic}"), n, 500_000)));
    }
    let since: Vec<_> = (0..VICTIMS).map(|n| publish(&gateway, &format!("h:{n}"), 0, 10)).collect();
    (0..VICTIMS).for_each(|n| drop(publish(&gateway, &format!("h:{n}"), 1, 10)));
    let mut greedy = sluggard(&gateway);
    for topic in 0..TOPICS {
        greedy.say(&json!({ "type": "subscribe", "topic": format!("h:greedy:{topic}"), "last": EACH }));
    }
    eventually("all of it was asked for", || (gateway.metric("fanline_subscriptions") >= 12.0).then_some(()));
    eventually("it was read", || (reads(&redis)[1] >= TOPICS as u64).then_some(()));
    for (n, since) in since.iter().enumerate() {
        let mut victim = Bare::open(&gateway);
        victim.say(&resume(&format!("h:{n}"), since));
        let mut told = victim.told();
        if told["live"] == false {
            // It took longer than half a second here.
            told = victim.told();
        }
        assert_eq!((&told["live"], &told["recovered"]), (&json!(true), &json!(true)), "{told}");
        assert_eq!(victim.told()["data"]["n"], 1);
    }
    let refused = gateway.metric(r#"fanline_recovered_total{outcome="refused"}"#);
    assert_eq!(refused, 0.0);
}

fn waiting(gateway: &Gateway) -> f64 {
    gateway.metric("fanline_outbox_bytes")
}

/// A client with a small receive buffer.
fn sluggard(gateway: &Gateway) -> Bare {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.connect(&gateway.public().into()).unwrap();
    Bare::over(TcpStream::from(socket))
}
