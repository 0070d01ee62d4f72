//! Keeps one link alive: connects, says what is wanted, notices every way in which a link can be dead,
//! drops it, and tells the hub once.
//!
//! It owns the connection's driver. Dropping that closes the socket and ends the pushes, in this task and
//! at this moment, so nothing of an old connection can arrive once the next one is dialled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult};
use tokio::time::{sleep, sleep_until};

use crate::broker::redis::canary::{Canary, OVERDUE};
use crate::broker::redis::desired::{Generation, Work};
use crate::broker::redis::pulse;
use crate::broker::redis::state::LinkState;
use crate::broker::redis::status::Commands;
use crate::link::backoff::Backoff;
use crate::link::connect::{ConnectError, Driver, Endpoint, Role, Wire};
use crate::topic::Topic;

/// Topics in one command. 100,000 channels take Redis 145 ms in thousands, 238 ms in hundreds, 5 s singly.
const BATCH: usize = 1_000;

/// Commands under way at a time: enough to keep Redis busy while we read, few enough that a topic wanted
/// now does not stand behind the whole resubscription.
const UNDER_WAY: usize = 4;

/// The longest that Redis may take to answer a SUBSCRIBE; a deaf link is noticed by its canary long before.
const ANSWER: Duration = Duration::from_secs(10);

/// The supervisor runs at least this often, so that `/livez` can tell that it does.
const TICK: Duration = Duration::from_millis(500);

/// Refused topics are tried again after this long at first, and this long at last.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));

/// One link's keeper.
pub(super) struct Supervisor {
    pub state: Arc<LinkState>,
    pub endpoint: Endpoint,
    pub name: String,
}

/// Why a link is no more.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Unreachable(#[from] ConnectError),
    #[error("connected to a replica; publications arrive at the master")]
    Replica,
    #[error("the connection was closed")]
    Closed,
    #[error("the canary is overdue: nothing comes back within {} s", OVERDUE.as_secs())]
    Deaf,
    #[error("no answer to SUBSCRIBE: {0}")]
    Unanswered(RedisError),
}

/// A command under way.
enum Errand {
    Canary,
    Subscribe(Vec<Topic>),
    /// Topics that were refused once. A refusal names no topic, so many are tried in halves.
    Probe(Vec<Topic>),
    Unsubscribe(Vec<Topic>),
}

impl Supervisor {
    /// Keeps the link for ever; ends only by being dropped.
    pub(super) async fn run(&self) {
        let mut backoff = Backoff::default();
        let mut outages = Outages::default();
        loop {
            self.state.tick();
            let lost = self.live(&mut outages).await;
            if self.down() {
                backoff.reset();
            }
            outages.tell(self, &lost);
            sleep(backoff.next_wait()).await;
        }
    }

    /// The task ends: nothing is live, and nobody is told.
    pub(super) fn stop(&self) {
        let _ = self.state.desired.lock().lost();
    }

    /// One connection's life. When this returns its socket is closed.
    async fn live(&self, outages: &mut Outages) -> Lost {
        let generation = self.state.desired.lock().next_generation();
        let state = self.state.clone();
        let pushed = move |push| state.pushed(generation, push);
        let wire = match self.endpoint.connect(&self.name, ANSWER, pushed).await {
            Ok(Wire { server, .. }) if server.role == Role::Replica => return Lost::Replica,
            Ok(wire) => wire,
            Err(error) => return error.into(),
        };
        self.state.condition.lock().answered();
        let _up = Up::new(self, outages);
        tracing::debug!(link = %self.state.link, version = %wire.server.version, "link connected");
        let voyage = Voyage::new(self, wire.connection, generation);
        voyage.until_lost(wire.driver).await
    }

    /// Tells the hub what is lost. Whether the connection had been proven.
    fn down(&self) -> bool {
        let state = &self.state;
        *state.canary.lock() = Canary::Grounded;
        let proven = state.condition.lock().unproven();
        // Deaf or away? The canary's sender finds out at once.
        state.fly.notify_one();
        let lost = state.desired.lock().lost();
        if !lost.is_empty() {
            state.deliver.lost(&lost, state.last_seen());
        }
        proven
    }
}

