//! SIGHUP: what may change while running changes, and a bad file changes nothing.

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Client, exchange, knock};
use crate::gateway::{Gateway, eventually};
use crate::support::redis::RedisServer;

const BEFORE: &str = r#"
[internal]
api_keys = ["old:old-secret"]
[limits]
topics = 5
[log]
level = "info"
[[routes]]
path = "/echo"
"#;

const AFTER: &str = r#"
[public]
origins = ["https://app.example"]
[internal]
api_keys = ["new:new-secret"]
[limits]
topics = 2
message = "1KiB"
[log]
level = "debug"
[[topics]]
match = "closed:*"
subscribe = "none"
[[topics]]
match = "*"
publish = "anyone"
[[routes]]
path = "/ws"
on_message = "publish"
[[routes]]
path = "/echo"
on_message = "echo"
echo = "Echo: {text}"
"#;

fn reload(gateway: &Gateway, text: &str) {
    fs::write(gateway.config(), text).unwrap();
    gateway.signal("HUP");
}

fn failures(gateway: &Gateway) -> u64 {
    gateway.metric("fanline_reload_failures_total") as u64
}

fn publishes(gateway: &Gateway, key: &str) -> u16 {
    let request =
        format!("POST /api/publish?topic=a HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\nContent-Length: 1\r\n\r\nx");
    exchange(gateway.internal(), request.as_bytes()).status
}

pub fn until_logged(gateway: &Gateway, words: &str) {
    eventually(words, || gateway.log().contains(words).then_some(()));
}

#[test]
fn rules_rights_limits_origins_keys_and_log_level_change_without_a_restart() {
    let gateway = Gateway::with_toml(BEFORE, &[]).ready();
    let mut client = Client::json(&gateway, &["closed:1"]);
    client.say(&json!({"type": "publish", "topic": "a", "text": "x", "id": 1}));
    assert_eq!(client.told()["code"], "forbidden");
    assert_eq!((publishes(&gateway, "old-secret"), publishes(&gateway, "new-secret")), (200, 401));
    assert_eq!(knock(&gateway, "/ws", "Origin: https://evil.example\r\n").status, 101);
    assert!(!gateway.log().contains("DEBUG"));
    reload(&gateway, AFTER);
    until_logged(&gateway, "configuration reloaded");
    let log = gateway.log();
    for told in ["limits.topics: 5 -> 2", "topics[\"closed:*\"] is new", "[\"old:***\"] -> [\"new:***\"]"] {
        assert!(log.replace('\\', "").contains(told), "{told}: {log}");
    }
    client.say(&json!({"type": "publish", "topic": "a", "text": "x", "id": 2}));
    assert_eq!(client.told(), json!({"type": "published", "id": 2}), "the topic's rule and the route's right");
    client.say(&json!({"type": "subscribe", "topic": "closed:2", "id": 3}));
    assert_eq!(client.told()["code"], "forbidden", "the topic's rule");
    client.say(&json!({"type": "subscribe", "topics": ["a", "b"], "id": 4}));
    let answers = [client.told(), client.told()];
    assert!(answers.iter().any(|told| told["code"] == "too_many_topics"), "the limit: {answers:?}");
    assert_eq!((publishes(&gateway, "old-secret"), publishes(&gateway, "new-secret")), (401, 200));
    assert_eq!(knock(&gateway, "/ws", "Origin: https://evil.example\r\n").status, 403);
    let mut plain = Client::open(&gateway.ws_url("/echo"));
    plain.send("hi".into());
    assert_eq!(plain.text(), "Echo: hi", "the route's right");
    plain.send("x".repeat(1025).into());
    assert_eq!(plain.closed().0, 1009, "the limit of new clients");
    client.send("x".repeat(1025).into());
    assert_eq!(client.until("goodbye")["code"], 1009, "the limit of clients that were there");
    until_logged(&gateway, "DEBUG");
    assert_eq!(failures(&gateway), 0);
}

