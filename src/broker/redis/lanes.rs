//! The connections of one master that carry commands: dialled when somebody needs one, kept until it breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use deadpool::managed::{self, Metrics, Object, Pool, RecycleResult, Timeouts};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use tokio::sync::OnceCell;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::broker::PUBLISH_WAIT;
use crate::link::address::Place;
use crate::link::connect::{CONNECT_WAIT, Role, Wire};
use crate::link::endpoint::Endpoint;
use crate::link::failure::ConnectError;

/// How many connections carry one master's commands. One pipelines some 100,000 publications a second; more than
/// one keeps a large payload from standing before everybody's small ones.
const LANES: usize = 4;

/// Counts the times at which every lane had reason to dial anew.
#[derive(Debug, Default)]
pub(super) struct Lanes(AtomicU64);

impl Lanes {
    /// No lane's connection is to be used again.
    pub(super) fn renew(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn current(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
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
    renewed: Arc<Lanes>,
    /// Guards taking or replacing one lane's connection, never across an await.
    lanes: [Mutex<Arc<Lane>>; LANES],
}

/// One connection, dialled by whoever needs it first; the others wait for the same one.
#[derive(Default)]
pub(super) struct Lane {
    dialled: OnceCell<Dialled>,
    of: u64,
}

/// A connection whose driver runs as a task: until the connection ends, or this is dropped.
pub(super) struct Dialled {
    pub connection: MultiplexedConnection,
    /// Where it leads.
    pub place: Place,
    closed: Arc<AtomicBool>,
    _driver: DropGuard,
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
        let Dial { endpoint, name, tasks, stop, .. } = &self.dial;
        let place = match &self.place {
            Some(place) => place.clone(),
            None => endpoint.master(0).await.map_err(text)?,
        };
        let wire = endpoint.connect(&place, name, PUBLISH_WAIT, |_| ()).await.map_err(text)?;
        if wire.server.role == Role::Replica {
            return Err("its address leads to a replica, whose publications reach nobody".into());
        }
        let Wire { connection, driver, .. } = wire;
        let (end, closed) = (stop.child_token(), Arc::new(AtomicBool::new(false)));
        let (ending, closing) = (end.clone(), closed.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = ending.cancelled() => {}
                () = driver => {}
            }
            // Known before anybody publishes on it.
            closing.store(true, Ordering::Relaxed);
        });
        Ok(Dialled { connection, place, closed, _driver: end.drop_guard() })
    }

    /// Never called: a lane keeps its connection for good, so that a broken one never comes back to the pool.
    async fn recycle(&self, _: &mut Dialled, _: &Metrics) -> RecycleResult<String> {
        Ok(())
    }
}

impl Master {
    /// Dials nobody yet.
    pub(super) fn new(dial: &Dial, place: Option<Place>) -> Result<Self, managed::BuildError> {
        let waits = Some(CONNECT_WAIT);
        let pool = Pool::builder(ToMaster { dial: dial.clone(), place })
            .max_size(LANES)
            .runtime(deadpool::Runtime::Tokio1)
            .timeouts(Timeouts { wait: waits, create: waits, recycle: waits })
            .build()?;
        let lanes = std::array::from_fn(|_| Mutex::default());
        Ok(Self { pool, renewed: dial.renewed.clone(), lanes })
    }

    /// The lane of a slot; a new one where the old one had reason to go.
    pub(super) fn lane(&self, slot: u16) -> Arc<Lane> {
        let of = self.renewed.current();
        let mut lane = self.lanes[usize::from(slot) % LANES].lock();
        if lane.of != of || lane.dialled.get().is_some_and(|dialled| dialled.closed.load(Ordering::Relaxed)) {
            *lane = Arc::new(Lane { dialled: OnceCell::new(), of });
        }
        lane.clone()
    }

    /// Removes a lane by identity: another publisher may have replaced it already.
    pub(super) fn drop_lane(&self, slot: u16, lane: &Arc<Lane>) {
        let mut current = self.lanes[usize::from(slot) % LANES].lock();
        if Arc::ptr_eq(&current, lane) {
            *current = Arc::new(Lane { dialled: OnceCell::new(), of: lane.of });
        }
    }

    /// The lane's connection. Checked out of the pool for good.
    pub(super) async fn connection<'l>(&self, lane: &'l Lane) -> Result<&'l Dialled, String> {
        let dial = async { Box::pin(self.pool.get()).await.map(Object::take).map_err(unpooled) };
        lane.dialled.get_or_try_init(|| dial).await
    }
}

/// Why the pool gives no connection, in words for a publisher.
fn unpooled(error: managed::PoolError<String>) -> String {
    match error {
        managed::PoolError::Backend(why) => why,
        _ => "no connection in time; nothing was published".into(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: ConnectError) -> String {
    error.to_string()
}
