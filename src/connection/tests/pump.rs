//! What a connection reads and writes while it is open.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};

use crate::broker::{Broker, Health, Liveness, PublishError, Receipt};
use crate::close::Close;
use crate::connection::Connection;
use crate::connection::fake::{House, Line, masked};
use crate::frame::Opcode;
use crate::publication::Header;
use crate::settings::{Grant, OnMessage, Route, Settings, TopicRule, TopicRules};
use crate::topic::Topic;

async fn idle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn bytes_that_came_with_the_handshake_are_heard_first() {
    let house = House::new(Settings::default());
    let [one, two] = [1, 2].map(|id| masked(Opcode::Text, format!(r#"{{"type":"ping","id":{id}}}"#).as_bytes()));
    let (early, late) = (one.slice(..5), [&one[5..], &two].concat());
    let visit = house.visit(usize::MAX, early).await;
    visit.line().send(&late);
    idle().await;
    let ids: Vec<_> = visit.line().pipe().frames()[2..].iter().map(|frame| frame.json()["id"].as_u64()).collect();
    assert_eq!(ids, [Some(1), Some(2)]);
    visit.outbox.close(Close::Lost);
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_by_a_pong_with_its_bytes() {
    let house = House::new(Settings::default());
    let visit = house.visit(usize::MAX, masked(Opcode::Ping, b"are you there")).await;
    idle().await;
    let pong = visit.line().pipe().frames().pop().unwrap();
    assert_eq!((pong.opcode, pong.payload.as_slice()), (0xA, b"are you there".as_slice()));
    visit.outbox.close(Close::Lost);
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_its_socket_did_not_take_follows_when_the_peer_reads_on() {
    let house = House::new(Settings::default());
    let visit = house.visit(7, Bytes::new()).await;
    while visit.outbox.waiting() > 0 {
        visit.line().give_room(1);
        idle().await;
    }
    assert_eq!(visit.told(), ["welcome", "subscribed"]);
    visit.outbox.close(Close::Lost);
    house.close().await;
}

/// Every idle connection pays for its task: what is rare is boxed.
#[tokio::test(start_paused = true)]
async fn a_connections_task_stays_small() {
    let house = House::new(Settings::default());
    let visit = house.visit(usize::MAX, Bytes::new()).await;
    assert!(visit.size <= 192, "{} bytes", visit.size);
    // What its task holds for it, beside the outbox.
    assert!(size_of::<Connection<Line>>() <= 152, "{} bytes", size_of::<Connection<Line>>());
    visit.outbox.close(Close::Lost);
    house.close().await;
}

/// A road on which publishing never ends.
struct Stuck;

impl Broker for Stuck {
    fn subscribe(&self, _: &Topic) -> Liveness {
        Liveness::Live
    }

    fn unsubscribe(&self, _: &Topic) {}

    fn publish<'a>(&'a self, _: &'a Topic, _: &'a Header, _: Bytes) -> BoxFuture<'a, Result<Receipt, PublishError>> {
        std::future::pending().boxed()
    }

    fn health(&self) -> Health {
        Health::Open
    }
}

/// Design: nothing on the delivery path awaits a client, nor its publishing.
#[tokio::test(start_paused = true)]
async fn a_client_whose_publishing_takes_long_still_gets_what_waits_for_it() {
    let rule = TopicRule { publish: Grant::Anyone, ..TopicRule::default() };
    let route = Route { on_message: OnMessage::Publish, ..Route::default() };
    let settings = Settings { topics: TopicRules::new(vec![rule]), routes: vec![route], ..Settings::default() };
    let house = House::on(settings, Some(Arc::new(Stuck)));
    let publish = masked(Opcode::Text, br#"{"type":"publish","topic":"t","text":"x"}"#);
    let visit = house.visit(7, publish).await;
    idle().await;
    assert!(visit.outbox.waiting() > 0);
    visit.line().give_room(usize::MAX);
    idle().await;
    assert_eq!((visit.outbox.waiting(), visit.told().len()), (0, 2));
    visit.end.abort();
    house.close().await;
}
