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
use crate::broker::redis::publisher;
use crate::broker::redis::road::{Dial, Road, Sender, Stir, Undialled};
use crate::broker::redis::state::LinkState;
use crate::broker::redis::status::Commands;
use crate::link::address::Place;
use crate::link::backoff::Backoff;
use crate::link::cluster::redirected;
use crate::link::connect::{ANSWER, Role, Server, driven};
use crate::link::doctor::{Mode, grant};
use crate::link::endpoint::Endpoint;
use crate::link::placement::slot;

/// One link's sender of canaries.
pub(super) struct Pulse {
    pub state: Arc<LinkState>,
    pub dial: Dial,
    pub sharded: bool,
}

/// Why a canary did not leave.
#[derive(Debug, thiserror::Error)]
enum Unsent {
    /// There is no connection to send it by, which says nothing of the link.
    #[error(transparent)]
    Undialled(#[from] Undialled),
    /// Its connection ended under it; whether the next one can be dialled is seen at once.
    #[error("the canary's connection was closed: {0}")]
    Cut(redis::RedisError),
    /// It may be under way: the link must hear it.
    #[error("no answer to the canary's publish: {0}")]
    Silent(redis::RedisError),
    /// Redis answers, so it is not away; but no canary can prove the link.
    #[error("Redis refuses the canary: {0}")]
    Refused(redis::RedisError),
    /// The slot is another master's by now.
    #[error("the slot has moved")]
    Moved,
}

impl Unsent {
    /// Whether it shows that the master is gone.
    fn is_absence(&self) -> bool {
        matches!(self, Self::Silent(_)) || self.undialled().is_some_and(Undialled::is_absence)
    }

    fn undialled(&self) -> Option<&Undialled> {
        if let Self::Undialled(why) = self { Some(why) } else { None }
    }
}

/// How one canary fared.
struct Landed {
    channel: String,
    road: Road,
    outcome: Result<Role, Unsent>,
}

impl Landed {
    fn is_silent(&self) -> bool {
        matches!(self.outcome, Err(Unsent::Silent(_) | Unsent::Undialled(_) | Unsent::Cut(_)))
    }

    fn is_cut(&self) -> bool {
        matches!(self.outcome, Err(Unsent::Cut(_)))
    }

    fn is_replica(&self) -> bool {
        matches!(self.outcome, Ok(Role::Replica) | Err(Unsent::Undialled(Undialled::Replica(_))))
    }
}

impl Pulse {
    /// Sends for ever; ends only by being dropped.
    pub(super) async fn run(&self) {
        let (mut roads, mut backoff) = (HashMap::new(), Backoff::default());
        loop {
            self.ask_sentinels().await;
            let channels = self.state.canaries.lock().channels();
            let flights = channels.into_iter().map(|channel| {
                let road = roads.remove(&channel).unwrap_or_default();
                self.beat(channel, road)
            });
            let landed = join_all(flights).await;
            let met = self.met(&landed);
            let soon = landed.iter().all(Landed::is_silent) || landed.iter().any(Landed::is_cut);
            let wait = if soon { backoff.next_wait() } else { canary::EVERY };
            if met == Some(Commands::Answering) {
                backoff.reset();
            }
            met.into_iter().for_each(|met| self.state.met(met, trouble(&landed)));
            // Those of channels that are no more are dropped.
            roads = landed.into_iter().map(|one| (one.channel, one.road)).collect();
            self.rest(&mut roads, wait).await;
        }
    }

    /// With Sentinel: asks where the master is, before each canary. Where none answers, the last word holds.
    async fn ask_sentinels(&self) {
        let Some(sentinels) = self.dial.endpoint.sentinels() else { return };
        match sentinels.ask(ANSWER).await {
            Ok(place) => self.state.name_master(&place),
            Err(error) => tracing::debug!(link = %self.state.link, %error, "no word of Sentinel"),
        }
    }

    async fn beat(&self, channel: String, mut road: Road) -> Landed {
        let outcome = self.fly(&channel, &mut road).await;
        match &outcome {
            // The master has handed on: the name may lead to the new one by now.
            Ok(Role::Replica) => road.leave(),
            Err(Unsent::Moved | Unsent::Cut(_)) => {
                road.leave();
                self.state.canaries.lock().recalled(&channel);
            }
            Err(Unsent::Refused(error)) => self.refused(&channel, error),
            Ok(Role::Master) | Err(Unsent::Undialled(_) | Unsent::Silent(_)) => {}
        }
        Landed { channel, road, outcome }
    }

    /// Sends one, where there is a connection to send it by.
    async fn fly(&self, channel: &str, road: &mut Road) -> Result<Role, Unsent> {
        road.ready(&self.dial, channel, self.place(channel)).await?;
        road.kept.iter().for_each(|why| self.kept(why));
        let Some(sender) = &mut road.sender else { return Err(Undialled::Dialling.into()) };
        self.dial.renew(sender).await;
        let Sender { wire, sent, silent, .. } = sender;
        *sent += 1;
        road.number += 1;
        let number = road.number;
        // Noted first: what the link is to hear must be expected before it can come.
        self.state.canaries.lock().sent(channel, number, Instant::now());
        let mut flight = redis::pipe();
        flight.cmd("HELLO").arg(3);
        flight.cmd(if self.sharded { "SPUBLISH" } else { "PUBLISH" }).arg(channel).arg(number.to_string());
        if self.dial.endpoint.cluster().is_some() {
            flight.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("SLOTS");
        }
        let answer = driven(&mut wire.driver, wire.connection.send_packed_commands(&flight, 0, flight.len())).await;
        *silent = answer.is_err();
        let cut = |error: &redis::RedisError| error.is_io_error() && !error.is_timeout();
        let answers = answer.map_err(|error| if cut(&error) { Unsent::Cut(error) } else { Unsent::Silent(error) })?;
        self.landed(&wire.place, answers)
    }

