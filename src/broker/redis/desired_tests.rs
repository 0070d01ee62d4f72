use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const LINGER: Duration = Duration::from_secs(10);

fn topic(n: u8) -> Topic {
    Topic::parse(&format!("t{n}")).unwrap()
}

fn connect(desired: &mut Desired) -> Generation {
    let generation = desired.next_generation();
    desired.connected(generation);
    generation
}

/// A link, the Redis behind it, and what the hub was told.
struct World {
    desired: Desired,
    now: Instant,
    generation: Option<Generation>,
    wanted: BTreeSet<Topic>,
    told: BTreeSet<Topic>,
    /// Commands that Redis has not read, in order.
    commands: VecDeque<Command>,
    /// What Redis really has.
    subscribed: BTreeSet<Topic>,
    /// Confirmations that we have not read, in order.
    answers: VecDeque<Answer>,
    forbidden: Option<Topic>,
}

enum Command {
    Subscribe(Topic),
    Unsubscribe(Topic),
}

enum Answer {
    Subscribed(Topic),
    Unsubscribed(Topic),
    Refused(Topic),
}

#[derive(Debug, Clone)]
enum Step {
    Want(u8),
    Unwant(u8),
    Wait(u64),
    Send(usize),
    Redis,
    Hear,
    Lose,
    Connect,
    Retry,
    Pardon,
    Forbid(Option<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5u8).prop_map(Step::Want),
        4 => (0..5u8).prop_map(Step::Unwant),
        2 => (0..12u64).prop_map(Step::Wait),
        4 => (1..4usize).prop_map(Step::Send),
        4 => Just(Step::Redis),
        4 => Just(Step::Hear),
        1 => Just(Step::Lose),
        2 => Just(Step::Connect),
        1 => Just(Step::Retry),
        1 => Just(Step::Pardon),
        1 => proptest::option::of(0..5u8).prop_map(Step::Forbid),
    ]
}

impl World {
    fn new() -> Self {
        Self {
            desired: Desired::new(LINGER),
            now: Instant::now(),
            generation: None,
            wanted: BTreeSet::new(),
            told: BTreeSet::new(),
            commands: VecDeque::new(),
            subscribed: BTreeSet::new(),
            answers: VecDeque::new(),
            forbidden: None,
        }
    }

    fn act(&mut self, step: &Step) {
        match step {
            Step::Want(n) => self.want(&topic(*n)),
            Step::Unwant(n) => self.unwant(&topic(*n)),
            Step::Wait(seconds) => {
                self.now += Duration::from_secs(*seconds);
                self.desired.expire(self.now);
            }
            Step::Send(most) => self.send(*most),
            Step::Redis => self.redis(),
            Step::Hear => self.hear(),
            Step::Lose => self.lose(),
            Step::Connect => {
                if self.generation.is_none() {
                    self.generation = Some(connect(&mut self.desired));
                }
            }
            Step::Retry => {
                let again = self.desired.retry(2);
                self.commands.extend(again.into_iter().map(Command::Subscribe));
            }
            Step::Pardon => self.desired.pardon(),
            Step::Forbid(n) => self.forbidden = n.map(topic),
        }
    }

    fn want(&mut self, topic: &Topic) {
        if self.wanted.insert(topic.clone()) && self.desired.want(topic, self.now) == Liveness::Live {
            self.told.insert(topic.clone());
        }
    }

    fn unwant(&mut self, topic: &Topic) {
        if self.wanted.remove(topic) {
            self.desired.unwant(topic, self.now);
            self.told.remove(topic);
        }
    }

    fn send(&mut self, most: usize) {
        let work = self.desired.take(most);
        assert!(self.generation.is_some() || work == Work::default(), "nothing is sent without a connection");
        self.commands.extend(work.subscribe.into_iter().map(Command::Subscribe));
        self.commands.extend(work.unsubscribe.into_iter().map(Command::Unsubscribe));
    }

    fn redis(&mut self) {
        match self.commands.pop_front() {
            Some(Command::Subscribe(topic)) if self.forbidden.as_ref() == Some(&topic) => {
                self.answers.push_back(Answer::Refused(topic));
            }
            Some(Command::Subscribe(topic)) => {
                self.subscribed.insert(topic.clone());
                self.answers.push_back(Answer::Subscribed(topic));
            }
            Some(Command::Unsubscribe(topic)) => {
                self.subscribed.remove(&topic);
                self.answers.push_back(Answer::Unsubscribed(topic));
            }
            None => {}
        }
    }

