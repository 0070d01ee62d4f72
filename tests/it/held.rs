//! Sockets that strangers hold: their request is answered once, by a deadline, and they give way to others.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::client::{Client, HANDSHAKE, answer, exchange, header, knock};
use crate::gateway::{Gateway, PATIENCE, eventually};

/// How many sockets there may be beside the connections.
const SPARE: usize = 512;

/// One whose kernel takes next to nothing for a client that does not read.
fn deaf(to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(true).unwrap();
    stream
}

/// Requests one behind the other, so many that their answers fit nowhere.
fn pipelined(path: &str, last: &str) -> Vec<u8> {
    let one = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    [one.repeat(200).as_bytes(), last.as_bytes()].concat()
}

fn handshake(topic: &str) -> String {
    format!("GET /ws?topic={topic} HTTP/1.1\r\nHost: a\r\n{HANDSHAKE}\r\n")
}

/// Sends without reading, as far as the gateway takes it, until it hangs up.
fn push(socket: &mut TcpStream, bytes: &[u8]) {
    let mut sent = 0;
    let deadline = Instant::now() + Duration::from_millis(50);
    while sent < bytes.len() && Instant::now() < deadline {
        match socket.write(&bytes[sent..]) {
            Ok(more) => sent += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(_) => return,
        }
    }
}

fn outside(gateway: &Gateway) -> usize {
    gateway.metric("fanline_handshakes_open") as usize
}

#[test]
fn who_pipelines_and_never_reads_is_gone_at_the_deadline_with_all_that_it_held() {
    let gateway = Gateway::with_toml(
        "public.max_connections = 20\nhandshake.timeout = \"1s\"\ndrain.delay = \"0s\"\ndrain.window = \"1s\"\n",
        &[],
    )
    .ready();
    let attack = pipelined("/nowhere", &handshake("held"));
    let mut strangers: Vec<_> = (0..SPARE + 60).map(|_| deaf(gateway.public())).collect();
    strangers.iter_mut().for_each(|socket| push(socket, &attack));
    // One of them, and one that had nothing answered to it, must not be what everybody waits for.
    let mut client = Client::open(&gateway.ws_url("/ws?topic=held"));
    eventually("nothing of them is left", || {
        let metrics = gateway.metrics();
        let left = ["fanline_handshakes_open", "fanline_topics"].map(|name| metrics[name] as usize);
        (left == [0, 1] && gateway.publish("held", "x") == 1).then_some(())
    });
    assert_eq!(client.text(), "x");
    let open = gateway.metric("fanline_subscriptions") as usize;
    assert_eq!(open, 1, "and nobody of them came in by what stood behind a refusal");
    let guests: Vec<_> = (0..19).map(|_| Client::open(&gateway.ws_url("/ws?topic=a"))).collect();
    drop((client, guests));
    let (status, log) = gateway.stop();
    assert!(status.success() && !log.contains("tasks unfinished"), "{log}");
    drop(strangers);
}

#[test]
fn what_stands_behind_a_request_is_not_served() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let mut socket = TcpStream::connect(gateway.public()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(&pipelined("/nowhere", &handshake("a"))).unwrap();
    let mut said = String::new();
    socket.read_to_string(&mut said).unwrap();
    assert_eq!((said.matches("HTTP/1.1 404 ").count(), said.matches("HTTP/1.1 ").count()), (1, 1), "{said}");
    assert!(said.contains("\r\nConnection: close\r\n"), "{said}");
}

#[test]
fn a_body_that_nobody_asked_for_does_not_destroy_the_answer() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let mut socket = TcpStream::connect(gateway.public()).unwrap();
    let head = "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n";
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(&vec![b'x'; 300_000]).unwrap();
    assert_eq!(answer(&mut socket).unwrap().status, 404);
}

