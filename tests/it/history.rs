//! Topics with history, as clients, producers and operators meet them: positions, pages, resuming, and replicas that heal
//! themselves while nobody notices.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bare::Bare;
use crate::client::Client;
use crate::gateway::{Gateway, eventually};
use crate::stream::Stream;
use crate::support::proxy::{Class, Proxy, Rule};
use crate::support::redis::RedisServer;

/// Topics `h:*` keep a hundred publications, `short:*` three.
const CONFIG: &str = "[[topics]]\nmatch = \"h:*\"\npublish = \"anyone\"\nhistory_size = 100\n\
                      [[topics]]\nmatch = \"short:*\"\nhistory_size = 3\n\
                      [[topics]]\nmatch = \"closed:*\"\nhistory_size = 9\nsubscribe = \"none\"\n\
                      [[routes]]\npath = \"/ws\"\non_message = \"publish\"\non_gap = \"notify\"\n";

fn gateway(redis: &RedisServer) -> Gateway {
    Gateway::with_toml(CONFIG, &["--redis-url", &redis.url()]).ready()
}

/// Publishes a text and answers its position.
#[track_caller]
fn publish(gateway: &Gateway, topic: &str, text: &str) -> String {
    let answer = gateway.post("/api/publish", &json!({ "topic": topic, "text": text }).to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    answer["topics"][topic]["position"].as_str().unwrap_or_else(|| panic!("no position: {answer}")).to_owned()
}

#[track_caller]
fn publish_all(gateway: &Gateway, topic: &str, texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| publish(gateway, topic, text)).collect()
}

/// Subscribes with where to go on, and answers what it is told.
#[track_caller]
fn resume(client: &mut Client, topic: &str, how: &str, from: &Value) -> Value {
    client.say(&json!({ "type": "subscribe", "topic": topic, how: from }));
    client.until("subscribed")
}

/// The next messages' texts, each with a position.
#[track_caller]
fn texts(client: &mut Client, count: usize) -> Vec<String> {
    let told = (0..count).map(|_| client.told());
    told.map(|told| {
        assert!(told["type"] == "message" && told["position"].is_string(), "{told}");
        told["text"].as_str().unwrap().to_owned()
    })
    .collect()
}

#[test]
fn who_comes_back_gets_what_it_missed_on_any_replica_and_then_what_comes() {
    let Some(redis) = RedisServer::start() else { return };
    let [one, two] = [(); 2].map(|()| gateway(&redis));
    let positions = publish_all(&one, "h:a", &["a", "b", "c", "d"]);
    let mut client = Client::json_open(&two);
    let told = resume(&mut client, "h:a", "since", &json!(positions[1]));
    assert_eq!(
        (&told["live"], &told["recovered"], &told["position"]),
        (&json!(true), &json!(true), &json!(positions[1]))
    );
    publish(&one, "h:a", "e");
    assert_eq!(texts(&mut client, 3), ["c", "d", "e"]);

    let mut newest = Client::json_open(&one);
    let told = resume(&mut newest, "h:a", "last", &json!(2));
    assert_eq!((&told["recovered"], &told["position"]), (&json!(true), &json!(positions[2])));
    assert_eq!(texts(&mut newest, 2), ["d", "e"]);

    let mut timed = Client::json_open(&one);
    assert_eq!(resume(&mut timed, "h:a", "since", &json!(0))["recovered"], true);
    assert_eq!(texts(&mut timed, 5), ["a", "b", "c", "d", "e"]);

    let mut fresh = Client::json(&one, &["h:a"]);
    let sixth = publish(&two, "h:a", "f");
    let told = fresh.told();
    assert_eq!((&told["text"], &told["position"]), (&json!("f"), &json!(sixth)));
}

#[test]
fn what_is_not_there_any_more_is_said_and_nothing_partial_comes() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = gateway(&redis);
    let positions = publish_all(&gateway, "short:a", &["a", "b", "c", "d", "e"]);
    let mut client = Client::json_open(&gateway);
    let told = resume(&mut client, "short:a", "since", &json!(positions[0]));
    assert_eq!((&told["recovered"], &told["position"]), (&json!(false), &json!(positions[4])));
    publish(&gateway, "short:a", "f");
    assert_eq!(texts(&mut client, 1), ["f"]);
    for stranger in [json!("1-0"), json!("9999999999999-0"), json!(1)] {
        let mut client = Client::json_open(&gateway);
        assert_eq!(resume(&mut client, "short:a", "since", &stranger)["recovered"], false, "{stranger}");
    }
    let mut client = Client::json_open(&gateway);
    let told = resume(&mut client, "bare", "since", &json!("1-0"));
    assert_eq!((&told["recovered"], &told["position"]), (&json!(false), &Value::Null));
}

