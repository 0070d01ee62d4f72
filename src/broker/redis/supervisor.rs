//! Keeps one link alive: connects, says what is wanted, notices every way in which a link can be dead,
//! drops it, and tells the hub once.
//!
//! It owns the connection's driver. Dropping that closes the socket and ends the pushes, in this task and
//! at this moment, so nothing of an old connection can arrive once the next one is dialled; but for a master that was
//! replaced and is heard on (`ebbing`), apart.

use std::hash::Hash;
use std::mem::discriminant;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt, join_all};
use redis::RedisError;
use tokio::time::{sleep, timeout};

use crate::broker::redis::canary::OVERDUE;
use crate::broker::redis::desired::Generation;
use crate::broker::redis::ebbing::Ebbing;
use crate::broker::redis::former::{Former, Unheard};
use crate::broker::redis::state::LinkState;
use crate::broker::redis::status::End;
use crate::broker::redis::succession::{Heir, Left, Over};
use crate::broker::redis::voyage::{TICK, Voyage};
use crate::broker::redis::wires::{Routing, Wires};
use crate::link::address::Place;
use crate::link::backoff::Backoff;
use crate::link::cluster::Cluster;
use crate::link::connect::{Role, Wire};
use crate::link::endpoint::Endpoint;
use crate::link::failure::ConnectError;
use crate::link::placement::slot;
use crate::topic::Topic;

/// The longest that Redis may take to answer a SUBSCRIBE; a deaf link is noticed by its canary long before.
const ANSWER: Duration = Duration::from_secs(10);

/// How much later than others a replica may hear of a new master, in ms: Sentinels tell one another within two seconds,
/// and are asked every two.
const HEARSAY: u64 = 5_000;

/// One link's keeper.
pub(super) struct Supervisor {
    pub state: Arc<LinkState>,
    pub endpoint: Endpoint,
    pub name: String,
    pub sharded: bool,
    /// Counts the connections: in a cluster each goes to another master.
    pub turn: AtomicUsize,
}

/// Why a link is no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error(transparent)]
    Unreachable(#[from] ConnectError),
    #[error("connected to a replica; publications arrive at the master")]
    Replica,
    #[error("Sentinel names another master by now: {0}")]
    Superseded(String),
    #[error("a master of the cluster is none any more")]
    Demoted,
    #[error("the connection was closed")]
    Closed,
    #[error("the canary is overdue: nothing comes back within {} s", OVERDUE.as_secs())]
    Deaf,
    #[error("no answer to SUBSCRIBE: {0}")]
    Unanswered(RedisError),
}

impl Supervisor {
    /// Keeps the link for ever; ends only by being dropped.
    pub(super) async fn run(&self) {
        let mut backoff = Backoff::default();
        let (mut outages, mut heir, mut former) = (Outages::default(), None, Former::default());
        loop {
            self.state.tick();
            match self.live(&mut outages, heir.take(), &mut former).await {
                Over::Lost(lost) => {
                    outages.tell(self, &lost);
                    let (proven, _) = self.down(&lost);
                    if proven {
                        backoff.reset();
                    }
                    former.beside(sleep(backoff.next_wait())).await;
                }
                Over::Succeeded(next, left) => {
                    if let Some(ebbing) = self.hand_over(&next, left) {
                        former.hear_on(ebbing);
                    }
                    heir = Some(next);
                }
            }
        }
    }

    /// The task ends: nothing is live, and nobody is told.
    pub(super) fn stop(&self) {
        let _ = self.state.desired.lock().lost();
    }

    /// One connection's life. When this returns its socket is closed.
    async fn live(&self, outages: &mut Outages, heir: Option<Heir>, former: &mut Former) -> Over {
        let heir = match heir {
            Some(heir) => heir,
            None => {
                let generation = self.state.desired.lock().next_generation();
                match former.beside(self.ticking(self.connect(generation))).await {
                    Ok(wires) => Heir::new(wires, generation),
                    Err(lost) => return lost.into(),
                }
            }
        };
        self.leads_to(&heir, former);
        self.state.condition.lock().answered();
        self.state.lanes.bar(None);
        let _up = Up::new(self, outages);
        tracing::debug!(link = %self.state.link, "link connected");
        Voyage::new(self, heir, former).until_over().await
    }

