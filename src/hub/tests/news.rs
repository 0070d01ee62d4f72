//! What clients are told about many topics at once.

use super::*;

/// A client of many topics, and their names.
fn reader(house: &mut House, number: u64, topics: usize) -> (Client, Vec<String>) {
    let client = house.json(number);
    let names: Vec<String> = (0..topics).map(|nth| format!("t{nth}")).collect();
    let (outbox, wanted) = (client.outbox.clone(), names.iter().map(|name| topic(name)).collect());
    house.shard.obey(Order::Subscribe { outbox, topics: wanted, limit: topics, answer: Answer::default() });
    (client, names)
}

/// The last frames it got, of so many writes since the first `before`.
fn since(client: &Client, before: usize) -> (Vec<serde_json::Value>, usize) {
    let frames = client.pipe.wire().frames();
    (frames[frames.len() - 2..].iter().map(Frame::json).collect(), client.pipe.wire().writes() - before)
}

#[test]
fn a_client_of_many_topics_is_told_of_an_outage_by_two_events_that_name_them_all() {
    let mut house = House::new(true);
    let (client, names) = reader(&mut house, 1, 200);
    let before = client.pipe.wire().writes();
    let topics: Vec<&str> = names.iter().map(String::as_str).collect();
    for up in [false, true] {
        house.road(up, &topics);
        house.settle();
    }
    let (told, writes) = since(&client, before);
    assert_eq!(writes, 2);
    assert_eq!(told[0], serde_json::json!({ "type": "live", "topics": names, "live": false }));
    assert_eq!((&told[1]["type"], &told[1]["topics"]), (&"gap".into(), &serde_json::json!(names)));
    assert_eq!((&told[1]["since"], &told[1]["spread_ms"]), (&7.into(), &200.into()), "1 ms per subscriber");
    assert_eq!(house.metrics.gaps(GapReason::Reconnected).get(), 200);
}

#[test]
fn an_event_names_so_many_topics_at_most_and_the_next_one_the_rest() {
    let mut house = House::new(true);
    let (client, names) = reader(&mut house, 1, 300);
    house.road(false, &names.iter().map(String::as_str).collect::<Vec<_>>());
    house.settle();
    let (told, _) = since(&client, 0);
    let named = told.iter().map(|event| event["topics"].as_array().unwrap().len());
    assert_eq!(named.collect::<Vec<_>>(), [256, 44]);
}

#[test]
fn a_turn_ends_when_as_many_clients_have_news_as_it_may_write_to() {
    let mut house = House::new(true);
    let clients: Vec<_> = (0..10).map(|n| house.json(n)).collect();
    clients.iter().for_each(|client| house.subscribe(client, &["t", "u"]));
    let told = |word: &str| clients.iter().filter(|client| client.told().contains(&word.to_owned())).count();
    house.road(false, &["t", "u"]);
    house.turn(4);
    assert_eq!(told("live:false"), 4);
    house.settle();
    assert_eq!(told("live:false"), 10);
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
    assert_eq!(client.told_of("t0"), ["subscribed:true", "live:false", "gap:reconnected", "m"]);
    assert_eq!(client.told_of("t1"), ["subscribed:true", "live:false", "gap:reconnected"]);
}
