//! What becomes of what was read: topics are whole again, and those who resume go on.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::asks::{Errand, What};
use super::inbox::{Item, Word};
use super::interest::{Entry, Interest};
use super::log::Stretch;
use super::past::{Cursor, Past, Resumed, Told};
use super::sequence::{Ask, Outcome, Sequence};
use crate::broker::{Page, Read};
use crate::command::Resume;
use crate::event::GapReason;
use crate::identity::ConnectionNumber;
use crate::metrics::Recovered;
use crate::position::Position;
use crate::publication::Publication;
use crate::topic::Topic;

impl Interest {
    /// Whether somebody still waits for what this errand brings.
    pub(super) fn still_wants(&self, errand: &Errand) -> bool {
        let mut stripe = self.stripe(&errand.topic).lock();
        let past = stripe.get_mut(&errand.topic).and_then(|entry| entry.past.as_mut());
        past.is_some_and(|past| match errand.what {
            What::Heal { epoch, .. } | What::Doubt { epoch, .. } => past.epoch == epoch,
            What::Log { id, .. } => past.log(id).is_some(),
        })
    }

    /// What comes follows what is known here, where Redis has forgotten it by lapse of time.
    pub(super) fn attach(&self, past: &Past, publication: &mut Publication) {
        let Some(header) = publication.header.as_mut().filter(|header| header.prev == Some(Position::START)) else {
            return;
        };
        let Some(pos) = header.pos else { return };
        if let Some(last) = past.outlived(pos.ms, self.remembered(&publication.topic)) {
            header.prev = Some(last);
        }
    }

    /// Where a topic stands of which Redis knows nothing.
    fn outlived(&self, topic: &Topic, past: &Past) -> Position {
        past.outlived(crate::clock::unix_ms(), self.remembered(topic)).unwrap_or(Position::START)
    }

    /// The topic's last position was read.
    pub(super) fn answered(&self, topic: &Topic, epoch: u64, mut newest: Position) {
        if newest == Position::START
            && let Some(past) = self.stripe(topic).lock().get(topic).and_then(|entry| entry.past.as_ref())
        {
            newest = self.outlived(topic, past);
        }
        self.heal(topic, epoch, |sequence| sequence.answered(newest));
    }

    /// What follows the topic's last publication was read.
    pub(super) fn healed(&self, topic: &Topic, epoch: u64, page: Page) {
        self.read(topic, epoch, page, Sequence::read);
    }

    /// A client says that the topic goes on behind its last publication, and what follows that was read; or cannot be, which
    /// only that client is told.
    pub(super) fn looked(&self, topic: &Topic, epoch: u64, page: Option<Page>) {
        if let Some(past) = self.stripe(topic).lock().get_mut(topic).and_then(|entry| entry.past.as_mut()) {
            past.looked(epoch, Instant::now());
        }
        match page {
            Some(page) => self.read(topic, epoch, page, Sequence::looked),
            None => self.heal(topic, epoch, |_| Outcome::default()),
        }
    }

    /// What follows a position was read: `take` makes of it what goes on.
    fn read(
        &self,
        topic: &Topic,
        epoch: u64,
        mut page: Page,
        take: impl FnOnce(&mut Sequence, Vec<Publication>, Position) -> Outcome,
    ) {
        let mut stripe = self.stripe(topic).lock();
        let Some(entry) = stripe.get_mut(topic) else { return };
        let Some(past) = entry.past.as_mut().filter(|past| past.epoch == epoch) else { return };
        past.portion.grow();
        page.entries.iter_mut().take(1).for_each(|first| self.attach(past, first));
        if page.newest == Position::START {
            page.newest = self.outlived(topic, past);
        }
        let (brought, before) = (!page.entries.is_empty(), past.last());
        self.advance(topic, entry, |sequence| take(sequence, page.entries, page.newest));
        if brought && entry.past.as_ref().is_some_and(|past| past.is_whole() && past.last() != before) {
            self.metrics.recovered(Recovered::Healed).inc();
        }
        self.stir(topic, entry);
    }

    /// The topic's history cannot be read.
    pub(super) fn gave_up(&self, topic: &Topic, epoch: u64) {
        self.heal(topic, epoch, Sequence::gave_up);
    }

    fn heal(&self, topic: &Topic, epoch: u64, act: impl FnOnce(&mut Sequence) -> Outcome) {
        let mut stripe = self.stripe(topic).lock();
        let Some(entry) = stripe.get_mut(topic) else { return };
        if entry.past.as_ref().is_some_and(|past| past.epoch == epoch) {
            self.advance(topic, entry, act);
            self.stir(topic, entry);
        }
    }

