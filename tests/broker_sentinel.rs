//! Sentinel, on redis-server: a failover is followed, also when the old master goes on answering.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use fanline::broker::Receipt;
use fanline::settings::{self, Secret};
use fanline::topic::Topic;

use support::recorder::Told;
use support::redis::RedisServer;
use support::replicated::{Replicated, rooms, topic};
use support::sentinel::Watched;

/// How long after the Sentinels agree on a new master link and publisher may still be with the old one.
const FOLLOWED: Duration = Duration::from_secs(10);

/// How long an old master is heard beside the new one, and a little more.
const HEARD: Duration = Duration::from_secs(13);

async fn open(watched: &Watched) -> (Replicated, Topic) {
    let replica = Replicated::open(&watched.url()).await;
    let room = topic("room:42");
    replica.subscribed(std::slice::from_ref(&room)).await;
    replica.hears(&room, "before").await;
    (replica, room)
}

/// A publication at the new master is heard, and ours go there.
async fn followed(replica: &Replicated, room: &Topic, watched: &Watched, server: usize, since: Instant) {
    let new = &watched.servers()[server];
    let heard = || replica.hub.is_live(room) && new.cli(&["PUBLISH", "fanline:room:42", "at the new one"]) == "1";
    replica.hub.until("the link is at the new master", heard).await;
    let ours = || async { replica.publish(room, "ours").await };
    while ours().await != Ok(Receipt::heard(1)) || !new.cli(&["INFO", "commandstats"]).contains("cmdstat_publish") {
        assert!(since.elapsed() < FOLLOWED, "{:?}", ours().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(since.elapsed() < FOLLOWED, "{:?}", since.elapsed());
    replica.hub.until("heard", || replica.hub.messages(room).iter().any(|heard| heard == "ours")).await;
}

/// The subscriber was told once.
fn told_once(replica: &Replicated, room: &Topic) {
    let told = replica.hub.told(room);
    let turns: Vec<&Told> = told.iter().filter(|told| !matches!(told, Told::Message(_))).collect();
    assert!(matches!(turns[..], [Told::Live, Told::Lost(_), Told::Live]), "{turns:?}");
}

/// The Sentinels take the first server for dead, and it goes on as it was; the replica has followed them to the second.
async fn moved(watched: &Watched) -> (Replicated, Topic) {
    let (replica, room) = open(watched).await;
    watched.shut_out(0);
    watched.until_named(1);
    followed(&replica, &room, watched, 1, Instant::now()).await;
    (replica, room)
}

/// Nobody listens to the old master any more, once it was heard beside the new one.
async fn left(server: &RedisServer) {
    let until = Instant::now() + HEARD;
    while !server.cli(&["PUBSUB", "CHANNELS", "fanline:*"]).is_empty() {
        assert!(Instant::now() < until, "it is not left");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_on_request_is_followed_and_told_once() {
    let Some(watched) = Watched::start() else { return };
    let (replica, room) = open(&watched).await;
    watched.fail_over();
    followed(&replica, &room, &watched, 1, Instant::now()).await;
    told_once(&replica, &room);
    replica.until_open().await;
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_master_that_goes_on_answering_as_master_is_followed_by_the_new_one_within_ten_seconds() {
    let Some(watched) = Watched::start() else { return };
    let (replica, room) = open(&watched).await;
    watched.shut_out(0);
    watched.until_named(1);
    let named = Instant::now();
    assert!(watched.servers()[0].cli(&["ROLE"]).starts_with("master"), "the old one knows of nothing");
    followed(&replica, &room, &watched, 1, named).await;
    told_once(&replica, &room);
    left(&watched.servers()[0]).await;
    replica.until_open().await;
    replica.end().await;
}

/// What is published at the new master comes through the old one, canaries too: the link looks well there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_master_that_became_a_replica_and_closed_no_connection_is_left() {
    let Some(watched) = Watched::start() else { return };
    let old = &watched.servers()[0];
    let operator = ["--user", "operator", "--pass", "secret", "--no-auth-warning"];
    old.cli(&["ACL", "SETUSER", "operator", "on", ">secret", "+@all"]);
    let (replica, room) = open(&watched).await;
    watched.shut_out(0);
    watched.until_named(1);
    let named = Instant::now();
    // At once, so that no canary is missed.
    watched.servers()[1].cli(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    let port = watched.servers()[1].port().to_string();
    assert_eq!(old.cli(&[&operator[..], &["REPLICAOF", "127.0.0.1", &port]].concat()), "OK");
    followed(&replica, &room, &watched, 1, named).await;
    left(old).await;
    replica.until_open().await;
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_master_that_was_frozen_and_goes_on_is_not_taken_again() {
    let Some(watched) = Watched::start() else { return };
    let (replica, room) = open(&watched).await;
    watched.servers()[0].freeze();
    watched.until_named(1);
    let named = Instant::now();
    watched.servers()[0].thaw();
    followed(&replica, &room, &watched, 1, named).await;
    told_once(&replica, &room);
    replica.until_open().await;
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_sentinel_a_link_stays_and_with_one_of_three_it_is_made() {
    let Some(mut watched) = Watched::start() else { return };
    watched.kill_sentinel();
    watched.kill_sentinel();
    let (replica, room) = open(&watched).await;
    watched.kill_sentinel();
    let until = Instant::now() + Duration::from_secs(6);
    while Instant::now() < until {
        replica.hears(&room, "still").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(replica.hub.losses(), [0; 0]);
    replica.end().await;
}

/// Rooms enough for every lane to carry one.
async fn publishes_on_every_lane(replica: &Replicated) {
    for room in rooms(32) {
        assert_eq!(replica.publish(&room, "hi").await, Ok(Receipt::heard(0)));
    }
}

/// The master that they named last is dialled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_no_sentinel_answers_lanes_are_dialled_and_a_broken_link_comes_back() {
    for frozen in [false, true] {
        let Some(mut watched) = Watched::start() else { return };
        let (replica, room) = open(&watched).await;
        match frozen {
            true => watched.freeze_sentinels(),
            false => (0..3).for_each(|_| watched.kill_sentinel()),
        }
        publishes_on_every_lane(&replica).await;
        let master = &watched.servers()[0];
        master.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        replica.hub.until("lost", || !replica.hub.losses().is_empty()).await;
        replica.hub.until("live again", || replica.hub.is_live(&room)).await;
        publishes_on_every_lane(&replica).await;
        replica.hears(&room, "after").await;
        replica.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_no_sentinel_knows_and_sentinels_that_want_a_password_are_told() {
    let Some(watched) = Watched::start_guarded("guarded") else { return };
    let check = async |settings: settings::Redis| {
        let replica = fanline::identity::Replica::new("test-1");
        let first = fanline::link::doctor::check(&settings, &replica, false).await.remove(0);
        format!("{}, mend: {}", first.what, first.mend.unwrap_or_default())
    };
    let url = watched.url();
    let without = check(settings::Redis { url: Secret::new(&*url), ..Default::default() }).await;
    assert!(without.contains("uthentication") || without.contains("NOAUTH"), "{without}");
    assert!(without.contains("mend: set redis.sentinel_password"), "{without}");
    let wrong =
        settings::Redis { url: Secret::new(&*url), sentinel_password: Secret::new("wrong"), ..Default::default() };
    let wrong = check(wrong).await;
    assert!(wrong.contains("mend: correct redis.sentinel_username and redis.sentinel_password"), "{wrong}");
    let guarded = |url: &str| settings::Redis {
        url: Secret::new(url),
        sentinel_password: Secret::new("guarded"),
        ..Default::default()
    };
    let strange = check(guarded(&url.replace("mymaster", "another"))).await;
    assert!(strange.contains("watches no master of this name"), "{strange}");
    let found = check(guarded(&url)).await;
    assert!(found.starts_with("Sentinel names 127.0.0.1:"), "{found}");
    let replica = Replicated::start_with(&guarded(&url));
    replica.until_open().await;
    assert_eq!(replica.publish(&topic("room:42"), "hi").await, Ok(Receipt::heard(0)));
    replica.end().await;
}

/// Publishes quickly, also on a machine that starts processes slowly.
struct Producer(TcpStream);

impl Producer {
    fn at(server: &RedisServer) -> Self {
        Self(TcpStream::connect(("127.0.0.1", server.port())).unwrap())
    }

    /// How many listened.
    fn publish(&mut self, word: &str) -> u32 {
        self.0.write_all(format!("PUBLISH fanline:room:42 {word}\r\n").as_bytes()).unwrap();
        let mut answer = [0; 32];
        let read = self.0.read(&mut answer).unwrap();
        std::str::from_utf8(&answer[..read]).unwrap().trim().strip_prefix(':').unwrap().parse().unwrap()
    }
}

/// How often something was published there.
fn published(server: &RedisServer) -> u64 {
    let stats = server.cli(&["INFO", "commandstats"]);
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_publish:calls="));
    calls.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
}

/// What was told of a topic but for messages.
fn turns(replica: &Replicated, room: &Topic) -> usize {
    replica.hub.told(room).iter().filter(|told| !matches!(told, Told::Message(_))).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_at_an_old_master_is_heard_beside_the_new_one_until_it_is_left() {
    let Some(watched) = Watched::start() else { return };
    let (replica, room) = moved(&watched).await;
    told_once(&replica, &room);
    let [old, new] = watched.servers() else { panic!("two servers") };
    let (mut at_old, mut at_new) = (Producer::at(old), Producer::at(new));
    for n in 0..20 {
        assert_eq!(at_old.publish(&format!("old-{n}")), 1);
        assert_eq!(at_new.publish(&format!("new-{n}")), 1);
    }
    let heard = |which: &str| {
        let messages = replica.hub.messages(&room);
        let texts = messages.iter().map(|message| String::from_utf8_lossy(message).into_owned());
        texts.filter(|text| text.starts_with(which)).collect::<Vec<_>>()
    };
    let all = |which: &str| (0..20).map(|n| format!("{which}-{n}")).collect::<Vec<_>>();
    replica.hub.until("both are heard", || heard("old").len() >= 20 && heard("new").len() >= 20).await;
    left(old).await;
    assert_eq!((heard("old"), heard("new")), (all("old"), all("new")), "each once and in order");
    assert_eq!(turns(&replica, &room), 3, "nothing was lost when it was left");
    replica.end().await;
}

/// Redis hands what is published at a master on to its replicas, and they to their subscribers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_master_that_becomes_a_replica_is_left_before_its_echo_is_heard() {
    let Some(watched) = Watched::start() else { return };
    let [old, new] = watched.servers() else { panic!("two servers") };
    let operator = ["--user", "operator", "--pass", "secret", "--no-auth-warning"];
    old.cli(&["ACL", "SETUSER", "operator", "on", ">secret", "+@all"]);
    let (replica, room) = moved(&watched).await;
    told_once(&replica, &room);
    assert_eq!(old.cli(&["PUBLISH", "fanline:room:42", "at the old one"]), "1");
    let is_heard = || replica.hub.messages(&room).iter().any(|heard| heard == "at the old one");
    replica.hub.until("it is heard", is_heard).await;
    new.cli(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    let port = new.port().to_string();
    assert_eq!(old.cli(&[&operator[..], &["REPLICAOF", "127.0.0.1", &port]].concat()), "OK");
    let (mut at_new, until, mut published) = (Producer::at(new), Instant::now() + HEARD, 0);
    while Instant::now() < until && (published < 50 || !old.cli(&["PUBSUB", "CHANNELS", "fanline:*"]).is_empty()) {
        assert_eq!(at_new.publish(&format!("new-{published}")), 1);
        published += 1;
    }
    left(old).await;
    replica.hears(&room, "last").await;
    let messages = replica.hub.messages(&room);
    for n in 0..published {
        let text = format!("new-{n}");
        assert_eq!(messages.iter().filter(|message| **message == text).count(), 1, "{text} of {published}");
    }
    replica.end().await;
}

/// Since when something is missing, by the gaps that were told.
fn gaps(replica: &Replicated, room: &Topic) -> Vec<u64> {
    let since = |told: &Told| if let Told::Gap(_, since) = told { Some(*since) } else { None };
    replica.hub.told(room).iter().filter_map(since).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_master_that_ends_while_it_is_heard_is_told() {
    let Some(watched) = Watched::start() else { return };
    let (replica, room) = moved(&watched).await;
    told_once(&replica, &room);
    let old = &watched.servers()[0];
    assert_eq!(old.cli(&["PUBLISH", "fanline:room:42", "at the old one"]), "1");
    let is_heard = || replica.hub.messages(&room).iter().any(|heard| heard == "at the old one");
    replica.hub.until("it is heard", is_heard).await;
    let before = fanline::clock::unix_ms();
    old.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let killed = fanline::clock::unix_ms();
    replica.hub.until("told", || turns(&replica, &room) == 4).await;
    let since = gaps(&replica, &room);
    assert!(
        matches!(since[..], [since] if since <= killed && since + 2_000 > before),
        "{since:?}, {before} to {killed}"
    );
    left(old).await;
    replica.hears(&room, "last").await;
    replica.end().await;
}

/// It stands in the old one's history, which nobody will read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_old_master_put_into_a_history_is_told_since_when_it_was_published() {
    let Some(watched) = Watched::start() else { return };
    let (replica, room) = moved(&watched).await;
    let old = &watched.servers()[0];
    let before = fanline::clock::unix_ms();
    let kept = "\x1eFL1{\"pos\":\"5-0\",\"prev\":\"0-0\"}\nkept";
    assert_eq!(old.cli(&["PUBLISH", "fanline:room:42", kept]), "1");
    let after = fanline::clock::unix_ms();
    replica.hub.until("told", || !gaps(&replica, &room).is_empty()).await;
    let since = gaps(&replica, &room);
    assert!(since[0] <= after && since[0] + 2_000 > before, "{since:?}, published from {before} to {after}");
    assert!(replica.hub.messages(&room).iter().all(|heard| heard != "kept"), "it has no place in the new one's");
    replica.end().await;
}

/// The link is made anew, at the new master, before anybody asked what the old one is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_master_whose_connection_breaks_first_and_that_goes_on_unheard_is_told() {
    let Some(watched) = Watched::start() else { return };
    let (replica, room) = open(&watched).await;
    watched.shut_out(0);
    watched.until_named(1);
    let named = Instant::now();
    let old = &watched.servers()[0];
    old.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    followed(&replica, &room, &watched, 1, named).await;
    assert_eq!(old.cli(&["PUBLISH", "fanline:room:42", "at the old one"]), "0", "nobody hears it");
    let published = fanline::clock::unix_ms();
    replica.hub.until("told", || gaps(&replica, &room).iter().any(|since| *since <= published)).await;
    left(old).await;
    replica.hears(&room, "last").await;
    replica.end().await;
}

/// A fork, a slow command, or a machine that stands still: what it takes afterwards comes all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_master_that_stalls_while_it_is_heard_is_heard_on() {
    let Some(watched) = Watched::start() else { return };
    let (replica, room) = moved(&watched).await;
    let [old, new] = watched.servers() else { panic!("two servers") };
    old.freeze();
    // Two seconds lie between two canaries.
    let canaries = published(new);
    replica.hub.until("it stands still for more than a second", || published(new) > canaries + 1).await;
    old.thaw();
    assert_eq!(Producer::at(old).publish("afterwards"), 1);
    replica.hub.until("heard", || replica.hub.messages(&room).iter().any(|heard| heard == "afterwards")).await;
    assert_eq!(gaps(&replica, &room), [0; 0], "nothing is missing");
    left(old).await;
    replica.end().await;
}

/// The link to the new one is made anew, and proven, while that refuses the topic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_old_master_says_waits_for_a_topic_that_is_not_live_at_the_new_one() {
    let Some(watched) = Watched::start() else { return };
    let (replica, room) = moved(&watched).await;
    let [old, new] = watched.servers() else { panic!("two servers") };
    // Redis closes the connections of whoever listens to what it may not.
    new.cli(&["ACL", "SETUSER", "default", "resetchannels", "&fanline:@*"]);
    replica.hub.until("lost", || !replica.hub.is_live(&room)).await;
    let heard_anew = || new.cli(&["PUBSUB", "CHANNELS", "fanline:*"]).starts_with("fanline:@");
    replica.hub.until("the link is there without it", heard_anew).await;
    let mut at_old = Producer::at(old);
    for n in 0..20 {
        assert_eq!(at_old.publish(&format!("old-{n}")), 1);
    }
    // A canary that flies now comes back when the old one has been asked again and again.
    let canaries = published(new);
    replica.hub.until("a canary flies", || published(new) > canaries + 1).await;
    new.cli(&["ACL", "SETUSER", "default", "allchannels"]);
    let heard = || replica.hub.messages(&room).iter().filter(|heard| heard.starts_with(b"old-")).count();
    replica.hub.until("handed on", || heard() == 20).await;
    assert_eq!(gaps(&replica, &room), [0; 0], "nothing is missing");
    left(old).await;
    replica.end().await;
}
