//! Signs of life, on a clock that the tests turn.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::close::Close;
use crate::connection::{Enrolled, Pace, Roster, sweep};
use crate::identity::ConnectionNumber;
use crate::outbox::fake::{Frame, Pipe, terms};
use crate::outbox::{Duty, Outbox, Total};
use crate::protocol::Json;
use crate::session::Unfinished;
use crate::settings::{Heartbeat, OffOr};

const EVERY: u64 = 10_000;
const TIMEOUT: u64 = 4_000;

/// Connections on a roster, heard of when they came.
struct Crowd {
    roster: Arc<Roster>,
    peers: Vec<(Arc<Outbox<Pipe>>, Enrolled)>,
    total: Arc<Total>,
    start: u64,
}

impl Crowd {
    fn new(size: u64, room: usize, settings: &Heartbeat) -> Self {
        Self::aging(size, room, settings, None)
    }

    fn aging(size: u64, room: usize, settings: &Heartbeat, max_age: Option<Duration>) -> Self {
        let (roster, total, pace) = (Arc::new(Roster::default()), Total::new(usize::MAX), Pace::of(settings));
        let terms = terms(Box::new(Json), 1000, 100, &total);
        let start = clock::now_ms() + 1;
        let enrol = |number| {
            let outbox = Outbox::new(terms.clone(), ConnectionNumber(number), Pipe::with_room(room));
            outbox.heard().note(start);
            let shared: Arc<Outbox> = outbox.clone();
            let enrolled = roster.enrol(&shared, pace.clone(), max_age);
            (outbox, enrolled)
        };
        let peers = (0..size).map(enrol).collect();
        Self { roster, peers, total, start }
    }

    fn beat(&self, after: u64) {
        self.beat_at(self.start + after);
    }

    fn beat_at(&self, now: u64) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(self.roster.beat(|| now));
    }

    fn pings(&self) -> usize {
        let asks = |frame: &Frame| frame.opcode == 9 || frame.payload == b"beat";
        self.peers.iter().map(|(outbox, _)| outbox.wire().frames().iter().filter(|frame| asks(frame)).count()).sum()
    }

    fn duty(&self, place: usize) -> Duty {
        let outbox: Arc<Outbox> = self.peers[place].0.clone();
        outbox.poll_duty(Waker::noop())
    }
}

fn settings(text: &str) -> Heartbeat {
    let every = OffOr::Value(Duration::from_millis(EVERY));
    Heartbeat { every, timeout: Duration::from_millis(TIMEOUT), text: text.into() }
}

#[test]
fn those_who_came_together_are_not_pinged_together_and_all_in_time() {
    let crowd = Crowd::new(1000, usize::MAX, &settings(""));
    let mut most = 0;
    for after in (500..=EVERY + 500).step_by(500) {
        let before = crowd.pings();
        crowd.beat(after);
        most = most.max(crowd.pings() - before);
    }
    assert_eq!(crowd.pings(), 1000, "each once within its time");
    assert!(most < 150, "{most} in one of twenty looks");
    assert!(crowd.peers[0].0.wire().taken().starts_with(b"\x89\0"));
}

/// Whoever came one after the other is visited together: that is where memory is near.
#[test]
fn neighbours_are_pinged_together() {
    const LOOKS: u64 = EVERY / 100;
    let crowd = Crowd::new(1000, usize::MAX, &settings(""));
    let mut pinged = vec![0; 1000];
    for look in 1..=LOOKS {
        crowd.beat(look * 100);
        for (place, first) in pinged.iter_mut().enumerate().filter(|(_, first)| **first == 0) {
            *first = if crowd.peers[place].0.wire().writes() > 0 { look } else { 0 };
        }
    }
    // Who came after the turn of its neighbours waits for the next.
    let apart = |look: &u64, other: u64| look.abs_diff(other).min(LOOKS - look.abs_diff(other)) > 1;
    assert!(pinged.chunks(64).all(|block| !block.iter().any(|look| apart(look, block[0]))), "{pinged:?}");
}

