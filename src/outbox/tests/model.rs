//! Whatever happens to outboxes in whatever order: what left and what waits is a row of whole frames, nothing
//! is missing without a gap or a close, and every byte is counted once.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::close::Close;
use crate::command::MessageId;
use crate::event::Event;
use crate::outbox::Phase;
use crate::outbox::fake::frames;

/// Topics 0 and 1 share a rule, topics 4 and 5 too.
const RULES: [(u16, OnFull); 6] = [
    (0, OnFull::DropOldest),
    (0, OnFull::DropOldest),
    (1, OnFull::DropNewest),
    (2, OnFull::Disconnect),
    (3, OnFull::Conflate),
    (3, OnFull::Conflate),
];

const CLIENTS: usize = 3;

#[derive(Debug, Clone)]
enum Act {
    Offer { client: usize, topic: usize, keys: Vec<u8>, wanted: u8, size: usize },
    Say { client: usize },
    Room { client: usize, bytes: usize },
    Flush { client: usize },
    Close { client: usize, politely: bool },
    Break { client: usize },
    Gone { client: usize },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let client = 0..CLIENTS;
    let keys = proptest::collection::vec(0..4u8, 1..6);
    let act = prop_oneof![
        20 => (client.clone(), 0..RULES.len(), keys, prop_oneof![3 => Just(u8::MAX), 1 => any::<u8>()], 0..120usize)
            .prop_map(|(client, topic, keys, wanted, size)| Act::Offer { client, topic, keys, wanted, size }),
        4 => client.clone().prop_map(|client| Act::Say { client }),
        8 => (client.clone(), prop_oneof![1..20usize, 100..600usize])
            .prop_map(|(client, bytes)| Act::Room { client, bytes }),
        6 => client.clone().prop_map(|client| Act::Flush { client }),
        1 => (client.clone(), any::<bool>()).prop_map(|(client, politely)| Act::Close { client, politely }),
        1 => client.clone().prop_map(|client| Act::Break { client }),
        1 => client.prop_map(|client| Act::Gone { client }),
    ];
    proptest::collection::vec(act, 1..120)
}

/// What a client must have seen by now.
#[derive(Default)]
struct Expected {
    /// Per topic, the numbers offered while it was open and not known to be missing.
    owed: BTreeMap<usize, BTreeSet<u64>>,
    /// The replies said while it was open.
    replies: u64,
    broken: bool,
}

/// What left and what waits, as its frames will be read.
fn stream(client: &Client) -> Vec<Value> {
    let mut bytes = client.pipe.wire().taken();
    let state = client.outbox.state.lock();
    if let Some(backlog) = &state.backlog {
        backlog.unsent(&mut bytes);
        backlog.check();
    }
    frames(&bytes).iter().map(super::super::fake::Frame::json).collect()
}

fn number_of(topic: &Value) -> usize {
    topic.as_str().unwrap().parse().unwrap()
}

/// Checks one client after `act`; `arriving` are the topic and numbers it was offered by it.
fn check(client: &Client, expected: &mut Expected, arriving: Option<(usize, Vec<u64>)>) {
    if expected.broken || matches!(client.outbox.state.lock().phase, Phase::Gone) {
        return;
    }
    if matches!(client.outbox.state.lock().phase, Phase::Cut(_)) {
        assert_eq!(client.outbox.waiting(), 0);
        return;
    }
    let stream = stream(client);
    let open = client.outbox.is_open();
    let replies: Vec<_> = stream.iter().filter(|frame| frame["type"] == "pong").map(|frame| &frame["id"]).collect();
    let in_order = replies.windows(2).all(|pair| pair[0].as_u64() < pair[1].as_u64());
    assert!(in_order && (!open || replies.len() as u64 == expected.replies), "{replies:?} of {}", expected.replies);
    let mut rules_touched = BTreeSet::new();
    for (&topic, owed) in &mut expected.owed {
        let messages = stream
            .iter()
            .enumerate()
            .filter(|(_, frame)| frame["type"] == "message" && number_of(&frame["topic"]) == topic);
        let messages: Vec<(usize, u64)> =
            messages.map(|(place, frame)| (place, frame["data"]["n"].as_u64().unwrap())).collect();
        assert!(messages.windows(2).all(|pair| pair[0].1 < pair[1].1), "topic {topic} out of order: {messages:?}");
        assert!(messages.iter().all(|(_, n)| owed.contains(n)), "what was dropped or never offered came: {messages:?}");
        if !open {
            continue;
        }
        let there: BTreeSet<u64> = messages.iter().map(|&(_, n)| n).collect();
        let Some(&first) = owed.difference(&there).next() else { continue };
        rules_touched.insert(RULES[topic].0);
        let later = messages.iter().find(|&&(_, n)| n > first).map_or(stream.len(), |&(place, _)| place);
        let gap = stream.iter().rposition(|frame| frame["type"] == "gap" && number_of(&frame["topics"][0]) == topic);
        assert!(gap.is_some_and(|gap| gap < later), "{first} of topic {topic} is missing, no gap before: {stream:?}");
        let state = client.outbox.state.lock();
        let waits = state
            .backlog
            .as_ref()
            .is_some_and(|backlog| backlog.gaps.keys().any(|t| number_of(&Value::from(t.as_str())) == topic));
        assert!(waits, "the gap had left before the drop");
        if RULES[topic].1 == OnFull::DropNewest {
            let arrived = arriving.as_ref().is_some_and(|(_, numbers)| numbers.contains(&first));
            assert!(arrived, "drop_newest dropped what waited");
        }
        *owed = there;
    }
    let arriving = arriving.map(|(topic, _)| RULES[topic].0);
    assert!(rules_touched.iter().all(|&rule| Some(rule) == arriving), "another rule's entries were dropped");
}

