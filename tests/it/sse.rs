//! Event streams, as an `EventSource` meets them: the same topics, rules and farewells as over a WebSocket.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::client::{HANDSHAKE, exchange, header};
use crate::foreign::{Foreign, Language};
use crate::gateway::{Answer, Gateway, eventually};
use crate::stream::{Heard, Stream};
use crate::support::proxy::{Class, Proxy, Rule};
use crate::support::redis::RedisServer;

fn closed(gateway: &Gateway, reason: &str) -> u64 {
    gateway.metric(&format!("fanline_connections_closed_total{{reason=\"{reason}\"}}")) as u64
}

fn streams(gateway: &Gateway) -> u64 {
    gateway.metric(r#"fanline_connections{protocol="sse"}"#) as u64
}

/// What a request is answered whose head has these lines, each ended by `\r\n`.
#[track_caller]
fn ask(gateway: &Gateway, method: &str, path: &str, lines: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: fanline\r\n{lines}\r\n");
    exchange(gateway.public(), request.as_bytes())
}

/// The link is slow, the publisher is not: who opened the stream too early would be found out.
#[test]
fn an_open_stream_listens_already() {
    let Some(redis) = RedisServer::start() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let proxy = runtime.block_on(Proxy::start(redis.port()));
    proxy.rule(Class::Subscribers, Rule { delay: Duration::from_millis(30), ..Rule::default() });
    let gateway = Gateway::start(&["--redis-url", &proxy.url(), "--set", "redis.linger=0s"]).ready();
    for round in 0..20 {
        let mut stream = Stream::open(&gateway, &format!("/sse?topic=round:{round}"));
        let heard = redis.cli(&["PUBLISH", &format!("fanline:round:{round}"), "already"]);
        assert_eq!(heard, "1", "round {round}");
        assert_eq!(stream.text(), "already", "round {round}");
    }
}

#[test]
fn a_stream_does_not_wait_for_redis_longer_than_it_may() {
    let Some(redis) = RedisServer::start() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let proxy = runtime.block_on(Proxy::start(redis.port()));
    let args = ["--redis-url", &proxy.url(), "--set", "handshake.subscribe_wait=300ms"];
    let gateway = Gateway::start(&args).ready();
    proxy.rule(Class::Subscribers, Rule { stall: true, ..Rule::default() });
    let begin = Instant::now();
    let mut stream = Stream::open(&gateway, "/sse?topic=a");
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(3), "open after {took:?}");
    proxy.rule(Class::Subscribers, Rule::default());
    eventually("it goes live by itself", || (gateway.publish("a", "late") == 1).then_some(()));
    assert_eq!(stream.text(), "late");
}

#[test]
fn without_redis_at_the_start_a_stream_opens_at_once_and_hears_when_it_comes() {
    let Some(mut redis) = RedisServer::start() else { return };
    redis.kill();
    let gateway = Gateway::start(&["--redis-url", &redis.url(), "--set", "handshake.subscribe_wait=30s"]);
    let begin = Instant::now();
    let mut stream = Stream::open(&gateway, "/sse?topic=a");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    redis.restart();
    let gateway = gateway.ready();
    assert_eq!(gateway.publish("a", "now"), 1);
    assert_eq!(stream.text(), "now");
}

