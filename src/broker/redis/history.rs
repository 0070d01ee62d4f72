//! Histories in Redis: a stream per topic, its last position beside it, both in the slot of the topic's channel.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::join_all;
use redis::{Cmd, Value};

use super::publisher::{self, Failure, Publisher};
use super::script::{READ, Script, Text};
use crate::broker::{HistoryError, Page, Part, PublishError, Read, Receipt};
use crate::link::keys::Keys;
use crate::position::Position;
use crate::publication::{Header, Publication};
use crate::settings::TopicRules;
use crate::topic::Topic;

/// How many entries of a stream that are not ours one read passes over.
const PASSED: usize = 5_000;

/// An entry of a stream, as Redis gives it: its place, and names and values.
type Raw = (String, Vec<Bytes>);

/// The histories' side of a broker.
pub(super) struct Histories {
    keys: Keys,
    rules: Arc<ArcSwap<TopicRules>>,
    script: ArcSwap<Script>,
    publish: &'static str,
}

impl Histories {
    pub fn new(keys: Keys, rules: Arc<ArcSwap<TopicRules>>, publish: &'static str) -> Self {
        let script = ArcSwap::from_pointee(Script::new(keys.prefix(), rules.load_full(), publish));
        Self { keys, rules, script, publish }
    }

    /// Names in Redis.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The script for the rules in force.
    pub fn script(&self) -> Arc<Script> {
        let (script, rules) = (self.script.load_full(), self.rules.load_full());
        if Arc::ptr_eq(&script.rules, &rules) {
            return script;
        }
        let script = Arc::new(Script::new(self.keys.prefix(), rules, self.publish));
        self.script.store(script.clone());
        script
    }

    /// Whether publishing takes more than PUBLISH.
    pub fn concerns(&self, topic: &Topic, header: &Header) -> bool {
        header.id.is_some() || self.rules.load().rule(topic.as_str()).keeps_history()
    }

    /// Publishes, keeping what the topic's rule says.
    pub async fn publish(
        &self,
        publisher: &Publisher,
        topic: &Topic,
        header: &Header,
        payload: &[u8],
    ) -> Result<Receipt, PublishError> {
        header.check()?;
        let (channel, script) = (self.keys.channel(topic), self.script());
        // The keys themselves: while a cluster moves their slot, this is carried out where both of them are.
        let keys = [self.keys.last(topic), self.keys.stream(topic)];
        let answer = run(publisher, &channel, &script.text, &keys, |call| {
            call.arg(&channel).arg(payload);
            options(header, call);
        });
        let answer = answer.await?;
        let receipt: (Option<String>, u64, u64) =
            redis::from_redis_value(answer).map_err(|error| publisher::unread(&error))?;
        let (position, replicas, repeated) = receipt;
        Ok(Receipt { replicas, position: position.and_then(|text| text.parse().ok()), repeated: repeated > 0 })
    }

    /// The last positions of topics, in their order: of all that one command may name together, at once. Who lives apart
    /// fails apart: a master that is dead keeps nobody else waiting for long.
    pub async fn positions(&self, publisher: &Publisher, topics: &[Topic]) -> Vec<Result<Position, HistoryError>> {
        let mut batches: BTreeMap<(Option<usize>, usize), Vec<usize>> = BTreeMap::new();
        for (place, topic) in topics.iter().enumerate() {
            let home = publisher.shared_home(&self.keys.channel(topic));
            // In a cluster each goes on its own; they share the connections all the same.
            batches.entry((home, if home.is_some() { 0 } else { place })).or_default().push(place);
        }
        let asked = batches.into_values().map(|places| async {
            let of: Vec<&Topic> = places.iter().map(|&place| &topics[place]).collect();
            (self.positions_of(publisher, &of).await, places)
        });
        let mut positions = vec![Ok(Position::START); topics.len()];
        for (found, places) in join_all(asked).await {
            for (nth, place) in places.into_iter().enumerate() {
                positions[place] = match &found {
                    Ok(found) => Ok(found.get(nth).copied().unwrap_or(Position::START)),
                    Err(error) => Err(error.clone()),
                };
            }
        }
        positions
    }

    async fn positions_of(&self, publisher: &Publisher, topics: &[&Topic]) -> Result<Vec<Position>, HistoryError> {
        let Some(first) = topics.first() else { return Ok(Vec::new()) };
        let mut command = redis::cmd("MGET");
        for topic in topics {
            command.arg(self.keys.last(topic));
        }
        let answer = publisher.ask(&self.keys.channel(first), &command).await?;
        let positions: Vec<Option<String>> = redis::from_redis_value(answer).map_err(|error| unread(&error))?;
        Ok(positions.into_iter().map(last).collect())
    }

