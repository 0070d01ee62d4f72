//! Joins, leaves, publications and flips of the road, with passes cut anywhere: each subscriber is told exactly
//! what happened during its stay, in order and once. A gap may stand for several drops, so of each it must hear one
//! afterwards, wherever it stands.

use proptest::prelude::*;

use super::*;

const CLIENTS: usize = 5;
const TOPICS: [&str; 2] = ["t", "u"];

/// What is told of a drop.
const DROPPED: &str = "gap:overflow";

#[derive(Debug, Clone)]
enum Act {
    Join(usize, usize),
    Unsubscribe(usize, usize),
    Leave(usize),
    Publish(usize, Option<usize>),
    Drop(usize),
    Flip,
    Overdue,
    Turn(u32),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let (client, topic) = (0..CLIENTS, 0..TOPICS.len());
    let act = prop_oneof![
        8 => (client.clone(), topic.clone()).prop_map(|(client, topic)| Act::Join(client, topic)),
        3 => (client.clone(), topic.clone()).prop_map(|(client, topic)| Act::Unsubscribe(client, topic)),
        2 => client.clone().prop_map(Act::Leave),
        3 => topic.clone().prop_map(Act::Drop),
        12 => (topic, proptest::option::of(client)).prop_map(|(topic, except)| Act::Publish(topic, except)),
        2 => Just(Act::Flip),
        1 => Just(Act::Overdue),
        10 => (1..6u32).prop_map(Act::Turn),
    ];
    proptest::collection::vec(act, 1..150)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knows {
    Nothing,
    Pending,
    Live,
    Lost,
}

/// What one client should be told of one topic.
struct Stay {
    knows: Knows,
    due: Vec<String>,
    joined_live: bool,
    /// How many gaps it has been told at the end, at least.
    gaps: usize,
}

/// One client and its stays by topic, the running one last; what it was told before is checked already.
struct Guest {
    client: Client,
    stays: [Option<Stay>; 2],
    seen: [usize; 2],
}

impl Guest {
    fn new(house: &House, number: &mut u64) -> Self {
        *number += 1;
        Self { client: house.json(*number), stays: [None, None], seen: [0, 0] }
    }

    /// What it was told of a topic since its last stay there.
    fn news(&self, topic: usize) -> Vec<String> {
        self.client.told_of(TOPICS[topic]).split_off(self.seen[topic])
    }

    /// How many drops it was told of, in all its stays.
    fn gaps(&self, topic: usize) -> usize {
        self.client.told_of(TOPICS[topic]).iter().filter(|word| *word == DROPPED).count()
    }

    /// Something was dropped: a gap must follow.
    fn drop_one(&mut self, topic: usize) {
        let heard = self.gaps(topic);
        self.stays[topic].iter_mut().for_each(|stay| stay.gaps = heard + 1);
    }

    /// The stay ends: it may have missed the end of it, and nothing else.
    fn depart(&mut self, topic: usize, word: Option<&str>) {
        let Some(stay) = self.stays[topic].take() else { return };
        let mut news = self.news(topic);
        self.seen[topic] += news.len();
        if let Some(word) = word {
            assert_eq!(news.pop().as_deref(), Some(word));
        }
        news.retain(|word| word != DROPPED);
        let unanswered = !stay.joined_live && news == ["subscribed:false"];
        assert!(unanswered || stay.due.starts_with(&news), "due {:?}, told {news:?}", stay.due);
    }
}

impl Stay {
    fn new(live: bool) -> Self {
        let due = if live { vec!["subscribed:true".into()] } else { Vec::new() };
        Self { knows: if live { Knows::Live } else { Knows::Nothing }, due, joined_live: live, gaps: 0 }
    }

