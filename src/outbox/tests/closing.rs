//! How clients are closed, alone and for everybody's sake.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::close::Close;
use crate::event::Event;
use crate::outbox::Duty;

const RULE: (u16, OnFull) = (0, OnFull::Disconnect);

/// Counts how often the connection's task is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Three clients with full sockets, for whom 1, 2 and 3 messages of 100 bytes wait.
fn unequal(total: &Arc<Total>) -> Vec<Client> {
    let client = |number| Client::of(number, Box::new(Json), 0, usize::MAX, 100, total);
    let clients: Vec<_> = (1..=3).map(client).collect();
    for (client, messages) in clients.iter().zip(1..) {
        for _ in 0..messages {
            client.offer_one(RULE, "t", None, &"x".repeat(100));
        }
    }
    clients
}

#[test]
fn a_task_is_woken_once_when_its_socket_is_full_and_once_to_hang_up() {
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    let client = Client::plain(0, 1000, 100);
    assert_eq!(client.outbox.poll_duty(&waker), Duty::Listen);
    for _ in 0..3 {
        client.offer_one(RULE, "t", None, "x");
    }
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    assert_eq!(client.outbox.poll_duty(&waker), Duty::Write);
    client.offer_one(RULE, "t", None, "x");
    assert_eq!(bell.0.load(Ordering::Relaxed), 1, "it knows that bytes wait");
    client.outbox.close(Close::BadRequest("x".into()));
    assert_eq!(bell.0.load(Ordering::Relaxed), 2);
    assert!(matches!(client.outbox.poll_duty(&waker), Duty::WriteAndHangUp(_)));
}

#[test]
fn the_first_close_holds() {
    let client = Client::json(0, 1000, 100);
    client.outbox.close(Close::RateLimited(1));
    client.outbox.close_after_writing(Close::Drain(1));
    client.outbox.close(Close::Lost);
    assert_eq!(client.drained(), ["goodbye", "close:4101"]);
    assert_eq!(client.outbox.poll_duty(Waker::noop()), Duty::HangUp(Close::RateLimited(1)));
}

#[test]
fn a_drained_client_gets_all_that_waits_first() {
    let client = Client::json(0, 1000, 100);
    client.offer_one(RULE, "t", None, "last");
    client.outbox.close_after_writing(Close::Drain(7));
    client.offer_one(RULE, "t", None, "too late");
    assert_eq!(client.drained(), ["last", "goodbye", "close:1012"]);
}

#[test]
fn a_peer_that_is_gone_is_owed_nothing_and_frees_its_room_at_once() {
    let cases = [(Close::NoPong, Duty::Abort(Close::NoPong)), (Close::Lost, Duty::HangUp(Close::Lost))];
    for (close, duty) in cases {
        let client = Client::json(3, 1000, 100);
        client.offer_one(RULE, "t", None, "x");
        client.outbox.send(&Bytes::from_static(b"\x89\0"));
        client.outbox.close(close);
        assert_eq!(client.outbox.poll_duty(Waker::noop()), duty);
        assert_eq!((client.total.used(), client.total.waiting.lock().len()), (0, 0));
    }
}

#[test]
fn a_silent_peer_is_told_where_its_socket_takes_all_of_the_farewell_and_else_cut() {
    let told = Client::json(usize::MAX, 1000, 100);
    told.outbox.close(Close::NoPong);
    assert_eq!(told.outbox.poll_duty(Waker::noop()), Duty::HangUp(Close::NoPong));
    assert_eq!(told.drained(), ["goodbye", "close:4201"]);
    for room in [0, 1, 20] {
        let full = Client::json(room, 1000, 100);
        full.outbox.close(Close::NoPong);
        assert_eq!(full.outbox.poll_duty(Waker::noop()), Duty::Abort(Close::NoPong), "room for {room} bytes");
        assert_eq!(full.total.used(), 0);
    }
}

#[test]
fn replies_are_never_dropped_and_a_client_that_piles_them_up_is_closed() {
    let client = Client::json(0, 1000, 5);
    while client.outbox.is_open() {
        client.outbox.say(&Event::Pong { id: None });
        assert!(client.outbox.waiting() <= 2 * 1000 + 400);
    }
    let frames = client.drained();
    let (farewell, replies) = frames.split_last_chunk::<2>().map(|(replies, farewell)| (farewell, replies)).unwrap();
    assert!(replies.len() > 20 && replies.iter().all(|reply| reply == "pong"));
    assert_eq!(farewell, &["goodbye", "close:4100"]);
}

