//! The connections of one master that carry commands: dialled when somebody needs one, kept until it breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, Pool, RecycleResult, Timeouts};
use futures_util::future::{BoxFuture, FutureExt, Shared};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::broker::PUBLISH_WAIT;
use crate::link::address::Place;
use crate::link::connect::{Role, Wire};
use crate::link::endpoint::Endpoint;
use crate::link::failure::ConnectError;

/// How many connections carry one master's commands. One pipelines some 100,000 publications a second; more than
/// one keeps a large payload from standing before everybody's small ones.
const LANES: usize = 4;

/// A lane that could not be dialled is not dialled again sooner, however many want to publish on it.
const AGAIN: Duration = Duration::from_millis(200);

/// How long who has the lane's former connection waits for its next one.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a connection that did not answer in time is kept aside, in case that its next one is not to be had.
const ASIDE: Duration = Duration::from_secs(30);

/// What all lanes to one Redis are told.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// Counts the times at which every lane had reason to dial anew.
    renewed: AtomicU64,
    /// What that count was when connections of before led to where nothing is to be published any more.
    left: AtomicU64,
    /// Why nobody can be dialled, where that is known.
    barred: Mutex<Option<String>>,
}

impl Lanes {
    /// Every lane is to be dialled anew; what there is serves until then.
    pub(super) fn renew(&self) {
        self.renewed.fetch_add(1, Ordering::Relaxed);
    }

    /// The same, and what there is leads to no master: nothing is to be published on it.
    pub(super) fn leave(&self) {
        let renewed = self.renewed.fetch_add(1, Ordering::Relaxed) + 1;
        self.left.fetch_max(renewed, Ordering::Relaxed);
    }

    /// Nobody can be dialled, for this reason, so that no publisher tries; or somebody may be.
    pub(super) fn bar(&self, why: Option<String>) {
        *self.barred.lock() = why;
    }
}

/// What dials lanes.
#[derive(Clone)]
pub(super) struct Dial {
    pub endpoint: Endpoint,
    pub name: String,
    pub renewed: Arc<Lanes>,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
}

/// The lanes to one master.
pub(super) struct Master {
    pool: Pool<ToMaster>,
    dial: Dial,
    /// Guards taking or replacing one lane's connection, never across an await.
    lanes: [Mutex<Option<Arc<Lane>>>; LANES],
}

/// One connection, dialled as soon as somebody needs it, by a task of its own: who gives up waiting cuts no dial short.
pub(super) struct Lane {
    dialled: Shared<BoxFuture<'static, Result<Arc<Dialled>, String>>>,
    /// What it has until then.
    former: Arc<Mutex<Option<Arc<Dialled>>>>,
    began: Instant,
    /// What [`Lanes`] counted then.
    of: u64,
}

/// A connection whose driver runs as a task: until the connection ends, or this is dropped.
pub(super) struct Dialled {
    pub connection: MultiplexedConnection,
    /// Where it leads.
    pub place: Place,
    /// What [`Lanes`] counted when it was dialled.
    of: u64,
    standing: Arc<Standing>,
    _driver: DropGuard,
}

/// How a connection is doing.
#[derive(Debug, Default)]
struct Standing {
    closed: AtomicBool,
    /// It did not answer in time, and not since.
    silent: AtomicBool,
}

/// Makes connections for a master's pool.
struct ToMaster {
    dial: Dial,
    /// Where it is; with Sentinel whoever knows is asked at each dial.
    place: Option<Place>,
}

impl managed::Manager for ToMaster {
    type Type = Dialled;
    type Error = String;

    async fn create(&self) -> Result<Dialled, String> {
        let Dial { endpoint, name, renewed, tasks, stop } = &self.dial;
        let of = renewed.renewed.load(Ordering::Relaxed);
        let place = match &self.place {
            Some(place) => place.clone(),
            None => endpoint.master(0).await.map_err(text)?,
        };
        let wire = endpoint.connect(&place, name, PUBLISH_WAIT, |_| ()).await.map_err(text)?;
        if wire.server.role == Role::Replica {
            return Err("its address leads to a replica, whose publications reach nobody".into());
        }
        let Wire { connection, driver, .. } = wire;
        let (end, standing) = (stop.child_token(), Arc::<Standing>::default());
        let (ending, ended) = (end.clone(), standing.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = ending.cancelled() => {}
                () = driver => {}
            }
            // Known before anybody publishes on it.
            ended.closed.store(true, Ordering::Relaxed);
        });
        Ok(Dialled { connection, place, of, standing, _driver: end.drop_guard() })
    }

    /// Never called: a lane keeps its connection for good, so that a broken one never comes back to the pool.
    async fn recycle(&self, _: &mut Dialled, _: &Metrics) -> RecycleResult<String> {
        Ok(())
    }
}

impl Master {
    /// Dials nobody yet.
    pub(super) fn new(dial: &Dial, place: Option<Place>) -> Result<Self, managed::BuildError> {
        let waits = Some(dial.endpoint.longest_dial());
        let pool = Pool::builder(ToMaster { dial: dial.clone(), place })
            .max_size(LANES)
            .runtime(deadpool::Runtime::Tokio1)
            .timeouts(Timeouts { wait: waits, create: waits, recycle: waits })
            .build()?;
        let lanes = std::array::from_fn(|_| Mutex::default());
        Ok(Self { pool, dial: dial.clone(), lanes })
    }

