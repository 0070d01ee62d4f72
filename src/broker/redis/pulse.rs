//! Sends the canaries: by connections of their own, made the way producers make theirs, never on the link.
//! In a cluster one goes to each master, and brings back what it knows of the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::Value;
use tokio::time::sleep;

use crate::broker::redis::canary;
use crate::broker::redis::history::Histories;
use crate::broker::redis::library;
use crate::broker::redis::state::LinkState;
use crate::broker::redis::status::Commands;
use crate::link::address::Place;
use crate::link::backoff::Backoff;
use crate::link::cluster::redirected;
use crate::link::connect::{CONNECT_WAIT, Role, Server, Wire, driven};
use crate::link::doctor::{Mode, grant};
use crate::link::endpoint::Endpoint;
use crate::link::failure::ConnectError;
use crate::link::placement::slot;

/// After so many canaries Redis is looked up again, as a producer that starts now would: 30 s at most pass
/// until a name that moved is noticed. Where Sentinel is asked, it is asked before each.
const REDIAL: u32 = 15;

/// The longest that one canary may keep its sender busy.
const ANSWER: Duration = CONNECT_WAIT;

/// One link's sender of canaries.
pub(super) struct Pulse {
    pub state: Arc<LinkState>,
    pub endpoint: Endpoint,
    pub name: String,
    pub sharded: bool,
    pub histories: Arc<Histories>,
}

/// Why a canary did not leave.
#[derive(Debug, thiserror::Error)]
enum Unsent {
    #[error(transparent)]
    Unreachable(#[from] ConnectError),
    #[error("no answer to the canary's publish: {0}")]
    Silent(redis::RedisError),
    /// Redis answers, so it is not away; but no canary can prove the link.
    #[error("{0}")]
    Refused(redis::RedisError),
    /// The slot is another master's by now.
    #[error("the slot has moved")]
    Moved,
}

/// The connection of one canary, and how many it has sent.
struct Sender {
    wire: Wire,
    sent: u32,
}

/// How one canary fared.
struct Landed {
    channel: String,
    sender: Option<Sender>,
    outcome: Result<Role, Unsent>,
}

impl Landed {
    fn is_silent(&self) -> bool {
        matches!(self.outcome, Err(Unsent::Silent(_) | Unsent::Unreachable(_)))
    }
}

impl Pulse {
    /// Sends for ever; ends only by being dropped.
    pub(super) async fn run(&self) {
        let (mut senders, mut backoff) = (HashMap::new(), Backoff::default());
        // Begins anywhere, so that a process of the same name does not answer for us.
        let mut number = u64::from(fastrand::u32(..)) << 24;
        loop {
            number += 1;
            self.ask_sentinels().await;
            let channels = self.state.canaries.lock().channels();
            let flights = channels.into_iter().map(|channel| {
                let sender = senders.remove(&channel);
                self.beat(channel, sender, number)
            });
            let landed = join_all(flights).await;
            let met = self.met(&landed);
            let wait = if met == Commands::Silent { backoff.next_wait() } else { canary::EVERY };
            if met == Commands::Answering {
                backoff.reset();
            }
            self.state.met(met);
            // Those of channels that are no more are dropped.
            senders = landed.into_iter().filter_map(|one| Some((one.channel, one.sender?))).collect();
            self.rest(&mut senders, wait).await;
        }
    }

    /// With Sentinel: asks where the master is, before each canary. Where none answers, the last word holds.
    async fn ask_sentinels(&self) {
        let Some(sentinels) = self.endpoint.sentinels() else { return };
        match sentinels.master().await {
            Ok(place) => self.state.name_master(&place),
            Err(error) => tracing::debug!(link = %self.state.link, %error, "no word of Sentinel"),
        }
    }

    async fn beat(&self, channel: String, sender: Option<Sender>, number: u64) -> Landed {
        // Noted first: what the link is to hear must be expected before it can come.
        self.state.canaries.lock().sent(&channel, number, Instant::now());
        let mut kept = None;
        let outcome = self.fly(&channel, sender, number, &mut kept).await;
        match &outcome {
            // Whoever was a master may have handed on: the name may lead to the new one by now.
            Ok(Role::Replica) | Err(Unsent::Silent(_) | Unsent::Unreachable(_)) => kept = None,
            Err(Unsent::Moved) => {
                kept = None;
                self.state.canaries.lock().recalled(&channel);
            }
            Err(Unsent::Refused(error)) => self.refused(&channel, error),
            Ok(Role::Master) => {}
        }
        Landed { channel, sender: kept, outcome }
    }

