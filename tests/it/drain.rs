//! SIGTERM: not ready at once, still open for a moment, then everybody is seen out with a word.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use tungstenite::Message;

use crate::client::{Client, retry_ms};
use crate::foreign::{Foreign, LANGUAGES};
use crate::gateway::{Gateway, eventually};

fn gateway(delay: &str, window: &str) -> Gateway {
    Gateway::start(&["--set", &format!("drain.delay={delay}"), "--set", &format!("drain.window={window}")]).ready()
}

#[test]
fn everybody_is_seen_out_with_a_goodbye_and_1012_and_the_gateway_ends_with_0_in_time() {
    let gateway = gateway("500ms", "5s");
    let mut json: Vec<_> = (0..100).map(|_| Client::json(&gateway, &["a"])).collect();
    let mut plain: Vec<_> = (0..100).map(|_| Client::open(&gateway.ws_url("/ws?topic=a"))).collect();
    let foreign = LANGUAGES.map(|language| Foreign::open(language, &gateway.ws_url("/ws?topic=a")));
    let begin = Instant::now();
    gateway.signal("TERM");
    eventually("not ready at once", || (gateway.readyz() == 503).then_some(()));
    let mut late = Client::open(&gateway.ws_url("/ws?topic=a"));
    assert_eq!(gateway.publish("a", "before the door closes"), 1);
    assert!(begin.elapsed() < Duration::from_millis(500), "the machine was too slow to look into the delay");
    eventually("new connections are refused", || TcpStream::connect(gateway.public()).is_err().then_some(()));
    let mut hints = Vec::new();
    for client in &mut json {
        assert_eq!(client.told()["text"], "before the door closes");
        let goodbye = client.told();
        assert_eq!(
            (&goodbye["type"], &goodbye["code"], &goodbye["reason"]),
            (&"goodbye".into(), &1012.into(), &"drain".into())
        );
        let (code, reason) = client.closed();
        assert_eq!((code, goodbye["retry_ms"].as_u64()), (1012, Some(retry_ms(&reason))));
        hints.push(retry_ms(&reason));
    }
    for client in plain.iter_mut().chain([&mut late]) {
        assert_eq!(client.text(), "before the door closes");
        let (code, reason) = client.closed();
        assert_eq!(code, 1012);
        hints.push(retry_ms(&reason));
    }
    for client in &foreign {
        assert_eq!(client.text(), "before the door closes");
        assert_eq!(client.closed().0, 1012);
    }
    hints.sort_unstable();
    hints.dedup();
    assert!(hints.len() > 50, "the hints are spread: {hints:?}");
    // All but the own goodbye is done: the sockets must go, so that nobody is waited for.
    drop((json, plain, late, foreign));
    let (status, log) = gateway.ended();
    assert!(status.success(), "{status}: {log}");
    assert!(begin.elapsed() < Duration::from_millis(500 + 5000 + 5000), "{:?}", begin.elapsed());
}

#[test]
fn what_waits_for_a_client_is_written_before_its_goodbye() {
    let gateway = gateway("0s", "20s");
    let mut slow = Client::json(&gateway, &["a"]);
    let mut others: Vec<_> = (0..30).map(|_| Client::open(&gateway.ws_url("/ws?topic=quiet"))).collect();
    let text = "x".repeat(64 * 1024);
    let mut published = 0;
    while gateway.metric("fanline_outbox_bytes") < 256.0 * 1024.0 {
        gateway.publish("a", &text);
        published += 1;
    }
    gateway.signal("TERM");
    // When all others were said goodbye, so most likely was the slow one: the order is random.
    for client in &mut others {
        assert_eq!(client.closed().0, 1012);
    }
    drop(others);
    let (messages, code, _) = slow.rest();
    assert_eq!((messages.len(), code), (published + 1, 1012));
    let Some(Message::Text(last)) = messages.last() else { panic!("{messages:?}") };
    assert!(last.as_str().starts_with(r#"{"type":"goodbye""#), "{last}");
    drop(slow);
    let (status, log) = gateway.ended();
    assert!(status.success(), "{status}: {log}");
}

#[test]
fn a_client_that_does_not_go_does_not_hold_the_gateway_longer_than_the_window() {
    let gateway = gateway("0s", "1s");
    let _stuck = Client::json(&gateway, &["a"]);
    let text = "x".repeat(64 * 1024);
    while gateway.metric("fanline_outbox_bytes") < 256.0 * 1024.0 {
        gateway.publish("a", &text);
    }
    let begin = Instant::now();
    let (status, log) = gateway.stop();
    assert!(status.success(), "{status}: {log}");
    assert!(begin.elapsed() < Duration::from_secs(9), "{:?}", begin.elapsed());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let gateway = gateway("60s", "60s");
    let _client = Client::json(&gateway, &["a"]);
    gateway.signal("TERM");
    eventually("draining", || (gateway.readyz() == 503).then_some(()));
    let begin = Instant::now();
    let (status, _) = gateway.stop();
    assert_eq!(status.code(), Some(1));
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[test]
fn an_empty_house_ends_after_the_delay_alone() {
    let gateway = gateway("100ms", "60s");
    let begin = Instant::now();
    let (status, log) = gateway.stop();
    assert!(status.success(), "{status}: {log}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}: {log}", begin.elapsed());
}

/// Those whose handshake ends while the door closes are guests like all others.
#[test]
fn a_client_that_comes_in_as_the_door_closes_is_told_too_and_nobody_waits_for_the_window() {
    for round in 0..5 {
        let gateway = gateway("0s", "60s");
        let url = gateway.ws_url("/ws?topic=a");
        let address = gateway.public();
        let connecting = std::thread::spawn(move || {
            let over = |stream| Client::over(stream, &url, Some("fanline.json")).ok();
            std::iter::from_fn(|| TcpStream::connect(address).ok()).map_while(over).collect::<Vec<_>>()
        });
        eventually("some are in", || (gateway.metric(r#"fanline_connections{protocol="json"}"#) > 20.0).then_some(()));
        gateway.signal("TERM");
        let clients = connecting.join().unwrap();
        for mut client in clients {
            let (told, code, _) = client.rest();
            assert_eq!(code, 1012, "round {round}: {told:?}");
        }
        let begin = Instant::now();
        let (status, log) = gateway.ended();
        assert!(status.success(), "round {round}: {status}: {log}");
        assert!(begin.elapsed() < Duration::from_secs(10), "round {round}: {:?}: {log}", begin.elapsed());
    }
}

/// At a terminal nobody waits for the load balancers of nobody; where somebody listens, or a supervisor asks, they are.
#[test]
fn ctrl_c_without_clients_ends_at_once_and_else_the_delay_holds_and_is_told() {
    let idle = gateway("60s", "20s");
    let begin = Instant::now();
    idle.signal("INT");
    let (status, log) = idle.ended();
    assert!(status.success() && begin.elapsed() < Duration::from_secs(30), "{status}: {log}");

    for (signal, clients) in [("INT", 1), ("TERM", 0)] {
        let gateway = gateway("60s", "20s");
        let clients: Vec<_> = (0..clients).map(|_| Client::open(&gateway.ws_url("/ws?topic=a"))).collect();
        gateway.signal(signal);
        eventually("it drains", || (gateway.readyz() == 503).then_some(()));
        let late = Client::open(&gateway.ws_url("/ws?topic=a"));
        gateway.signal(signal);
        let (status, log) = gateway.ended();
        assert_eq!(status.code(), Some(1), "a second signal ends at once: {log}");
        assert!(log.contains("A second signal (Ctrl-C) ends at once"), "{log}");
        drop((clients, late));
    }
}
