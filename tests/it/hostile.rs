//! Clients that break the rules, or say nothing at all: a clear close or a timeout, and no memory kept.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use socket2::{Domain, Socket, Type};
use tungstenite::Message;

use crate::client::{Client, answer, exchange, header, knock};
use crate::gateway::{Gateway, PATIENCE, eventually};
use crate::support::redis::RedisServer;

/// A frame with a mask of zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
        long => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

fn closed(gateway: &Gateway, reason: &str) -> u64 {
    gateway.metric(&format!("fanline_connections_closed_total{{reason=\"{reason}\"}}")) as u64
}

#[test]
fn who_breaks_the_protocol_is_closed_with_its_code_and_told_why() {
    // No ping of ours draws bytes out of a client that is to be judged by what it sent.
    let gateway = Gateway::with_toml("heartbeat.every = \"off\"\n[limits]\nmessage = \"1KiB\"\n", &[]).ready();
    let mut bystander = Client::json(&gateway, &["a"]);
    let half = |first: u8, rest: &[u8]| [masked(first, b"a"), rest.to_vec()].concat();
    let cases: [(&str, Vec<u8>, u16); 13] = [
        ("an unmasked frame", vec![0x81, 1, b'a'], 1002),
        ("garbage", vec![0xff; 64], 1002),
        ("a reserved bit", masked(0xC1, b"a"), 1002),
        ("a reserved opcode", masked(0x83, b"a"), 1002),
        ("a fragmented ping", masked(0x09, b"a"), 1002),
        ("a ping too long", vec![0x89, 0xFE, 0, 126, 0, 0, 0, 0], 1002),
        ("a continuation of nothing", masked(0x80, b"a"), 1002),
        ("a text inside a text", half(0x01, &masked(0x81, b"b")), 1002),
        ("a close with half a code", masked(0x88, &[3]), 1002),
        ("a text that is not UTF-8", masked(0x81, &[0xC3, 0x28]), 1007),
        ("a text that breaks off in a character", half(0x01, &masked(0x80, &[0xC3])), 1007),
        ("a message too big", masked(0x82, &[0; 1025]), 1009),
        ("a message that only says it is", vec![0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], 1009),
    ];
    for (what, bytes, code) in &cases {
        let mut client = Client::open(&gateway.ws_url("/ws?topic=a"));
        client.raw().write_all(bytes).unwrap();
        let (found, reason) = client.closed();
        assert_eq!(found, *code, "{what}: {reason}");
        assert!(!reason.is_empty(), "{what} is told why");
    }
    eventually("all are gone", || (gateway.metric("fanline_subscriptions") as u64 == 1).then_some(()));
    assert_eq!((closed(&gateway, "protocol"), closed(&gateway, "not_utf8"), closed(&gateway, "too_big")), (9, 2, 2));
    gateway.publish("a", "unharmed");
    assert_eq!(bystander.told()["text"], "unharmed");
}

#[test]
fn what_is_no_request_is_answered_or_hung_up_on_and_never_kept() {
    let gateway = Gateway::start(&["--set", "handshake.timeout=500ms"]).ready();
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"\x00\x01\x02\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        format!("GET /ws HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40_000)).into_bytes(),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(40_000)).into_bytes(),
        format!("GET /ws HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(200)).into_bytes(),
    ] {
        let mut socket = TcpStream::connect(gateway.public()).unwrap();
        // It may hang up before all was said.
        let _ = socket.write_all(&bytes);
        let begin = Instant::now();
        if let Some(answer) = answer(&mut socket) {
            assert!((400..500).contains(&answer.status), "{answer:?}");
        }
        assert!(begin.elapsed() < PATIENCE / 2, "hung up after {:?}", begin.elapsed());
    }
}

