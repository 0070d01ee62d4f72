//! Commands of topics, publications above all: a few long-lived connections to each master, each pipelining its
//! share of the topics. Everything that a topic asks of Redis goes through [`Publisher::ask`], which alone knows
//! which Redis, which of its masters and which connection that is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::BuildError;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::time::{Instant, sleep, timeout_at};

use crate::broker::redis::lanes::{Dial, Master};
use crate::broker::{PUBLISH_WAIT, PublishError, Receipt, Refused};
use crate::link::address::Place;
use crate::link::cluster::{Cluster, redirected};
use crate::link::placement::{self, Placement};

/// How often a command follows a slot that moves, or waits for one that nobody owns just now.
const REDIRECTS: u32 = 16;

/// Why there is no connection, where nobody said.
const LATE: &str = "no connection within 1 s";

/// How long it waits before it asks again whose the slot is.
const AGAIN: Duration = Duration::from_millis(100);

/// Sends commands to wherever their topics live.
pub(super) struct Publisher {
    placement: Placement,
    homes: Vec<Home>,
    sharded: bool,
}

/// One Redis: its master, or its cluster's.
struct Home {
    dial: Dial,
    /// By address; without one where there is one master at a time. Never locked across an await.
    masters: Mutex<HashMap<Option<Place>, Arc<Master>>>,
}

/// Why a command came to nothing.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// Nobody could be asked.
    Unsent(String),
    /// There was no answer to what was sent.
    Unanswered(String),
    /// Redis answered, and refused; its code tells why.
    Refused(RedisError),
}

impl From<Failure> for PublishError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unsent(why) => Self::Away(format!("{why}; nothing was published")),
            Failure::Unanswered(why) => Self::Away(format!("{why}; the message may have been published")),
            Failure::Refused(error) => Self::Refused(refused(&error)),
        }
    }
}

/// What Redis said in place of carrying a command out.
pub(super) fn refused(error: &RedisError) -> Refused {
    Refused::new(error.code().unwrap_or_default(), error.to_string())
}

/// What Redis said cannot be read.
pub(super) fn unread(error: &redis::ParsingError) -> PublishError {
    PublishError::Refused(Refused::new("", error.to_string()))
}

/// One try: an answer, or nobody to ask, or nobody who answered.
enum Try {
    Answered(Place, RedisResult<Value>),
    /// Nobody was asked; without a word where only the time was up.
    Unsent(Option<String>),
    Failed(Failure),
}

impl Publisher {
    /// Dials nobody yet. One `dial` for each Redis of `redis.url`.
    pub(super) fn new(placement: Placement, dials: Vec<Dial>, sharded: bool) -> Result<Self, BuildError> {
        let homes = dials.into_iter().map(|dial| Home { dial, masters: Mutex::default() }).collect();
        Ok(Self { placement, homes, sharded })
    }

    /// Which Redis a channel lives in, where one command may name keys of many of its topics; none in a cluster.
    pub(super) fn shared_home(&self, channel: &str) -> Option<usize> {
        let home = self.placement.home(channel);
        self.homes[home].dial.endpoint.cluster().is_none().then_some(home)
    }

    /// Publishes one message. Publications to one channel, each sent after the one before was answered,
    /// arrive in that order.
    pub(super) async fn publish(&self, channel: &str, message: &[u8]) -> Result<Receipt, PublishError> {
        let mut publish = redis::cmd(if self.sharded { "SPUBLISH" } else { "PUBLISH" });
        publish.arg(channel).arg(message);
        let answer = self.ask(channel, &publish).await?;
        let replicas = redis::from_redis_value(answer).map_err(|error| unread(&error))?;
        Ok(Receipt::heard(replicas))
    }

    /// Sends one command of a channel's topic and waits for its answer, for [`PUBLISH_WAIT`] at most. Its keys
    /// lie in the channel's slot. Commands of one channel, each sent after the one before was answered, are
    /// carried out in that order.
    pub(super) async fn ask(&self, channel: &str, command: &Cmd) -> Result<Value, Failure> {
        let (slot, deadline) = (placement::slot(channel), Instant::now() + PUBLISH_WAIT);
        let home = &self.homes[self.placement.home(channel)];
        let answer = match home.dial.endpoint.cluster() {
            Some(cluster) => Following { home, cluster, slot, deadline }.ask(command).await?,
            None => match home.ask(None, slot, command, false, deadline).await {
                Try::Answered(_, answer) => answer,
                Try::Unsent(why) => return Err(Failure::Unsent(why.unwrap_or_else(|| LATE.into()))),
                Try::Failed(failure) => return Err(failure),
            },
        };
        answer.map_err(Failure::Refused)
    }
}

