//! A Redis that restarts, freezes, is not there yet, or is there and unheard: no socket closes, and whoever
//! may have missed something is told so once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, header};
use crate::foreign::{Foreign, LANGUAGES};
use crate::gateway::{Gateway, eventually};
use crate::reload::until_logged;
use crate::support::proxy::{Class, Proxy, Rule};
use crate::support::redis::{RedisServer, free_port};
use crate::support::sentinel::Watched;

/// The word of `/readyz`, and its status.
fn readiness(gateway: &Gateway, query: &str) -> (u16, String, String) {
    let answer = gateway.get(&format!("/readyz{query}"));
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    let word = |name: &str| told[name].as_str().unwrap().to_owned();
    (answer.status, word("status"), word("redis"))
}

/// Waits until `/readyz` says these words, and answers how long that took.
#[track_caller]
fn until_readiness(gateway: &Gateway, status: u16, redis: &str) -> Duration {
    let begin = Instant::now();
    eventually(&format!("/readyz says {status} {redis}"), || {
        let (found, _, word) = readiness(gateway, "");
        (found == status && word == redis).then_some(())
    });
    begin.elapsed()
}

/// What must come of an outage: `live:false`, then one gap, then `live:true`, and nothing else.
#[track_caller]
fn assert_one_gap(client: &mut Client, before: Vec<Value>, topic: &str) {
    let told = [before, client.all_until("gap"), client.all_until("live")].concat();
    let kinds: Vec<_> = told.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["live", "gap", "live"], "{told:?}");
    assert_eq!(told[0], json!({"type": "live", "topics": [topic], "live": false}));
    assert_eq!(told[2], json!({"type": "live", "topics": [topic], "live": true}));
    assert_eq!((&told[1]["topics"], &told[1]["reason"]), (&json!([topic]), &json!("reconnected")));
    assert!(told[1]["since"].as_u64().unwrap() <= told[1]["until"].as_u64().unwrap(), "{told:?}");
}

#[test]
fn a_restart_of_redis_closes_no_socket_and_each_json_client_is_told_exactly_one_gap() {
    let Some(mut redis) = RedisServer::start() else { return };
    let replicas = [(); 2].map(|()| Gateway::start(&["--redis-url", &redis.url()]).ready());
    let mut json: Vec<_> = (0..20).map(|n| Client::json(&replicas[n % 2], &["room:1"])).collect();
    let plain = LANGUAGES.map(|language| Foreign::open(language, &replicas[0].ws_url("/ws?topic=room:1")));
    assert_eq!(redis.cli(&["PUBLISH", "fanline:room:1", "before"]), "2");
    plain.iter().for_each(|client| assert_eq!(client.text(), "before"));
    for client in &mut json {
        assert_eq!(client.told()["text"], "before");
    }
    redis.restart();
    json.iter_mut().for_each(|client| assert_one_gap(client, Vec::new(), "room:1"));
    assert_eq!(redis.cli(&["PUBLISH", "fanline:room:1", "after"]), "2");
    for client in &mut json {
        assert_eq!(client.told()["text"], "after", "nothing stands between what was told and what follows");
    }
    for client in &plain {
        assert_eq!(client.text(), "after");
    }
    for gateway in &replicas {
        assert_eq!(gateway.metric("fanline_redis_reconnects_total") as u64, 1);
        let closed = gateway.metrics().into_iter().filter(|(name, _)| name.starts_with("fanline_connections_closed"));
        assert_eq!(closed.map(|(_, count)| count).sum::<f64>() as u64, 0);
    }
}

#[test]
fn without_redis_at_the_start_sockets_are_accepted_and_go_live_when_it_comes() {
    let Some(mut redis) = RedisServer::start() else { return };
    redis.kill();
    let gateway = Gateway::start(&["--redis-url", &redis.url()]);
    assert_eq!(gateway.get("/livez").status, 200);
    assert_eq!(readiness(&gateway, ""), (503, "unready".into(), "starting".into()));
    let mut json = Client::json_open(&gateway);
    json.say(&json!({"type": "subscribe", "topic": "room:1", "id": 1}));
    assert_eq!(json.told(), json!({"type": "subscribed", "topic": "room:1", "id": 1, "live": false}));
    let mut plain = Client::open(&gateway.ws_url("/ws?topic=room:1"));
    redis.restart();
    assert_eq!(json.told(), json!({"type": "live", "topics": ["room:1"], "live": true}), "never live, so no gap");
    until_readiness(&gateway, 200, "open");
    assert_eq!(gateway.publish("room:1", "now"), 1);
    assert_eq!((json.told()["text"].as_str(), plain.text().as_str()), (Some("now"), "now"));
}

