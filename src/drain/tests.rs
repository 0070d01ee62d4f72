use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::*;
use crate::connection::fake::{House, Visit};
use crate::settings::{Drain, Settings};

const WINDOW: Duration = Duration::from_secs(25);

fn settings() -> Drain {
    Drain { window: WINDOW, ..Drain::default() }
}

/// Clients that hang up as soon as they have read their close frame; answers when each was closed.
async fn crowd(house: &House, size: usize) -> Vec<Visit> {
    let mut crowd = Vec::new();
    for _ in 0..size {
        let visit = house.visit(usize::MAX, Bytes::new()).await;
        visit.line().hang_up_when_told();
        crowd.push(visit);
    }
    crowd
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_leave_within_the_window_at_a_pace_in_no_order_each_told_when_to_come_back() {
    let house = House::new(Settings::default());
    let crowd = crowd(&house, 10_000).await;
    let listed: Vec<_> = house.roster.everybody().iter().map(|outbox| outbox.number()).collect();
    let start = Instant::now();
    let metrics = house.rooms.metrics.clone();
    let (roster, drain) = (house.roster.clone(), settings());
    let pace = async {
        let mut left = Vec::new();
        while !roster.is_empty() {
            left.push(roster.len());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        left
    };
    let ((), left) = tokio::join!(see_out(&house.roster, &drain, &metrics), pace);
    assert!(start.elapsed() <= WINDOW && start.elapsed() > WINDOW / 2, "{:?}", start.elapsed());
    let steps: Vec<_> = left.windows(2).map(|pair| pair[0] - pair[1]).collect();
    assert!(steps.iter().all(|&step| step < 600), "{steps:?}");
    assert_eq!(metrics.drain_remaining.get(), 0);

    let closed: HashMap<_, _> =
        crowd.iter().map(|visit| (visit.outbox.number(), visit.line().finished_at().unwrap())).collect();
    assert!(!listed.iter().is_sorted_by_key(|number| closed[number]), "closed in the order of the roster");
    let hints: Vec<u64> = crowd.iter().map(hint_of).collect();
    assert!(hints.iter().all(|hint| (500..=500 + 30_000).contains(hint)));
    assert!(hints.iter().max() > hints.iter().min());
    house.close().await;
}

fn hint_of(visit: &Visit) -> u64 {
    let frames = visit.line().pipe().frames();
    let close = frames.last().unwrap();
    assert_eq!(close.close_code(), Some(1012));
    let reason: serde_json::Value = serde_json::from_slice(&close.payload[2..]).unwrap();
    reason["retry_ms"].as_u64().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_handful_need_not_wait_for_the_window() {
    let house = House::new(Settings::default());
    let _crowd = crowd(&house, 20).await;
    let start = Instant::now();
    see_out(&house.roster, &settings(), &house.rooms.metrics).await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    house.close().await;
}

/// A handshake under way when the drain begins may end in its middle.
#[tokio::test(start_paused = true)]
async fn who_comes_in_while_the_house_empties_is_seen_out_too() {
    let house = House::new(Settings::default());
    let early = house.visit(usize::MAX, Bytes::new()).await;
    let (drain, start) = (settings(), Instant::now());
    let late = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let late = crowd(&house, 1).await;
        early.line().hang_up();
        late
    };
    let ((), late) = tokio::join!(see_out(&house.roster, &drain, &house.rooms.metrics), late);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(late[0].told().last().unwrap(), "close:1012");
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn who_never_hangs_up_does_not_keep_the_house_open_beyond_the_window() {
    let house = House::new(Settings::default());
    let stuck = house.visit(0, Bytes::new()).await;
    let start = Instant::now();
    let short = Drain { window: Duration::from_secs(2), ..Drain::default() };
    see_out(&house.roster, &short, &house.rooms.metrics).await;
    assert!((2..3).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert!(!stuck.end.is_finished());
    house.close().await;
}

/// A look visits no outbox, and five a second are enough: those who are left are often many.
#[tokio::test(start_paused = true)]
async fn while_the_last_are_awaited_the_house_is_looked_at_five_times_a_second() {
    let house = House::new(Settings::default());
    let last = house.visit(usize::MAX, Bytes::new()).await;
    let start = Instant::now();
    let leaves = async {
        tokio::time::sleep(Duration::from_millis(1_010)).await;
        last.line().hang_up();
    };
    let drain = settings();
    tokio::join!(see_out(&house.roster, &drain, &house.rooms.metrics), leaves);
    let waited = start.elapsed().as_millis();
    assert!((1_100..1_300).contains(&waited), "{waited} ms");
    house.close().await;
}

fn shedder(house: &House) -> Arc<Shedder> {
    let (metrics, closing) = (house.rooms.metrics.clone(), house.stop.child_token());
    Shedder::new(house.roster.clone(), metrics, house.tasks.clone(), closing)
}

fn all_leave(crowd: &[Visit]) {
    crowd.iter().for_each(|visit| visit.line().hang_up());
}

fn codes(crowd: &[Visit]) -> Vec<u16> {
    let close = |visit: &Visit| visit.line().pipe().frames().last().and_then(|frame| frame.close_code());
    crowd.iter().filter_map(close).collect()
}

#[tokio::test(start_paused = true)]
async fn a_fifth_is_shed_over_a_minute_at_an_even_pace_and_the_others_stay() {
    let house = House::new(Settings::default());
    let crowd = crowd(&house, 1000).await;
    let listed: Vec<_> = house.roster.everybody().iter().map(|outbox| outbox.number()).collect();
    let (shedder, metrics) = (shedder(&house), house.rooms.metrics.clone());
    let minute = Duration::from_secs(60);
    assert_eq!(shedder.shed(0.2, minute), Ok(Shed { connections: 200, of: 1000 }));
    assert_eq!(metrics.shed_remaining.get(), 200);
    for quarter in 1..=4 {
        tokio::time::sleep(minute / 4).await;
        let gone = 1000 - i64::try_from(house.roster.len()).unwrap();
        assert!((gone - 50 * quarter).abs() <= 1, "{gone} in quarter {quarter}");
        assert!((metrics.shed_remaining.get() + gone - 200).abs() <= 1);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((house.roster.len(), metrics.shed_remaining.get()), (800, 0));
    let codes = codes(&crowd);
    assert_eq!((codes.len(), codes.iter().all(|&code| code == 4200)), (200, true));
    let stayed: Vec<_> = house.roster.everybody().iter().map(|outbox| outbox.number()).collect();
    let gone: Vec<_> = (0..1000).filter(|&place| !stayed.contains(&listed[place])).collect();
    assert!(gone.iter().any(|&place| place < 250) && gone.iter().any(|&place| place > 750), "drawn at random");
    all_leave(&crowd);
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn one_shed_at_a_time_and_it_can_be_ended() {
    let house = House::new(Settings::default());
    let crowd = crowd(&house, 100).await;
    let (shedder, hour) = (shedder(&house), Duration::from_secs(3600));
    assert_eq!(shedder.end().await, 0, "nothing to end");
    shedder.shed(1.0, hour).unwrap();
    tokio::time::sleep(hour / 2).await;
    let refused = shedder.shed(0.1, hour).unwrap_err();
    assert!(matches!(refused, Refused::UnderWay(left) if (49..=51).contains(&left)), "{refused}");
    let spared = shedder.end().await;
    assert!((49..=51).contains(&spared), "{spared}");
    tokio::time::sleep(hour).await;
    assert_eq!((house.roster.len(), house.rooms.metrics.shed_remaining.get()), (spared, 0));
    assert!(shedder.shed(0.01, hour).is_ok(), "there is room for the next");
    all_leave(&crowd);
    house.close().await;
}

/// Its socket would stay open as long as the shed goes on.
#[tokio::test(start_paused = true)]
async fn who_hangs_up_before_its_turn_is_not_held() {
    let house = House::new(Settings::default());
    let visit = house.visit(usize::MAX, Bytes::new()).await;
    let outbox = Arc::downgrade(&visit.outbox);
    shedder(&house).shed(1.0, Duration::from_secs(3600)).unwrap();
    visit.line().hang_up();
    visit.end.await.unwrap();
    drop((visit.socket, visit.outbox));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(outbox.strong_count(), 0);
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_house_that_closes_sheds_nobody_more() {
    let house = House::new(Settings::default());
    let crowd = crowd(&house, 10).await;
    let (closing, metrics) = (tokio_util::sync::CancellationToken::new(), house.rooms.metrics.clone());
    let shedder = Shedder::new(house.roster.clone(), metrics, house.tasks.clone(), closing.clone());
    shedder.shed(1.0, Duration::from_secs(3600)).unwrap();
    closing.cancel();
    assert_eq!(shedder.shed(1.0, Duration::from_secs(1)), Err(Refused::Draining));
    see_out(&house.roster, &settings(), &house.rooms.metrics).await;
    assert_eq!(codes(&crowd), [1012; 10]);
    house.close().await;
}
