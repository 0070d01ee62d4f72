//! One client, as a good one is: it stays, notes what it hears, and when its socket closes it comes back,
//! elsewhere if need be, after as long as it was told, resuming where its topics have a history.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fanline::clock;
use parking_lot::{Mutex, RwLock};
use serde_json::json;
use tokio::sync::mpsc;

use crate::judge::{Diary, Note, What};
use crate::ledger::{Keeps, Ledger, Position, number};
use crate::wire::{Heard, Refused, Socket, Told};

/// Where replicas accept clients; those that are gone stay out of it.
pub type Doors = Arc<RwLock<Vec<SocketAddr>>>;

/// Nobody asks for more topics in one message.
const AT_ONCE: usize = 200;

/// What a client is told to do.
pub enum Order {
    Join(Vec<usize>),
    Leave(Vec<usize>),
}

/// A client and what it knows.
pub struct Client {
    index: usize,
    ledger: Arc<Ledger>,
    pub state: Mutex<State>,
}

/// What a client knows.
#[derive(Default)]
pub struct State {
    pub places: BTreeMap<usize, Place>,
    /// Sockets that closed under it since the page began.
    pub closes: u64,
    /// What it was refused.
    pub errors: Vec<String>,
}

/// One of its topics.
#[derive(Default)]
pub struct Place {
    pub wanted: bool,
    pub live: bool,
    pub diary: Diary,
    pub highest: Option<u64>,
    position: Option<Position>,
    /// How often it asked to leave, and was not answered yet.
    leaving: usize,
    /// The last answer said that it listens no more. Also of a stay that it has given up before the answer came: what was
    /// published in that is no stray.
    left: bool,
}

impl Client {
    pub fn new(index: usize, ledger: Arc<Ledger>) -> Arc<Self> {
        Arc::new(Self { index, ledger, state: Mutex::default() })
    }

    /// Lives until its orders end.
    pub async fn live(self: Arc<Self>, doors: Doors, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut tries = 0_u64;
        loop {
            let door = {
                let doors = doors.read();
                // At first as many on each; later wherever a balancer would lead them.
                if tries == 0 { doors[self.index % doors.len()] } else { doors[fastrand::usize(..doors.len())] }
            };
            let wait = match Socket::open(door).await {
                Ok(socket) => match self.converse(socket, &mut orders).await {
                    Some(wait) => wait,
                    None => return,
                },
                Err(Refused(wait)) => wait.unwrap_or_else(|| jitter(500)),
            };
            tries += 1;
            tokio::time::sleep(wait).await;
        }
    }

    /// One socket's life: how long to wait before the next, or none where there shall be no next.
    async fn converse(&self, mut socket: Socket, orders: &mut mpsc::UnboundedReceiver<Order>) -> Option<Duration> {
        let wanted = self.wanted();
        self.join(&mut socket, wanted).await;
        let mut goodbye = None;
        loop {
            tokio::select! {
                heard = socket.next() => match heard {
                    Heard::Told(told) if told.kind == "goodbye" => goodbye = told.retry_ms,
                    Heard::Told(told) => self.hear(&told),
                    Heard::Closed(wait) => {
                        self.closed();
                        let told = wait.or(goodbye.map(Duration::from_millis));
                        return Some(told.unwrap_or_else(|| jitter(100)));
                    }
                },
                order = orders.recv() => match order? {
                    Order::Join(topics) => {
                        self.want(&topics);
                        self.join(&mut socket, topics).await;
                    }
                    Order::Leave(topics) => self.leave(&mut socket, &topics).await,
                },
            }
        }
    }

    fn wanted(&self) -> Vec<usize> {
        let state = self.state.lock();
        state.places.iter().filter(|(_, place)| place.wanted).map(|(topic, _)| *topic).collect()
    }

    /// Before there is a socket: what it will ask for.
    pub fn want(&self, topics: &[usize]) {
        let mut state = self.state.lock();
        for topic in topics {
            state.places.entry(*topic).or_default().wanted = true;
        }
    }

    async fn join(&self, socket: &mut Socket, topics: Vec<usize>) {
        let name = |topic: &usize| self.ledger.topics[*topic].name.clone();
        let since = |topic: &usize| self.state.lock().places.get(topic).and_then(|place| place.position);
        let (resume, begin): (Vec<_>, Vec<_>) = topics.into_iter().partition(|topic| since(topic).is_some());
        for some in begin.chunks(AT_ONCE) {
            let topics: Vec<_> = some.iter().map(name).collect();
            socket.say(&json!({ "type": "subscribe", "topics": topics })).await;
        }
        for topic in &resume {
            let since = since(topic).map(|position| position.to_string());
            socket.say(&json!({ "type": "subscribe", "topic": name(topic), "since": since })).await;
        }
    }

