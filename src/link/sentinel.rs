//! Sentinel: who the master is, in the words of those who decide it.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use redis::{RedisError, Value};
use tokio::time::{Instant, timeout_at};

use crate::link::address::Place;
use crate::link::connect::{ANSWER, Dialer, Wire, driven};
use crate::link::failure::ConnectError;
use crate::repeat::Repeats;

/// How long a dial waits for them where they named a master before: they are asked every two seconds anyway, and a
/// publisher waits a second for all together.
const HASTE: Duration = Duration::from_millis(500);

/// How long a word of an earlier failover does not count; Sentinels that were made anew count from the start again.
const STALE: Duration = Duration::from_secs(10);

/// The Sentinels of one master.
pub struct Sentinels {
    places: Vec<Place>,
    /// What they call the master.
    pub service: String,
    /// With credentials of their own.
    dialer: Dialer,
    /// Whom they named last, and when; locked for one look.
    last: Mutex<Option<(Word, Instant)>>,
    unanswered: Repeats,
}

/// What one Sentinel says.
#[derive(Debug, PartialEq, Eq)]
struct Word {
    /// The number of the failover that made this the master. The highest is the truth; a Sentinel that was
    /// cut off still tells of an earlier one.
    epoch: u64,
    master: Place,
}

impl Sentinels {
    /// Asks nobody yet.
    #[must_use]
    pub fn new(places: Vec<Place>, service: String, dialer: Dialer) -> Self {
        Self { places, service, dialer, last: Mutex::default(), unanswered: Repeats::new() }
    }

    /// Where to dial the master: where the Sentinels say or, while they do not answer, said last. Whoever dials looks
    /// whether it is a master still.
    ///
    /// # Errors
    /// Nobody knows, nor ever did.
    pub async fn master(&self) -> Result<Place, ConnectError> {
        match self.last() {
            None => self.hear(self.dialer.longest().saturating_add(ANSWER)).await,
            Some(last) => Ok(self.hear(HASTE).await.unwrap_or(last)),
        }
    }

    /// Asks where the master is, for so long at most. Where nobody says though somebody did before, the log does.
    ///
    /// # Errors
    /// Nobody knows.
    pub async fn ask(&self, within: Duration) -> Result<Place, ConnectError> {
        let heard = self.hear(within).await;
        match (&heard, self.last()) {
            (Ok(_), _) => self.unanswered.over(),
            (Err(error), Some(last)) => {
                if let Some(unsaid) = self.unanswered.due(()) {
                    tracing::warn!(%error, mend = error.mend(), %last, unsaid, "no word of Sentinel; the master that it named last holds");
                }
            }
            (Err(_), None) => {}
        }
        heard
    }

    async fn hear(&self, within: Duration) -> Result<Place, ConnectError> {
        let word = self.newest(Instant::now() + within).await?;
        Ok(self.believe(word, Instant::now()))
    }

    fn last(&self) -> Option<Place> {
        self.last.lock().as_ref().map(|(word, _)| word.master.clone())
    }

    /// Who the master is after this word. One of an earlier failover than the last, from a Sentinel that was cut off or
    /// to a question that took long, counts only when nothing newer was heard for a while.
    fn believe(&self, word: Word, now: Instant) -> Place {
        let mut last = self.last.lock();
        match &*last {
            Some((known, at)) if known.epoch > word.epoch && now.duration_since(*at) < STALE => known.master.clone(),
            _ => last.insert((word, now)).0.master.clone(),
        }
    }

    /// The word of the newest failover that a majority of the Sentinels, or all that answer within a second of the
    /// first, tell of.
    async fn newest(&self, mut until: Instant) -> Result<Word, ConnectError> {
        let mut asked: FuturesUnordered<_> = self.places.iter().map(|place| self.word(place)).collect();
        let mut newest: Option<Word> = None;
        let (mut answers, mut failed) = (0, Vec::new());
        while let Ok(Some(answer)) = timeout_at(until, asked.next()).await {
            match answer {
                Ok(word) => {
                    answers += 1;
                    until = until.min(Instant::now() + ANSWER);
                    if newest.as_ref().is_none_or(|newest| newest.epoch < word.epoch) {
                        newest = Some(word);
                    }
                }
                Err(why) => failed.push(why),
            }
            if answers > self.places.len() / 2 {
                break;
            }
        }
        newest.ok_or_else(|| self.unknown(failed))
    }

    fn unknown(&self, mut failed: Vec<Failed>) -> ConnectError {
        // In one order, so that the same failure reads the same.
        failed.sort_by(|one, other| one.why.cmp(&other.why));
        let mend = failed.iter().find_map(|failed| failed.mend).unwrap_or("start the Sentinels, or correct redis.url");
        let said: Vec<String> = failed.into_iter().map(|failed| failed.why).collect();
        let why = if said.is_empty() { "none answered in time".into() } else { said.join("; ") };
        ConnectError::Unnamed { service: self.service.clone(), why, mend }
    }

