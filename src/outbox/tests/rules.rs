//! What happens when a publication meets a full outbox.

use super::*;
use crate::event::{Event, GapReason};
use crate::metrics::Dropped;

/// A client with a full socket and four messages waiting, as many as may: two of topic `a`, two of `b`, under
/// rules 0 and 1.
fn full(rule: OnFull) -> Client {
    let client = Client::json(0, usize::MAX, 4);
    for (topic, text) in [("a", "a1"), ("b", "b1"), ("a", "a2"), ("b", "b2")] {
        let place = u16::from(topic == "b");
        assert_eq!(client.offer_one((place, rule), topic, None, text), 1);
    }
    assert_eq!(client.messages(), 4);
    client
}

fn counted(client: &Client) -> (u64, u64) {
    let metrics = &client.outbox.terms.metrics;
    (metrics.dropped(Dropped::Slow).get(), metrics.gaps(GapReason::Slow).get())
}

#[test]
fn bytes_are_bounded_each_message_counted_with_sixty_four_more() {
    let client = Client::plain(0, 2 * (2 + 10 + ENTRY), 100);
    assert_eq!(client.offer_one((0, OnFull::DropNewest), "t", None, "0123456789"), 1);
    assert_eq!(client.offer_one((0, OnFull::DropNewest), "t", None, "0123456789"), 1);
    assert_eq!(client.offer_one((0, OnFull::DropNewest), "t", None, ""), 0);
    assert_eq!(client.outbox.waiting(), 2 * (2 + 10 + ENTRY));
}

#[test]
fn messages_are_bounded_however_small() {
    let client = Client::plain(0, usize::MAX, 3);
    let taken: usize = (0..5).map(|_| client.offer_one((0, OnFull::DropNewest), "t", None, "")).sum();
    assert_eq!((taken, client.messages()), (3, 3));
}

#[test]
fn disconnect_closes_with_4100_and_keeps_replies_before_the_farewell() {
    let client = full(OnFull::Disconnect);
    client.outbox.say(&Event::Pong { id: None });
    assert_eq!(client.offer_one((0, OnFull::Disconnect), "a", None, "a3"), 0);
    assert!(!client.outbox.is_open());
    assert_eq!(client.drained(), ["pong", "goodbye", "close:4100"]);
}

#[test]
fn drop_oldest_makes_room_under_its_own_rule_only_and_tells_where_the_first_stood() {
    let client = full(OnFull::DropOldest);
    assert_eq!(client.offer_one((1, OnFull::DropOldest), "b", None, "b3"), 1);
    assert_eq!(client.offer_one((1, OnFull::DropOldest), "b", None, "b4"), 1);
    assert_eq!(counted(&client), (3, 1), "the gap itself needs room");
    assert_eq!(client.drained(), ["a1", "gap:b", "a2", "b4"]);
}

#[test]
fn drop_oldest_closes_where_nothing_under_its_rule_is_left() {
    let client = full(OnFull::DropOldest);
    assert_eq!(client.offer_one((7, OnFull::DropOldest), "c", None, &"x".repeat(200)), 0);
    assert_eq!(client.drained(), ["goodbye", "close:4100"]);
}

#[test]
fn drop_newest_keeps_what_waits_and_tells_at_the_end_once() {
    let client = full(OnFull::DropNewest);
    let offered = ["a3", "a4"].map(|text| client.offer_one((0, OnFull::DropNewest), "a", None, text));
    client.outbox.say(&Event::Pong { id: None });
    client.offer_one((1, OnFull::DropNewest), "b", None, "b3");
    client.offer_one((0, OnFull::DropNewest), "a", None, "a5");
    assert_eq!((offered, counted(&client)), ([0, 0], (4, 2)));
    assert_eq!(client.drained(), ["a1", "b1", "a2", "b2", "gap:a", "pong", "gap:b"]);
}

#[test]
fn conflate_keeps_the_newest_per_topic_under_its_own_rule_only() {
    let client = full(OnFull::Conflate);
    assert_eq!(client.offer_one((0, OnFull::Conflate), "a", None, "a3"), 1);
    assert_eq!(client.drained(), ["gap:a", "b1", "b2", "a3"]);
}

#[test]
fn conflate_goes_by_the_producers_key_across_topics_of_one_rule() {
    let client = Client::json(0, usize::MAX, 5);
    for (topic, key, text) in
        [("p", "x", "x1"), ("q", "x", "qx1"), ("p", "y", "y1"), ("p", "x", "x2"), ("q", "x", "qx2")]
    {
        client.offer_one((0, OnFull::Conflate), topic, Some(key), text);
    }
    assert_eq!(client.offer_one((0, OnFull::Conflate), "p", Some("y"), "y2"), 1);
    assert_eq!(counted(&client), (3, 2));
    assert_eq!(client.drained(), ["gap:p", "gap:q", "x2", "qx2", "y2"]);
}

/// What a slow client keeps is what it is charged for, and not the run around it.
#[test]
fn conflate_keeps_no_run_alive_for_one_of_its_frames() {
    for (on_full, is_shared) in [(OnFull::Conflate, false), (OnFull::DropOldest, true)] {
        let client = Client::json(0, usize::MAX, 5);
        let both = ["x", "y"].map(|key| publication("p", Some(key), key));
        let run = run(client.outbox.protocol(), (0, on_full), &both);
        assert_eq!(client.outbox.offer(&run), 2);
        assert_eq!(!run.joined.is_unique(), is_shared, "{on_full:?}");
        assert_eq!(client.drained(), ["x", "y"]);
    }
}