fn play(acts: Vec<Act>, limit: usize) {
    let total = Total::new(limit);
    let clients: Vec<_> = (0..CLIENTS).map(|n| Client::of(n as u64, Box::new(Json), 0, 1200, 9, &total)).collect();
    let mut expected: Vec<Expected> = (0..CLIENTS).map(|_| Expected::default()).collect();
    let mut next = 0;
    for act in acts {
        let mut arriving = None;
        match act {
            Act::Offer { client, topic, keys, wanted, size } => {
                let was_open = clients[client].outbox.is_open();
                let numbers: Vec<u64> = keys
                    .iter()
                    .map(|_| {
                        next += 1;
                        next
                    })
                    .collect();
                let publications: Vec<_> = keys
                    .iter()
                    .zip(&numbers)
                    .map(|(key, n)| {
                        let payload = format!("{{\"n\":{n},\"x\":\"{}\"}}", "x".repeat(size));
                        publication(&topic.to_string(), Some(&key.to_string()), payload)
                    })
                    .collect();
                let run = run(clients[client].outbox.protocol(), RULES[topic], &publications);
                let wants = |place: usize| wanted & (1 << place) != 0;
                match wanted {
                    u8::MAX => clients[client].outbox.offer(&run),
                    _ => clients[client].outbox.offer_some(&run, wants),
                };
                let numbers: Vec<u64> =
                    numbers.into_iter().enumerate().filter(|&(place, _)| wants(place)).map(|(_, n)| n).collect();
                if was_open {
                    expected[client].owed.entry(topic).or_default().extend(&numbers);
                }
                arriving = Some((client, (topic, numbers)));
            }
            Act::Say { client } => {
                if clients[client].outbox.is_open() {
                    next += 1;
                    expected[client].replies += 1;
                    clients[client].outbox.say(&Event::Pong { id: Some(&MessageId(next.to_string().into())) });
                }
            }
            Act::Room { client, bytes } => clients[client].pipe.wire().give_room(bytes),
            Act::Flush { client } => drop(clients[client].outbox.flush()),
            Act::Close { client, politely: true } => clients[client].outbox.close_after_writing(Close::Drain(1)),
            Act::Close { client, politely: false } => clients[client].outbox.close(Close::BadRequest(String::new())),
            Act::Break { client } => {
                clients[client].pipe.wire().break_down();
                expected[client].broken = true;
            }
            Act::Gone { client } => clients[client].outbox.gone(),
        }
        for (place, (client, expected)) in clients.iter().zip(&mut expected).enumerate() {
            let arriving = arriving.as_ref().filter(|(client, _)| *client == place).map(|(_, what)| what.clone());
            check(client, expected, arriving);
        }
        let waiting: usize = clients.iter().map(|client| client.outbox.waiting()).sum();
        assert_eq!(total.used(), waiting);
        let listed = clients.iter().filter(|client| client.outbox.state.lock().backlog.is_some()).count();
        assert_eq!(total.waiting.lock().len(), listed);
    }
    for client in &clients {
        let was_open = client.outbox.is_open();
        client.pipe.wire().give_room(usize::MAX);
        let _ = client.outbox.flush();
        assert_eq!(client.outbox.waiting(), 0);
        assert!(!was_open || client.outbox.is_open() || client.outbox.flush().is_ok());
    }
    assert_eq!(total.used(), 0);
    drop(clients);
    assert_eq!(total.waiting.lock().len(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_cut_miscounted_or_missing_without_a_word(acts in acts()) {
        play(acts, usize::MAX);
    }

    #[test]
    fn nor_where_all_together_are_often_too_full(acts in acts()) {
        play(acts, 2000);
    }
}