#[test]
fn a_bad_file_keeps_the_old_settings_is_counted_and_says_why() {
    let gateway = Gateway::with_toml(BEFORE, &[]).ready();
    for (count, bad) in [(1, "[limits]\ntopics = \"many\"\n"), (2, "[limts]\ntopics = 5\n"), (3, "no toml")] {
        reload(&gateway, bad);
        eventually("it is counted", || (failures(&gateway) == count).then_some(()));
    }
    fs::remove_file(gateway.config()).unwrap();
    gateway.signal("HUP");
    eventually("a missing file too", || (failures(&gateway) == 4).then_some(()));
    ["limits.topics", "did you mean"].iter().for_each(|words| until_logged(&gateway, words));
    assert_eq!(publishes(&gateway, "old-secret"), 200);
    reload(&gateway, AFTER);
    until_logged(&gateway, "configuration reloaded");
    assert_eq!((publishes(&gateway, "new-secret"), failures(&gateway)), (200, 4));
}

#[test]
fn a_reload_that_changes_nothing_says_so() {
    let gateway = Gateway::with_toml(BEFORE, &[]).ready();
    gateway.signal("HUP");
    until_logged(&gateway, "configuration reloaded: nothing in force changed");
}

/// What rules protected must not be open because their file went away.
#[test]
fn a_file_that_was_read_must_be_there_and_say_something() {
    let gateway = Gateway::with_default_toml(BEFORE).ready();
    let file = gateway.default_config();
    let mut expected = 0;
    let mut refused = |why: &str| {
        gateway.signal("HUP");
        expected += 1;
        eventually(why, || (failures(&gateway) == expected).then_some(()));
        assert_eq!(publishes(&gateway, "old-secret"), 200, "{why}");
        until_logged(&gateway, why);
    };
    fs::remove_file(&file).unwrap();
    refused("No such file");
    fs::write(&file, "\n").unwrap();
    refused("the file is empty now");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    refused("Is a directory");
    fs::remove_dir(&file).unwrap();
    std::os::unix::fs::symlink("nowhere.toml", &file).unwrap();
    refused("No such file");
    fs::remove_file(&file).unwrap();
    fs::write(&file, "[internal]\napi_keys_file = \"gone\"\n").unwrap();
    refused("internal.api_keys_file");
    assert!(!gateway.log().contains("configuration reloaded"), "{}", gateway.log());
    fs::write(&file, "# nothing\n").unwrap();
    gateway.signal("HUP");
    until_logged(&gateway, "configuration reloaded");
    until_logged(&gateway, "***\\\"] -> []");
}

#[test]
fn a_file_that_comes_later_is_read_and_must_stay() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let file = gateway.default_config();
    fs::write(&file, BEFORE).unwrap();
    gateway.signal("HUP");
    until_logged(&gateway, "fanline.toml is read from now on");
    until_logged(&gateway, "configuration reloaded");
    assert_eq!(publishes(&gateway, "old-secret"), 200);
    fs::remove_file(&file).unwrap();
    gateway.signal("HUP");
    eventually("it is missed", || (failures(&gateway) == 1).then_some(()));
    assert_eq!(publishes(&gateway, "old-secret"), 200);
}

#[test]
fn what_needs_a_restart_is_named_and_not_taken_over() {
    let gateway = Gateway::with_toml(BEFORE, &[]).ready();
    let changed = BEFORE.to_owned() + "[heartbeat]\nevery = \"1s\"\n[[routes]]\npath = \"/new\"\n";
    reload(&gateway, &changed);
    until_logged(&gateway, "need a restart");
    let log = gateway.log();
    assert!(log.contains("heartbeat.every") && log.contains("routes[") && log.contains("/new"), "{log}");
    assert_eq!(knock(&gateway, "/new", "").status, 404);
    assert!(TcpStream::connect(gateway.public()).is_ok());
}

/// Whether the function is there, and knows of the rule.
fn has_function(redis: &RedisServer) -> bool {
    redis.cli(&["FUNCTION", "LIST", "LIBRARYNAME", "fanline1", "WITHCODE"]).contains("name = 'h:'")
}

#[test]
fn a_rule_that_gains_a_history_brings_the_function_at_once() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = Gateway::with_toml("[[topics]]\nmatch = \"h:*\"\n", &["--redis-url", &redis.url()]).ready();
    assert!(!has_function(&redis));
    reload(&gateway, "[[topics]]\nmatch = \"h:*\"\nhistory_size = 5\n");
    let began = Instant::now();
    eventually("the function is there", || has_function(&redis).then_some(()));
    // Masters are met anew every thirty seconds.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(redis.cli(&["FCALL", "fanline_publish", "1", "fanline:h:a", "hi"]).contains('-'), "a position");
}
