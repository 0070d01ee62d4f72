//! The master before: it is heard beside the new one while it goes on, or, where its connection broke first, watched.

use std::convert::Infallible;
use std::future::pending;
use std::ops::ControlFlow;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use tokio::time::{Instant, sleep};

use crate::broker::redis::ebbing::{Ebbing, HEARD};
use crate::broker::redis::state::LinkState;
use crate::broker::redis::wires::{Routing, Wires};
use crate::link::address::Place;
use crate::link::connect::{ANSWER, Role};
use crate::link::endpoint::Endpoint;
use crate::topic::Topic;

/// The master before, where there is one; a link keeps it through all that becomes of the new one.
#[derive(Default)]
pub(super) struct Former {
    /// Where the link leads, or led last.
    place: Option<Place>,
    before: Option<Before>,
}

/// One master before.
struct Before {
    topics: Arc<[Topic]>,
    /// What it said until then has come, in ms since 1970.
    whole: u64,
    until_left: BoxFuture<'static, ()>,
}

/// A master that was replaced, and whose connection broke: what is published there still, nobody here hears.
pub(super) struct Unheard {
    pub state: Arc<LinkState>,
    pub endpoint: Endpoint,
    pub name: String,
    pub place: Place,
    /// What was wanted of it.
    pub topics: Arc<[Topic]>,
    /// Until when all that was published there has come, in ms since 1970.
    pub whole: u64,
}

impl Former {
    /// The link leads there from now on. Where it led before, if that was elsewhere.
    pub(super) fn moved(&mut self, place: &Place) -> Option<Place> {
        self.place.replace(place.clone()).filter(|before| before != place)
    }

    /// From now on this one is heard.
    pub(super) fn hear_on(&mut self, ebbing: Ebbing) {
        self.give_up(&ebbing.unheard.state);
        let (topics, whole) = (ebbing.unheard.topics.clone(), ebbing.unheard.whole);
        self.before = Some(Before { topics, whole, until_left: ebbing.run().boxed() });
    }

    /// From now on this one is watched.
    pub(super) fn watch(&mut self, unheard: Unheard) {
        self.give_up(&unheard.state);
        let (topics, whole) = (unheard.topics.clone(), unheard.whole);
        self.before = Some(Before { topics, whole, until_left: unheard.run().boxed() });
    }

    /// Another takes the place of the one before: what that says from now on nobody hears.
    fn give_up(&mut self, state: &LinkState) {
        if let Some(Before { topics, whole, .. }) = self.before.take() {
            state.gaps(&topics, whole);
        }
    }

    /// Hears it to its end, and then nobody.
    pub(super) async fn hear(&mut self) -> Infallible {
        if let Some(before) = &mut self.before {
            (&mut before.until_left).await;
            self.before = None;
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

impl Unheard {
    /// Resolves when it is a master no longer, or its time is over: and then tells all where it was one in that time.
    pub(super) async fn run(self) {
        let until = Instant::now() + HEARD;
        let mut was_master = false;
        while self.look(until, &mut was_master).await.is_continue() && Instant::now() < until {
            sleep(ANSWER).await;
        }
        if was_master {
            self.state.gaps(&self.topics, self.whole);
            tracing::info!(link = %self.state.link, master = %self.place, "the old master went on unheard; all were told");
        }
    }

    /// Looks whether it is a master, for as long as one connection lasts. It breaks where it is a replica.
    async fn look(&self, until: Instant, was_master: &mut bool) -> ControlFlow<()> {
        let dialled = self.endpoint.connect(&self.place, &self.name, ANSWER, |_| {}).await;
        let Ok(wire) = dialled else { return ControlFlow::Continue(()) };
        let mut wires = Wires::new(Routing::Only, vec![wire]);
        loop {
            let answer = wires.ask(ANSWER);
            let roles = tokio::select! {
                biased;
                () = wires.ended() => return ControlFlow::Continue(()),
                roles = answer => roles.unwrap_or_default(),
            };
            if roles.contains(&Role::Replica) {
                return ControlFlow::Break(());
            }
            *was_master |= roles.contains(&Role::Master);
            if Instant::now() >= until {
                return ControlFlow::Break(());
            }
            tokio::select! {
                biased;
                () = wires.ended() => return ControlFlow::Continue(()),
                () = sleep(ANSWER) => {}
            }
        }
    }
}