#[test]
fn silence_and_half_a_handshake_end_at_the_timeout() {
    let gateway = Gateway::start(&["--set", "handshake.timeout=500ms"]).ready();
    let mut sockets: Vec<_> = ["", "G", "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: webso"]
        .map(|said| {
            let mut socket = TcpStream::connect(gateway.public()).unwrap();
            socket.write_all(said.as_bytes()).unwrap();
            socket
        })
        .into();
    let begin = Instant::now();
    for socket in &mut sockets {
        assert!(gone(socket), "nothing is answered");
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "after {:?}", begin.elapsed());
    // A drop at a time is no way to stay.
    let mut trickle = TcpStream::connect(gateway.public()).unwrap();
    let begin = Instant::now();
    while trickle.write_all(b"x").is_ok() && begin.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

/// Reads until the peer hangs up; whether it said nothing before, but perhaps 408.
fn gone(socket: &mut TcpStream) -> bool {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut said = Vec::new();
    match socket.read_to_end(&mut said) {
        Ok(_) => said.is_empty() || said.starts_with(b"HTTP/1.1 408"),
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn who_sends_too_much_is_closed_4101_with_a_hint() {
    let gateway = Gateway::with_toml("[limits]\nmessages_per_second = 1\nburst = 5\n", &[]).ready();
    let mut client = Client::json_open(&gateway);
    let mut frames = Vec::new();
    (0..10).for_each(|_| frames.extend(masked(0x81, br#"{"type":"ping"}"#)));
    client.raw().write_all(&frames).unwrap();
    let (told, code, reason) = client.rest();
    assert_eq!((code, told.len()), (4101, 5 + 1), "five pongs and a goodbye: {told:?}");
    assert!(reason.contains("retry_ms"), "{reason}");
    let mut pinging = Client::open(&gateway.ws_url("/ws?topic=a"));
    (0..10).for_each(|_| pinging.raw().write_all(&masked(0x89, b"")).unwrap());
    assert_eq!(pinging.closed().0, 4101, "control frames count too");
    let mut joined = Client::json_open(&gateway);
    joined.send([r#"{"type":"ping"}"#; 1000].join("\n").into());
    let (told, code, _) = joined.rest();
    assert_eq!((code, told.len()), (4101, 5 + 1), "joined in one frame they count as they are: {told:?}");
    eventually("all are counted", || (closed(&gateway, "rate_limited") == 3).then_some(()));
}

#[test]
fn one_command_costs_no_more_than_the_topics_a_client_may_have() {
    let gateway = Gateway::with_toml("[limits]\ntopics = 3\n", &[]).ready();
    let mut client = Client::json_open(&gateway);
    for act in ["subscribe", "unsubscribe"] {
        client.say(&json!({"type": act, "topics": vec!["a"; 10_000], "id": 1}));
        assert_eq!(client.told()["topic"], "a", "named often, done and answered once");
        let many: Vec<_> = (0..5000).map(|n| format!("t{n}")).collect();
        client.say(&json!({"type": act, "topics": many, "id": 2}));
        let refused = client.told();
        assert_eq!((&refused["code"], &refused["id"]), (&json!("too_many_topics"), &json!(2)));
    }
    client.say(&json!({"type": "ping", "id": 3}));
    assert_eq!(client.told(), json!({"type": "pong", "id": 3}), "and nothing else was said");
    assert_eq!(gateway.metric("fanline_subscriptions") as u64, 0);
}

#[test]
fn a_client_that_vanishes_leaves_nothing() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    for _ in 0..50 {
        let mut client = Client::json(&gateway, &["a", "b"]);
        let _ = client.raw().shutdown(Shutdown::Both);
    }
    eventually("all are gone", || {
        let metrics = gateway.metrics();
        let rest = metrics["fanline_subscriptions"] + metrics["fanline_topics"];
        (rest as u64 == 0).then_some(())
    });
}

/// How many connects say nothing.
const SILENT: usize = 10_000;

/// What one of them may cost while it lasts, in bytes of PSS. Promised are 16 KiB; HTTP's buffers alone, built
/// for one that says nothing, would be those.
const SILENT_COST: usize = 4 * 1024;

#[test]
fn ten_thousand_connects_that_say_nothing_cost_little_and_all_end_at_the_timeout() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let gateway = Gateway::start(&["--set", "handshake.timeout=8s"]).ready();
    let mut client = Client::json(&gateway, &["a"]);
    let before = pss(&gateway);
    let silent: Vec<_> = (0..SILENT).map(|n| connect_from(n, gateway.public())).collect();
    eventually("all are accepted", || (descriptors(&gateway) >= SILENT).then_some(()));
    let each = pss(&gateway).saturating_sub(before) / SILENT;
    assert!(each <= SILENT_COST, "{each} bytes each");
    let mut guest = Client::json(&gateway, &["a"]);
    gateway.publish("a", "meanwhile");
    let heard = [&mut client, &mut guest].map(|client| client.told()["text"].clone());
    assert_eq!(heard, ["meanwhile", "meanwhile"]);
    for mut socket in silent {
        assert!(gone(&mut socket), "nothing is answered");
    }
    eventually("their descriptors are free", || (descriptors(&gateway) < 100).then_some(()));
    let timeouts = r#"fanline_handshakes_total{outcome="timeout"}"#;
    eventually("each is counted", || (gateway.metric(timeouts) as usize == SILENT).then_some(()));
}

/// What may stay of all waves together, in bytes: what each thread's part of the allocator keeps of one wave
/// for the next.
const KEPT: usize = 8 * 1024 * 1024;

#[test]
fn memory_is_flat_over_waves_of_silence_and_half_handshakes() {
    let gateway = Gateway::start(&["--set", "handshake.timeout=200ms"]).ready();
    let before = pss(&gateway);
    for _ in 0..30 {
        let mut wave: Vec<_> = (0..600).map(|n| connect_from(n, gateway.public())).collect();
        for half in &mut wave[..100] {
            // It may be gone already.
            let _ = half.write_all(b"GET /ws HTTP/1.1\r\nUpgr");
        }
        for mut socket in wave {
            assert!(gone(&mut socket), "nothing is answered");
        }
    }
    eventually("their descriptors are free", || (descriptors(&gateway) < 100).then_some(()));
    let after = pss(&gateway);
    assert!(after <= before + before / 10 + KEPT, "{before} bytes before, {after} after");
}

/// Connects from one of several addresses of this machine, so that ports do not run out.
fn connect_from(number: usize, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let source = Ipv4Addr::new(127, 0, 1, u8::try_from(1 + number % 8).unwrap());
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    TcpStream::from(socket)
}

fn descriptors(gateway: &Gateway) -> usize {
    fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count()
}

/// The proportional share of the machine's memory, in bytes.
fn pss(gateway: &Gateway) -> usize {
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", gateway.pid())).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<usize>().unwrap() * 1024
}

/// How many topics a hostile client names; a million in the long run.
fn topics() -> usize {
    std::env::var("FANLINE_HOSTILE_TOPICS").map_or(20_000, |count| count.parse().unwrap())
}

#[test]
fn random_topics_paths_and_subprotocols_add_no_series_and_leave_no_topic() {
    let rates = "[limits]\ntopics = 1000000\nburst = 1000000\nmessages_per_second = 1000000\n";
    let gateway = Gateway::with_toml(rates, &[]).ready();
    // One of each kind first: what there is, is there from the start.
    drop(Client::json(&gateway, &["first"]));
    let names = |gateway: &Gateway| gateway.metrics().into_keys().collect::<Vec<_>>();
    let before = names(&gateway);
    let mut clients: Vec<_> = (0..10).map(|_| Client::json_open(&gateway)).collect();
    for (number, batch) in (0..topics()).collect::<Vec<_>>().chunks(500).enumerate() {
        let topics: Vec<String> = batch.iter().map(|n| format!("hostile:{n}:{:x}", n * 7919)).collect();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        clients[number % 10].subscribe(&topics);
    }
    assert_eq!(gateway.metric("fanline_topics") as usize, topics());
    for number in 0..200 {
        let path = format!("GET /random{number} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(exchange(gateway.public(), path.as_bytes()).status, 404);
        let offered = format!("x{number}, fanline.json");
        let client = Client::open_as(&gateway.ws_url(&format!("/ws?topic=q{number}&x{number}=1")), Some(&offered));
        assert_eq!(client.subprotocol, "fanline.json");
    }
    assert_eq!(names(&gateway), before, "no series was added");
    drop(clients);
    eventually("no topic is left", || {
        let metrics = gateway.metrics();
        (metrics["fanline_topics"] as u64 + metrics["fanline_subscriptions"] as u64 == 0).then_some(())
    });
    assert_eq!(names(&gateway), before);
}

#[test]
fn fragments_are_no_way_around_the_limit_and_an_unfinished_message_ends() {
    let config = "[limits]\nmessages_per_second = 1\nburst = 5\n[inbound]\ntimeout = \"1s\"\n";
    let gateway = Gateway::with_toml(config, &[]).ready();
    let mut flood = Client::json_open(&gateway);
    // It is hung up on before all was said.
    let _ = flood.raw().write_all(&[masked(0x01, b""), masked(0x00, b"").repeat(10_000)].concat());
    assert_eq!(flood.rest().1, 4101, "empty continuations count");

    let (mut slow, mut half) = (Client::json_open(&gateway), Client::json_open(&gateway));
    slow.raw().write_all(&masked(0x01, &[b'x'; 60_000])).unwrap();
    half.raw().write_all(&[0x81]).unwrap();
    eventually("it is counted", || (gateway.metric("fanline_unfinished_bytes") > 60_000.0).then_some(()));
    let (told, code, reason) = slow.rest();
    assert_eq!((code, half.rest().1), (4104, 4104), "{told:?}");
    assert!(reason.contains("retry_ms"), "{reason}");
    eventually("nothing is held", || (gateway.metric("fanline_unfinished_bytes") as u64 == 0).then_some(()));
    drop((slow, half));
    eventually("both are counted", || (closed(&gateway, "unfinished") == 2).then_some(()));
}

#[test]
fn unfinished_messages_of_all_clients_have_a_bound_and_the_oldest_makes_room() {
    let gateway = Gateway::with_toml("[inbound]\ntotal = \"1MiB\"\n", &[]).ready();
    let mut held: Vec<_> = (0..40).map(|_| Client::json_open(&gateway)).collect();
    for client in &mut held {
        // One that is hung up on meanwhile takes no more.
        let _ = client.raw().write_all(&masked(0x01, &[b'x'; 60_000]));
        assert!(gateway.metric("fanline_unfinished_bytes") <= 1_048_576.0);
    }
    eventually("those that waited longest are gone", || (closed(&gateway, "unfinished") >= 20).then_some(()));
    assert_eq!(held[0].rest().1, 4104);
    let mut honest = Client::json_open(&gateway);
    let text = "x".repeat(40_000);
    let ping = format!(r#"{{"type":"ping","id":1,"text":"{text}"}}"#);
    let (first, rest) = ping.as_bytes().split_at(20_000);
    honest.raw().write_all(&[masked(0x01, first), masked(0x80, rest)].concat()).unwrap();
    assert_eq!(honest.until("pong")["id"], 1, "a message that does end gets its room");
}

#[test]
fn a_replica_holds_so_many_topics_and_says_so_in_every_language() {
    let Some(redis) = RedisServer::start() else { return };
    let set = ["--redis-url", &redis.url(), "--set", "limits.replica_topics=3"];
    let gateway = Gateway::start(&set).ready();
    assert_eq!(gateway.metric(r#"fanline_limit{name="replica_topics"}"#) as u64, 3);
    let mut client = Client::json(&gateway, &["a", "b", "c"]);
    client.say(&json!({"type": "subscribe", "topics": ["a", "d"], "id": 1}));
    let told = [client.told(), client.told()];
    assert!(told.iter().any(|told| told["code"] == "too_many_topics" && told["id"] == 1), "{told:?}");
    let stream = exchange(gateway.public(), b"GET /sse?topic=d HTTP/1.1\r\nHost: a\r\n\r\n");
    for answer in [stream, knock(&gateway, "/ws?topic=d", "")] {
        let said = answer.body.contains("limits.replica_topics") && header(&answer, "retry-after").is_some();
        assert!(answer.status == 503 && said, "{answer:?}");
    }
    assert_eq!(gateway.metric(r#"fanline_handshakes_total{outcome="busy"}"#) as u64, 2);
    assert_eq!(knock(&gateway, "/ws?topic=a", "").status, 101, "what is listened to already costs nothing");
    // They linger when it leaves, and go for whoever comes.
    std::thread::sleep(Duration::from_millis(1_100));
    client.say(&json!({"type": "unsubscribe", "topics": ["a", "b", "c"], "id": 2}));
    (0..3).for_each(|_| drop(client.until("unsubscribed")));
    client.say(&json!({"type": "subscribe", "topics": ["x", "y", "z"], "id": 3}));
    assert!((0..3).all(|_| client.until("subscribed")["live"] == true));
}

/// Everybody may publish everywhere, and everything is kept.
const KEPT_FOR_ALL: &str = r#"
[limits]
topics = 100
replica_topics = 8000
burst = 1000
[[topics]]
match = "*"
publish = "anyone"
history_size = 10
[[routes]]
path = "/ws"
on_message = "publish"
"#;

/// How many of these topics a client may publish to.
fn published(client: &mut Client, topics: impl Iterator<Item = String>) -> usize {
    let topics: Vec<_> = topics.collect();
    topics.iter().for_each(|topic| client.say(&json!({"type": "publish", "topic": topic, "text": "x"})));
    let told: Vec<_> = topics.iter().map(|_| client.told()).collect();
    assert!(told.iter().all(|told| told["type"] == "published" || told["code"] == "too_many_topics"), "{told:?}");
    told.iter().filter(|told| told["type"] == "published").count()
}

#[test]
fn ever_new_names_on_ever_new_connections_have_a_bound_and_those_in_use_go_on() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = Gateway::with_toml(KEPT_FOR_ALL, &["--redis-url", &redis.url()]).ready();
    let from = |number| {
        let socket = connect_from(number, gateway.public());
        let mut client = Client::over(socket, &gateway.ws_url("/ws"), Some("fanline.json")).unwrap();
        client.until("welcome");
        client
    };
    let mut honest = from(1);
    assert_eq!(published(&mut honest, ["room".into()].into_iter()), 1);
    let opened: usize = (0..20).map(|n| published(&mut from(0), (0..100).map(|m| format!("x:{n}:{m}")))).sum();
    // Half of an eighth of 8000 with the honest one's, one more a second, and its share again where another minute began.
    assert!((499..700).contains(&opened), "{opened} of 2000");
    let streams = redis.cli(&["KEYS", "*:stream"]).lines().count();
    assert_eq!(streams, opened + 1);
    assert_eq!(
        published(&mut honest, ["room", "x:0:0", "a new one"].map(|name| name.replace(' ', "-")).into_iter()),
        3
    );
    assert_eq!(published(&mut from(0), ["room", "x:0:0"].map(String::from).into_iter()), 2, "they are open");
    let refused = gateway.metric(r#"fanline_inbound_messages_total{outcome="refused"}"#) as usize;
    assert_eq!(refused, 2000 - opened);
    assert_eq!(gateway.log().matches("too many new topics with history").count(), 1, "said once a minute");
}

/// A replica of so few topics that its clients may open ten new ones at once, and one a second.
const FEW_NEW: &str = r#"
[limits]
topics = 10
replica_topics = 80
[[topics]]
match = "*"
publish = "anyone"
history_size = 10
[[routes]]
path = "/talk"
on_message = "publish"
include_sender = true
query_topics = "topic"
[[routes]]
path = "/ws"
on_message = "publish"
"#;

/// Also before its subscription is live, and where it does not listen at all.
#[test]
fn a_replica_that_starts_takes_publications_to_all_rooms_that_are_in_use() {
    let Some(redis) = RedisServer::start() else { return };
    let set = ["--redis-url", &redis.url()];
    let before = Gateway::with_toml(FEW_NEW, &set).ready();
    (0..90).for_each(|n| _ = before.publish(&format!("room:{n}"), "x"));
    assert!(before.stop().0.success());
    let gateway = Gateway::with_toml(FEW_NEW, &set).ready();
    for n in 0..60 {
        let mut plain = Client::open(&gateway.ws_url(&format!("/talk?topic=room:{n}")));
        plain.send(Message::text("hello"));
        assert_eq!(plain.text(), "hello", "room:{n}");
    }
    for tens in 6..9 {
        let rooms = (0..10).map(|n| format!("room:{tens}{n}"));
        assert_eq!(published(&mut Client::json_open(&gateway), rooms), 10);
    }
    // New ones have the whole of their room yet, and no more of it.
    let new: usize =
        (0..10).map(|n| published(&mut Client::json_open(&gateway), (0..10).map(|m| format!("new:{n}:{m}")))).sum();
    assert!((10..40).contains(&new), "{new} of 100");
}

/// Whether a name is a new one only Redis knows.
#[test]
fn while_redis_is_away_nobody_is_closed_for_too_many_new_names() {
    let Some(mut redis) = RedisServer::start() else { return };
    let gateway = Gateway::with_toml(FEW_NEW, &["--redis-url", &redis.url()]).ready();
    let mut clients: Vec<_> =
        (0..20).map(|n| Client::open(&gateway.ws_url(&format!("/talk?topic=room:{n}")))).collect();
    let mut json = Client::json_open(&gateway);
    redis.stop();
    let away = || gateway.metric(r#"fanline_publish_failures_total{reason="away"}"#) as usize;
    let before = eventually("it is noticed", || (gateway.get("/readyz?strict").status == 503).then(away));
    clients.iter_mut().for_each(|client| client.send(Message::text("lost")));
    eventually("all are lost", || (away() >= before + 20).then_some(()));
    json.say(&json!({"type": "publish", "topic": "room:20", "text": "x", "id": 1}));
    assert_eq!(json.told()["code"], "unavailable");
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.within(Duration::from_millis(10)), None, "room:{n}");
    }
}

/// It is not asked for each of them for a second, for its client's pongs wait meanwhile.
#[test]
fn while_redis_is_silent_who_publishes_to_many_new_names_is_told_at_once() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = Gateway::with_toml(FEW_NEW, &["--redis-url", &redis.url()]).ready();
    let mut json = Client::json_open(&gateway);
    redis.freeze();
    eventually("it is noticed", || (gateway.get("/readyz?strict").status == 503).then_some(()));
    let begun = Instant::now();
    (0..8).for_each(|n| json.say(&json!({"type": "publish", "topic": format!("room:{n}"), "text": "x", "id": n})));
    (0..8).for_each(|_| assert_eq!(json.told()["code"], "unavailable"));
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
}

/// Half a head of a request, as long as a cookie makes it.
fn half_head() -> Vec<u8> {
    format!("GET /ws HTTP/1.1\r\nHost: a\r\nCookie: {}", "x".repeat(15_000)).into_bytes()
}

#[test]
fn half_heads_hold_so_much_together_and_the_oldest_of_them_make_room() {
    let set = ["--set", "inbound.total=1MiB", "--set", "handshake.timeout=60s"];
    let gateway = Gateway::start(&set).ready();
    let mut client = Client::json(&gateway, &["a"]);
    let before = pss(&gateway);
    let mut halves: Vec<_> = (0..1000).map(|n| connect_from(n, gateway.public())).collect();
    for half in &mut halves {
        // It may be hung up on already.
        let _ = half.write_all(&half_head());
    }
    let dropped = r#"fanline_handshakes_total{outcome="dropped"}"#;
    // A quarter of the total is 16 heads of 16 KiB.
    eventually("the oldest are gone", || (gateway.metric(dropped) as usize >= 980).then_some(()));
    assert!(gateway.metric("fanline_handshakes_open") as usize <= 20);
    let more = pss(&gateway).saturating_sub(before);
    assert!(more <= KEPT / 2, "{more} bytes more");
    let cookie = format!("Cookie: {}\r\n", "x".repeat(15_000));
    assert_eq!(knock(&gateway, "/ws", &cookie).status, 101, "who sends all of it comes in");
    gateway.publish("a", "unharmed");
    assert_eq!(client.told()["text"], "unharmed");
    assert_eq!(gateway.log().matches("half heads of requests hold").count(), 1, "said once a minute");
}

#[test]
fn whole_heads_of_who_stays_behind_its_answer_hold_nothing() {
    let gateway = Gateway::start(&["--set", "handshake.timeout=60s"]).ready();
    let before = pss(&gateway);
    let request = format!("GET /nowhere HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n", "x".repeat(15_000));
    let stay: Vec<_> = (0..1000)
        .map(|n| {
            let mut socket = connect_from(n, gateway.public());
            socket.write_all(request.as_bytes()).unwrap();
            assert_eq!(answer(&mut socket).unwrap().status, 404);
            socket
        })
        .collect();
    let each = pss(&gateway).saturating_sub(before) / stay.len();
    // A head alone would be 16 KiB.
    assert!(each <= 3 * SILENT_COST, "{each} bytes each");
}

#[test]
fn who_stays_behind_a_refusal_on_the_internal_listener_keeps_no_place() {
    let gateway = Gateway::start(&["--set", "handshake.timeout=3s"]).ready();
    let before = descriptors(&gateway);
    // More than there are places: 512, and 64 on their way out.
    let stay: Vec<_> = (0..700)
        .map(|n| {
            let mut socket = connect_from(n, gateway.internal());
            let head =
                "POST /api/publish HTTP/1.1\r\nHost: localhost\r\nOrigin: http://a\r\nContent-Length: 9999\r\n\r\nx";
            socket.write_all(head.as_bytes()).unwrap();
            let answer = answer(&mut socket).unwrap_or_else(|| panic!("{n}: no answer"));
            assert_eq!(answer.status, 403, "{n}");
            socket
        })
        .collect();
    assert_eq!(gateway.readyz(), 200);
    eventually("they are cut", || (descriptors(&gateway) <= before + 5).then_some(()));
    drop(stay);
}
