//! One pass over a topic's subscribers: what is delivered, and the cursor that says to whom next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::encode;
use super::news::{News, SPREAD};
use super::replies::Replies;
use super::topic::{Seat, Told, Tools};
use crate::event::{Gap, GapReason};
use crate::frame::Extension;
use crate::identity::ConnectionNumber;
use crate::metrics::Metrics;
use crate::outbox::{Outbox, Run};
use crate::position::Position;
use crate::protocol::{Form, GapWord};
use crate::publication::Publication;
use crate::settings::{OnFull, RuleIndex};
use crate::topic::Topic;

/// A turn ends after so many sockets …
const SOCKETS: u32 = 64;
/// … or after this time, looked at every few sockets.
const TIME: Duration = Duration::from_micros(200);
const LOOK_EVERY: u32 = 8;

/// A turn looks at so many more subscribers to whom it writes nothing by itself, but only gathers news …
const GLANCES: u32 = 1024;
/// … and tells so many clients theirs, though its sockets are spent.
const NEWS: u32 = 8;

/// What is left of a turn.
pub(super) struct Turn {
    sockets: u32,
    glances: u32,
    until: Instant,
}

impl Turn {
    pub fn new() -> Self {
        Self::of(SOCKETS, TIME)
    }

    /// A turn of so many sockets, at least one, and so much time.
    pub fn of(sockets: u32, time: Duration) -> Self {
        Self { sockets, glances: 0, until: Instant::now() + time }
    }

    pub fn is_over(&self) -> bool {
        self.sockets == 0
    }

    /// A socket was written to.
    pub fn spend(&mut self) {
        self.sockets = self.sockets.saturating_sub(1);
        if self.sockets.is_multiple_of(LOOK_EVERY) && Instant::now() >= self.until {
            self.sockets = 0;
        }
    }

    /// What took long is followed by other topics' turns.
    pub fn end(&mut self) {
        self.sockets = 0;
    }

    /// A place was looked at, and nobody there written to.
    pub fn glance(&mut self) {
        self.glances += 1;
        if self.glances >= GLANCES || self.glances.is_multiple_of(LOOK_EVERY) && Instant::now() >= self.until {
            self.sockets = 0;
        }
    }

    /// How many clients may be told their news at the turn's end: those for whom sockets are left, and never
    /// fewer than a few, so that publications do not keep them waiting.
    pub fn news(&self) -> usize {
        self.sockets.max(NEWS) as usize
    }
}

/// What one pass takes to every subscriber.
pub(super) enum Load {
    Publications(Box<Batch>),
    /// The topic's publications flow again; after an outage, with the gap that tells so. And behind what they stand, where
    /// a history is kept.
    Live(Box<(Option<Gap>, Option<Position>)>),
    Lost,
    /// Something was dropped, for the last time before what has the sequence number `through`.
    Gap {
        gap: Gap,
        through: u64,
    },
}

/// A run of publications, in each form that a subscriber needed so far.
pub(super) struct Batch {
    pub publications: Vec<Arc<Publication>>,
    rule: (RuleIndex, OnFull),
    /// Own connections that must not get a publication, by its place.
    excluded: Vec<(usize, ConnectionNumber)>,
    runs: [Option<Run>; Form::COUNT],
    /// The same for clients that take compressed frames.
    deflated: [Option<Run>; Form::COUNT],
    /// The smallest publication that is compressed, in bytes.
    least: usize,
    delivered: [u64; Form::COUNT],
    bytes: u64,
}

/// What a delivery took.
enum Effort {
    Write,
    /// The run had to be compressed first: up to some milliseconds.
    Compression,
}

/// A pass under way.
pub(super) struct Pass {
    /// The sequence number of the first thing it takes along.
    pub first: u64,
    /// The place it visits next.
    pub cursor: usize,
    pub load: Load,
}

impl Batch {
    pub fn new(publications: Vec<Arc<Publication>>, rule: (RuleIndex, OnFull), tools: &Tools<'_>) -> Self {
        let replica = tools.replica;
        let excluded = publications
            .iter()
            .enumerate()
            .flat_map(|(place, publication)| {
                publication.except().iter().filter_map(move |id| Some((place, replica.own(id)?)))
            })
            .collect();
        Self {
            publications,
            rule,
            excluded,
            runs: [const { None }; Form::COUNT],
            deflated: [const { None }; Form::COUNT],
            least: tools.least_deflated,
            delivered: [0; Form::COUNT],
            bytes: 0,
        }
    }

    /// Delivers to one subscriber what came since it joined and was not kept from it.
    fn deliver(&mut self, first: u64, seat: &Seat) -> Effort {
        let form = seat.form as usize;
        let plain =
            self.runs[form].get_or_insert_with(|| encode::run(&self.publications, seat.outbox.protocol(), self.rule));
        let mut effort = Effort::Write;
        let run = match seat.extension {
            Extension::None => plain,
            Extension::Deflate => self.deflated[form].get_or_insert_with(|| {
                let (run, compressed) = encode::deflated(plain, seat.form, self.least);
                if compressed {
                    effort = Effort::Compression;
                }
                run
            }),
        };
        let number = seat.outbox.number();
        let all = seat.from <= first && !self.excluded.iter().any(|&(_, excluded)| excluded == number);
        let taken = match all && !seat.form.is_stream() {
            true => seat.outbox.offer(run),
            false => some(run, first, seat, &self.excluded),
        };
        self.delivered[form] += taken as u64;
        self.bytes += (run.joined.len() * taken / run.frames.len().max(1)) as u64;
        effort
    }

