//! Who publishes: some straight at the master, as any program would, and some by the replicas' HTTP API.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError, Value};
use serde_json::json;
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::client::Doors;
use crate::http;
use crate::ledger::{Keeps, Ledger, Position, Receipt, Topic, Way, payload};

/// A publish at the master that takes longer is in doubt.
const PATIENCE: Duration = Duration::from_secs(2);

/// What all producers share.
pub struct Market {
    pub ledger: Arc<Ledger>,
    /// Where the master listens, reached past every fault of the network.
    pub master: AtomicU16,
    /// Where replicas take publications.
    pub desks: Doors,
    /// Held by every publish; whoever holds it alone has silence.
    pub gate: RwLock<()>,
    /// The longest that a replica took to answer, in ms.
    pub slowest: AtomicU64,
}

/// One producer: what it publishes is in order per topic.
pub struct Producer {
    market: Arc<Market>,
    bus: Option<MultiplexedConnection>,
    turn: usize,
}

impl Market {
    /// Publishes on all topics in turn, each producer one publication every `pace`; ends with the set.
    pub fn open(self: &Arc<Self>, pace: Duration, filler: usize) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let of = |way: Way| {
            let topics = self.ledger.topics.iter().enumerate().filter(|(_, topic)| topic.way == way);
            topics.map(|(place, _)| place).collect::<Vec<_>>()
        };
        // Two of each kind, so that one that waits does not silence all; where nobody publishes straight at a master,
        // one for each topic, so that a master that is gone silences its own topics alone.
        let bus = !of(Way::Bus).is_empty();
        let pace = if bus { pace } else { pace * 3 };
        for way in [Way::Bus, Way::Api] {
            let topics = of(way);
            let each = if bus { topics.len().div_ceil(2).max(1) } else { 1 };
            for some in topics.chunks(each) {
                tasks.spawn(Producer::new(self).run(some.to_vec(), pace, if way == Way::Api { filler } else { 0 }));
            }
        }
        tasks
    }
}

impl Producer {
    pub fn new(market: &Arc<Market>) -> Self {
        Self { market: market.clone(), bus: None, turn: 0 }
    }

    async fn run(mut self, topics: Vec<usize>, pace: Duration, filler: usize) {
        let market = self.market.clone();
        let mut ticks = interval(pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for topic in topics.iter().cycle() {
            ticks.tick().await;
            let _open = market.gate.read().await;
            // What fails stays a maybe in the ledger.
            let _ = self.publish(*topic, filler).await;
        }
    }

    /// Publishes once; the number, where it was acknowledged.
    pub async fn publish(&mut self, topic: usize, filler: usize) -> Option<(u64, Receipt)> {
        let ledger = self.market.ledger.clone();
        let about = &ledger.topics[topic];
        let number = ledger.sending(topic);
        let payload = payload(number, filler);
        let receipt = match about.way {
            Way::Bus => self.by_bus(about, &payload).await,
            Way::Api => self.by_api(about, &payload).await,
        }?;
        ledger.acknowledged(topic, number, receipt);
        Some((number, receipt))
    }

    async fn by_bus(&mut self, topic: &Topic, payload: &str) -> Option<Receipt> {
        let answer = timeout(PATIENCE, self.command(topic, payload)).await;
        match answer {
            Ok(Ok(answer)) => Some(receipt(&answer)),
            // Redis refused: the connection is as good as before.
            Ok(Err(error)) if !error.is_io_error() => None,
            _ => {
                self.bus = None;
                None
            }
        }
    }

    async fn command(&mut self, topic: &Topic, payload: &str) -> Result<Value, RedisError> {
        let connection = match &mut self.bus {
            Some(connection) => connection,
            empty => empty.insert(dial(self.market.master.load(Ordering::Relaxed)).await?),
        };
        let mut command = match topic.keeps {
            Keeps::Nothing => redis::cmd("PUBLISH"),
            Keeps::History => {
                let mut call = redis::cmd("FCALL");
                call.arg("fanline_publish").arg(1);
                call
            }
        };
        command.arg(topic.channel()).arg(payload).query_async(connection).await
    }

    async fn by_api(&mut self, topic: &Topic, payload: &str) -> Option<Receipt> {
        let desk = {
            let desks = self.market.desks.read();
            self.turn += 1;
            desks[self.turn % desks.len()]
        };
        let began = Instant::now();
        let answer = http::post(desk, "/api/publish", &json!({ "topic": topic.name, "text": payload })).await;
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.market.slowest.fetch_max(took, Ordering::Relaxed);
        let (200, body) = answer.ok()? else { return None };
        let answer: serde_json::Value = serde_json::from_str(&body).ok()?;
        Some(Receipt::of(&answer["topics"][&topic.name]))
    }
}

async fn dial(port: u16) -> Result<MultiplexedConnection, RedisError> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}"))?;
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// PUBLISH answers how many listened; the script a list, in which the position is the one text of its form.
fn receipt(answer: &Value) -> Receipt {
    let mut receipt = Receipt::default();
    let items = if let Value::Array(items) = answer { items.as_slice() } else { std::slice::from_ref(answer) };
    for item in items {
        match item {
            // Behind it stands whether it was published before.
            Value::Int(replicas) => receipt.replicas = receipt.replicas.or(u64::try_from(*replicas).ok()),
            Value::BulkString(text) => {
                receipt.position = std::str::from_utf8(text).ok().and_then(Position::parse).or(receipt.position);
            }
            Value::SimpleString(text) => receipt.position = Position::parse(text).or(receipt.position),
            _ => {}
        }
    }
    receipt
}