#[test]
fn a_frozen_redis_is_degraded_within_six_seconds_and_healed_after() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = Gateway::start(&["--redis-url", &redis.url()]).ready();
    let strict = Gateway::start(&["--redis-url", &redis.url(), "--set", "readiness.redis=required"]).ready();
    let mut client = Client::json(&gateway, &["room:1"]);
    redis.freeze();
    let took = until_readiness(&gateway, 200, "away");
    assert!(took <= Duration::from_secs(6), "degraded after {took:?}");
    assert_eq!(readiness(&gateway, ""), (200, "degraded".into(), "away".into()));
    assert_eq!(readiness(&gateway, "?strict"), (503, "unready".into(), "away".into()));
    assert_eq!(readiness(&gateway, "?strict=false"), (200, "degraded".into(), "away".into()));
    assert_eq!(readiness(&gateway, "?verbose&strict=yes&_=17"), (503, "unready".into(), "away".into()));
    until_readiness(&strict, 503, "away");
    assert_eq!(gateway.get("/livez").status, 200);
    publishing_fails_at_once(&gateway);
    // A shorter freeze loses nothing, and nothing is told.
    let outage = client.all_until("live");
    redis.thaw();
    assert_one_gap(&mut client, outage, "room:1");
    until_readiness(&gateway, 200, "open");
    until_readiness(&strict, 200, "open");
    assert_eq!(gateway.publish("room:1", "healed"), 1);
    assert_eq!(client.told()["text"], "healed");
}