    /// Counts what the pass did, at its end.
    pub fn count(&self, metrics: &Metrics) {
        for form in Form::ALL {
            metrics.deliveries.of(form).inc_by(self.delivered[form as usize]);
        }
        metrics.delivered_bytes.inc_by(self.bytes);
        if self.delivered.iter().all(|&delivered| delivered == 0) {
            return;
        }
        let now = Instant::now();
        let unix = crate::clock::unix_ms();
        for publication in &self.publications {
            metrics.broadcast_seconds.observe(now.duration_since(publication.received).as_secs_f64());
            if let Some(ts) = publication.ts() {
                let late = Duration::from_millis(unix.saturating_sub(ts));
                metrics.delivery_latency_seconds.observe(late.as_secs_f64());
            }
        }
    }
}

impl Load {
    /// Behind what a topic's publications stand that flow again.
    pub fn behind(&self) -> Option<Position> {
        if let Self::Live(after) = self { after.1 } else { None }
    }
}

impl Pass {
    /// Visits one subscriber.
    pub fn visit(&mut self, topic: &Topic, seat: &mut Seat, turn: &mut Turn, tools: &mut Tools<'_>) {
        match &mut self.load {
            Load::Publications(batch) => {
                // What happened before is told before.
                if !tools.news.is_empty() && tools.news.tell(seat.outbox.number()) {
                    turn.spend();
                }
                return match batch.deliver(self.first, seat) {
                    Effort::Write => turn.spend(),
                    Effort::Compression => turn.end(),
                };
            }
            Load::Gap { gap, through } => {
                // Who never was live cannot have missed it.
                if seat.from <= *through && matches!(seat.told, Told::Live | Told::Lost) {
                    tell_gap(seat, gap, turn, tools, News::gap);
                }
            }
            // Joined after this was noted: it knows already.
            _ if seat.from > self.first => {}
            Load::Live(after) => tell_live(topic, seat, after, turn, tools),
            Load::Lost => {
                if seat.told == Told::Live {
                    seat.told = Told::Lost;
                    if tools.news.live(&seat.outbox, topic, false) {
                        turn.spend();
                    }
                }
            }
        }
        turn.glance();
    }
}

/// The rarer ways of a delivery: who resumes gets nothing here, who joined within the run its end, who is told with every
/// message how far it has come on several topics a run of its own.
#[inline(never)]
fn some(run: &Run, first: u64, seat: &Seat, excluded: &[(usize, ConnectionNumber)]) -> usize {
    if seat.resumes() {
        return 0;
    }
    let number = seat.outbox.number();
    let wanted = |place| first + place as u64 >= seat.from && !excluded.contains(&(place, number));
    let journal = seat.form.is_stream().then(|| seat.outbox.wire().journal()).flatten();
    match journal.filter(|journal| journal.is_several()) {
        Some(journal) => seat.outbox.offer_some(&encode::signed(run, seat.outbox.protocol(), journal), wanted),
        None if seat.from <= first && excluded.is_empty() => seat.outbox.offer(run),
        None => seat.outbox.offer_some(run, wanted),
    }
}

/// Tells one subscriber that publications flow, if it was told that they do not, and before that of what may be missed. Who
/// still waits for its `subscribed` is answered by the topic.
fn tell_live(
    topic: &Topic,
    seat: &mut Seat,
    (gap, behind): &(Option<Gap>, Option<Position>),
    turn: &mut Turn,
    tools: &mut Tools<'_>,
) {
    if let (Told::Pending | Told::Lost, Some(position)) = (seat.told, behind) {
        Replies::to(&seat.outbox).note(topic, *position);
    }
    match (seat.told, gap) {
        // Who was told nothing of the loss is told of what it may have cost all the same.
        (Told::Live, Some(gap)) => tell_gap(seat, gap, turn, tools, News::gap),
        (Told::Lost, Some(gap)) => tell_gap(seat, gap, turn, tools, News::back),
        (Told::Lost | Told::Pending, _) if tools.news.live(&seat.outbox, topic, true) => turn.spend(),
        _ => {}
    }
    seat.told = Told::Live;
}

fn tell_gap(
    seat: &Seat,
    gap: &Gap,
    turn: &mut Turn,
    tools: &mut Tools<'_>,
    note: fn(&mut News, &Arc<Outbox>, &Gap) -> bool,
) {
    match seat.outbox.protocol().on_gap() {
        GapWord::Silent => return,
        GapWord::Told if note(tools.news, &seat.outbox, gap) => turn.spend(),
        GapWord::Told => {}
        GapWord::Close => {
            seat.outbox.close_after_writing(crate::close::Close::Gap);
            turn.spend();
        }
    }
    tools.metrics.gaps(gap.reason).inc();
}

/// The gap of one topic. Clients that fetch what they missed spread over 1 ms per subscriber.
pub(super) fn gap(topic: &Topic, reason: GapReason, since: u64, subscribers: usize) -> Gap {
    let spread_ms = u32::try_from(subscribers).unwrap_or(SPREAD).min(SPREAD);
    Gap { topics: vec![topic.clone()], reason, since, until: crate::clock::unix_ms(), spread_ms }
}