#[test]
fn a_plain_client_goes_on_from_a_time_or_with_the_newest_and_is_told_where_it_cannot() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = gateway(&redis);
    let positions = publish_all(&gateway, "h:a", &["a", "b", "c"]);
    let mut newest = Client::open(&gateway.ws_url("/ws?topic=h:a&last=2"));
    let mut since =
        Client::open(&gateway.ws_url(&format!("/ws?topic=h:a&since={}", positions[0].split('-').next().unwrap())));
    publish(&gateway, "h:a", "d");
    assert_eq!([newest.text(), newest.text(), newest.text()], ["b", "c", "d"]);
    assert_eq!([since.text(), since.text(), since.text(), since.text()], ["a", "b", "c", "d"]);
    publish_all(&gateway, "short:a", &["a", "b", "c", "d", "e"]);
    let mut late = Client::open(&gateway.ws_url("/ws?topic=short:a&since=1"));
    let told = late.told();
    assert_eq!((&told["type"], &told["reason"]), (&json!("gap"), &json!("trimmed")));
    let answer = crate::client::knock(&gateway, "/ws?topic=h:a&since=yesterday", "");
    assert!(answer.status == 400 && answer.body.contains("a time in ms since 1970 or a position"), "{}", answer.body);
    let answer = crate::client::knock(&gateway, "/ws?topic=bare&since=yesterday", "");
    assert_eq!(answer.status, 101, "without a history ?since= is somebody else's word");
}

#[test]
fn who_asks_by_the_query_to_resume_where_nothing_is_kept_is_told_as_by_a_command() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = gateway(&redis);
    publish(&gateway, "h:a", "a");
    let open = |query: &str| Client::open_as(&gateway.ws_url(&format!("/ws?{query}")), Some("fanline.json"));
    for (query, told) in [
        ("topic=bare&since=1", json!({"bare": false})),
        ("topic=bare&last=1", json!({"bare": false})),
        ("topic=h:a&topic=bare&last=1", json!({"h:a": true, "bare": false})),
        ("topic=bare", json!({"bare": null})),
        ("topic=bare&since=yesterday", json!({"bare": null})),
    ] {
        let mut client = open(query);
        for _ in told.as_object().unwrap() {
            let subscribed = client.until("subscribed");
            let topic = subscribed["topic"].as_str().unwrap();
            assert_eq!(subscribed["recovered"], told[topic], "{query}: {subscribed}");
        }
    }
    let mut plain = Client::open(&gateway.ws_url("/ws?topic=bare&since=1"));
    let mut stream = Stream::open(&gateway, "/sse?topic=bare&last=1");
    gateway.publish("bare", "x");
    assert_eq!((plain.text().as_str(), stream.text().as_str()), ("x", "x"), "these have no word for it");
}

#[test]
fn an_event_stream_that_comes_back_resumes_all_its_topics() {
    let Some(redis) = RedisServer::start() else { return };
    let [one, two] = [(); 2].map(|()| gateway(&redis));
    let path = "/sse?topic=h:a&topic=bare&topic=h:b";
    let before = publish(&one, "h:b", "old");
    let mut stream = Stream::open(&one, path);
    let first = publish(&one, "h:a", "a1");
    assert_eq!(stream.text(), "a1");
    assert_eq!(stream.id.as_deref(), Some(&*format!("{first},{before}")), "it tells how far it is everywhere");
    one.publish("bare", "x");
    let second = publish(&one, "h:b", "b1");
    assert_eq!([stream.text(), stream.text()], ["x", "b1"]);
    let id = stream.id.clone().unwrap();
    assert_eq!(id, format!("{first},{second}"));
    drop(stream);
    publish_all(&one, "h:a", &["a2", "a3"]);
    publish(&two, "h:b", "b2");
    let mut stream = Stream::again(&two, path, &id);
    let mut missed = [stream.text(), stream.text(), stream.text()];
    missed.sort();
    assert_eq!(missed, ["a2", "a3", "b2"]);
    publish(&one, "h:a", "a4");
    assert_eq!(stream.text(), "a4");

    let mut alone = Stream::open(&one, "/sse?topic=h:a");
    let fifth = publish(&one, "h:a", "a5");
    assert_eq!((alone.text(), alone.id.clone()), ("a5".into(), Some(fifth)));
    for strange in ["42", "1-0,2-0", "somebody else's"] {
        let mut stream = Stream::again(&two, "/sse?topic=h:a", strange);
        let told = stream.next();
        assert_eq!((told.event.as_str(), &told.json()["reason"]), ("gap", &json!("lost")), "{strange}");
    }
}