    /// The new master's connection takes the place of the old one's, which is heard on where that master goes on.
    fn hand_over(&self, heir: &Heir, left: Left) -> Option<Ebbing> {
        let place = heir.wires.place().map(ToString::to_string).unwrap_or_default();
        let (state, Left { wires, generation }) = (&self.state, left);
        tracing::info!(link = %state.link, master = %place, "Sentinel names another master; the link goes there");
        let (_, topics) = self.down(&Lost::Superseded(place));
        let before = wires.place()?.clone();
        heir.whole.map(|whole| Ebbing { wires, generation, unheard: self.unheard(before, topics.into(), whole) })
    }

    /// With Sentinel the link may lead to another master than before. Where that one was not heard beside it, it is watched.
    fn leads_to(&self, heir: &Heir, former: &mut Former) {
        let Some(place) = heir.wires.place().filter(|_| self.endpoint.sentinels().is_some()) else { return };
        let Some(before) = former.moved(place).filter(|_| heir.whole.is_none()) else { return };
        let topics = self.state.desired.lock().all_wanted().cloned().collect();
        let whole = self.state.last_whole().saturating_sub(HEARSAY);
        former.watch(self.unheard(before, topics, whole));
    }

    fn unheard(&self, place: Place, topics: Arc<[Topic]>, whole: u64) -> Unheard {
        let (state, endpoint, name) = (self.state.clone(), self.endpoint.clone(), self.name.clone());
        Unheard { state, endpoint, name, place, topics, whole }
    }

    /// However long a dial takes, `/livez` can tell that this task runs.
    async fn ticking<T>(&self, dial: impl Future<Output = T>) -> T {
        let mut dial = Box::pin(dial);
        loop {
            match timeout(TICK, &mut dial).await {
                Ok(dialled) => return dialled,
                Err(_) => self.state.tick(),
            }
        }
    }

    async fn connect(&self, generation: Generation) -> Result<Wires, Lost> {
        match self.endpoint.cluster() {
            None => {
                let place = self.endpoint.master(0).await?;
                let wire = self.dial(place, generation).await?;
                if wire.server.role == Role::Replica {
                    return Err(Lost::Replica);
                }
                Ok(Wires::new(Routing::Only, vec![wire]))
            }
            Some(cluster) if self.sharded => self.connect_to_all(cluster, generation).await,
            Some(cluster) => self.connect_to_one(cluster, generation).await,
        }
    }

    /// Any node hears what every master publishes. Links begin with different ones, and go on with the next.
    async fn connect_to_one(&self, cluster: &Cluster, generation: Generation) -> Result<Wires, Lost> {
        let map = cluster.refresh().await?;
        let turn = usize::from(slot(&self.name)) + self.turn.fetch_add(1, Ordering::Relaxed);
        let masters: Vec<&Place> = map.masters().collect();
        let Some(place) = masters.get(turn % masters.len().max(1)) else { return Err(nobody().into()) };
        let wire = self.dial((*place).clone(), generation).await?;
        Ok(Wires::new(Routing::Only, vec![wire]))
    }

    /// The masters that do not answer follow later; their topics stay pending.
    async fn connect_to_all(&self, cluster: &Arc<Cluster>, generation: Generation) -> Result<Wires, Lost> {
        let map = cluster.refresh().await?;
        let dialled = join_all(map.masters().map(|place| self.dial(place.clone(), generation))).await;
        let (mut wires, mut failed) = (Vec::new(), None);
        for dialled in dialled {
            match dialled {
                Ok(wire) if !wire.server.is_at_least(SHARDED) => return Err(too_old(&wire).into()),
                Ok(wire) if wire.server.role == Role::Replica => failed = Some(Lost::Replica),
                Ok(wire) => wires.push(wire),
                Err(error) => failed = Some(error.into()),
            }
        }
        if wires.is_empty() {
            return Err(failed.unwrap_or_else(|| nobody().into()));
        }
        Ok(Wires::new(Routing::Sharded(cluster.clone()), wires))
    }

