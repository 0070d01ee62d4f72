//! The way that one canary leaves by: a connection, and the next one that is dialled while it still serves.

use std::hash::Hash;
use std::mem::discriminant;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::{self, BoxFuture, FutureExt, MaybeDone, maybe_done};
use tokio::time::timeout;

use crate::broker::redis::history::Histories;
use crate::broker::redis::library;
use crate::broker::redis::script::Script;
use crate::link::address::Place;
use crate::link::connect::{ANSWER, Role, Wire};
use crate::link::endpoint::Endpoint;
use crate::link::failure::ConnectError;
use crate::link::placement::slot;

/// After so many canaries Redis is looked up again, as a producer that starts now would: 30 s at most pass
/// until a name that moved is noticed. Where Sentinel is asked, it is asked before each.
const REDIAL: u32 = 15;

/// Why nobody was dialled.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Undialled {
    #[error(transparent)]
    Unreachable(#[from] ConnectError),
    #[error("{0} is a replica; what is published there reaches nobody")]
    Replica(Place),
    #[error("nobody was reached within {} ms, and dialling goes on", ANSWER.as_millis())]
    Dialling,
}

impl Undialled {
    /// Whether it shows that the master is gone, and not only that nobody new gets in.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable(error) if error.is_absence())
    }

    /// What tells one cause from another, whatever addresses and numbers its text has.
    pub(super) fn cause(&self) -> impl Hash + use<> {
        let inner = if let Self::Unreachable(error) = self { Some(discriminant(error)) } else { None };
        (discriminant(self), inner)
    }

    /// Whether it shows that somebody is there, who lets nobody new in.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Unreachable(error) if !error.is_absence())
    }
}

/// What dials the connections of the canaries.
#[derive(Clone)]
pub(super) struct Dial {
    pub endpoint: Endpoint,
    pub name: String,
    pub histories: Arc<Histories>,
}

/// A connection, and how many canaries it has sent.
pub(super) struct Sender {
    pub wire: Wire,
    pub sent: u32,
    /// It did not answer the last one.
    pub silent: bool,
    /// What was brought to this master; none where that failed and is to be tried again.
    brought: Option<Arc<Script>>,
}

/// One canary's way out. Its sender stays until the next one is greeted.
pub(super) struct Road {
    pub sender: Option<Sender>,
    next: Option<Next>,
    /// Why the sender has no successor though its time is over.
    pub kept: Option<Undialled>,
    /// Of the last canary that left.
    pub number: u64,
}

/// A dial under way.
struct Next {
    /// Where the master was known to be when it began. What comes of it says nothing of another place.
    place: Option<Place>,
    dial: MaybeDone<BoxFuture<'static, Result<Sender, Undialled>>>,
}

/// What happened to a road while it was at rest.
pub(super) enum Stir {
    /// Its connection has ended.
    Ended,
    /// The one that it waits for has been dialled, or was not to be had.
    Dialled,
}

impl Dial {
    /// Meets a master: at first, after a loss, and every [`REDIAL`] canaries. Every master of this Redis is met
    /// here, so what each of them needs of us is brought to it here.
    fn dial(&self, channel: &str, place: Option<Place>) -> BoxFuture<'static, Result<Sender, Undialled>> {
        let (dial, slot) = (self.clone(), slot(channel));
        async move {
            let Self { endpoint, name, histories } = &dial;
            let place = match place {
                Some(place) => place,
                None => endpoint.master(slot).await?,
            };
            let mut wire = endpoint.connect(&place, name, ANSWER, |_| ()).await?;
            // The map of a cluster decides who is master of what.
            if wire.server.role == Role::Replica && endpoint.cluster().is_none() {
                return Err(Undialled::Replica(place));
            }
            let script = histories.script();
            let brought = library::bring(&mut wire, &script, endpoint, histories.keys()).await;
            Ok(Sender { wire, sent: 0, silent: false, brought: brought.then_some(script) })
        }
        .boxed()
    }

    /// The topic rules may have changed since a master was met.
    pub(super) async fn renew(&self, sender: &mut Sender) {
        let script = self.histories.script();
        if sender.brought.as_ref().is_none_or(|brought| !Arc::ptr_eq(brought, &script)) {
            let brought = library::bring(&mut sender.wire, &script, &self.endpoint, self.histories.keys()).await;
            sender.brought = brought.then_some(script);
        }
    }
}

impl Default for Road {
    /// Numbers begin anywhere, so that a process of the same name does not answer for us.
    fn default() -> Self {
        Self { sender: None, next: None, kept: None, number: u64::from(fastrand::u32(..)) << 24 }
    }
}

impl Road {
    /// The master may have handed on: its connection is not used again.
    pub(super) fn leave(&mut self) {
        self.sender = None;
    }

    /// Whether it has a sender that answers.
    fn is_served(&self) -> bool {
        self.sender.as_ref().is_some_and(|sender| !sender.silent)
    }

    /// Sees to it that there is a sender, to `place` where that is where the master is known to be. One that has served
    /// its time goes on until the next is greeted; one that did not answer is asked again where nobody new is let in.
    ///
    /// # Errors
    /// There is none, and why.
    pub(super) async fn ready(&mut self, dial: &Dial, channel: &str, place: Option<Place>) -> Result<(), Undialled> {
        let leads = |sender: &Sender| place.as_ref().is_none_or(|place| sender.wire.place == *place);
        self.sender.take_if(|sender| !leads(sender));
        self.next.take_if(|next| next.place != place);
        let is_due = !self.is_served() || self.sender.as_ref().is_some_and(|sender| sender.sent >= REDIAL);
        if (is_due || self.kept.is_some()) && self.next.is_none() {
            let dial = maybe_done(dial.dial(channel, place.clone()));
            self.next = Some(Next { place, dial });
        }
        let (is_served, Some(next)) = (self.is_served(), &mut self.next) else { return Ok(()) };
        // A road that is served waits for nobody.
        match is_served {
            true => _ = futures_util::poll!(&mut next.dial),
            false => _ = timeout(ANSWER, &mut next.dial).await,
        }
        let dialled = Pin::new(&mut next.dial).take_output();
        if dialled.is_some() {
            self.next = None;
        }
        match dialled {
            Some(Ok(sender)) => (self.sender, self.kept) = (Some(sender), None),
            Some(Err(why)) if is_served || self.sender.is_some() && why.is_refusal() => self.kept = Some(why),
            Some(Err(why)) => return Err(why),
            None if is_served => {}
            None => return Err(Undialled::Dialling),
        }
        Ok(())
    }

    /// Rests until something happens. The drivers run on, so that a connection that Redis closes is known to be
    /// closed before it is used again.
    pub(super) async fn stir(&mut self) -> Stir {
        let is_awaited = !self.is_served();
        let (sender, next) = (&mut self.sender, &mut self.next);
        let ended = async {
            match sender {
                Some(sender) => (&mut sender.wire.driver).await,
                None => future::pending().await,
            }
        };
        let dialled = async {
            match next {
                Some(next) if is_awaited => (&mut next.dial).await,
                Some(next) => {
                    (&mut next.dial).await;
                    future::pending::<()>().await;
                }
                None => future::pending().await,
            }
        };
        tokio::select! {
            () = ended => {}
            () = dialled => return Stir::Dialled,
        }
        self.sender = None;
        Stir::Ended
    }
}
