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

/// The most questions that a crowd may cost: where the topic stands, and a page or two of it.
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

/// What it is told once it listens; where that takes longer than half a second it is told so before.
fn live(client: &mut Bare) -> Value {
    std::iter::repeat_with(|| client.told()).find(|told| told["live"] == true).unwrap()
}

/// How often Redis ran each of the commands by which a past is read: a page is a script.
fn reads(redis: &RedisServer) -> [u64; 3] {
    let page = redis.cli(&["INFO", "commandstats"]);
    ["evalsha", "eval", "mget"].map(|command| {
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
    // The first page of all: Redis does not know the script yet.
    assert_eq!(gateway.get("/api/history?topic=h:1&limit=1").status, 200);
    let before = reads(&redis);
    for (nth, client) in crowd.iter_mut().enumerate() {
        client.say(&resume("h:1", &positions[nth % PLACES]));
    }
    for (nth, client) in crowd.iter_mut().enumerate() {
        let (told, since) = (live(client), &positions[nth % PLACES]);
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
    let [evalsha, eval, mget] = std::array::from_fn(|which| after[which] - before[which]);
    println!("{size} clients: EVALSHA {evalsha}, EVAL {eval}, MGET {mget}");
    assert!(evalsha + eval + mget <= READS, "{before:?} {after:?}");
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
    let told = live(&mut slow);
    assert_eq!(told["recovered"], true, "{told}");
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
    let before = reads(&redis)[0];
    let mut greedy = sluggard(&gateway);
    for topic in 0..TOPICS {
        greedy.say(&json!({ "type": "subscribe", "topic": format!("h:greedy:{topic}"), "last": EACH }));
    }
    eventually("all of it was asked for", || (gateway.metric("fanline_subscriptions") >= 12.0).then_some(()));
    eventually("it was read", || (reads(&redis)[0] >= before + TOPICS as u64).then_some(()));
    for (n, since) in since.iter().enumerate() {
        let mut victim = Bare::open(&gateway);
        victim.say(&resume(&format!("h:{n}"), since));
        let told = live(&mut victim);
        assert_eq!(told["recovered"], true, "{told}");
        assert_eq!(victim.told()["data"]["n"], 1);
    }
    let refused = gateway.metric(r#"fanline_recovered_total{outcome="refused"}"#);
    assert_eq!(refused, 0.0);
}

/// Forty megabytes of two topics, neither of which can be resumed, for that is more than 8 MiB of each: no more than that is
/// read to find it out, a few megabytes at a time.
#[test]
fn of_a_past_that_is_too_much_no_more_is_read_than_could_be_brought() {
    const TOPICS: usize = 2;
    const EACH: usize = 40;
    const SIZE: usize = 500_000;
    const MOST: usize = 9 * 1024 * 1024;
    let Some(redis) = RedisServer::start() else { return };
    let gateway = gateway(&redis);
    let fill = format!(
        "local prev, data = '0-0', string.rep('x', {SIZE}) \
         for i = 1, {EACH} do local pos = i .. '-0' \
         redis.call('XADD', KEYS[1], pos, 'p', prev, 'h', '\"ts\":1', 'd', data) prev = pos end \
         redis.call('SET', KEYS[2], prev)"
    );
    for n in 0..TOPICS {
        let key = |what: &str| format!("{{fanline:h:{n}}}:{what}");
        redis.cli(&["EVAL", &fill, "2", &key("stream"), &key("last")]);
    }
    let before = sent(&redis);
    let mut client = Bare::open(&gateway);
    (0..TOPICS).for_each(|n| client.say(&resume(&format!("h:{n}"), "1-0")));
    for _ in 0..TOPICS {
        let told = live(&mut client);
        assert_eq!(told["recovered"], false, "{told}");
    }
    let read = sent(&redis) - before;
    println!("{read} bytes of {} were read", TOPICS * EACH * SIZE);
    assert!(read <= TOPICS * MOST, "{read} bytes");
}

/// How many bytes Redis has sent.
fn sent(redis: &RedisServer) -> usize {
    let page = redis.cli(&["INFO", "stats"]);
    page.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:")).unwrap().trim().parse().unwrap()
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
