//! One connection of a link follows another: with Sentinel the new master is dialled and greeted while the old one is
//! heard still.

use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt, OptionFuture, join};

use crate::broker::redis::desired::Generation;
use crate::broker::redis::status::End;
use crate::broker::redis::supervisor::{Lost, Supervisor};
use crate::broker::redis::wires::{Routing, Wires};
use crate::clock;
use crate::link::address::Place;
use crate::link::connect::{ANSWER, Role, Wire};
use crate::link::failure::ConnectError;

/// A master that cannot be dialled is dialled again after this long.
const AGAIN: Duration = Duration::from_millis(500);

/// How a connection's life ends.
pub(super) enum Over {
    Lost(Lost),
    /// Another master is greeted already.
    Succeeded(Heir, Left),
}

/// Connections that nothing is subscribed on yet.
pub(super) struct Heir {
    pub wires: Wires,
    pub generation: Generation,
    /// Until when all that was published at the master before has come, in ms since 1970; none where it is no master.
    pub whole: Option<u64>,
}

/// Connections that were left.
pub(super) struct Left {
    pub wires: Wires,
    pub generation: Generation,
}

/// What became of dialling the new one and of asking the old one.
pub(super) struct Greeted {
    place: Place,
    generation: Generation,
    dialled: Result<Wire, ConnectError>,
    whole: Option<u64>,
}

/// The dialling of a new master.
#[derive(Default)]
pub(super) struct Succession {
    dialling: OptionFuture<BoxFuture<'static, Greeted>>,
    is_dialling: bool,
    again: Option<Instant>,
}

impl From<Lost> for Over {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl Heir {
    /// Connections that follow none.
    pub(super) fn new(wires: Wires, generation: Generation) -> Self {
        Self { wires, generation, whole: None }
    }
}

impl Succession {
    /// Dials the master that Sentinel names, where that is another than the one of these wires.
    pub(super) fn follow(&mut self, supervisor: &Supervisor, wires: &Wires, now: Instant) {
        let named = supervisor.state.named.lock().clone();
        let Some(place) = named.filter(|named| !wires.leads_to(named)) else { return };
        if self.is_dialling || self.again.is_some_and(|again| again > now) {
            return;
        }
        let generation = supervisor.state.desired.lock().next_generation();
        // What the old one published before this moment comes before its answer.
        let (asked, old) = (clock::unix_ms(), wires.ask(ANSWER));
        let new = supervisor.dial(place.clone(), generation);
        let both = async move {
            let (dialled, roles) = join(new, old).await;
            let whole = roles.filter(|roles| !roles.contains(&Role::Replica)).map(|_| asked);
            Greeted { place, generation, dialled, whole }
        };
        (self.dialling, self.is_dialling) = (Some(both.boxed()).into(), true);
    }

    /// Resolves with what became of it; with nothing where nobody is dialled.
    pub(super) async fn greeted(&mut self) -> Option<Greeted> {
        (&mut self.dialling).await
    }

    /// Whether the new one takes over. Where not, the old one stays, and proves nothing any more.
    pub(super) fn settle(&mut self, supervisor: &Supervisor, greeted: Greeted) -> Option<Heir> {
        let Greeted { place, generation, dialled, whole } = greeted;
        (self.dialling, self.is_dialling) = (None.into(), false);
        let state = &supervisor.state;
        let cause = match dialled {
            Ok(wire) if wire.server.role == Role::Replica => Lost::Replica,
            // They have named yet another.
            Ok(_) if state.named.lock().as_ref() != Some(&place) => return None,
            Ok(wire) => {
                let wires = Wires::new(Routing::Only, vec![wire]);
                return Some(Heir { wires, generation, whole });
            }
            Err(error) => error.into(),
        };
        self.again = Some(Instant::now() + AGAIN);
        let mut condition = state.condition.lock();
        condition.cut(format!("Sentinel names {place}: {cause}"));
        condition.unproven(End::Closed, Instant::now());
        drop(condition);
        if let Some(unsaid) = state.repeats.due(("succession", &place, cause.cause())) {
            tracing::warn!(link = %state.link, master = %place, %cause, unsaid, "no link to the master that Sentinel names; the one before is heard still");
        }
        None
    }
}