/// Whoever was cut off before anything came knows where it was, too.
#[test]
fn a_stream_says_where_it_stands_before_anything_comes() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = gateway(&redis);
    let last = publish(&gateway, "h:a", "a");
    let mut stream = Stream::open(&gateway, "/sse?topic=h:a");
    // Only the head and what is no event is there to be read.
    assert_eq!(stream.within(std::time::Duration::from_millis(200)), None);
    assert_eq!(stream.id, Some(last));
}

#[test]
fn a_history_is_read_page_by_page_in_both_directions() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = gateway(&redis);
    let positions: Vec<String> = (0..50).map(|n| publish(&gateway, "h:a", &n.to_string())).collect();
    let mut client = Client::json_open(&gateway);
    let mut page = |members: Value| {
        let mut command = json!({ "type": "history", "topic": "h:a", "id": 1 });
        command.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        client.say(&command);
        client.until("history")
    };
    let texts = |page: &Value| {
        let all = page["publications"].as_array().unwrap().iter();
        all.map(|one| one["text"].as_str().unwrap().parse().unwrap()).collect::<Vec<u64>>()
    };
    let all = page(json!({}));
    assert_eq!(
        (texts(&all), &all["more"], &all["position"]),
        ((0..50).collect(), &json!(false), &json!(positions[49]))
    );
    let some = page(json!({ "since": positions[9], "limit": 30 }));
    assert_eq!((texts(&some), &some["more"]), ((10..40).collect(), &json!(true)));
    let rest = page(json!({ "since": positions[39] }));
    assert_eq!((texts(&rest), &rest["more"]), ((40..50).collect(), &json!(false)));
    let back = page(json!({ "before": positions[20], "limit": 5 }));
    assert_eq!((texts(&back), &back["more"]), ((15..20).collect(), &json!(true)));
    let newest = page(json!({ "limit": 2 }));
    assert_eq!((texts(&newest), &newest["more"]), (vec![48, 49], &json!(true)));

    let answer = gateway.get(&format!("/api/history?topic=h:a&before={}&limit=3", positions[3]));
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, texts(&told), &told["more"]), (200, vec![0, 1, 2], &json!(false)));
    assert_eq!(gateway.get("/api/history?topic=bare").status, 404);
    assert_eq!(gateway.get("/api/history?topic=h:a&limit=301").status, 400);
    assert_eq!(gateway.post("/api/history?topic=h:a", "").status, 405);

    for (topic, code) in [("bare", "no_history"), ("closed:a", "forbidden")] {
        client.say(&json!({ "type": "history", "topic": topic, "id": 2 }));
        let told = client.until("error");
        assert_eq!((&told["code"], &told["id"]), (&json!(code), &json!(2)));
    }
}

#[test]
fn a_page_holds_a_mebibyte_and_says_that_there_is_more() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = gateway(&redis);
    let large = "x".repeat(300 * 1024);
    for _ in 0..8 {
        publish(&gateway, "h:a", &large);
    }
    let answer = gateway.get("/api/history?topic=h:a");
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((told["publications"].as_array().unwrap().len(), &told["more"]), (3, &json!(true)));
}

#[test]
fn a_publication_repeated_under_its_key_is_answered_with_the_first_position() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = gateway(&redis);
    let mut client = Client::json(&gateway, &["h:a"]);
    let order = json!({ "topic": "h:a", "text": "pay", "idempotency_key": "order-17" }).to_string();
    let answers = [(); 2].map(|()| serde_json::from_str::<Value>(&gateway.post("/api/publish", &order).body).unwrap());
    let [first, again] = answers.map(|answer| answer["topics"]["h:a"].clone());
    assert_eq!(
        (&first["position"], &first["repeated"], &again["repeated"]),
        (&again["position"], &Value::Null, &json!(true))
    );
    publish(&gateway, "h:a", "next");
    assert_eq!(texts(&mut client, 2), ["pay", "next"]);
}