#[test]
fn where_all_together_are_too_full_the_fullest_goes_first_with_4102() {
    let total = Total::new(1200);
    let clients = unequal(&total);
    let open: Vec<_> = clients.iter().map(|client| client.outbox.is_open()).collect();
    assert_eq!(open, [true, true, false]);
    assert_eq!(clients[2].drained(), ["goodbye", "close:4102"]);
    assert!(total.used() <= total.limit());
}

/// A client for whom one large message is half out and takes nothing more.
fn stuck(number: u64, size: usize, total: &Arc<Total>) -> Client {
    let client = Client::of(number, Box::new(Json), 100, usize::MAX, 100, total);
    client.offer_one(RULE, "big", None, &"x".repeat(size));
    client
}

#[test]
fn who_hoards_one_large_message_half_out_pays_for_it_and_nobody_else() {
    let total = Total::new(8000);
    let small: Vec<_> = (0..5).map(|number| Client::of(number, Box::new(Json), 0, usize::MAX, 100, &total)).collect();
    assert!(small.iter().all(|client| client.offer_one(RULE, "t", None, "mine") == 1));
    let large: Vec<_> = (5..20)
        .map(|number| {
            let client = stuck(number, 2000, &total);
            assert!(total.used() <= total.limit(), "{} wait", total.used());
            client
        })
        .collect();
    assert!(small.iter().all(|client| client.outbox.is_open()), "who waits for little pays for nobody");
    let (open, closed): (Vec<_>, Vec<_>) = large.iter().partition(|client| client.outbox.is_open());
    assert_eq!(open.len(), 3);
    for client in closed {
        assert_eq!(client.outbox.waiting(), 0, "its room is free at once");
        let duty = client.outbox.poll_duty(Waker::noop());
        assert!(
            matches!(duty, Duty::Abort(Close::Overloaded(2000..=4000))),
            "nothing can follow half a message: {duty:?}"
        );
    }
}

/// Whoever is closed for another reason still holds what it is owed; that goes before anybody open does.
#[test]
fn who_is_being_closed_makes_room_before_those_who_wait_for_less() {
    let total = Total::new(8000);
    let bystander = Client::of(1, Box::new(Json), 0, usize::MAX, 100, &total);
    bystander.offer_one(RULE, "t", None, "mine");
    let closing: Vec<_> = (2..10)
        .map(|number| {
            let client = stuck(number, 2000, &total);
            client.outbox.close(Close::Slow(1));
            assert!(total.used() <= total.limit() + 400, "{} wait", total.used());
            client
        })
        .collect();
    bystander.offer_one(RULE, "t", None, "mine too");
    assert!(bystander.outbox.is_open() && total.used() <= total.limit());
    let aborted = |client: &&Client| client.outbox.poll_duty(Waker::noop()) == Duty::Abort(Close::Slow(1));
    assert!(closing.iter().filter(aborted).count() >= 5, "the first close holds");
}

#[test]
fn replies_too_count_against_all_outboxes_and_go_when_the_fullest_must() {
    let total = Total::new(3000);
    let [hoarder, bystander] = [1, 2].map(|number| Client::of(number, Box::new(Json), 0, 1 << 20, 100, &total));
    bystander.offer_one(RULE, "t", None, "mine");
    while hoarder.outbox.is_open() {
        hoarder.outbox.say(&Event::Pong { id: None });
        assert!(total.used() <= total.limit() + 200, "{}", total.used());
    }
    assert!(bystander.outbox.is_open(), "who waits for little pays for nobody");
    assert_eq!(hoarder.drained(), ["goodbye", "close:4102"]);
    assert_eq!(bystander.drained(), ["mine"]);
    assert_eq!(total.used(), 0);
}

#[test]
fn when_everybody_is_gone_no_byte_is_counted_and_nobody_listed() {
    let total = Total::new(usize::MAX);
    let clients = unequal(&total);
    assert!(total.used() > 600);
    clients[0].outbox.gone();
    clients[1].drained();
    drop(clients);
    assert_eq!((total.used(), total.waiting.lock().len()), (0, 0));
}

#[test]
fn who_takes_nothing_for_too_long_is_closed_and_who_takes_a_byte_is_not() {
    let total = Total::new(usize::MAX);
    let clients = unequal(&total);
    let stall = Duration::from_millis(40);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while clients[0].outbox.is_open() && std::time::Instant::now() < deadline {
        clients[1].pipe.wire().give_room(1);
        clients[1].outbox.flush().unwrap();
        let taken = std::time::Instant::now();
        total.close_stalled(stall);
        assert!(clients[1].outbox.is_open() || taken.elapsed() >= stall);
        std::thread::yield_now();
    }
    assert_eq!(clients[0].drained(), ["goodbye", "close:4100"]);
}
