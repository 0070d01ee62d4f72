//! Clients written for other bare-WebSocket servers work unchanged with the files of `examples/compat`.

#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/gateway.rs"]
mod gateway;
mod support;

use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::{Value, json};

use foreign::{Foreign, LANGUAGES, Language};
use gateway::{Gateway, binary, eventually, repository};
use support::redis::RedisServer;

/// Long enough for what must not come to have come, on loopback.
const SILENCE: Duration = Duration::from_millis(500);

#[test]
fn every_example_is_a_configuration_that_check_config_accepts() {
    let files = fs::read_dir(repository().join("examples/compat")).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 7);
    for file in files {
        let checked = Command::new(binary()).arg("check-config").arg("--config").arg(&file).output().unwrap();
        assert!(checked.status.success(), "{}: {checked:?}", file.display());
    }
}

#[test]
fn every_dashboard_client_gets_each_json_event_with_its_type_on_either_path() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = Gateway::with_config("examples/compat/dashboard.toml", &["--redis-url", &redis.url()]).ready();
    let mut clients = Vec::new();
    for path in ["/plugin/ws", "/api/ws/ws"] {
        clients.extend(LANGUAGES.map(|language| Foreign::open(language, &gateway.ws_url(path))));
    }
    let events = [json!({"type": "cpu", "value": 7}), json!({"type": "log", "lines": ["ä", "b"]})];
    for event in &events {
        assert_eq!(redis.cli(&["PUBLISH", "fanline:dashboard", &event.to_string()]), "1");
    }
    for client in &clients {
        assert_eq!([client.json(), client.json()], events);
    }
}

#[test]
fn a_dashboard_pings_at_its_interval_where_its_heartbeat_is_on_and_never_where_it_is_off() {
    let gateway = Gateway::with_toml(&impatient_dashboard(), &[]).ready();
    let pinged = Foreign::open(Language::Node, &gateway.ws_url("/plugin/ws"));
    let left_alone = Foreign::open(Language::Node, &gateway.ws_url("/api/ws/ws"));
    for _ in 0..3 {
        pinged.ping();
    }
    assert_eq!(left_alone.for_a_while(SILENCE), Vec::<Value>::new());
}

