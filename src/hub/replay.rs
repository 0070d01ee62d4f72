//! Those who resume: each is brought up to date from its topic's log, as fast as its socket takes it, and joins the others
//! in the step in which it has seen all.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::encode;
use super::log::Stretch;
use super::order::Answer;
use super::pass::{self, Turn};
use super::past::{Cursor, Resumed};
use super::replies::Replies;
use super::shard::Shard;
use super::topic::{Told, confirm};
use crate::command::Resume;
use crate::event::GapReason;
use crate::frame::Extension;
use crate::identity::ConnectionNumber;
use crate::metrics::Recovered;
use crate::outbox::{Outbox, Thirst};
use crate::position::Position;
use crate::protocol::{Form, GapWord};
use crate::publication::Publication;

/// What is written at once: so many bytes of payload, but for the first publication …
const PAGE_BYTES: usize = 64 * 1024;
/// … and so many publications.
const PAGE: usize = 256;

/// How many pages are kept encoded per topic: a crowd that resumes from the same place gets the same ones.
const PAGES: usize = 4;

/// Those who resume on one topic of a shard.
#[derive(Default)]
pub(super) struct Replays {
    under_way: HashMap<ConnectionNumber, Replay>,
    pages: Vec<Page>,
}

struct Replay {
    resume: Resume,
    /// Where it goes on in the topic's log, once that is known.
    cursor: Option<Cursor>,
    /// Behind what it stands, once it was told that it resumes.
    at: Option<Position>,
}

impl Replay {
    /// When that was published which it got last, or what it missed began; in ms since 1970.
    fn since(&self) -> u64 {
        self.at.map(|at| at.ms).or(self.resume.ms()).unwrap_or(0)
    }
}

/// An encoded page. Another log may give its numbers to others.
struct Page {
    from: Cursor,
    publications: usize,
    form: Form,
    extension: Extension,
    bytes: Bytes,
}

impl Replays {
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    pub fn begin(&mut self, number: ConnectionNumber, resume: Resume) {
        self.under_way.insert(number, Replay { resume, cursor: None, at: None });
    }

    pub fn end(&mut self, number: ConnectionNumber) {
        self.under_way.remove(&number);
        if self.under_way.is_empty() {
            self.pages = Vec::new();
        }
    }

    pub fn everybody(&self) -> impl Iterator<Item = ConnectionNumber> {
        self.under_way.keys().copied()
    }
}

impl Shard {
    /// Everybody who resumes on a topic has a turn soon.
    pub(super) fn stir(&mut self, key: usize) {
        let replays = &self.topics[key].replays;
        self.replaying.extend(replays.everybody().map(|number| (key, number)));
    }

    /// Brings some of those who resume further.
    pub(super) fn replay(&mut self, mut turn: Turn) {
        while !turn.is_over() {
            let Some((key, number)) = self.replaying.pop_front() else { break };
            self.bring_on(key, number, &mut turn);
        }
    }

    /// Brings one who resumes as far as its socket and the turn allow.
    fn bring_on(&mut self, key: usize, number: ConnectionNumber, turn: &mut Turn) {
        turn.glance();
        let Some(state) = self.topics.get(key) else { return };
        let Some(replay) = state.replays.under_way.get(&number) else { return };
        let (cursor, mut at, mut since) = (replay.cursor, replay.at, replay.since());
        let Some(outbox) = self.outbox_of(key, number) else { return };
        let found = cursor.map(|cursor| (cursor, at)).or_else(|| self.find_cursor(key, &outbox));
        let Some((mut cursor, found_at)) = found else { return };
        at = found_at.or(at);
        let thirst: Arc<dyn Thirst> = self.inbox.clone();
        while !turn.is_over() {
            match self.interest.stretch(&self.topics[key].name, cursor, PAGE, PAGE_BYTES) {
                Stretch::End => return self.join_others(key, number, Some(cursor.next)),
                Stretch::Behind(reason) => {
                    self.tell_gap(key, &outbox, reason, since);
                    return self.join_others(key, number, None);
                }
                Stretch::Away => return self.ask_anew(key, number, at),
                Stretch::Of(_) if !outbox.is_drained(&thirst) => return self.note(key, number, cursor, at),
                Stretch::Of(publications) => {
                    self.write_page(key, &outbox, cursor, &publications);
                    at = publications.iter().rev().find_map(|one| one.position()).or(at);
                    since = at.map_or(since, |at| at.ms);
                    cursor.next += publications.len() as u64;
                    turn.spend();
                }
            }
        }
        self.note(key, number, cursor, at);
        self.replaying.push_back((key, number));
    }

