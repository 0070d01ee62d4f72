//! A master that Sentinel has replaced and that goes on answering: whoever has not heard of the new one publishes there
//! still. So it is heard for a while beside the new one, and what comes is delivered, or its loss is told.
//!
//! What it says may be an echo, too: as a replica it repeats what is published at the new master, and so it does from the
//! beginning where both are one server by two names. Hence nothing is delivered before the old master has said, after it
//! came, that it is a master; and not before a canary has come back from the new one that was not heard here.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{OptionFuture, join};
use tokio::time::{Instant, sleep};

use crate::broker::redis::desired::Generation;
use crate::broker::redis::former::Unheard;
use crate::broker::redis::late::Late;
use crate::broker::redis::state::LinkState;
use crate::broker::redis::wires::Wires;
use crate::clock;
use crate::link::connect::{ANSWER, Role};

/// How long an old master is heard at most: every replica asks the Sentinels every two seconds.
pub(super) const HEARD: Duration = Duration::from_secs(10);

/// How often it is asked what it is; what it says comes so much later at most, and twice that while it answers at once.
const ROUND: Duration = Duration::from_millis(100);

/// How often it is told at most that something of it is missing: a busy history would be told of at each round.
const TOLD: Duration = Duration::from_millis(250);

/// The connection to a master that was left.
pub(super) struct Ebbing {
    pub wires: Wires,
    pub generation: Generation,
    /// The same master, should the connection break.
    pub unheard: Unheard,
}

/// How it came to be heard no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its time is over, and it was a master still.
    Due,
    /// It is a master no longer: whatever it said as one came before the answer.
    Replica,
    /// It closed: what it says may be missing.
    Closed,
    /// Its time is over, and it did not answer any more.
    Silent,
}

/// Lets what is held of a connection go with it, and not what is held of the next.
struct Holding {
    state: Arc<LinkState>,
    of: Generation,
}

impl Ebbing {
    /// From now on what comes is held. Resolves when the old master is left for good.
    pub(super) fn run(self) -> impl Future<Output = ()> {
        let Self { mut wires, generation, unheard } = self;
        let state = unheard.state.clone();
        *state.late.lock() = Late::hold(generation, unheard.whole);
        let holding = Holding { state, of: generation };
        async move {
            let state = &*holding.state;
            let end = listen(state, &mut wires).await;
            drop(wires);
            let since = state.late.lock().close();
            if matches!(end, End::Closed | End::Silent) {
                state.gaps(&unheard.topics, since);
            }
            state.tell_missed();
            tracing::info!(link = %state.link, as_planned = end == End::Due, "the old master is heard no longer");
            let watched = OptionFuture::from((end == End::Closed).then(|| unheard.run()));
            join(state.hand_on_the_rest(), watched).await;
        }
    }
}

/// Hears it to the end.
async fn listen(state: &LinkState, wires: &mut Wires) -> End {
    let until = Instant::now() + HEARD;
    let mut told = Instant::now();
    loop {
        let mark = state.late.lock().mark(clock::unix_ms());
        let heard = state.heard_anew();
        let answer = wires.ask(ANSWER);
        let roles = tokio::select! {
            biased;
            () = wires.ended() => return End::Closed,
            roles = answer => roles,
        };
        let answers = roles.is_some();
        if roles.is_some_and(|roles| roles.contains(&Role::Replica)) || state.late.lock().echoes() {
            return End::Replica;
        }
        // Where it is another connection by now, that one has proven nothing. What comes of one that does not answer just now
        // is held until it does.
        if answers && heard.is_some() && heard == state.heard_anew() {
            state.late.lock().prove(mark);
            state.hand_on();
        }
        if told.elapsed() >= TOLD {
            told = Instant::now();
            state.tell_missed();
        }
        if Instant::now() >= until {
            return if answers { End::Due } else { End::Silent };
        }
        tokio::select! {
            biased;
            () = wires.ended() => return End::Closed,
            () = sleep(ROUND) => {}
        }
    }
}

impl LinkState {
    /// The link's own connection, where a canary has come back on it.
    fn heard_anew(&self) -> Option<Generation> {
        let is_heard = self.condition.lock().is_heard();
        self.desired.lock().current().filter(|_| is_heard)
    }

    /// Delivers what is proven to topics that are live. Whether some waits for a topic that is not.
    fn hand_on(&self) -> bool {
        let channels = self.late.lock().proven();
        if channels.is_empty() {
            return false;
        }
        let waits = {
            let desired = self.desired.lock();
            let is_awaited = |channel: &Vec<u8>| self.keys.name(channel).is_some_and(|name| desired.awaits(name));
            channels.into_iter().filter(is_awaited).collect()
        };
        let taken = self.late.lock().take(&waits);
        taken.into_iter().for_each(|held| self.late_came(held));
        !waits.is_empty()
    }

    /// The same until nothing waits any more, or has waited for too long.
    async fn hand_on_the_rest(&self) {
        let until = Instant::now() + HEARD;
        while self.hand_on() && Instant::now() < until {
            sleep(ROUND).await;
        }
        self.late.lock().give_up();
        self.tell_missed();
    }

    /// Tells of what cannot be delivered.
    fn tell_missed(&self) {
        let missed = self.late.lock().take_missed();
        for (channel, since) in missed {
            let wanted = self.keys.name(&channel).and_then(|name| self.desired.lock().wanted(name));
            wanted.into_iter().for_each(|topic| self.gap(&topic, since));
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut late = self.state.late.lock();
        if late.is_of(self.of) {
            *late = Late::default();
        }
    }
}
