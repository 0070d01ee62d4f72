//! One topic on one shard: who listens, what waits to be delivered, and the pass that delivers it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::inbox::INBOX_PUBLICATIONS;
use super::interest::Standing;
use super::news::News;
use super::order::{Answer, Arrivals};
use super::pass::{Batch, Load, Pass, Turn};
use super::replay::Replays;
use super::replies::Replies;
use super::roll::Roll;
use crate::command::Resume;
use crate::event::{Event, Gap, GapReason};
use crate::frame::Extension;
use crate::identity::{ConnectionNumber, Replica};
use crate::metrics::Metrics;
use crate::outbox::{Outbox, prefetch};
use crate::position::Position;
use crate::protocol::Form;
use crate::publication::Publication;
use crate::settings::TopicRules;
use crate::topic::Topic;

/// A run is joined up to this many bytes of payload, or one publication …
const RUN_BYTES: usize = 64 * 1024;
/// … and this many publications.
const RUN_PUBLICATIONS: usize = 256;

/// The sequence number that nothing has: for who gets nothing yet.
const NEVER: u64 = u64::MAX;

/// One subscriber.
pub(super) struct Seat {
    pub outbox: Arc<Outbox>,
    /// The sequence number of the first thing it gets.
    pub from: u64,
    pub told: Told,
    pub form: Form,
    pub extension: Extension,
}

impl Seat {
    /// Whether it is still being brought up to date.
    pub fn resumes(&self) -> bool {
        self.from == NEVER
    }
}

/// What a subscriber was last told about the topic's liveness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing: its `subscribed` still waits for Redis.
    Waiting,
    /// `subscribed` with `live: false`.
    Pending,
    Live,
    /// `live: false` after it had been live.
    Lost,
}

/// A `subscribed` that waits for the topic to be live.
pub(super) struct Waiting {
    pub answer: Answer,
    /// Whether it asked to resume where there is nothing to resume.
    refused: Option<bool>,
    /// When it is said anyhow.
    until: Instant,
}

/// One topic on one shard.
pub(super) struct TopicState {
    pub name: Topic,
    pub seats: Roll<Seat>,
    pub live: bool,
    /// The last flip of liveness known here.
    pub version: u64,
    /// Whether it stands in the shard's ring.
    pub scheduled: bool,
    /// Whether there is a past to resume from.
    keeps_history: bool,
    /// Behind what the next publication stands that is put into the queue, where a history is kept.
    pub position: Option<Position>,
    /// Those who resume: they have a seat and get nothing by passes yet.
    pub replays: Replays,
    /// Subscribers that asked while the topic was not live, or who resume, and are to be told once it is so far.
    pub waiting: HashMap<ConnectionNumber, Waiting>,
    queue: VecDeque<Work>,
    /// Where the last gap of each reason was put since the last flip, by its sequence number.
    gaps: Vec<(GapReason, u64)>,
    /// The sequence number of the queue's head.
    base: u64,
    pass: Option<Box<Pass>>,
}

/// What waits to be delivered.
pub(super) enum Work {
    Publication(Arc<Publication>),
    Notice(Box<Load>),
}

/// What a pass needs of its shard.
pub(super) struct Tools<'a> {
    pub rules: &'a TopicRules,
    pub replica: &'a Replica,
    pub metrics: &'a Metrics,
    /// The smallest publication that is compressed, in bytes.
    pub least_deflated: usize,
    /// What is to be told to whom.
    pub news: &'a mut News,
}

impl TopicState {
    pub fn new(name: Topic, standing: &Standing) -> Self {
        Self {
            name,
            seats: Roll::default(),
            live: standing.live,
            version: standing.version,
            scheduled: false,
            keeps_history: standing.keeps_history,
            position: standing.position,
            replays: Replays::default(),
            waiting: HashMap::new(),
            queue: VecDeque::new(),
            gaps: Vec::new(),
            base: 0,
            pass: None,
        }
    }

    /// Seats a subscriber: it gets what comes from now on, or first of what it missed. Where the topic is not live, or its
    /// past must be looked at, it is answered once that is done, or at `until`. Answers its place, and whether it waits.
    pub fn join(&mut self, replies: &mut Replies<'_>, wish: (Option<Resume>, &Answer), until: Instant) -> (u32, bool) {
        let (outbox, (resume, answer)) = (replies.outbox, wish);
        // What keeps no history has nothing to resume.
        let (resume, refused) = if self.keeps_history { (resume, None) } else { (None, resume.map(|_| false)) };
        let waits = !self.live || resume.is_some();
        let told = if waits { Told::Waiting } else { Told::Live };
        let from = if resume.is_some() { NEVER } else { self.end() };
        let (form, extension) = (outbox.protocol().form(), outbox.extension());
        let place = self.seats.insert(Seat { outbox: outbox.clone(), from, told, form, extension });
        if let Some(resume) = resume {
            self.replays.begin(outbox.number(), resume);
        }
        match waits {
            true => {
                self.waiting.insert(outbox.number(), Waiting { answer: answer.clone(), refused, until });
            }
            false => confirm(&self.name, replies, answer, true, refused, self.position),
        }
        (place, waits)
    }

