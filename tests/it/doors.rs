//! Who is let in, who is not, and what those are told to do instead.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::client::{Client, HANDSHAKE, answer, exchange, header, knock};
use crate::foreign::{Foreign, LANGUAGES};
use crate::gateway::{Gateway, eventually};
use crate::support::proxy::{Class, Proxy, Rule};
use crate::support::redis::RedisServer;

#[test]
fn who_knocks_wrongly_is_told_what_to_do() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let unknown = knock(&gateway, "/nowhere", "");
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains("/ws") && unknown.body.contains("[[routes]]"), "{}", unknown.body);
    let slash = knock(&gateway, "/ws/?topic=a", "");
    assert_eq!(slash.status, 404);
    assert!(slash.body.contains("but one on /ws: "), "{}", slash.body);
    let plain = exchange(gateway.public(), b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(plain.status, 400);
    assert!(plain.body.contains("new WebSocket(url)") && plain.body.contains("proxy"), "{}", plain.body);
    let posted = exchange(gateway.public(), b"POST /ws HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((posted.status, header(&posted, "allow").as_deref()), (405, Some("GET")));
    let old = HANDSHAKE.replace("Version: 13", "Version: 8");
    let old = exchange(gateway.public(), format!("GET /ws HTTP/1.1\r\nHost: a\r\n{old}\r\n").as_bytes());
    assert_eq!((old.status, header(&old, "sec-websocket-version").as_deref()), (426, Some("13")));
    let short = HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=");
    let short = exchange(gateway.public(), format!("GET /ws HTTP/1.1\r\nHost: a\r\n{short}\r\n").as_bytes());
    assert_eq!(short.status, 400);
    assert!(short.body.contains("Sec-WebSocket-Key"), "{}", short.body);
}

#[test]
fn a_topic_that_is_none_or_is_ours_or_is_closed_is_refused_before_the_socket_opens() {
    let gateway = Gateway::with_toml("[[topics]]\nmatch = \"secret:*\"\nsubscribe = \"none\"\n", &[]).ready();
    for (path, status) in
        [("/ws?topic=@user:1", 400), ("/ws?topic=%40canary:x", 400), ("/ws?topic=", 400), ("/ws?topic=secret:1", 403)]
    {
        let refused = knock(&gateway, path, "");
        assert_eq!(refused.status, status, "{path}: {}", refused.body);
        assert!(refused.body.len() > 20, "{path} is told why: {}", refused.body);
    }
    let cafe = knock(&gateway, "/ws?topic=caf%C3%A9", "");
    assert!(cafe.status == 400 && cafe.body.contains("caf%25C3%25A9"), "what to write in a URL: {}", cafe.body);
    assert_eq!(knock(&gateway, "/ws?topic=caf%25C3%25A9", "").status, 101);
    let many: String = (0..300).map(|n| format!("topic=t{n}&")).collect();
    assert_eq!(knock(&gateway, &format!("/ws?{many}"), "").status, 400, "more topics than limits.topics");
    for language in LANGUAGES {
        assert_eq!(Foreign::refused(language, &gateway.ws_url("/nowhere")).0, 404);
    }
}

#[test]
fn pages_of_other_origins_stay_outside() {
    let gateway = Gateway::with_toml("[public]\norigins = [\"https://app.example\"]\n", &[]).ready();
    let evil = knock(&gateway, "/ws", "Origin: https://evil.example\r\n");
    assert_eq!(evil.status, 403);
    assert!(evil.body.contains("public.origins"), "{}", evil.body);
    assert_eq!(knock(&gateway, "/ws", "Origin: https://app.example\r\n").status, 101);
    assert_eq!(knock(&gateway, "/ws", "").status, 101, "who sends no origin is no page");
    assert_eq!(gateway.metric(r#"fanline_handshakes_total{outcome="forbidden"}"#) as u64, 1);
}

#[test]
fn the_subprotocol_is_echoed_and_the_query_may_choose_the_language_too() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let mut json = Client::open_as(&gateway.ws_url("/ws?topic=a"), Some("fanline.json"));
    assert_eq!(json.subprotocol, "fanline.json");
    let welcome = json.told();
    assert_eq!(welcome["type"], "welcome");
    assert!(welcome["connection"].as_str().unwrap().contains('.') && welcome["heartbeat"].is_u64(), "{welcome}");
    let mut plain = Client::open_as(&gateway.ws_url("/ws?topic=a"), Some("fanline.plain"));
    assert_eq!(plain.subprotocol, "fanline.plain");
    let mut by_query = Client::open(&gateway.ws_url("/ws?topic=a&protocol=json"));
    assert_eq!(by_query.subprotocol, "", "not offered, not chosen");
    assert_eq!(by_query.told()["type"], "welcome");
    gateway.publish("a", "x");
    assert_eq!(plain.text(), "x");
    assert_eq!(by_query.until("message")["text"], "x");
    assert_eq!(
        header(&knock(&gateway, "/ws", "Sec-WebSocket-Protocol: graphql-ws\r\n"), "sec-websocket-protocol"),
        None
    );
}

#[test]
fn a_parameter_that_nobody_reads_keeps_nobody_out_and_a_json_client_is_told_of_it() {
    let route = "[[routes]]\npath = \"/rooms/{id}\"\nprotocol = \"json\"\n\
                 topics = [\"room:{path.id}:{query.part}\"]\nquery_topics = \"also\"\n";
    let gateway = Gateway::with_toml(route, &[]).ready();
    let json = |path: &str| Client::open_as(&gateway.ws_url(path), Some("fanline.json"));
    let mut client = json("/ws?topci=a&utm_source=x&topic=b");
    let kinds = |all: &[serde_json::Value]| all.iter().map(|event| event["type"].clone()).collect::<Vec<_>>();
    let told = client.all_until("subscribed");
    assert_eq!(kinds(&told), ["welcome", "warning", "subscribed"], "{told:?}");
    let expected =
        r#""topci" means nothing in the query here and is ignored; this route reads topic, since, last, protocol"#;
    assert_eq!(told[1]["message"], expected);
    client.say(&json!({ "type": "ping", "topci": 1 }));
    assert_eq!(kinds(&client.all_until("pong")), ["warning", "pong"], "what is wrong with commands is another thing");
    let told = json("/rooms/1?part=2&also=c&protocol=json").all_until("subscribed");
    assert_eq!(kinds(&told)[..2], ["welcome", "warning"]);
    let message = told[1]["message"].as_str().unwrap();
    assert!(message.ends_with("this route reads also, part, since, last"), "{message}");
    let long = format!("/ws?%0A{}=1", "x".repeat(5000));
    let told = json(&long).all_until("warning");
    let message = told[1]["message"].as_str().unwrap();
    assert!(message.starts_with(r#""\nxxx"#) && message.len() < 200, "{message}");
    assert_eq!(json("/ws?topic=a&since=1&protocol=json").all_until("subscribed").len(), 2, "nothing to say");
    let mut plain = Client::open(&gateway.ws_url("/ws?topci=a"));
    gateway.publish("all", "x");
    assert_eq!(plain.text(), "x", "plain has no word for it");
}

#[test]
fn a_protocol_that_there_is_not_is_refused_by_the_names_of_those_there_are() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    for (query, offered, status) in [
        ("protocol=jsn", "", 400),
        ("protocol=", "", 400),
        ("protocol=jsn", "Sec-WebSocket-Protocol: fanline.json\r\n", 400),
        ("protocol=plain", "", 101),
        ("protocol=json", "", 101),
    ] {
        let answer = knock(&gateway, &format!("/ws?{query}"), offered);
        assert_eq!(answer.status, status, "{query}: {}", answer.body);
        assert!(status == 101 || answer.body.contains("write json or plain"), "{}", answer.body);
    }
}

#[test]
fn a_client_that_sends_a_command_without_a_subprotocol_is_told_which_to_offer() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let mut forgetful = Client::open(&gateway.ws_url("/ws"));
    forgetful.say(&json!({ "type": "subscribe", "topics": ["a"] }));
    let (code, reason) = forgetful.closed();
    assert_eq!(code, 4003);
    assert!(reason.contains(r#"new WebSocket(url, "fanline.json")"#), "{reason}");
    let mut talkative = Client::open(&gateway.ws_url("/ws"));
    talkative.say(&json!({ "text": "hi" }));
    assert!(talkative.closed().1.contains("on_message"), "what is no command is a message");
}

#[test]
fn a_route_of_one_language_answers_no_subprotocol_but_its_own() {
    let routes =
        "[[routes]]\npath = \"/plain\"\nprotocol = \"plain\"\n[[routes]]\npath = \"/json\"\nprotocol = \"json\"\n";
    let gateway = Gateway::with_toml(routes, &[]).ready();
    let both = "fanline.json, fanline.plain";
    for (path, offered, answered) in [("/plain", "fanline.json", None), ("/plain", both, Some("fanline.plain"))] {
        let answer = knock(&gateway, path, &format!("Sec-WebSocket-Protocol: {offered}\r\n"));
        let chosen = header(&answer, "sec-websocket-protocol");
        assert_eq!((answer.status, chosen.as_deref()), (101, answered), "{path}, {offered}");
    }
    let both = Client::open_as(&gateway.ws_url("/json"), Some("fanline.plain, fanline.json"));
    assert_eq!(both.subprotocol, "fanline.json");
}

#[test]
fn each_handshake_that_fails_counts_as_what_it_was() {
    let gateway = Gateway::start(&["--set", "handshake.timeout=500ms"]).ready();
    let counted = || {
        let metrics = gateway.metrics();
        ["bad_request", "timeout"]
            .map(|outcome| metrics[&format!("fanline_handshakes_total{{outcome=\"{outcome}\"}}")] as u64)
    };
    assert_eq!((knock(&gateway, "/nowhere", "Connection: close\r\n").status, counted()), (404, [1, 0]), "no such path");
    let garbage = exchange(gateway.public(), b"\x00\x01\x02\r\n\r\n");
    assert_eq!(garbage.status, 400);
    eventually("what is no HTTP counts", || (counted() == [2, 0]).then_some(()));
    let many = format!("GET /ws HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(100));
    assert_eq!(exchange(gateway.public(), many.as_bytes()).status, 431);
    eventually("too many headers count", || (counted() == [3, 0]).then_some(()));
    let _silent = TcpStream::connect(gateway.public()).unwrap();
    let mut half = TcpStream::connect(gateway.public()).unwrap();
    half.write_all(b"GET /ws HTTP/1.1\r\nHost: a\r\nUpg").unwrap();
    eventually("silence and half a head count as time-outs", || (counted() == [3, 2]).then_some(()));
}

#[test]
fn beyond_max_connections_a_client_gets_503_until_somebody_leaves() {
    let gateway = Gateway::start(&["--set", "public.max_connections=2"]).ready();
    let _stays = Client::open(&gateway.ws_url("/ws"));
    let leaves = Client::open(&gateway.ws_url("/ws"));
    let refused = knock(&gateway, "/ws", "");
    assert_eq!(refused.status, 503);
    assert!(header(&refused, "retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    assert!(!refused.body.is_empty());
    drop(leaves);
    eventually("there is room again", || (knock(&gateway, "/ws", "").status == 101).then_some(()));
}

#[test]
fn handshakes_beyond_the_rate_get_503_and_later_ones_come_in_again() {
    let gateway = Gateway::start(&["--set", "handshake.per_second=5"]).ready();
    let answers: Vec<_> = (0..30).map(|_| knock(&gateway, "/ws", "")).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(!refused.is_empty(), "thirty at once are too many");
    assert!(refused.iter().all(|answer| header(answer, "retry-after").is_some()));
    eventually("the next second lets somebody in", || (knock(&gateway, "/ws", "").status == 101).then_some(()));
}

#[test]
fn handshakes_that_wait_for_redis_are_bounded_and_the_others_get_503_at_once() {
    let Some(redis) = RedisServer::start() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let proxy = runtime.block_on(Proxy::start(redis.port()));
    let args = ["--redis-url", &proxy.url(), "--set", "handshake.in_flight=4", "--set", "handshake.subscribe_wait=30s"];
    let gateway = Gateway::start(&args).ready();
    proxy.rule(Class::Subscribers, Rule { stall: true, ..Rule::default() });
    let mut waiting: Vec<_> = (0..4).map(|n| begin(&gateway, &format!("/ws?topic=t{n}"))).collect();
    eventually("four handshakes wait", || (gateway.metric("fanline_topics") as u64 == 4).then_some(()));
    let refused = knock(&gateway, "/ws?topic=another", "");
    assert_eq!(refused.status, 503);
    assert!(header(&refused, "retry-after").is_some() && !refused.body.is_empty());
    proxy.rule(Class::Subscribers, Rule::default());
    for socket in &mut waiting {
        assert_eq!(answer(socket).unwrap().status, 101, "who waited comes in");
    }
    assert_eq!(knock(&gateway, "/ws?topic=another", "").status, 101);
}

/// Sends a handshake and leaves its answer unread.
fn begin(gateway: &Gateway, path: &str) -> TcpStream {
    let mut socket = TcpStream::connect(gateway.public()).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: fanline\r\n{HANDSHAKE}\r\n").unwrap();
    socket
}

#[test]
fn a_handshake_does_not_wait_for_redis_longer_than_it_may() {
    let Some(redis) = RedisServer::start() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let proxy = runtime.block_on(Proxy::start(redis.port()));
    let gateway = Gateway::start(&["--redis-url", &proxy.url(), "--set", "handshake.subscribe_wait=100ms"]).ready();
    proxy.rule(Class::Subscribers, Rule { stall: true, ..Rule::default() });
    let begin = std::time::Instant::now();
    let mut client = Client::open(&gateway.ws_url("/ws?topic=a"));
    assert!(begin.elapsed() < Duration::from_secs(2), "open after {:?}", begin.elapsed());
    proxy.rule(Class::Subscribers, Rule::default());
    eventually("it goes live by itself", || (gateway.publish("a", "late") == 1).then_some(()));
    assert_eq!(client.text(), "late");
}

/// A client reads its answer once it has sent everything, as most do.
#[test]
fn a_refusal_of_a_large_body_on_the_internal_listener_is_read_whole() {
    let gateway = Gateway::start(&["--set", "handshake.head=2KiB"]).ready();
    let send = |path: &str, more: &str, length: usize| {
        let mut socket = TcpStream::connect(gateway.internal()).unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{more}Content-Length: {length}\r\n\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(&vec![b'x'; length]).unwrap_or_else(|error| panic!("{path} {more}: {error}"));
        answer(&mut socket).unwrap_or_else(|| panic!("{path} {more}: no answer"))
    };
    const LARGE: usize = 16 << 20;
    for _ in 0..5 {
        let too_large = send("/api/publish", "", LARGE);
        assert!(too_large.status == 413 && too_large.body.contains("at most"), "{too_large:?}");
        let forbidden = send("/api/publish", "Origin: http://evil.example\r\n", LARGE);
        assert!(forbidden.status == 403 && forbidden.body.contains("web pages"), "{forbidden:?}");
        assert_eq!(send("/nowhere", "", LARGE).status, 404);
    }
    let long = format!("X: {}\r\n", "x".repeat(2048));
    let refused = send("/api/publish", &long, 10);
    assert!(refused.status == 431 && refused.body.contains("handshake.head"), "{refused:?}");
}
