//! How a connection ends, and how long that may take.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::close::Close;
use crate::connection::fake::{House, Line, Visit, masked};
use crate::frame::Opcode;
use crate::settings::{ByteSize, Limits, Settings};

const FIVE_SECONDS: Duration = Duration::from_secs(5);

/// Waits for the end, and answers why and how long it took.
async fn ended(visit: &mut Visit) -> (Close, Duration) {
    let start = Instant::now();
    let close = (&mut visit.end).await.unwrap();
    (close, start.elapsed())
}

/// The connection has done what it can do for now.
async fn idle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn is_polite(line: &Line) -> bool {
    line.finished_at().is_some() && !line.is_aborted()
}

#[tokio::test(start_paused = true)]
async fn a_clients_close_is_answered_with_its_own_code() {
    let house = House::new(Settings::default());
    let mut visit = house.visit(usize::MAX, Bytes::new()).await;
    visit.line().send(&masked(Opcode::Close, &1001u16.to_be_bytes()));
    visit.line().hang_up();
    assert_eq!(ended(&mut visit).await.0, Close::Client(1001));
    assert_eq!(visit.told(), ["welcome", "subscribed", "goodbye", "close:1001"]);
    assert!(is_polite(visit.line()));
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_before_the_close_is_answered_before_it() {
    let house = House::new(Settings::default());
    let mut visit = house.visit(usize::MAX, Bytes::new()).await;
    let ping = masked(Opcode::Text, br#"{"type":"ping"}"#);
    visit.line().send(&[ping, masked(Opcode::Close, b""), masked(Opcode::Text, br#"{"type":"ping"}"#)].concat());
    visit.line().hang_up();
    assert_eq!(ended(&mut visit).await.0, Close::Client(1000));
    assert_eq!(visit.told()[2..], ["pong", "goodbye", "close:1000"]);
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn after_our_farewell_we_send_no_more_and_wait_five_seconds_for_the_peers_end() {
    let house = House::new(Settings::default());
    let mut visit = house.visit(usize::MAX, Bytes::new()).await;
    visit.outbox.close(Close::Drain(9));
    idle().await;
    assert!(is_polite(visit.line()), "the peer has time to read the farewell");
    visit.line().send(b"whatever it still sends is read and dropped");
    let (close, took) = ended(&mut visit).await;
    assert_eq!(close, Close::Drain(9));
    assert!(visit.line().is_aborted() && took <= FIVE_SECONDS && took > FIVE_SECONDS / 2, "{took:?}");

    let mut prompt = house.visit(usize::MAX, Bytes::new()).await;
    prompt.outbox.close(Close::Drain(9));
    prompt.line().hang_up();
    assert!(ended(&mut prompt).await.1 < Duration::from_millis(10));
    assert!(is_polite(prompt.line()));
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_take_the_farewell_is_cut_after_five_seconds_in_all() {
    let house = House::new(Settings::default());
    let mut visit = house.visit(0, Bytes::new()).await;
    visit.outbox.close(Close::Drain(9));
    let (close, took) = ended(&mut visit).await;
    assert_eq!((close, took.as_secs()), (Close::Drain(9), 5));
    assert!(visit.line().is_aborted());
    assert_eq!(house.total.used(), 0);
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn all_that_waited_leaves_before_a_drained_client_does() {
    let house = House::new(Settings::default());
    let mut visit = house.visit(10, Bytes::new()).await;
    visit.outbox.close_after_writing(Close::Drain(9));
    idle().await;
    assert!(visit.line().finished_at().is_none());
    visit.line().give_room(usize::MAX);
    visit.line().hang_up();
    ended(&mut visit).await;
    assert_eq!(visit.told(), ["welcome", "subscribed", "goodbye", "close:1012"]);
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_half_open_peer_is_cut_at_once_though_its_socket_is_full() {
    let house = House::new(Settings::default());
    let mut visit = house.visit(3, Bytes::new()).await;
    visit.outbox.close(Close::NoPong);
    let (close, took) = ended(&mut visit).await;
    assert_eq!((close, took), (Close::NoPong, Duration::ZERO));
    assert!(visit.line().is_aborted());
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_whose_socket_takes_it_is_told_why_and_cut_a_second_later() {
    let house = House::new(Settings::default());
    let mut visit = house.visit(usize::MAX, Bytes::new()).await;
    visit.outbox.close(Close::NoPong);
    let (close, took) = ended(&mut visit).await;
    assert_eq!((close, took.as_secs()), (Close::NoPong, 1));
    assert_eq!(visit.told()[2..], ["goodbye", "close:4201"]);
    assert!(visit.line().is_aborted(), "nobody waits for the dead");

    let mut alive = house.visit(usize::MAX, Bytes::new()).await;
    alive.line().hang_up_when_told();
    alive.outbox.close(Close::NoPong);
    assert_eq!(ended(&mut alive).await.1, Duration::ZERO);
    assert!(is_polite(alive.line()));
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_socket_ends_its_connection_and_frees_what_it_held() {
    let house = House::new(Settings::default());
    let mut visit = house.visit(3, Bytes::new()).await;
    idle().await;
    visit.line().break_down();
    assert_eq!(ended(&mut visit).await.0, Close::Lost);
    assert_eq!(house.total.used(), 0);
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_breaks_the_protocol_is_closed_with_the_code_for_it() {
    let limits = Limits { message: ByteSize(100), ..Limits::default() };
    let house = House::new(Settings { limits, ..Settings::default() });
    let unmasked = Bytes::from_static(b"\x81\x02hi");
    let cases = [
        (unmasked, "close:1002"),
        (masked(Opcode::Continuation, b"x"), "close:1002"),
        (masked(Opcode::Text, b"\xff"), "close:1007"),
        (masked(Opcode::Text, &[b'x'; 101]), "close:1009"),
    ];
    for (sent, code) in cases {
        let mut visit = house.visit(usize::MAX, Bytes::new()).await;
        visit.line().send(&sent);
        visit.line().hang_up();
        ended(&mut visit).await;
        assert_eq!(visit.told().last().map(String::as_str), Some(code));
    }
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn who_sends_more_than_its_rate_is_closed_with_4101_pings_counted() {
    let limits = Limits { messages_per_second: 1, burst: 3, ..Limits::default() };
    let house = House::new(Settings { limits, ..Settings::default() });
    for kind in [Opcode::Text, Opcode::Ping, Opcode::Pong] {
        let mut visit = house.visit(usize::MAX, Bytes::new()).await;
        visit.line().send(&masked(kind, br#"{"type":"ping"}"#).repeat(4));
        visit.line().hang_up();
        assert!(matches!(ended(&mut visit).await.0, Close::RateLimited(2000..=4000)));
        assert_eq!(visit.told().last().unwrap(), "close:4101");
    }
    house.close().await;
}
