//! A client that does not read: its topic's rule decides what becomes of it, it is told, and nobody else
//! loses anything.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tungstenite::Message;

use crate::client::Client;
use crate::gateway::{Gateway, eventually};

/// A topic for each rule, and little room for everybody.
const RULES: &str = r#"
[outbox]
bytes = "512KiB"
stall = "off"
[[topics]]
match = "oldest"
on_full = "drop_oldest"
[[topics]]
match = "newest"
on_full = "drop_newest"
[[topics]]
match = "conflate"
on_full = "conflate"
"#;

/// The size of one publication: some hundred of them fill every buffer between here and there.
const SIZE: usize = 32 * 1024;

/// What waits beyond it means that nothing more leaves.
const ROOM: f64 = 512.0 * 1024.0;

/// A json client with a small receive buffer, so that it fills soon; it reads nothing until told to.
fn sluggard(gateway: &Gateway, topics: &[&str]) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.connect(&gateway.public().into()).unwrap();
    let mut client = Client::over(TcpStream::from(socket), &gateway.ws_url("/ws"), Some("fanline.json")).unwrap();
    client.until("welcome");
    client.subscribe(topics);
    client
}

/// A numbered publication of [`SIZE`] bytes.
fn publish(gateway: &Gateway, topic: &str, number: usize) {
    let data = json!({ "n": number, "pad": "x".repeat(SIZE) });
    let request = json!({ "topic": topic, "data": data, "key": (number % 3).to_string() });
    let answer = gateway.post("/api/publish", &request.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
}

fn number(told: &Value) -> Option<usize> {
    told["data"]["n"].as_u64().map(|n| usize::try_from(n).unwrap())
}

fn dropped(gateway: &Gateway) -> u64 {
    gateway.metric(r#"fanline_dropped_total{reason="slow"}"#) as u64
}

fn closed(gateway: &Gateway, reason: &str) -> u64 {
    gateway.metric(&format!("fanline_connections_closed_total{{reason=\"{reason}\"}}")) as u64
}

/// Publishes until `enough`, each read by `reader` before the next; answers how many.
fn publish_until(gateway: &Gateway, topic: &str, reader: &mut Client, enough: impl Fn() -> bool) -> usize {
    for count in 0..2000 {
        if enough() {
            return count;
        }
        publish(gateway, topic, count);
        assert_eq!(number(&reader.told()), Some(count), "others lose nothing");
        assert!(gateway.metric("fanline_outbox_bytes") <= ROOM, "the room is bounded");
    }
    panic!("two thousand publications fill every buffer");
}

/// What the sluggard finds when it reads at last: numbers, and `None` where a gap stands.
fn find(client: &mut Client, last: usize) -> Vec<Option<usize>> {
    let mut found = Vec::new();
    loop {
        let told = client.told();
        if told["type"] == "gap" {
            assert_eq!(told["reason"], "slow", "{told}");
        }
        found.push(number(&told));
        if found.last() == Some(&Some(last)) {
            return found;
        }
    }
}

/// The numbers before and behind the one gap.
fn around_the_gap(found: &[Option<usize>]) -> (Vec<usize>, Vec<usize>) {
    let gap = found.iter().position(Option::is_none).expect("a gap");
    let numbers = |part: &[Option<usize>]| part.iter().map(|n| n.expect("one gap only")).collect();
    (numbers(&found[..gap]), numbers(&found[gap + 1..]))
}

#[test]
fn disconnect_closes_a_client_that_does_not_read_with_4100_and_a_hint() {
    let gateway = Gateway::with_toml(RULES, &[]).ready();
    let (mut slow, mut reader) = (sluggard(&gateway, &["t"]), Client::json(&gateway, &["t"]));
    let was_full = std::cell::Cell::new(false);
    let published = publish_until(&gateway, "t", &mut reader, || {
        let waiting = gateway.metric("fanline_outbox_bytes");
        let gone = was_full.get() && waiting < ROOM / 2.0;
        was_full.set(was_full.get() || waiting > ROOM * 0.8);
        gone
    });
    let (messages, code, reason) = slow.rest();
    assert_eq!(code, 4100);
    assert!(serde_json::from_str::<Value>(&reason).unwrap()["retry_ms"].as_u64().unwrap() >= 1000, "{reason}");
    let told: Vec<Value> = messages.iter().map(|m| serde_json::from_str(m.to_text().unwrap()).unwrap()).collect();
    let (goodbye, before) = told.split_last().unwrap();
    assert_eq!((&goodbye["type"], &goodbye["reason"]), (&json!("goodbye"), &json!("slow")));
    assert!(before.iter().enumerate().all(|(at, told)| number(told) == Some(at)), "in order from the first on");
    assert!(before.len() < published);
    drop(slow);
    eventually("it is counted", || (closed(&gateway, "slow") == 1).then_some(()));
    publish(&gateway, "t", published);
    assert_eq!(number(&reader.told()), Some(published));
}

#[test]
fn what_waits_for_a_client_waits_here_and_not_in_the_kernel() {
    let gateway = Gateway::with_toml(RULES, &[]).ready();
    let stuck = sluggard(&gateway, &["newest"]);
    // A third of what the kernel would take by itself.
    let published = 40;
    (0..published).for_each(|nth| publish(&gateway, "newest", nth));
    let kept_here = (ROOM as u64).div_ceil(SIZE as u64);
    let in_kernel = 512 * 1024 / SIZE as u64;
    let least = published as u64 - kept_here - in_kernel;
    eventually("what has no room is dropped by the topic's rule", || (dropped(&gateway) >= least).then_some(()));
    drop(stuck);
}

#[test]
fn drop_oldest_keeps_the_newest_and_tells_the_gap_where_it_is() {
    let gateway = Gateway::with_toml(RULES, &[]).ready();
    let (mut slow, mut reader) = (sluggard(&gateway, &["oldest"]), Client::json(&gateway, &["oldest"]));
    let published = publish_until(&gateway, "oldest", &mut reader, || dropped(&gateway) >= 20);
    let lost = usize::try_from(dropped(&gateway)).unwrap();
    let (before, behind) = around_the_gap(&find(&mut slow, published - 1));
    assert_eq!(before, (0..before.len()).collect::<Vec<_>>());
    assert_eq!(behind, (published - behind.len()..published).collect::<Vec<_>>());
    assert_eq!(before.len() + lost + behind.len(), published, "what is missing is what was counted");
    goes_on(&gateway, "oldest", [&mut slow, &mut reader], published);
}

#[test]
fn drop_newest_keeps_the_oldest_and_tells_the_gap_behind_them() {
    let gateway = Gateway::with_toml(RULES, &[]).ready();
    let (mut slow, mut reader) = (sluggard(&gateway, &["newest"]), Client::json(&gateway, &["newest"]));
    let published = publish_until(&gateway, "newest", &mut reader, || dropped(&gateway) >= 20);
    let lost = usize::try_from(dropped(&gateway)).unwrap();
    let mut before = 0;
    loop {
        let told = slow.told();
        if told["type"] == "gap" {
            break;
        }
        assert_eq!(number(&told), Some(before));
        before += 1;
    }
    assert_eq!(before + lost, published, "what is missing is what was counted");
    goes_on(&gateway, "newest", [&mut slow, &mut reader], published);
}

#[test]
fn conflate_keeps_the_newest_of_each_key() {
    let gateway = Gateway::with_toml(RULES, &[]).ready();
    let (mut slow, mut reader) = (sluggard(&gateway, &["conflate"]), Client::json(&gateway, &["conflate"]));
    let published = publish_until(&gateway, "conflate", &mut reader, || dropped(&gateway) >= 40);
    let (before, behind) = around_the_gap(&find(&mut slow, published - 1));
    assert_eq!(before, (0..before.len()).collect::<Vec<_>>());
    assert!(behind.is_sorted(), "{behind:?}");
    assert!(behind.ends_with(&[published - 3, published - 2, published - 1]), "{behind:?}");
    goes_on(&gateway, "conflate", [&mut slow, &mut reader], published);
}

/// Afterwards both hear what comes, and nothing waits.
#[track_caller]
fn goes_on(gateway: &Gateway, topic: &str, clients: [&mut Client; 2], next: usize) {
    publish(gateway, topic, next);
    for client in clients {
        assert_eq!(number(&client.told()), Some(next));
    }
    assert_eq!(gateway.metric("fanline_outbox_bytes") as u64, 0);
    assert_eq!(closed(gateway, "slow"), 0);
}

#[test]
fn a_client_with_bytes_waiting_that_takes_none_for_a_while_is_closed() {
    let gateway = Gateway::with_toml(&RULES.replace("\"off\"", "\"500ms\""), &[]).ready();
    let (slow, mut reader) = (sluggard(&gateway, &["newest"]), Client::json(&gateway, &["newest"]));
    publish_until(&gateway, "newest", &mut reader, || gateway.metric("fanline_outbox_bytes") > 0.0);
    eventually("it is closed and counted", || (closed(&gateway, "slow") == 1).then_some(()));
    assert_eq!(gateway.metric(r#"fanline_connections{protocol="json"}"#) as u64, 1);
    drop(slow);
}

#[test]
fn all_outboxes_together_are_bounded_and_the_fullest_goes_with_4102() {
    let config = RULES.replace("stall = \"off\"", "stall = \"off\"\ntotal = \"1MiB\"");
    let gateway = Gateway::with_toml(&config, &[]).ready();
    let slow: Vec<_> = (0..4).map(|_| sluggard(&gateway, &["oldest"])).collect();
    let mut reader = Client::json(&gateway, &["oldest"]);
    let mut most = 0.0_f64;
    // Twice what four of them may hold, in the end, lies between here and there.
    for count in 0..800 {
        publish(&gateway, "oldest", count);
        assert_eq!(number(&reader.told()), Some(count), "who reads loses nothing");
        most = most.max(gateway.metric("fanline_outbox_bytes"));
    }
    assert!((ROOM..=1.25 * 1024.0 * 1024.0).contains(&most), "at most {most} bytes waited");
    // A farewell that nobody takes is given up after a while.
    eventually("somebody was closed", || (closed(&gateway, "overloaded") > 0).then_some(()));
    assert!(closed(&gateway, "overloaded") < 4, "those that still fit stay");
    drop(slow);
}

/// One large publication, half out, is all that waits for the stuck; others wait for little.
#[test]
fn who_holds_the_most_goes_first_though_it_is_one_large_publication_half_out() {
    let config = RULES.replace("stall = \"off\"", "stall = \"off\"\ntotal = \"2MiB\"");
    let gateway = Gateway::with_toml(&config, &[]).ready();
    let mut small: Vec<_> = (0..3).map(|_| sluggard(&gateway, &["newest"])).collect();
    let mut reader = Client::json(&gateway, &["newest", "oldest"]);
    let waits = || gateway.metric("fanline_outbox_bytes");
    let last = publish_until(&gateway, "newest", &mut reader, || waits() > 6.0 * SIZE as f64) - 1;
    let large: Vec<_> = (0..12).map(|_| sluggard(&gateway, &["oldest"])).collect();
    let pad = "x".repeat(400 * 1024);
    let mut most = 0.0_f64;
    for count in 0..40 {
        let request = json!({ "topic": "oldest", "data": { "n": count, "pad": pad } });
        assert_eq!(gateway.post("/api/publish", &request.to_string()).status, 200);
        assert_eq!(number(&reader.told()), Some(count), "who reads loses nothing");
        most = most.max(waits());
    }
    assert!(most <= 2.0 * 1024.0 * 1024.0, "at most {most} bytes waited");
    eventually("a dozen of them do not fit", || (closed(&gateway, "overloaded") > 0).then_some(()));
    for client in &mut small {
        let found = find(client, last);
        assert_eq!(found, (0..=last).map(Some).collect::<Vec<_>>(), "who waits for little pays for nobody");
    }
    drop(large);
}

/// Bytes that a slow client costs do not add up over clients that come and go.
#[test]
fn slow_clients_that_come_and_go_leave_nothing_behind() {
    let gateway = Gateway::with_toml(RULES, &[]).ready();
    let mut reader = Client::json(&gateway, &["newest"]);
    for _ in 0..3 {
        let slow = sluggard(&gateway, &["newest"]);
        let before = dropped(&gateway);
        publish_until(&gateway, "newest", &mut reader, || dropped(&gateway) > before);
        drop(slow);
        eventually("nothing waits", || (gateway.metric("fanline_outbox_bytes") as u64 == 0).then_some(()));
    }
    assert_eq!(gateway.metric(r#"fanline_connections{protocol="json"}"#) as u64, 1);
}

/// A quiet topic is served while a huge one is busy with a client that takes nothing.
#[test]
fn replies_and_other_topics_reach_a_client_whatever_its_full_topic_does() {
    let gateway = Gateway::with_toml(RULES, &[]).ready();
    let (mut slow, mut reader) = (sluggard(&gateway, &["newest", "quiet"]), Client::json(&gateway, &["newest"]));
    publish_until(&gateway, "newest", &mut reader, || dropped(&gateway) >= 5);
    slow.send(Message::text(r#"{"type":"ping","id":"still there?"}"#));
    let begin = Instant::now();
    let (mut pong, mut gap) = (false, false);
    while !(pong && gap) {
        let told = slow.told();
        pong |= told["type"] == "pong";
        gap |= told["type"] == "gap";
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
    gateway.publish("quiet", "psst");
    assert_eq!(slow.told()["text"], "psst");
}
