//! Signs of life: a silent connection is pinged, and one that stays silent is taken for dead. And whoever has been
//! here for `public.max_age` is seen out. One sweep over the roster, no timer per connection; any byte from the peer
//! counts.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio_util::sync::CancellationToken;

use super::roster::Roster;
use super::turn::{last_turn, neighbourhood, next_turn, phase};
use crate::clock;
use crate::close::{Close, retry_hint};
use crate::frame::{self, Opcode};
use crate::outbox::{Heard, Outbox, Total};
use crate::session::Unfinished;
use crate::settings::{Heartbeat, OffOr};

/// How long those whose time is over should stay away at least, in ms: they leave apart already.
const SOON: u32 = 500;

/// How often a route's connections show life, and the frame that asks for it; shared by all of them.
pub struct Pace {
    every: u64,
    /// None where the frame asks for no answer.
    timeout: Option<u64>,
    frame: Bytes,
}

impl Pace {
    /// The pace that these settings mean; none where the heartbeat is off.
    ///
    /// A text message asks for no answer, so nobody is taken for dead by it: a peer that is gone shows by
    /// the bytes it no longer acknowledges (`TCP_USER_TIMEOUT`).
    #[must_use]
    pub fn of(settings: &Heartbeat) -> Option<Arc<Self>> {
        let OffOr::Value(every) = settings.every else { return None };
        let mut frame = BytesMut::new();
        let timeout = match settings.text.as_str() {
            "" => {
                frame::encode(Opcode::Ping, b"", &mut frame);
                Some(millis(settings.timeout))
            }
            text => {
                frame::encode(Opcode::Text, text.as_bytes(), &mut frame);
                None
            }
        };
        Some(Arc::new(Self { every: millis(every), timeout, frame: frame.freeze() }))
    }

    /// The pace of clients that cannot answer: each gets this sign of life, and who is gone shows as with a text.
    #[must_use]
    pub fn one_way(settings: &Heartbeat, sign: &'static [u8]) -> Option<Arc<Self>> {
        let OffOr::Value(every) = settings.every else { return None };
        Some(Arc::new(Self { every: millis(every), timeout: None, frame: Bytes::from_static(sign) }))
    }

    /// Whether a peer that is gone shows by its silence; where not, the socket itself must find out.
    #[must_use]
    pub fn finds_the_dead(&self) -> bool {
        self.timeout.is_some()
    }
}

/// One connection on the roster.
pub(super) struct Beat {
    outbox: Arc<Outbox>,
    /// Its own handle, so that a look at it leaves the outbox alone.
    heard: Heard,
    pace: Option<Arc<Pace>>,
    /// Where in the pace its neighbourhood has its turns.
    phase: u64,
    /// When its time here is over, in ms of [`clock::now_ms`].
    leaves: u64,
    /// When to look at it next.
    due: u64,
    /// When it was pinged and has not answered since; 0: not.
    asked: u64,
    /// Whether it was ever pinged.
    met: bool,
}

/// What a due connection gets.
pub(super) enum Act {
    Ask(Arc<Outbox>, Bytes),
    Evict(Arc<Outbox>),
    SeeOut(Arc<Outbox>),
}

impl Beat {
    pub fn new(outbox: Arc<Outbox>, pace: Option<Arc<Pace>>, max_age: Option<Duration>) -> Self {
        let now = clock::now_ms();
        let leaves = max_age.map_or(u64::MAX, |age| now.saturating_add(stay(millis(age))));
        let every = pace.as_ref().map(|pace| pace.every.max(1));
        let phase = every.map_or(0, |every| phase(neighbourhood(outbox.number()), every));
        let due = every.map_or(u64::MAX, |every| next_turn(phase, now, every)).min(leaves);
        Self { heard: outbox.heard().clone(), outbox, pace, phase, leaves, due, asked: 0, met: false }
    }

    pub fn outbox(&self) -> Arc<Outbox> {
        self.outbox.clone()
    }

    /// What to do if it is due.
    pub fn due(&mut self, now: u64) -> Option<Act> {
        if now < self.due {
            return None;
        }
        if now >= self.leaves {
            self.due = u64::MAX;
            return Some(Act::SeeOut(self.outbox.clone()));
        }
        let act = self.turn(now);
        self.due = self.due.min(self.leaves);
        act
    }

    /// Its turn has come.
    fn turn(&mut self, now: u64) -> Option<Act> {
        let pace = self.pace.as_ref()?;
        let Some(timeout) = pace.timeout else {
            self.due = now + pace.every;
            return Some(Act::Ask(self.outbox.clone(), pace.frame.clone()));
        };
        let heard = self.heard.last();
        if self.asked > 0 && heard < self.asked {
            // Its time may be longer than the pace: then it was looked at too early.
            let late = now >= self.asked + timeout;
            self.due = if late { u64::MAX } else { self.asked + timeout };
            return late.then(|| Act::Evict(self.outbox.clone()));
        }
        self.asked = 0;
        let turn = last_turn(self.phase, heard + pace.every, pace.every);
        if std::mem::replace(&mut self.met, true) && turn > now {
            self.due = turn;
            return None;
        }
        self.asked = now;
        self.due = now + timeout.min(pace.every);
        Some(Act::Ask(self.outbox.clone(), pace.frame.clone()))
    }
}

impl Act {
    pub fn carry_out(&self) {
        match self {
            Self::Ask(outbox, frame) => outbox.send(frame),
            Self::Evict(outbox) => outbox.close(Close::NoPong),
            Self::SeeOut(outbox) => outbox.close_after_writing(Close::MaxAge(retry_hint(SOON))),
        }
    }
}

/// Beats until told to stop: pings who is due, evicts who stayed silent, closes whose socket has stalled and whose
/// message does not end.
pub async fn sweep(
    roster: Arc<Roster>,
    interval: Duration,
    outboxes: Arc<Total>,
    stall: Option<Duration>,
    unfinished: Arc<Unfinished>,
    stop: CancellationToken,
) {
    let mut tick = tokio::time::interval(interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        roster.beat(clock::now_ms).await;
        unfinished.close_late(clock::now_ms());
        if let Some(stall) = stall {
            outboxes.close_stalled(stall);
        }
    }
}

/// How long one stays who may stay so long: those who came together leave over a quarter of it.
fn stay(max_age: u64) -> u64 {
    max_age - fastrand::u64(0..=max_age / 4)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
