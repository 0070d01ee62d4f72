//! Commands of topics, publications above all: a few long-lived connections, each pipelining its share of the
//! topics. Everything that a topic asks of Redis goes through [`Publisher::ask`] or [`Publisher::ask_all`], which
//! alone know which connection that is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use deadpool_redis::{Manager, Pool, Runtime, Timeouts};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, PushInfo, PushKind, RedisError, RedisResult, Value};
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

/// Why a command came to nothing.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// There was no answer, or nobody to ask.
    Away(String),
    /// Redis answered, and refused; its code tells why.
    Refused(RedisError),
}

impl From<Failure> for PublishError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away(why) => Self::Away(why),
            Failure::Refused(error) => Self::Refused(error.to_string()),
        }
    }
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
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(channel).arg(message);
        let answer = self.ask(channel, &publish).await?;
        let replicas = redis::from_redis_value(answer).map_err(|error| PublishError::Refused(error.to_string()))?;
        Ok(Receipt::heard(replicas))
    }

    /// Sends one command of a channel's topic and waits for its answer, for [`PUBLISH_WAIT`] at most. Its keys
    /// lie in the channel's slot. Commands of one channel, each sent after the one before was answered, are
    /// carried out in that order.
    pub(super) async fn ask(&self, channel: &str, command: &Cmd) -> Result<Value, Failure> {
        let answer = self.exchange(channel, |mut lane| async move { lane.send_packed_command(command).await }).await?;
        answer.extract_error().map_err(Failure::Refused)
    }

    /// The same for several commands in one go: an answer or a refusal for each. Others may come between them.
    pub(super) async fn ask_all(&self, channel: &str, commands: &[Cmd]) -> Result<Vec<RedisResult<Value>>, Failure> {
        let mut all = Pipeline::with_capacity(commands.len());
        for command in commands {
            all.add_command(command.clone());
        }
        let all = &all;
        let answers =
            self.exchange(channel, |mut lane| async move { lane.send_packed_commands(all, 0, all.len()).await });
        Ok(answers.await?.into_iter().map(Value::extract_error).collect())
    }

    /// One exchange on the channel's lane.
    async fn exchange<T, F>(&self, channel: &str, how: impl FnOnce(MultiplexedConnection) -> F) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let deadline = Instant::now() + PUBLISH_WAIT;
        let slot = &self.slots[placement::slot(channel) as usize % LANES];
        let lane = self.lane(slot);
        let connection = match timeout_at(deadline, lane.connection.get_or_try_init(|| self.dial())).await {
            Ok(Ok(connection)) => connection.clone(),
            Ok(Err(why)) => return Err(Failure::Away(why)),
            Err(_) => return Err(Failure::Away("no connection within 1 s; nothing was published".into())),
        };
        let why = match timeout_at(deadline, how(connection)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if !error.is_io_error() => return Err(Failure::Refused(error)),
            Ok(Err(error)) if !error.is_timeout() => format!("{error}; the message may have been published"),
            Ok(Err(_)) | Err(_) => "no answer within 1 s; the message may have been published".into(),
        };
        Self::drop_lane(slot, &lane);
        Err(Failure::Away(why))
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
