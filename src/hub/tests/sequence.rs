//! Any interleaving of publications, losses on the way, reads, trims, set-backs and outages: what goes on is in order and
//! once, without a hole that is not told, and nothing stays behind.

use std::collections::{HashSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::hub::sequence::{Ask, Outcome, RING, Sequence, Step};
use crate::position::Position;

#[derive(Debug, Clone, Copy)]
enum Act {
    Publish,
    /// Without a position, as a producer does that knows nothing of histories.
    PublishRaw,
    Arrive,
    Vanish,
    /// The read under way is answered, by so many entries at most.
    Answer(usize),
    /// It is answered as things stood when it was asked.
    AnswerLate,
    Refuse,
    /// What follows is read because a client says that something does …
    Doubt(usize),
    /// … and comes some time later.
    Look,
    Trim(usize),
    /// Redis comes back without its newest publications, and its clock is set back, too.
    SetBack(usize, u64),
    Flush,
    Outage,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        10 => Just(Act::Publish),
        1 => Just(Act::PublishRaw),
        8 => Just(Act::Arrive),
        2 => Just(Act::Vanish),
        5 => (1..6usize).prop_map(Act::Answer),
        2 => Just(Act::AnswerLate),
        1 => Just(Act::Refuse),
        1 => (1..6usize).prop_map(Act::Doubt),
        2 => Just(Act::Look),
        1 => (1..5usize).prop_map(Act::Trim),
        1 => (1..5usize, 0..30u64).prop_map(|(entries, clock)| Act::SetBack(entries, clock)),
        1 => Just(Act::Flush),
        1 => Just(Act::Outage),
    ];
    proptest::collection::vec(act, 1..200)
}

/// The history as Redis has it, and what is on its way from there.
#[derive(Default)]
struct World {
    sequence: Sequence,
    kept: Vec<Publication>,
    last: Position,
    clock: u64,
    number: u64,
    on_the_way: VecDeque<Publication>,
    asked: Option<(Ask, Vec<Publication>, Position)>,
    doubted: Option<(Vec<Publication>, Position)>,
    seen: Vec<Step>,
}

impl World {
    fn publish(&mut self, with_position: bool) {
        self.number += 1;
        self.clock += 1;
        let mut header = Header::default();
        if with_position {
            let pos = self.last.next(self.clock);
            (header.prev, header.pos) = (Some(self.last), Some(pos));
            self.last = pos;
        }
        let payload = Bytes::from(self.number.to_string());
        let publication = Publication::new(topic("t"), Some(Box::new(header)), payload, Instant::now());
        if with_position {
            self.kept.push(publication.clone());
        }
        self.on_the_way.push_back(publication);
    }

    fn take(&mut self, outcome: Outcome) {
        self.seen.extend(outcome.steps);
        if let Some(ask) = outcome.ask {
            self.asked = Some((ask, self.kept.clone(), self.last));
        }
    }

    fn arrive(&mut self) {
        if let Some(publication) = self.on_the_way.pop_front() {
            let outcome = self.sequence.came(publication);
            self.take(outcome);
        }
    }

    fn answer(&mut self, most: usize, late: bool) {
        let Some((ask, kept, last)) = self.asked.take() else { return };
        let (kept, last) = if late { (kept, last) } else { (self.kept.clone(), self.last) };
        let outcome = match ask {
            Ask::Last => self.sequence.answered(last),
            Ask::After(after) => {
                let behind = kept.into_iter().filter(|entry| entry.position() > Some(after));
                self.sequence.read(behind.take(most).collect(), last)
            }
        };
        self.take(outcome);
    }