    fn hear(&mut self) {
        let Some(generation) = self.generation else { return };
        match self.answers.pop_front() {
            Some(Answer::Subscribed(topic)) => {
                if let Some(live) = self.desired.confirm(generation, topic.as_str()) {
                    assert!(self.told.insert(live), "live is told once");
                }
            }
            Some(Answer::Unsubscribed(topic)) => assert_eq!(self.desired.left(generation, topic.as_str()), None),
            Some(Answer::Refused(topic)) => self.desired.refuse(generation, vec![topic]),
            None => {}
        }
    }

    fn lose(&mut self) {
        if self.generation.take().is_none() {
            return;
        }
        let lost: BTreeSet<Topic> = self.desired.lost().into_iter().collect();
        assert_eq!(lost, std::mem::take(&mut self.told), "lost are exactly those that were live and are wanted");
        self.commands.clear();
        self.answers.clear();
        self.subscribed.clear();
    }

    fn check(&self) {
        assert!(self.told.is_subset(&self.subscribed), "live {:?} but held {:?}", self.told, self.subscribed);
        assert_eq!(self.desired.missing(), self.wanted.len() - self.told.len(), "missing counts what is not live");
        for n in 0..5 {
            let heard = self.desired.live(self.generation.unwrap_or_default(), topic(n).as_str());
            let live = matches!(heard, Heard::Live(_));
            assert_eq!(live, self.generation.is_some() && self.told.contains(&topic(n)), "messages go to the live");
        }
        assert!(self.desired.queue.len() <= self.desired.entries.len());
        assert!(self.desired.tickets.len() <= self.desired.entries.len());
        assert!(self.desired.refused.iter().all(|topic| self.wanted.contains(topic)));
    }