/// One connection and what is under way on it.
struct Voyage<'s> {
    supervisor: &'s Supervisor,
    state: &'s LinkState,
    connection: MultiplexedConnection,
    generation: Generation,
    under_way: FuturesUnordered<BoxFuture<'static, (Errand, RedisResult<()>)>>,
    began: Instant,
    settled: bool,
    retry_wait: Duration,
    retry_at: Option<Instant>,
}

impl<'s> Voyage<'s> {
    fn new(supervisor: &'s Supervisor, connection: MultiplexedConnection, generation: Generation) -> Self {
        let (state, began) = (&*supervisor.state, Instant::now());
        *state.canary.lock() = Canary::Subscribing { until: began + OVERDUE };
        state.desired.lock().connected(generation);
        let under_way = FuturesUnordered::new();
        let voyage = Self {
            supervisor,
            state,
            connection,
            generation,
            under_way,
            began,
            settled: false,
            retry_wait: RETRY.0,
            retry_at: None,
        };
        // First and alone: however many topics follow, the link is proven early.
        voyage.send(Errand::Canary);
        voyage
    }

    async fn until_lost(mut self, mut driver: Driver) -> Lost {
        loop {
            let now = Instant::now();
            self.state.tick();
            if let Some(lost) = self.verdict(now) {
                // After a pause of this whole process the canary may be back, unread: the driver reads first.
                if futures_util::poll!(&mut driver).is_ready() {
                    return Lost::Closed;
                }
                if self.verdict(now).is_some() {
                    return lost;
                }
            }
            self.work(now);
            self.settle(now);
            let alarm = self.alarm(now);
            // Biased, the driver last: when a flood of messages uses up the task's turn inside the driver,
            // the others still had theirs. Work is not looked at while enough is under way, so a hub that
            // never rests cannot keep the driver from running either.
            tokio::select! {
                biased;
                Some((errand, answer)) = self.under_way.next() => {
                    if let Some(lost) = self.landed(errand, answer) {
                        return lost;
                    }
                }
                () = self.state.wake.notified(), if self.under_way.len() < UNDER_WAY => {}
                () = sleep_until(alarm.into()) => {}
                () = &mut driver => return Lost::Closed,
            }
        }
    }

    fn verdict(&self, now: Instant) -> Option<Lost> {
        if self.state.condition.lock().met() == Commands::Replica {
            return Some(Lost::Replica);
        }
        let overdue = self.state.canary.lock().deadline().is_some_and(|deadline| deadline <= now);
        overdue.then_some(Lost::Deaf)
    }

    /// Sends what there is to say.
    fn work(&mut self, now: Instant) {
        let mut desired = self.state.desired.lock();
        desired.expire(now);
        let due = self.retry_at.take_if(|at| *at <= now).is_some();
        let again = if due { desired.retry(BATCH) } else { Vec::new() };
        let mut batches = Vec::new();
        while desired.has_work() && self.under_way.len() + batches.len() < UNDER_WAY {
            batches.push(desired.take(BATCH));
        }
        drop(desired);
        if due && matches!(*self.state.canary.lock(), Canary::Grounded) {
            self.send(Errand::Canary);
        }
        self.send(Errand::Probe(again));
        for Work { subscribe, unsubscribe } in batches {
            self.send(Errand::Subscribe(subscribe));
            self.send(Errand::Unsubscribe(unsubscribe));
        }
    }

    fn send(&self, errand: Errand) {
        let state = self.state;
        let channels: Vec<String> = match &errand {
            Errand::Canary => vec![state.canary_channel.clone()],
            Errand::Subscribe(topics) | Errand::Probe(topics) | Errand::Unsubscribe(topics) => {
                topics.iter().map(|topic| state.keys.channel(topic)).collect()
            }
        };
        if channels.is_empty() {
            return;
        }
        let mut connection = self.connection.clone();
        let answer = async move {
            let answer = match &errand {
                Errand::Unsubscribe(_) => connection.unsubscribe(channels).await,
                _ => connection.subscribe(channels).await,
            };
            (errand, answer)
        };
        self.under_way.push(answer.boxed());
    }

