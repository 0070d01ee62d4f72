//! What a link to Redis survives, at the broker's level, and what it says about it.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

mod support;

use std::time::{Duration, Instant};

use fanline::broker::{Broker, Health, Liveness, PublishError, Receipt};
use fanline::publication::Header;
use fanline::settings::{self, Secret};
use fanline::topic::Topic;

use support::proxy::{Class, Proxy, Rule};
use support::recorder::Told;
use support::redis::RedisServer;
use support::replicated::{Replicated, rooms, topic};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_redis_heals_alone_and_is_told_once() {
    let Some(mut redis) = RedisServer::start() else { return };
    let replica = Replicated::open(&redis.url()).await;
    let topics = rooms(100);
    replica.subscribed(&topics).await;
    redis.stop();
    replica.hub.until("lost", || replica.hub.live() == 0).await;
    assert_eq!(replica.metrics.redis_connected.get(), 0);
    redis.restart();
    replica.hub.until("all live", || replica.hub.live() == 100).await;
    replica.hears(&topics[7], "hi").await;
    assert_eq!(replica.hub.losses(), [100]);
    assert_eq!((replica.metrics.redis_connected.get(), replica.metrics.redis_reconnects.get()), (1, 1));
    replica.until_open().await;
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_killed_while_20_000_topics_resubscribe_end_with_all_of_them_live() {
    let Some(redis) = RedisServer::start() else { return };
    let replica = Replicated::open(&redis.url()).await;
    let topics = rooms(20_000);
    replica.subscribed(&topics).await;
    let kill = || redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    kill();
    for _ in 0..5 {
        let some = || (1..19_000).contains(&redis.channels("fanline:room:"));
        let deadline = Instant::now() + Duration::from_secs(2);
        while !some() && Instant::now() < deadline {
            tokio::task::yield_now().await;
        }
        kill();
    }
    replica.hub.until("all live", || replica.hub.live() == 20_000).await;
    assert_eq!(redis.channels("fanline:room:"), 20_000);
    for told in topics.iter().map(|topic| replica.hub.told(topic)) {
        let alternate = told.iter().enumerate().all(|(n, told)| matches!(told, Told::Live) == (n % 2 == 0));
        assert!(alternate, "lost and live take turns: {told:?}");
    }
    // Redis was too busy to greet anybody for a while, and publishers that had no connection know it.
    replica.hub.until("it greets again", || replica.broker.trouble().is_none()).await;
    replica.hears(&topics[19_999], "hi").await;
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_is_away_within_six_seconds_and_heals_when_it_goes_on() {
    let Some(redis) = RedisServer::start() else { return };
    let replica = Replicated::open(&redis.url()).await;
    let room = topic("room:42");
    replica.subscribed(std::slice::from_ref(&room)).await;
    redis.freeze();
    let frozen = Instant::now();
    replica.hub.until("lost", || !replica.hub.is_live(&room)).await;
    let noticed = frozen.elapsed();
    assert!(noticed < Duration::from_secs(6), "{noticed:?}");
    assert_eq!(replica.broker.health(), Health::Away);
    let began = Instant::now();
    assert!(matches!(replica.publish(&room, "unheard").await, Err(PublishError::Away(_))));
    assert!(began.elapsed() < Duration::from_millis(100));
    assert!(replica.broker.since_tick() < Duration::from_secs(5), "the supervisor runs all the while");
    // Eight seconds in all: longer than every time limit of ours.
    tokio::time::sleep_until((frozen + Duration::from_secs(8)).into()).await;
    redis.thaw();
    replica.hub.until("live", || replica.hub.is_live(&room)).await;
    replica.until_open().await;
    replica.hears(&room, "hi").await;
    assert_eq!(replica.hub.losses(), [1]);
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_alone_hears_nothing_is_deaf_within_ten_seconds_and_heals() {
    let Some(redis) = RedisServer::start() else { return };
    let proxy = Proxy::start(redis.port()).await;
    let replica = Replicated::open(&proxy.url()).await;
    let room = topic("room:42");
    replica.subscribed(std::slice::from_ref(&room)).await;
    proxy.rule(Class::Subscribers, Rule { swallow_down: true, ..Rule::default() });
    let swallowed = Instant::now();
    replica.hub.until("deaf", || replica.broker.health() == Health::Deaf).await;
    assert!(swallowed.elapsed() < Duration::from_secs(10), "{:?}", swallowed.elapsed());
    assert!(!replica.hub.is_live(&room));
    assert!(replica.publish(&room, "others hear it").await.is_ok(), "Redis answers, so publishing works");
    proxy.rule(Class::Subscribers, Rule::default());
    replica.until_open().await;
    replica.hub.until("live", || replica.hub.is_live(&room)).await;
    replica.hears(&room, "hi").await;
    assert_eq!(replica.hub.losses(), [1]);
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_vanish_are_an_error_within_a_second_that_says_what_may_have_happened() {
    let Some(redis) = RedisServer::start() else { return };
    let proxy = Proxy::start(redis.port()).await;
    let replica = Replicated::open(&proxy.url()).await;
    let room = topic("room:42");
    replica.subscribed(std::slice::from_ref(&room)).await;
    replica.hears(&room, "before").await;
    proxy.rule(Class::Commands, Rule { swallow_down: true, ..Rule::default() });
    let began = Instant::now();
    let Err(PublishError::Away(why)) = replica.publish(&room, "in doubt").await else { panic!("published") };
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    assert!(why.contains("may have been published"), "{why}");
    replica.hub.until("heard all the same", || replica.hub.messages(&room).len() == 2).await;
    proxy.rule(Class::Commands, Rule::default());
    replica.hub.until("live again", || replica.hub.is_live(&room)).await;
    replica.until_open().await;
    replica.hears(&room, "after").await;
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_told_once_however_often_the_link_flaps() {
    let Some(redis) = RedisServer::start() else { return };
    let proxy = Proxy::start(redis.port()).await;
    let replica = Replicated::open(&proxy.url()).await;
    let room = topic("room:42");
    replica.subscribed(std::slice::from_ref(&room)).await;
    proxy.rule(Class::Subscribers, Rule { swallow_down: true, ..Rule::default() });
    proxy.cut(Class::Subscribers);
    replica.hub.until("lost", || !replica.hub.is_live(&room)).await;
    for _ in 0..10 {
        let before = proxy.accepted();
        proxy.cut(Class::Subscribers);
        replica.hub.until("dialled again", || proxy.accepted() > before).await;
    }
    proxy.rule(Class::Subscribers, Rule::default());
    proxy.cut(Class::Subscribers);
    replica.hub.until("live", || replica.hub.is_live(&room)).await;
    let told = replica.hub.told(&room);
    assert!(matches!(told[..], [Told::Live, Told::Lost(_), Told::Live]), "{told:?}");
    replica.end().await;
}

/// What was heard last says nothing of what was published since: it was on its way for a while itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_its_way_when_a_slow_link_breaks_was_published_after_the_loss_is_said_to_begin() {
    let Some(redis) = RedisServer::start() else { return };
    let proxy = Proxy::start(redis.port()).await;
    let replica = Replicated::open(&proxy.url()).await;
    let room = topic("room:42");
    replica.subscribed(std::slice::from_ref(&room)).await;
    proxy.rule(Class::Subscribers, Rule { delay: Duration::from_millis(300), ..Rule::default() });
    replica.publish(&room, "heard").await.unwrap();
    replica.hub.until("on its way", || proxy.delays(b"heard")).await;
    proxy.rule(Class::Subscribers, Rule { stall: true, ..Rule::default() });
    let published = fanline::clock::unix_ms();
    replica.publish(&room, "lost").await.unwrap();
    replica.hub.until("heard", || replica.hub.messages(&room).len() == 1).await;
    proxy.cut(Class::Subscribers);
    proxy.rule(Class::Subscribers, Rule::default());
    replica.hub.until("lost", || replica.hub.losses() == [1]).await;
    replica.hub.until("live", || replica.hub.is_live(&room)).await;
    let told = replica.hub.told(&room);
    let [Told::Live, Told::Message(_), Told::Lost(since), Told::Live] = told[..] else { panic!("{told:?}") };
    assert!(since <= published, "lost since {since}, but published at {published}");
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_redis_drops_because_it_was_read_too_slowly_is_made_again() {
    let limit = ["--client-output-buffer-limit", "pubsub 1mb 0 0"];
    let Some(redis) = RedisServer::start_with(&limit) else { return };
    let proxy = Proxy::start(redis.port()).await;
    let replica = Replicated::open(&proxy.url()).await;
    let room = topic("room:42");
    replica.subscribed(std::slice::from_ref(&room)).await;
    proxy.rule(Class::Subscribers, Rule { stall: true, ..Rule::default() });
    // What fits into the sockets' buffers on the way, and more than a mebibyte beyond. The link cannot see
    // it, so this publisher is another.
    let other = Replicated::start(&redis.url());
    let payload = bytes::Bytes::from(vec![b'x'; 512 * 1024]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while other.broker.publish(&room, &Header::default(), payload.clone()).await != Ok(Receipt::heard(0)) {
        assert!(Instant::now() < deadline, "Redis never dropped the link");
    }
    other.end().await;
    proxy.rule(Class::Subscribers, Rule::default());
    replica.hub.until("lost", || replica.hub.losses() == [1]).await;
    replica.hub.until("live", || replica.hub.is_live(&room)).await;
    replica.hears(&room, "hi").await;
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_redis_forbids_stay_pending_harm_no_others_and_live_once_allowed() {
    let Some(redis) = RedisServer::start() else { return };
    let user = ["ACL", "SETUSER", "gateway", "on", ">secret", "resetchannels", "+@pubsub", "+ping"];
    let canary = "&fanline:@canary:*";
    redis.cli(&[&user[..], &[canary, "&fanline:room:1*"]].concat());
    let url = redis.url().replace("redis://", "redis://gateway:secret@");
    let replica = Replicated::start(&url);
    // Wanted before there is a link, so that one SUBSCRIBE names them all.
    let (allowed, forbidden) = (topic("room:1"), topic("room:2"));
    let others: Vec<Topic> = (10..20).map(|n| topic(&format!("room:{n}"))).collect();
    for topic in others.iter().chain([&forbidden, &allowed]) {
        assert_eq!(replica.subscribe(topic), Liveness::Pending);
    }
    replica.until_open().await;
    replica.hub.until("the allowed are live", || replica.hub.live() == 11).await;
    assert!(replica.hub.is_live(&allowed));
    assert!(!replica.hub.is_live(&forbidden));
    assert!(matches!(replica.publish(&forbidden, "no").await, Err(PublishError::Refused(_))));
    assert_eq!(replica.broker.health(), Health::Open);
    redis.cli(&["ACL", "SETUSER", "gateway", "&fanline:*"]);
    replica.hub.until("all live", || replica.hub.live() == 12).await;
    replica.hears(&forbidden, "hi").await;
    assert_eq!(replica.hub.losses(), [0; 0], "nothing was lost");
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_becomes_a_replica_is_left_and_one_that_becomes_master_again_is_taken() {
    let (Some(master), Some(redis)) = (RedisServer::start(), RedisServer::start()) else { return };
    let replica = Replicated::open(&redis.url()).await;
    let room = topic("room:42");
    replica.subscribed(std::slice::from_ref(&room)).await;
    redis.cli(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    replica.hub.until("lost", || !replica.hub.is_live(&room)).await;
    assert!(matches!(replica.publish(&room, "no").await, Err(PublishError::Away(_))));
    assert_eq!(replica.broker.health(), Health::Deaf);
    redis.cli(&["REPLICAOF", "NO", "ONE"]);
    replica.hub.until("live", || replica.hub.is_live(&room)).await;
    replica.hears(&room, "hi").await;
    replica.end().await;
}

/// A failover that closes no connection: the name leads elsewhere, and the old master has become a replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_has_handed_on_is_asked_no_further() {
    let (Some(old), Some(new)) = (RedisServer::start(), RedisServer::start()) else { return };
    let proxy = Proxy::start(old.port()).await;
    let replica = Replicated::open(&proxy.url()).await;
    let room = topic("room:42");
    replica.subscribed(std::slice::from_ref(&room)).await;
    proxy.lead_to(new.port());
    let canaries = || {
        let stats = old.cli(&["INFO", "commandstats"]);
        let calls = stats.split("cmdstat_publish:calls=").nth(1).unwrap().split(',').next().unwrap();
        calls.parse::<usize>().unwrap()
    };
    old.cli(&["REPLICAOF", "127.0.0.1", &new.port().to_string()]);
    let before = canaries();
    replica.hub.until("lost", || !replica.hub.is_live(&room)).await;
    replica.hub.until("live", || replica.hub.is_live(&room)).await;
    let after = canaries() - before;
    assert!(after <= 1, "the old one was asked {after} times");
    assert_eq!(new.cli(&["PUBLISH", "fanline:room:42", "hi"]), "1");
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_links_share_the_topics_and_lose_only_their_own() {
    let Some(redis) = RedisServer::start() else { return };
    let settings = settings::Redis { url: Secret::new(redis.url()), links: 3, ..Default::default() };
    let replica = Replicated::start_with(&settings);
    replica.until_open().await;
    let topics = rooms(300);
    replica.subscribed(&topics).await;
    assert_eq!(replica.metrics.redis_connected.get(), 3);
    let clients = redis.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]);
    let first = clients.lines().find(|line| line.contains("name=fanline:test-1:0 ")).unwrap();
    let id = first.split(' ').next().unwrap().strip_prefix("id=").unwrap();
    redis.cli(&["CLIENT", "KILL", "ID", id]);
    replica.hub.until("told", || !replica.hub.losses().is_empty()).await;
    replica.hub.until("all live", || replica.hub.live() == 300).await;
    let own = topics.iter().filter(|topic| replica.broker.placement(topic).number() == 0).count();
    assert_eq!(replica.hub.losses(), [own]);
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_redis_closes_cost_no_publication() {
    let Some(redis) = RedisServer::start() else { return };
    let replica = Replicated::open(&redis.url()).await;
    let topics = rooms(20);
    for topic in &topics {
        assert_eq!(replica.publish(topic, "first").await, Ok(Receipt::heard(0)));
    }
    let canary = || {
        let clients = redis.cli(&["CLIENT", "LIST"]);
        let line = clients.lines().find(|line| line.contains("name=fanline:test-1:canary.0 "))?;
        Some(line.split(' ').next()?.to_owned())
    };
    let before = canary();
    redis.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    // When the canary's connection has been noticed and made anew, so have the others been noticed.
    replica.hub.until("dialled again", || canary().is_some_and(|now| Some(now) != before)).await;
    for topic in &topics {
        assert_eq!(replica.publish(topic, "again").await, Ok(Receipt::heard(0)));
    }
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_and_an_empty_prefix_serve_as_well() {
    let Some(redis) = RedisServer::start() else { return };
    let url = Secret::new(format!("unix://{}", redis.unix_socket()));
    let replica = Replicated::start_with(&settings::Redis { url, prefix: String::new(), ..Default::default() });
    replica.until_open().await;
    let room = topic("room:42");
    replica.subscribed(std::slice::from_ref(&room)).await;
    assert_eq!(redis.cli(&["PUBLISH", "room:42", "bare"]), "1");
    replica.hears(&room, "hi").await;
    assert_eq!(replica.hub.messages(&room), ["bare", "hi"]);
    replica.end().await;
}
