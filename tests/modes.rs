//! Histories in every mode of Redis, met from outside: positions, the function, resuming on another replica, and a failover
//! that who listens does not notice. Each on real servers, by `RedisServer`.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

#[path = "support/client.rs"]
mod client;
#[path = "support/gateway.rs"]
mod gateway;
mod support;

use serde_json::{Value, json};

use client::Client;
use gateway::{Gateway, eventually};
use support::cluster::Cluster;
use support::redis::RedisServer;
use support::sentinel::Watched;

const RULE: &str = "[[topics]]\nmatch = \"h:*\"\nhistory_size = 100\n";

/// Spread over the slots, and so over masters and homes.
const TOPICS: usize = 12;

fn replicas(url: &str, more: &[&str]) -> [Gateway; 2] {
    let redis = format!("redis.url={url}");
    [(); 2].map(|()| Gateway::with_toml(RULE, &[&["--set", &redis], more].concat()).ready())
}

fn topics() -> Vec<String> {
    (0..TOPICS).map(|n| format!("h:{n}")).collect()
}

/// Publishes a text until it is taken, and answers its position.
#[track_caller]
fn publish(gateway: &Gateway, topic: &str, text: &str) -> String {
    let body = json!({ "topic": topic, "text": text, "idempotency_key": text }).to_string();
    eventually("it is published", || {
        let answer: Value = serde_json::from_str(&gateway.post("/api/publish", &body).body).unwrap();
        answer["topics"][topic]["position"].as_str().map(str::to_owned)
    })
}

/// The texts of the next messages, of each topic in order; nothing else may come.
#[track_caller]
fn texts(client: &mut Client, count: usize) -> Vec<(String, String)> {
    let mut heard: Vec<_> = (0..count)
        .map(|_| {
            let told = client.told();
            assert_eq!(told["type"], "message", "{told}");
            (told["topic"].as_str().unwrap().to_owned(), told["text"].as_str().unwrap().to_owned())
        })
        .collect();
    heard.sort_by(|a, b| a.0.cmp(&b.0));
    heard
}

fn all(texts: &[&str]) -> Vec<(String, String)> {
    let mut topics = topics();
    topics.sort();
    topics.into_iter().flat_map(|topic| texts.iter().map(move |text| (topic.clone(), (*text).to_owned()))).collect()
}

/// Publishes, resumes on the other replica, and calls the function where a topic lives, `server` says where.
fn keeps_and_resumes(gateways: &[Gateway; 2], server: impl Fn(&str) -> RedisCli) -> (Client, Vec<String>) {
    let [one, two] = gateways;
    let topics = topics();
    let mut listener = Client::json(two, &topics.iter().map(String::as_str).collect::<Vec<_>>());
    let first: Vec<String> = topics.iter().map(|topic| publish(one, topic, "a")).collect();
    assert_eq!(texts(&mut listener, TOPICS), all(&["a"]));
    for topic in &topics {
        let call = ["FCALL", "fanline_publish", "1", &format!("fanline:{topic}"), "b"].map(str::to_owned);
        let answer =
            eventually("the function is there", || Some(server(topic)(&call)).filter(|said| said.contains('-')));
        assert!(!answer.contains("ERR"), "{answer}");
    }
    assert_eq!(texts(&mut listener, TOPICS), all(&["b"]));
    let mut back = Client::json_open(one);
    let since: serde_json::Map<String, Value> = topics.iter().cloned().zip(first.iter().map(|at| json!(at))).collect();
    back.say(&json!({ "type": "subscribe", "topics": since }));
    let mut heard = Vec::new();
    while heard.len() < TOPICS {
        let told = back.told();
        match told["type"].as_str().unwrap() {
            "subscribed" => assert_eq!(told["recovered"], true, "{told}"),
            "message" => heard.push((told["topic"].clone(), told["text"].clone())),
            _ => panic!("{told}"),
        }
    }
    assert!(heard.iter().all(|(_, text)| text == "b"), "{heard:?}");
    (listener, first)
}

type RedisCli = Box<dyn Fn(&[String]) -> String>;

fn cli(port: u16) -> RedisCli {
    Box::new(move |args| {
        let output =
            std::process::Command::new("redis-cli").args(["-p", &port.to_string()]).args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    })
}

/// What was published before is there on every replica of its master.
fn settled(server: &RedisServer) {
    eventually("it is replicated", || (server.cli(&["WAIT", "1", "100"]) != "0").then_some(()));
}

fn in_a_cluster(sharded: bool) {
    let Some(mut cluster) = Cluster::start() else { return };
    let sharding = format!("redis.sharded={sharded}");
    let gateways = replicas(&cluster.url(), &["--set", &sharding]);
    let (mut listener, _) =
        keeps_and_resumes(&gateways, |topic| cli(cluster.nodes()[cluster.owner(&format!("fanline:{topic}"))].port()));
    let master = cluster.owner("fanline:h:0");
    cluster.masters().into_iter().for_each(|master| settled(&cluster.nodes()[master]));
    cluster.kill(master);
    for topic in topics() {
        publish(&gateways[0], &topic, "c");
    }
    assert_eq!(texts(&mut listener, TOPICS), all(&["c"]), "nobody noticed");
}

#[test]
fn a_cluster_keeps_histories_and_a_failover_is_healed_unnoticed() {
    in_a_cluster(false);
}

#[test]
fn a_sharded_cluster_keeps_histories_and_a_failover_is_healed_unnoticed() {
    in_a_cluster(true);
}

#[test]
fn under_sentinel_histories_follow_the_master_and_a_failover_is_healed_unnoticed() {
    let Some(watched) = Watched::start() else { return };
    let gateways = replicas(&watched.url(), &[]);
    let port = watched.servers()[0].port();
    let (mut listener, _) = keeps_and_resumes(&gateways, |_| cli(port));
    settled(&watched.servers()[0]);
    // Not on request: what the old master took afterwards would be gone with it, and be told as a gap.
    watched.servers()[0].freeze();
    watched.until_named(1);
    for topic in topics() {
        publish(&gateways[0], &topic, "c");
    }
    assert_eq!(texts(&mut listener, TOPICS), all(&["c"]), "nobody noticed");
}

#[test]
fn several_redis_keep_each_its_own_histories() {
    let Some(redis) = [RedisServer::start(), RedisServer::start()].into_iter().collect::<Option<Vec<_>>>() else {
        return;
    };
    let url = [redis[0].url(), redis[1].url()].join(",");
    let gateways = replicas(&url, &[]);
    let home = |topic: &str| {
        let owner = redis.iter().find(|redis| redis.cli(&["EXISTS", &format!("{{fanline:{topic}}}:last")]) == "1");
        cli(owner.unwrap().port())
    };
    keeps_and_resumes(&gateways, home);
    let kept = redis.iter().map(|redis| redis.cli(&["DBSIZE"]).parse::<usize>().unwrap()).collect::<Vec<_>>();
    assert!(kept.iter().all(|&keys| keys > 0), "{kept:?}");
}
