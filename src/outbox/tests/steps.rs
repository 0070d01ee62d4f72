//! What an arrival costs a full outbox, in entries that are looked at: the same however many wait there.

use super::*;
use crate::outbox::row::STEPS;

/// More than an arrival needs: two gathered writes of 64 entries, and a few for each publication dropped.
const FEW: usize = 300;

/// How many entries were looked at by the dearest of these offers.
fn dearest(client: &Client, offers: impl Iterator<Item = ((u16, OnFull), String, String)>) -> usize {
    let publications = offers.map(|(rule, topic, key)| (rule, publication(&topic, Some(&key), key.clone())));
    let publications: Vec<_> = publications.collect();
    let cost = |(rule, publication): ((u16, OnFull), Arc<Publication>)| {
        let before = STEPS.get();
        client.offer(rule, std::slice::from_ref(&publication));
        assert!(client.outbox.is_open());
        STEPS.get() - before
    };
    publications.into_iter().map(cost).max().unwrap()
}

/// So many wait of another rule, or of subjects of which each is the newest; then some more come.
fn costs(waiting: usize, of: (u16, OnFull), arriving: (u16, OnFull)) -> usize {
    let client = Client::json(0, usize::MAX, waiting);
    for n in 0..waiting - 20 {
        client.offer_one(of, "others", Some(&n.to_string()), "x");
    }
    for n in 0..20 {
        client.offer_one(arriving, "mine", Some(&n.to_string()), "x");
    }
    // The first finds out what may be dropped, once for all.
    client.offer_one(arriving, "mine", Some("0"), "x");
    let next = (0..200).map(|n| (arriving, "mine".to_owned(), (n % 20).to_string()));
    dearest(&client, next)
}

#[test]
fn an_arrival_costs_the_same_whatever_waits() {
    let rules = [OnFull::Conflate, OnFull::DropOldest, OnFull::DropNewest];
    for arriving in rules {
        for (of, on_full) in [(0, arriving), (1, OnFull::DropNewest)] {
            let cost = costs(10_000, (of, on_full), (0, arriving));
            assert!(cost < FEW, "{arriving:?} beside rule {of}: {cost} entries looked at");
        }
    }
}

#[test]
fn so_does_one_that_supersedes_an_entry_in_the_middle_and_one_whose_gap_waits_far_behind() {
    let conflate = (0, OnFull::Conflate);
    let client = Client::json(0, usize::MAX, 10_000);
    for n in 0..10_000 {
        client.offer_one(conflate, &(n % 50).to_string(), Some(&n.to_string()), "x");
    }
    client.offer_one(conflate, "49", Some("9999"), "x");
    let everywhere = (0..3_000).map(|n| 7_919 * n % 10_000);
    let cost = dearest(&client, everywhere.map(|n| (conflate, (n % 50).to_string(), n.to_string())));
    assert!(cost < FEW, "{cost} entries looked at");
}

/// As the peer takes a little now and then, entries leave, and are no longer what may be dropped.
#[test]
fn what_has_left_is_not_looked_for_again() {
    let conflate = (0, OnFull::Conflate);
    let client = Client::json(0, usize::MAX, 5_000);
    for n in 0..5_000 {
        client.offer_one(conflate, "t", Some(&n.to_string()), "x");
    }
    for round in 0..5_000 {
        client.pipe.wire().give_room(300);
        let _ = client.outbox.flush();
        let one = (0..1).map(|_| (conflate, "t".to_owned(), (round * 31 % 5_000).to_string()));
        let cost = dearest(&client, one);
        assert!(cost < FEW, "round {round}: {cost} entries looked at");
    }
}