#[test]
fn failed_dashboard_clients_are_removed_and_the_others_go_on() {
    let gateway = Gateway::with_toml(&impatient_dashboard(), &[]).ready();
    let open = |language| Foreign::open(language, &gateway.ws_url("/plugin/ws"));
    let (stays, crashes, freezes) = (open(Language::Python), open(Language::Node), open(Language::Node));
    assert_eq!(plain_connections(&gateway), 3);
    drop(crashes);
    freezes.freeze();
    eventually("the crashed and the frozen client are removed", || (plain_connections(&gateway) == 1).then_some(()));
    assert_eq!(gateway.metric(r#"fanline_connections_closed_total{reason="no_pong"}"#) as u64, 1);
    gateway.publish("dashboard", r#"{"type":"still here"}"#);
    assert_eq!(stays.json(), json!({"type": "still here"}));
}

#[test]
fn a_crud_client_hears_its_model_and_a_client_without_a_topic_hears_all() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = Gateway::with_config("examples/compat/crud-events.toml", &["--redis-url", &redis.url()]).ready();
    let authors = LANGUAGES.map(|language| Foreign::open(language, &gateway.ws_url("/ws?topic=author")));
    let everything = LANGUAGES.map(|language| Foreign::open(language, &gateway.ws_url("/ws")));
    let books = Foreign::open(Language::Node, &gateway.ws_url("/ws?topic=book"));
    let event = |model: &str, id: u32| json!({"ts": 1.5, "model": model, "method": "update", "id": id, "many": false, "payload": {"name": "ä"}});
    for (model, id) in [("author", 1), ("book", 2)] {
        for topic in [model, "all"] {
            assert_eq!(redis.cli(&["PUBLISH", &format!("fanline:{topic}"), &event(model, id).to_string()]), "1");
        }
    }
    let twice = json!({"topics": ["author", "all"], "data": event("author", 3)});
    let answer = gateway.post("/api/publish", &twice.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    for client in &authors {
        assert_eq!([client.json(), client.json()], [event("author", 1), event("author", 3)]);
    }
    for client in &everything {
        assert_eq!(
            [client.json(), client.json(), client.json()],
            [event("author", 1), event("book", 2), event("author", 3)]
        );
    }
    assert_eq!(books.json(), event("book", 2));
    assert_eq!(books.messages_for_a_while(SILENCE), Vec::<Value>::new());
}

#[test]
fn a_broadcast_clients_text_reaches_all_itself_included() {
    let gateway = Gateway::with_config("examples/compat/broadcast.toml", &[]).ready();
    let mut clients = LANGUAGES.map(|language| Foreign::open(language, &gateway.ws_url("/broadcast")));
    for speaker in 0..clients.len() {
        let text = format!("grüße von {speaker}");
        clients[speaker].send(&text);
        for client in &clients {
            assert_eq!(client.text(), text);
        }
    }
}

#[test]
fn a_chat_rooms_text_reaches_its_other_members_and_no_other_room() {
    let gateway = Gateway::with_config("examples/compat/chat.toml", &[]).ready();
    let open = |language, room: &str| Foreign::open(language, &gateway.ws_url(&format!("/chat/{room}")));
    let (mut ada, mut bob) = (open(Language::Node, "kitchen"), open(Language::Python, "kitchen"));
    let mut eve = open(Language::Node, "cellar");
    ada.send("tea?");
    assert_eq!(bob.text(), "tea?");
    bob.send("yes");
    assert_eq!(ada.text(), "yes");
    eve.send("anybody?");
    for client in [&ada, &bob, &eve] {
        assert_eq!(client.messages_for_a_while(SILENCE), Vec::<Value>::new());
    }
}

#[test]
fn a_chat_room_is_gone_when_its_last_member_is() {
    let gateway = Gateway::with_config("examples/compat/chat.toml", &[]).ready();
    let rooms = || gateway.metric("fanline_topics") as u64;
    let members = LANGUAGES.map(|language| Foreign::open(language, &gateway.ws_url("/chat/kitchen")));
    assert_eq!(rooms(), 1);
    let [first, last] = members;
    first.close();
    eventually("one member is left", || (plain_connections(&gateway) == 1).then_some(()));
    assert_eq!(rooms(), 1);
    last.close();
    eventually("the room is gone", || (rooms() == 0).then_some(()));
}

#[test]
fn an_echo_client_alone_is_answered() {
    let gateway = Gateway::with_config("examples/compat/echo.toml", &[]).ready();
    let mut clients = LANGUAGES.map(|language| Foreign::open(language, &gateway.ws_url("/echo")));
    for client in &mut clients {
        for text in ["hello", "{text}", "ä\n\"b\"", ""] {
            client.send(text);
            assert_eq!(client.text(), format!("Echo: {text}"));
        }
    }
    for client in &clients {
        assert_eq!(client.messages_for_a_while(SILENCE), Vec::<Value>::new());
    }
}

#[test]
fn every_stream_client_gets_what_the_producer_publishes_each_second() {
    let gateway = Gateway::with_config("examples/compat/stream.toml", &[]).ready();
    let clients = LANGUAGES.map(|language| Foreign::open(language, &gateway.ws_url("/stream")));
    let clock = repository().join("examples/clock.py");
    let _producer =
        Running(Command::new("python3").arg(clock).args([&gateway.internal_url(""), "stream"]).spawn().unwrap());
    let heard = clients.each_ref().map(|client| [client.json(), client.json(), client.json()]);
    let numbers = heard[0].each_ref().map(|message| message["number"].as_u64().unwrap());
    assert_eq!(numbers, [0, 1, 2]);
    assert_eq!(heard[0], heard[1]);
}

#[test]
fn a_client_by_id_hears_what_is_for_all_and_what_is_for_it_alone() {
    let gateway = Gateway::with_config("examples/compat/client-id.toml", &[]).ready();
    let [seven, eight] = [(Language::Node, 7), (Language::Python, 8)]
        .map(|(language, id)| Foreign::open(language, &gateway.ws_url(&format!("/ws/{id}"))));
    gateway.publish("client:7", "for seven");
    gateway.publish("client:8", "for eight");
    assert_eq!((seven.text(), eight.text()), ("for seven".into(), "for eight".into()));
    gateway.publish("all", "for everybody");
    assert_eq!((seven.text(), eight.text()), ("for everybody".into(), "for everybody".into()));
}

/// The dashboard's file as it is, but for a heartbeat that a test can wait for.
fn impatient_dashboard() -> String {
    let text = fs::read_to_string(repository().join("examples/compat/dashboard.toml")).expect("the file");
    let hasty =
        text.replace(r#"every = "15s""#, r#"every = "150ms""#).replace(r#"timeout = "10s""#, r#"timeout = "1s""#);
    assert!(hasty.contains("150ms") && hasty.contains(r#""1s""#), "the file's heartbeat has changed");
    hasty
}

fn plain_connections(gateway: &Gateway) -> u64 {
    gateway.metric(r#"fanline_connections{protocol="plain"}"#) as u64
}

/// A child process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