    async fn leave(&self, socket: &mut Socket, topics: &[usize]) {
        for topic in topics {
            let mut state = self.state.lock();
            let place = state.places.entry(*topic).or_default();
            (place.wanted, place.live, place.position) = (false, false, None);
            place.leaving += 1;
            place.note(What::Left);
        }
        for some in topics.chunks(AT_ONCE) {
            let topics: Vec<_> = some.iter().map(|topic| self.ledger.topics[*topic].name.clone()).collect();
            socket.say(&json!({ "type": "unsubscribe", "topics": topics })).await;
        }
    }

    fn closed(&self) {
        let mut state = self.state.lock();
        state.closes += 1;
        for place in state.places.values_mut() {
            (place.live, place.leaving) = (false, 0);
            place.note(What::Closed);
        }
    }

    fn hear(&self, told: &Told) {
        let mut state = self.state.lock();
        if told.kind == "error" {
            state.errors.push(format!("{}: {}", told.code, told.message));
            return;
        }
        let named = told.topics.iter().chain(Some(&told.topic).filter(|topic| !topic.is_empty()));
        for topic in named.filter_map(|name| self.ledger.place(name)) {
            let keeps = self.ledger.topics[topic].keeps;
            state.places.entry(topic).or_default().hear(keeps, told);
        }
    }

    /// Everything has settled: a new page.
    pub fn turn(&self) {
        let mut state = self.state.lock();
        state.closes = 0;
        for place in state.places.values_mut() {
            let (listening, cursor) = (place.wanted && place.live, place.position);
            place.diary.turn(listening, cursor);
        }
    }
}

impl State {
    /// Whether it listens to these topics and to no others.
    pub fn is_live(&self, topics: &BTreeSet<usize>) -> bool {
        let wanted = self.places.iter().filter(|(_, place)| place.wanted).map(|(topic, _)| topic);
        let at_rest = |place: &Place| place.live == place.wanted && place.leaving == 0;
        self.places.values().all(at_rest) && wanted.eq(topics)
    }
}

impl Place {
    fn note(&mut self, what: What) {
        self.diary.notes.push(Note { at: clock::unix_ms(), what });
    }

    fn hear(&mut self, keeps: Keeps, told: &Told) {
        let position = told.position.as_deref().and_then(Position::parse);
        match told.kind.as_str() {
            "message" => self.message(number(&told.text), position),
            "unsubscribed" => {
                self.leaving = self.leaving.saturating_sub(1);
                self.left = true;
            }
            "subscribed" if self.leaving > 0 => self.left = false,
            // What was said before the gateway knew that we leave.
            _ if self.leaving > 0 => {}
            "subscribed" => {
                (self.live, self.left) = (told.live, false);
                self.position = self.position.or(position);
                // Without a history only what flows is worth anything.
                if told.live || keeps == Keeps::History {
                    self.note(What::Listening { recovered: told.recovered, position });
                }
            }
            "live" => {
                self.live = told.live;
                if told.live {
                    self.note(What::Listening { recovered: None, position: None });
                }
            }
            "gap" => {
                self.live = true;
                let (since, until) = (told.since.as_u64().unwrap_or(0), told.until.as_u64().unwrap_or(0));
                // More may be dropped while the others wait to be read; an outage is over when it is told.
                let until = if told.reason == "reconnected" { until } else { until.max(clock::unix_ms()) };
                self.note(What::Gap { since, until });
            }
            _ => {}
        }
    }

    fn message(&mut self, number: Option<u64>, position: Option<Position>) {
        // Not one of ours.
        let Some(number) = number else { return };
        self.highest = self.highest.max(Some(number));
        if self.leaving == 0 && self.wanted {
            self.position = position.or(self.position);
        }
        self.note(if self.left { What::Stray { number } } else { What::Message { number, position } });
    }
}

/// A random part of so many milliseconds, so that not all come back at once.
fn jitter(most: u64) -> Duration {
    Duration::from_millis(fastrand::u64(0..=most))
}

/// What is published in a stay that the client gives up before it is answered is no stray; what comes behind the answer to
/// its leaving is one, also where it has asked to come back.
#[test]
fn a_stray_is_what_comes_between_unsubscribed_and_subscribed() {
    let said = |kind: &str, text: &str| Told { kind: kind.into(), text: text.into(), live: true, ..Told::default() };
    let message = said("message", "#7 ");
    let strays =
        |place: &Place| place.diary.notes.iter().filter(|note| matches!(note.what, What::Stray { .. })).count();
    let mut place = Place { leaving: 1, ..Place::default() };
    place.hear(Keeps::Nothing, &said("unsubscribed", ""));
    (place.wanted, place.leaving) = (true, 1);
    place.hear(Keeps::Nothing, &said("subscribed", ""));
    place.hear(Keeps::Nothing, &message);
    assert_eq!(strays(&place), 0);
    place.hear(Keeps::Nothing, &said("unsubscribed", ""));
    place.hear(Keeps::Nothing, &message);
    assert_eq!(strays(&place), 1);
    place.hear(Keeps::Nothing, &said("subscribed", ""));
    place.hear(Keeps::Nothing, &message);
    assert_eq!(strays(&place), 1);
}
