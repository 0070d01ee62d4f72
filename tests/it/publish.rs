//! `POST /api/publish`, and clients that publish where they may.

use std::net::TcpStream;

use serde_json::{Value, json};
use tungstenite::Message;

use crate::client::{Client, exchange, header};
use crate::gateway::{Answer, Gateway, eventually};
use crate::reload::until_logged;
use crate::support::redis::RedisServer;

/// Everybody may publish, everywhere but on `news`; `/talk` publishes what plain clients send.
const OPEN: &str = r#"
[[topics]]
match = "news"
[[topics]]
match = "small:*"
publication = "10B"
publish = "anyone"
[[topics]]
match = "*"
publish = "anyone"
[[routes]]
path = "/ws"
on_message = "publish"
[[routes]]
path = "/listen"
[[routes]]
path = "/talk"
on_message = "publish"
query_topics = "topic"
[[routes]]
path = "/echo-all"
on_message = "publish"
include_sender = true
query_topics = "topic"
"#;

#[test]
fn what_is_ignored_in_a_command_is_named_once_and_counts_for_nothing() {
    let gateway = Gateway::with_toml("[limits]\nmessages_per_second = 1\nburst = 6\n", &[]).ready();
    let mut client = Client::json_open(&gateway);
    client.say(&json!({"type": "subscribe", "topic": "a", "lats": 5, "id": 1}));
    let warning = client.told();
    assert_eq!(warning["type"], "warning");
    assert!(warning["message"].as_str().unwrap().starts_with("\"lats\" means nothing"), "{warning}");
    assert_eq!((client.told()["type"].clone(), client.told_so_far().len()), ("subscribed".into(), 0));
    client.say(&json!({"type": "subscribe", "topic": "b", "lats": 5, "id": 2}));
    client.say(&json!({"type": "ping", "x": 1, "id": 3}));
    client.say(&json!({"type": "subscribe", "topic": "a", "last": 1, "id": 4}));
    let mut told: Vec<_> = (0..3).map(|_| client.told()).collect();
    // A pong does not wait for the topics.
    told.sort_by_key(|told| told["id"].as_u64());
    assert_eq!(told.iter().map(|told| told["id"].as_u64()).collect::<Vec<_>>(), [Some(2), Some(3), Some(4)]);
    assert_eq!(told[2]["code"], "bad_message", "it listens already: {}", told[2]);
}