/// `redis-cli -x PUBLISH`, which takes any bytes.
fn publish(redis: &RedisServer, channel: &str, payload: &[u8]) {
    let port = redis.port().to_string();
    let mut cli = Command::new("redis-cli");
    cli.args(["-p", &port, "-x", "PUBLISH", channel]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut cli = cli.spawn().unwrap();
    cli.stdin.take().unwrap().write_all(payload).unwrap();
    assert!(cli.wait().unwrap().success());
}

#[test]
fn what_redis_cli_publishes_is_an_event_and_only_a_header_gives_it_a_name() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = Gateway::start(&["--redis-url", &redis.url()]).ready();
    let mut stream = Stream::open(&gateway, "/sse?topic=room:42&topic=all");
    let large = "x".repeat(300 * 1024);
    for (payload, event, data) in [
        (&b"hello"[..], "message", "hello"),
        (b"", "message", ""),
        (b"two\nlines\r\nthree\r", "message", "two\nlines\nthree\n"),
        ("grüße, 世界 🎈".as_bytes(), "message", "grüße, 世界 🎈"),
        (b"data: no field\n\nid: 1", "message", "data: no field\n\nid: 1"),
        (b"\x1eFL1{\"event\":\"chat\"}\nhi", "chat", "hi"),
        (b"\x1eFL1{\"event\":\"ch\\r\\nat\"}\nhi", "chat", "hi"),
        (b"\x1eFL1{\"event\":\"gap\"}\nforged", "message", "forged"),
        (b"\xff\x00", "message", "data:application/octet-stream;base64,/wA="),
        (large.as_bytes(), "message", &large),
    ] {
        publish(&redis, "fanline:room:42", payload);
        assert_eq!(stream.next(), Heard { event: event.into(), data: data.into() });
    }
    publish(&redis, "fanline:all", b"another topic");
    assert_eq!(stream.text(), "another topic");
    publish(&redis, "fanline:all", b"\x1eFL1{broken\nx");
    let gap = stream.next();
    assert_eq!((gap.event.as_str(), &gap.json()["reason"]), ("gap", &json!("malformed")));
}

#[test]
fn ten_thousand_publications_arrive_in_order_none_lost_none_twice() {
    const COUNT: usize = 10_000;
    let Some(redis) = RedisServer::start() else { return };
    let gateway = Gateway::start(&["--redis-url", &redis.url()]).ready();
    let mut all: Vec<_> = (0..3).map(|_| Stream::open(&gateway, "/sse?topic=many")).collect();
    let mut commands = Vec::new();
    for number in 0..COUNT {
        write!(commands, "PUBLISH fanline:many {number}\r\n").unwrap();
    }
    let mut producer = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    producer.write_all(&commands).unwrap();
    for stream in &mut all {
        (0..COUNT).for_each(|number| assert_eq!(stream.text(), number.to_string()));
    }
    gateway.publish("many", "end");
    all.iter_mut().for_each(|stream| assert_eq!(stream.text(), "end", "nothing came twice"));
}