    /// What an answer means. The confirmations themselves came through the pushes, in order with the messages.
    fn landed(&mut self, errand: Errand, answer: RedisResult<()>) -> Option<Lost> {
        match (errand, answer) {
            (_, Err(error)) if error.is_io_error() => return Some(Lost::Unanswered(error)),
            (Errand::Probe(_), Ok(())) => {
                self.state.desired.lock().pardon();
                self.retry_wait = RETRY.0;
            }
            (_, Ok(())) => {}
            (Errand::Canary, Err(error)) => {
                *self.state.canary.lock() = Canary::Grounded;
                self.refused(&error, RETRY.1);
            }
            (Errand::Probe(mut topics), Err(_)) if topics.len() > 1 => {
                let half = topics.split_off(topics.len() / 2);
                self.send(Errand::Probe(topics));
                self.send(Errand::Probe(half));
            }
            // Soon: it may be one stranger among a thousand that keeps the others waiting.
            (Errand::Subscribe(topics), Err(error)) => {
                self.state.desired.lock().refuse(self.generation, topics);
                self.refused(&error, RETRY.0);
            }
            // Ever more rarely: this very topic was refused again.
            (Errand::Probe(topics), Err(error)) => {
                self.state.desired.lock().refuse(self.generation, topics);
                if self.retry_at.is_none() {
                    self.retry_wait = (self.retry_wait * 2).min(RETRY.1);
                }
                self.refused(&error, self.retry_wait);
            }
            (Errand::Unsubscribe(topics), Err(error)) => {
                let live = self.state.desired.lock().kept(self.generation, &topics);
                live.iter().for_each(|topic| self.state.deliver.live(topic));
                self.complain(&error, "Redis refuses UNSUBSCRIBE");
            }
        }
        None
    }

    /// Redis refused a SUBSCRIBE: its topics stay pending and are tried again after `wait`.
    fn refused(&mut self, error: &RedisError, wait: Duration) {
        let at = Instant::now() + wait;
        if self.retry_at.is_none() {
            self.complain(error, "Redis refuses SUBSCRIBE; its topics stay pending");
        }
        self.retry_at = Some(self.retry_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn complain(&self, error: &RedisError, what: &str) {
        pulse::complain(self.state, &self.supervisor.endpoint, error, what);
    }

    fn settle(&mut self, now: Instant) {
        let flying = matches!(*self.state.canary.lock(), Canary::Flying(_));
        if self.settled || !flying || self.state.desired.lock().missing() > 0 {
            return;
        }
        self.settled = true;
        let took = now.duration_since(self.began);
        self.state.metrics.redis_resubscribe_seconds.observe(took.as_secs_f64());
        tracing::info!(link = %self.state.link, ?took, "link live");
    }

    /// When to look again though nothing happened.
    fn alarm(&self, now: Instant) -> Instant {
        let expiry = self.state.desired.lock().next_expiry();
        let deadline = self.state.canary.lock().deadline();
        [expiry, deadline, self.retry_at].into_iter().flatten().fold(now + TICK, Instant::min)
    }
}

/// Counts the connection in `redis_connected` while it lives.
struct Up<'s>(&'s Supervisor);

impl<'s> Up<'s> {
    fn new(supervisor: &'s Supervisor, outages: &mut Outages) -> Self {
        supervisor.state.metrics.redis_connected.inc();
        if std::mem::replace(&mut outages.connected_before, true) {
            supervisor.state.metrics.redis_reconnects.inc();
        }
        outages.said = None;
        Self(supervisor)
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.0.state.metrics.redis_connected.dec();
    }
}

/// What was said about outages, so that one that lasts fills no log.
#[derive(Default)]
struct Outages {
    connected_before: bool,
    said: Option<String>,
}

impl Outages {
    fn tell(&mut self, supervisor: &Supervisor, lost: &Lost) {
        let text = lost.to_string();
        if self.said.as_ref() == Some(&text) {
            return;
        }
        tracing::warn!(link = %supervisor.state.link, redis = %supervisor.endpoint.address(), cause = %text, "no link; trying again");
        self.said = Some(text);
    }
}