/// With each kind of overflow rule: a frame that waits keeps alive what it is charged for, and nothing else.
#[test]
fn what_waits_keeps_no_payload_alive() {
    for on_full in [OnFull::Disconnect, OnFull::DropOldest, OnFull::DropNewest, OnFull::Conflate] {
        let client = Client::json(0, usize::MAX, 5);
        let publication = publication("p", Some("key"), "x");
        assert_eq!(client.offer((0, on_full), std::slice::from_ref(&publication)), 1);
        assert_eq!(std::sync::Arc::strong_count(&publication), 1, "{on_full:?}");
    }
}

#[test]
fn the_gap_of_what_conflate_drops_takes_no_room_from_the_newer_one() {
    let client = Client::json(0, usize::MAX, 4);
    for text in ["a1", "a2", "a3"] {
        client.offer_one((0, OnFull::DropNewest), "a", None, text);
    }
    assert_eq!(["b1", "b2"].map(|text| client.offer_one((1, OnFull::Conflate), "b", None, text)), [1, 1]);
    assert_eq!(client.drained(), ["a1", "a2", "a3", "gap:b", "b2"]);
}

#[test]
fn conflate_closes_where_the_newest_alone_have_no_room() {
    let client = Client::json(0, usize::MAX, 3);
    for key in ["x", "y", "z"] {
        client.offer_one((0, OnFull::Conflate), "p", Some(key), key);
    }
    assert_eq!(client.offer_one((0, OnFull::Conflate), "p", Some("new"), "n"), 0);
    assert_eq!(client.drained(), ["goodbye", "close:4100"]);
}

/// One gap is enough as long as it waits; one that has left stands for nothing that comes later.
#[test]
fn a_gap_that_has_begun_to_leave_is_followed_by_another() {
    let client = Client::json(0, usize::MAX, 3);
    for text in ["a1", "a2", "a3", "a4"] {
        client.offer_one((0, OnFull::DropOldest), "a", None, text);
    }
    client.pipe.wire().give_room(1);
    client.outbox.flush().unwrap();
    client.offer_one((0, OnFull::DropOldest), "a", None, "a5");
    assert_eq!(client.drained(), ["gap:a", "gap:a", "a5"]);
    assert_eq!(counted(&client).1, 2);
}

#[test]
fn where_a_rule_changes_the_one_gap_moves_to_the_first_drop() {
    let client = Client::json(0, usize::MAX, 6);
    for text in ["1", "2", "3", "4", "5", "6", "7"] {
        client.offer_one((0, OnFull::DropNewest), "a", None, text);
    }
    client.outbox.say(&Event::Pong { id: None });
    client.offer_one((0, OnFull::DropOldest), "a", None, "8");
    assert_eq!(client.drained(), ["gap:a", "4", "5", "6", "pong", "8"]);
    assert_eq!(counted(&client).1, 1);
}

#[test]
fn a_route_may_keep_silent_about_drops_or_close() {
    let offer = |on_gap| {
        let client = Client::of(1, Box::new(Plain::new(on_gap)), 0, usize::MAX, 2, &Total::new(usize::MAX));
        for text in ["1", "2", "3"] {
            client.offer_one((0, OnFull::DropOldest), "a", None, text);
        }
        client.drained()
    };
    assert_eq!(offer(OnGap::Ignore), ["2", "3"]);
    assert_eq!(offer(OnGap::Close), ["close:4202"]);
    assert_eq!(offer(OnGap::Notify), ["gap:a", "3"]);
}

#[test]
fn conflate_too_closes_where_the_route_wants_it_and_loses_no_reply() {
    let client = Client::of(1, Box::new(Plain::new(OnGap::Close)), 0, usize::MAX, 3, &Total::new(usize::MAX));
    client.offer_one((0, OnFull::Conflate), "a", None, "1");
    client.outbox.send(&bytes::Bytes::from_static(b"\x8a\0"));
    client.offer_one((0, OnFull::Conflate), "a", None, "2");
    client.offer_one((0, OnFull::Conflate), "a", None, "3");
    assert_eq!(client.drained(), ["", "close:4202"]);
}

/// Looking for the gap anew at each of the drops would be quadratic, under the outbox's lock.
#[test]
fn a_full_outbox_of_ten_thousand_is_conflated_in_one_walk() {
    let client = Client::json(0, usize::MAX, 10_000);
    for n in 0..10_000 {
        client.offer_one((0, OnFull::Conflate), "a", None, &n.to_string());
    }
    let before = crate::outbox::row::STEPS.get();
    assert_eq!(client.offer_one((0, OnFull::Conflate), "a", None, "newest"), 1);
    let steps = crate::outbox::row::STEPS.get() - before;
    assert!(steps < 10 * 10_000, "{steps} entries looked at");
    assert_eq!(client.drained(), ["gap:a", "newest"]);
}

#[test]
fn a_gap_reaches_back_to_when_the_first_that_was_dropped_came() {
    let now = crate::clock::unix_ms();
    let seven_seconds_old = |text: &str| {
        let publication = publication("t", None, text.to_owned());
        let received = publication.received - std::time::Duration::from_secs(7);
        Arc::new(Publication { received, ..(*publication).clone() })
    };
    let client = Client::json(0, usize::MAX, 2);
    for text in ["1", "2", "3", "4"] {
        client.offer((0, OnFull::DropOldest), &[seven_seconds_old(text)]);
    }
    client.drained();
    let frames = client.pipe.wire().frames();
    let gap = frames.iter().map(|frame| frame.json()).find(|json| json["type"] == "gap").unwrap();
    let (since, until) = (gap["since"].as_u64().unwrap(), gap["until"].as_u64().unwrap());
    assert!(since <= now - 6900 && until >= now, "{since} to {until}, now {now}");
}