    /// Where the master of a channel's slot is known to be.
    fn place(&self, channel: &str) -> Option<Place> {
        let named = self.state.named.lock().clone();
        named.or_else(|| self.dial.endpoint.known_master(slot(channel)))
    }

    fn landed(&self, place: &Place, answers: Vec<Value>) -> Result<Role, Unsent> {
        let mut answers = answers.into_iter();
        let hello = answers.next().unwrap_or(Value::Nil);
        let published = answers.next().unwrap_or(Value::Nil).extract_error();
        let Some(cluster) = self.dial.endpoint.cluster() else {
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

    /// What all of them together say; nothing where the next ones will.
    fn met(&self, landed: &[Landed]) -> Option<Commands> {
        if landed.iter().any(Landed::is_replica) {
            return Some(Commands::Replica);
        }
        if landed.iter().all(Landed::is_silent) {
            return self.met_nobody(landed);
        }
        let met = self.met_some(landed);
        if met == Commands::PartlyUndialled {
            self.undialled(landed);
        }
        Some(met)
    }

    /// Some masters of a cluster answer. The others are missing, or only let nobody new in.
    fn met_some(&self, landed: &[Landed]) -> Commands {
        let (mut canaries, mut met) = (self.state.canaries.lock(), Commands::Answering);
        for Landed { channel, road, outcome } in landed {
            let is_heard = match outcome {
                Ok(_) | Err(Unsent::Refused(_) | Unsent::Moved) => {
                    canaries.answered(channel);
                    continue;
                }
                Err(unsent) if unsent.is_absence() => {
                    canaries.unanswered(channel, road.number, Instant::now());
                    false
                }
                Err(_) => canaries.unsent(channel),
            };
            met = if is_heard && met != Commands::Partly { Commands::PartlyUndialled } else { Commands::Partly };
        }
        met
    }

    fn met_nobody(&self, landed: &[Landed]) -> Option<Commands> {
        if landed.iter().any(|one| matches!(one.outcome, Err(Unsent::Silent(_)))) {
            return Some(Commands::Silent);
        }
        self.undialled(landed).then_some(Commands::Undialled)
    }

    /// Whether there is nobody to send one of these by because nobody new gets in; says so.
    fn undialled(&self, landed: &[Landed]) -> bool {
        let mut unsent = landed.iter().filter_map(|one| one.outcome.as_ref().err());
        let Some(why) = unsent.find_map(Unsent::undialled) else { return false };
        // Where there is no link either, its own line says so.
        if self.state.is_connected()
            && let Some(unsaid) = self.state.repeats.due(("undialled", why.cause()))
        {
            tracing::warn!(link = %self.state.link, cause = %why, unsaid, "nobody to send the canary by; the link is asked itself");
        }
        true
    }

    /// The next connection is not to be had.
    fn kept(&self, why: &Undialled) {
        if let Some(unsaid) = self.state.repeats.due(("kept", why.cause())) {
            tracing::warn!(link = %self.state.link, cause = %why, unsaid, "Redis cannot be dialled anew; the connections that are there stay");
        }
    }

    fn refused(&self, channel: &str, error: &redis::RedisError) {
        self.state.canaries.lock().recalled(channel);
        self.state.metrics.publish_failures(publisher::refused(error).reason()).inc();
        let what = "Redis refuses our own PUBLISH, so this replica cannot prove that it hears";
        complain(&self.state, &self.dial.endpoint, self.sharded, error, what);
    }

    /// Waits for the next canaries, or until somebody wants them now.
    async fn rest(&self, roads: &mut HashMap<String, Road>, wait: Duration) {
        let stirred = {
            let mut stirs: FuturesUnordered<_> = roads.values_mut().map(Road::stir).collect();
            tokio::select! {
                Some(stir) = stirs.next() => Some(stir),
                () = self.state.fly.notified() => None,
                () = sleep(wait) => None,
            }
        };
        if let Some(Stir::Ended) = stirred {
            // A server that hangs up on every connection is not asked in a tight loop.
            sleep(Backoff::default().next_wait()).await;
        }
    }
}

/// What is wrong with the first that did not arrive, in a sentence.
fn trouble(landed: &[Landed]) -> Option<String> {
    landed.iter().find_map(|one| match &one.outcome {
        Ok(Role::Master) | Err(Unsent::Moved) => one.road.kept.as_ref().map(ToString::to_string),
        Ok(Role::Replica) => Some("its address leads to a replica".into()),
        Err(unsent) => Some(unsent.to_string()),
    })
}

/// Says what Redis refuses, and where a permission is missing the command that gives it.
pub(super) fn complain(state: &LinkState, endpoint: &Endpoint, sharded: bool, error: &redis::RedisError, what: &str) {
    let Some(unsaid) = state.repeats.due((what, error.code())) else { return };
    let mend = match error.code() {
        Some("NOPERM") => grant(endpoint, &state.keys.pattern(), Mode::of(endpoint, sharded)),
        _ => String::new(),
    };
    tracing::error!(link = %state.link, %error, mend, unsaid, "{what}");
}
