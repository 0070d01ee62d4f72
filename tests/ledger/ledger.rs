//! What was published, topic by topic: when, whether the master acknowledged it, and at which position.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use fanline::clock;
use parking_lot::Mutex;
use serde_json::Value;

/// Milliseconds since 1970; all processes of a test share the clock.
pub type Millis = u64;

/// What a topic keeps for those who come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// Nothing: what is published while nobody hears is lost, and must be told.
    Nothing,
    /// A history: an outage that heals must not be noticed.
    History,
}

/// How publications of a topic reach the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Straight at the master, as any program would.
    Bus,
    /// By `POST /api/publish` of a replica.
    Api,
}

/// A topic under watch.
#[derive(Debug, Clone)]
pub struct Topic {
    pub name: String,
    pub keeps: Keeps,
    pub way: Way,
}

/// A place in a topic's history: `<ms>-<n>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64, pub u64);

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The master said yes: it must arrive, or its loss be told.
    Acknowledged,
    /// An error, a timeout, or a yes that a rollback has taken back: it may arrive, once.
    Maybe,
    /// The master said yes, and another took its place without it: it may arrive, once, and its loss must be told.
    Lost,
}

/// One publication.
#[derive(Debug, Clone)]
pub struct Publication {
    pub outcome: Outcome,
    /// It was published within these two moments.
    pub sent: Millis,
    pub answered: Millis,
    pub position: Option<Position>,
    /// In which life of the topic's history it was acknowledged: behind a rollback positions may begin again below.
    pub life: u32,
    /// How many replicas listened, by the answer.
    pub replicas: Option<u64>,
    /// Two masters took publications at that time: what comes by one is in no order with what comes by the other.
    pub apart: bool,
}

/// The publications of one topic since the last time everything had settled; numbers run on from page to page.
#[derive(Debug, Default)]
pub struct Page {
    pub first: u64,
    /// The history's life when the page began, and now.
    pub lives: (u32, u32),
    pub publications: Vec<Publication>,
}

/// What a master answers to a publish.
#[derive(Debug, Default, Clone, Copy)]
pub struct Receipt {
    pub replicas: Option<u64>,
    pub position: Option<Position>,
}

/// All topics and their pages.
pub struct Ledger {
    pub topics: Vec<Topic>,
    places: HashMap<String, usize>,
    pages: Vec<Mutex<Page>>,
}

impl Ledger {
    pub fn new(topics: Vec<Topic>) -> Arc<Self> {
        let places = topics.iter().enumerate().map(|(place, topic)| (topic.name.clone(), place)).collect();
        let pages = topics.iter().map(|_| Mutex::default()).collect();
        Arc::new(Self { topics, places, pages })
    }

    pub fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    pub fn page(&self, topic: usize) -> parking_lot::MutexGuard<'_, Page> {
        self.pages[topic].lock()
    }

    /// Enters a publication that is about to be sent, and answers its number.
    pub fn sending(&self, topic: usize) -> u64 {
        let mut page = self.page(topic);
        let sent = clock::unix_ms();
        let outcome = Outcome::Maybe;
        let life = page.lives.1;
        let (position, replicas, apart) = (None, None, false);
        page.publications.push(Publication { outcome, sent, answered: sent, position, life, replicas, apart });
        page.first + page.publications.len() as u64 - 1
    }

    /// The master said yes.
    pub fn acknowledged(&self, topic: usize, number: u64, receipt: Receipt) {
        let mut page = self.page(topic);
        let life = page.lives.1;
        let Some(publication) = page.get_mut(number) else { return };
        publication.life = life;
        publication.outcome = Outcome::Acknowledged;
        publication.answered = clock::unix_ms();
        (publication.position, publication.replicas) = (receipt.position, receipt.replicas);
    }

    /// Redis came back with the history it has now: what it had acknowledged by `before` and does not hold is
    /// nobody's promise any longer.
    pub fn taken_back(&self, topic: usize, held: &HashSet<u64>, before: Millis) {
        let mut page = self.page(topic);
        let first = page.first;
        page.lives.1 += 1;
        let life = page.lives.1;
        for (number, publication) in (first..).zip(&mut page.publications) {
            if publication.answered > before {
                publication.life = life;
            } else if !held.contains(&number) {
                publication.outcome = Outcome::Maybe;
            }
        }
    }

    /// Another master took over with what it holds: what it does not hold is lost, and what the `former` one does not
    /// hold belongs to the history's next life. How many are lost of what was sent by `before`, in doubt or not.
    pub fn elected(&self, topic: usize, held: &HashSet<u64>, former: &HashSet<u64>, before: Millis) -> usize {
        let mut page = self.page(topic);
        let first = page.first;
        page.lives.1 += u32::from(!former.is_empty());
        let life = page.lives.1;
        let mut lost = 0;
        for (number, publication) in (first..).zip(&mut page.publications) {
            if held.contains(&number) && !former.contains(&number) {
                publication.life = life;
            } else if !held.contains(&number) {
                lost += usize::from(publication.sent <= before);
                let firm = publication.outcome == Outcome::Acknowledged;
                publication.outcome = if firm { Outcome::Lost } else { publication.outcome };
            }
        }
        lost
    }

    /// Between these moments two masters took publications. How many of them there are.
    pub fn split(&self, from: Millis, until: Millis) -> usize {
        let mut apart = 0;
        for page in &self.pages {
            let within = |one: &&mut Publication| from <= one.answered && one.sent <= until;
            for one in page.lock().publications.iter_mut().filter(within) {
                one.apart = true;
                apart += 1;
            }
        }
        apart
    }

    /// Everything has settled and was judged: a new page.
    pub fn turn(&self) {
        for page in &self.pages {
            let mut page = page.lock();
            page.first += page.publications.len() as u64;
            page.publications = Vec::new();
            page.lives.0 = page.lives.1;
        }
    }
}

impl Page {
    pub fn get(&self, number: u64) -> Option<&Publication> {
        self.publications.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Publication> {
        self.publications.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The number behind the last.
    pub fn end(&self) -> u64 {
        self.first + self.publications.len() as u64
    }

    /// How many were acknowledged, and how many only tried.
    pub fn counts(&self) -> (u64, u64) {
        let acknowledged = self.publications.iter().filter(|one| one.outcome == Outcome::Acknowledged).count() as u64;
        (acknowledged, self.publications.len() as u64 - acknowledged)
    }
}

impl Topic {
    pub fn channel(&self) -> String {
        format!("fanline:{}", self.name)
    }

    pub fn stream(&self) -> String {
        format!("{{fanline:{}}}:stream", self.name)
    }
}

/// A publication's payload: its number, and whatever makes it long.
pub fn payload(number: u64, filler: usize) -> String {
    format!("#{number} {}", "x".repeat(filler))
}

/// The number in a payload, wherever it stands.
pub fn number(payload: &str) -> Option<u64> {
    let digits = &payload[payload.rfind('#')? + 1..];
    digits.split(' ').next()?.parse().ok()
}

impl Receipt {
    /// Reads one topic of the HTTP API's answer.
    pub fn of(topic: &Value) -> Self {
        let position = topic["position"].as_str().and_then(Position::parse);
        Self { replicas: topic["replicas"].as_u64(), position }
    }
}

impl Position {
    pub fn parse(text: &str) -> Option<Self> {
        let (ms, n) = text.split_once('-')?;
        Some(Self(ms.parse().ok()?, n.parse().ok()?))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}
