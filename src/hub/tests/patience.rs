//! The healer, where a history is never answered for though the road is open.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::broker::{HistoryError, Page, Read};
use crate::hub::healer;
use crate::position::Position;
use crate::settings::TopicRule;

/// A Redis that says where topics stand, and always that it cannot read just now.
struct Busy;

impl Broker for Busy {
    fn subscribe(&self, _: &Topic) -> Liveness {
        Liveness::Live
    }

    fn unsubscribe(&self, _: &Topic) {}

    fn publish<'a>(&'a self, _: &'a Topic, _: &'a Header, _: Bytes) -> BoxFuture<'a, Result<Receipt, PublishError>> {
        async { Ok(Receipt::heard(0)) }.boxed()
    }

    fn positions<'a>(&'a self, topics: &'a [Topic]) -> BoxFuture<'a, Vec<Result<Position, HistoryError>>> {
        async { vec![Ok(Position::at(5)); topics.len()] }.boxed()
    }

    fn read<'a>(&'a self, _: &'a Topic, _: Read) -> BoxFuture<'a, Result<Page, HistoryError>> {
        async { Err(HistoryError::Away("BUSY running a script".into())) }.boxed()
    }

    fn health(&self) -> Health {
        Health::Open
    }
}

#[tokio::test(start_paused = true)]
async fn a_hole_that_nobody_reads_ends_after_ten_seconds_as_lost() {
    let rule = TopicRule { history_size: 9, ..TopicRule::default() };
    let mut house = House::under(true, TopicRules::new(vec![rule]));
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    tasks.spawn(healer::run(house.interest.clone(), Arc::new(Busy), stop.clone()));
    let client = house.json(1);
    house.subscribe(&client, &["t"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    house.settle();
    let header = Header { prev: Some(Position::at(6)), pos: Some(Position::at(7)), ..Header::default() };
    let text = Bytes::from_static(b"behind a hole");
    house.interest.deliver(Publication::new(topic("t"), Some(Box::new(header)), text, Instant::now()));
    tokio::time::sleep(Duration::from_secs(9)).await;
    house.settle();
    assert_eq!(client.told(), ["subscribed:true"]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    house.settle();
    assert_eq!(client.told(), ["subscribed:true", "gap:lost", "behind a hole"]);
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}
