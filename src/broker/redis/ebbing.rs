//! A master that Sentinel has replaced and that goes on answering: whoever has not heard of the new one publishes there
//! still. So it is heard for a while beside the new one, and what comes is delivered, or its loss is told.
//!
//! What it says may be an echo, too: as a replica it repeats what is published at the new master, and so it does from the
//! beginning where both are one server by two names. Hence nothing is delivered before the old master has said, after it
//! came, that it is a master; and not before a canary has come back from the new one that was not heard here.

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use tokio::time::{Instant, sleep};

use crate::broker::redis::desired::Generation;
use crate::broker::redis::state::LinkState;
use crate::broker::redis::wires::Wires;
use crate::clock;
use crate::link::connect::{ANSWER, Role};
use crate::topic::Topic;

/// How long an old master is heard at most: every replica asks the Sentinels every two seconds.
const HEARD: Duration = Duration::from_secs(10);

/// How often it is asked what it is; what it says comes so much later at most, and twice that while it answers at once.
const ROUND: Duration = Duration::from_millis(100);

/// The most that waits for its word, in bytes of payload and channels.
const HELD: usize = 8 * 1024 * 1024;

/// The master before, where there is one that is heard; a link keeps it through all that becomes of the new one.
#[derive(Default)]
pub(super) struct Former(Option<BoxFuture<'static, ()>>);

impl Former {
    /// From now on it is this one, and what comes from it is held. What was held of one before comes to nobody any more.
    pub(super) fn set(&mut self, state: &LinkState, ebbing: Option<Ebbing>) {
        if self.0.is_some() {
            miss(state);
        }
        self.0 = None;
        self.0 = ebbing.map(|ebbing| {
            ebbing.hold();
            ebbing.run().boxed()
        });
    }

    /// Hears it to its end, and then nobody.
    pub(super) async fn hear(&mut self) -> Infallible {
        if let Some(heard) = &mut self.0 {
            heard.await;
            self.0 = None;
        }
        pending().await
    }

    /// Hears it while something else is done.
    pub(super) async fn beside<T>(&mut self, what: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = what => done,
            never = self.hear() => match never {},
        }
    }
}

/// The connection to a master that was left.
pub(super) struct Ebbing {
    pub state: Arc<LinkState>,
    pub wires: Wires,
    pub generation: Generation,
    /// What it held when it was left.
    pub topics: Vec<Topic>,
    /// Until when all that was published there has come, in ms since 1970.
    pub whole: u64,
}

/// What came on it and may be an echo.
#[derive(Debug, Default)]
pub(super) struct Late {
    of: Option<Generation>,
    held: VecDeque<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
    /// It cannot be trusted any more: a canary came that flew at the new master, or more than is held.
    spoilt: bool,
}

impl Late {
    /// A message on a connection that was left.
    pub(super) fn message(&mut self, of: Generation, channel: &[u8], payload: Vec<u8>) {
        if self.of != Some(of) || self.spoilt {
            return;
        }
        self.bytes += channel.len() + payload.len();
        self.spoilt = self.bytes > HELD;
        self.held.push_back((channel.to_vec(), payload));
    }

    /// A canary, which flies at the new master.
    pub(super) fn canary(&mut self, of: Generation) {
        self.spoilt |= self.of == Some(of);
    }

    fn take(&mut self, count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let taken: Vec<_> = self.held.drain(..count).collect();
        self.bytes -= taken.iter().map(|(channel, payload)| channel.len() + payload.len()).sum::<usize>();
        taken
    }
}

impl Ebbing {
    /// Resolves when the old master is left for good.
    async fn run(mut self) {
        let as_planned = self.listen().await;
        if !as_planned || !self.state.late.lock().held.is_empty() {
            self.until_live().await;
            self.tell();
        }
        tracing::info!(link = %self.state.link, as_planned, "the old master is left for good");
    }

    /// From now on what comes is held.
    fn hold(&self) {
        *self.state.late.lock() = Late { of: Some(self.generation), ..Late::default() };
    }

    /// Hears it to the end. Whether that was ours, and not its own.
    async fn listen(&mut self) -> bool {
        let until = Instant::now() + HEARD;
        loop {
            // What has come by now has come before the answer.
            let (asked, count) = (clock::unix_ms(), self.state.late.lock().held.len());
            let is_heard_anew = self.state.condition.lock().is_heard();
            let answer = self.wires.ask(ANSWER);
            let roles = tokio::select! {
                biased;
                () = self.wires.ended() => return false,
                roles = answer => roles,
            };
            if roles.is_none_or(|roles| roles.contains(&Role::Replica)) || self.state.late.lock().spoilt {
                return false;
            }
            // The new one may have been lost since.
            if is_heard_anew && self.is_live() {
                self.deliver(count);
                self.whole = asked;
            }
            if Instant::now() >= until {
                return is_heard_anew;
            }
            tokio::select! {
                biased;
                () = self.wires.ended() => return false,
                () = sleep(ROUND) => {}
            }
        }
    }

    /// Whether all who listened to it listen to the new one, but for what that refuses.
    fn is_live(&self) -> bool {
        self.state.condition.lock().is_heard() && !self.state.desired.lock().awaits(&self.topics)
    }

    /// What is told before somebody is live would be told again when it is.
    async fn until_live(&mut self) {
        let until = Instant::now() + HEARD;
        while !self.is_live() && Instant::now() < until {
            sleep(ROUND).await;
        }
    }

    fn deliver(&self, count: usize) {
        let Some(generation) = self.state.desired.lock().current() else { return };
        let taken = self.state.late.lock().take(count);
        for (channel, payload) in taken {
            self.state.late_came(generation, &channel, payload);
        }
    }

    /// Something may be missing of what was published there.
    fn tell(&self) {
        let live = self.state.desired.lock().live_of(&self.topics);
        if !live.is_empty() {
            self.state.deliver.lost(&live, self.whole);
            live.iter().for_each(|topic| self.state.deliver.live(topic));
        }
        // Those of histories are read from the new master's, which does not have these.
        miss(&self.state);
    }
}

/// What is held comes to nobody, and its listeners are told so.
fn miss(state: &LinkState) {
    let held = std::mem::take(&mut state.late.lock().held);
    let channels: HashSet<Vec<u8>> = held.into_iter().map(|(channel, _)| channel).collect();
    channels.iter().for_each(|channel| state.late_missed(channel));
}

impl Drop for Ebbing {
    fn drop(&mut self) {
        *self.state.late.lock() = Late::default();
    }
}