#[test]
fn who_knocks_wrongly_is_told_what_to_do() {
    let text = "[[topics]]\nmatch = \"secret:*\"\nsubscribe = \"none\"\n";
    let gateway = Gateway::with_toml(text, &[]).ready();
    for (method, path, lines, status, told) in [
        ("GET", "/sse", "", 400, "?topic=hello"),
        ("GET", "/sse?topic=a%20b", "", 400, "no topic"),
        ("GET", "/sse?topic=secret:1", "", 403, "subscribe = \"none\""),
        ("GET", "/sse?topic=a", HANDSHAKE, 400, "new EventSource(url)"),
        ("POST", "/sse?topic=a", "Content-Length: 0\r\n", 405, "new EventSource(url)"),
        ("DELETE", "/sse?topic=a", "", 405, "GET"),
    ] {
        let refused = ask(&gateway, method, path, lines);
        assert_eq!(refused.status, status, "{method} {path}: {refused:?}");
        assert!(refused.body.contains(told), "{method} {path}: {refused:?}");
        assert_eq!(header(&refused, "allow").is_some(), status == 405, "{refused:?}");
    }
    assert_eq!(gateway.metric(r#"fanline_handshakes_total{outcome="bad_request"}"#) as u64, 5);
    assert_eq!(gateway.metric(r#"fanline_handshakes_total{outcome="forbidden"}"#) as u64, 1);
}

#[test]
fn a_stream_is_answered_so_that_nothing_on_its_way_keeps_or_holds_it() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let mut stream = Stream::open(&gateway, "/sse?topic=a");
    let of = |name| header(&stream.head, name);
    assert_eq!(of("content-type").as_deref(), Some("text/event-stream; charset=utf-8"));
    assert!(of("cache-control").unwrap().contains("no-store"));
    assert_eq!((of("x-accel-buffering").as_deref(), of("connection").as_deref()), (Some("no"), Some("close")));
    assert_eq!((of("content-length"), of("transfer-encoding").as_deref()), (None, Some("chunked")));
    assert_eq!(of("access-control-allow-origin"), None);
    assert!(of("date").unwrap().ends_with(" GMT"));
    gateway.publish("a", "x");
    assert_eq!(stream.text(), "x");
    assert!((2000..=4000).contains(&stream.retry.unwrap()), "{:?}", stream.retry);
    // As nginx asks where nobody told it otherwise.
    let mut old = TcpStream::connect(gateway.public()).unwrap();
    old.write_all(b"GET /sse?topic=a HTTP/1.0\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut old = Stream::answering(old);
    assert_eq!(header(&old.head, "transfer-encoding"), None);
    gateway.publish("a", "y");
    assert_eq!(old.text(), "y");
}

/// It reads by chunks, and of a stream without any it reads on until 512 bytes are there.
#[test]
fn requests_hears_each_event_before_the_next_is_published() {
    let gateway = Gateway::start(&["--set", "drain.delay=0s"]).ready();
    let client = Foreign::open(Language::Requests, &gateway.http_url("/sse?topic=a"));
    assert!(client.next()["line"].as_str().unwrap().starts_with("retry: "));
    for number in 0..5 {
        gateway.publish("a", &number.to_string());
        assert_eq!(client.next(), json!({ "line": format!("data: {number}") }));
    }
    gateway.signal("TERM");
    let told: Vec<_> = std::iter::repeat_with(|| client.next()).take(4).collect();
    assert!(told[1] == json!({"line": "event: goodbye"}) && told[3] == json!({"end": true}), "{told:?}");
}

#[test]
fn a_look_at_a_stream_gets_its_head_and_no_stream() {
    let text = "[[topics]]\nmatch = \"secret:*\"\nsubscribe = \"none\"\n";
    let gateway = Gateway::with_toml(text, &[]).ready();
    let look = |path: &str| {
        let mut socket = TcpStream::connect(gateway.public()).unwrap();
        write!(socket, "HEAD {path} HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut all = String::new();
        std::io::Read::read_to_string(&mut socket, &mut all).unwrap();
        let (head, body) = all.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "", "{all}");
        Answer { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head: head.to_owned(), body: String::new() }
    };
    let head = look("/sse?topic=a");
    let stream = Stream::open(&gateway, "/sse?topic=a").head;
    assert_eq!(head.status, 200, "{head:?}");
    for name in ["content-type", "cache-control", "x-accel-buffering", "content-length"] {
        assert_eq!(header(&head, name), header(&stream, name), "{name}: {head:?}");
    }
    assert_eq!(header(&head, "access-control-allow-origin").as_deref(), Some("*"));
    assert_eq!((look("/sse").status, look("/sse?topic=secret:1").status), (400, 403));
    eventually("it took no place", || (streams(&gateway) == 0).then_some(()));
}

#[test]
fn a_refused_origin_is_in_the_log_once_with_the_key_that_allows_it() {
    let list = "[public]\norigins = [\"https://app.example\", \"file://\", \"null\"]\n";
    let gateway = Gateway::with_toml(list, &[]).ready();
    let from = |origin: &str, path: &str, lines: &str| {
        ask(&gateway, "GET", path, &format!("Origin: {origin}\r\n{lines}")).status
    };
    for origin in ["https://app.example", "file://", "null"] {
        assert_eq!(from(origin, "/sse?topic=a", ""), 200, "{origin}");
    }
    for _ in 0..50 {
        assert_eq!(from("https://evil.example", "/sse?topic=a", ""), 403);
        assert_eq!(from("https://evil.example", "/ws", HANDSHAKE), 403);
    }
    assert_eq!(from("x client=1.2.3.4", "/sse?topic=a", ""), 403);
    eventually("both are told", || gateway.log().contains(r#"origin="x client=1.2.3.4""#).then_some(()));
    let log = gateway.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains(r#"origin="https://evil.example""#)).collect();
    let [line] = told.as_slice() else { panic!("{told:?}") };
    assert!(line.contains("INFO") && line.contains("public.origins") && line.contains("client=127.0.0.1"), "{line}");
}

#[test]
fn a_client_that_is_closed_is_named_by_its_address() {
    let proxy = "[public]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let gateway = Gateway::with_toml(proxy, &["--log-level", "debug"]).ready();
    let mut socket = TcpStream::connect(gateway.public()).unwrap();
    let lines = "X-Forwarded-For: 203.0.113.9, 198.51.100.7:5678\r\nX-Request-Id: 7 client=10.0.0.1\r\n";
    write!(socket, "GET /sse?topic=a HTTP/1.1\r\nHost: a\r\n{lines}\r\n").unwrap();
    let mut stream = Stream::answering(socket);
    stream.raw().write_all(&vec![b'x'; 20 * 1024]).unwrap();
    assert_eq!(stream.rest().len(), 1);
    let line = eventually("its end is logged", || {
        gateway.log().lines().find(|line| line.contains("connection closed")).map(ToOwned::to_owned)
    });
    assert!(line.contains("INFO") && line.contains(" client=198.51.100.7 "), "{line}");
    let log = gateway.log();
    let accepted = log.lines().find(|line| line.contains("handshake accepted")).unwrap();
    assert!(accepted.ends_with(r#"client=198.51.100.7 request_id="7 client=10.0.0.1""#), "{accepted}");
}

#[test]
fn a_preflight_is_the_last_request_of_its_connection_and_says_so() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let preflight = "OPTIONS /sse?topic=a HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\n\r\n";
    let mut socket = TcpStream::connect(gateway.public()).unwrap();
    write!(socket, "{preflight}GET /sse?topic=a HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut socket, &mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 204 ") && said.contains("\r\nConnection: close\r\n"), "{said}");
    assert!(!said.contains("event-stream"), "{said}");
}

#[test]
fn a_page_of_a_listed_origin_reads_and_others_stay_outside() {
    let gateway = Gateway::with_toml("[public]\norigins = [\"https://app.example\"]\n", &[]).ready();
    let from = |origin: &str| ask(&gateway, "GET", "/sse?topic=a", &format!("Origin: {origin}\r\n"));
    let ours = from("https://app.example");
    assert_eq!(
        (ours.status, header(&ours, "access-control-allow-origin").as_deref()),
        (200, Some("https://app.example"))
    );
    assert_eq!(header(&ours, "vary").as_deref(), Some("Origin"));
    let evil = from("https://evil.example");
    assert_eq!((evil.status, header(&evil, "access-control-allow-origin")), (403, None));
    assert!(evil.body.contains("public.origins"), "{}", evil.body);
    assert_eq!(ask(&gateway, "GET", "/sse?topic=a", "").status, 200, "who sends no origin is no page");

    let asks = "Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization\r\n";
    let preflight = |origin| ask(&gateway, "OPTIONS", "/sse", &format!("Origin: {origin}\r\n{asks}"));
    let allowed = preflight("https://app.example");
    assert_eq!((allowed.status, header(&allowed, "access-control-allow-methods").as_deref()), (204, Some("GET")));
    assert_eq!(header(&allowed, "access-control-allow-headers").as_deref(), Some("authorization"));
    assert_eq!(preflight("https://evil.example").status, 403);
    let bad = ask(&gateway, "GET", "/sse", "Origin: https://app.example\r\n");
    assert_eq!((bad.status, header(&bad, "access-control-allow-origin").is_some()), (400, true), "a page may read why");
}

#[test]
fn any_page_reads_where_any_may() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let any = ask(&gateway, "GET", "/sse?topic=a", "Origin: https://app.example\r\n");
    assert_eq!((any.status, header(&any, "access-control-allow-origin").as_deref()), (200, Some("*")));
    assert_eq!(header(&any, "access-control-allow-credentials"), None);
}

#[test]
fn a_route_of_ones_own_makes_topics_of_its_path() {
    let route =
        "[[routes]]\npath = \"/news/{id}\"\nprotocol = \"sse\"\ntopics = [\"news:{path.id}\"]\nquery_topics = \"\"\n";
    let gateway = Gateway::with_toml(route, &[]).ready();
    let mut stream = Stream::open(&gateway, "/news/7");
    gateway.publish("news:7", "x");
    assert_eq!(stream.text(), "x");
    let mut default = Stream::open(&gateway, "/sse?topic=news:7");
    gateway.publish("news:7", "y");
    assert_eq!((stream.text(), default.text()), ("y".into(), "y".into()));
}

#[test]
fn a_restart_of_redis_ends_no_stream_and_each_is_told_exactly_one_gap() {
    let Some(mut redis) = RedisServer::start() else { return };
    let gateway = Gateway::start(&["--redis-url", &redis.url()]).ready();
    let mut all: Vec<_> = (0..20).map(|_| Stream::open(&gateway, "/sse?topic=a&topic=b")).collect();
    redis.restart();
    let gaps: Vec<_> = all.iter_mut().map(Stream::next).collect();
    eventually("publications flow again", || (gateway.publish("a", "after") == 1).then_some(()));
    for (stream, gap) in all.iter_mut().zip(gaps) {
        let mut told = vec![gap];
        // Its two topics may come back one after the other.
        while told.last().unwrap().event == "gap" {
            told.push(stream.next());
        }
        assert_eq!(told.pop().unwrap().data, "after");
        let gaps: Vec<_> = told.iter().map(Heard::json).collect();
        assert!(gaps.iter().all(|gap| gap["type"] == "gap" && gap["reason"] == "reconnected"), "{gaps:?}");
        let mut topics: Vec<_> = gaps.iter().flat_map(|gap| gap["topics"].as_array().unwrap()).collect();
        topics.sort_by_key(ToString::to_string);
        assert_eq!(topics, [&json!("a"), &json!("b")]);
    }
    assert_eq!(streams(&gateway), 20);
}

#[test]
fn a_drain_says_when_to_come_back_and_goodbye_and_then_ends_the_stream() {
    let args = ["--set", "drain.delay=300ms", "--set", "drain.window=5s"];
    let gateway = Gateway::start(&args).ready();
    let mut all: Vec<_> = (0..100).map(|_| Stream::open(&gateway, "/sse?topic=a")).collect();
    let begin = Instant::now();
    gateway.signal("TERM");
    eventually("not ready at once", || (gateway.readyz() == 503).then_some(()));
    gateway.publish("a", "before");
    let mut hints = Vec::new();
    for stream in &mut all {
        let told = stream.rest();
        let [before, goodbye] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((before.data.as_str(), goodbye.event.as_str()), ("before", "goodbye"));
        let goodbye = goodbye.json();
        assert_eq!((&goodbye["code"], &goodbye["reason"]), (&json!(1012), &json!("drain")));
        assert_eq!(goodbye["retry_ms"].as_u64(), stream.retry);
        hints.push(stream.retry);
    }
    hints.sort_unstable();
    hints.dedup();
    assert!(hints.len() > 50, "the hints are spread: {hints:?}");
    drop(all);
    let (status, log) = gateway.ended();
    assert!(status.success(), "{status}: {log}");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[test]
fn a_thousand_streams_hear_the_same_and_leave_nothing_behind() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let mut all: Vec<_> = (0..1000).map(|_| Stream::open(&gateway, "/sse?topic=a")).collect();
    assert_eq!(streams(&gateway), 1000);
    for text in ["one", "two\nlines", "three"] {
        gateway.publish("a", text);
        all.iter_mut().for_each(|stream| assert_eq!(stream.text(), text));
    }
    assert_eq!(gateway.metric(r#"fanline_deliveries_total{protocol="sse"}"#) as u64, 3000);
    drop(all);
    eventually("all are gone", || (streams(&gateway) == 0).then_some(()));
    eventually("nobody subscribes", || (gateway.metric("fanline_subscriptions") as u64 == 0).then_some(()));
    assert_eq!(gateway.metric("fanline_outbox_bytes") as u64, 0);
}

/// A stream whose client has little room, and reads nothing until told to.
fn sluggard(gateway: &Gateway, path: &str) -> Stream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.connect(&gateway.public().into()).unwrap();
    Stream::over(socket.into(), path)
}

const RULES: &str =
    "[outbox]\nbytes = \"512KiB\"\nstall = \"off\"\n[[topics]]\nmatch = \"oldest\"\non_full = \"drop_oldest\"\n";

/// Publishes numbers with much behind them until `enough`, each read by `reader`; answers how many.
fn publish_until(gateway: &Gateway, topic: &str, reader: &mut Stream, enough: impl Fn() -> bool) -> usize {
    let pad = "x".repeat(32 * 1024);
    for count in 0..2000 {
        if enough() {
            return count;
        }
        gateway.publish(topic, &format!("{count} {pad}"));
        assert_eq!(number(&reader.next()), Some(count), "others lose nothing");
    }
    panic!("two thousand publications fill every buffer");
}

fn number(heard: &Heard) -> Option<usize> {
    (heard.event == "message").then(|| heard.data.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn drop_oldest_keeps_the_newest_for_a_slow_stream_and_tells_the_gap_where_it_is() {
    let gateway = Gateway::with_toml(RULES, &[]).ready();
    let mut slow = sluggard(&gateway, "/sse?topic=oldest");
    let mut reader = Stream::open(&gateway, "/sse?topic=oldest");
    let dropped = || gateway.metric(r#"fanline_dropped_total{reason="slow"}"#) as usize;
    let published = publish_until(&gateway, "oldest", &mut reader, || dropped() >= 20);
    let lost = dropped();
    let mut found = Vec::new();
    while found.last() != Some(&Some(published - 1)) {
        let heard = slow.next();
        if heard.event != "message" {
            assert_eq!((heard.event.as_str(), &heard.json()["reason"]), ("gap", &json!("slow")));
        }
        found.push(number(&heard));
    }
    let gap = found.iter().position(Option::is_none).expect("a gap");
    let numbers: Vec<_> = found.iter().flatten().copied().collect();
    assert_eq!(numbers.len(), found.len() - 1, "one gap");
    let behind = published - (numbers.len() - gap)..published;
    assert_eq!(numbers, (0..gap).chain(behind).collect::<Vec<_>>());
    assert_eq!(numbers.len() + lost, published, "what is missing is what was counted");
}

#[test]
fn a_slow_stream_is_closed_where_the_rule_says_so_with_a_time_to_come_back() {
    let gateway = Gateway::with_toml(RULES, &[]).ready();
    let mut slow = sluggard(&gateway, "/sse?topic=a");
    let mut reader = Stream::open(&gateway, "/sse?topic=a");
    let full = std::cell::Cell::new(false);
    publish_until(&gateway, "a", &mut reader, || {
        let waiting = gateway.metric("fanline_outbox_bytes");
        full.set(full.get() || waiting > 400.0 * 1024.0);
        full.get() && waiting < 256.0 * 1024.0
    });
    let told = slow.rest();
    let (goodbye, before) = told.split_last().unwrap();
    assert!(before.iter().enumerate().all(|(place, heard)| number(heard) == Some(place)), "in order from the first");
    let said = goodbye.json();
    assert_eq!(
        (goodbye.event.as_str(), &said["code"], said["retry_ms"].as_u64()),
        ("goodbye", &json!(4100), slow.retry)
    );
    assert!(slow.retry.unwrap() >= 1000);
    drop(slow);
    eventually("it is counted", || (closed(&gateway, "slow") == 1).then_some(()));
}

#[test]
fn a_comment_is_the_sign_of_life_and_nobody_is_evicted_for_silence() {
    let quick = "[heartbeat]\nevery = \"100ms\"\ntimeout = \"100ms\"\ntext = \"for websockets\"\n";
    let gateway = Gateway::with_toml(quick, &[]).ready();
    let mut stream = Stream::open(&gateway, "/sse?topic=a");
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(2) {
        assert_eq!(stream.within(Duration::from_millis(500)), None);
    }
    assert!((8..=25).contains(&stream.comments), "{} comments in two seconds", stream.comments);
    gateway.publish("a", "still here");
    assert_eq!(stream.text(), "still here");
    assert_eq!((streams(&gateway), closed(&gateway, "no_pong")), (1, 0));
}

/// Which timer the kernel runs for the gateway's end of a connection: `/proc/net/tcp` says 02 for keep-alive.
fn kernels_timer(gateway: &Gateway, client: &TcpStream) -> String {
    let hex = |port: u16| format!(":{port:04X}");
    let (here, there) = (hex(gateway.public().port()), hex(client.local_addr().unwrap().port()));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row[1].ends_with(&here) && row[2].ends_with(&there)).expect("the connection");
    row[5][..2].to_owned()
}

#[test]
fn the_kernel_looks_after_a_client_that_cannot_answer() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let mut stream = Stream::open(&gateway, "/sse?topic=a");
    gateway.publish("a", "x");
    assert_eq!(stream.text(), "x");
    let stream = stream.raw();
    eventually("an idle stream is probed", || (kernels_timer(&gateway, stream) == "02").then_some(()));
    let mut socket = crate::client::Client::open(&gateway.ws_url("/ws?topic=a"));
    eventually("a WebSocket is pinged instead", || (kernels_timer(&gateway, socket.raw()) == "00").then_some(()));
}

#[test]
fn a_client_that_hangs_up_is_gone_at_once() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let mut half = Stream::open(&gateway, "/sse?topic=a");
    let _whole = Stream::open(&gateway, "/sse?topic=a");
    drop(_whole);
    half.raw().shutdown(Shutdown::Write).unwrap();
    assert_eq!(half.rest(), []);
    eventually("both are gone", || (streams(&gateway) == 0 && closed(&gateway, "client") == 2).then_some(()));
    eventually("nobody subscribes", || (gateway.metric("fanline_subscriptions") as u64 == 0).then_some(()));
}

#[test]
fn what_a_client_sends_is_passed_over_up_to_a_bound() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let mut stream = Stream::open(&gateway, "/sse?topic=a");
    stream.raw().write_all(b"GET /sse?topic=b HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    gateway.publish("a", "goes on");
    assert_eq!(stream.text(), "goes on");
    stream.raw().write_all(&vec![b'x'; 20 * 1024]).unwrap();
    let told = stream.rest();
    assert_eq!((told.len(), told[0].event.as_str(), &told[0].json()["code"]), (1, "goodbye", &json!(4004)));
    assert!(told[0].json()["retry_ms"].is_null(), "not without a change");
    eventually("it is counted", || (closed(&gateway, "bad_request") == 1).then_some(()));
}

#[test]
fn streams_count_among_the_connections_and_one_too_many_gets_503() {
    let gateway = Gateway::start(&["--set", "public.max_connections=1"]).ready();
    let stays = Stream::open(&gateway, "/sse?topic=a");
    let refused = ask(&gateway, "GET", "/sse?topic=a", "Origin: https://a.example\r\n");
    assert_eq!((refused.status, header(&refused, "retry-after").is_some()), (503, true));
    assert_eq!(header(&refused, "access-control-expose-headers").as_deref(), Some("Retry-After"));
    drop(stays);
    eventually("there is room again", || (ask(&gateway, "GET", "/sse?topic=a", "").status == 200).then_some(()));
}
