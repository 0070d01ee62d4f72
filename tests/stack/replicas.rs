//! Replicas die, come, and go; nobody loses a message of a topic with a history.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::crowd::Crowd;
use crate::gateway::{PATIENCE, eventually, signal};
use crate::house::{KEY, Stack, get, is_there};
use crate::producer::Producer;

const CLIENTS: usize = 60;

#[test]
fn whoever_connects_through_the_balancer_hears_redis_the_api_and_the_producer() {
    let stack = Stack::up(&[]);
    let front = stack.at("BALANCER_PORT");
    let (status, page) = get(front, "/").unwrap();
    assert_eq!((status, page.contains("orders:demo")), (200, true), "{page}");

    let hello = Crowd::gather(3, front, "hello");
    assert_eq!(hello.spread(&["r1", "r2", "r3"]), [1, 1, 1]);
    assert_eq!(ask_redis(&stack, "PUBLISH fanline:hello {\"n\":0}"), ":3");
    let request = json!({ "topic": "hello", "data": { "n": 1 } });
    assert_eq!(stack.publish(&request, KEY), (200, r#"{"topics":{"hello":{"replicas":3}}}"#.to_owned()));
    hello.judge(2);

    assert_eq!(stack.publish(&request, "a guess").0, 401);
    let (status, _) = get(stack.at("API_PORT"), "/metrics").unwrap();
    assert_eq!(status, 404, "what concerns one replica is not for whichever the balancer takes");

    let orders = Crowd::gather(1, front, "orders:demo");
    let count = || orders.each().map(|diary| diary.heard.len()).sum::<usize>();
    eventually("three orders", || (count() >= 3).then_some(()));
    let heard: Vec<_> = orders.each().flat_map(|diary| diary.heard.clone()).collect();
    let first = heard[0]["n"].as_u64().unwrap();
    assert!((first..).zip(&heard).all(|(n, order)| order["n"] == n), "{heard:?}");

    let pids = stack.pids();
    let said = stack.down();
    assert!(pids.iter().all(|&pid| !is_there(pid)), "{pids:?}\n{said}");
    assert_eq!((hello.ends("r1", 1012), hello.ends("r2", 1012), hello.ends("r3", 1012)), (1, 1, 1), "not drained");
    for name in ["r1", "r2", "r3", "redis"] {
        assert!(said.contains(&format!("{name} ended with 0")), "{said}");
    }
    assert!(!said.contains("killed by"), "who ends by the signal that it was sent has ended: {said}");
}

#[test]
fn a_replica_dies_two_are_added_one_drains_and_nothing_is_lost() {
    let stack = Stack::up(&[]);
    let crowd = Crowd::gather(CLIENTS, stack.at("BALANCER_PORT"), "orders:test");
    let producer = Producer::start(&stack, "orders:test");
    assert_eq!(crowd.spread(&["r1", "r2", "r3"]), [CLIENTS / 3; 3]);

    signal(stack.pid("r2"), "KILL");
    stack.until_balancer_finds("r2", "DOWN");
    crowd.all_listen();
    assert_eq!(crowd.ends("r2", 0), CLIENTS / 3);
    assert_eq!(crowd.all_ends(), CLIENTS / 3, "somebody else was disturbed");
    assert_eq!(crowd.spread(&["r1", "r2", "r3"]), [CLIENTS / 2, 0, CLIENTS / 2]);
    eventually("it is said", || stack.said().contains("r2 killed by SIGKILL, and nobody asked").then_some(()));

    stack.scale(4);
    for name in ["r1", "r2", "r3", "r4"] {
        stack.until_balancer_finds(name, "UP");
    }
    let late = Crowd::gather(2, stack.at("BALANCER_PORT"), "hello");
    assert_eq!(late.spread(&["r2", "r4"]), [1, 1], "new ones go where the fewest are");

    let before = (crowd.all_ends(), crowd.turned_away());
    signal(stack.pid("r1"), "TERM");
    eventually("its clients were sent away", || (crowd.ends("r1", 1012) == CLIENTS / 2).then_some(()));
    eventually("it has ended", || stack.said().contains("r1 ended with 0").then_some(()));
    crowd.all_listen();
    let after = (crowd.all_ends() - CLIENTS / 2, crowd.turned_away());
    assert_eq!(before, after, "somebody met an error, or was disturbed");
    assert_eq!(crowd.spread(&["r1"]), [0]);
    stack.until_balancer_finds("r1", "DOWN");

    crowd.judge(producer.stop());

    let pids = stack.pids();
    let said = stack.interrupt();
    assert!(pids.iter().all(|&pid| !is_there(pid)), "{said}");
    assert_eq!(
        crowd.ends("r3", 1012) + crowd.ends("r2", 1012) + crowd.ends("r4", 1012),
        CLIENTS,
        "not drained: {said}"
    );
}

#[test]
fn replicas_learn_a_clients_address_from_the_balancer_and_not_from_the_client() {
    let stack = Stack::up(&[("REPLICAS", "1"), ("PROMETHEUS", "off"), ("FANLINE_LOG__LEVEL", "debug")]);
    // The gateway would believe the one that is a trusted proxy's.
    for from in ["127.0.0.5", "127.0.0.1"] {
        let mut socket = connect_from(from, stack.at("BALANCER_PORT"));
        let forged = "X-Forwarded-For: 203.0.113.9\r\nX-Request-Id: forged";
        write!(socket, "GET /sse?topic=hello HTTP/1.1\r\nHost: stack\r\n{forged}\r\n\r\n").unwrap();
        let mut answer = [0; 15];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        let log = stack.log("r1");
        assert!(log.contains(&format!("client={from} request_id=")), "{log}");
        assert!(!log.contains("203.0.113.9") && !log.contains("forged"), "{log}");
    }
}

/// A socket from another of this machine's addresses.
fn connect_from(address: &str, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from = SocketAddr::new(address.parse().unwrap(), 0);
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// One line to Redis; the first line of its answer.
fn ask_redis(stack: &Stack, command: &str) -> String {
    let mut socket = TcpStream::connect(stack.at("REDIS_PORT")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let parts: Vec<_> = command.splitn(3, ' ').collect();
    let bulk: String = parts.iter().map(|part| format!("${}\r\n{part}\r\n", part.len())).collect();
    write!(socket, "*{}\r\n{bulk}", parts.len()).unwrap();
    let mut answer = [0; 64];
    let count = socket.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..count]).lines().next().unwrap_or_default().to_owned()
}
