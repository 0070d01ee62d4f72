//! Clients that come, go and come back to a topic with history, while publications come or vanish, reads are slow, sockets
//! are full and the road flaps: each gets what follows the position that it was told, in order and once; where something
//! is missing it is told before.

use std::collections::{HashMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::broker::{Page, Part, Read};
use crate::command::Resume;
use crate::hub::asks::{Errand, What};
use crate::hub::sequence::Ask;
use crate::position::Position;
use crate::settings::TopicRule;

const CLIENTS: usize = 4;

#[derive(Debug, Clone)]
pub(super) enum Act {
    Join(usize, Wish),
    Leave(usize),
    Publish,
    /// One that is kept, and does not come here.
    Vanish,
    Answer,
    Refuse,
    /// What was read makes room for other topics.
    Evict,
    Trim(usize),
    Turn(u32),
    Room(usize, usize),
    Flip,
    /// Redis comes back without its newest publications.
    SetBack(usize),
    Overdue,
}

#[derive(Debug, Clone)]
pub(super) enum Wish {
    Fresh,
    /// From where it left.
    Left,
    Last(u32),
    Since(u64),
    /// From the newest there is, of which this replica may not know.
    Newest,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let wish = prop_oneof![
        1 => Just(Wish::Fresh),
        4 => Just(Wish::Left),
        1 => (0..6u32).prop_map(Wish::Last),
        1 => (0..60u64).prop_map(Wish::Since),
        1 => Just(Wish::Newest),
    ];
    let act = prop_oneof![
        6 => (0..CLIENTS, wish).prop_map(|(client, wish)| Act::Join(client, wish)),
        3 => (0..CLIENTS).prop_map(Act::Leave),
        10 => Just(Act::Publish),
        1 => Just(Act::Vanish),
        6 => Just(Act::Answer),
        1 => Just(Act::Refuse),
        2 => Just(Act::Evict),
        1 => (1..4usize).prop_map(Act::Trim),
        8 => (1..4u32).prop_map(Act::Turn),
        6 => (0..CLIENTS, 1..400usize).prop_map(|(client, bytes)| Act::Room(client, bytes)),
        1 => Just(Act::Flip),
        1 => (1..9usize).prop_map(Act::SetBack),
        1 => Just(Act::Overdue),
    ];
    proptest::collection::vec(act, 1..150)
}

pub(super) struct Guest {
    client: Client,
    joined: bool,
    pub left_at: Position,
}

pub(super) struct World {
    pub house: House,
    pub guests: Vec<Guest>,
    number: u64,
    up: bool,
    pub kept: Vec<Publication>,
    pub newest: Position,
    pub clock: u64,
    /// What each publication that ever was followed.
    chain: HashMap<Position, Position>,
    errands: VecDeque<Errand>,
}

impl World {
    pub fn new() -> Self {
        let rule = TopicRule { history_size: 1_000, ..TopicRule::default() };
        let house = House::under(true, TopicRules::new(vec![rule]));
        let mut world = Self {
            house,
            guests: Vec::new(),
            number: 0,
            up: true,
            kept: Vec::new(),
            newest: Position::START,
            clock: 0,
            chain: HashMap::new(),
            errands: VecDeque::new(),
        };
        world.guests = (0..CLIENTS).map(|_| world.guest(Position::START)).collect();
        world
    }

    fn guest(&mut self, left_at: Position) -> Guest {
        self.number += 1;
        let terms = terms(Box::new(Json), 1 << 30, usize::MAX, &self.house.total);
        let pipe = Outbox::new(terms, ConnectionNumber(self.number), Pipe::with_room(0));
        Guest { client: Client { outbox: pipe.clone(), pipe }, joined: false, left_at }
    }

    fn publish(&mut self, comes: bool) {
        self.clock += 1;
        let pos = self.newest.next(self.clock);
        let header = Header { prev: Some(self.newest), pos: Some(pos), ..Header::default() };
        self.chain.insert(pos, self.newest);
        self.newest = pos;
        let payload = Bytes::from(pos.ms.to_string());
        let publication = Publication::new(topic("t"), Some(Box::new(header)), payload, Instant::now());
        self.kept.push(publication.clone());
        if comes && self.up {
            self.house.interest.deliver(publication);
        }
    }

    fn read(&self, read: Read) -> Page {
        let mut entries: Vec<_> = match read.part {
            Part::After(after) => self.kept.iter().filter(|entry| entry.position() > Some(after)).cloned().collect(),
            Part::Until(until) => {
                self.kept.iter().rev().filter(|entry| entry.position() <= Some(until)).cloned().collect()
            }
        };
        let more = entries.len() > read.most;
        entries.truncate(read.most);
        if matches!(read.part, Part::Until(_)) {
            entries.reverse();
        }
        Page { entries, newest: self.newest, more }
    }

    /// Answers the oldest errand, as a few publications at a time.
    fn answer(&mut self, refuse: bool) {
        let interest = self.house.interest.clone();
        self.errands.extend(interest.asks.take());
        let Some(Errand { topic, what, .. }) = self.errands.pop_front() else { return };
        match what {
            What::Heal { epoch, .. } if refuse => interest.gave_up(&topic, epoch),
            What::Heal { epoch, ask: Ask::Last } => interest.answered(&topic, epoch, self.newest),
            What::Heal { epoch, ask: Ask::After(position) } => {
                let page = self.read(Read { part: Part::After(position), most: 3, bytes: usize::MAX });
                interest.healed(&topic, epoch, page);
            }
            What::Doubt { epoch, after, .. } => {
                let read = Read { part: Part::After(after), most: 3, bytes: usize::MAX };
                interest.looked(&topic, epoch, (!refuse).then(|| self.read(read)));
            }
            What::Log { id, .. } => {
                let read = interest.older(&topic, id);
                let page = read.filter(|_| !refuse).map(|read| self.read(read));
                interest.logged(&topic, id, page);
            }
        }
    }

    pub fn act(&mut self, act: Act) {
        match act {
            Act::Join(client, wish) if !self.guests[client].joined => {
                let guest = &mut self.guests[client];
                guest.joined = true;
                let resume = match wish {
                    Wish::Fresh => None,
                    Wish::Left => Some(Resume::After(guest.left_at)),
                    Wish::Last(most) => Some(Resume::Last(most)),
                    Wish::Since(ms) => Some(Resume::Since(ms)),
                    Wish::Newest => Some(Resume::After(self.newest)),
                };
                let (outbox, topics) = (guest.client.outbox.clone(), vec![Wanted { topic: topic("t"), resume }]);
                self.house.shard.obey(Order::Subscribe { outbox, topics, limit: 3, answer: Answer::default() });
            }
            Act::Leave(client) if self.guests[client].joined => {
                let at = self.guests[client].check(&self.chain);
                self.house.leave(&self.guests[client].client);
                let left_at = at.unwrap_or(self.guests[client].left_at);
                self.guests[client] = self.guest(left_at);
            }
            Act::Join(..) | Act::Leave(_) => {}
            Act::Publish => self.publish(true),
            Act::Vanish => self.publish(false),
            Act::Answer => self.answer(false),
            Act::Refuse => self.answer(true),
            Act::Evict => self.house.interest.evict_log(&topic("t")),
            Act::Trim(entries) => drop(self.kept.drain(..entries.min(self.kept.len()))),
            Act::Turn(sockets) => self.house.turn(sockets),
            Act::Room(client, bytes) => self.guests[client].give_room(bytes),
            Act::Flip => {
                self.up = !self.up;
                self.house.road(self.up, &["t"]);
            }
            Act::SetBack(entries) => {
                self.house.road(false, &["t"]);
                self.kept.truncate(self.kept.len().saturating_sub(entries));
                self.newest = self.kept.last().and_then(Publication::position).unwrap_or_default();
                self.house.road(self.up, &["t"]);
            }
            Act::Overdue => self.house.shard.answer_overdue(Instant::now() + Duration::from_secs(1)),
        }
    }

    pub fn settle(&mut self) {
        if !self.up {
            self.act(Act::Flip);
        }
        for _ in 0..2 {
            self.publish(true);
            for _ in 0..300 {
                self.guests.iter().for_each(|guest| guest.give_room(1 << 20));
                self.answer(false);
                self.house.settle();
            }
        }
        for guest in self.guests.iter().filter(|guest| guest.joined) {
            assert_eq!(guest.check(&self.chain), Some(self.newest), "{:?}", guest.client.pipe.wire().texts());
            assert_eq!(guest.client.outbox.waiting(), 0);
        }
        (0..CLIENTS).for_each(|client| self.act(Act::Leave(client)));
        self.house.assert_empty();
    }
}

impl Guest {
    pub fn give_room(&self, bytes: usize) {
        self.client.pipe.wire().give_room(bytes);
        let _ = self.client.outbox.flush();
    }

    /// Follows what it was told, and answers behind what it stands.
    fn check(&self, chain: &HashMap<Position, Position>) -> Option<Position> {
        let mut at = None;
        for told in self.whole().iter().map(Frame::json) {
            let position = told["position"].as_str().map(|text| text.parse::<Position>().unwrap());
            match told["type"].as_str().unwrap() {
                "subscribed" => at = position,
                "gap" => at = None,
                "message" => {
                    let (position, prev) = (position.unwrap(), chain[&position.unwrap()]);
                    assert!(at.is_none_or(|at| at == prev), "{position} does not follow {at:?} in {:?}", self.whole());
                    at = Some(position);
                }
                _ => {}
            }
        }
        at
    }

    /// The frames that came out as a whole.
    pub fn whole(&self) -> Vec<Frame> {
        let bytes = self.client.pipe.wire().taken();
        let mut end = 0;
        while let Some(len) = bytes.get(end + 1).map(|&len| usize::from(len)) {
            let (len, head) = match len {
                126 => (
                    bytes
                        .get(end + 2..end + 4)
                        .map_or(usize::MAX, |len| usize::from(len[0]) * 256 + usize::from(len[1])),
                    4,
                ),
                len => (len, 2),
            };
            if bytes.len() - end < len.saturating_add(head) {
                break;
            }
            end += len + head;
        }
        crate::outbox::fake::frames(&bytes[..end])
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whoever_comes_back_gets_what_follows_in_order_and_once_or_is_told(acts in acts()) {
        let mut world = World::new();
        acts.into_iter().for_each(|act| world.act(act));
        world.settle();
    }
}

/// The numbers of what was before a log are used again by the next log: a page is of one log only.
#[test]
fn who_resumes_behind_a_hole_gets_no_page_that_was_written_before_it() {
    let mut world = World::new();
    let answers = |world: &mut World| {
        for _ in 0..4 {
            world.act(Act::Answer);
            world.house.settle();
        }
    };
    world.act(Act::Join(1, Wish::Fresh));
    answers(&mut world);
    (0..4).for_each(|_| world.act(Act::Publish));
    world.house.settle();
    // One gets a page, and has no room for the rest.
    world.act(Act::Join(2, Wish::Left));
    world.act(Act::Turn(1));
    world.act(Act::Answer);
    world.house.settle();
    world.act(Act::Publish);
    world.house.settle();
    world.act(Act::Room(3, 1 << 20));
    world.act(Act::Join(3, Wish::Since(2)));
    answers(&mut world);
    // A hole that cannot be filled.
    world.act(Act::Flip);
    world.act(Act::Room(0, 1 << 20));
    world.act(Act::Join(0, Wish::Last(4)));
    (0..6).for_each(|_| world.act(Act::Publish));
    world.act(Act::Trim(7));
    world.act(Act::Flip);
    answers(&mut world);
    answers(&mut world);
    world.settle();
}

/// `live: false` is for who waits for Redis: whose turn comes late in a crowd is told where it goes on all the same.
#[test]
fn who_resumes_and_waits_for_its_turn_alone_is_told_in_time_that_it_can() {
    let mut world = World::new();
    world.act(Act::Join(0, Wish::Fresh));
    for _ in 0..4 {
        world.act(Act::Answer);
        world.house.settle();
    }
    (0..4).for_each(|_| world.act(Act::Publish));
    world.house.settle();
    world.act(Act::Join(1, Wish::Last(2)));
    world.act(Act::Turn(1));
    world.act(Act::Answer);
    world.act(Act::Overdue);
    world.guests[1].give_room(1 << 20);
    let told = world.guests[1].whole()[0].json();
    assert_eq!((&told["live"], &told["recovered"]), (&true.into(), &true.into()), "{told}");
    world.settle();
}

/// Everything that is asked of Redis is answered as if it knew no more than this position, and kept nothing.
pub fn answer(house: &House, newest: Position) {
    for _ in 0..8 {
        for errand in house.interest.asks.take() {
            match errand.what {
                What::Heal { epoch, ask: Ask::Last } => house.interest.answered(&errand.topic, epoch, newest),
                What::Heal { epoch, .. } => {
                    house.interest.healed(&errand.topic, epoch, Page { newest, ..Page::default() });
                }
                What::Doubt { epoch, .. } => house.interest.looked(&errand.topic, epoch, None),
                What::Log { id, .. } => house.interest.logged(&errand.topic, id, None),
            }
        }
    }
}

/// Redis remembers where a topic ended for `history_ttl` and an hour; who listened all the while misses nothing by that.
#[test]
fn a_topic_that_was_quiet_for_longer_than_redis_remembers_goes_on_without_a_gap() {
    let rule = TopicRule { history_size: 10, ..TopicRule::default() };
    let remembered = u64::try_from(rule.remembered().as_millis()).unwrap();
    let now = crate::clock::unix_ms();
    let told = |quiet: u64, cut_off: u64| {
        let mut house = House::under(true, TopicRules::new(vec![rule.clone()]));
        let client = house.json(1);
        house.subscribe(&client, &["t"]);
        answer(&house, Position::at(now - quiet));
        house.settle();
        house.interest.lost(&[topic("t")], now - cut_off);
        house.interest.live(&topic("t"));
        answer(&house, Position::START);
        for (prev, pos) in [(Position::START, now), (Position::at(now), now + 1)] {
            let header = Header { prev: Some(prev), pos: Some(Position::at(pos)), ..Header::default() };
            let payload = Bytes::from_static(b"x");
            house.interest.deliver(Publication::new(topic("t"), Some(Box::new(header)), payload, Instant::now()));
        }
        answer(&house, Position::at(now + 1));
        house.settle();
        client.told()
    };
    assert_eq!(told(remembered, 5_000), ["subscribed:true", "x", "x"]);
    assert_eq!(told(remembered - 60_000, 5_000), ["subscribed:true", "gap:lost", "x", "x"], "it was flushed");
    assert_eq!(told(2 * remembered, remembered), ["subscribed:true", "gap:lost", "x", "x"], "it was away for too long");
}
