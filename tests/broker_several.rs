//! Several independent Redis (`redis.url` names more than one), each a redis-server: every topic has its home.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

mod support;

use std::time::{Duration, Instant};

use fanline::broker::redis::home;
use fanline::broker::{Broker, Health, PublishError, Receipt};
use fanline::settings::{self, Secret};
use fanline::topic::Topic;

use support::recorder::Told;
use support::redis::RedisServer;
use support::replicated::{Replicated, rooms};

fn three() -> Option<(Vec<RedisServer>, settings::Redis)> {
    let servers = (0..3).map(|_| RedisServer::start()).collect::<Option<Vec<_>>>()?;
    let urls: Vec<String> = servers.iter().map(RedisServer::url).collect();
    let settings = settings::Redis { url: Secret::new(urls.join(",")), links: 2, ..Default::default() };
    Some((servers, settings))
}

fn lives_on(settings: &settings::Redis, topic: &Topic, server: &RedisServer) -> bool {
    home(settings, topic).address == server.url()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_lives_on_one_of_them_and_all_have_their_share() {
    let Some((servers, settings)) = three() else { return };
    let replica = Replicated::start_with(&settings);
    replica.until_open().await;
    let topics = rooms(90);
    replica.subscribed(&topics).await;
    assert_eq!(replica.metrics.redis_connected.get(), 6, "two links to each");
    for topic in &topics {
        assert_eq!(replica.publish(topic, "ours").await, Ok(Receipt::heard(1)));
        let listening: Vec<&RedisServer> = servers
            .iter()
            .filter(|server| server.cli(&["PUBLISH", &format!("fanline:{topic}"), "theirs"]) == "1")
            .collect();
        assert_eq!(listening.len(), 1);
        assert!(lives_on(&settings, topic, listening[0]), "{topic}");
    }
    replica.hub.until("heard", || topics.iter().all(|topic| replica.hub.messages(topic) == ["ours", "theirs"])).await;
    assert!(servers.iter().all(|server| server.channels("fanline:room:") > 15));
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_one_is_away_its_topics_are_lost_the_others_go_on_and_health_says_so() {
    let Some((mut servers, settings)) = three() else { return };
    let replica = Replicated::start_with(&settings);
    replica.until_open().await;
    let topics = rooms(60);
    replica.subscribed(&topics).await;
    let (lost, kept): (Vec<&Topic>, Vec<&Topic>) =
        topics.iter().partition(|topic| lives_on(&settings, topic, &servers[1]));
    servers[1].kill();
    replica.hub.until("lost", || replica.hub.live() == kept.len()).await;
    replica.hub.until("away", || replica.broker.health() == Health::Away).await;
    assert!(replica.broker.is_up(), "most topics may be live at once");
    for topic in &kept {
        replica.hears(topic, "still").await;
    }
    let began = Instant::now();
    assert!(matches!(replica.publish(lost[0], "no").await, Err(PublishError::Away(_))));
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    servers[1].restart();
    replica.hub.until("live", || replica.hub.live() == 60).await;
    replica.until_open().await;
    replica.hears(lost[0], "again").await;
    assert!(kept.iter().all(|topic| !replica.hub.told(topic).iter().any(|told| matches!(told, Told::Lost(_)))));
    replica.end().await;
}
