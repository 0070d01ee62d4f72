//! What clients are told about many topics at once.

use super::*;
use crate::hub::news::News;

/// A client of many topics, and their names.
fn reader(house: &mut House, number: u64, topics: usize) -> (Client, Vec<String>) {
    let client = house.json(number);
    let names: Vec<String> = (0..topics).map(|nth| format!("t{nth}")).collect();
    let (outbox, wanted) = (client.outbox.clone(), names.iter().map(|name| Wanted::fresh(topic(name))).collect());
    house.shard.obey(Order::Subscribe { outbox, topics: wanted, limit: topics, answer: Answer::default() });
    (client, names)
}

/// The last so many frames it got, of so many writes since the first `before`.
fn since(client: &Client, before: usize, last: usize) -> (Vec<serde_json::Value>, usize) {
    let frames = client.pipe.wire().frames();
    (frames[frames.len() - last..].iter().map(Frame::json).collect(), client.pipe.wire().writes() - before)
}

#[test]
fn a_client_of_many_topics_is_told_of_an_outage_by_three_events_that_name_them_all() {
    let mut house = House::new(true);
    let (client, names) = reader(&mut house, 1, 200);
    let before = client.pipe.wire().writes();
    let topics: Vec<&str> = names.iter().map(String::as_str).collect();
    for up in [false, true] {
        house.road(up, &topics);
        house.settle();
    }
    let (told, writes) = since(&client, before, 3);
    assert_eq!(writes, 2);
    assert_eq!(told[0], serde_json::json!({ "type": "live", "topics": names, "live": false }));
    assert_eq!((&told[1]["type"], &told[1]["topics"]), (&"gap".into(), &serde_json::json!(names)));
    assert_eq!(told[2], serde_json::json!({ "type": "live", "topics": names, "live": true }));
    assert_eq!((&told[1]["since"], &told[1]["spread_ms"]), (&7.into(), &200.into()), "1 ms per subscriber");
    assert_eq!(house.metrics.gaps(GapReason::Reconnected).get(), 200);
}

#[test]
fn an_event_names_so_many_topics_at_most_and_the_next_one_the_rest() {
    let mut house = House::new(true);
    let (client, names) = reader(&mut house, 1, 300);
    house.road(false, &names.iter().map(String::as_str).collect::<Vec<_>>());
    house.settle();
    let (told, _) = since(&client, 0, 2);
    let named = told.iter().map(|event| event["topics"].as_array().unwrap().len());
    assert_eq!(named.collect::<Vec<_>>(), [256, 44]);
}

#[test]
fn many_clients_of_the_same_topics_are_told_by_few_events_too() {
    let mut house = House::new(true);
    let names: Vec<String> = (0..10).map(|nth| format!("t{nth}")).collect();
    let topics: Vec<&str> = names.iter().map(String::as_str).collect();
    let clients: Vec<_> = (0..200).map(|number| reader(&mut house, number, 10).0).collect();
    let before: usize = clients.iter().map(|client| client.pipe.wire().writes()).sum();
    for up in [false, true] {
        house.road(up, &topics);
        house.settle();
    }
    for name in &names {
        assert!(
            clients.iter().all(|client| client.told_of(name)[1..] == ["live:false", "gap:reconnected", "live:true"])
        );
    }
    let writes = clients.iter().map(|client| client.pipe.wire().writes()).sum::<usize>() - before;
    assert!((400..=800).contains(&writes), "{writes} writes for 4,000 pieces of news");
}

#[test]
fn a_turn_tells_as_many_clients_as_it_has_sockets_and_a_few_when_it_has_none() {
    let mut house = House::new(true);
    let clients: Vec<_> = (0..100).map(|n| house.json(n)).collect();
    clients.iter().for_each(|client| house.subscribe(client, &["t", "u"]));
    let told = |word: &str| clients.iter().filter(|client| client.told().contains(&word.to_owned())).count();
    house.road(false, &["t"]);
    house.turn(40);
    assert_eq!(told("live:false"), 40);
    house.publish("u", "m");
    house.turn(1);
    assert_eq!((told("m"), told("live:false")), (1, 48), "eight more, though its socket was spent");
    house.settle();
    assert_eq!((told("m"), told("live:false")), (100, 100));
    assert!(
        clients.iter().all(|client| client.told()[2..] == ["live:false", "m"]),
        "what happened before comes before"
    );
}