#[test]
fn who_holds_all_sockets_gives_way_to_who_comes_in() {
    let gateway = Gateway::with_toml("public.max_connections = 20\nhandshake.timeout = \"60s\"\n", &[]).ready();
    let strangers: Vec<_> = (0..SPARE + 60)
        .map(|n| {
            let mut socket = TcpStream::connect(gateway.public()).unwrap();
            let said = ["", "GET /ws HTTP/1.1\r\nHost: a\r\n", "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"][n % 3];
            socket.write_all(said.as_bytes()).unwrap();
            socket
        })
        .collect();
    eventually("all sockets are taken", || (outside(&gateway) >= SPARE).then_some(()));
    let guests: Vec<_> = (0..20).map(|_| Client::json(&gateway, &["a"])).collect();
    assert_eq!(knock(&gateway, "/ws", "").status, 503, "and who is in is in");
    let held = outside(&gateway);
    assert!(held <= SPARE + 64, "{held}");
    assert!(gateway.metric(r#"fanline_handshakes_total{outcome="dropped"}"#) > 0.0, "which is counted");
    drop((strangers, guests));
}

#[test]
fn half_a_head_and_half_a_farewell_do_not_hold_the_end() {
    let gateway =
        Gateway::with_toml("handshake.timeout = \"600s\"\ndrain.delay = \"100ms\"\ndrain.window = \"500ms\"\n", &[])
            .ready();
    let said = ["GET /ws HTTP/1.1\r\nHost: a\r\n", "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", ""];
    let mut strangers = said.map(|said| {
        let mut socket = TcpStream::connect(gateway.public()).unwrap();
        socket.write_all(said.as_bytes()).unwrap();
        socket
    });
    let mut half = TcpStream::connect(gateway.internal()).unwrap();
    half.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n").unwrap();
    assert_eq!(answer(&mut strangers[1]).unwrap().status, 404);
    eventually("the others are held", || (outside(&gateway) == 3).then_some(()));
    let begin = Instant::now();
    let (status, log) = gateway.stop();
    assert!(status.success() && !log.contains("tasks unfinished"), "{log}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    drop((strangers, half));
}

#[test]
fn the_internal_listener_keeps_a_connection_but_not_one_that_takes_no_answer() {
    let gateway = Gateway::start(&["--set", "handshake.timeout=1s"]).ready();
    let mut kept = TcpStream::connect(gateway.internal()).unwrap();
    for _ in 0..3 {
        kept.write_all(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(answer(&mut kept).unwrap().status, 200);
    }
    let attack = pipelined("/metrics", "");
    let mut strangers: Vec<_> = (0..SPARE).map(|_| deaf(gateway.internal())).collect();
    strangers.iter_mut().take(60).for_each(|socket| push(socket, &attack));
    eventually("there is room for others meanwhile", || {
        let mut socket = TcpStream::connect(gateway.internal()).ok()?;
        socket.write_all(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n").ok()?;
        answer(&mut socket).filter(|answer| answer.status == 200)
    });
    // Nothing is read, so that nothing but the deadline ends them.
    let is_cut = |socket: &TcpStream| {
        let reset = socket.take_error().unwrap().is_some();
        reset || socket.peek(&mut [0]).map_or_else(|error| error.kind() != ErrorKind::WouldBlock, |read| read == 0)
    };
    for socket in &strangers[..60] {
        eventually("its time is over", || is_cut(socket).then_some(()));
    }
}

/// A request that has begun is no request: its socket gives way as one that has said nothing does.
#[test]
fn a_single_byte_on_each_socket_of_the_internal_listener_keeps_no_probe_out() {
    let gateway = Gateway::start(&["--set", "handshake.timeout=1h"]).ready();
    let stranger = |_| {
        let mut socket = TcpStream::connect(gateway.internal()).unwrap();
        // It may have had to give way already.
        let _ = socket.write_all(b"G");
        socket
    };
    let strangers: Vec<_> = (0..3 * SPARE).map(stranger).collect();
    eventually("a probe is answered", || {
        let mut socket = TcpStream::connect(gateway.internal()).ok()?;
        socket.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").ok()?;
        answer(&mut socket).filter(|answer| answer.status == 200)
    });
    drop(strangers);
}

#[test]
fn whom_a_request_is_for_is_said_once_on_both_listeners() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    for (host, what) in [("", "no Host"), ("Host: a\r\nHost: b\r\n", "more than one Host")] {
        for (to, path) in
            [(gateway.public(), "/ws"), (gateway.public(), "/sse?topic=a"), (gateway.internal(), "/livez")]
        {
            let refused = exchange(to, format!("GET {path} HTTP/1.1\r\n{host}{HANDSHAKE}\r\n").as_bytes());
            assert_eq!(refused.status, 400, "{path}, {host:?}");
            assert!(refused.body.contains(what), "{}", refused.body);
        }
    }
    let old = exchange(gateway.public(), b"GET /nowhere HTTP/1.0\r\n\r\n");
    assert_eq!(old.status, 404, "HTTP/1.0 knew no Host");
}

#[test]
fn two_answers_to_one_question_are_none() {
    let gateway = Gateway::with_toml("public.origins = [\"https://a.example\"]\n", &[]).ready();
    for more in [
        "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n",
        "Sec-WebSocket-Version: 8\r\n",
        "Origin: https://a.example\r\nOrigin: https://b.example\r\n",
    ] {
        let refused = knock(&gateway, "/ws", more);
        assert_eq!(refused.status, 400, "{more}");
        assert!(refused.body.contains("two different"), "{}", refused.body);
    }
    assert_eq!(knock(&gateway, "/ws", "Sec-WebSocket-Version: 13\r\n").status, 101, "twice the same is one thing");
}

#[test]
fn a_101_has_the_names_of_rfc_6455_byte_for_byte() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let switched = knock(&gateway, "/ws", "Sec-WebSocket-Protocol: fanline.json\r\n");
    assert_eq!(
        switched.head,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: fanline.json"
    );
    let of_the_rfc = HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", "AQIDBAUGBwgJCgsMDQ4PEC==");
    let request = format!("GET /ws HTTP/1.1\r\nHost: a\r\n{of_the_rfc}\r\n");
    let switched = exchange(gateway.public(), request.as_bytes());
    let proof = header(&switched, "Sec-WebSocket-Accept");
    assert_eq!((switched.status, proof.as_deref()), (101, Some("OfS0wDaT5NoxF2gqm7Zj2YtetzM=")));
}

#[test]
fn a_head_may_be_as_large_as_the_operator_says_and_431_names_the_key() {
    let gateway = Gateway::with_toml("[handshake]\nhead = \"2KiB\"\nlines = 8\n", &[]).ready();
    let cookie = |size: usize| knock(&gateway, "/ws", &format!("Cookie: {}\r\n", "x".repeat(size)));
    assert_eq!(cookie(1500).status, 101);
    let large = cookie(2000);
    assert_eq!(large.status, 431);
    assert!(large.body.contains("2048 bytes") && large.body.contains("handshake.head"), "{}", large.body);
    assert_eq!(knock(&gateway, "/ws", &"A: b\r\n".repeat(3)).status, 101, "with Host and those of a handshake");
    let many = knock(&gateway, "/ws", &"A: b\r\n".repeat(4));
    assert_eq!(many.status, 431);
    assert!(many.body.contains("8 header lines") && many.body.contains("handshake.lines"), "{}", many.body);
}

#[test]
fn what_is_refused_stands_in_the_log_once_with_what_allows_it() {
    let gateway = Gateway::with_toml("public.origins = [\"https://a.example\"]\n", &[]).ready();
    let request = |lines: &str| format!("GET /ws HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes();
    let refused: [(Vec<u8>, u16, &str); 10] = [
        (request(&format!("{HANDSHAKE}Origin: https://b.example\r\n")), 403, "add it to public.origins"),
        (request(&format!("Cookie: {}\r\n", "x".repeat(20_000))), 431, "handshake.head"),
        (request(&"A: b\r\n".repeat(80)), 431, "handshake.lines"),
        (request(&HANDSHAKE.replace("Bub25jZQ==", "")), 400, "Sec-WebSocket-Key must be"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 400, "this is HTTP/2"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), 400, "this is TLS"),
        (b"GET /wp-admin HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 404, "the defaults are /ws and /sse"),
        (b"GET /ws/ HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 404, "but one on /ws"),
        (b"GET / HTTP/9.9\r\n\r\n".to_vec(), 400, "another version"),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n".to_vec(), 400, "a bad name"),
    ];
    for (bytes, status, what) in &refused {
        for _ in 0..20 {
            let answer = exchange(gateway.public(), bytes);
            assert_eq!(answer.status, *status, "{what}: {}", answer.body);
            assert!(answer.body.contains(what), "{}", answer.body);
        }
    }
    eventually("the last is logged", || gateway.log().contains("a bad name").then_some(()));
    let log = gateway.log();
    for (_, status, what) in &refused {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(what)).collect();
        assert_eq!(lines.len(), 1, "{what}: {log}");
        assert!(lines[0].contains("INFO") && lines[0].contains("127.0.0.1"), "{}", lines[0]);
        assert!(lines[0].contains(&status.to_string()), "{}", lines[0]);
    }
}

#[test]
fn a_request_that_is_no_handshake_is_told_so_by_an_answer_that_passes_any_proxy() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let plain = exchange(gateway.public(), b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((plain.status, header(&plain, "upgrade")), (400, None), "what came over HTTP/2 asked for no upgrade");
    let old = HANDSHAKE.replace("Version: 13", "Version: 8");
    let old = exchange(gateway.public(), format!("GET /ws HTTP/1.1\r\nHost: a\r\n{old}\r\n").as_bytes());
    assert_eq!((old.status, header(&old, "upgrade").as_deref()), (426, Some("websocket")));
    assert_eq!(header(&old, "connection").as_deref(), Some("Upgrade, close"), "Upgrade is for this hop only");
}