    /// A part of a topic's history. Entries that others put into its stream are passed over, up to a bound.
    ///
    /// The last position first: what is published in between is then among the entries, and not missing from them. Both at
    /// once would be two keys, which a cluster that moves their slot refuses for as long where one of them is not there.
    pub async fn read(&self, publisher: &Publisher, topic: &Topic, read: Read) -> Result<Page, HistoryError> {
        let (channel, keys) = (self.keys.channel(topic), [self.keys.stream(topic)]);
        let newest = publisher.ask(&channel, redis::cmd("GET").arg(self.keys.last(topic))).await?;
        let newest = redis::from_redis_value(newest).map_err(|error| unread(&error))?;
        let answer = run(publisher, &channel, &READ, &keys, |call| {
            match read.part {
                Part::After(position) => call.arg("XRANGE").arg(format!("({position}")).arg("+"),
                Part::Until(position) => call.arg("XREVRANGE").arg(position.to_string()).arg("-"),
            };
            call.arg(read.most).arg(read.bytes).arg(PASSED);
        });
        let (raw, more, crowded): (Vec<Raw>, bool, bool) =
            redis::from_redis_value(answer.await?).map_err(|error| unread(&error))?;
        let now = Instant::now();
        let mut entries: Vec<_> = raw.into_iter().filter_map(|entry| publication(topic, entry, now)).collect();
        // What is no publication though it looks like one would be read for ever.
        if crowded || more && entries.is_empty() {
            return Err(HistoryError::Refused(format!(
                "{} holds more than {PASSED} entries beside those of one page that no gateway wrote: only `fanline_publish` may write there",
                self.keys.stream(topic)
            )));
        }
        if matches!(read.part, Part::Until(_)) {
            entries.reverse();
        }
        // What was published since the position was asked for may be among them.
        let newest = entries.last().and_then(Publication::position).unwrap_or_default().max(last(newest));
        Ok(Page { entries, newest, more })
    }
}

/// Runs a script on keys of a channel's slot, and gives it what `tell` says.
async fn run(
    publisher: &Publisher,
    channel: &str,
    script: &Text,
    keys: &[String],
    tell: impl Fn(&mut Cmd),
) -> Result<Value, Failure> {
    let call = |command: &str, text: &str| {
        let mut call = redis::cmd(command);
        call.arg(text).arg(keys.len()).arg(keys);
        tell(&mut call);
        call
    };
    match publisher.ask(channel, &call("EVALSHA", &script.sha)).await {
        // A new master, or one that was restarted; EVAL leaves it there for the next ones.
        Err(Failure::Refused(error)) if error.code() == Some("NOSCRIPT") => {
            publisher.ask(channel, &call("EVAL", &script.source)).await
        }
        answer => answer,
    }
}

/// What the script is told of a header.
fn options(header: &Header, call: &mut Cmd) {
    let named = [("EVENT", &header.event), ("KEY", &header.key), ("ID", &header.id)];
    for (name, value) in named.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))) {
        call.arg(name).arg(value);
    }
    if let Some(kind) = header.kind {
        call.arg("TYPE").arg(kind.label());
    }
    if let Some(ts) = header.ts {
        call.arg("TS").arg(ts);
    }
    for id in &header.except {
        call.arg("EXCEPT").arg(&**id);
    }
}

/// A stream's entry; none where it is not of ours.
fn publication(topic: &Topic, (id, fields): Raw, now: Instant) -> Option<Publication> {
    let field = |name: &[u8]| {
        let pairs = fields.chunks_exact(2);
        pairs.into_iter().find(|pair| pair[0] == name).map(|pair| pair[1].clone())
    };
    let prev = std::str::from_utf8(&field(b"p")?).ok()?.parse().ok()?;
    let members = [b"{", &*field(b"h")?, b"}"].concat();
    let header: Header = serde_json::from_slice(&members).ok()?;
    let header = Header { pos: Some(id.parse().ok()?), prev: Some(prev), ..header };
    Some(Publication::new(topic.clone(), Some(Box::new(header)), field(b"d")?, now))
}

/// A last position; of a topic of which nothing is known, the start.
fn last(text: Option<String>) -> Position {
    text.and_then(|text| text.parse().ok()).unwrap_or(Position::START)
}

fn unread(error: &redis::ParsingError) -> HistoryError {
    HistoryError::Refused(error.to_string())
}

impl From<Failure> for HistoryError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unsent(why) | Failure::Unanswered(why) => Self::Away(why),
            Failure::Refused(error) if publisher::refused(&error).passes() => Self::Away(error.to_string()),
            Failure::Refused(error) => Self::Refused(error.to_string()),
        }
    }
}
