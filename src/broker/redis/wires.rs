//! The connections that make one link: one, or with SSUBSCRIBE one to each master of a cluster.
//!
//! Their pushes go to the same closure, and one task polls all their drivers, so per topic the calls keep their
//! order as with one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, RedisResult, Value};
use tokio::time::timeout;

use crate::link::address::Place;
use crate::link::cluster::{Cluster, SlotMap, redirected};
use crate::link::connect::{Role, Wire};
use crate::link::placement::slot;

/// All connections of a link. Dropping it closes them.
pub(super) struct Wires {
    routing: Routing,
    all: Vec<One>,
    drivers: FuturesUnordered<BoxFuture<'static, ()>>,
}

/// Which connection carries a channel.
pub(super) enum Routing {
    /// The only one.
    Only,
    /// That to the master of its slot.
    Sharded(Arc<Cluster>),
}

struct One {
    place: Place,
    connection: MultiplexedConnection,
}

/// What is said about channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Subscribe,
    Unsubscribe,
}

impl Wires {
    pub(super) fn new(routing: Routing, wires: Vec<Wire>) -> Self {
        let mut all = Self { routing, all: Vec::new(), drivers: FuturesUnordered::new() };
        wires.into_iter().for_each(|wire| all.add(wire));
        all
    }

    pub(super) fn add(&mut self, wire: Wire) {
        let Wire { place, connection, driver, .. } = wire;
        self.all.push(One { place, connection });
        self.drivers.push(driver);
    }

    /// Resolves when one of them has ended.
    pub(super) async fn ended(&mut self) {
        self.drivers.next().await;
    }

    pub(super) fn is_sharded(&self) -> bool {
        matches!(self.routing, Routing::Sharded(_))
    }

    /// Where the first of them leads.
    pub(super) fn place(&self) -> Option<&Place> {
        self.all.first().map(|one| &one.place)
    }

    pub(super) fn leads_to(&self, place: &Place) -> bool {
        self.all.iter().any(|one| one.place == *place)
    }

    /// Whether all of them lead to masters of the map.
    pub(super) fn all_lead_to(&self, map: &SlotMap) -> bool {
        self.all.iter().all(|one| map.masters().any(|master| *master == one.place))
    }

    /// Divides things by the connection that carries their channel; those that none carries come last.
    pub(super) fn divide<T>(&self, things: Vec<T>, channel: impl Fn(&T) -> String) -> Vec<(Option<usize>, Vec<T>)> {
        let Routing::Sharded(cluster) = &self.routing else { return vec![(Some(0), things)] };
        let map = cluster.map();
        let mut shares: Vec<(Option<usize>, Vec<T>)> = (0..self.all.len()).map(|at| (Some(at), Vec::new())).collect();
        shares.push((None, Vec::new()));
        for thing in things {
            let owner = map.owner(slot(&channel(&thing)));
            let at = owner.and_then(|owner| self.all.iter().position(|one| one.place == *owner));
            shares[at.unwrap_or(self.all.len())].1.push(thing);
        }
        shares
    }

    /// Whether some connection carries the channel.
    pub(super) fn carries(&self, channel: &str) -> bool {
        match &self.routing {
            Routing::Only => true,
            Routing::Sharded(cluster) => cluster.map().owner(slot(channel)).is_some_and(|owner| self.leads_to(owner)),
        }
    }

    /// Asks every connection for a sign of life: what role each server says it has; none where one does not answer in
    /// time.
    pub(super) fn ask(&self, within: Duration) -> BoxFuture<'static, Option<Vec<Role>>> {
        let each = self.all.iter().map(|one| {
            let mut connection = one.connection.clone();
            async move { timeout(within, Role::ask(&mut connection)).await.ok()?.ok() }
        });
        join_all(each).map(|roles| roles.into_iter().collect()).boxed()
    }

    /// Says something about channels of one connection's share, and waits for the answer.
    pub(super) fn say(
        &self,
        verb: Verb,
        share: Option<usize>,
        channels: Vec<String>,
    ) -> BoxFuture<'static, RedisResult<()>> {
        let Some(One { place, connection }) = share.and_then(|at| self.all.get(at)) else {
            let error = RedisError::from((ErrorKind::ClusterConnectionNotFound, "no connection to the slot's master"));
            return futures_util::future::ready(Err(error)).boxed();
        };
        let (mut connection, place) = (connection.clone(), place.clone());
        match &self.routing {
            Routing::Only => async move {
                match verb {
                    Verb::Subscribe => connection.subscribe(channels).await,
                    Verb::Unsubscribe => connection.unsubscribe(channels).await,
                }
            }
            .boxed(),
            Routing::Sharded(cluster) => {
                let cluster = cluster.clone();
                async move { sharded(&cluster, &place, connection, verb, &channels).await }.boxed()
            }
        }
    }
}

/// One command a channel: one command may name one slot only. What has moved is noted.
async fn sharded(
    cluster: &Cluster,
    place: &Place,
    mut connection: MultiplexedConnection,
    verb: Verb,
    channels: &[String],
) -> RedisResult<()> {
    let mut all = redis::Pipeline::with_capacity(channels.len());
    for channel in channels {
        all.cmd(if verb == Verb::Subscribe { "SSUBSCRIBE" } else { "SUNSUBSCRIBE" }).arg(channel);
    }
    let answers = connection.send_packed_commands(&all, 0, all.len()).await?;
    let (mut refused, mut elsewhere) = (None, None);
    for error in answers.into_iter().map(Value::extract_error).filter_map(Result::err) {
        match redirected(&error, place) {
            Some((slot, to)) => {
                cluster.moved(slot, &to);
                elsewhere = Some(error);
            }
            None if error.is_cluster_error() => elsewhere = Some(error),
            None => refused = Some(error),
        }
    }
    refused.or(elsewhere).map_or(Ok(()), Err)
}

/// Whether an answer says only that the channel is carried elsewhere, or will be soon.
pub(super) fn is_elsewhere(error: &RedisError) -> bool {
    error.is_cluster_error() || error.kind() == ErrorKind::ClusterConnectionNotFound
}
