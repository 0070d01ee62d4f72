//! A fan-out pass: from the call that hands a publication to the hub to the bytes at each client's socket.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::ensure;
use arc_swap::ArcSwap;
use bytes::Bytes;
use fanline::broker::Deliver;
use fanline::broker::memory::MemoryBroker;
use fanline::command::Wanted;
use fanline::frame::Extension;
use fanline::hub::{Answer, Hub, Interest, Member, Parts};
use fanline::identity::{ConnectionNumber, Replica};
use fanline::metrics::Metrics;
use fanline::outbox::{Outbox, Terms, Total, Wire};
use fanline::protocol::{Json, Plain, Protocol};
use fanline::publication::Publication;
use fanline::settings::{OnGap, TopicRules};
use fanline::topic::Topic;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::allocator::{Asked, count};

/// What each gets.
const PAYLOAD: &[u8] = &[b'x'; 128];
/// The same where it is compressed: 1 KiB of JSON.
const RECORD: &[u8] = include_bytes!("../../../load/fixtures/publication-1KiB.json");
/// Passes before the counting begins: tables have grown by then.
const WARM: usize = 4;

/// One in flight, to clients without words.
pub fn plain(times: usize) -> anyhow::Result<Asked> {
    deliver(Manner::PLAIN, 1, times)
}

/// One in flight, to json clients.
pub fn json(times: usize) -> anyhow::Result<Asked> {
    deliver(Manner::JSON, 1, times)
}

/// Eight that go together, to clients without words.
pub fn plain_by_8(times: usize) -> anyhow::Result<Asked> {
    deliver(Manner::PLAIN, 8, times)
}

/// Eight that go together, to json clients.
pub fn json_by_8(times: usize) -> anyhow::Result<Asked> {
    deliver(Manner::JSON, 8, times)
}

/// One in flight, to clients that agreed on compression; few, so that it is compression that is counted.
pub fn deflated(times: usize) -> anyhow::Result<Asked> {
    deliver(Manner { extension: Extension::Deflate, payload: RECORD, clients: 10, ..Manner::PLAIN }, 1, times)
}

/// How many clients there are, and how they are spoken to.
#[derive(Clone, Copy)]
struct Manner {
    protocol: fn() -> Box<dyn Protocol>,
    extension: Extension,
    payload: &'static [u8],
    clients: u64,
}

impl Manner {
    const PLAIN: Self = Self {
        protocol: || Box::new(Plain::new(OnGap::Ignore)),
        extension: Extension::None,
        payload: PAYLOAD,
        clients: 1000,
    };
    const JSON: Self = Self { protocol: || Box::new(Json), ..Self::PLAIN };
}

/// A socket that takes everything, so that what is counted is ours alone.
struct Drain(Arc<AtomicUsize>);

impl Wire for Drain {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(bytes.len(), Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let taken = slices.iter().map(|slice| slice.len()).sum();
        self.0.fetch_add(taken, Ordering::Relaxed);
        Ok(taken)
    }
}

/// A hub and those who listen to its one topic.
struct Hall {
    interest: Arc<Interest>,
    topic: Topic,
    taken: Arc<AtomicUsize>,
    clients: Vec<Member>,
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
}

fn deliver(manner: Manner, at_once: usize, times: usize) -> anyhow::Result<Asked> {
    // One thread, so that every run does the same in the same order.
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let _within = runtime.enter();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let mut hall = Hall::open(&tasks, &stop)?;
    runtime.block_on(hall.fill(manner));
    runtime.block_on(hall.publish(manner, at_once, WARM));
    let before = hall.taken.load(Ordering::Relaxed);
    let asked = count(|| {
        runtime.block_on(hall.publish(manner, at_once, times));
        Ok(())
    })?;
    let taken = hall.taken.load(Ordering::Relaxed) - before;
    let published = times * at_once * manner.payload.len() * hall.clients.len();
    let deflates = manner.extension == Extension::Deflate;
    ensure!((taken < published) == deflates, "{taken} bytes came out of {published}");
    Ok(asked)
}

impl Hall {
    fn open(tasks: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new());
        let rules = Arc::new(ArcSwap::from_pointee(TopicRules::default()));
        let interest = Interest::new(1, rules.clone(), metrics.clone());
        let broker = MemoryBroker::new(interest.clone(), Arc::default());
        let replica = Replica::new("cost");
        let parts =
            Parts { broker, interest: interest.clone(), replica, rules, metrics: metrics.clone(), least_deflated: 1 };
        let hub = Hub::start(&parts, tasks, stop);
        Ok(Self { interest, topic: Topic::parse("all")?, taken: Arc::default(), clients: Vec::new(), hub, metrics })
    }

    /// Everybody comes in and listens.
    async fn fill(&mut self, manner: Manner) {
        let Manner { protocol, extension, clients, .. } = manner;
        let (total, metrics) = (Total::new(usize::MAX), self.metrics.clone());
        let terms =
            Arc::new(Terms { protocol: protocol(), extension, bytes: 1 << 20, messages: 10_000, total, metrics });
        for number in 0..clients {
            let outbox = Outbox::new(terms.clone(), ConnectionNumber(number), Drain(self.taken.clone()));
            let member = self.hub.seat(outbox);
            member.subscribe(vec![Wanted::fresh(self.topic.clone())], 1, Answer::default()).await;
            self.clients.push(member);
        }
        while self.metrics.subscriptions.get() < self.clients.len() as i64 {
            tokio::task::yield_now().await;
        }
    }

    /// So many passes, each of so many publications, one pass after the other.
    async fn publish(&self, manner: Manner, at_once: usize, passes: usize) {
        for _ in 0..passes {
            for _ in 0..at_once {
                let (topic, payload) = (self.topic.clone(), Bytes::from_static(manner.payload));
                self.interest.deliver(Publication::new(topic, None, payload, Instant::now()));
            }
            while self.interest.held() > 0 {
                tokio::task::yield_now().await;
            }
        }
    }
}