/// All say something at one moment, an answer to a broadcast: they are not pinged together for ever after.
#[test]
fn who_was_brought_into_step_is_not_pinged_in_step() {
    let crowd = Crowd::new(4000, usize::MAX, &settings(""));
    let (mut most, begun) = (0, 2 * EVERY);
    for after in (EVERY..=begun + 9 * EVERY).step_by(500) {
        let before: Vec<_> = crowd.peers.iter().map(|(outbox, _)| outbox.wire().writes()).collect();
        crowd.beat(after);
        let pinged = crowd.peers.iter().zip(&before).filter(|((outbox, _), before)| outbox.wire().writes() > **before);
        let pinged: Vec<_> = pinged.map(|((outbox, _), _)| outbox).collect();
        pinged.iter().for_each(|outbox| outbox.heard().note(crowd.start + after));
        most = if after > begun + 8 * EVERY { most.max(pinged.len()) } else { 0 };
        if after == begun {
            crowd.peers.iter().for_each(|(outbox, _)| outbox.heard().note(crowd.start + after));
        }
    }
    assert!((1..1200).contains(&most), "{most} of 4000 in one of twenty looks");
}

#[test]
fn who_does_not_answer_in_time_is_taken_for_dead() {
    let crowd = Crowd::new(1, usize::MAX, &settings(""));
    crowd.beat(EVERY + 1);
    crowd.beat(EVERY + TIMEOUT);
    assert_eq!(crowd.duty(0), Duty::Listen);
    crowd.beat(EVERY + 1 + TIMEOUT);
    assert_eq!(crowd.duty(0), Duty::HangUp(Close::NoPong));
    assert_eq!(crowd.pings(), 1);
}

#[test]
fn any_byte_is_a_sign_of_life_and_who_talks_is_not_pinged() {
    let crowd = Crowd::new(1, usize::MAX, &settings(""));
    crowd.beat(EVERY + 1);
    for second in 1..100 {
        crowd.peers[0].0.heard().note(crowd.start + EVERY + second * 1000);
        crowd.beat(EVERY + second * 1000 + 500);
    }
    assert_eq!((crowd.duty(0), crowd.pings()), (Duty::Listen, 1));
    crowd.beat(EVERY + 99_000 + EVERY);
    assert_eq!(crowd.pings(), 2);
}

/// Its pong stands behind all that it has still to read, so what it takes is a sign of life too.
#[test]
fn who_takes_bytes_out_of_a_backlog_is_not_taken_for_dead_and_who_stops_is() {
    let quick =
        Heartbeat { every: OffOr::Value(Duration::from_millis(5)), timeout: Duration::from_millis(5), ..settings("") };
    let crowd = Crowd::new(1, 0, &quick);
    let outbox: Arc<Outbox> = crowd.peers[0].0.clone();
    outbox.send(&vec![0; 1000].into());
    for _ in 0..60 {
        crowd.peers[0].0.wire().give_room(1);
        outbox.flush().unwrap();
        crowd.beat_at(clock::now_ms());
        assert_eq!(crowd.duty(0), Duty::Write, "it takes a byte now and then");
        std::thread::sleep(Duration::from_millis(1));
    }
    let end = clock::now_ms();
    (0..4).for_each(|round| crowd.beat_at(end + 6 * round));
    assert_eq!(crowd.duty(0), Duty::Abort(Close::NoPong));
}

#[test]
fn a_text_asks_for_no_answer_and_evicts_nobody() {
    let crowd = Crowd::new(1, usize::MAX, &settings("beat"));
    (0..100).for_each(|round| crowd.beat(EVERY + 1 + round * EVERY));
    assert_eq!((crowd.duty(0), crowd.pings()), (Duty::Listen, 100));
    assert!(crowd.peers[0].0.wire().texts().iter().all(|text| text == "beat"));
}