#[test]
fn who_publishes_is_told_the_position() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = gateway(&redis);
    let [mut speaker, mut listener] = [(); 2].map(|()| Client::json(&gateway, &["h:a"]));
    speaker.say(&json!({ "type": "publish", "topic": "h:a", "text": "hi", "id": 7 }));
    let told = speaker.until("published");
    assert_eq!(told["position"], listener.told()["position"]);
}

/// It is delivered, but in no history, so whoever was away, or may have been, is told.
#[test]
fn what_is_published_past_a_history_is_delivered_counted_and_told_after_a_loss() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = gateway(&redis);
    let mut client = Client::json(&gateway, &["h:a"]);
    redis.cli(&["PUBLISH", "fanline:h:a", "bare"]);
    let told = client.told();
    assert_eq!((&told["text"], &told["position"]), (&json!("bare"), &Value::Null));
    assert_eq!(gateway.metric(r#"fanline_publications_total{source="stray"}"#), 1.0);
    let warned = || gateway.log().contains("a plain PUBLISH on a topic with history").then_some(());
    eventually("the log warns of it", warned);
    redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let gap = client.until("gap");
    assert_eq!((&gap["topics"], &gap["reason"]), (&json!(["h:a"]), &json!("reconnected")));
}

/// The link is cut while producers publish on: the replica reads what it missed, and nobody hears of it but in order.
#[test]
fn a_replica_that_lost_its_link_heals_itself_and_nobody_notices() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = gateway(&redis);
    let [mut healed, mut told] = [Client::json(&gateway, &["h:a"]), Client::json(&gateway, &["bare"])];
    let mut expected = Vec::new();
    for round in 0..20 {
        if round % 5 == 0 {
            redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        }
        for n in 0..5 {
            let text = format!("{round}:{n}");
            redis.cli(&["FCALL", "fanline_publish", "1", "fanline:h:a", &text]);
            expected.push(text);
        }
    }
    assert_eq!(texts(&mut healed, expected.len()), expected);
    assert!(healed.told_so_far().is_empty(), "nothing was said of it");
    let gaps = told.told_so_far().into_iter().filter(|event| event["type"] == "gap").count();
    assert!(gaps > 0, "who has no history is told");
    assert!(gateway.metric(r#"fanline_recovered_total{outcome="healed"}"#) > 0.0);
}

#[test]
fn a_history_that_is_gone_is_told_as_lost_and_the_next_publications_arrive() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = gateway(&redis);
    let mut client = Client::json(&gateway, &["h:a"]);
    publish(&gateway, "h:a", "a");
    assert_eq!(texts(&mut client, 1), ["a"]);
    redis.cli(&["FLUSHALL"]);
    publish(&gateway, "h:a", "b");
    let gap = client.told();
    assert_eq!((&gap["type"], &gap["reason"], &gap["topics"]), (&json!("gap"), &json!("lost"), &json!(["h:a"])));
    publish(&gateway, "h:a", "c");
    assert_eq!(texts(&mut client, 2), ["b", "c"]);
}

/// Nothing was missed where there is nothing: no word of a gap, and no close that asks to come back at once.
#[test]
fn the_newest_of_an_empty_or_expired_history_are_none_and_nobody_is_told_of_a_gap() {
    let Some(redis) = RedisServer::start() else { return };
    let closes = CONFIG.replace("\"notify\"", "\"close\"");
    let gateway = Gateway::with_toml(&closes, &["--redis-url", &redis.url()]).ready();
    publish_all(&gateway, "h:expired", &["a", "b", "c"]);
    redis.cli(&["DEL", "{fanline:h:expired}:stream"]);
    for (topic, how, recovered) in [
        ("h:empty", "last", true),
        ("h:empty", "since", true),
        ("h:expired", "last", true),
        ("h:expired", "since", false),
    ] {
        let mut client = Client::json_open(&gateway);
        let told = resume(&mut client, topic, how, &json!(if how == "last" { 5 } else { 0 }));
        assert_eq!((&told["live"], &told["recovered"]), (&json!(true), &json!(recovered)), "{how} of {topic}");
        assert_eq!(client.told_so_far(), Vec::<Value>::new(), "{how} of {topic}");
    }
    let mut events = Stream::open(&gateway, "/sse?topic=h:empty&last=5");
    let mut plain = Client::open(&gateway.ws_url("/ws?topic=h:empty&last=5"));
    publish(&gateway, "h:empty", "first");
    assert_eq!(plain.text(), "first");
    assert_eq!(events.next().data, "first");
}

#[test]
fn a_time_proves_nothing_once_a_history_was_flushed() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = gateway(&redis);
    let first = publish_all(&gateway, "h:a", &["a", "b", "c"]).remove(0);
    let since: u64 = first.split('-').next().unwrap().parse().unwrap();
    redis.cli(&["FLUSHALL"]);
    for published in [None, Some("d")] {
        published.into_iter().for_each(|text| drop(publish(&gateway, "h:a", text)));
        let mut client = Client::json_open(&gateway);
        assert_eq!(resume(&mut client, "h:a", "since", &json!(since))["recovered"], false, "{published:?}");
    }
}