    /// The connection ends, what is on its way is lost, and a new one is made.
    fn reconnect(&mut self) {
        self.on_the_way.clear();
        self.doubted = None;
        self.sequence.closed();
        let outcome = self.sequence.opened();
        self.take(outcome);
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Publish => self.publish(true),
            Act::PublishRaw => self.publish(false),
            Act::Arrive => self.arrive(),
            Act::Vanish => drop(self.on_the_way.pop_front()),
            Act::Answer(most) => self.answer(most, false),
            Act::AnswerLate => self.answer(usize::MAX, true),
            Act::Refuse => {
                if self.asked.take().is_some() {
                    let outcome = self.sequence.gave_up();
                    self.take(outcome);
                }
            }
            Act::Doubt(most) => {
                if let Some(last) = self.sequence.last().filter(|_| self.sequence.is_whole()) {
                    let behind = self.kept.iter().filter(|entry| entry.position() > Some(last));
                    self.doubted = Some((behind.take(most).cloned().collect(), self.last));
                }
            }
            Act::Look => {
                if let Some((entries, newest)) = self.doubted.take() {
                    let outcome = self.sequence.looked(entries, newest);
                    self.take(outcome);
                }
            }
            Act::Trim(entries) => drop(self.kept.drain(..entries.min(self.kept.len()))),
            Act::SetBack(entries, clock) => {
                self.kept.truncate(self.kept.len().saturating_sub(entries));
                self.last = self.kept.last().and_then(Publication::position).unwrap_or_default();
                self.clock = self.clock.saturating_sub(clock).max(self.last.ms);
                self.reconnect();
            }
            Act::Flush => {
                self.kept.clear();
                self.last = Position::START;
                self.reconnect();
            }
            Act::Outage => self.reconnect(),
        }
    }

    /// All that is under way comes, and one more publication.
    fn settle(&mut self) {
        self.publish(true);
        while !self.on_the_way.is_empty() || self.asked.is_some() {
            self.arrive();
            self.answer(3, false);
        }
    }

    /// Nothing twice, nothing out of order, no hole that is not told, and the newest is there.
    fn check(&self) {
        let mut once = HashSet::new();
        let mut at = None;
        for step in &self.seen {
            match step {
                Step::Gap(..) => at = None,
                Step::Publication(publication) => {
                    assert!(once.insert(publication.payload.clone()), "twice: {publication:?}");
                    let Some((prev, pos)) = publication.step() else { continue };
                    assert!(at.is_none_or(|at| at == prev), "a hole before {pos} in {:?}", self.seen);
                    at = Some(pos);
                }
            }
        }
        assert!(self.sequence.is_whole());
        assert_eq!(self.sequence.last(), Some(self.last), "{:?}", self.seen);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_on_is_in_order_and_once_without_a_hole_that_is_not_told(acts in acts()) {
        let mut world = World::default();
        world.reconnect();
        acts.into_iter().for_each(|act| world.act(act));
        world.settle();
        world.check();
    }
}

fn begun() -> World {
    let mut world = World::default();
    world.reconnect();
    world.answer(9, false);
    world.publish(true);
    world.arrive();
    assert_eq!(world.seen.len(), 1);
    world
}

fn reasons(world: &World) -> Vec<GapReason> {
    let gap = |step: &Step| if let Step::Gap(reason, _) = step { Some(*reason) } else { None };
    world.seen.iter().filter_map(gap).collect()
}

#[test]
fn what_was_missed_in_an_outage_is_read_and_nothing_is_told() {
    let mut world = begun();
    for _ in 0..10 {
        world.publish(true);
    }
    world.reconnect();
    assert!(!world.sequence.is_whole());
    world.settle();
    world.check();
    assert_eq!((world.seen.len(), reasons(&world)), (12, vec![]));
}

#[test]
fn a_gap_says_why_the_history_does_not_go_on() {
    let told = |harm: fn(&mut World)| {
        let mut world = begun();
        world.publish(true);
        world.publish(true);
        harm(&mut world);
        world.reconnect();
        world.settle();
        world.check();
        reasons(&world)
    };
    assert_eq!(told(|_| {}), []);
    assert_eq!(told(|world| world.act(Act::Trim(2))), [GapReason::Trimmed]);
    assert_eq!(told(|world| world.act(Act::Trim(3))), [GapReason::Trimmed]);
    assert_eq!(told(|world| world.act(Act::Flush)), [GapReason::Lost]);
    let set_back = |world: &mut World| {
        [Act::Arrive, Act::Arrive, Act::SetBack(1, 0), Act::Publish].into_iter().for_each(|act| world.act(act));
    };
    assert_eq!(told(set_back), [GapReason::Rewound]);
}

#[test]
fn more_than_the_ring_holds_is_read_from_the_history() {
    let mut world = begun();
    world.publish(true);
    world.act(Act::Vanish);
    for _ in 0..2 * RING {
        world.publish(true);
        world.arrive();
    }
    while world.asked.is_some() {
        world.answer(1_000, false);
    }
    world.check();
    assert_eq!((world.seen.len(), reasons(&world)), (2 * RING + 2, vec![]));
}
