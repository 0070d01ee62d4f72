//! The bytes waiting for one client: the only queue between the hub and a socket.
//!
//! Bytes leave only under the outbox's short lock, by non-blocking writes, from the head; so frames of
//! the hub, of the session and of the heartbeat never interleave. While nothing waits, a frame goes
//! straight into the socket, no task is woken and no heap is owned. Who meets a full socket wakes the
//! connection's task under the same lock, and that task writes on when the socket drains.
//!
//! Knows no topic's subscribers, no Redis and no HTTP.

mod backlog;
mod duty;
mod heard;
mod journal;
mod overflow;
mod prefetch;
mod row;
mod run;
mod spare;
mod sync;
mod total;

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Waker;

use bytes::{Bytes, BytesMut};

use crate::close::Close;
use crate::event::Event;
use crate::frame::Extension;
use crate::identity::ConnectionNumber;
use crate::metrics::Metrics;
use crate::protocol::Protocol;

use backlog::{Backlog, Entry};
pub use duty::Duty;
pub use heard::Heard;
pub use journal::Journal;
pub use prefetch::prefetch;
pub use run::{Run, RunFrame};
use sync::Mutex;
pub use total::Total;

/// How many slices one gathered write takes.
const GATHER: usize = 64;

/// Where an outbox's bytes go: implemented by each door.
pub trait Wire: Send + Sync {
    /// Writes what the socket takes now. A wire that found it full is then ready for writing only once it has
    /// drained.
    ///
    /// # Errors
    /// `WouldBlock` where it takes nothing (or is not there yet); anything else means it is gone.
    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Writes bytes before which nothing waits, by the shortest way: once per delivery. What it does not take
    /// is tried again by [`Wire::try_write_vectored`], so it need not note that the socket is full.
    ///
    /// # Errors
    /// As there.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write_vectored(&[IoSlice::new(bytes)])
    }

    /// How far its client has come, where every message says so.
    fn journal(&self) -> Option<&Journal> {
        None
    }
}

/// Whoever has more to say than an outbox should hold, and goes on when it is empty.
pub trait Thirst: Send + Sync {
    /// All that waited for this client is out. Called with its outbox locked.
    fn drained(&self, number: ConnectionNumber);
}

/// What the outboxes of a route have in common.
pub struct Terms {
    /// What their clients speak.
    pub protocol: Box<dyn Protocol>,
    /// What was agreed on with them.
    pub extension: Extension,
    /// The most bytes that wait for one client, each message counted with 64 more.
    pub bytes: usize,
    /// The most messages that wait for one client.
    pub messages: usize,
    /// The bound of all outboxes together.
    pub total: Arc<Total>,
    /// Where drops and gaps are counted.
    pub metrics: Arc<Metrics>,
}

/// The bytes waiting for one client.
pub struct Outbox<W: ?Sized = dyn Wire> {
    terms: Arc<Terms>,
    number: ConnectionNumber,
    /// When the peer last sent anything or made room in a full socket.
    heard: Heard,
    /// Guards the bytes' order; held for one write system call at most.
    state: Mutex<State>,
    wire: W,
}

struct State {
    /// What waits; none while the socket takes everything.
    backlog: Option<Box<Backlog>>,
    /// The connection's task, to be woken when it must write on or hang up.
    task: Option<Waker>,
    /// Whether the task knows that bytes wait.
    armed: bool,
    phase: Phase,
}

enum Phase {
    /// Publications are taken.
    Open,
    /// The farewell waits or is out; nothing more is taken.
    Closing(Box<Close>),
    /// What waits was given up, a frame half out perhaps: nothing may follow it.
    Cut(Box<Close>),
    /// The connection's task has ended.
    Gone,
}

impl<W: Wire> Outbox<W> {
    /// An empty outbox for one connection.
    pub fn new(terms: Arc<Terms>, number: ConnectionNumber, wire: W) -> Arc<Self> {
        let state = State { backlog: None, task: None, armed: false, phase: Phase::Open };
        let heard = terms.total.places.next();
        Arc::new(Self { terms, number, heard, state: Mutex::new(state), wire })
    }
}

impl<W: ?Sized> Outbox<W> {
    /// The connection it belongs to.
    pub fn number(&self) -> ConnectionNumber {
        self.number
    }

