//! Sentinel: who the master is, in the words of those who decide it.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::{RedisError, Value};
use tokio::time::timeout;

use crate::link::address::Place;
use crate::link::connect::{CONNECT_WAIT, Dialer, Wire, driven};
use crate::link::failure::ConnectError;

/// The longest that all Sentinels together may take.
const ANSWER: Duration = CONNECT_WAIT;

/// The Sentinels of one master.
pub struct Sentinels {
    /// Where they are.
    pub places: Vec<Place>,
    /// What they call the master.
    pub service: String,
    /// How they are dialled; with credentials of their own.
    pub dialer: Dialer,
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
    /// Where the master is, in the word of the newest failover that a majority of the Sentinels, or all that
    /// answer within a second, tell of.
    ///
    /// # Errors
    /// Nobody knows.
    pub async fn master(&self) -> Result<Place, ConnectError> {
        let mut asked: FuturesUnordered<_> = self.places.iter().map(|place| self.ask(place)).collect();
        let mut newest: Option<Word> = None;
        let mut failed = Vec::new();
        let gathered = timeout(ANSWER, async {
            let mut answers = 0;
            while let Some(answer) = asked.next().await {
                match answer {
                    Ok(word) => {
                        answers += 1;
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
        });
        if gathered.await.is_err() && newest.is_none() {
            failed.push(format!("no Sentinel answered within {} ms", ANSWER.as_millis()));
        }
        // In one order, whoever answered first: what is said of the same fault is the same.
        failed.sort_unstable();
        newest.map(|word| word.master).ok_or_else(|| {
            ConnectError::Unknown(format!("no Sentinel knows where {:?} is: {}", self.service, failed.join("; ")))
        })
    }

    async fn ask(&self, place: &Place) -> Result<Word, String> {
        let wire = self.dialer.connect(place, "fanline:sentinel", ANSWER, |_| ()).await;
        let Wire { mut connection, mut driver, .. } = wire.map_err(|error| error.to_string())?;
        let mut both = redis::pipe();
        both.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.service);
        both.cmd("SENTINEL").arg("MASTER").arg(&self.service);
        let answers = driven(&mut driver, connection.send_packed_commands(&both, 0, 2)).await;
        let answers = answers.map_err(|error| format!("{place}: {error}"))?;
        read(answers).map_err(|error| match error {
            Some(error) if error.to_string().contains("unknown command") => format!(
                "{place} is no Sentinel ({error}); name the Sentinels, most often on port 26379, or write redis://"
            ),
            Some(error) => format!("{place}: {error}"),
            None => format!(
                "{place} watches no master of this name; write redis+sentinel://…/NAME as `SENTINEL MASTERS` has it"
            ),
        })
    }
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

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().into())
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