#[test]
fn switched_off_it_says_nothing() {
    let crowd = Crowd::new(1, usize::MAX, &Heartbeat { every: OffOr::Off, ..settings("") });
    crowd.beat(1 << 40);
    assert_eq!((crowd.duty(0), crowd.pings()), (Duty::Listen, 0));
}

#[test]
fn who_left_the_roster_is_not_visited() {
    let mut crowd = Crowd::new(20, usize::MAX, &settings(""));
    let left = crowd.peers.split_off(5);
    let (left, enrolled): (Vec<_>, Vec<_>) = left.into_iter().unzip();
    drop(enrolled);
    assert_eq!((crowd.roster.len(), crowd.roster.everybody().len()), (5, 5));
    crowd.beat(EVERY + 1);
    assert_eq!((crowd.pings(), left.iter().map(|outbox| outbox.wire().writes()).sum::<usize>()), (5, 0));
}

#[tokio::test]
async fn others_have_their_turn_between_the_pings_of_many() {
    let crowd = Crowd::new(1000, usize::MAX, &settings(""));
    let done = CancellationToken::new();
    let other = async {
        let mut pings_seen = vec![];
        while !done.is_cancelled() {
            pings_seen.push(crowd.pings());
            tokio::task::yield_now().await;
        }
        pings_seen.push(crowd.pings());
        pings_seen
    };
    let all = async {
        crowd.roster.beat(|| crowd.start + 2 * EVERY).await;
        done.cancel();
    };
    let (seen, ()) = tokio::join!(other, all);
    assert_eq!(crowd.pings(), 1000);
    assert!(seen.windows(2).all(|pair| pair[1] - pair[0] <= 2 * 64), "{seen:?}");
}

#[tokio::test]
async fn the_sweep_closes_whose_socket_takes_nothing_for_too_long() {
    let crowd = Crowd::new(1, 0, &settings(""));
    let outbox: Arc<Outbox> = crowd.peers[0].0.clone();
    outbox.send(&bytes::Bytes::from_static(b"\x8a\0"));
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let (roster, total, stall) = (crowd.roster.clone(), crowd.total.clone(), Some(Duration::from_millis(50)));
    let unfinished = Unfinished::new(usize::MAX, Duration::from_secs(3600));
    tasks.spawn(sweep(roster, Duration::from_millis(5), total, stall, unfinished, stop.clone()));
    let closed = std::future::poll_fn(|cx| match outbox.poll_duty(cx.waker()) {
        Duty::WriteAndHangUp(close) => std::task::Poll::Ready(close),
        _ => std::task::Poll::Pending,
    });
    let close = tokio::time::timeout(Duration::from_secs(10), closed).await.unwrap();
    assert_eq!(close.code(), 4100);
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

/// Those who came together leave over a quarter of the age, whether they are pinged or not; until then each is pinged.
#[test]
fn nobody_stays_longer_than_the_age_and_those_who_came_together_leave_apart() {
    const AGE: u64 = 100_000;
    let silent = Heartbeat { every: OffOr::Off, ..settings("") };
    for beat in [&settings("beat"), &silent] {
        let crowd = Crowd::aging(400, usize::MAX, beat, Some(Duration::from_millis(AGE)));
        let gone = || (0..400).filter(|&place| crowd.duty(place) != Duty::Listen).count();
        let mut left = Vec::new();
        for after in (0..=AGE + 1000).step_by(1000) {
            let before = gone();
            crowd.beat(after);
            left.push(gone() - before);
        }
        let early: usize = left[..74].iter().sum();
        assert_eq!((early, gone()), (0, 400), "none before three quarters, all by the whole: {left:?}");
        assert!(left.iter().all(|&some| some < 60), "at once: {left:?}");
        let Duty::HangUp(Close::MaxAge(retry)) = crowd.duty(0) else { panic!("{:?}", crowd.duty(0)) };
        assert!((500..=1000).contains(&retry), "{retry}");
        if beat.every != OffOr::Off {
            assert!(crowd.peers[0].0.wire().texts().len() >= 7, "{:?}", crowd.peers[0].0.wire().texts());
        }
    }
}
