//! Holds what one client noted of one topic against what was published: nothing lost without a word, nothing
//! twice, nothing out of order. Functions over values, so that wrong histories can be put to them.

use std::collections::{BTreeSet, HashSet};

use crate::ledger::{Keeps, Millis, Outcome, Page, Position, Publication};

/// The longest that a message is on its way while nothing is wrong, in ms: who leaves misses it.
const ON_ITS_WAY: Millis = 500;

/// What a client noted of one topic since the page began.
#[derive(Debug, Default, Clone)]
pub struct Diary {
    /// Whether it listened when the page began.
    pub listening: bool,
    /// The last position that it had then.
    pub cursor: Option<Position>,
    /// Something was told of it then, and no message had come since.
    pub told: bool,
    pub notes: Vec<Note>,
}

/// One line of a diary.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    pub at: Millis,
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// `subscribed` or `live`, and the topic flows.
    Listening { recovered: Option<bool>, position: Option<Position> },
    /// The socket closed: whatever followed the last message is known to be missing.
    Closed,
    /// The client asked to leave, and wants nothing from there on.
    Left,
    /// A message.
    Message { number: u64, position: Option<Position> },
    /// A gap: something of this time may be missing.
    Gap { since: Millis, until: Millis },
    /// A message of a topic that the client has left for certain.
    Stray { number: u64 },
}

/// What became of the publications, for one client and topic.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Account {
    pub delivered: u64,
    /// Delivered though they were published while this client could not hear.
    pub recovered: u64,
    /// Missing, and it was told.
    pub announced: u64,
    /// How often something was told of a topic that keeps a history.
    pub told: u64,
    /// Missing without a word.
    pub lost: Vec<u64>,
    pub twice: Vec<u64>,
    pub swapped: Vec<u64>,
    pub strays: Vec<u64>,
}

impl Diary {
    /// What the next page begins with.
    pub fn turn(&mut self, listening: bool, cursor: Option<Position>) {
        let told = |note: &Note| match note.what {
            What::Message { .. } => Some(false),
            What::Gap { .. } | What::Listening { recovered: Some(false), .. } => Some(true),
            _ => None,
        };
        let told = self.notes.iter().rev().find_map(told).unwrap_or(self.told);
        *self = Self { listening, cursor, told, notes: Vec::new() };
    }
}

/// The verdict on one diary.
pub fn judge(keeps: Keeps, page: &Page, diary: &Diary) -> Account {
    match keeps {
        Keeps::Nothing => Forgetful::new(page, diary).judge(diary),
        Keeps::History => Remembering::new(page, diary).judge(diary),
    }
}

impl Account {
    pub fn add(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.recovered += other.recovered;
        self.announced += other.announced;
        self.told += other.told;
        self.lost.extend(other.lost);
        self.twice.extend(other.twice);
        self.swapped.extend(other.swapped);
        self.strays.extend(other.strays);
    }

    pub fn is_clean(&self) -> bool {
        [&self.lost, &self.twice, &self.swapped, &self.strays].iter().all(|wrong| wrong.is_empty())
    }
}

/// Since when a client hears nothing, and whether that is its own wish.
#[derive(Clone, Copy)]
struct Away {
    from: Millis,
    wished: bool,
}

/// A topic without history: what is missing must lie in a time that was told, or in which the client was away.
struct Forgetful<'p> {
    page: &'p Page,
    heard: HashSet<u64>,
    /// The number that comes next in order.
    next: u64,
    told: Vec<(Millis, Millis)>,
    /// Times in which nothing was owed: the client had not come yet, or had left.
    elsewhere: Vec<(Millis, Millis)>,
    away: Option<Away>,
    /// Until when all is known to have come.
    known: Millis,
    missing: BTreeSet<u64>,
    account: Account,
}

impl<'p> Forgetful<'p> {
    fn new(page: &'p Page, diary: &Diary) -> Self {
        let away = (!diary.listening).then_some(Away { from: 0, wished: true });
        let (heard, missing, account) = (HashSet::new(), BTreeSet::new(), Account::default());
        let (told, elsewhere) = (Vec::new(), Vec::new());
        Self { page, heard, next: page.first, told, elsewhere, away, known: 0, missing, account }
    }