    /// Dials a server whose pushes count as generation `generation` of this link.
    pub(super) fn dial(&self, place: Place, generation: Generation) -> BoxFuture<'static, Result<Wire, ConnectError>> {
        let (state, endpoint, name) = (self.state.clone(), self.endpoint.clone(), self.name.clone());
        let pushed = move |push| state.pushed(generation, push);
        async move { endpoint.connect(&place, &name, ANSWER, pushed).await }.boxed()
    }

    /// Tells the hub what is lost. Whether the connection had been proven, and the topics that were live.
    fn down(&self, lost: &Lost) -> (bool, Vec<Topic>) {
        let state = &self.state;
        match lost {
            // `name_master` has seen to the publishers.
            Lost::Superseded(_) => {}
            Lost::Replica | Lost::Demoted => state.lanes.leave(),
            // Whatever ended it may concern commands, too: a name that leads elsewhere by now, say.
            _ => state.lanes.renew(),
        }
        state.canaries.lock().ground();
        let proven = {
            let mut condition = state.condition.lock();
            condition.cut(lost.to_string());
            condition.unproven(lost.end(), Instant::now())
        };
        // Deaf or away? The canary's sender finds out at once.
        state.fly.notify_one();
        let topics = state.desired.lock().lost();
        if !topics.is_empty() {
            // Others may have heard of a new master before we have, and published there while a canary still came
            // back from the old one.
            let earlier = if self.endpoint.sentinels().is_some() { HEARSAY } else { 0 };
            state.deliver.lost(&topics, state.last_whole().saturating_sub(earlier));
        }
        (proven, topics)
    }
}

impl Lost {
    fn end(&self) -> End {
        match self {
            Self::Deaf | Self::Unanswered(_) | Self::Replica => End::Deaf,
            Self::Unreachable(_) | Self::Superseded(_) | Self::Demoted | Self::Closed => End::Closed,
        }
    }

    /// What tells one cause from another, whatever addresses and numbers its text has.
    pub(super) fn cause(&self) -> impl Hash + use<> {
        let inner = if let Self::Unreachable(error) = self { Some(discriminant(error)) } else { None };
        (discriminant(self), inner)
    }
}

/// The first Redis with SSUBSCRIBE.
const SHARDED: (u32, u32) = (7, 0);

fn too_old(wire: &Wire) -> ConnectError {
    let (address, version) = (wire.place.to_string(), wire.server.version.clone());
    ConnectError::TooOld { address, version, needs: "for redis.sharded Redis 7.0, Valkey 7.2" }
}

fn nobody() -> ConnectError {
    ConnectError::Unknown("no master of the cluster owns any slot".into())
}

/// Counts the connection in `redis_connected` while it lives.
struct Up<'s>(&'s Supervisor);

impl<'s> Up<'s> {
    fn new(supervisor: &'s Supervisor, outages: &mut Outages) -> Self {
        supervisor.state.metrics.redis_connected.inc();
        if std::mem::replace(&mut outages.connected_before, true) {
            supervisor.state.metrics.redis_reconnects.inc();
        }
        Self(supervisor)
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.0.state.metrics.redis_connected.dec();
    }
}

/// What came before.
#[derive(Default)]
struct Outages {
    connected_before: bool,
}

impl Outages {
    /// Says why there is no link, so that an outage that lasts, and a link that comes and goes, fill no log.
    fn tell(&self, supervisor: &Supervisor, lost: &Lost) {
        let Supervisor { state, endpoint, .. } = supervisor;
        if let Some(unsaid) = state.repeats.due(lost.cause()) {
            state.said_down.store(true, Ordering::Relaxed);
            let mend = if let Lost::Unreachable(error) = lost { error.mend() } else { "" };
            tracing::warn!(link = %state.link, redis = %endpoint.address(), cause = %lost, mend, unsaid, "no link; trying again");
        }
    }
}
