//! One client's conversation: what it may do, and what becomes of what it asks.
//!
//! A [`Greeting`] is a client that knocked: its topics go live before the door opens. A [`Session`] is one
//! that came in. Knows no sockets and no HTTP.

mod commands;
mod greeting;
mod limits;
mod names;
mod unfinished;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::broker::Broker;
use crate::clock;
use crate::close::{Close, retry_hint};
use crate::command::{Command, Payload};
use crate::event::Refusal;
use crate::hub::{Hub, Member};
use crate::identity::{ConnectionId, ConnectionNumber, Replica};
use crate::metrics::{Inbound, Metrics};
use crate::outbox::Outbox;
use crate::settings::Live;
use crate::topic::Topic;

pub use greeting::{Full, Greeting, Wish};
use limits::{Bucket, Recent};
pub use names::Names;
pub use unfinished::{Claim, Unfinished};

/// How long a client that sent too much should stay away at least, in ms.
const RATE_RETRY: u32 = 2000;

/// A fragment of so many bytes is no message to the limit: the largest message holds only so many of them, and each
/// pays for itself as much as a message cut by the network does. What honest clients cut a message into is larger.
const FRAGMENT: usize = 512;

/// What every session uses: handles, made once.
pub struct Rooms {
    /// Who listens to what.
    pub hub: Arc<Hub>,
    /// The road to the other replicas.
    pub broker: Arc<dyn Broker>,
    /// The settings in force.
    pub live: Arc<Live>,
    /// This replica.
    pub replica: Replica,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// Room for connections.
    pub slots: Arc<Slots>,
    /// Room for messages that are not all here yet.
    pub unfinished: Arc<Unfinished>,
    /// The topics with history that clients opened.
    pub names: Names,
}

/// Room for connections: a bound, and the numbers they get.
pub struct Slots {
    most: usize,
    taken: AtomicUsize,
    next: AtomicU64,
}

/// A connection's room; dropped, it is free again.
pub struct Slot {
    slots: Arc<Slots>,
    number: ConnectionNumber,
}

impl Slots {
    /// Room for so many.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: AtomicUsize::new(0), next: AtomicU64::new(1) })
    }

    /// Takes room for one, if there is any.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Option<Slot> {
        let slot = Slot { slots: self.clone(), number: ConnectionNumber(self.next.fetch_add(1, Ordering::Relaxed)) };
        // The slot exists already, so that a refusal gives its room back by dropping it.
        match self.taken.fetch_add(1, Ordering::Relaxed) < self.most {
            true => Some(slot),
            false => None,
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One client that came in.
pub struct Session {
    rooms: Arc<Rooms>,
    member: Member,
    slot: Slot,
    /// The place of its route in the settings.
    route: usize,
    /// What the route made it listen to; where a plain client's messages go.
    topics: Box<[Topic]>,
    bucket: Bucket,
    /// Where it is, for the log. It stands here and not in the connection's task, whose memory comes in steps of 128 bytes.
    client: IpAddr,
    /// Whether it was told that something in its commands is ignored.
    warned: bool,
    /// The topics with history that it publishes to, where it does.
    recent: Option<Box<Recent>>,
}

impl Session {
    /// Understands one message, and appends what it asks for.
    ///
    /// # Errors
    /// Why the client must go.
    pub fn take(&mut self, message: Payload, asked: &mut Vec<Result<Command, Refusal>>) -> Result<(), Close> {
        let before = asked.len();
        self.count_in()?;
        let understood = self.member.outbox().protocol().commands(message, asked);
        // Several commands in one message count as several, and those above the limit are not carried out.
        let mut is_paid = true;
        for admitted in before..asked.len() {
            if matches!(asked[admitted], Ok(Command::Warn(_))) || std::mem::take(&mut is_paid) {
                continue;
            }
            if let Err(close) = self.count_in() {
                asked.truncate(admitted);
                return Err(close);
            }
        }
        understood
    }

    /// Counts one message, or control frame, against the client's limit.
    ///
    /// # Errors
    /// It has sent too many.
    pub fn count_in(&mut self) -> Result<(), Close> {
        let settings = self.rooms.live.get();
        let limits = settings.limits_on(&settings.routes[self.route]);
        match self.bucket.admit(clock::now_us(), limits.messages_per_second, limits.burst) {
            true => Ok(()),
            false => {
                self.rooms.metrics.inbound(Inbound::RateLimited).inc();
                Err(Close::RateLimited(retry_hint(RATE_RETRY)))
            }
        }
    }

    /// Counts a frame whose message goes on: as a message where it carries so little that frames would come for nothing.
    ///
    /// # Errors
    /// It has sent too many.
    pub fn count_fragment(&mut self, bytes: usize) -> Result<(), Close> {
        if bytes < FRAGMENT { self.count_in() } else { Ok(()) }
    }

    /// What waits for its client.
    #[must_use]
    pub fn outbox(&self) -> &Arc<Outbox> {
        self.member.outbox()
    }

    /// Asks for room for a message that is not all here.
    pub fn claim(&self) -> Box<Claim> {
        Unfinished::claim(&self.rooms.unfinished, self.outbox(), clock::now_ms())
    }

    /// The largest message it may send, in bytes.
    #[must_use]
    pub fn max_message(&self) -> usize {
        let settings = self.rooms.live.get();
        settings.limits_on(&settings.routes[self.route]).message.0
    }

    /// Where the client is, as far as it can be trusted.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// Its id in the fleet.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.rooms.replica.connection(self.slot.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_numbered_once_and_their_room_comes_back() {
        let slots = Slots::new(2);
        let [one, two] = [slots.take(), slots.take()].map(Option::unwrap);
        assert!((0..10).all(|_| slots.take().is_none()));
        let gone = one.number;
        drop(one);
        let three = slots.take().unwrap();
        assert!(slots.take().is_none());
        assert!(three.number != two.number && three.number != gone);
    }
}
