//! The road over Redis pub/sub: links that carry subscriptions, each with one task that keeps it alive, and
//! lanes that publish.
//!
//! In reading order: what a link should carry ([`desired`]), how it is doing ([`status`], [`canary`],
//! [`canaries`]), what its task and the hub share (`state`), what comes in (`pushes`), who keeps it alive
//! (`supervisor`, with `voyage` over `wires`), how another master takes over (`succession`) and the one before is heard on
//! (`former`, `ebbing`, what it holds in `late`), who proves it (`pulse`, by a `road` for each canary), and how commands
//! leave (`publisher` over `lanes`).

pub mod canaries;
pub mod canary;
pub mod desired;
mod ebbing;
mod entry;
mod failures;
mod former;
mod history;
mod lanes;
mod late;
mod library;
mod publisher;
mod pulse;
mod pushes;
mod road;
pub mod script;
mod state;
pub mod status;
mod succession;
mod supervisor;
mod voyage;
mod wires;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::history::is_known;
use crate::broker::{Broker, Deliver, Health, HistoryError, Liveness, Page, PublishError, Read, Receipt};
use crate::identity::Replica;
use crate::link::address::Address;
use crate::link::endpoint::{BadEndpoint, Endpoint};
use crate::link::failure::Watch;
use crate::link::keys::{Keys, client_name};
use crate::link::placement::{Link, Placement};
use crate::metrics::Metrics;
use crate::position::Position;
use crate::publication::Header;
use crate::settings::{self, TopicRules};
use crate::topic::{BadTopic, Topic};

use failures::Failures;
use history::Histories;
use lanes::{Dial, Lanes};
use publisher::{Failure, Publisher};
use pulse::Pulse;
use state::{LinkState, Parts};
use status::Commands;
use supervisor::Supervisor;

/// The broker over Redis.
pub struct RedisBroker {
    keys: Keys,
    placement: Placement,
    links: Vec<Arc<LinkState>>,
    publisher: Publisher,
    histories: Arc<Histories>,
    failures: Failures,
}