#[test]
fn news_is_told_before_the_answer_to_who_asks_and_not_at_all_to_who_left() {
    let mut house = House::new(true);
    let clients: Vec<_> = (0..20).map(|n| house.json(n)).collect();
    clients.iter().for_each(|client| house.subscribe(client, &["t"]));
    house.road(false, &["t"]);
    house.turn(1);
    let [asks, leaves] = [&clients[15], &clients[16]];
    house.unsubscribe(asks, "t");
    house.leave(leaves);
    assert_eq!(asks.told(), ["subscribed:true", "live:false", "unsubscribed"]);
    house.settle();
    assert_eq!(asks.told().len(), 3, "once");
    assert_eq!(leaves.told(), ["subscribed:true"]);
}

#[test]
fn what_happened_before_a_publication_is_told_before_it() {
    let mut house = House::new(true);
    let (client, _) = reader(&mut house, 1, 2);
    house.road(false, &["t0", "t1"]);
    house.road(true, &["t0", "t1"]);
    house.publish("t0", "m");
    // All of it in one turn.
    house.turn(64);
    assert_eq!(client.told_of("t0"), ["subscribed:true", "live:false", "gap:reconnected", "live:true", "m"]);
    assert_eq!(client.told_of("t1"), ["subscribed:true", "live:false", "gap:reconnected", "live:true"]);
}

#[test]
fn when_too_many_clients_have_news_they_are_told_before_more_is_gathered_and_publications_follow() {
    let mut house = House::new(true);
    let clients: Vec<_> = (0..100).map(|n| house.json(n)).collect();
    clients.iter().for_each(|client| house.subscribe(client, &["t", "u"]));
    house.shard.hold_news_of(10);
    house.road(false, &["t"]);
    house.turn(64);
    house.publish("u", "m");
    house.turn(64);
    assert!(clients.iter().all(|client| !client.told().contains(&"m".to_owned())), "the news are full");
    house.settle();
    assert!(clients.iter().all(|client| client.told()[2..] == ["live:false", "m"]));
}

#[test]
fn clients_are_told_round_and_round_however_much_comes() {
    let mut house = House::new(true);
    let clients: Vec<_> = (0..100).map(|n| house.json(n)).collect();
    clients.iter().for_each(|client| house.subscribe(client, &["t"]));
    for _ in 0..40 {
        house.gap("t", GapReason::Malformed);
        house.turn(1);
    }
    assert!(clients.iter().all(|client| client.told().len() > 1), "everybody was told, eight a turn");
}

#[test]
fn a_topic_that_gets_what_cannot_be_read_again_and_again_is_named_once_an_event() {
    let mut news = News::default();
    let mut house = House::new(true);
    let client = house.json(1);
    house.subscribe(&client, &["a", "b"]);
    for nth in 0..1000 {
        let name = topic(["a", "b"][nth % 2]);
        let gap = crate::hub::pass::gap(&name, GapReason::Malformed, 1, 1);
        news.gap(&client.outbox, &gap);
    }
    assert!(news.tell(client.outbox.number()));
    let gaps: Vec<_> = client.told().into_iter().filter(|text| text.starts_with("gap")).collect();
    assert!(gaps.len() <= 2, "{gaps:?}");
}

#[test]
fn a_topic_of_which_more_is_missing_behind_an_outage_is_named_once() {
    let mut house = House::new(true);
    let client = house.json(1);
    house.subscribe(&client, &["a", "b"]);
    let mut news = News::default();
    for name in ["a", "b", "a"] {
        news.gap(&client.outbox, &crate::hub::pass::gap(&topic(name), GapReason::Reconnected, 1, 1));
    }
    assert!(news.tell(client.outbox.number()));
    let frames = client.pipe.wire().frames();
    assert_eq!(frames.last().unwrap().json()["topics"], serde_json::json!(["a", "b"]));
}

/// It hears nothing of the outage between two gaps, and yet they are two.
#[test]
fn a_link_that_flaps_names_a_topic_once_a_gap_to_who_has_a_word_for_gaps_alone() {
    let mut house = House::new(true);
    let client = house.client(1, Box::new(Plain::new(OnGap::Notify)));
    house.subscribe(&client, &["t0", "t1"]);
    for up in [false, true, false, true] {
        house.road(up, &["t0", "t1"]);
    }
    house.turn(64);
    let named: Vec<_> = client.pipe.wire().frames().iter().map(|frame| frame.json()["topics"].clone()).collect();
    let both = serde_json::json!(["t0", "t1"]);
    assert_eq!(named, [both.clone(), both]);
}

#[test]
fn who_has_no_word_for_it_has_no_news() {
    let mut house = House::new(true);
    let client = house.plain(1);
    house.subscribe(&client, &["t"]);
    house.road(false, &["t"]);
    house.turn(64);
    assert!(!house.shard.is_busy(), "nothing waits to be told");
}
