//! Messages that come in pieces: what pieces cost, how much they hold together, and how long they may take.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::clock;
use crate::close::Close;
use crate::connection::fake::{House, Visit, masked};
use crate::frame::{Opcode, encode_masked};
use crate::settings::{Auto, ByteSize, Inbound, Limits, Settings};

/// A frame whose message goes on in the next.
fn fragment(opcode: Opcode, bytes: usize) -> Bytes {
    let mut wire = BytesMut::new();
    encode_masked(opcode, &vec![b'x'; bytes], false, [1, 2, 3, 4], &mut wire);
    wire.freeze()
}

async fn idle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn few_messages() -> Settings {
    let limits = Limits { messages_per_second: 1, burst: 5, ..Limits::default() };
    Settings { limits, ..Settings::default() }
}

fn room_for(total: usize) -> Settings {
    Settings { inbound: Inbound { total: Auto::Value(ByteSize(total)), ..Inbound::default() }, ..Settings::default() }
}

/// Why it ended.
async fn ended(visit: &mut Visit) -> Close {
    tokio::time::timeout(Duration::from_secs(60), &mut visit.end).await.expect("it ends").unwrap()
}

#[tokio::test(start_paused = true)]
async fn empty_and_tiny_fragments_count_as_messages() {
    let house = House::new(few_messages());
    for tiny in [0, 1, 511] {
        let mut visit = house.visit(usize::MAX, fragment(Opcode::Text, tiny)).await;
        visit.line().send(&fragment(Opcode::Continuation, tiny).repeat(4));
        idle().await;
        assert!(visit.outbox.is_open(), "five of {tiny} bytes are within the burst");
        visit.line().send(&fragment(Opcode::Continuation, tiny).repeat(1000));
        visit.line().hang_up_when_told();
        assert_eq!(ended(&mut visit).await.code(), 4101, "of {tiny} bytes");
    }
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_large_message_may_come_in_as_many_fragments_as_its_sender_likes_to_fill() {
    let house = House::new(few_messages());
    for size in [512, 4096, 16 * 1024] {
        let visit = house.visit(usize::MAX, fragment(Opcode::Binary, size)).await;
        let rest = 60 * 1024 / size - 1;
        for _ in 0..rest {
            visit.line().send(&fragment(Opcode::Continuation, size));
            idle().await;
        }
        visit.line().send(&masked(Opcode::Ping, b""));
        visit.line().send(&masked(Opcode::Continuation, b"end"));
        visit.line().send(&masked(Opcode::Text, br#"{"type":"ping"}"#));
        idle().await;
        assert!(visit.outbox.is_open(), "fragments of {size} bytes");
        assert_eq!(visit.told().last().map(String::as_str), Some("pong"));
        visit.outbox.close(Close::Lost);
    }
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_all_here_is_counted_and_given_back() {
    let house = House::new(room_for(1 << 20));
    let unfinished = house.rooms.unfinished.clone();
    let visit = house.visit(usize::MAX, Bytes::new()).await;
    assert_eq!(unfinished.used(), 0);
    let parts = [fragment(Opcode::Binary, 1000), fragment(Opcode::Continuation, 3000)];
    for (part, least) in parts.iter().zip([1000, 4000]) {
        visit.line().send(part);
        idle().await;
        assert!((least..least + 4000).contains(&unfinished.used()), "{} of {least}", unfinished.used());
    }
    visit.line().send(&masked(Opcode::Continuation, b""));
    idle().await;
    assert_eq!(unfinished.used(), 0, "all of it is here");
    for cut in [&masked(Opcode::Text, b"half a header")[..1], &masked(Opcode::Ping, b"half a ping")[..9]] {
        let visit = house.visit(usize::MAX, Bytes::new()).await;
        visit.line().send(cut);
        idle().await;
        assert!(unfinished.used() > 0, "{cut:?}");
        visit.line().hang_up();
        idle().await;
        assert_eq!(unfinished.used(), 0, "the connection is gone");
    }
    visit.line().send(&parts.concat());
    idle().await;
    visit.outbox.close(Close::Drain(1));
    idle().await;
    assert_eq!(unfinished.used(), 0, "though the peer takes its time to hang up");
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_wants_more_than_there_is_is_closed_and_the_oldest_makes_room_before() {
    const TOTAL: usize = 64 * 1024;
    let house = House::new(room_for(TOTAL));
    let unfinished = house.rooms.unfinished.clone();
    let mut visits = Vec::new();
    for _ in 0..20 {
        let visit = house.visit(usize::MAX, fragment(Opcode::Binary, 7000)).await;
        idle().await;
        // The clock of claims is the machine's: each begins at a moment of its own.
        let began = clock::now_ms();
        while clock::now_ms() == began {
            std::hint::spin_loop();
        }
        assert!(unfinished.used() <= TOTAL);
        visits.push(visit);
    }
    let open: Vec<_> = visits.iter().map(|visit| visit.outbox.is_open()).collect();
    assert_eq!(open.iter().position(|open| *open), Some(13), "those that waited longest made room: {open:?}");
    assert!(open[13..].iter().all(|open| *open), "{open:?}");
    assert_eq!(ended(&mut visits[0]).await.code(), 4104);
    let mut greedy = house.visit(usize::MAX, Bytes::new()).await;
    greedy.line().send(&fragment(Opcode::Binary, 60_000));
    assert_eq!(ended(&mut greedy).await.code(), 4104);
    let visit = house.visit(usize::MAX, masked(Opcode::Text, br#"{"type":"ping"}"#)).await;
    idle().await;
    assert_eq!(visit.told().last().map(String::as_str), Some("pong"), "whole messages need no room");
    for visit in visits.iter().chain([&visit]) {
        visit.outbox.close(Close::Lost);
    }
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_does_not_end_in_time_ends_its_connection() {
    let inbound = Inbound { timeout: Duration::from_secs(10), ..Inbound::default() };
    let house = House::new(Settings { inbound, ..Settings::default() });
    let unfinished = house.rooms.unfinished.clone();
    let mut slow = house.visit(usize::MAX, fragment(Opcode::Text, 10)).await;
    let mut half = house.visit(usize::MAX, masked(Opcode::Text, b"half a header").slice(..1)).await;
    let quick = house.visit(usize::MAX, fragment(Opcode::Text, 10)).await;
    idle().await;
    quick.line().send(&masked(Opcode::Continuation, b""));
    slow.line().send(&[masked(Opcode::Ping, b"I live"), fragment(Opcode::Continuation, 10)].concat());
    idle().await;
    let now = clock::now_ms();
    unfinished.close_late(now + 9_000);
    idle().await;
    assert!(slow.outbox.is_open() && half.outbox.is_open());
    unfinished.close_late(now + 10_001);
    slow.line().hang_up_when_told();
    half.line().hang_up_when_told();
    assert_eq!((ended(&mut slow).await.code(), ended(&mut half).await.code()), (4104, 4104));
    assert_eq!(slow.told().last().map(String::as_str), Some("close:4104"));
    assert!(quick.outbox.is_open());
    quick.outbox.close(Close::Lost);
    house.close().await;
}
