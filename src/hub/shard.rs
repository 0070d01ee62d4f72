//! A shard: some of the connections with all their topics. A plain struct that its task drives.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use slab::Slab;

use super::Parts;
use super::inbox::{Inbox, Item, Word};
use super::interest::Interest;
use super::news::News;
use super::order::{Answer, Order};
use super::pass::{Load, Turn, gap};
use super::replies::Replies;
use super::topic::{Tools, TopicState, Work};
use crate::broker::Broker;
use crate::command::{MessageId, Resume, Wanted};
use crate::event::{Event, GapReason, RefusalCode};
use crate::identity::{ConnectionNumber, Replica};
use crate::metrics::{Dropped, Metrics};
use crate::outbox::Outbox;
use crate::position::Position;
use crate::publication::Publication;
use crate::settings::TopicRules;
use crate::topic::Topic;

/// How long `subscribed` waits for Redis before it says `live: false`.
const SUBSCRIBED_WAIT: Duration = Duration::from_millis(500);

/// Some of the connections with all their topics.
pub(super) struct Shard {
    pub index: usize,
    pub inbox: Arc<Inbox>,
    pub interest: Arc<Interest>,
    broker: Arc<dyn Broker>,
    pub replica: Replica,
    pub rules: Arc<ArcSwap<TopicRules>>,
    pub metrics: Arc<Metrics>,
    pub least_deflated: usize,
    pub topics: Slab<TopicState>,
    names: HashMap<Topic, usize>,
    members: HashMap<ConnectionNumber, Vec<Place>>,
    /// Topics with work, in the order of their turns.
    ready: VecDeque<usize>,
    /// What clients are to be told about their topics.
    pub news: News,
    /// Subscriptions whose `subscribed` is due, in order, for all wait equally long.
    due: VecDeque<Due>,
    /// Who resumes and may be brought further, and on which topic.
    pub replaying: VecDeque<(usize, ConnectionNumber)>,
}

/// Where a member sits.
struct Place {
    topic: usize,
    seat: u32,
}

struct Due {
    at: Instant,
    topic: usize,
    number: ConnectionNumber,
}

impl Shard {
    pub fn new(index: usize, parts: &Parts) -> Self {
        Self {
            index,
            inbox: parts.interest.inbox(index),
            interest: parts.interest.clone(),
            broker: parts.broker.clone(),
            replica: parts.replica.clone(),
            rules: parts.rules.clone(),
            metrics: parts.metrics.clone(),
            least_deflated: parts.least_deflated,
            topics: Slab::new(),
            names: HashMap::new(),
            members: HashMap::new(),
            ready: VecDeque::new(),
            news: News::default(),
            due: VecDeque::new(),
            replaying: VecDeque::new(),
        }
    }

    /// Empties the inbox into the topics' queues.
    pub fn take_inbox(&mut self) {
        for item in self.inbox.take() {
            match item {
                Item::Publication(publication) => self.queue(publication),
                Item::Word(word) => self.hear(*word),
                Item::Logged(topic) => self.stir_topic(&topic),
                Item::Drained(number) => self.stir_member(number),
            }
        }
    }

    fn hear(&mut self, word: Word) {
        match word {
            Word::Live { topic, version, lost_since, position } => {
                self.flip(&topic, version, |state| {
                    (state.live, state.position) = (true, position);
                    let gap =
                        lost_since.map(|since| gap(&topic, GapReason::Reconnected, since, state.seats.occupied()));
                    Some(Load::Live(Box::new((gap, position))))
                });
                self.stir_topic(&topic);
            }
            Word::Lost { topic, version, heals } => self.flip(&topic, version, |state| {
                state.live = false;
                (!heals).then_some(Load::Lost)
            }),
            Word::Gap { topic, reason, since, position } => self.note_gap(&topic, reason, since, position),
        }
    }

    /// Whether a topic waits for a turn, or news to be told.
    pub fn is_busy(&self) -> bool {
        !self.ready.is_empty() || !self.news.is_empty() || !self.replaying.is_empty()
    }