    /// Answers one who subscribes again.
    pub fn confirm_again(&mut self, place: u32, replies: &mut Replies<'_>, answer: &Answer) {
        self.answer_pending(place, replies);
        confirm(&self.name, replies, answer, self.live, None, self.position.filter(|_| self.live));
    }

    /// Unseats a subscriber.
    pub fn leave(&mut self, place: u32) {
        if let Some(seat) = self.seats.remove(place) {
            self.waiting.remove(&seat.outbox.number());
            self.replays.end(seat.outbox.number());
        }
    }

    /// Answers the subscriber at `place` if its `subscribed` was to be said by `now` at the latest.
    pub fn answer_overdue(&mut self, place: u32, number: ConnectionNumber, now: Instant) {
        let overdue = self.waiting.get(&number).is_some_and(|waiting| waiting.until <= now);
        if let Some(outbox) = self.seats.get_mut(place).filter(|_| overdue).map(|seat| seat.outbox.clone()) {
            self.answer_pending(place, &mut Replies::to(&outbox));
        }
    }

    /// Says `subscribed` with `live: false` where it has waited so far. A door that waits for the topic has
    /// its own patience and stays noted.
    pub fn answer_pending(&mut self, place: u32, replies: &mut Replies<'_>) {
        let seat = self.seats.get_mut(place).filter(|seat| seat.told == Told::Waiting);
        let Some(seat) = seat else { return };
        seat.told = Told::Pending;
        if let Entry::Occupied(waiting) = self.waiting.entry(seat.outbox.number()) {
            let told = Answer { arrivals: None, ..waiting.get().answer.clone() };
            confirm(&self.name, replies, &told, false, waiting.get().refused, None);
            if waiting.get().answer.arrivals.is_none() {
                waiting.remove();
            }
        }
    }

    pub fn enqueue(&mut self, work: Work) {
        if let Work::Publication(publication) = &work {
            self.position = publication.position().or(self.position);
        }
        self.queue.push_back(work);
    }

    /// The sequence number behind everything in the queue that has a smaller number in the topic's past than `seen`.
    pub fn first_from(&self, seen: u64) -> u64 {
        let is_seen = |work: &Work| matches!(work, Work::Publication(publication) if publication.ordinal < seen);
        self.base + self.queue.iter().rposition(is_seen).map_or(0, |place| place as u64 + 1)
    }

    /// Notes a flip of liveness. No gap before it stands for what is dropped after it: who becomes live by the flip
    /// is not when that gap is told.
    pub fn enqueue_flip(&mut self, load: Load) {
        self.gaps.clear();
        self.enqueue(Work::Notice(Box::new(load)));
    }

    /// Notes a gap. Where one of its reason still waits, that one stands for this one, too, and for who joined
    /// meanwhile: it is told after all that was dropped by now, so whoever looks up what was missed finds it. So at
    /// most one per reason waits between two flips.
    pub fn enqueue_gap(&mut self, gap: Gap) {
        let end = self.end();
        if gap.reason.is_of_history() {
            // Each stands where it belongs: between two positions.
            self.enqueue(Work::Notice(Box::new(Load::Gap { gap, through: end })));
        } else if let Some((waiting, through)) = self.waiting_gap(gap.reason) {
            *waiting = Gap { since: waiting.since.min(gap.since), ..gap };
            *through = end;
        } else {
            self.gaps.retain(|&(reason, _)| reason != gap.reason);
            self.gaps.push((gap.reason, end));
            self.enqueue(Work::Notice(Box::new(Load::Gap { gap, through: end })));
        }
    }

    /// The gap of a reason that still waits behind the last flip. It is not looked for: thousands may stand before it.
    fn waiting_gap(&mut self, reason: GapReason) -> Option<(&mut Gap, &mut u64)> {
        let &(_, noted) = self.gaps.iter().find(|(noted, _)| *noted == reason)?;
        let place = usize::try_from(noted.checked_sub(self.base)?).ok()?;
        let Work::Notice(load) = self.queue.get_mut(place)? else { return None };
        match &mut **load {
            Load::Gap { gap, through } => Some((gap, through)),
            Load::Publications(_) | Load::Live(..) | Load::Lost => None,
        }
    }

    /// The sequence number of what is put into the queue next.
    pub fn end(&self) -> u64 {
        self.base + self.queue.len() as u64
    }