    fn judge(mut self, diary: &Diary) -> Account {
        for note in &diary.notes {
            match note.what {
                What::Listening { .. } => self.back(note.at),
                What::Closed => self.away = self.away.or(Some(Away { from: self.known, wished: false })),
                What::Left => {
                    // What a closed socket has cost until now it has told.
                    self.told.extend(self.away.filter(|away| !away.wished).map(|away| (away.from, note.at)));
                    self.away = self
                        .away
                        .filter(|away| away.wished)
                        .or(Some(Away { from: note.at.saturating_sub(ON_ITS_WAY), wished: true }));
                }
                What::Gap { since, until } => {
                    self.told.push((since, until));
                    self.forgive(since, until);
                    // A gap also means that the topic flows again.
                    self.back(note.at);
                }
                What::Message { number, .. } => self.message(number, note.at),
                What::Stray { number } => self.account.strays.push(number),
            }
        }
        self.pass(self.page.end());
        self.account.lost.extend(self.missing);
        self.account
    }

    /// Who listens to one of two masters hears its messages, and of what the other took only later.
    fn forgive(&mut self, since: Millis, until: Millis) {
        let page = self.page;
        let is_told = |number: &u64| {
            page.get(*number).is_some_and(|one| one.apart && is_within(one, std::iter::once(&(since, until))))
        };
        let before = self.missing.len();
        self.missing.retain(|number| !is_told(number));
        self.account.announced += (before - self.missing.len()) as u64;
    }

    fn back(&mut self, at: Millis) {
        if let Some(Away { from, wished }) = self.away.take() {
            let times = if wished { &mut self.elsewhere } else { &mut self.told };
            times.push((from, at));
            self.known = at;
        }
    }

    fn message(&mut self, number: u64, at: Millis) {
        let Some(publication) = self.page.get(number) else {
            return self.account.twice.push(number);
        };
        self.account.delivered += 1;
        if !self.heard.insert(number) {
            return self.account.twice.push(number);
        }
        if publication.outcome == Outcome::Maybe {
            return;
        }
        if number < self.next {
            self.missing.remove(&number);
            if !publication.apart {
                self.account.swapped.push(number);
            }
            return;
        }
        self.known = publication.sent.min(at);
        self.pass(number);
        self.next = number + 1;
    }

    /// All before `end` has come by now, or never will in order.
    fn pass(&mut self, end: u64) {
        for number in self.next..end {
            let Some(publication) = self.page.get(number) else { continue };
            if publication.outcome == Outcome::Maybe || self.heard.contains(&number) {
                continue;
            }
            let away = self.away.map(|away| (away.from, Millis::MAX));
            let wished = self.away.is_some_and(|away| away.wished);
            if is_within(publication, self.elsewhere.iter().chain(away.iter().filter(|_| wished))) {
                continue;
            }
            if is_within(publication, self.told.iter().chain(&away)) {
                self.account.announced += 1;
            } else {
                self.missing.insert(number);
            }
        }
    }
}

/// Whether it may have been published in one of these times.
fn is_within<'t>(publication: &Publication, mut times: impl Iterator<Item = &'t (Millis, Millis)>) -> bool {
    times.any(|(from, to)| *from <= publication.answered && publication.sent <= *to)
}

/// What is owed of a history from the last message on.
#[derive(Clone, Copy, PartialEq)]
enum Owed {
    /// All of it.
    All,
    /// It was told that something is missing.
    Told,
    /// It began with the first message: where it begins was not said.
    Begun,
    /// Nothing: the client has not come yet, or has left.
    Nothing,
}

/// A position in one life of a history.
type Place = (u32, Position);

/// A topic with history: between two messages nothing of the history may be missing, unless it was told
/// between the two.
struct Remembering<'p> {
    page: &'p Page,
    /// The page by position, life by life.
    order: Vec<(Place, u64)>,
    heard: HashSet<u64>,
    cursor: Option<Place>,
    owed: Owed,
    /// Since when this connection listens; what was published before is recovered.
    since: Millis,
    /// How many replicas hear a publication when all is well.
    replicas: u64,
    /// Since when all that is published is its business.
    joined: Millis,
    /// Since when something was told to be missing, and when it was told.
    tellings: Vec<(Millis, Millis)>,
    account: Account,
}