/// Whoever may write to Redis may put anything into a stream: it hides nothing that was kept.
#[test]
fn entries_of_others_in_a_stream_hide_nothing() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = gateway(&redis);
    let add = "for i = 1, 45 do redis.call('XADD', KEYS[1], '*', 'stranger', i) end";
    let mut positions = Vec::new();
    for text in ["a", "b", "c"] {
        positions.push(publish(&gateway, "h:a", text));
        if text != "c" {
            // Few enough that they push nothing out.
            redis.cli(&["EVAL", add, "1", "{fanline:h:a}:stream"]);
        }
    }
    let page = gateway.get("/api/history?topic=h:a&limit=2");
    let page: Value = serde_json::from_str(&page.body).unwrap();
    let told: Vec<_> = page["publications"].as_array().unwrap().iter().map(|one| one["text"].clone()).collect();
    assert_eq!((told, &page["more"]), (vec![json!("b"), json!("c")], &json!(true)));
    let mut client = Client::json_open(&gateway);
    assert_eq!(resume(&mut client, "h:a", "since", &json!(positions[0]))["recovered"], true);
    assert_eq!(texts(&mut client, 2), ["b", "c"]);
    let long = "for i = 1, 6000 do redis.call('XADD', KEYS[1], '*', 'stranger', i) end";
    redis.cli(&["EVAL", long, "1", "{fanline:h:a}:stream"]);
    let answer = gateway.get("/api/history?topic=h:a");
    assert_eq!(answer.status, 502, "{}", answer.body);
    assert!(answer.body.contains("{fanline:h:a}:stream") && answer.body.contains("fanline_publish"), "{}", answer.body);
}

/// Nor is it a hole, wherever it stands: who listens has missed nothing, on a topic with a history and on one without any yet.
#[test]
fn an_entry_of_somebody_else_ahead_of_a_history_is_no_gap_to_who_listens() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = gateway(&redis);
    let mut client = Client::json(&gateway, &["h:old", "h:new"]);
    publish(&gateway, "h:old", "a");
    for topic in ["h:old", "h:new"] {
        redis.cli(&["XADD", &format!("{{fanline:{topic}}}:stream"), "9999999999999-0", "stranger", "1"]);
        publish_all(&gateway, topic, &["b", "c"]);
    }
    assert_eq!(texts(&mut client, 5), ["a", "b", "c", "b", "c"]);
}

#[test]
fn a_key_of_another_type_is_no_history_of_which_anything_is_promised() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = gateway(&redis);
    for topic in ["h:stream", "h:last"] {
        publish_all(&gateway, topic, &["a", "b"]);
    }
    redis.cli(&["SET", "{fanline:h:stream}:stream", "x"]);
    redis.cli(&["DEL", "{fanline:h:last}:last"]);
    redis.cli(&["LPUSH", "{fanline:h:last}:last", "x"]);
    for topic in ["h:stream", "h:last"] {
        let mut client = Client::json_open(&gateway);
        let told = resume(&mut client, topic, "last", &json!(5));
        assert_eq!((&told["live"], &told["recovered"]), (&json!(true), &json!(false)), "{topic}");
    }
}

#[test]
fn two_prefixes_on_one_redis_each_have_a_function_of_their_own() {
    let Some(redis) = RedisServer::start() else { return };
    let start = |prefix: &str| {
        let prefix = format!("redis.prefix={prefix}");
        Gateway::with_toml(CONFIG, &["--redis-url", &redis.url(), "--set", &prefix]).ready()
    };
    // A gateway of before brought its library under the one name there was, whatever its prefix.
    let foreign = "#!lua name=fanline1\n-- fanline 1\nlocal PREFIX = 'staging:'\nredis.register_function('fanline_publish', function() end)";
    assert_eq!(redis.cli(&["FUNCTION", "LOAD", foreign]), "fanline1");
    let (first, second) = (start("staging:"), start("fanline:"));
    for (gateway, function, prefix) in
        [(&first, "fanline_publish_staging", "staging:"), (&second, "fanline_publish", "fanline:")]
    {
        let mut client = Client::json(gateway, &["h:a"]);
        let call = || redis.cli(&["FCALL", function, "1", &format!("{prefix}h:a"), prefix]);
        eventually("the function is there", || call().contains('-').then_some(()));
        assert_eq!(texts(&mut client, 1), [prefix]);
        let wrong = redis.cli(&["FCALL", function, "1", "other:h:a", "x"]);
        assert!(wrong.contains(&format!("write 1 {prefix}<topic>")), "{wrong}");
    }
}