    /// Whether it holds more than half of what all topics of its shard may hold.
    pub fn is_far_behind(&self) -> bool {
        self.queue.len() > INBOX_PUBLICATIONS / 2
    }

    pub fn has_work(&self) -> bool {
        self.pass.is_some() || !self.queue.is_empty()
    }

    /// Whether a pass rests with its cursor in the roll.
    pub fn is_under_way(&self) -> bool {
        self.pass.is_some()
    }

    /// Works on for one turn. Answers the publications that every subscriber has got now.
    pub fn turn(&mut self, turn: &mut Turn, tools: &mut Tools<'_>) -> Option<Vec<Arc<Publication>>> {
        let mut pass = match self.pass.take() {
            Some(pass) => pass,
            None => self.begin(tools)?,
        };
        while pass.cursor < self.seats.end() && !turn.is_over() {
            let place = pass.cursor;
            pass.cursor += 1;
            if let Some(next) = self.seats.at(place + 1) {
                prefetch(&next.outbox);
            }
            let Some(seat) = self.seats.at(place) else {
                turn.glance();
                continue;
            };
            let may_wait = matches!(pass.load, Load::Live(..)) && seat.from <= pass.first;
            if may_wait && answer_waiting(&mut self.waiting, &self.name, seat, pass.load.behind()) {
                turn.spend();
            }
            pass.visit(&self.name, seat, turn, tools);
        }
        if pass.cursor < self.seats.end() {
            self.pass = Some(pass);
            return None;
        }
        finish(*pass, tools.metrics)
    }

    /// Takes the next load out of the queue: a run of publications, or one notice.
    fn begin(&mut self, tools: &Tools<'_>) -> Option<Box<Pass>> {
        let first = self.base;
        let load = match self.queue.pop_front()? {
            Work::Notice(load) => *load,
            Work::Publication(head) => {
                let (index, rule) = tools.rules.find(self.name.as_str());
                let batch = Batch::new(self.run(head), (index, rule.on_full), tools);
                self.base += batch.publications.len() as u64 - 1;
                Load::Publications(Box::new(batch))
            }
        };
        self.base += 1;
        Some(Box::new(Pass { first, cursor: 0, load }))
    }

    /// The publications from `head` on that go together.
    fn run(&mut self, head: Arc<Publication>) -> Vec<Arc<Publication>> {
        let mut bytes = head.payload.len();
        let mut run = vec![head];
        while run.len() < RUN_PUBLICATIONS {
            let Some(Work::Publication(next)) = self.queue.front() else { break };
            bytes += next.payload.len();
            if bytes > RUN_BYTES {
                break;
            }
            if let Some(Work::Publication(next)) = self.queue.pop_front() {
                run.push(next);
            }
        }
        run
    }

    /// The publications that nobody is left to get.
    pub fn abandoned(self) -> impl Iterator<Item = Arc<Publication>> {
        let queued = self.queue.into_iter().filter_map(|work| match work {
            Work::Publication(publication) => Some(publication),
            Work::Notice(_) => None,
        });
        let under_way = match self.pass.map(|pass| pass.load) {
            Some(Load::Publications(batch)) => batch.publications,
            _ => Vec::new(),
        };
        under_way.into_iter().chain(queued)
    }
}

/// The publications that a finished pass took to everybody.
fn finish(pass: Pass, metrics: &Metrics) -> Option<Vec<Arc<Publication>>> {
    match pass.load {
        Load::Publications(batch) => {
            batch.count(metrics);
            Some(batch.publications)
        }
        Load::Live(..) | Load::Lost | Load::Gap { .. } => None,
    }
}

/// The topic is live: answers a subscriber whose `subscribed` is still due. Whether somebody waited.
fn answer_waiting(
    waiting: &mut HashMap<ConnectionNumber, Waiting>,
    topic: &Topic,
    seat: &Seat,
    behind: Option<Position>,
) -> bool {
    let Some(Waiting { answer, refused, .. }) = waiting.remove(&seat.outbox.number()) else { return false };
    match seat.told {
        Told::Waiting => confirm(topic, &mut Replies::to(&seat.outbox), &answer, true, refused, behind),
        Told::Pending | Told::Live | Told::Lost => arrived(answer.arrivals.as_deref()),
    }
    true
}

/// Says `subscribed`, and lets a door know that waits for it.
pub(super) fn confirm(
    topic: &Topic,
    replies: &mut Replies<'_>,
    answer: &Answer,
    live: bool,
    recovered: Option<bool>,
    position: Option<Position>,
) {
    replies.say(&Event::Subscribed { topic, id: answer.id.as_ref(), live, recovered, position });
    if let Some(position) = position {
        replies.note(topic, position);
    }
    arrived(answer.arrivals.as_deref());
}

fn arrived(arrivals: Option<&Arrivals>) {
    if let Some(arrivals) = arrivals {
        arrivals.arrived();
    }
}
