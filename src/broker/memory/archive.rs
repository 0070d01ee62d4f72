//! The history of a replica that is alone: what Redis would keep in streams, kept here.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::broker::history::{Page, Part, Read};
use crate::position::Position;
use crate::publication::{Header, ONCE, Publication};
use crate::settings::TopicRule;
use crate::topic::Topic;

/// How many topics are looked at for what has expired, with each publication: more than one, so that it ends.
const SWEEP: usize = 2;

/// What is kept of all topics.
#[derive(Default)]
pub(super) struct Archive {
    topics: HashMap<Topic, Shelf>,
    /// Every topic once, in the order in which they are looked at for what has expired.
    rounds: VecDeque<Topic>,
    /// Names of publications, and where they stand.
    names: HashMap<(Topic, Box<str>), Option<Position>>,
    /// The same by when they are forgotten.
    forgotten: VecDeque<(Instant, Topic, Box<str>)>,
}

#[derive(Default)]
struct Shelf {
    last: Position,
    touched: Option<Instant>,
    ttl: Duration,
    /// How long its last position is remembered.
    remembered: Duration,
    entries: VecDeque<Kept>,
}

/// A publication: its header and its payload.
type Kept = (Header, Bytes);

impl Archive {
    /// Where a publication of this name stands, if one was published not long ago.
    pub fn named(&mut self, topic: &Topic, name: &str, now: Instant) -> Option<Option<Position>> {
        while let Some((_, topic, name)) = self.forgotten.pop_front_if(|(until, ..)| *until <= now) {
            self.names.remove(&(topic, name));
        }
        self.names.get(&(topic.clone(), name.into())).copied()
    }

    /// Remembers a name.
    pub fn name(&mut self, topic: &Topic, name: &str, position: Option<Position>, now: Instant) {
        self.names.insert((topic.clone(), name.into()), position);
        self.forgotten.push_back((now + ONCE, topic.clone(), name.into()));
    }

    /// Keeps a publication as its topic's rule says, and writes its place into its header.
    pub fn keep(&mut self, topic: &Topic, rule: &TopicRule, header: &mut Header, payload: &Bytes, now: Instant) {
        self.sweep(now);
        let shelf = self.topics.entry(topic.clone()).or_insert_with(|| {
            self.rounds.push_back(topic.clone());
            Shelf::default()
        });
        shelf.expire(now);
        let position = shelf.last.next(crate::clock::unix_ms());
        (header.prev, header.pos) = (Some(std::mem::replace(&mut shelf.last, position)), Some(position));
        (shelf.ttl, shelf.remembered, shelf.touched) = (rule.history_ttl, rule.remembered(), Some(now));
        shelf.entries.push_back((header.clone(), payload.clone()));
        let size = usize::try_from(rule.history_size).unwrap_or(usize::MAX);
        shelf.entries.drain(..shelf.entries.len().saturating_sub(size));
    }

    pub fn last(&self, topic: &Topic) -> Position {
        self.topics.get(topic).map_or(Position::START, |shelf| shelf.last)
    }

    pub fn read(&mut self, topic: &Topic, read: Read, now: Instant) -> Page {
        let Some(shelf) = self.topics.get_mut(topic) else { return Page::default() };
        shelf.expire(now);
        let entries = shelf.entries.iter();
        let place = |(header, _): &&Kept| header.pos.unwrap_or_default();
        let (found, more) = match read.part {
            Part::After(after) => fitting(entries.skip_while(|entry| place(entry) <= after), read),
            Part::Until(until) => {
                let (mut found, more) = fitting(entries.rev().skip_while(|entry| place(entry) > until), read);
                found.reverse();
                (found, more)
            }
        };
        let publication = |(header, payload): &Kept| {
            Publication::new(topic.clone(), Some(Box::new(header.clone())), payload.clone(), now)
        };
        Page { entries: found.into_iter().map(publication).collect(), newest: shelf.last, more }
    }

    /// Lets go of what has expired of the next topics in the round.
    fn sweep(&mut self, now: Instant) {
        for _ in 0..SWEEP.min(self.rounds.len()) {
            let Some(topic) = self.rounds.pop_front() else { break };
            let gone = self.topics.get_mut(&topic).is_none_or(|shelf| {
                shelf.expire(now);
                shelf.touched.is_none_or(|touched| now.duration_since(touched) >= shelf.remembered)
            });
            match gone {
                true => drop(self.topics.remove(&topic)),
                false => self.rounds.push_back(topic),
            }
        }
    }
}

/// Those that a read may bring, and whether there are others behind them.
fn fitting<'a>(entries: impl Iterator<Item = &'a Kept>, read: Read) -> (Vec<&'a Kept>, bool) {
    let (mut found, mut bytes) = (Vec::new(), 0);
    for entry in entries {
        bytes += entry.1.len();
        if found.len() == read.most || bytes > read.bytes && !found.is_empty() {
            return (found, true);
        }
        found.push(entry);
    }
    (found, false)
}

impl Shelf {
    /// As a whole, as a stream in Redis does.
    fn expire(&mut self, now: Instant) {
        if self.touched.is_some_and(|touched| now.duration_since(touched) >= self.ttl) {
            self.entries = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_goes_though_nobody_publishes_there_again() {
        let (mut archive, start) = (Archive::default(), Instant::now());
        let rule = TopicRule { history_size: 3, history_ttl: Duration::from_secs(60), ..TopicRule::default() };
        let topic = |n: usize| Topic::parse(&format!("t{n}")).unwrap();
        let keep = |archive: &mut Archive, n, at| {
            archive.keep(&topic(n), &rule, &mut Header::default(), &Bytes::from_static(b"x"), at);
        };
        for n in 0..100 {
            keep(&mut archive, n, start);
        }
        for _ in 0..100 {
            keep(&mut archive, 100, start + Duration::from_secs(61));
        }
        assert_eq!(archive.topics.values().map(|shelf| shelf.entries.len()).sum::<usize>(), 3);
        assert!(archive.last(&topic(5)) > Position::START, "its place is remembered");
        for _ in 0..100 {
            keep(&mut archive, 100, start + Duration::from_secs(61) + rule.remembered());
        }
        assert_eq!((archive.topics.len(), archive.rounds.len()), (1, 1));
    }

    #[test]
    fn a_name_is_remembered_for_five_minutes() {
        let (mut archive, start) = (Archive::default(), Instant::now());
        let topic = Topic::parse("t").unwrap();
        assert_eq!(archive.named(&topic, "a", start), None);
        archive.name(&topic, "a", None, start);
        assert_eq!(archive.named(&topic, "a", start + ONCE - Duration::from_millis(1)), Some(None));
        assert_eq!(archive.named(&topic, "a", start + ONCE), None);
        assert!(archive.names.is_empty() && archive.forgotten.is_empty());
    }
}