impl Home {
    /// One try at the master of that address.
    async fn ask(&self, place: Option<Place>, slot: u16, command: &Cmd, asking: bool, deadline: Instant) -> Try {
        let master = match self.master(place) {
            Ok(master) => master,
            Err(error) => return Try::Unsent(Some(error.to_string())),
        };
        let lane = match master.lane(slot) {
            Ok(lane) => lane,
            Err(why) => return Try::Failed(Failure::Unsent(why)),
        };
        let dialled = match master.connection(&lane, deadline).await {
            Ok(dialled) => dialled,
            Err(why) => return Try::Unsent(why),
        };
        let why = match timeout_at(deadline, send(dialled.connection.clone(), command, asking)).await {
            Ok(Ok(answer)) => return Try::Answered(dialled.place.clone(), answer),
            Ok(Err(error)) if !error.is_io_error() => return Try::Failed(Failure::Refused(error)),
            Ok(Err(error)) if !error.is_timeout() => error.to_string(),
            Ok(Err(_)) | Err(_) => "no answer within 1 s".into(),
        };
        master.set_aside(&dialled);
        Try::Failed(Failure::Unanswered(why))
    }

    fn master(&self, place: Option<Place>) -> Result<Arc<Master>, BuildError> {
        let mut masters = self.masters.lock();
        if let Some(master) = masters.get(&place) {
            return Ok(master.clone());
        }
        // A cluster's masters change: those that are none any more are forgotten.
        if let Some(cluster) = self.dial.endpoint.cluster() {
            let map = cluster.map();
            masters.retain(|place, _| map.masters().any(|master| Some(master) == place.as_ref()));
        }
        let master = Arc::new(Master::new(&self.dial, place.clone())?);
        masters.insert(place, master.clone());
        Ok(master)
    }
}

async fn send(mut connection: MultiplexedConnection, command: &Cmd, asking: bool) -> RedisResult<RedisResult<Value>> {
    if !asking {
        return Ok(connection.send_packed_command(command).await?.extract_error());
    }
    let mut both = Pipeline::with_capacity(2);
    both.cmd("ASKING").add_command(command.clone());
    let answers = connection.send_packed_commands(&both, 0, both.len()).await?;
    Ok(answers.into_iter().next_back().unwrap_or(Value::Nil).extract_error())
}

/// A command on its way to a slot of a cluster.
struct Following<'p> {
    home: &'p Home,
    cluster: &'p Arc<Cluster>,
    slot: u16,
    deadline: Instant,
}

/// Where to try next.
enum Next {
    Done,
    /// The slot's owner by now.
    Owner,
    /// Only for this command: its keys have moved already, the slot has not.
    Asking(Place),
    /// Nobody can say yet.
    Wait,
}

impl Following<'_> {
    /// Sends a command to the slot's master, and where that does not own it any more, where it belongs, until the time is
    /// up.
    async fn ask(&self, command: &Cmd) -> Result<RedisResult<Value>, Failure> {
        let mut answered = None::<RedisResult<Value>>;
        let mut asking = None::<Place>;
        let mut why = None::<String>;
        for _ in 0..REDIRECTS {
            let ask = asking.is_some();
            let tried = match asking.take().map_or_else(|| self.owner(), Ok) {
                Ok(place) => self.home.ask(Some(place), self.slot, command, ask, self.deadline).await,
                Err(why) => Try::Unsent(Some(why)),
            };
            let next = match tried {
                Try::Answered(from, answer) => {
                    let next = self.next(&from, &answer);
                    answered = Some(answer);
                    next
                }
                Try::Failed(failure) => return Err(failure),
                Try::Unsent(error) => {
                    // That the time was up does not hide why there was nobody before.
                    why = error.or(why).or_else(|| Some(LATE.into()));
                    Next::Wait
                }
            };
            match next {
                Next::Done => break,
                Next::Owner => {}
                Next::Asking(place) => asking = Some(place),
                Next::Wait if Instant::now() + AGAIN >= self.deadline => break,
                Next::Wait => {
                    sleep(AGAIN).await;
                    let _ = timeout_at(self.deadline, self.cluster.refresh()).await;
                }
            }
        }
        answered.ok_or_else(|| Failure::Unsent(why.unwrap_or_else(|| "the slot's master is away".into())))
    }

    fn owner(&self) -> Result<Place, String> {
        self.cluster.map().owner(self.slot).cloned().ok_or_else(|| "no master of the cluster owns the slot".into())
    }

    /// What an answer asks for.
    fn next(&self, from: &Place, answer: &RedisResult<Value>) -> Next {
        let Some(error) = answer.as_ref().err().filter(|error| is_to_be_sent_again(error)) else { return Next::Done };
        match redirected(error, from) {
            Some((_, place)) if error.code() == Some("ASK") => Next::Asking(place),
            Some((slot, place)) => {
                self.cluster.moved(slot, &place);
                Next::Owner
            }
            None => Next::Wait,
        }
    }
}

/// Whether a command was not carried out because of where it was sent, or when.
fn is_to_be_sent_again(error: &RedisError) -> bool {
    error.is_cluster_error() || error.kind() == redis::ErrorKind::Server(ServerErrorKind::ReadOnly)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::HistoryError;

    #[test]
    fn what_is_not_answered_says_what_became_of_a_publication_and_of_a_question_nothing() {
        let why = || "it does not answer".to_owned();
        let ends = [
            (Failure::Unsent(why()), "; nothing was published"),
            (Failure::Unanswered(why()), "; the message may have been published"),
        ];
        for (failure, end) in ends {
            assert_eq!(PublishError::from(failure.clone()), PublishError::Away(why() + end));
            assert_eq!(HistoryError::from(failure), HistoryError::Away(why()));
        }
    }
}
