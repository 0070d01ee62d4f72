//! Signs of life, in both directions, and what becomes of those who give none.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::Client;
use crate::foreign::{Foreign, LANGUAGES, Language};
use crate::gateway::{Gateway, eventually};
use crate::support::proxy::{Class, Proxy, Rule};

/// A heartbeat that a test can wait for.
const QUICK: &str = "[heartbeat]\nevery = \"200ms\"\ntimeout = \"1s\"\n";

fn closed(gateway: &Gateway, reason: &str) -> u64 {
    gateway.metric(&format!("fanline_connections_closed_total{{reason=\"{reason}\"}}")) as u64
}

#[test]
fn a_silent_client_is_pinged_and_one_that_answers_stays() {
    let gateway = Gateway::with_toml(QUICK, &[]).ready();
    let clients = LANGUAGES.map(|language| Foreign::open(language, &gateway.ws_url("/ws?topic=a")));
    let pinged = Foreign::open(Language::Node, &gateway.ws_url("/ws?topic=a"));
    for _ in 0..8 {
        pinged.ping();
    }
    assert_eq!(gateway.publish("a", "still here"), 1);
    for client in clients.iter().chain([&pinged]) {
        assert_eq!(client.text(), "still here");
    }
    assert_eq!(closed(&gateway, "no_pong"), 0);
}

#[test]
fn a_half_open_peer_is_evicted_in_time() {
    let gateway = Gateway::with_toml(QUICK, &[]).ready();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let proxy = runtime.block_on(Proxy::start(gateway.public().port()));
    let behind = proxy.url().replace("redis://", "ws://");
    let mut half_open = Client::open(&format!("{behind}/ws?topic=a"));
    let mut json = Client::open_as(&format!("{behind}/ws?topic=a"), Some("fanline.json"));
    half_open.ping();
    json.ping();
    proxy.rule(Class::Commands, Rule { swallow_up: true, swallow_down: true, ..Rule::default() });
    let begin = Instant::now();
    eventually("both are evicted", || (closed(&gateway, "no_pong") == 2).then_some(()));
    assert!(begin.elapsed() < Duration::from_secs(4), "after {:?}", begin.elapsed());
    let connections = || gateway.metric(r#"fanline_connections{protocol="plain"}"#) as u64;
    eventually("nobody is connected", || (connections() == 0).then_some(()));
    eventually("nobody subscribes", || (gateway.metric("fanline_subscriptions") as u64 == 0).then_some(()));
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let gateway = Gateway::with_toml("[heartbeat]\nevery = \"200ms\"\ntimeout = \"300ms\"\n", &[]).ready();
    let mut client = Client::json_open(&gateway);
    let begin = Instant::now();
    // It never reads a ping while it talks, so it answers none.
    while begin.elapsed() < Duration::from_secs(2) {
        let ping = br#"{"type":"ping"}"#;
        write_masked(&mut client, ping);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(closed(&gateway, "no_pong"), 0);
    assert_eq!(client.told()["type"], "pong");
}

/// The ping stands behind all that waits, here and in the kernel: longer than the timeout.
#[test]
fn a_client_that_reads_is_not_evicted_however_much_stands_before_its_ping() {
    use std::io::Read;
    let config =
        "[heartbeat]\nevery = \"200ms\"\ntimeout = \"1500ms\"\n[[topics]]\nmatch = \"t\"\non_full = \"drop_newest\"\n";
    let gateway = Gateway::with_toml(config, &[]).ready();
    let mut client = Client::json(&gateway, &["t"]);
    let request = json!({ "topic": "t", "data": "x".repeat(128 * 1024) }).to_string();
    let waits = || gateway.metric("fanline_outbox_bytes") > 0.0;
    let (begin, mut chunk) = (Instant::now(), vec![0; 64 * 1024]);
    while begin.elapsed() < Duration::from_secs(5) {
        while !waits() {
            assert_eq!(closed(&gateway, "no_pong"), 0, "it reads");
            gateway.post("/api/publish", &request);
        }
        // It answers no ping; it reads some 3 MiB a second.
        client.raw().read_exact(&mut chunk).expect("it is not evicted");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(closed(&gateway, "no_pong"), 0);
    eventually("it is evicted when it stops", || (closed(&gateway, "no_pong") == 1).then_some(()));
}

/// Until the connection's end, past the library, which would answer pings.
fn all_read(client: &mut Client) -> Vec<u8> {
    use std::io::Read;
    let mut read = Vec::new();
    client.raw().read_to_end(&mut read).expect("an end, and no reset");
    read
}

#[test]
fn a_client_that_reads_and_answers_no_ping_is_told_that_it_showed_no_life() {
    let gateway = Gateway::with_toml(QUICK, &[]).ready();
    let mut plain = Client::open(&gateway.ws_url("/ws?topic=a"));
    let mut json = Client::json_open(&gateway);
    let close = [&[0x88, 9][..], &4201_u16.to_be_bytes(), b"no pong"].concat();
    for client in [&mut plain, &mut json] {
        let read = all_read(client);
        assert!(read.starts_with(&[0x89]), "it is pinged first: {read:?}");
        assert!(read.ends_with(&close), "{:?}", String::from_utf8_lossy(&read));
    }
    drop((plain, json));
    eventually("both are counted", || (closed(&gateway, "no_pong") == 2).then_some(()));
}

/// A text frame, with a mask of zeros, past the library, which would answer pings.
fn write_masked(client: &mut Client, text: &[u8]) {
    use std::io::Write;
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(text);
    client.raw().write_all(&frame).unwrap();
}

#[test]
fn a_heartbeat_text_arrives_as_a_text_in_place_of_a_ping() {
    let text = "[heartbeat]\nevery = \"100ms\"\ntimeout = \"20s\"\ntext = '{\"type\":\"heartbeat\"}'\n";
    let gateway = Gateway::with_toml(text, &[]).ready();
    for language in LANGUAGES {
        let client = Foreign::open(language, &gateway.ws_url("/ws?topic=a"));
        assert_eq!([client.json(), client.json()], [json!({"type": "heartbeat"}), json!({"type": "heartbeat"})]);
    }
}

#[test]
fn a_json_ping_is_answered_by_a_pong() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let mut client = Client::json_open(&gateway);
    client.say(&json!({"type": "ping"}));
    assert_eq!(client.told(), json!({"type": "pong"}));
    client.say(&json!({"type": "ping", "id": "a"}));
    assert_eq!(client.told(), json!({"type": "pong", "id": "a"}));
}

#[test]
fn a_route_has_its_own_heartbeat_and_says_so_in_its_welcome() {
    let text =
        "[heartbeat]\nevery = \"25s\"\n[[routes]]\npath = \"/quick\"\nprotocol = \"json\"\nheartbeat.every = \"1s\"\n";
    let gateway = Gateway::with_toml(text, &[]).ready();
    let mut client = Client::open(&gateway.ws_url("/quick"));
    assert_eq!(client.until("welcome")["heartbeat"], 1000);
    assert_eq!(Client::open(&gateway.ws_url("/ws?protocol=json")).until("welcome")["heartbeat"], 25_000);
}
