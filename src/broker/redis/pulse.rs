//! Sends the canaries: by a connection of its own, made the way producers make theirs, never on the link.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::Value;
use tokio::time::sleep;

use crate::broker::redis::canary;
use crate::broker::redis::state::LinkState;
use crate::broker::redis::status::Commands;
use crate::link::backoff::Backoff;
use crate::link::connect::{CONNECT_WAIT, ConnectError, Endpoint, Role, Server, Wire, driven};
use crate::link::doctor::grant;

/// After so many canaries Redis is looked up again, as a producer that starts now would: 30 s at most pass
/// until a name that moved is noticed.
const REDIAL: u32 = 15;

/// The longest that one canary may keep its sender busy.
const ANSWER: Duration = CONNECT_WAIT;

/// One link's sender of canaries.
pub(super) struct Pulse {
    pub state: Arc<LinkState>,
    pub endpoint: Endpoint,
    pub name: String,
}

/// Why a canary did not leave.
#[derive(Debug, thiserror::Error)]
enum Unsent {
    #[error(transparent)]
    Unreachable(#[from] ConnectError),
    #[error("no answer to the canary's publish: {0}")]
    Silent(redis::RedisError),
    #[error("{0}")]
    Refused(redis::RedisError),
}

/// The connection, and how many canaries it has sent.
struct Sender {
    wire: Wire,
    sent: u32,
}

impl Pulse {
    /// Sends for ever; ends only by being dropped.
    pub(super) async fn run(&self) {
        let (mut sender, mut backoff) = (None, Backoff::default());
        // Begins anywhere, so that a process of the same name does not answer for us.
        let mut number = u64::from(fastrand::u32(..)) << 24;
        loop {
            number += 1;
            let wait = match self.beat(&mut sender, number).await {
                Ok(role) => {
                    backoff.reset();
                    self.state.met(if role == Role::Master { Commands::Answering } else { Commands::Replica });
                    if role == Role::Replica {
                        // Whoever was a master may have handed on: the name may lead to the new one by now.
                        sender = None;
                    }
                    canary::EVERY
                }
                Err(Unsent::Refused(error)) => {
                    self.refused(&error);
                    canary::EVERY
                }
                Err(unsent) => {
                    tracing::debug!(link = %self.state.link, %unsent, "canary not sent");
                    sender = None;
                    self.state.met(Commands::Silent);
                    backoff.next_wait()
                }
            };
            self.rest(&mut sender, wait).await;
        }
    }

    async fn beat(&self, sender: &mut Option<Sender>, number: u64) -> Result<Role, Unsent> {
        // Noted first: what the link is to hear must be expected before it can come.
        self.state.canary.lock().sent(number, Instant::now());
        let current = match sender.take().filter(|sender| sender.sent < REDIAL) {
            Some(current) => current,
            None => Sender { wire: self.endpoint.connect(&self.name, ANSWER, |_| ()).await?, sent: 0 },
        };
        let Sender { wire, sent } = sender.insert(current);
        *sent += 1;
        let mut flight = redis::pipe();
        flight.cmd("HELLO").arg(3).cmd("PUBLISH").arg(&self.state.canary_channel).arg(number.to_string());
        let answer = driven(&mut wire.driver, flight.query_async::<(Value, i64)>(&mut wire.connection)).await;
        match answer {
            Ok((hello, _)) => Ok(Server::of(&hello).role),
            Err(error) if error.is_io_error() => Err(Unsent::Silent(error)),
            Err(error) => Err(Unsent::Refused(error)),
        }
    }

    /// Redis answers, so it is not away; but no canary can prove the link.
    fn refused(&self, error: &redis::RedisError) {
        self.state.canary.lock().recalled();
        self.state.met(Commands::Answering);
        let what = "Redis refuses our own PUBLISH, so this replica cannot prove that it hears";
        complain(&self.state, &self.endpoint, error, what);
    }

    /// Waits for the next canary, or until somebody wants one now. The driver runs on, so that a
    /// connection that Redis closes is known to be closed before it is used again.
    async fn rest(&self, sender: &mut Option<Sender>, wait: Duration) {
        let closed = async {
            match sender {
                Some(sender) => (&mut sender.wire.driver).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            () = closed => true,
            () = self.state.fly.notified() => false,
            () = sleep(wait) => false,
        };
        if ended {
            *sender = None;
            // A server that hangs up on every connection is not asked in a tight loop.
            sleep(Backoff::default().next_wait()).await;
        }
    }
}

/// Says what Redis refuses, and where a permission is missing the command that gives it.
pub(super) fn complain(state: &LinkState, endpoint: &Endpoint, error: &redis::RedisError, what: &str) {
    let mend = match error.code() {
        Some("NOPERM") => grant(endpoint.user(), &state.keys.pattern()),
        _ => String::new(),
    };
    tracing::error!(link = %state.link, %error, mend, "{what}");
}