    /// What its client speaks.
    pub fn protocol(&self) -> &dyn Protocol {
        &*self.terms.protocol
    }

    /// What was agreed on with its client.
    pub fn extension(&self) -> Extension {
        self.terms.extension
    }

    /// The door's end.
    pub fn wire(&self) -> &W {
        &self.wire
    }

    /// When the peer last sent something, or took something out of a full socket.
    pub fn heard(&self) -> &Heard {
        &self.heard
    }
}

impl Outbox {
    /// Hands over a run of publications. Never waits: what the socket does not take waits here, and what
    /// has no room falls under the topic's rule. A client that is closed takes nothing.
    /// Answers how many of its publications were written or queued.
    pub fn offer(self: &Arc<Self>, run: &Run) -> usize {
        let state = self.state.lock();
        if !matches!(state.phase, Phase::Open) {
            return 0;
        }
        let written = self.write_first(&state, &run.joined);
        match written == run.joined.len() {
            true => run.frames.len(),
            false => self.keep(state, run, |_| true, written),
        }
    }

    /// As [`Outbox::offer`], of the frames that `wanted` picks by their place in the run.
    pub fn offer_some(self: &Arc<Self>, run: &Run, wanted: impl Fn(usize) -> bool) -> usize {
        let state = self.state.lock();
        match state.phase {
            Phase::Open => self.keep(state, run, wanted, 0),
            Phase::Closing(_) | Phase::Cut(_) | Phase::Gone => 0,
        }
    }

    /// Says something to this client alone. It is never dropped; a client that lets its replies pile up
    /// beyond its bounds is closed.
    pub fn say(self: &Arc<Self>, event: &Event<'_>) {
        let mut wire = BytesMut::new();
        self.protocol().event(event, &mut wire);
        if !wire.is_empty() {
            self.send(&wire.freeze());
        }
    }