    fn flip(&mut self, up: bool) {
        let words: &[&str] = match (up, self.knows) {
            (true, Knows::Nothing) => &["subscribed:true"],
            (true, Knows::Pending) => &["live:true"],
            (true, Knows::Lost) => &["gap:reconnected", "live:true"],
            (false, Knows::Live) => &["live:false"],
            (true, Knows::Live) | (false, _) => return,
        };
        self.due.extend(words.iter().map(|&word| word.into()));
        self.knows = if up { Knows::Live } else { Knows::Lost };
    }
}

fn play(acts: Vec<Act>) {
    let (mut house, mut up, mut number, mut next) = (House::new(true), true, 0, 0);
    let mut guests: Vec<_> = (0..CLIENTS).map(|_| Guest::new(&house, &mut number)).collect();
    let mut asked = TOPICS.map(|_| Vec::new());
    for act in acts {
        let crowd = TOPICS.map(|_| 0);
        let before = guests.iter().fold(crowd, count);
        match act {
            Act::Join(client, topic) if guests[client].stays[topic].is_none() => {
                house.subscribe(&guests[client].client, &[TOPICS[topic]]);
                guests[client].stays[topic] = Some(Stay::new(up));
            }
            Act::Unsubscribe(client, topic) if guests[client].stays[topic].is_some() => {
                house.unsubscribe(&guests[client].client, TOPICS[topic]);
                guests[client].depart(topic, Some("unsubscribed"));
            }
            Act::Leave(client) => {
                house.leave(&guests[client].client);
                (0..TOPICS.len()).for_each(|topic| guests[client].depart(topic, None));
                guests[client] = Guest::new(&house, &mut number);
            }
            Act::Publish(topic, except) if up => {
                next += 1;
                let text = format!("m{next}");
                house.publish_except(TOPICS[topic], &text, except.map(|client| &guests[client].client));
                house.shard.take_inbox();
                for (_, guest) in guests.iter_mut().enumerate().filter(|(place, _)| Some(*place) != except) {
                    guest.stays[topic].iter_mut().for_each(|stay| stay.due.push(text.clone()));
                }
            }
            Act::Drop(place) if up => {
                house.gap(TOPICS[place], GapReason::Overflow);
                house.shard.take_inbox();
                guests.iter_mut().for_each(|guest| guest.drop_one(place));
            }
            // It is told with the outage.
            Act::Drop(place) => house.gap(TOPICS[place], GapReason::Reconnected),
            Act::Flip => {
                up = !up;
                house.road(up, &TOPICS);
                house.shard.take_inbox();
                guests.iter_mut().flat_map(|guest| guest.stays.iter_mut().flatten()).for_each(|stay| stay.flip(up));
            }
            Act::Overdue => {
                house.settle();
                house.shard.answer_overdue(Instant::now() + Duration::from_secs(1));
                let stays = guests.iter_mut().flat_map(|guest| guest.stays.iter_mut().flatten());
                for stay in stays.filter(|stay| stay.knows == Knows::Nothing) {
                    stay.due.push("subscribed:false".into());
                    stay.knows = Knows::Pending;
                }
            }
            Act::Turn(sockets) => house.turn(sockets),
            Act::Join(..) | Act::Unsubscribe(..) | Act::Publish(..) => {}
        }
        let after = guests.iter().fold(crowd, count);
        for (topic, name) in TOPICS.iter().enumerate() {
            match (before[topic], after[topic]) {
                (0, 1..) => asked[topic].push(format!("+{name}")),
                (1.., 0) => asked[topic].push(format!("-{name}")),
                _ => {}
            }
        }
        let heard =
            TOPICS.map(|name| house.asked().into_iter().filter(|word| word.ends_with(name)).collect::<Vec<_>>());
        assert_eq!(heard, asked);
    }
    house.settle();
    for guest in &mut guests {
        for topic in 0..TOPICS.len() {
            if let Some(stay) = &guest.stays[topic] {
                let mut news = guest.news(topic);
                news.retain(|word| word != DROPPED);
                assert_eq!(news, stay.due);
                assert!(guest.gaps(topic) >= stay.gaps, "a drop was not told");
            }
        }
        house.leave(&guest.client);
    }
    house.assert_empty();
}

fn count(mut crowd: [usize; 2], guest: &Guest) -> [usize; 2] {
    for (there, stay) in crowd.iter_mut().zip(&guest.stays) {
        *there += usize::from(stay.is_some());
    }
    crowd
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn each_subscriber_is_told_what_happened_during_its_stay_in_order_and_once(acts in acts()) {
        play(acts);
    }
}