    /// Everything takes its course.
    fn come_to_rest(&mut self) {
        self.forbidden = None;
        self.act(&Step::Connect);
        for _ in 0..10 {
            self.act(&Step::Wait(20));
            self.desired.pardon();
            self.send(3);
            for _ in 0..8 {
                self.redis();
                self.hear();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn any_interleaving_ends_with_exactly_the_wanted_topics_held_and_never_calls_live_what_is_not(
        steps in proptest::collection::vec(step(), 0..80)
    ) {
        let mut world = World::new();
        for step in &steps {
            world.act(step);
            world.check();
        }
        world.come_to_rest();
        world.check();
        prop_assert_eq!(&world.subscribed, &world.wanted);
        prop_assert_eq!(&world.told, &world.wanted);
        let kept: BTreeSet<Topic> = world.desired.entries.keys().cloned().collect();
        prop_assert_eq!(kept, world.wanted, "nothing else is remembered");
    }
}

#[test]
fn a_topic_wanted_again_while_it_lingers_is_live_at_once() {
    let mut world = World::new();
    world.act(&Step::Connect);
    world.want(&topic(1));
    world.send(10);
    world.redis();
    world.hear();
    world.act(&Step::Wait(1));
    world.unwant(&topic(1));
    world.act(&Step::Wait(9));
    assert_eq!(world.desired.want(&topic(1), world.now), Liveness::Live);
    world.act(&Step::Wait(9));
    assert!(!world.desired.has_work(), "the lingering ended when it was wanted again");
}

#[test]
fn a_topic_lingers_from_the_last_leave_on_not_from_the_first() {
    let mut desired = Desired::new(LINGER);
    let (start, second) = (Instant::now(), Duration::from_secs(1));
    desired.want(&topic(1), start);
    let generation = connect(&mut desired);
    desired.take(10);
    desired.confirm(generation, "t1");
    desired.unwant(&topic(1), start + second);
    desired.want(&topic(1), start + second);
    desired.unwant(&topic(1), start + 7 * second);
    desired.expire(start + 12 * second);
    assert_eq!(desired.take(10), Work::default());
    assert_eq!(desired.next_expiry(), Some(start + 17 * second));
    desired.expire(start + 17 * second);
    assert_eq!(desired.take(10).unsubscribe, [topic(1)]);
}

#[test]
fn a_retired_connection_confirms_nothing() {
    let mut desired = Desired::new(LINGER);
    desired.want(&topic(1), Instant::now());
    let old = connect(&mut desired);
    assert_eq!(desired.take(10).subscribe, [topic(1)]);
    assert!(desired.lost().is_empty(), "what never was live is not lost");
    let new = connect(&mut desired);
    assert_eq!(desired.take(10).subscribe, [topic(1)]);
    assert_eq!(desired.confirm(old, "t1"), None);
    assert_eq!(desired.live(old, "t1"), Heard::Retired);
    assert_eq!(desired.confirm(new, "t1"), Some(topic(1)));
    assert_eq!(desired.lost(), [topic(1)]);
    assert!(desired.lost().is_empty(), "once per outage");
}

#[test]
fn an_unsubscribe_that_nobody_asked_for_loses_the_topic_and_subscribes_it_again() {
    let mut desired = Desired::new(LINGER);
    desired.want(&topic(1), Instant::now());
    let generation = connect(&mut desired);
    desired.take(10);
    desired.confirm(generation, "t1");
    assert_eq!(desired.left(generation, "t1"), Some(topic(1)));
    assert_eq!(desired.take(10).subscribe, [topic(1)]);
}

#[test]
fn a_refused_unsubscribe_leaves_the_topic_held_and_live_for_whom_came_back() {
    let mut desired = Desired::new(LINGER);
    let now = Instant::now();
    desired.want(&topic(1), Instant::now());
    let generation = connect(&mut desired);
    desired.take(10);
    desired.confirm(generation, "t1");
    desired.unwant(&topic(1), now + LINGER);
    desired.expire(now + 2 * LINGER);
    assert_eq!(desired.take(10).unsubscribe, [topic(1)]);
    assert_eq!(desired.want(&topic(1), Instant::now()), Liveness::Pending);
    assert_eq!(desired.kept(generation, &[topic(1)]), [topic(1)]);
}

/// A topic that was held from `from` to `until`, on a link that is connected.
fn held(desired: &mut Desired, generation: Generation, n: u8, from: Instant, until: Instant) {
    desired.want(&topic(n), from);
    desired.take(10);
    desired.confirm(generation, topic(n).as_str());
    desired.unwant(&topic(n), until);
}

#[test]
fn a_stay_of_milliseconds_is_not_followed_by_a_linger() {
    let mut desired = Desired::new(LINGER);
    let (generation, start) = (connect(&mut desired), Instant::now());
    held(&mut desired, generation, 2, start, start + Duration::from_secs(1));
    held(&mut desired, generation, 1, start, start + Duration::from_millis(999));
    assert_eq!(desired.lingering(), 1);
    assert_eq!(desired.take(10).unsubscribe, [topic(1)]);
    desired.want(&topic(3), start);
    desired.take(10);
    desired.unwant(&topic(3), start);
    desired.confirm(generation, "t3");
    assert_eq!(desired.take(10).unsubscribe, [topic(3)], "also where it was not live yet");
    assert_eq!(desired.lingering(), 1);
}

#[test]
fn those_that_linger_longest_go_first_where_their_room_is_needed() {
    let mut desired = Desired::new(LINGER);
    let (generation, start) = (connect(&mut desired), Instant::now());
    for n in 1..=5 {
        held(&mut desired, generation, n, start, start + Duration::from_secs(n.into()));
    }
    desired.want(&topic(2), start + Duration::from_secs(6));
    assert_eq!(desired.lingering(), 4);
    assert!(!desired.linger_at_most(4));
    assert!(desired.linger_at_most(2));
    assert_eq!((desired.lingering(), desired.take(10).unsubscribe), (2, vec![topic(1), topic(3)]));
    desired.unwant(&topic(2), start + Duration::from_secs(8));
    assert!(desired.linger_at_most(0));
    assert_eq!(desired.take(10).unsubscribe, [topic(4), topic(5), topic(2)]);
    assert!(desired.lost().is_empty() && desired.lingering() == 0);
}

/// What an old connection heard waits for these.
#[test]
fn a_topic_is_awaited_where_it_is_wanted_and_not_live() {
    let mut desired = Desired::new(LINGER);
    let (now, topics) = (Instant::now(), [topic(1), topic(2), topic(3)]);
    let awaited = |desired: &Desired| ["t1", "t2", "t3"].map(|name| desired.awaits(name));
    assert_eq!(awaited(&desired), [false; 3], "nobody wants them");
    topics[..2].iter().for_each(|topic| _ = desired.want(topic, now));
    assert_eq!(awaited(&desired), [true, true, false], "there is no link");
    let generation = connect(&mut desired);
    desired.take(10);
    assert_eq!(desired.confirm(generation, "t1"), Some(topic(1)));
    desired.refuse(generation, vec![topic(2)]);
    assert_eq!(awaited(&desired), [false, true, false], "one is live, one refused");
    assert_eq!((desired.wanted("t2"), desired.wanted("t3")), (Some(topic(2)), None));
    assert_eq!(desired.wanted_of(&topics), [topic(1), topic(2)]);
    assert_eq!(desired.all_wanted().count(), 2);
}