    /// The log made room for others before somebody had seen all of it: it is read again, from where that one stands.
    fn ask_anew(&mut self, key: usize, number: ConnectionNumber, at: Option<Position>) {
        if let Some(replay) = self.topics[key].replays.under_way.get_mut(&number) {
            let resume = at.map_or(replay.resume, Resume::After);
            *replay = Replay { resume, cursor: None, at };
            self.metrics.recovered(Recovered::Reread).inc();
            self.replaying.push_back((key, number));
        }
    }

    /// Tells one who resumes where it goes on, where that is known already; what it missed comes in its turn.
    pub(super) fn look_up(&mut self, key: usize, number: ConnectionNumber) {
        let replay = self.topics.get(key).and_then(|state| state.replays.under_way.get(&number));
        if replay.is_none_or(|replay| replay.cursor.is_some()) {
            return;
        }
        let Some(outbox) = self.outbox_of(key, number) else { return };
        if let Some((cursor, at)) = self.find_cursor(key, &outbox) {
            self.note(key, number, cursor, at);
        }
    }

    /// Notes how far one who resumes has come.
    fn note(&mut self, key: usize, number: ConnectionNumber, cursor: Cursor, at: Option<Position>) {
        if let Some(replay) = self.topics[key].replays.under_way.get_mut(&number) {
            (replay.cursor, replay.at) = (Some(cursor), at);
        }
    }

    fn outbox_of(&mut self, key: usize, number: ConnectionNumber) -> Option<Arc<Outbox>> {
        let place = self.place(key, number)?;
        self.topics[key].seats.get_mut(place).map(|seat| seat.outbox.clone())
    }

    /// Where one who resumes goes on, and behind what; told to it, where it was not yet. None where that is not known, or it
    /// cannot resume and has joined.
    fn find_cursor(&mut self, key: usize, outbox: &Arc<Outbox>) -> Option<(Cursor, Option<Position>)> {
        let state = &self.topics[key];
        let replay = state.replays.under_way.get(&outbox.number()).filter(|_| state.live)?;
        let (resume, is_told, since) = (replay.resume, replay.at.is_some(), replay.since());
        let resumed = self.interest.resume(&state.name, (resume, outbox.number()));
        if let (false, Resumed::Here { position, .. } | Resumed::At { position, .. }) = (is_told, &resumed) {
            self.metrics.recovered(Recovered::Resumed).inc();
            self.welcome_back(key, outbox, true, Some(*position));
        }
        match resumed {
            Resumed::Wait => None,
            Resumed::Here { next, .. } => {
                self.join_others(key, outbox.number(), Some(next));
                None
            }
            Resumed::At { cursor, position } => Some((cursor, Some(position))),
            Resumed::Gone(reason) => {
                let before = self.join_others_unseen(key, outbox.number());
                if !is_told {
                    self.metrics.recovered(Recovered::Refused).inc();
                }
                if is_told || !self.welcome_back(key, outbox, false, before) {
                    self.tell_gap(key, outbox, reason, since);
                }
                None
            }
        }
    }

    /// Tells one who resumes that it is live. Whether it was told, too, what became of its wish.
    fn welcome_back(&mut self, key: usize, outbox: &Arc<Outbox>, recovered: bool, position: Option<Position>) -> bool {
        let number = outbox.number();
        let Some(place) = self.place(key, number) else { return true };
        let state = &mut self.topics[key];
        let waiting = state.waiting.remove(&number);
        let Some(seat) = state.seats.get_mut(place) else { return true };
        let told = std::mem::replace(&mut seat.told, Told::Live);
        let answer = waiting.map_or_else(Answer::default, |waiting| waiting.answer);
        self.news.tell(number);
        match told {
            Told::Waiting => {
                confirm(&state.name, &mut Replies::to(outbox), &answer, true, Some(recovered), position);
                outbox.protocol().says_live()
            }
            // It was told that it must wait; this says how it came out.
            Told::Pending | Told::Live | Told::Lost => {
                let answer = Answer { id: None, ..answer };
                confirm(&state.name, &mut Replies::to(outbox), &answer, true, Some(recovered), position);
                outbox.protocol().says_live() || recovered
            }
        }
    }