    /// Something happened to a topic's sequence: tells the shards what their subscribers see of it.
    pub(super) fn advance(&self, topic: &Topic, entry: &mut Entry, act: impl FnOnce(&mut Sequence) -> Outcome) {
        let Some(past) = &mut entry.past else { return };
        let before = past.last();
        let (told, ask) = past.act(act);
        let (epoch, goes_on) = (past.epoch, past.is_whole() || !told.is_empty());
        if goes_on {
            // First, so that nobody gets a publication before it is told that it listens.
            let behind = told.first().map_or(past.last(), |told| told.prev().or(before));
            self.flip_live(topic, entry, behind);
        }
        for told in told {
            match told {
                Told::Publication(publication) => self.hand_out(entry.shards, &publication),
                Told::Gap { reason, since, behind } => {
                    self.metrics.recovered(Recovered::Lost).inc();
                    let gap = |topic| Word::Gap { topic, reason, since: since.ms, position: behind };
                    self.each(entry.shards, |inbox| {
                        inbox.push(gap(topic.clone()).into());
                        // The log went with the hole: who waits for it asks anew.
                        inbox.push(Item::Logged(topic.clone()));
                    });
                }
            }
        }
        self.ask(topic, epoch, ask);
    }

    /// The road of a topic is open: where does it stand?
    pub(super) fn open(&self, topic: &Topic, past: &mut Past) {
        let ask = past.opened();
        self.ask(topic, past.epoch, ask);
    }

    /// Those who wait for what a read brings look again.
    fn stir(&self, topic: &Topic, entry: &Entry) {
        self.each(entry.shards, |inbox| inbox.push(Item::Logged(topic.clone())));
    }

    fn ask(&self, topic: &Topic, epoch: u64, ask: Option<Ask>) {
        if let Some(ask) = ask {
            self.asks.push(topic, What::Heal { epoch, ask });
        }
    }

    /// Where a client that resumes goes on. Where it must wait, `Logged` comes to its shard.
    pub(super) fn resume(&self, topic: &Topic, wish: (Resume, ConnectionNumber)) -> Resumed {
        let nothing = Resumed::Gone(GapReason::Lost);
        let mut stripe = self.stripe(topic).lock();
        let past = stripe.get_mut(topic).and_then(|entry| entry.past.as_mut());
        let Some((resumed, ask)) = past.map(|past| past.resume(wish, Instant::now(), &self.logs)) else {
            return nothing;
        };
        if let Some(what) = ask {
            self.asks.push(topic, what);
        }
        resumed
    }

    /// Some publications from a cursor on.
    pub(super) fn stretch(&self, topic: &Topic, cursor: Cursor, most: usize, bytes: usize) -> Stretch {
        let mut stripe = self.stripe(topic).lock();
        let past = stripe.get_mut(topic).and_then(|entry| entry.past.as_mut());
        past.map_or(Stretch::Behind(GapReason::Lost), |past| past.stretch(cursor, most, bytes, Instant::now()))
    }

    /// The read that brings what follows a position.
    pub(super) fn missing(&self, topic: &Topic, position: Position) -> Option<Read> {
        let stripe = self.stripe(topic).lock();
        Some(stripe.get(topic)?.past.as_ref()?.missing(position))
    }

    /// Lets a log go where nobody has had use for it since `unused`; else answers when somebody last had.
    pub(super) fn forget_log(&self, topic: &Topic, unused: Instant) -> Option<Instant> {
        let mut stripe = self.stripe(topic).lock();
        stripe.get_mut(topic)?.past.as_mut()?.forget(unused)
    }

    /// Lets a log go, so that there is room for others. All who had a place in it look again.
    pub(super) fn evict_log(&self, topic: &Topic) {
        let mut stripe = self.stripe(topic).lock();
        let Some(entry) = stripe.get_mut(topic) else { return };
        if entry.past.as_mut().is_some_and(|past| past.evict()) {
            self.stir(topic, entry);
        }
    }

    /// What is kept for those who resume, in bytes.
    pub(super) fn logs_hold(&self) -> usize {
        self.logs.load(Ordering::Relaxed)
    }

    /// What an errand asks for was too much: less the next time.
    pub(super) fn ask_less(&self, errand: &Errand) {
        let mut stripe = self.stripe(&errand.topic).lock();
        let past = stripe.get_mut(&errand.topic).and_then(|entry| entry.past.as_mut());
        let Some(past) = past else { return };
        match errand.what {
            What::Heal { .. } | What::Doubt { .. } => past.portion.lessen(),
            What::Log { id, .. } => past.log(id).into_iter().for_each(|log| log.portion.lessen()),
        }
    }

    /// The read that makes a log longer; none where nobody needs it any more.
    pub(super) fn older(&self, topic: &Topic, id: u64) -> Option<Read> {
        let mut stripe = self.stripe(topic).lock();
        stripe.get_mut(topic)?.past.as_mut()?.log(id).map(|log| log.older())
    }

    /// It was read, or cannot be: all who wait for it look again.
    pub(super) fn logged(&self, topic: &Topic, id: u64, page: Option<Page>) {
        let mut stripe = self.stripe(topic).lock();
        let Some(entry) = stripe.get_mut(topic) else { return };
        let Some(log) = entry.past.as_mut().and_then(|past| past.log(id)) else { return };
        (log.asked, log.used) = (false, Instant::now());
        match page {
            Some(page) => log.lengthen(page),
            None => log.give_up(Instant::now()),
        }
        self.stir(topic, entry);
    }
}