    /// Sends ready bytes (a pong, a shared ping) behind all that waits. They are never dropped.
    pub fn send(self: &Arc<Self>, bytes: &Bytes) {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Open) {
            return;
        }
        let waiting = state.backlog.as_ref().map_or(0, |backlog| backlog.bytes());
        if waiting > 0 && waiting + bytes.len() > self.terms.bytes.saturating_mul(2) {
            return self.finish(state, Close::Slow(crate::close::retry_hint(1000)));
        }
        let written = self.write_first(&state, bytes);
        if written == bytes.len() {
            return;
        }
        let rest = bytes.slice(written..);
        self.backlog(&mut state).push(if written > 0 { Entry::begun(rest) } else { Entry::kept(rest) });
        self.settle(state);
        self.terms.total.relieve_if_over();
    }

    /// Whether nothing waits; where something does, `thirst` is told once it is out. Who leaves is not told of.
    pub fn is_drained(&self, thirst: &Arc<dyn Thirst>) -> bool {
        let mut state = self.state.lock();
        match &mut state.backlog {
            Some(backlog) => {
                backlog.thirst = Some(thirst.clone());
                false
            }
            None => true,
        }
    }

    /// Hangs up: what may be dropped is dropped, the farewell goes behind the rest, and the connection's
    /// task is woken to end. The first close holds.
    pub fn close(self: &Arc<Self>, close: Close) {
        let state = self.state.lock();
        self.finish(state, close);
    }

    /// As [`Outbox::close`], but all that waits is written first.
    pub fn close_after_writing(self: &Arc<Self>, close: Close) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Open) {
            self.farewell(&mut state, close);
            self.settle(state);
        }
    }

    /// Whether it still takes anything.
    pub fn is_open(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Open)
    }

    /// Whether the connection's task has ended.
    pub fn is_gone(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Gone)
    }

    /// Bytes that wait, each message counted with 64 more.
    pub fn waiting(&self) -> usize {
        self.state.lock().backlog.as_ref().map_or(0, |backlog| backlog.bytes())
    }

    /// Where nothing waits: writes straight into the socket, and answers how much it took. A broken
    /// socket takes nothing here; writing on from the backlog then finds out.
    fn write_first(&self, state: &State, bytes: &Bytes) -> usize {
        match &state.backlog {
            None => self.wire.try_write(bytes).unwrap_or(0),
            Some(_) => 0,
        }
    }

    /// Queues the wanted frames of a run, whose first `written` bytes are out, and tells the task.
    fn keep(
        self: &Arc<Self>,
        mut state: sync::Guard<'_, State>,
        run: &Run,
        wanted: impl Fn(usize) -> bool,
        written: usize,
    ) -> usize {
        let mut taken = 0;
        let mut close = None;
        for place in (0..run.frames.len()).filter(|&place| wanted(place)) {
            match run.entry(place, written).map(|entry| self.admit(&mut state, entry)) {
                None | Some(Ok(true)) => taken += 1,
                Some(Ok(false)) => {}
                Some(Err(reason)) => {
                    close = Some(reason);
                    break;
                }
            }
        }
        match close {
            // A socket found gone has put us into `Closing` already.
            Some(close) if close != Close::Lost => self.finish(state, close),
            _ => self.settle(state),
        }
        self.terms.total.relieve_if_over();
        taken
    }

    fn admit(self: &Arc<Self>, state: &mut State, entry: Entry) -> Result<bool, Close> {
        if !self.backlog(state).has_room(&entry, &self.terms) {
            // The socket may have drained since: only what it does not take falls under a rule.
            self.write_on(state).map_err(|_| Close::Lost)?;
        }
        self.backlog(state).admit(entry, &self.terms)
    }

    /// The backlog, made if nothing waited so far.
    fn backlog<'a>(self: &Arc<Self>, state: &'a mut State) -> &'a mut Backlog {
        state.backlog.get_or_insert_with(|| {
            self.terms.total.enlist(self);
            Box::new(Backlog::new(self.number, self.terms.total.clone()))
        })
    }

    /// Writes what the socket takes; where it is full or gone, the connection's task is woken under the lock.
    fn settle(self: &Arc<Self>, mut state: sync::Guard<'_, State>) {
        // A socket that failed has put us into `Closing`.
        let _ = self.write_on(&mut state);
        let closing = matches!(state.phase, Phase::Closing(_) | Phase::Cut(_));
        let news = state.backlog.is_some() && !state.armed;
        if (closing || news)
            && let Some(task) = &state.task
        {
            task.wake_by_ref();
            state.armed = true;
        }
    }

    fn write_on(&self, state: &mut State) -> io::Result<()> {
        while let Some(backlog) = &mut state.backlog {
            if backlog.is_empty() {
                let thirst = backlog.thirst.take();
                state.backlog = None;
                thirst.iter().for_each(|thirst| thirst.drained(self.number));
                break;
            }
            match backlog.write(|slices| self.wire.try_write_vectored(slices)) {
                Ok(()) if backlog.shows_life() => self.heard.note(crate::clock::now_ms()),
                Ok(()) => {}
                Err(full) if full.kind() == io::ErrorKind::WouldBlock => {
                    backlog.meets_full();
                    break;
                }
                Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => {}
                Err(gone) => {
                    state.backlog = None;
                    state.phase = Phase::Closing(Box::new(Close::Lost));
                    return Err(gone);
                }
            }
        }
        Ok(())
    }

    fn finish(self: &Arc<Self>, mut state: sync::Guard<'_, State>, close: Close) {
        if !matches!(state.phase, Phase::Open) {
            return;
        }
        if let Some(backlog) = &mut state.backlog {
            backlog.drop_publications();
        }
        self.farewell(&mut state, close);
        self.settle(state);
    }

    fn farewell(self: &Arc<Self>, state: &mut State, close: Close) {
        if close == Close::Lost {
            state.backlog = None;
        } else {
            let mut wire = BytesMut::new();
            self.protocol().farewell(&close, &mut wire);
            if close == Close::NoPong {
                return self.say_or_cut(state, close, &wire.freeze());
            }
            if !wire.is_empty() {
                self.backlog(state).push(Entry::kept(wire.freeze()));
            }
        }
        state.phase = Phase::Closing(Box::new(close));
    }

    /// The farewell of a peer that may be dead: its socket takes all of it now, or nobody waits for it.
    fn say_or_cut(&self, state: &mut State, close: Close, farewell: &Bytes) {
        let said = state.backlog.is_none() && self.write_first(state, farewell) == farewell.len();
        state.backlog = None;
        state.phase = if said { Phase::Closing(Box::new(close)) } else { Phase::Cut(Box::new(close)) };
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
#[cfg(fanline_loom)]
mod loom;
#[cfg(test)]
#[cfg(not(fanline_loom))]
mod tests;
