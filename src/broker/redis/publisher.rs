//! Publishing: a few long-lived connections, each pipelining the publications of its share of the topics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use deadpool_redis::{Manager, Pool, Runtime, Timeouts};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisError, Value};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use crate::broker::{PUBLISH_WAIT, PublishError, Receipt};
use crate::link::connect::{CONNECT_WAIT, Endpoint, Role, Server};
use crate::link::placement;

/// How many connections publish. One pipelines some 100,000 publications a second; more than one keeps a
/// large payload from standing before everybody's small ones.
const LANES: usize = 4;

/// Publications that may wait in one lane before their publishers wait for room.
const LANE_DEPTH: usize = 1024;

/// Publishes to Redis.
pub(super) struct Publisher {
    pool: Pool,
    /// Guards taking or replacing one lane's connection, never across an await.
    slots: [Mutex<Arc<Lane>>; LANES],
    lanes: Arc<Lanes>,
    name: String,
}

/// Counts the times at which every lane had reason to dial anew.
#[derive(Debug, Default)]
pub(super) struct Lanes(AtomicU64);

/// One connection, dialled by whoever needs it first; the others wait for the same one.
#[derive(Default)]
struct Lane {
    connection: OnceCell<MultiplexedConnection>,
    of: u64,
}

impl Lanes {
    /// No lane's connection is to be used again.
    pub(super) fn renew(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn current(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Publisher {
    /// Dials nobody yet.
    pub(super) fn new(endpoint: &Endpoint, name: String, lanes: Arc<Lanes>) -> Result<Self, RedisError> {
        let watch = lanes.clone();
        // A lane that Redis closed is known to be closed before anybody publishes on it.
        let pushed = move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                watch.renew();
            }
            Ok::<_, std::convert::Infallible>(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WAIT))
            .set_response_timeout(Some(PUBLISH_WAIT))
            .set_pipeline_buffer_size(LANE_DEPTH)
            .set_push_sender(pushed);
        let manager = Manager::new_with_config(endpoint.info(), config)?;
        let waits = Some(CONNECT_WAIT);
        let pool = Pool::builder(manager)
            .max_size(LANES)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts { wait: waits, create: waits, recycle: waits })
            .build()
            .map_err(|error| RedisError::from((redis::ErrorKind::InvalidClientConfig, "pool", error.to_string())))?;
        Ok(Self { pool, slots: std::array::from_fn(|_| Mutex::default()), lanes, name })
    }

    /// Publishes one message. Publications to one channel, each sent after the one before was answered,
    /// arrive in that order.
    pub(super) async fn publish(&self, channel: &str, message: &[u8]) -> Result<Receipt, PublishError> {
        let deadline = Instant::now() + PUBLISH_WAIT;
        let slot = &self.slots[placement::slot(channel) as usize % LANES];
        let lane = self.lane(slot);
        let mut connection = match timeout_at(deadline, lane.connection.get_or_try_init(|| self.dial())).await {
            Ok(Ok(connection)) => connection.clone(),
            Ok(Err(why)) => return Err(PublishError::Away(why)),
            Err(_) => return Err(PublishError::Away("no connection within 1 s; nothing was published".into())),
        };
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(channel).arg(message);
        let why = match timeout_at(deadline, publish.query_async::<u64>(&mut connection)).await {
            Ok(Ok(replicas)) => return Ok(Receipt { replicas }),
            Ok(Err(error)) if !error.is_io_error() => return Err(PublishError::Refused(error.to_string())),
            Ok(Err(error)) if !error.is_timeout() => format!("{error}; the message may have been published"),
            Ok(Err(_)) | Err(_) => "no answer within 1 s; the message may have been published".into(),
        };
        Self::drop_lane(slot, &lane);
        Err(PublishError::Away(why))
    }

    /// The slot's lane; a new one where the old one had reason to go.
    fn lane(&self, slot: &Mutex<Arc<Lane>>) -> Arc<Lane> {
        let of = self.lanes.current();
        let mut lane = slot.lock();
        if lane.of != of {
            *lane = Arc::new(Lane { connection: OnceCell::new(), of });
        }
        lane.clone()
    }

    /// Removes a lane by identity: another publisher may have replaced it already.
    fn drop_lane(slot: &Mutex<Arc<Lane>>, lane: &Arc<Lane>) {
        let mut current = slot.lock();
        if Arc::ptr_eq(&current, lane) {
            *current = Arc::new(Lane { connection: OnceCell::new(), of: lane.of });
        }
    }

    /// Checks a connection out of the pool for good, so that a broken one never comes back to it.
    async fn dial(&self) -> Result<MultiplexedConnection, String> {
        let pooled = self.pool.get().await.map_err(|error| unpooled(&error))?;
        let mut connection = deadpool_redis::Connection::take(pooled);
        let mut hello = redis::cmd("HELLO");
        hello.arg(3).arg("SETNAME").arg(&self.name);
        let answer = hello.query_async::<Value>(&mut connection).await.map_err(|error| error.to_string())?;
        match Server::of(&answer).role {
            Role::Master => Ok(connection),
            Role::Replica => Err("its address leads to a replica, whose publications reach nobody".into()),
        }
    }
}

/// Why the pool gives no connection, in words for a publisher.
fn unpooled(error: &deadpool_redis::PoolError) -> String {
    match error {
        deadpool_redis::PoolError::Backend(error) => error.to_string(),
        _ => "no connection in time; nothing was published".into(),
    }
}
