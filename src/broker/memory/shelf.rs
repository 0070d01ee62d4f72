//! The history of one topic of a replica that is alone.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::broker::history::{Page, Part, Read};
use crate::position::Position;
use crate::publication::{Header, Publication};
use crate::settings::TopicRule;
use crate::topic::Topic;

/// What a publication counts beside its payload, and beside what its header names, in bytes.
const BESIDE: usize = size_of::<Kept>();

/// What is kept of a topic.
#[derive(Default)]
pub(super) struct Shelf {
    /// Its latest use.
    pub used: u64,
    /// Of its publications.
    pub bytes: usize,
    /// Where it ended.
    pub last: Position,
    touched: Option<Instant>,
    ttl: Duration,
    /// How long its last position is remembered.
    remembered: Duration,
    pub entries: VecDeque<Kept>,
}

/// A publication: its header and its payload.
type Kept = (Header, Bytes);

impl Shelf {
    /// Keeps a publication as its topic's rule says, and writes its place into its header.
    pub fn keep(&mut self, rule: &TopicRule, header: &mut Header, payload: &Bytes, now: Instant) {
        self.expire(now);
        let position = self.last.next(crate::clock::unix_ms());
        (header.prev, header.pos) = (Some(std::mem::replace(&mut self.last, position)), Some(position));
        (self.ttl, self.remembered, self.touched) = (rule.history_ttl, rule.remembered(), Some(now));
        let kept = (header.clone(), payload.clone());
        self.bytes += size(&kept);
        self.entries.push_back(kept);
        let most = usize::try_from(rule.history_size).unwrap_or(usize::MAX);
        while self.entries.len() > most {
            self.drop_oldest();
        }
    }

    /// Goes as a whole, as a stream in Redis does.
    pub fn expire(&mut self, now: Instant) {
        if self.touched.is_some_and(|touched| now.duration_since(touched) >= self.ttl) {
            self.clear();
        }
    }

    pub fn clear(&mut self) {
        (self.entries, self.bytes) = (VecDeque::new(), 0);
    }

    /// Lets go of its oldest publications, until there are so many bytes less.
    pub fn shrink(&mut self, bytes: usize) {
        let most = self.bytes.saturating_sub(bytes);
        while self.bytes > most {
            self.drop_oldest();
        }
    }

    /// Whether even the place where it ended is forgotten.
    pub fn is_forgotten(&self, now: Instant) -> bool {
        self.touched.is_none_or(|touched| now.duration_since(touched) >= self.remembered)
    }

    pub fn read(&self, topic: &Topic, read: Read, now: Instant) -> Page {
        let entries = self.entries.iter();
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
        Page { entries: found.into_iter().map(publication).collect(), newest: self.last, more }
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.entries.pop_front() {
            self.bytes -= size(&oldest);
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

fn size((header, payload): &Kept) -> usize {
    let named = [&header.event, &header.key, &header.id].into_iter().flatten().map(|text| text.len());
    BESIDE + payload.len() + named.sum::<usize>() + header.except.iter().map(|id| id.len()).sum::<usize>()
}
