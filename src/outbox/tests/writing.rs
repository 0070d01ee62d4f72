//! Bytes leave in order, whole, and without a queue while the socket takes them.

use bytes::Bytes;
use std::task::Waker;

use super::*;
use crate::outbox::{Duty, Wire};

const RULE: (u16, OnFull) = (0, OnFull::Disconnect);

fn three() -> [Arc<Publication>; 3] {
    ["one", "two", "three"].map(|text| publication("t", None, text))
}

#[test]
fn what_the_socket_takes_leaves_by_one_write_and_no_queue() {
    let client = Client::plain(usize::MAX, 1000, 10);
    assert_eq!(client.offer(RULE, &three()), 3);
    client.outbox.send(&Bytes::from_static(b"\x8a\0"));
    assert!(client.outbox.state.lock().backlog.is_none());
    assert_eq!((client.pipe.wire().writes(), client.total.used()), (2, 0));
    assert_eq!(client.drained(), ["one", "two", "three", ""]);
}

#[test]
fn what_the_happy_path_touches_lies_in_one_cache_line() {
    assert!(size_of::<super::super::State>() + size_of::<super::super::Mutex<()>>() <= 56);
}

#[test]
fn wherever_a_write_is_cut_the_bytes_go_on_in_order() {
    let whole = {
        let client = Client::plain(usize::MAX, 1000, 10);
        client.offer(RULE, &three());
        client.pipe.wire().taken()
    };
    for cut in 0..=whole.len() {
        let client = Client::plain(cut, 1000, 10);
        assert_eq!(client.offer(RULE, &three()), 3);
        client.outbox.send(&Bytes::from_static(b"\x8a\0"));
        assert_eq!(client.pipe.wire().taken(), whole[..cut]);
        while client.outbox.poll_duty(Waker::noop()) == Duty::Write {
            client.pipe.wire().give_room(1);
            client.outbox.flush().unwrap();
        }
        assert_eq!(client.pipe.wire().taken(), [&whole[..], b"\x8a\0"].concat());
        assert_eq!(client.total.used(), 0);
    }
}

#[test]
fn a_frame_whose_first_byte_has_left_goes_out_whole() {
    for on_full in [OnFull::Disconnect, OnFull::DropOldest, OnFull::DropNewest, OnFull::Conflate] {
        // Cut in the first frame of a direct write, and in the first of a gathered one.
        for later in [0, 3] {
            let client = Client::json(0, 300, 100);
            client.pipe.wire().give_room(2 + 3 - later);
            client.offer_one((0, on_full), "t", None, "first");
            client.pipe.wire().give_room(later);
            let _ = client.outbox.flush();
            for n in 0..20 {
                client.offer_one((0, on_full), "t", None, &format!("next {n}"));
            }
            assert_eq!(client.drained()[0], "first", "{on_full:?}");
        }
    }
}

#[test]
fn a_wanted_part_of_a_run_leaves_alone_and_in_order() {
    let client = Client::plain(usize::MAX, 1000, 10);
    let run = run(client.outbox.protocol(), RULE, &three());
    assert_eq!(client.outbox.offer_some(&run, |place| place != 1), 2);
    assert_eq!(client.drained(), ["one", "three"]);
    assert_eq!(client.outbox.offer_some(&run, |_| false), 0);
    assert!(client.outbox.state.lock().backlog.is_none());
}

/// A part of a run goes through the queue even where the socket is idle: that alone is no reason to drop.
#[test]
fn a_part_of_a_run_above_every_bound_still_reaches_an_idle_socket() {
    let client = Client::plain(usize::MAX, 200, 2);
    let many: Vec<_> = (0..50).map(|n| publication("t", None, format!("{n}"))).collect();
    let run = run(client.outbox.protocol(), RULE, &many);
    assert_eq!(client.outbox.offer_some(&run, |place| place != 0), 49);
    let large = [publication("t", None, vec![b'x'; 500])];
    let run = super::super::fake::run(client.outbox.protocol(), RULE, &large);
    assert_eq!(client.outbox.offer_some(&run, |_| true), 1);
    assert_eq!(client.drained().len(), 50);
}

#[test]
fn a_socket_that_has_drained_since_is_not_full() {
    let client = Client::plain(0, 200, 100);
    client.offer_one(RULE, "t", None, &"x".repeat(100));
    client.pipe.wire().give_room(usize::MAX);
    assert_eq!(client.offer_one(RULE, "t", None, &"y".repeat(100)), 1);
    assert!(client.outbox.is_open());
    assert_eq!(client.drained().len(), 2);
}

#[test]
fn a_broken_socket_is_found_out_and_frees_what_waited() {
    let client = Client::plain(1, 1000, 10);
    client.offer(RULE, &three());
    client.pipe.wire().break_down();
    assert!(client.pipe.wire().try_write_vectored(&[]).is_err());
    client.offer_one(RULE, "t", None, "more");
    assert_eq!(client.outbox.poll_duty(Waker::noop()), Duty::HangUp(crate::close::Close::Lost));
    assert_eq!((client.total.used(), client.outbox.waiting()), (0, 0));
    assert_eq!(client.offer(RULE, &three()), 0);
}

/// The kernel takes bytes for a dead peer as long as it has room; only room that comes back shows life.
#[test]
fn only_a_full_socket_that_takes_bytes_again_is_a_sign_of_life() {
    let client = Client::plain(0, 1000, 100);
    let take = |bytes| {
        client.pipe.wire().give_room(bytes);
        client.outbox.flush().unwrap();
        client.outbox.heard().last() > 0
    };
    let _ = crate::clock::now_ms();
    std::thread::sleep(std::time::Duration::from_millis(2));
    client.pipe.wire().give_room(30);
    assert_eq!(client.offer_one((0, OnFull::Disconnect), "t", None, "straight"), 1);
    let run = run(client.outbox.protocol(), (0, OnFull::Disconnect), &[publication("t", None, "some")]);
    assert_eq!(client.outbox.offer_some(&run, |_| true), 1);
    assert_eq!((client.outbox.waiting(), client.outbox.heard().last()), (0, 0), "all went straight into the socket");
    assert_eq!(client.offer_one((0, OnFull::Disconnect), "t", None, "half of this fits, the rest waits"), 1);
    assert_eq!(client.outbox.heard().last(), 0, "the socket is full for the first time");
    assert!(client.outbox.waiting() > 0 && take(1), "room came back");
}