    /// When the next `subscribed` is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.front().map(|due| due.at)
    }

    /// Gives the topics with work their turns, until the turn is over; then tells some of the news.
    pub fn work(&mut self, mut turn: Turn) {
        if !self.news.is_full() {
            self.serve(&mut turn);
        }
        self.news.tell_some(turn.news());
        self.replay(Turn::new());
    }

    fn serve(&mut self, turn: &mut Turn) {
        let rules = self.rules.load();
        let mut tools = Tools {
            rules: &rules,
            replica: &self.replica,
            metrics: &self.metrics,
            least_deflated: self.least_deflated,
            news: &mut self.news,
        };
        while !turn.is_over() {
            let Some(key) = self.ready.pop_front() else { break };
            let Some(state) = self.topics.get_mut(key).filter(|state| state.scheduled) else { continue };
            for publication in state.turn(turn, &mut tools).into_iter().flatten() {
                self.inbox.release(&publication);
            }
            if !state.is_under_way() {
                compact(state, key, &mut self.members);
            }
            match state.has_work() {
                true => self.ready.push_back(key),
                false => state.scheduled = false,
            }
        }
    }

    /// Answers subscriptions that have waited long enough for Redis.
    pub fn answer_overdue(&mut self, now: Instant) {
        while let Some(due) = self.due.pop_front_if(|due| due.at <= now) {
            // Who left since has no place here; who came back has a later time.
            if let Some(seat) = self.place(due.topic, due.number) {
                // Who waits for its turn, and not for Redis, is told where it goes on.
                self.look_up(due.topic, due.number);
                self.topics[due.topic].answer_overdue(seat, due.number, now);
            }
        }
    }

    /// Does what a connection asks, and answers over how many topics that went.
    pub fn obey(&mut self, order: Order) -> usize {
        match order {
            Order::Subscribe { outbox, topics, limit, answer } => {
                let count = topics.len();
                self.subscribe(&outbox, topics, limit, &answer);
                count
            }
            Order::Unsubscribe { outbox, topics, id } => {
                self.unsubscribe(&outbox, &topics, id.as_ref());
                topics.len()
            }
            Order::Leave(number) => self.leave(number),
        }
    }

    fn subscribe(&mut self, outbox: &Arc<Outbox>, topics: Vec<Wanted>, limit: usize, answer: &Answer) {
        if outbox.is_gone() {
            return;
        }
        self.news.tell(outbox.number());
        let mut replies = Replies::to(outbox);
        let asked = topics.len();
        for Wanted { topic, resume } in topics {
            let key = self.names.get(&topic).copied();
            let places = self.members.entry(outbox.number()).or_insert_with(|| Vec::with_capacity(asked));
            if let Some(place) = key.and_then(|key| places.iter().find(|place| place.topic == key)) {
                match resume {
                    None => self.topics[place.topic].confirm_again(place.seat, &mut replies, answer),
                    Some(_) => replies.object(RefusalCode::BadMessage, already_here(&topic), answer),
                }
            } else if places.len() >= limit {
                replies.refuse(&topic, &format!("a connection listens to at most {limit} topics here"), answer);
            } else {
                self.seat(&mut replies, topic, (resume, answer));
            }
        }
        answer.arrivals.iter().for_each(|arrivals| arrivals.sit_down());
    }

    fn seat(&mut self, replies: &mut Replies<'_>, topic: Topic, wish: (Option<Resume>, &Answer)) {
        let number = replies.outbox.number();
        let key = match self.names.get(&topic) {
            Some(&key) => key,
            None => {
                // What came for an earlier stay here is nobody's any more; behind it nothing can come for us
                // before we join.
                self.take_inbox();
                let Some(standing) = self.interest.join(&topic, self.index, &*self.broker) else {
                    let why = format!(
                        "this replica holds {} topics, and no more (limits.replica_topics)",
                        self.interest.most()
                    );
                    return replies.refuse(&topic, &why, wish.1);
                };
                let key = self.topics.insert(TopicState::new(topic.clone(), &standing));
                self.names.insert(topic, key);
                key
            }
        };
        let state = &mut self.topics[key];
        let until = Instant::now() + SUBSCRIBED_WAIT;
        let (seat, waits) = state.join(replies, wish, until);
        if waits {
            self.due.push_back(Due { at: until, topic: key, number });
        }
        if !state.replays.is_empty() {
            self.replaying.push_back((key, number));
        }
        self.members.entry(number).or_default().push(Place { topic: key, seat });
        self.metrics.subscriptions.inc();
    }

    fn unsubscribe(&mut self, outbox: &Arc<Outbox>, topics: &[Topic], id: Option<&MessageId>) {
        self.news.tell(outbox.number());
        let mut replies = Replies::to(outbox);
        for topic in topics {
            let key = self.names.get(topic).copied();
            if let Some(places) = self.members.get_mut(&outbox.number())
                && let Some(at) = places.iter().position(|place| Some(place.topic) == key)
            {
                let place = places.swap_remove(at);
                self.topics[place.topic].answer_pending(place.seat, &mut replies);
                self.unseat(&place);
            }
            replies.say(&Event::Unsubscribed { topic, id });
        }
    }

    fn leave(&mut self, number: ConnectionNumber) -> usize {
        self.news.forget(number);
        let places = self.members.remove(&number).unwrap_or_default();
        places.iter().for_each(|place| self.unseat(place));
        places.len()
    }

    fn unseat(&mut self, place: &Place) {
        self.metrics.subscriptions.dec();
        let state = &mut self.topics[place.topic];
        state.leave(place.seat);
        if state.seats.occupied() == 0 {
            let state = self.topics.remove(place.topic);
            self.names.remove(&state.name);
            self.interest.leave(&state.name, self.index, &*self.broker);
            for publication in state.abandoned() {
                self.inbox.release(&publication);
            }
        }
    }

    fn queue(&mut self, publication: Arc<Publication>) {
        match self.names.get(&publication.topic) {
            Some(&key) if self.inbox.is_tight() && self.topics[key].is_far_behind() => self.shed(&publication),
            Some(&key) => self.enqueue(key, Work::Publication(publication)),
            None => self.inbox.release(&publication),
        }
    }

    /// Drops a publication of a topic that is far behind, so that the others keep some room.
    fn shed(&mut self, publication: &Publication) {
        self.inbox.release(publication);
        self.metrics.dropped(Dropped::Overflow).inc();
        self.note_gap(&publication.topic, GapReason::Overflow, crate::clock::unix_ms(), publication.position());
    }

    /// Notes a flip of liveness, unless it is older than what is known.
    fn flip(&mut self, topic: &Topic, version: u64, load: impl FnOnce(&mut TopicState) -> Option<Load>) {
        let Some(&key) = self.names.get(topic) else { return };
        let state = &mut self.topics[key];
        if version > state.version {
            state.version = version;
            if let Some(load) = load(state) {
                state.enqueue_flip(load);
                self.schedule(key);
            }
        }
    }

    fn note_gap(&mut self, topic: &Topic, reason: GapReason, since: u64, position: Option<Position>) {
        let Some(&key) = self.names.get(topic) else { return };
        let state = &mut self.topics[key];
        // Who joins now is not told of it, and so must not be told a position before it.
        state.position = position;
        state.enqueue_gap(gap(topic, reason, since, state.seats.occupied()));
        self.schedule(key);
    }

    /// Those who resume on a topic look again.
    fn stir_topic(&mut self, topic: &Topic) {
        if let Some(&key) = self.names.get(topic) {
            self.stir(key);
        }
    }

    /// A client that resumes has room again.
    fn stir_member(&mut self, number: ConnectionNumber) {
        let places = self.members.get(&number).into_iter().flatten();
        self.replaying.extend(places.map(|place| (place.topic, number)));
    }

    /// Where a member sits in a topic.
    pub fn place(&self, key: usize, number: ConnectionNumber) -> Option<u32> {
        self.members.get(&number)?.iter().find(|place| place.topic == key).map(|place| place.seat)
    }

    /// Makes its news full with so many clients.
    #[cfg(test)]
    pub fn hold_news_of(&mut self, clients: usize) {
        self.news = News::of(clients);
    }

    /// How many topics, members, and topics waiting for a turn there are.
    #[cfg(test)]
    pub fn census(&self) -> (usize, usize, usize) {
        let ready = self.ready.iter().filter(|&&key| self.topics.contains(key)).count();
        (self.topics.len(), self.members.len(), ready)
    }

    /// How many places a topic keeps for its subscribers.
    #[cfg(test)]
    pub fn places(&self, name: &str) -> usize {
        self.names.iter().find(|(topic, _)| topic.as_str() == name).map_or(0, |(_, &key)| self.topics[key].seats.end())
    }

    fn enqueue(&mut self, key: usize, work: Work) {
        self.topics[key].enqueue(work);
        self.schedule(key);
    }

    /// Puts a topic with work into the ring.
    fn schedule(&mut self, key: usize) {
        if !std::mem::replace(&mut self.topics[key].scheduled, true) {
            self.ready.push_back(key);
        }
    }
}

/// Gives vacant places back between two passes: no cursor stands in the roll. A topic with many publications never
/// rests for longer.
fn compact(state: &mut TopicState, key: usize, members: &mut HashMap<ConnectionNumber, Vec<Place>>) {
    state.seats.compact(|seat, moved| {
        let places = members.get_mut(&seat.outbox.number()).into_iter().flatten();
        for place in places.filter(|place| place.topic == key) {
            place.seat = moved;
        }
    });
}

/// What is asked for would stand among what has been delivered since.
fn already_here(topic: &Topic) -> String {
    format!("you listen to {topic} already, so there is nothing to resume; unsubscribe first")
}