    /// Tells one who resumes that from `since` on, in ms since 1970, something is missing.
    fn tell_gap(&mut self, key: usize, outbox: &Arc<Outbox>, reason: GapReason, since: u64) {
        let state = &self.topics[key];
        let gap = pass::gap(&state.name, reason, since, 1);
        match outbox.protocol().on_gap() {
            GapWord::Silent => return,
            GapWord::Told => Replies::to(outbox).say(&crate::event::Event::Gap(&gap)),
            GapWord::Close => outbox.close_after_writing(crate::close::Close::Gap),
        }
        self.metrics.gaps(reason).inc();
    }

    /// From here on it gets what all get. It has seen what has a smaller number than `seen`; without, it sees what comes.
    fn join_others(&mut self, key: usize, number: ConnectionNumber, seen: Option<u64>) {
        // What went into the log before it was read to its end may still be on its way here.
        self.take_inbox();
        let Some(place) = self.place(key, number) else { return };
        let state = &mut self.topics[key];
        let from = seen.map_or_else(|| state.end(), |seen| state.first_from(seen));
        if let Some(seat) = state.seats.get_mut(place) {
            seat.from = from;
        }
        state.replays.end(number);
    }

    /// The same for one who has seen nothing. Answers behind what the first stands that it gets.
    fn join_others_unseen(&mut self, key: usize, number: ConnectionNumber) -> Option<Position> {
        self.join_others(key, number, None);
        self.topics[key].position
    }

    fn write_page(&mut self, key: usize, outbox: &Arc<Outbox>, from: Cursor, publications: &[Arc<Publication>]) {
        let own = |id: &str| self.replica.own(id) == Some(outbox.number());
        let excluded = |publication: &&Arc<Publication>| publication.except().iter().any(|id| own(id));
        let journal = outbox.wire().journal().filter(|journal| journal.is_several());
        let is_shared = journal.is_none() && !publications.iter().any(|publication| excluded(&publication));
        let (form, extension) = (outbox.protocol().form(), outbox.extension());
        let count = publications.len();
        let known = self.topics[key].replays.pages.iter().find(|page| {
            is_shared
                && (page.from, page.publications) == (from, count)
                && (page.form, page.extension) == (form, extension)
        });
        let bytes = match known {
            Some(page) => page.bytes.clone(),
            None => {
                let wanted: Vec<_> = publications.iter().filter(|one| !excluded(one)).cloned().collect();
                let bytes = self.encode(key, outbox, &wanted);
                if is_shared {
                    let page = Page { from, publications: count, form, extension, bytes: bytes.clone() };
                    let pages = &mut self.topics[key].replays.pages;
                    pages.truncate(PAGES - 1);
                    pages.insert(0, page);
                }
                bytes
            }
        };
        outbox.send(&bytes);
        self.metrics.deliveries.of(form).inc_by(count as u64);
        self.metrics.delivered_bytes.inc_by(bytes.len() as u64);
    }

    fn encode(&self, key: usize, outbox: &Outbox, publications: &[Arc<Publication>]) -> Bytes {
        let rules = self.rules.load();
        let (index, rule) = rules.find(self.topics[key].name.as_str());
        let run = encode::run(publications, outbox.protocol(), (index, rule.on_full));
        if let Some(journal) = outbox.wire().journal().filter(|journal| journal.is_several()) {
            return encode::signed(&run, outbox.protocol(), journal).joined;
        }
        match outbox.extension() {
            Extension::None => run.joined,
            Extension::Deflate => encode::deflated(&run, outbox.protocol().form(), self.least_deflated).0.joined,
        }
    }
}