/// Why there can be no broker over Redis, whatever Redis does.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `redis.url` is wrong, or a file for TLS.
    #[error(transparent)]
    Endpoint(#[from] BadEndpoint),
    /// The replica's name makes no topic.
    #[error("replica.name cannot stand in a topic: {0}")]
    Name(#[from] BadTopic),
    /// The pool does not take our settings.
    #[error("no connections for publishing: {0}")]
    Pool(#[from] deadpool::managed::BuildError),
}

/// Where a topic lives; what `fanline which` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// Its channel in Redis.
    pub channel: String,
    /// The function in Redis by which producers publish there with a history.
    pub function: String,
    /// The Redis of `redis.url` that it lives on: its address without user and password.
    pub address: String,
    /// The link that carries it.
    pub link: Link,
}

/// Where a topic lives under these settings.
#[must_use]
pub fn home(settings: &settings::Redis, topic: &Topic) -> Home {
    let keys = Keys::new(&settings.prefix);
    let (channel, function) = (keys.channel(topic), keys.function());
    let addresses = Address::parse_all(settings.url.reveal()).unwrap_or_default();
    let placement = Placement::new(addresses.len(), settings.links);
    let address = addresses.get(placement.home(&channel)).map(ToString::to_string).unwrap_or_default();
    Home { link: placement.of(&channel), address, channel, function }
}

impl RedisBroker {
    /// Starts a task per link on `tasks`, which ends when `stop` is cancelled, and returns at once: whether
    /// Redis is there is their business, for ever.
    ///
    /// # Errors
    /// Only what no waiting mends: a bad URL, a bad replica name.
    #[expect(clippy::needless_pass_by_value, reason = "handles that its links share; the caller gives them away")]
    pub fn start(
        settings: &settings::Redis,
        rules: Arc<ArcSwap<TopicRules>>,
        replica: &Replica,
        deliver: Arc<dyn Deliver>,
        metrics: Metrics,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, StartError> {
        let (endpoints, keys) =
            (Endpoint::watched(settings, &Watch::on(Arc::new(metrics.clone())))?, Keys::new(&settings.prefix));
        let placement = Placement::new(endpoints.len(), settings.links);
        let dials: Vec<Dial> = endpoints
            .into_iter()
            .map(|endpoint| {
                let (name, renewed) = (client_name(replica, "publish"), Arc::new(Lanes::default()));
                Dial { endpoint, name, renewed, tasks: tasks.clone(), stop: stop.clone() }
            })
            .collect();
        let publish = if settings.sharded { "SPUBLISH" } else { "PUBLISH" };
        let histories = Arc::new(Histories::new(keys.clone(), rules, publish));
        metrics.limit("redis_links", placement.links().count());
        let mut links = Vec::new();
        for (link, home) in placement.links() {
            links.push(Arc::new(LinkState::new(Parts {
                link,
                keys: keys.clone(),
                canary: keys.canary(replica, link)?,
                linger: settings.linger,
                lanes: dials[home].renewed.clone(),
                deliver: deliver.clone(),
                metrics: metrics.clone(),
            })));
        }
        for (state, (_, home)) in links.iter().zip(placement.links()) {
            let (endpoint, sharded) = (dials[home].endpoint.clone(), settings.sharded);
            let name = |purpose: String| client_name(replica, &purpose);
            let (number, state, stop) = (state.link.number(), state.clone(), stop.clone());
            let (canary, histories) = (name(format!("canary.{number}")), histories.clone());
            let dial = road::Dial { endpoint: endpoint.clone(), name: canary, histories };
            let pulse = Pulse { state: state.clone(), dial, sharded };
            let (name, turn) = (name(number.to_string()), AtomicUsize::new(0));
            let supervisor = Supervisor { state, endpoint, name, sharded, turn };
            tasks.spawn(async move {
                // The pulse comes first: a flood on the link must not keep the canary from flying.
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = pulse.run() => {}
                    () = supervisor.run() => {}
                }
                supervisor.stop();
            });
        }
        let publisher = Publisher::new(placement, dials, settings.sharded)?;
        Ok(Arc::new(Self { keys, placement, links, publisher, histories, failures: Failures::new(metrics) }))
    }

    /// Where a topic lives.
    #[must_use]
    pub fn placement(&self, topic: &Topic) -> Link {
        self.placement.of(&self.keys.channel(topic))
    }

    /// How long ago the slowest supervisor ran; it does so every 500 ms at least.
    #[must_use]
    pub fn since_tick(&self) -> Duration {
        self.links.iter().map(|link| link.since_tick()).max().unwrap_or_default()
    }

    /// Messages that came on channels nobody here ever asked for.
    #[must_use]
    pub fn strangers(&self) -> u64 {
        self.links.iter().map(|link| link.strangers.load(Ordering::Relaxed)).sum()
    }

    fn link(&self, channel: &str) -> &LinkState {
        &self.links[self.placement.of(channel).number()]
    }

    async fn send(&self, topic: &Topic, header: &Header, payload: &[u8]) -> Result<Receipt, PublishError> {
        let channel = self.keys.channel(topic);
        self.open(&channel)?;
        if self.histories.concerns(topic, header) {
            return self.histories.publish(&self.publisher, topic, header, payload).await;
        }
        let message = header.join(payload)?;
        self.publisher.publish(&channel, &message).await
    }

    /// Sends a command to where a topic lives and waits for its answer, as publishing does: at most
    /// [`PUBLISH_WAIT`](crate::broker::PUBLISH_WAIT), in order with the topic's other commands, and in a cluster
    /// to whoever owns the slot by now. Its keys lie in the slot of the topic's channel.
    ///
    /// # Errors
    /// Nobody answers, or Redis refuses.
    pub async fn ask(&self, topic: &Topic, command: &redis::Cmd) -> Result<redis::Value, PublishError> {
        let channel = self.keys.channel(topic);
        self.open(&channel)?;
        Ok(self.publisher.ask(&channel, command).await?)
    }

    /// Whether commands of a channel's topic are worth sending: not while it is known that none is answered.
    /// Whoever calls [`Publisher::ask`] asks this first.
    fn open(&self, channel: &str) -> Result<(), Failure> {
        let condition = self.link(channel).condition.lock();
        match condition.met() {
            Commands::Silent => {
                let why = condition.unanswered().unwrap_or("it does not answer");
                Err(Failure::Unsent(why.into()))
            }
            Commands::Replica => Err(Failure::Unsent("its address leads to a replica".into())),
            // Those who have a connection go on; the lanes know why the others get none.
            Commands::Unknown
            | Commands::Answering
            | Commands::Undialled
            | Commands::Partly
            | Commands::PartlyUndialled => Ok(()),
        }
    }
}

impl Broker for RedisBroker {
    fn subscribe(&self, topic: &Topic) -> Liveness {
        self.link(&self.keys.channel(topic)).subscribe(topic)
    }

    fn unsubscribe(&self, topic: &Topic) {
        self.link(&self.keys.channel(topic)).unsubscribe(topic);
    }

    /// What is too much is taken from the links in turn.
    fn linger_at_most(&self, most: usize) {
        self.links.iter().fold(most, |room, link| room - link.linger_at_most(room));
    }

    fn publish<'a>(
        &'a self,
        topic: &'a Topic,
        header: &'a Header,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<Receipt, PublishError>> {
        async move {
            let sent = self.send(topic, header, &payload).await;
            sent.inspect_err(|error| self.failures.note(topic, error))
        }
        .boxed()
    }

    /// The function that producers call is brought to every Redis at once.
    fn rules_changed(&self) {
        self.links.iter().for_each(|link| link.fly.notify_one());
    }

    fn positions<'a>(&'a self, topics: &'a [Topic]) -> BoxFuture<'a, Vec<Result<Position, HistoryError>>> {
        self.histories.positions(&self.publisher, topics).boxed()
    }

    fn has_history<'a>(&'a self, topic: &'a Topic) -> BoxFuture<'a, Result<bool, PublishError>> {
        async move {
            let found = match self.open(&self.keys.channel(topic)) {
                Ok(()) => self.histories.positions(&self.publisher, std::slice::from_ref(topic)).await.pop(),
                Err(failure) => Some(Err(failure.into())),
            };
            is_known(found).inspect_err(|error| self.failures.note(topic, error))
        }
        .boxed()
    }

    fn read<'a>(&'a self, topic: &'a Topic, read: Read) -> BoxFuture<'a, Result<Page, HistoryError>> {
        async move {
            self.open(&self.keys.channel(topic))?;
            self.histories.read(&self.publisher, topic, read).await
        }
        .boxed()
    }

    /// Whether any link is: topics of the others wait in vain, but no longer than a handshake waits at most.
    fn is_up(&self) -> bool {
        self.links.iter().any(|link| link.is_up())
    }

    fn last_tick(&self) -> u64 {
        let ago = u64::try_from(self.since_tick().as_millis()).unwrap_or(u64::MAX);
        crate::clock::now_ms().saturating_sub(ago)
    }

    fn health(&self) -> Health {
        status::worst(self.links.iter().map(|link| link.health()))
    }

    fn trouble(&self) -> Option<String> {
        self.links.iter().find_map(|link| link.condition.lock().trouble().map(str::to_owned))
    }
}
