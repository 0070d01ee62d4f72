//! A rolling restart as operators do it: three replicas behind a real HAProxy, thousands of clients that listen to
//! topics with history while producers go on, each replica drained and started again in turn.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

#[path = "../support/gateway.rs"]
mod gateway;
#[path = "../support/mod.rs"]
mod support;

mod diary;
mod guest;
mod haproxy;
mod house;
mod pace;
mod producer;
mod report;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use diary::Diary;
use gateway::{Gateway, eventually};
use guest::Guest;
use haproxy::{Haproxy, Place};
use house::{NAMES, Shared, TOPICS};
use producer::Acknowledged;
use report::Figures;
use support::redis::RedisServer;

/// How many clients listen, in equal parts to each topic.
const CLIENTS: usize = 5_000;

/// How much more than the mean the fullest second of a drain's reconnects may have.
const FULLEST: f64 = 2.0;

/// How long the last publications may take to reach everybody.
const LAST: Duration = Duration::from_secs(20);

#[test]
fn a_rolling_restart_loses_nothing_and_everybody_comes_back_at_a_pace() {
    let places = house::places();
    let Some(redis) = RedisServer::start() else { return };
    let mut replicas = places.map(|place| house::start(place, &redis.url(), 0));
    let Some(haproxy) = Haproxy::start(&places) else { return };
    assert!(fanline::server::raise_descriptors() > CLIENTS * 2, "ulimit -n is too small for {CLIENTS} clients");
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let crowd = Crowd::gather(&runtime, &haproxy, places);
    let mut spread = vec![spread(&haproxy)];
    for nth in 0..NAMES.len() {
        restart(&mut replicas[nth], places[nth], &redis, &haproxy);
        spread.push(self::spread(&haproxy));
    }
    eventually("everybody is back", || (crowd.shared.listening() == CLIENTS).then_some(()));
    let (diaries, acknowledged) = crowd.part(&runtime);
    let figures = Figures::of(&diaries, &acknowledged, spread);
    println!("{}", figures.text());
    judge(&diaries, &acknowledged, &figures);
    assert_eq!(haproxy.failures(), 0, "HAProxy had to turn somebody away");
    report::write_if_asked(&figures);
}

/// Drains a replica and starts it again on the same ports, and waits until it and HAProxy are ready for the next.
fn restart(replica: &mut Gateway, place: Place, redis: &RedisServer, haproxy: &Haproxy) {
    replica.signal("TERM");
    eventually("the replica ends", || replica.has_ended().then_some(()));
    *replica = house::start(place, &redis.url(), 1);
    haproxy.wait_until(place.name, "UP");
}

/// How many connections each replica has.
fn spread(haproxy: &Haproxy) -> [usize; 3] {
    NAMES.map(|name| haproxy.sessions(name))
}

/// All clients and producers.
struct Crowd {
    shared: Arc<Shared>,
    guests: JoinSet<Diary>,
    producers: JoinSet<Acknowledged>,
    enough: CancellationToken,
}

impl Crowd {
    /// Lets them all in and waits until everybody listens; the producers have begun before.
    fn gather(runtime: &Runtime, haproxy: &Haproxy, places: [Place; 3]) -> Self {
        let (shared, enough) = (Arc::new(Shared::new()), CancellationToken::new());
        let (mut guests, mut producers) = (JoinSet::new(), JoinSet::new());
        for topic in 0..TOPICS {
            producers.spawn_on(producer::publish(shared.clone(), places, topic, enough.clone()), runtime.handle());
        }
        for nth in 0..CLIENTS {
            guests.spawn_on(Guest::new(shared.clone(), haproxy.front, nth % TOPICS).live(), runtime.handle());
        }
        eventually("everybody listens", || (shared.listening() == CLIENTS).then_some(()));
        Self { shared, guests, producers, enough }
    }

    /// Ends producing, lets everybody hear the last of it, and answers what they have noted.
    fn part(self, runtime: &Runtime) -> (Vec<Diary>, Vec<Acknowledged>) {
        let Self { shared, guests, producers, enough } = self;
        enough.cancel();
        let mut acknowledged = runtime.block_on(producers.join_all());
        acknowledged.sort_by_key(|done| done.topic);
        let diaries = runtime.block_on(async {
            let all = guests.join_all();
            let over = async {
                tokio::time::sleep(LAST).await;
                shared.over.cancel();
                // Those who were waited for in vain end now.
                std::future::pending::<()>().await;
            };
            tokio::select! { all = all => all, () = over => unreachable!() }
        });
        (diaries, acknowledged)
    }
}

fn judge(diaries: &[Diary], acknowledged: &[Acknowledged], figures: &Figures) {
    let wrong = diaries.iter().flat_map(|diary| diary.judge(&acknowledged[diary.topic].positions));
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{} faults: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    let turned_away: Vec<_> = diaries.iter().flat_map(|diary| &diary.turned_away).collect();
    assert!(turned_away.is_empty(), "{} turned away: {:?}", turned_away.len(), &turned_away[..1]);
    for pace in &figures.paces {
        assert!(pace.total() > CLIENTS / 5, "too few were on it to judge by:\n{}", pace.picture());
        assert!(pace.fullest() <= FULLEST, "they came back in lumps:\n{}", pace.picture());
    }
}
