//! The broker of a replica that is alone: a publication goes straight to the hub. Never lingers, never away.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;

use crate::broker::{Broker, Deliver, Health, Liveness, PublishError, Receipt};
use crate::publication::{Deflated, Header, Publication};
use crate::topic::Topic;

/// How many publishers to different topics need not wait for each other, about.
const LANES: usize = 64;

/// The in-process broker.
pub struct MemoryBroker {
    deliver: Arc<dyn Deliver>,
    /// Guards one set operation each time; taken with the hub's topic locked, so nothing is called under it.
    wanted: Mutex<HashSet<Topic>>,
    /// One is held while a publication is delivered, so that two publishers to one topic keep one order.
    /// Only publishers take them, and before the hub's locks: `subscribe` never waits for a publisher.
    lanes: [Mutex<()>; LANES],
    hasher: RandomState,
}

impl MemoryBroker {
    /// Delivers to `deliver`.
    #[must_use]
    pub fn new(deliver: Arc<dyn Deliver>) -> Arc<Self> {
        let lanes = std::array::from_fn(|_| Mutex::new(()));
        Arc::new(Self { deliver, wanted: Mutex::default(), lanes, hasher: RandomState::new() })
    }

    fn lane(&self, topic: &Topic) -> &Mutex<()> {
        let hash = self.hasher.hash_one(topic);
        &self.lanes[(hash % LANES as u64) as usize]
    }

    fn deliver(&self, topic: &Topic, header: &Header, payload: Bytes) -> Receipt {
        let _turn = self.lane(topic).lock();
        if !self.wanted.lock().contains(topic) {
            return Receipt { replicas: 0 };
        }
        let header = Some(Box::new(header.clone()));
        let (topic, received, deflated) = (topic.clone(), Instant::now(), Deflated::default());
        self.deliver.deliver(Publication { topic, header, payload, received, deflated });
        Receipt { replicas: 1 }
    }
}

impl Broker for MemoryBroker {
    fn subscribe(&self, topic: &Topic) -> Liveness {
        self.wanted.lock().insert(topic.clone());
        Liveness::Live
    }

    fn unsubscribe(&self, topic: &Topic) {
        self.wanted.lock().remove(topic);
    }

    fn publish<'a>(
        &'a self,
        topic: &'a Topic,
        header: &'a Header,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<Receipt, PublishError>> {
        async move {
            // What cannot travel between replicas does not travel on one either.
            header.check()?;
            Ok(self.deliver(topic, header, payload))
        }
        .boxed()
    }

    fn health(&self) -> Health {
        Health::Open
    }
}