/// While Redis is away: nothing pretended, nobody kept waiting.
#[track_caller]
fn publishing_fails_at_once(gateway: &Gateway) {
    let begin = Instant::now();
    let answer = gateway.post("/api/publish", r#"{"topic":"room:2","text":"x"}"#);
    let took = begin.elapsed();
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(took < Duration::from_millis(1500), "refused after {took:?}");
    assert!(header(&answer, "retry-after").is_some(), "{}", answer.head);
    assert_eq!(header(&answer, "content-type").as_deref(), Some("application/problem+json"));
    until_logged(gateway, "publications fail topic=room:2");
}

#[test]
fn a_json_client_that_publishes_while_redis_is_away_is_told_unavailable_and_stays() {
    let Some(mut redis) = RedisServer::start() else { return };
    let rule =
        "[[topics]]\nmatch = \"*\"\npublish = \"anyone\"\n[[routes]]\npath = \"/ws\"\non_message = \"publish\"\n";
    let gateway = Gateway::with_toml(rule, &["--redis-url", &redis.url()]).ready();
    let mut client = Client::json_open(&gateway);
    redis.kill();
    until_readiness(&gateway, 200, "away");
    let begin = Instant::now();
    client.say(&json!({"type": "publish", "topic": "room:1", "text": "x", "id": 7}));
    let refused = client.told();
    assert_eq!(
        (&refused["type"], &refused["id"], &refused["code"]),
        (&json!("error"), &json!(7), &json!("unavailable"))
    );
    assert!(begin.elapsed() < Duration::from_millis(1500));
    let (told, address) = (refused["message"].as_str().unwrap(), redis.url().replace("redis://", ""));
    assert!(told.contains("Redis is away") && !told.contains(address.as_str()), "no stranger's business: {told}");
    redis.restart();
    until_readiness(&gateway, 200, "open");
    client.say(&json!({"type": "publish", "topic": "room:1", "text": "x", "id": 8}));
    assert_eq!(client.told(), json!({"type": "published", "id": 8}));
}

#[test]
fn a_link_that_hears_nothing_while_redis_answers_takes_its_replica_out_until_it_hears_again() {
    let Some(redis) = RedisServer::start() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let proxy = runtime.block_on(Proxy::start(redis.port()));
    let gateway = Gateway::start(&["--redis-url", &proxy.url()]).ready();
    let mut client = Client::json(&gateway, &["room:1"]);
    proxy.rule(Class::Subscribers, Rule { swallow_down: true, ..Rule::default() });
    let took = until_readiness(&gateway, 503, "deaf");
    assert!(took <= Duration::from_secs(10), "not ready after {took:?}");
    assert_eq!(gateway.get("/livez").status, 200, "a restart would not help");
    assert_eq!(gateway.post("/api/publish", r#"{"topic":"elsewhere","text":"x"}"#).status, 200);
    proxy.rule(Class::Subscribers, Rule::default());
    assert_one_gap(&mut client, Vec::new(), "room:1");
    until_readiness(&gateway, 200, "open");
    assert_eq!(redis.cli(&["PUBLISH", "fanline:room:1", "heard"]), "1");
    assert_eq!(client.told()["text"], "heard");
}

/// One client, and all that it was told since it subscribed.
struct Ledger {
    client: Client,
    told: Vec<Value>,
}

impl Ledger {
    fn until(&mut self, holds: impl Fn(&Value) -> bool) {
        loop {
            self.told.push(self.client.told());
            if self.told.last().is_some_and(&holds) {
                return;
            }
        }
    }

    /// Nothing lost unannounced, nothing twice, nothing out of order.
    fn check(&self, acknowledged: &[u64]) {
        let (mut last, mut announced) = (None, true);
        for told in &self.told {
            announced |= told["type"] == "gap";
            let Some(number) = told["data"].as_u64() else { continue };
            assert!(last.is_none_or(|last| last < number), "{number} came after {last:?}");
            let lost = acknowledged.iter().find(|&&n| last.is_none_or(|last| n > last) && n < number);
            assert!(announced || lost.is_none(), "{lost:?} was lost between {last:?} and {number}");
            (last, announced) = (Some(number), false);
        }
    }
}

#[test]
fn through_two_restarts_nothing_is_lost_unannounced_nothing_comes_twice_and_nothing_out_of_order() {
    let Some(mut redis) = RedisServer::start() else { return };
    let gateway = Gateway::start(&["--redis-url", &redis.url()]).ready();
    let ledger = |_| Ledger { client: Client::json(&gateway, &["ledger"]), told: Vec::new() };
    let mut ledgers: Vec<_> = (0..4).map(ledger).collect();
    let (port, done) = (redis.port(), AtomicBool::new(false));
    let acknowledged = std::thread::scope(|scope| {
        let producer = scope.spawn(|| produce(port, &done));
        for _ in 0..2 {
            ledgers.iter_mut().for_each(|ledger| ledger.until(|told| told["type"] == "message"));
            redis.restart();
            ledgers.iter_mut().for_each(|ledger| ledger.until(|told| told["type"] == "gap"));
        }
        done.store(true, Ordering::Relaxed);
        producer.join().unwrap()
    });
    for ledger in &mut ledgers {
        ledger.until(|told| told["data"].as_u64() == acknowledged.last().copied());
        ledger.check(&acknowledged);
        assert_eq!(ledger.told.iter().filter(|told| told["type"] == "gap").count(), 2);
    }
}

/// Publishes 1, 2, 3, … over all restarts, and answers those that Redis took to the gateway; the last of
/// them was published after `done`.
fn produce(port: u16, done: &AtomicBool) -> Vec<u64> {
    let (mut acknowledged, mut socket) = (Vec::new(), None);
    for number in 1.. {
        let last = done.load(Ordering::Relaxed);
        let stream = socket.take().or_else(|| TcpStream::connect(("127.0.0.1", port)).ok());
        socket = stream.and_then(|mut stream| {
            if publish(&mut stream, number)? > 0 {
                acknowledged.push(number);
            }
            Some(stream)
        });
        if last && acknowledged.last() == Some(&number) {
            break;
        }
        // A pace that the clients keep up with.
        std::thread::sleep(Duration::from_micros(300));
    }
    acknowledged
}

fn publish(stream: &mut TcpStream, number: u64) -> Option<u64> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "PUBLISH fanline:ledger {number}\r\n").ok()?;
    let mut answer = [0; 64];
    let read = stream.read(&mut answer).ok()?;
    std::str::from_utf8(&answer[..read]).ok()?.trim().strip_prefix(':')?.parse().ok()
}

/// What lasts is said once, and again after a minute: however often it is tried, and in whatever order nodes answer.
#[test]
fn dead_nodes_and_a_refused_canary_are_one_line_each_in_the_log() {
    let Some(redis) = RedisServer::start() else { return };
    let [one, two, three] = [(); 3].map(|()| free_port());
    let url = format!("redis+cluster://127.0.0.1:{one},127.0.0.1:{two},127.0.0.1:{three}");
    let cut_off = Gateway::start(&["--redis-url", &url]);
    redis.cli(&[
        "ACL",
        "SETUSER",
        "mute",
        "on",
        ">secret",
        "resetchannels",
        "&fanline:*",
        "+subscribe",
        "+unsubscribe",
    ]);
    let refused = Gateway::start(&["--redis-url", &redis.url().replace("redis://", "redis://mute:secret@")]);
    eventually("the nodes are tried", || {
        (cut_off.metric("fanline_redis_failures_total{reason=\"unreachable\"}") >= 60.0).then_some(())
    });
    eventually("the canary is refused again", || {
        let stats = redis.cli(&["INFO", "commandstats"]);
        let rejected = stats.split("cmdstat_publish:").nth(1)?.split("rejected_calls=").nth(1)?.split(',').next()?;
        (rejected.parse::<u32>().ok()? >= 3).then_some(())
    });
    let lines = |gateway: &Gateway, what: &str| gateway.log().lines().filter(|line| line.contains(what)).count();
    assert_eq!(lines(&cut_off, "no link; trying again"), 1, "{}", cut_off.log());
    assert_eq!(lines(&refused, "Redis refuses our own PUBLISH"), 1, "{}", refused.log());
    let told: Value = serde_json::from_str(&refused.get("/readyz").body).unwrap();
    assert!(told["cause"].as_str().unwrap().contains("no permissions"), "{told}");
}

#[test]
fn another_reason_why_publications_fail_is_told_at_once_and_with_what_mends_it() {
    let Some(mut redis) = RedisServer::start() else { return };
    let gateway = Gateway::start(&["--redis-url", &redis.url()]).ready();
    let fails = || gateway.post("/api/publish", r#"{"topic":"room:2","text":"x"}"#).status == 503;
    let told = |cause: &str| {
        let log = gateway.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains("publications fail topic=room:2")).collect();
        lines.iter().find(|line| line.contains(cause)).map(|line| (*line).to_owned())
    };
    assert!(!fails(), "it is dialled");
    redis.freeze();
    assert!(fails());
    let line = eventually("that nobody answers is told", || told("no answer within 1 s"));
    redis.kill();
    eventually("and then that nobody is there", || {
        assert!(fails());
        told("Connection refused")
    });
    let lines = || gateway.log().lines().filter(|line| line.contains("publications fail")).count();
    let before = lines();
    (0..50).for_each(|_| assert!(fails()));
    assert!(lines() <= before + 1, "{}", gateway.log());
    assert!(line.contains("mend=\"fanline check-config --connect"), "{line}");
}

#[test]
fn another_reason_why_a_new_master_is_not_followed_is_told_at_once() {
    let Some(watched) = Watched::start() else { return };
    let Some(mut named) = RedisServer::start_with(&["--requirepass", "another"]) else { return };
    named.kill();
    let gateway = Gateway::start(&["--redis-url", &watched.url()]).ready();
    let told = |cause: &str| {
        let is_it = |line: &str| line.contains("no link to the master that Sentinel names") && line.contains(cause);
        gateway.log().lines().any(is_it).then_some(())
    };
    watched.name(named.port());
    eventually("nobody is there", || told("Connection refused"));
    named.restart();
    eventually("it is there, and lets nobody in", || told("refused the greeting"));
}