impl<'p> Remembering<'p> {
    fn new(page: &'p Page, diary: &Diary) -> Self {
        let numbered = (page.first..).zip(&page.publications);
        let mut order: Vec<_> =
            numbered.filter_map(|(number, one)| Some(((one.life, one.position?), number))).collect();
        order.sort_unstable();
        let replicas = page.publications.iter().filter_map(|one| one.replicas).max().unwrap_or(0);
        let joined = if diary.listening { 0 } else { Millis::MAX };
        let (heard, cursor) = (HashSet::new(), diary.cursor.map(|position| (page.lives.0, position)));
        let owed = match (diary.listening, diary.told) {
            (false, _) => Owed::Nothing,
            (true, true) => Owed::Told,
            (true, false) => Owed::All,
        };
        Self {
            page,
            order,
            heard,
            cursor,
            owed,
            since: 0,
            replicas,
            joined,
            tellings: Vec::new(),
            account: Account::default(),
        }
    }

    fn judge(mut self, diary: &Diary) -> Account {
        for note in &diary.notes {
            match note.what {
                What::Listening { recovered, position } => self.listening(note.at, recovered, position),
                What::Closed => {}
                What::Left => (self.cursor, self.owed, self.joined) = (None, Owed::Nothing, Millis::MAX),
                What::Gap { since, .. } => self.tell(since, note.at),
                What::Message { number, position } => self.message(number, position),
                What::Stray { number } => self.account.strays.push(number),
            }
        }
        self.pass(None);
        self.mourn();
        self.account
    }

    /// What no master has any longer must have come, or something must have been told since.
    fn mourn(&mut self) {
        for (number, publication) in (self.page.first..).zip(&self.page.publications) {
            let owed = publication.outcome == Outcome::Lost && publication.sent >= self.joined;
            if !owed || self.heard.contains(&number) {
                continue;
            }
            if self.tellings.iter().any(|(since, at)| *since <= publication.answered && *at >= publication.sent) {
                self.account.announced += 1;
            } else {
                self.account.lost.push(number);
            }
        }
    }

    fn listening(&mut self, at: Millis, recovered: Option<bool>, position: Option<Position>) {
        if self.owed == Owed::Nothing {
            self.joined = at;
            let known = position.is_some() || self.cursor.is_some();
            self.owed = if known { Owed::All } else { Owed::Begun };
            self.cursor = self.cursor.or(position.map(|position| (self.page.lives.0, position)));
        }
        if recovered == Some(false) {
            self.tell(0, at);
        }
        if recovered.is_some() {
            self.since = at;
        }
    }

    fn tell(&mut self, since: Millis, at: Millis) {
        self.tellings.push((since, at));
        self.account.told += 1;
        if self.owed == Owed::All {
            self.owed = Owed::Told;
        }
    }

    fn message(&mut self, number: u64, position: Option<Position>) {
        let Some(publication) = self.page.get(number) else {
            return self.account.twice.push(number);
        };
        self.account.delivered += 1;
        if !self.heard.insert(number) {
            return self.account.twice.push(number);
        }
        let healed = publication.replicas.is_some_and(|replicas| replicas < self.replicas);
        self.account.recovered += u64::from(publication.answered < self.since || healed);
        if self.owed == Owed::Nothing {
            // It was on its way while the client left.
            return;
        }
        let Some(position) = position else {
            // Without a position it cannot be resumed from: nobody keeps this topic's history.
            return self.account.strays.push(number);
        };
        if self.cursor.is_some_and(|(_, cursor)| position <= cursor) && self.owed == Owed::All {
            return self.account.swapped.push(number);
        }
        let place = (publication.life, position);
        self.pass(Some((place, publication.answered)));
        (self.cursor, self.owed) = (Some(place), Owed::All);
    }

    /// What lies behind the cursor and before `end`, and was published by then, must have come, or been told.
    fn pass(&mut self, end: Option<(Place, Millis)>) {
        let from = self.cursor.unwrap_or((0, Position(0, 0)));
        let begin = self.order.partition_point(|(place, _)| *place <= from);
        for &(place, number) in &self.order[begin..] {
            if end.is_some_and(|(end, _)| place >= end) {
                break;
            }
            let Some(publication) = self.page.get(number) else { continue };
            // Behind a clock that went back, later publications may have lower positions.
            let by_then = end.is_none_or(|(_, at)| publication.sent <= at);
            let held = publication.outcome == Outcome::Acknowledged && by_then;
            match (held && !self.heard.contains(&number), self.owed) {
                (true, Owed::All) => self.account.lost.push(number),
                (true, Owed::Told) => self.account.announced += 1,
                (true, Owed::Begun | Owed::Nothing) | (false, _) => {}
            }
        }
    }
}
