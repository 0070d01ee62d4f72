//! A publication from the bytes of Redis' push to the outbox of its one client: the real broker, the real hub,
//! and the Redis that `REDIS_URL` names.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use arc_swap::ArcSwap;
use fanline::broker::redis::RedisBroker;
use fanline::command::Wanted;
use fanline::frame::Extension;
use fanline::hub::{Answer, Arrivals, Hub, Interest, Member, Parts};
use fanline::identity::{ConnectionNumber, Replica};
use fanline::metrics::Metrics;
use fanline::outbox::{Outbox, Terms, Total, Wire};
use fanline::protocol::Plain;
use fanline::settings::{OnGap, Redis, Secret, TopicRules};
use fanline::topic::Topic;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::allocator::{Asked, count};

/// What is published.
const PAYLOAD: [u8; 256] = [b'x'; 256];
/// So many go to Redis at once: less than what it would close a subscriber for.
const BATCH: usize = 1000;
/// What Redis answers to a `PUBLISH` that one replica hears.
const HEARD_BY_ONE: &[u8] = b":1\r\n";

/// Publishes so many, in batches, and waits for the last at the client's socket each time.
pub fn run(times: usize) -> anyhow::Result<Asked> {
    let url = std::env::var("REDIS_URL").context("REDIS_URL is not set")?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let _within = runtime.enter();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let road = Road::open(&url, &tasks, &stop)?;
    let mut producer = runtime.block_on(Producer::connect(&url))?;
    let member = runtime.block_on(road.listen());
    runtime.block_on(producer.publish(BATCH, &road.ear))?;
    let asked = count(|| {
        for begun in (0..times).step_by(BATCH) {
            runtime.block_on(producer.publish(BATCH.min(times - begun), &road.ear))?;
        }
        Ok(())
    })?;
    drop(member);
    stop.cancel();
    tasks.close();
    runtime.block_on(tasks.wait());
    Ok(asked)
}

/// Where the client's bytes go, and who waits for them.
#[derive(Default)]
struct Ear {
    missing: AtomicUsize,
    complete: Notify,
}

/// A socket that takes everything.
struct Socket(Arc<Ear>);

impl Wire for Socket {
    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let taken = slices.iter().map(|slice| slice.len()).sum();
        if self.0.missing.fetch_sub(taken, Ordering::Relaxed) == taken {
            self.0.complete.notify_one();
        }
        Ok(taken)
    }
}

/// Everything between Redis and the client's socket.
struct Road {
    hub: Arc<Hub>,
    topic: Topic,
    ear: Arc<Ear>,
    metrics: Arc<Metrics>,
}

impl Road {
    fn open(url: &str, tasks: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<Self> {
        let (metrics, replica) = (Arc::new(Metrics::new()), Replica::new("cost"));
        let rules = Arc::new(ArcSwap::from_pointee(TopicRules::default()));
        let interest = Interest::new(1, rules.clone(), metrics.clone());
        let settings = Redis { url: Secret::new(url), ..Redis::default() };
        let counters = Metrics::clone(&metrics);
        let broker =
            RedisBroker::start(&settings, Arc::default(), &replica, interest.clone(), counters, tasks, stop.clone())?;
        let hub = Hub::start(
            &Parts { broker, interest, replica, rules, metrics: metrics.clone(), least_deflated: usize::MAX },
            tasks,
            stop,
        );
        Ok(Self { hub, topic: Topic::parse("all")?, ear: Arc::default(), metrics })
    }

    /// The one client, once its topic is live.
    async fn listen(&self) -> Member {
        let (total, metrics) = (Total::new(usize::MAX), self.metrics.clone());
        let protocol = Box::new(Plain::new(OnGap::Ignore));
        let terms =
            Arc::new(Terms { protocol, extension: Extension::None, bytes: 1 << 20, messages: 10_000, total, metrics });
        let member = self.hub.seat(Outbox::new(terms, ConnectionNumber(0), Socket(self.ear.clone())));
        let arrivals = Arrivals::new(1);
        let answer = Answer { arrivals: Some(arrivals.clone()), ..Answer::default() };
        member.subscribe(vec![Wanted::fresh(self.topic.clone())], 1, answer).await;
        arrivals.complete().await;
        member
    }
}

/// Who publishes: raw bytes, made before the counting begins.
struct Producer {
    redis: TcpStream,
    batch: Vec<u8>,
    answers: Vec<u8>,
}

impl Producer {
    async fn connect(url: &str) -> anyhow::Result<Self> {
        let redis = TcpStream::connect(url.trim_start_matches("redis://")).await?;
        let mut one = format!("*3\r\n$7\r\nPUBLISH\r\n$11\r\nfanline:all\r\n${}\r\n", PAYLOAD.len()).into_bytes();
        one.extend(PAYLOAD);
        one.extend(b"\r\n");
        Ok(Self { redis, batch: one.repeat(BATCH), answers: vec![0; BATCH * HEARD_BY_ONE.len()] })
    }

    /// Publishes so many at once, and waits until the last byte of the last frame is out.
    async fn publish(&mut self, many: usize, ear: &Ear) -> anyhow::Result<()> {
        let frame = PAYLOAD.len() + fanline::frame::header(fanline::frame::Opcode::Text, PAYLOAD.len(), true).len();
        ear.missing.store(many * frame, Ordering::Relaxed);
        let (mut answers, mut commands) = self.redis.split();
        let read = answers.read_exact(&mut self.answers[..many * HEARD_BY_ONE.len()]);
        let written = commands.write_all(&self.batch[..self.batch.len() / BATCH * many]);
        let (read, written, ()) = tokio::join!(read, written, ear.complete.notified());
        written?;
        read?;
        anyhow::ensure!(self.answers.starts_with(HEARD_BY_ONE), "somebody else listens too");
        Ok(())
    }
}