/// A Redis that takes its time for each answer, and a crowd of whom few can be answered at once: everybody is told in time,
/// and nobody keeps operators waiting.
#[test]
fn who_has_no_turn_to_read_a_history_is_told_so_and_operators_wait_for_no_client() {
    const CROWD: usize = 800;
    const SOON: Duration = Duration::from_secs(5);
    let Some(redis) = RedisServer::start() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let proxy = runtime.block_on(Proxy::start(redis.port()));
    let gateway = Gateway::with_toml(CONFIG, &["--redis-url", &proxy.url()]).ready();
    publish(&gateway, "h:a", "a");
    let mut crowd: Vec<_> = (0..CROWD).map(|_| Bare::open(&gateway)).collect();
    proxy.rule(Class::Commands, Rule { delay: Duration::from_millis(200), ..Rule::default() });
    let begin = Instant::now();
    crowd.iter_mut().for_each(|client| client.say(&json!({ "type": "history", "topic": "h:a", "id": 1 })));
    let answer = gateway.get("/api/history?topic=h:a");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(begin.elapsed() < SOON, "an operator was answered after {:?}", begin.elapsed());
    let told: Vec<_> = crowd.iter_mut().map(Bare::told).collect();
    assert!(begin.elapsed() < SOON, "the last was told after {:?}", begin.elapsed());
    let count = |is: fn(&Value) -> bool| told.iter().filter(|told| is(told)).count();
    let (read, refused) = (count(|told| told["type"] == "history"), count(|told| told["code"] == "unavailable"));
    assert_eq!(read + refused, CROWD, "{told:?}");
    assert!(read > 0 && refused > 0, "{read} were read, {refused} were not");
    let operators: Vec<_> = std::thread::scope(|scope| {
        let ask = || scope.spawn(|| gateway.get("/api/history?topic=h:a"));
        let asked: Vec<_> = (0..60).map(|_| ask()).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let refused: Vec<_> = operators.iter().filter(|answer| answer.status != 200).collect();
    assert!(!refused.is_empty() && refused.len() < operators.len(), "{} were refused", refused.len());
    for answer in refused {
        let retry = answer.head.to_lowercase().contains("retry-after: 1");
        assert!(answer.status == 503 && retry, "{} {}", answer.head, answer.body);
    }
    let said = || (gateway.log().matches("faster than Redis answers").count() == 2).then_some(());
    eventually("the log says so once for clients and once for operators", said);
}

/// Without Redis the past is kept by the replica itself, which has no more room for it however many topics there are.
#[test]
fn a_replica_that_is_alone_keeps_so_much_of_the_past_and_says_who_cannot_resume_for_that() {
    const SIZE: usize = 500_000;
    const AT_ONCE: usize = 50;
    let gateway = Gateway::with_toml(CONFIG, &[]).ready();
    let positions = publish_all(&gateway, "h:old", &["a", "b"]);
    let mut listener = Client::json(&gateway, &["h:heard"]);
    publish(&gateway, "h:heard", "a");
    let recovers = |gateway: &Gateway| {
        let mut client = Client::json_open(gateway);
        resume(&mut client, "h:old", "since", &json!(positions[0]))["recovered"].clone()
    };
    assert_eq!(recovers(&gateway), true);
    let text = "x".repeat(SIZE);
    for round in 0..300 * 1024 * 1024 / SIZE / AT_ONCE {
        let topics: Vec<_> = (0..AT_ONCE).map(|n| format!("h:new:{round}:{n}")).collect();
        let answer = gateway.post("/api/publish", &json!({ "topics": topics, "text": text }).to_string());
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    assert_eq!(recovers(&gateway), false);
    let said = || gateway.log().contains("keeps as much of the past as it may").then_some(());
    eventually("the log says so", said);
    publish(&gateway, "h:heard", "b");
    assert_eq!(texts(&mut listener, 2), ["a", "b"], "who listens hears of nothing");
}