    /// The lane of a slot; a new one where the old one had reason to go, and somebody can be dialled.
    ///
    /// # Errors
    /// Nobody can.
    pub(super) fn lane(&self, slot: u16) -> Result<Arc<Lane>, String> {
        let told = &*self.dial.renewed;
        let mut lane = self.lanes[usize::from(slot) % LANES].lock();
        if let Some(lane) = lane.as_ref().filter(|lane| lane.serves(told)) {
            return Ok(lane.clone());
        }
        let former = lane.as_ref().and_then(|lane| lane.kept(told));
        if let Some(why) = told.barred.lock().clone() {
            let lane = lane.as_ref().filter(|_| former.is_some_and(|former| former.is_well(told)));
            return lane.cloned().ok_or(why);
        }
        Ok(lane.insert(Arc::new(self.begin(former))).clone())
    }

    /// Nothing came on a connection in time: nothing more is sent on it until it answers a question, which it does after
    /// all that was sent before. Until then it is kept aside, for the next one may not be to be had.
    pub(super) fn set_aside(&self, dialled: &Dialled) {
        let Dialled { connection, standing, .. } = dialled;
        if standing.silent.swap(true, Ordering::Relaxed) {
            return;
        }
        let (mut connection, standing, stop) = (connection.clone(), standing.clone(), self.dial.stop.clone());
        connection.set_response_timeout(ASIDE);
        // Ends with the connection at the latest.
        self.dial.tasks.spawn(async move {
            let role = tokio::select! {
                () = stop.cancelled() => return,
                role = Role::ask(&mut connection) => role,
            };
            match role {
                Ok(Role::Master) => standing.silent.store(false, Ordering::Relaxed),
                Ok(Role::Replica) | Err(_) => standing.closed.store(true, Ordering::Relaxed),
            }
        });
    }

    /// The lane's connection. Checked out of the pool for good.
    ///
    /// # Errors
    /// There is none, and why; without a word where only the time was up.
    pub(super) async fn connection(&self, lane: &Lane, deadline: Instant) -> Result<Arc<Dialled>, Option<String>> {
        let told = &*self.dial.renewed;
        let former = || lane.former.lock().clone().filter(|former| former.is_well(told));
        let until = if former().is_some() { deadline - PATIENCE } else { deadline };
        let why = match timeout_at(until, lane.dialled.clone()).await {
            Ok(Ok(dialled)) => return Ok(dialled),
            Ok(Err(why)) => Some(why),
            Err(_) => None,
        };
        // One that answers again only now has no time left to.
        former().filter(|_| Instant::now() < deadline).ok_or(why)
    }

    fn begin(&self, former: Option<Arc<Dialled>>) -> Lane {
        let (former, began) = (Arc::new(Mutex::new(former)), Instant::now());
        let (tell, told) = oneshot::channel();
        let (pool, stop, mut spare) = (self.pool.clone(), self.dial.stop.clone(), Some(former.clone()));
        self.dial.tasks.spawn(async move {
            let dialled = tokio::select! {
                () = stop.cancelled() => return,
                dialled = pool.get() => dialled.map(|dialled| Arc::new(Object::take(dialled))).map_err(unpooled),
            };
            // Greeted: from now on nobody needs the former one.
            let former = spare.take().filter(|_| dialled.is_ok()).and_then(|former| former.lock().take());
            let _ = tell.send(dialled);
            drop(former);
        });
        let dialled = told.map(|told| told.unwrap_or_else(|_| Err("this replica ends".into())));
        let of = self.dial.renewed.renewed.load(Ordering::Relaxed);
        Lane { dialled: dialled.boxed().shared(), former, began, of }
    }
}

impl Lane {
    /// Whether it is the one to use: dialled since there was reason to, and not in vain.
    fn serves(&self, told: &Lanes) -> bool {
        let current = self.of == told.renewed.load(Ordering::Relaxed);
        match self.dialled.peek() {
            Some(Ok(dialled)) => current && dialled.is_well(told),
            Some(Err(_)) => current && self.began.elapsed() < AGAIN,
            None => current,
        }
    }

    /// The connection that it has, be it a former one or one that was set aside.
    fn kept(&self, told: &Lanes) -> Option<Arc<Dialled>> {
        let dialled = self.dialled.peek().and_then(|dialled| dialled.as_ref().ok().cloned());
        dialled.or_else(|| self.former.lock().clone()).filter(|dialled| dialled.is_there(told))
    }
}

impl Dialled {
    fn is_there(&self, told: &Lanes) -> bool {
        !self.standing.closed.load(Ordering::Relaxed) && self.of >= told.left.load(Ordering::Relaxed)
    }

    fn is_well(&self, told: &Lanes) -> bool {
        self.is_there(told) && !self.standing.silent.load(Ordering::Relaxed)
    }
}

/// Why the pool gives no connection, in words for a publisher.
fn unpooled(error: managed::PoolError<String>) -> String {
    match error {
        managed::PoolError::Backend(why) => why,
        _ => "no connection in time".into(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: ConnectError) -> String {
    error.to_string()
}