#[test]
fn data_nests_only_as_deep_as_listeners_read_and_deeper_text_comes_as_text() {
    let gateway = Gateway::with_toml(OPEN, &[]).ready();
    let (mut client, mut listener) = (Client::json_open(&gateway), Client::json(&gateway, &["t"]));
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let publish = |data: &str| format!(r#"{{"type":"publish","topic":"t","data":{data},"id":1}}"#);
    client.send(publish(&deep(32_000 / 2)).into());
    assert_eq!(client.told()["code"], "bad_message");
    assert_eq!(gateway.post("/api/publish", &format!(r#"{{"topic":"t","data":{}}}"#, deep(61))).status, 400);
    client.send(publish(&deep(60)).into());
    assert_eq!(client.told()["type"], "published");
    assert!(listener.told()["data"].is_array());
    gateway.publish("t", &deep(20_000));
    assert_eq!(listener.told()["text"], deep(20_000), "what a producer publishes raw is its own");
}

#[test]
fn a_topic_named_twice_is_published_to_once() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let mut listener = Client::json(&gateway, &["t"]);
    assert_eq!(gateway.post("/api/publish", r#"{"topics":["t","t"],"text":"once"}"#).status, 200);
    gateway.publish("t", "next");
    assert_eq!([listener.told(), listener.told()].map(|told| told["text"].clone()), ["once", "next"]);
}

fn post(gateway: &Gateway, head: &str, path: &str, body: &[u8]) -> Answer {
    let mut request =
        format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    request.extend_from_slice(body);
    exchange(gateway.internal(), &request)
}

fn body(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body))
}

/// What a json client reads of a payload.
fn payload(message: &Value) -> Value {
    let members = ["data", "text", "b64"].into_iter().filter(|member| message.get(member).is_some());
    let found: Vec<_> = members.map(|member| json!({ member: message[member] })).collect();
    let [payload] = found.as_slice() else { panic!("{message}") };
    payload.clone()
}

/// Through Redis with a history and without, and without Redis: the kind travels wherever a header does.
#[test]
fn what_is_published_as_text_json_or_bytes_arrives_as_such_whoever_publishes_it() {
    let Some(redis) = RedisServer::start() else { return };
    let text = format!("[[topics]]\nmatch = \"kept\"\nhistory_size = 10\npublish = \"anyone\"\n{OPEN}");
    let gateway = Gateway::with_toml(&text, &["--redis-url", &redis.url()]).ready();
    let alone = Gateway::with_toml(&text, &[]).ready();
    for (gateway, topic) in [(&gateway, "bare"), (&gateway, "kept"), (&alone, "bare")] {
        let mut json = Client::json(gateway, &[topic]);
        let mut plain = Client::open(&gateway.ws_url(&format!("/listen?topic={topic}")));
        let mut sender = Client::json_open(gateway);
        for (member, value, arrives, bytes) in [
            (
                "text",
                json!("110988663231921363"),
                json!({"text": "110988663231921363"}),
                (&b"110988663231921363"[..], true),
            ),
            ("text", json!("null"), json!({"text": "null"}), (b"null", true)),
            ("data", json!({"a": 1}), json!({"data": {"a": 1}}), (br#"{"a":1}"#, true)),
            ("b64", json!("aGk="), json!({"b64": "aGk="}), (b"hi", false)),
        ] {
            let answer = gateway.post("/api/publish", &json!({"topic": topic, member: value}).to_string());
            assert_eq!(answer.status, 200, "{answer:?}");
            sender.say(&json!({"type": "publish", "topic": topic, member: value}));
            for _ in 0..2 {
                assert_eq!(payload(&json.until("message")), arrives, "{topic} {member}");
                assert_eq!(plain.payload(), (bytes.0.to_vec(), bytes.1), "{topic} {member}");
            }
        }
        let raw = post(gateway, "", &format!("/api/publish?topic={topic}&type=text"), b"{}");
        assert_eq!((raw.status, payload(&json.until("message"))), (200, json!({"text": "{}"})));
        assert_eq!(plain.payload(), (b"{}".to_vec(), true));
        let refused = post(gateway, "", &format!("/api/publish?topic={topic}&type=xml"), b"{}");
        assert_eq!((refused.status, refused.body.contains("binary")), (400, true), "{refused:?}");
    }
    let mut json = Client::json(&gateway, &["bare", "kept"]);
    redis.cli(&["PUBLISH", "fanline:bare", "\x1eFL1{\"type\":\"text\"}\n7"]);
    assert_eq!(payload(&json.until("message")), json!({"text": "7"}));
    redis.cli(&["PUBLISH", "fanline:bare", "\x1eFL1{\"type\":\"a word of a later version\"}\n7"]);
    assert_eq!(payload(&json.until("message")), json!({"data": 7}));
    redis.cli(&["FCALL", "fanline_publish", "1", "fanline:kept", "7", "TYPE", "text"]);
    assert_eq!(payload(&json.until("message")), json!({"text": "7"}));
    let refused = redis.cli(&["FCALL", "fanline_publish", "1", "fanline:kept", "7", "TYPE", "xml"]);
    assert!(refused.contains("TYPE is xml") && refused.contains("binary"), "{refused}");
    let kept = body(&gateway.get("/api/history?topic=kept"));
    let kept: Vec<_> = kept["publications"].as_array().unwrap().iter().map(payload).collect();
    assert_eq!(kept[kept.len() - 3..], [json!({"b64": "aGk="}), json!({"text": "{}"}), json!({"text": "7"})]);
}

/// A plain client's bytes stay bytes, whatever they could be read as; its text may be JSON to a json client.
#[test]
fn what_a_plain_client_sends_in_bytes_arrives_in_bytes() {
    let gateway = Gateway::with_toml(OPEN, &[]).ready();
    let mut json = Client::json(&gateway, &["a"]);
    let mut plain = Client::open(&gateway.ws_url("/listen?topic=a"));
    let mut talker = Client::open(&gateway.ws_url("/talk?topic=a"));
    talker.send(Message::binary(b"hi".to_vec()));
    assert_eq!((payload(&json.until("message")), plain.payload()), (json!({"b64": "aGk="}), (b"hi".to_vec(), false)));
    talker.send(Message::text("{}"));
    assert_eq!((payload(&json.until("message")), plain.payload()), (json!({"data": {}}), (b"{}".to_vec(), true)));
}

#[test]
fn a_request_is_answered_with_how_many_replicas_listened() {
    let Some(redis) = RedisServer::start() else { return };
    let [a, b] = [(); 2].map(|()| Gateway::start(&["--redis-url", &redis.url()]).ready());
    let mut clients = [Client::json(&a, &["room:42"]), Client::json(&b, &["room:42"])];
    let answer = a.post("/api/publish", r#"{"topic":"room:42","data":{"x": 1.0}}"#);
    assert_eq!((answer.status, body(&answer)), (200, json!({"topics": {"room:42": {"replicas": 2}}})));
    for client in &mut clients {
        assert!(client.text().contains(r#""data":{"x": 1.0}"#), "byte for byte");
    }
    let nobody = a.post("/api/publish", r#"{"topics":["room:42","empty"],"text":"hi"}"#);
    assert_eq!(
        (nobody.status, body(&nobody)),
        (200, json!({"topics": {"room:42": {"replicas": 2}, "empty": {"replicas": 0}}}))
    );
    for client in &mut clients {
        assert_eq!(client.told()["text"], "hi");
    }
}

#[test]
fn every_form_of_a_payload_arrives_and_event_and_time_travel_with_it() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let (mut json, mut plain) = (Client::json(&gateway, &["t"]), Client::open(&gateway.ws_url("/ws?topic=t")));
    assert_eq!(gateway.post("/api/publish", r#"{"topic":"t","b64":"AP+A","event":"alarm","key":"k"}"#).status, 200);
    let told = json.told();
    assert_eq!((&told["b64"], &told["event"]), (&json!("AP+A"), &json!("alarm")));
    assert!(told["ts"].as_u64().unwrap() > 1_700_000_000_000, "{told}");
    assert_eq!(plain.payload(), (vec![0, 0xff, 0x80], false));
    let raw = post(&gateway, "", "/api/publish?topic=t&event=e", b"\x1eFL1{\"event\":\"forged\"}\n\xff");
    assert_eq!((raw.status, body(&raw)), (200, json!({"topics": {"t": {"replicas": 1}}})));
    assert_eq!(json.told()["event"], "e", "a body that looks like a header is payload");
    assert_eq!(plain.payload().0, b"\x1eFL1{\"event\":\"forged\"}\n\xff");
}

#[test]
fn a_bad_request_is_told_its_field_as_a_problem() {
    let gateway = Gateway::with_toml(OPEN, &[]).ready();
    for (request, status, field) in [
        (r#"{"topic":"a","text":"b""#, 400, "body"),
        (r#"{"topic":"a","txt":"b"}"#, 400, "body"),
        (r#"{"text":"b"}"#, 400, "topic"),
        (r#"{"topic":"a","topics":["b"],"text":"b"}"#, 400, "topic"),
        (r#"{"topic":"@replica:x","text":"b"}"#, 400, "topic"),
        (r#"{"topic":"a b","text":"b"}"#, 400, "topic"),
        (r#"{"topics":[],"text":"b"}"#, 400, "topics"),
        (r#"{"topic":"a"}"#, 400, "data"),
        (r#"{"topic":"a","text":"b","data":1}"#, 400, "data"),
        (r#"{"topic":"a","b64":"*"}"#, 400, "b64"),
        (r#"{"topic":"small:1","text":"more than ten"}"#, 413, "data"),
    ] {
        let answer = gateway.post("/api/publish", request);
        let problem = body(&answer);
        assert_eq!((answer.status, problem["field"].as_str()), (status, Some(field)), "{request}: {problem}");
        assert_eq!(header(&answer, "content-type").as_deref(), Some("application/problem+json"));
        assert_eq!(problem["status"], status);
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{problem}");
    }
    let huge = "x".repeat(900 * 1024);
    let answer = gateway.post("/api/publish", &json!({"topic": "a", "text": huge}).to_string());
    assert_eq!(answer.status, 413, "{}", answer.body);
}

/// What is answered 200 travels: nothing that the API takes makes a header which the gateway itself would not read.
#[test]
fn what_the_api_takes_arrives_however_long_its_header_and_what_would_not_is_refused() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = Gateway::start(&["--redis-url", &redis.url()]).ready();
    let mut listener = Client::json(&gateway, &["t"]);
    let (name, id) = ("\u{1}".repeat(200), format!("{}.1", "r".repeat(126)));
    let most = json!({"topic": "t", "text": "hi", "event": name, "key": name, "except": vec![&id; 400]});
    let answer = gateway.post("/api/publish", &most.to_string());
    assert_eq!((answer.status, body(&answer)), (200, json!({"topics": {"t": {"replicas": 1}}})));
    let told = listener.told();
    assert_eq!((&told["text"], &told["event"]), (&json!("hi"), &json!(name)), "told {told}");
    for (field, value) in [
        ("event", json!("e".repeat(201))),
        ("key", json!("k".repeat(201))),
        ("except", json!(vec![&id; 401])),
        ("except", json!(["r".repeat(129)])),
        ("except", json!(["\u{1}.1"])),
        ("except", json!([""])),
    ] {
        let mut request = json!({"topic": "t", "text": "hi"});
        request[field] = value;
        let answer = gateway.post("/api/publish", &request.to_string());
        assert_eq!((answer.status, body(&answer)["field"].as_str()), (400, Some(field)), "{}", answer.body);
    }
    let long = post(&gateway, "", &format!("/api/publish?topic=t&key={}", "k".repeat(201)), b"x");
    assert_eq!((long.status, body(&long)["field"].as_str()), (400, Some("key")), "{}", long.body);
}

#[test]
fn a_query_that_is_misspelt_or_names_no_topic_is_told_what_to_write() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let mut listener = Client::json(&gateway, &["t"]);
    for (query, said) in [
        ("topic=t&evnet=e", ["\"evnet\"", "topic, event, key, type, idempotency_key and except"]),
        ("pretty", ["\"pretty\"", "topic, event, key, type, idempotency_key and except"]),
        ("event=e", ["?topic=", "drop the query"]),
        ("&", ["?topic=", "drop the query"]),
    ] {
        let answer = gateway.post(&format!("/api/publish?{query}"), r#"{"topic":"t","text":"lost"}"#);
        let problem = body(&answer);
        assert_eq!((answer.status, problem["field"].as_str()), (400, Some("query")), "{query}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(said.iter().all(|said| detail.contains(said)), "{query}: {detail}");
    }
    gateway.publish("t", "only");
    assert_eq!(listener.told()["text"], "only", "nothing of the above was published");
}

#[test]
fn a_raw_body_reaches_all_but_those_that_the_query_excepts() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let mut excepted: Vec<_> =
        (0..3).map(|_| Client::open_as(&gateway.ws_url("/ws?topic=t"), Some("fanline.json"))).collect();
    let ids: Vec<_> =
        excepted.iter_mut().map(|client| client.until("welcome")["connection"].as_str().unwrap().to_owned()).collect();
    excepted.iter_mut().for_each(|client| drop(client.until("subscribed")));
    let mut other = Client::json(&gateway, &["t"]);
    let query = format!("topic=t&except={},{}&except={}", ids[0], ids[1], ids[2]);
    assert_eq!(post(&gateway, "", &format!("/api/publish?{query}"), b"secret").status, 200);
    gateway.publish("t", "all");
    assert_eq!([other.told()["text"].clone(), other.told()["text"].clone()], ["secret", "all"]);
    for client in &mut excepted {
        assert_eq!(client.told()["text"], "all");
    }
}

#[test]
fn only_what_was_published_counts_as_a_publication() {
    let Some(mut redis) = RedisServer::start() else { return };
    let gateway = Gateway::start(&["--redis-url", &redis.url()]).ready();
    let counted = || gateway.metric(r#"fanline_publications_total{source="api"}"#) as u64;
    gateway.publish("t", "x");
    assert_eq!(counted(), 1);
    redis.kill();
    let answer = gateway.post("/api/publish", r#"{"topic":"t","text":"x"}"#);
    assert_eq!((answer.status, counted()), (503, 1), "{}", answer.body);
}

#[test]
fn with_keys_only_their_owners_publish_and_without_no_page_does() {
    let keyed = Gateway::with_toml("[internal]\napi_keys = [\"shop:s3cret\", \"till:other\"]\n", &[]).ready();
    let publish = |head: &str| post(&keyed, head, "/api/publish?topic=a", b"x").status;
    assert_eq!(publish("Authorization: bearer s3cret\r\n"), 200, "a scheme is written in any case");
    assert_eq!((publish("Authorization: Bearer s3cret\r\n"), publish("X-API-Key: other\r\n")), (200, 200));
    assert_eq!(
        (publish(""), publish("Authorization: Bearer shop:s3cret\r\n"), publish("X-API-Key: \r\n")),
        (401, 401, 401)
    );
    assert_eq!(
        (keyed.get("/livez").status, keyed.get("/metrics").status, keyed.get("/version").status),
        (200, 200, 200)
    );
    let open = Gateway::start::<&str>(&[]).ready();
    let page = post(&open, "Origin: http://evil.example\r\n", "/api/publish?topic=a", b"x");
    assert_eq!(page.status, 403, "{}", page.body);
    assert_eq!(post(&open, "", "/api/publish?topic=a", b"x").status, 200);
}

/// A page under a name that resolves to 127.0.0.1 is of the same origin as the listener: its name is in `Host` alone.
#[test]
fn without_keys_a_page_under_another_name_for_loopback_reads_and_changes_nothing() {
    let ask = |gateway: &Gateway, method: &str, path: &str, host: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
        exchange(gateway.internal(), request.as_bytes())
    };
    let open = Gateway::start::<&str>(&[]).ready();
    let own = format!("127.0.0.1:{}", open.internal().port());
    for (method, path, taken) in [
        ("GET", "/api/history?topic=a", 404),
        ("POST", "/api/publish?topic=a", 200),
        ("DELETE", "/api/shed", 200),
        ("GET", "/metrics", 200),
    ] {
        let refused = ask(&open, method, path, "rebound.example:8081");
        assert_eq!(refused.status, 403, "{path}: {}", refused.body);
        assert!(
            refused.body.contains("rebound.example") && refused.body.contains("internal.api_keys"),
            "{}",
            refused.body
        );
        for host in [&own, "localhost", "[::1]:8081", "dev.localhost:1"] {
            assert_eq!(ask(&open, method, path, host).status, taken, "{path} by {host}");
        }
    }
    assert_eq!(ask(&open, "GET", "/metrics", "10.0.0.7:8081").status, 200, "a proxy on this machine, by its address");
    assert_eq!(ask(&open, "GET", "/readyz", "rebound.example").status, 200, "checks of a proxy name what they like");
    let keyed = Gateway::with_toml("[internal]\napi_keys = [\"shop:s3cret\"]\n", &[]).ready();
    assert_eq!(ask(&keyed, "GET", "/metrics", "fanline:8081").status, 200);
}

#[test]
fn those_excepted_do_not_get_it_and_all_others_do() {
    let Some(redis) = RedisServer::start() else { return };
    let [a, b] = [(); 2].map(|()| Gateway::start(&["--redis-url", &redis.url()]).ready());
    let mut excepted = Client::open_as(&a.ws_url("/ws?topic=t"), Some("fanline.json"));
    let id = excepted.until("welcome")["connection"].as_str().unwrap().to_owned();
    excepted.until("subscribed");
    let mut others = [Client::json(&a, &["t"]), Client::json(&b, &["t"])];
    let answer = b.post("/api/publish", &json!({"topic": "t", "text": "secret", "except": [id]}).to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    b.publish("t", "all");
    for client in &mut others {
        assert_eq!([client.told()["text"].clone(), client.told()["text"].clone()], ["secret", "all"]);
    }
    assert_eq!(excepted.told()["text"], "all");
}

#[test]
fn a_json_client_publishes_where_the_rule_grants_it_and_does_not_hear_itself() {
    let Some(redis) = RedisServer::start() else { return };
    let [a, b] = [(); 2].map(|()| Gateway::with_toml(OPEN, &["--redis-url", &redis.url()]).ready());
    let (mut speaker, mut near, mut far) =
        (Client::json(&a, &["t"]), Client::json(&a, &["t"]), Client::json(&b, &["t"]));
    speaker.say(&json!({"type": "publish", "topic": "t", "data": {"n": 1}, "event": "e", "id": 1}));
    assert_eq!(speaker.told(), json!({"type": "published", "id": 1}));
    for client in [&mut near, &mut far] {
        let told = client.told();
        assert_eq!((&told["data"], &told["event"]), (&json!({"n": 1}), &json!("e")));
    }
    b.publish("t", "from outside");
    assert_eq!(speaker.told()["text"], "from outside", "and nothing of its own before");
    for (topic, code) in [("news", "forbidden"), ("@user:1", "bad_topic")] {
        speaker.say(&json!({"type": "publish", "topic": topic, "text": "x", "id": topic}));
        let refused = speaker.told();
        assert_eq!(
            (&refused["type"], &refused["code"], &refused["id"]),
            (&json!("error"), &json!(code), &json!(topic))
        );
    }
    speaker.say(&json!({"type": "publish", "topic": "small:1", "text": "more than ten", "id": 2}));
    assert_eq!(speaker.told()["code"], "too_large");
}

#[test]
fn a_json_client_on_a_route_for_listeners_publishes_nowhere() {
    let gateway = Gateway::with_toml(OPEN, &[]).ready();
    let mut client = Client::open_as(&gateway.ws_url("/listen"), Some("fanline.json"));
    client.until("welcome");
    client.say(&json!({"type": "publish", "topic": "t", "text": "x", "id": 1}));
    let refused = client.told();
    assert_eq!((&refused["code"], &refused["id"]), (&json!("forbidden"), &json!(1)));
    assert!(refused["message"].as_str().unwrap().contains("on_message = \"publish\""), "{refused}");
}

#[test]
fn a_plain_client_publishes_on_a_route_that_lets_it_and_hears_itself_only_where_included() {
    let gateway = Gateway::with_toml(OPEN, &[]).ready();
    let open = |path: &str| Client::open(&gateway.ws_url(path));
    let (mut speaker, mut listener) = (open("/talk?topic=t"), open("/talk?topic=t"));
    speaker.send(Message::text("hello"));
    assert_eq!(listener.text(), "hello");
    gateway.publish("t", "next");
    assert_eq!(speaker.text(), "next", "its own was kept from it");
    let mut included = open("/echo-all?topic=u");
    included.send(Message::binary(vec![0, 255]));
    assert_eq!(included.payload(), (vec![0, 255], false));
}

#[test]
fn a_client_on_a_route_that_takes_no_messages_is_closed_4003_and_told_why() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let mut client = Client::open(&gateway.ws_url("/ws?topic=t"));
    client.send(Message::text("hello"));
    let (code, reason) = client.closed();
    assert_eq!(code, 4003);
    assert!(reason.contains("on_message"), "{reason}");
    let forbidden = Gateway::with_toml(OPEN, &[]).ready();
    let mut client = Client::open(&forbidden.ws_url("/talk?topic=news"));
    client.send(Message::text("hello"));
    assert_eq!(client.closed().0, 4003, "the topic's rule has the last word");
}

#[test]
fn nobody_can_forge_a_header() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = Gateway::with_toml(OPEN, &["--redis-url", &redis.url()]).ready();
    let mut listener = Client::json(&gateway, &["t"]);
    let mut plain = Client::open(&gateway.ws_url("/talk?topic=t"));
    let mut forger = Client::open(&gateway.ws_url("/talk?topic=t"));
    for forged in ["\u{1e}FL1{\"event\":\"admin\",\"except\":[]}\nhi", "\u{1e}FL1 no header at all"] {
        forger.send(Message::text(forged));
        assert_eq!(plain.text(), forged);
        let told = listener.told();
        assert_eq!((&told["text"], &told["event"]), (&json!(forged), &Value::Null));
        let mut json = Client::json_open(&gateway);
        json.say(&json!({"type": "publish", "topic": "t", "text": forged}));
        assert_eq!((plain.text(), forger.text()), (forged.to_owned(), forged.to_owned()));
        assert_eq!(listener.told()["text"], forged);
    }
    // A producer that may PUBLISH may write headers; a broken one is counted and told.
    redis.cli(&["PUBLISH", "fanline:t", "\u{1e}FL1{\"event\":\"real\"}\nhi"]);
    let told = listener.told();
    assert_eq!((&told["text"], &told["event"]), (&json!("hi"), &json!("real")));
    redis.cli(&["PUBLISH", "fanline:t", "\u{1e}FL1 broken"]);
    let gap = listener.told();
    assert_eq!((&gap["type"], &gap["reason"]), (&json!("gap"), &json!("malformed")));
    until_logged(&gateway, "malformed publication topic=t ");
}

#[test]
fn a_publication_from_redis_above_its_topics_limit_is_dropped_and_told() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = Gateway::with_toml(OPEN, &["--redis-url", &redis.url()]).ready();
    let mut listener = Client::json(&gateway, &["small:1"]);
    redis.cli(&["PUBLISH", "fanline:small:1", "more than ten"]);
    redis.cli(&["PUBLISH", "fanline:small:1", "few"]);
    let gap = listener.told();
    assert_eq!((&gap["type"], &gap["reason"]), (&json!("gap"), &json!("too_large")));
    assert_eq!(listener.told()["text"], "few");
    assert_eq!(gateway.metric(r#"fanline_dropped_total{reason="too_large"}"#) as u64, 1);
    until_logged(&gateway, "in its place topic=small:1 bytes=13");
}

#[test]
fn the_api_is_on_the_internal_listener_alone() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    for path in ["/api/publish?topic=a", "/metrics", "/readyz", "/livez"] {
        let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(exchange(gateway.public(), request.as_bytes()).status, 404, "{path}");
    }
    assert!(TcpStream::connect(gateway.internal()).is_ok());
    assert_eq!(gateway.get("/nowhere").status, 404);
}

/// Topics that keep a history, which every client may fill.
const KEPT: &str = "[limits]\ntopics = 3\n[[topics]]\nmatch = \"h:*\"\npublish = \"anyone\"\nhistory_size = 5\n\
                    [[routes]]\npath = \"/ws\"\non_message = \"publish\"\n";

#[test]
fn what_redis_refuses_is_said_by_its_word_counted_logged_once_and_told_to_come_again_where_that_helps() {
    let Some(redis) = RedisServer::start_with(&["--dbfilename", "dump"]) else { return };
    let gateway = Gateway::with_toml(KEPT, &["--redis-url", &redis.url()]).ready();
    let publish = || gateway.post("/api/publish", r#"{"topic":"h:a","text":"x"}"#);
    assert_eq!(publish().status, 200);
    let set = |name: &str, value: &str| assert_eq!(redis.cli(&["CONFIG", "SET", name, value]), "OK", "{name}");
    let refused = |word: &str, status| {
        let answers = [(); 3].map(|()| publish());
        let problem = body(&answers[2]);
        assert_eq!((answers[2].status, &problem["refused"]), (status, &json!(word)), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("Redis refused: "), "{problem}");
        assert_eq!(header(&answers[2], "retry-after").is_some(), status == 503, "{word}");
    };
    set("min-replicas-to-write", "1");
    refused("NOREPLICAS", 503);
    set("min-replicas-to-write", "0");
    set("maxmemory", "1");
    refused("OOM", 503);
    set("maxmemory", "0");
    // A dump that cannot be written, for a directory has its name.
    std::fs::create_dir(redis.directory().join("dump")).unwrap();
    redis.cli(&["CONFIG", "SET", "save", "900 1"]);
    redis.cli(&["BGSAVE"]);
    eventually("the save has failed", || {
        redis.cli(&["INFO", "persistence"]).contains("bgsave_status:err").then_some(())
    });
    refused("MISCONF", 503);
    set("save", "");
    redis.cli(&["ACL", "SETUSER", "default", "-evalsha"]);
    refused("NOPERM", 502);
    redis.cli(&["ACL", "SETUSER", "default", "+evalsha"]);
    assert_eq!(publish().status, 200);
    for (reason, count) in [("noreplicas", 3.0), ("oom", 3.0), ("misconf", 3.0), ("denied", 3.0), ("away", 0.0)] {
        let series = format!("fanline_publish_failures_total{{reason=\"{reason}\"}}");
        assert!((gateway.metric(&series) - count).abs() < 0.5, "{series}: {}", gateway.metric(&series));
    }
    let times = |log: &str| log.matches("Redis refuses publications").count();
    let log = eventually("each word is told", || Some(gateway.log()).filter(|log| times(log) >= 4));
    assert_eq!(times(&log), 4, "each word once: {log}");
}

/// A script that does not end keeps Redis from everything.
#[test]
fn a_redis_that_is_busy_with_a_script_says_so_and_the_publication_may_come_again() {
    let Some(redis) = RedisServer::start_with(&["--lua-time-limit", "20"]) else { return };
    let gateway = Gateway::start(&["--redis-url", &redis.url()]).ready();
    let port = redis.port().to_string();
    let script = ["-p", &port, "EVAL", "while true do end", "0"];
    let mut busy =
        std::process::Command::new("redis-cli").args(script).stdout(std::process::Stdio::null()).spawn().unwrap();
    let answer = eventually("it is busy", || {
        let answer = gateway.post("/api/publish", r#"{"topic":"a","text":"x"}"#);
        (answer.status != 200).then_some(answer)
    });
    redis.cli(&["SCRIPT", "KILL"]);
    busy.wait().unwrap();
    assert_eq!((answer.status, &body(&answer)["refused"]), (503, &json!("BUSY")), "{}", answer.body);
}

#[test]
fn a_client_publishes_to_so_many_topics_with_history_in_a_minute_and_no_more() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = Gateway::with_toml(KEPT, &["--redis-url", &redis.url()]).ready();
    let mut client = Client::json_open(&gateway);
    let mut publish = |topic: &str| {
        client.say(&json!({"type": "publish", "topic": topic, "text": "x", "id": 1}));
        client.told()
    };
    for topic in ["h:1", "h:2", "h:3", "h:1"] {
        assert_eq!(publish(topic)["type"], "published", "{topic}");
    }
    let refused = publish("h:4");
    assert_eq!((&refused["code"], &refused["id"]), (&json!("too_many_topics"), &json!(1)), "{refused}");
    assert_eq!(publish("h:3")["type"], "published");
    assert_eq!(redis.cli(&["EXISTS", "{fanline:h:4}:last"]), "0");
}

#[test]
fn an_answer_of_the_api_repeats_little_of_what_is_wrong() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let long = "x".repeat(9000);
    for answer in [
        gateway.get(&format!("/api/history?topic={long}")),
        gateway.get(&format!("/api/history?{long}")),
        gateway.get(&format!("/api/history?topic=a&since={long}")),
        gateway.get(&format!("/api/history?topic=a&limit={long}")),
        gateway.get(&format!("/api/history?topic=%ff{long}")),
        gateway.post(&format!("/api/publish?{long}"), "x"),
        gateway.post(&format!("/api/publish?topic=a&type={long}"), "x"),
        gateway.post("/api/publish", &json!({ "topic": long, "text": "x" }).to_string()),
        gateway.post("/api/publish", &json!({ "topic": "a", long.as_str(): "x" }).to_string()),
        gateway.post("/api/publish", &json!({ "topic": "a", "text": "x", "type": long }).to_string()),
        gateway.post("/api/publish", &json!({ "topic": "a", "text": "x", "except": [long] }).to_string()),
        gateway.post("/api/shed", &json!(&long[..4000]).to_string()),
        gateway.post("/api/shed", &json!({ &long[..4000]: 1 }).to_string()),
        gateway.post("/api/shed", &json!({ "fraction": &long[..4000] }).to_string()),
    ] {
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert!(answer.body.len() < 800, "{} bytes: {}", answer.body.len(), answer.body);
    }
}