    async fn word(&self, place: &Place) -> Result<Word, Failed> {
        let wire = self.dialer.connect(place, "fanline:sentinel", ANSWER, |_| ()).await;
        let Wire { mut connection, mut driver, .. } = wire.map_err(|error| self.unreached(&error))?;
        let mut both = redis::pipe();
        both.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.service);
        both.cmd("SENTINEL").arg("MASTER").arg(&self.service);
        let answers = driven(&mut driver, connection.send_packed_commands(&both, 0, 2)).await;
        let answers = answers
            .map_err(|error| Failed { why: format!("{place}: {error}"), mend: self.login(&error.to_string()) })?;
        read(answers).map_err(|error| match error {
            Some(error) if error.to_string().contains("unknown command") => Failed {
                why: format!("{place} is no Sentinel ({error})"),
                mend: Some("name the Sentinels, most often on port 26379, or write redis://"),
            },
            Some(error) => Failed { why: format!("{place}: {error}"), mend: self.login(&error.to_string()) },
            None => Failed {
                why: format!("{place} watches no master of this name"),
                mend: Some("write redis+sentinel://…/NAME as `SENTINEL MASTERS` has it"),
            },
        })
    }

    fn unreached(&self, error: &ConnectError) -> Failed {
        let mend = match error {
            ConnectError::Denied { why, .. } | ConnectError::Greeting { why, .. } => self.login(why),
            _ => None,
        };
        Failed { why: error.to_string(), mend }
    }

    /// What mends a login that a Sentinel refuses: it has users and passwords of its own.
    fn login(&self, why: &str) -> Option<&'static str> {
        let refused = ["NOAUTH", "WRONGPASS", "NOPERM", "uthentication", "AUTH"].iter().any(|word| why.contains(word));
        refused.then_some(match self.dialer.has_password() {
            false => "set redis.sentinel_password (and redis.sentinel_username, if it has one): the Sentinels want a password of their own",
            true => "correct redis.sentinel_username and redis.sentinel_password, or take them away where the Sentinels want none",
        })
    }
}

/// Why a Sentinel names no master, and what mends it where that is known.
struct Failed {
    why: String,
    mend: Option<&'static str>,
}

/// The address, and the epoch where this Sentinel may tell it.
fn read(answers: Vec<Value>) -> Result<Word, Option<RedisError>> {
    let [address, about] = <[Value; 2]>::try_from(answers).map_err(|_| None)?;
    let address: Option<(String, u16)> = redis::from_redis_value(address.extract_error()?).map_err(|_| None)?;
    let (host, port) = address.ok_or(None)?;
    let about: std::collections::HashMap<String, String> =
        about.extract_error().ok().and_then(|about| redis::from_redis_value(about).ok()).unwrap_or_default();
    let epoch = about.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
    Ok(Word { epoch, master: Place::Tcp { host, port } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::connect::Means;
    use crate::link::login::Login;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().into())
    }

    #[test]
    fn a_word_of_an_earlier_failover_counts_only_when_nothing_newer_was_heard_for_a_while() {
        let dialer = Dialer::new(Login::default(), None, Means::default());
        let sentinels = Sentinels::new(Vec::new(), "main".into(), dialer);
        let place = |port| Place::Tcp { host: "h".into(), port };
        let (mut believed, now) = (Vec::new(), Instant::now());
        for (epoch, port, second) in [(7, 1, 0), (6, 2, 9), (8, 3, 9), (8, 3, 15), (2, 4, 24), (2, 4, 26)] {
            let word = Word { epoch, master: place(port) };
            believed.push(sentinels.believe(word, now + Duration::from_secs(second)));
        }
        assert_eq!(believed, [1, 1, 3, 3, 3, 4].map(place));
    }

    #[test]
    fn an_address_and_the_number_of_the_failover_are_read_and_a_stranger_is_none() {
        let address = Value::Array(vec![text("10.0.0.1"), text("6380")]);
        let about = Value::Map(vec![(text("config-epoch"), text("7")), (text("flags"), text("master"))]);
        let master = Place::Tcp { host: "10.0.0.1".into(), port: 6380 };
        let word = read(vec![address.clone(), about]).unwrap();
        assert_eq!(word, Word { epoch: 7, master: master.clone() });
        assert_eq!(read(vec![address, Value::Nil]).unwrap(), Word { epoch: 0, master });
        assert!(matches!(read(vec![Value::Nil, Value::Nil]), Err(None)));
    }
}
