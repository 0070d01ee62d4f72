//! A client that only listens: what it sends means nothing, and its silence neither.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::close::Close;
use crate::connection::fake::{House, Visit};
use crate::connection::{Pace, sweep};
use crate::protocol::Sse;
use crate::settings::{Heartbeat, Settings};

async fn listener(house: &House, pace: Option<Arc<Pace>>) -> Visit {
    let visit = house.visit_as(Box::new(Sse::Bare), usize::MAX, Bytes::new(), pace).await;
    visit.line().hang_up_when_told();
    visit
}

/// What came out behind the first word.
fn told(visit: &Visit) -> String {
    let all = String::from_utf8(visit.line().pipe().taken()).unwrap();
    let (first, rest) = all.split_once("\n\n").unwrap();
    assert!(first.starts_with("retry: "), "{all}");
    rest.to_owned()
}

#[tokio::test(start_paused = true)]
async fn what_it_sends_is_passed_over_up_to_a_bound() {
    let house = House::new(Settings::default());
    let visit = listener(&house, None).await;
    for _ in 0..16 {
        visit.line().send(&[b'x'; 1024]);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!((told(&visit), visit.end.is_finished()), (String::new(), false));
    visit.line().send(b"x");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(
        told(&visit),
        "event: goodbye\ndata: {\"type\":\"goodbye\",\"code\":4004,\"reason\":\"bad_request\"}\n\n"
    );
    assert!(matches!(visit.end.await.unwrap(), Close::BadRequest(_)));
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_what_it_sends_is_its_goodbye() {
    let house = House::new(Settings::default());
    let visit = listener(&house, None).await;
    visit.line().hang_up();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(told(&visit), "");
    assert_eq!(visit.end.await.unwrap(), Close::Client(1000));
    let visit = listener(&house, None).await;
    visit.line().break_down();
    visit.outbox.send(&Bytes::from_static(Sse::Bare.comment()));
    assert_eq!(visit.end.await.unwrap(), Close::Lost);
    house.close().await;
}

#[tokio::test]
async fn it_gets_a_comment_at_its_pace_and_its_silence_is_borne() {
    let comment = Sse::Bare.comment();
    let house = House::new(Settings::default());
    let every = crate::settings::OffOr::Value(Duration::from_millis(20));
    let heartbeat = Heartbeat { every, timeout: Duration::from_millis(1), text: "for WebSockets".into() };
    let pace = Pace::one_way(&heartbeat, comment);
    assert!(!pace.as_ref().unwrap().finds_the_dead(), "the kernel has to");
    let visit = listener(&house, pace).await;
    let stop = CancellationToken::new();
    let beats = sweep(
        house.roster.clone(),
        Duration::from_millis(5),
        house.total.clone(),
        None,
        house.rooms.unfinished.clone(),
        stop.clone(),
    );
    let heard = async {
        while told(&visit).len() < 10 * comment.len() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stop.cancel();
    };
    tokio::join!(beats, heard);
    assert!(told(&visit).split_inclusive('\n').all(|line| line.as_bytes() == comment));
    assert!(!visit.end.is_finished());
    visit.outbox.close(Close::Lost);
    house.close().await;
}