    /// Sends one, by `sender` where that leads to the master still.
    async fn fly(
        &self,
        channel: &str,
        sender: Option<Sender>,
        number: u64,
        kept: &mut Option<Sender>,
    ) -> Result<Role, Unsent> {
        let place = self.master(channel).await?;
        let current = match sender.filter(|sender| sender.sent < REDIAL && sender.wire.place == place) {
            Some(current) => current,
            None => Sender { wire: self.dial(&place).await?, sent: 0 },
        };
        let Sender { wire, sent } = kept.insert(current);
        *sent += 1;
        let mut flight = redis::pipe();
        flight.cmd("HELLO").arg(3);
        flight.cmd(if self.sharded { "SPUBLISH" } else { "PUBLISH" }).arg(channel).arg(number.to_string());
        if self.endpoint.cluster().is_some() {
            flight.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("SLOTS");
        }
        let answer = driven(&mut wire.driver, wire.connection.send_packed_commands(&flight, 0, flight.len())).await;
        self.landed(&place, answer.map_err(Unsent::Silent)?)
    }

    /// Meets a master: at first, after a loss, and every [`REDIAL`] canaries. Every master of this Redis is met
    /// here, so what each of them needs of us is brought to it here.
    async fn dial(&self, place: &Place) -> Result<Wire, ConnectError> {
        let mut wire = self.endpoint.connect(place, &self.name, ANSWER, |_| ()).await?;
        library::bring(&mut wire, &self.histories).await;
        Ok(wire)
    }

    async fn master(&self, channel: &str) -> Result<Place, ConnectError> {
        let named = self.state.named.lock().clone();
        match named {
            Some(place) => Ok(place),
            None => self.endpoint.master(slot(channel)).await,
        }
    }

    fn landed(&self, place: &Place, answers: Vec<Value>) -> Result<Role, Unsent> {
        let mut answers = answers.into_iter();
        let hello = answers.next().unwrap_or(Value::Nil);
        let published = answers.next().unwrap_or(Value::Nil).extract_error();
        let Some(cluster) = self.endpoint.cluster() else {
            return published.map(|_| Server::of(&hello).role).map_err(Unsent::Refused);
        };
        cluster.learn(place, answers.collect());
        match published {
            // The map decides who is master of what: a node that was one and is not, it no longer names.
            Ok(_) => Ok(Role::Master),
            Err(error) => match redirected(&error, place) {
                Some((slot, to)) => {
                    cluster.moved(slot, &to);
                    Err(Unsent::Moved)
                }
                None if error.is_cluster_error() => Err(Unsent::Moved),
                None => Err(Unsent::Refused(error)),
            },
        }
    }

    /// What all of them together say.
    fn met(&self, landed: &[Landed]) -> Commands {
        let silent: Vec<&Landed> = landed.iter().filter(|one| one.is_silent()).collect();
        if let Some(Err(unsent)) = silent.first().map(|one| &one.outcome) {
            tracing::debug!(link = %self.state.link, %unsent, "canary not sent");
        }
        if !silent.is_empty() && silent.len() == landed.len() {
            return Commands::Silent;
        }
        let mut canaries = self.state.canaries.lock();
        for one in landed {
            match one.is_silent() {
                true => canaries.unanswered(&one.channel),
                false => canaries.answered(&one.channel),
            }
        }
        if !silent.is_empty() {
            return Commands::Partly;
        }
        match landed.iter().any(|one| matches!(one.outcome, Ok(Role::Replica))) {
            true => Commands::Replica,
            false => Commands::Answering,
        }
    }

    fn refused(&self, channel: &str, error: &redis::RedisError) {
        self.state.canaries.lock().recalled(channel);
        let what = "Redis refuses our own PUBLISH, so this replica cannot prove that it hears";
        complain(&self.state, &self.endpoint, self.sharded, error, what);
    }

    /// Waits for the next canaries, or until somebody wants them now. The drivers run on, so that a
    /// connection that Redis closes is known to be closed before it is used again.
    async fn rest(&self, senders: &mut HashMap<String, Sender>, wait: Duration) {
        let ended = {
            let drivers = senders.iter_mut().map(|(channel, sender)| async {
                (&mut sender.wire.driver).await;
                channel.clone()
            });
            let mut closed: FuturesUnordered<_> = drivers.collect();
            tokio::select! {
                Some(channel) = closed.next() => Some(channel),
                () = self.state.fly.notified() => None,
                () = sleep(wait) => None,
            }
        };
        if let Some(channel) = ended {
            senders.remove(&channel);
            // A server that hangs up on every connection is not asked in a tight loop.
            sleep(Backoff::default().next_wait()).await;
        }
    }
}

/// Says what Redis refuses, and where a permission is missing the command that gives it.
pub(super) fn complain(state: &LinkState, endpoint: &Endpoint, sharded: bool, error: &redis::RedisError, what: &str) {
    let mend = match error.code() {
        Some("NOPERM") => grant(endpoint.user(), &state.keys.pattern(), Mode::of(endpoint, sharded)),
        _ => String::new(),
    };
    tracing::error!(link = %state.link, %error, mend, "{what}");
}
