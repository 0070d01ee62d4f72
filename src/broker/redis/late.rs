//! What comes on a connection that was left, and may be an echo of what comes on the new one: it is held until the old
//! master has said, after it came, that it is a master.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::broker::redis::desired::Generation;

/// The most that waits, in bytes of payload and channels …
const HELD: usize = 8 * 1024 * 1024;
/// … each of which takes so many beside.
const EACH: usize = 64;

/// Publications of one connection that was left, and of which something is missing.
#[derive(Debug, Default)]
pub(super) struct Late {
    of: Option<Generation>,
    held: VecDeque<Held>,
    /// How many of them, from the first on, are no echo.
    proven: usize,
    bytes: usize,
    /// Until when all that was published there has come, in ms since 1970.
    whole: u64,
    /// Channels of which something is missing, and since when.
    missed: HashMap<Vec<u8>, u64>,
    /// A canary came that flies at the new master.
    echoes: bool,
    /// Nothing more is heard of it.
    closed: bool,
}

/// One publication.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub channel: Vec<u8>,
    pub payload: Vec<u8>,
    /// It was published at this time or later, in ms since 1970.
    pub since: u64,
}

/// A moment at which the old master was asked what it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    count: usize,
    /// In ms since 1970.
    asked: u64,
}

impl Late {
    /// From now on what comes on this connection is held; until `whole` all has come.
    pub(super) fn hold(of: Generation, whole: u64) -> Self {
        Self { of: Some(of), whole, ..Self::default() }
    }

    /// A message on a connection that was left. What finds no room is missing.
    pub(super) fn message(&mut self, of: Generation, channel: &[u8], payload: Vec<u8>) {
        if self.of != Some(of) || self.closed {
            return;
        }
        let held = Held { channel: channel.to_vec(), payload, since: self.whole };
        if self.bytes + held.size() > HELD {
            return self.miss(held);
        }
        self.bytes += held.size();
        self.held.push_back(held);
    }

    /// A canary on such a connection.
    pub(super) fn canary(&mut self, of: Generation) {
        self.echoes |= self.of == Some(of);
    }

    /// Whether it repeats what is published at the new master.
    pub(super) fn echoes(&self) -> bool {
        self.echoes
    }

    /// Whether it is this connection's.
    pub(super) fn is_of(&self, of: Generation) -> bool {
        self.of == Some(of)
    }

    /// What has come by now has come before the answer to a question that is asked now.
    pub(super) fn mark(&self, asked: u64) -> Mark {
        Mark { count: self.held.len(), asked }
    }

    /// It was a master when it answered.
    pub(super) fn prove(&mut self, mark: Mark) {
        (self.proven, self.whole) = (mark.count, mark.asked);
    }

    /// The channels of what is proven.
    pub(super) fn proven(&self) -> HashSet<Vec<u8>> {
        self.held.iter().take(self.proven).map(|held| held.channel.clone()).collect()
    }

    /// Takes what is proven, in order, but for these channels.
    pub(super) fn take(&mut self, but: &HashSet<Vec<u8>>) -> VecDeque<Held> {
        let rest = self.held.split_off(self.proven);
        let (stays, goes): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.held).into_iter().partition(|held| but.contains(&held.channel));
        self.bytes -= goes.iter().map(Held::size).sum::<usize>();
        self.proven = stays.len();
        self.held = stays;
        self.held.extend(rest);
        goes
    }

    /// It cannot be handed on.
    pub(super) fn miss(&mut self, held: Held) {
        let since = self.missed.entry(held.channel).or_insert(held.since);
        *since = held.since.min(*since);
    }

    /// Nothing more is heard of it: what is not proven is missing. Since when, of all that it may have said.
    pub(super) fn close(&mut self) -> u64 {
        self.closed = true;
        for held in self.held.split_off(self.proven) {
            self.bytes -= held.size();
            self.miss(held);
        }
        self.whole
    }

    /// What is held comes to nobody.
    pub(super) fn give_up(&mut self) {
        for held in std::mem::take(&mut self.held) {
            self.miss(held);
        }
        (self.proven, self.bytes) = (0, 0);
    }

    /// The channels of which something is missing, and since when, that nobody was told of.
    pub(super) fn take_missed(&mut self) -> HashMap<Vec<u8>, u64> {
        std::mem::take(&mut self.missed)
    }
}

impl Held {
    fn size(&self) -> usize {
        self.channel.len() + self.payload.len() + EACH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn late() -> (Late, Generation) {
        let generation = Generation::default();
        (Late::hold(generation, 10), generation)
    }

    fn texts(taken: VecDeque<Held>) -> Vec<String> {
        taken.into_iter().map(|held| String::from_utf8(held.payload).unwrap()).collect()
    }

    #[test]
    fn what_came_before_a_master_was_asked_is_handed_on_and_no_more() {
        let (mut late, of) = late();
        late.message(of, b"a", b"1".to_vec());
        let mark = late.mark(20);
        late.message(of, b"a", b"2".to_vec());
        assert!(late.take(&HashSet::new()).is_empty(), "it may be an echo");
        late.prove(mark);
        assert_eq!(late.proven(), HashSet::from([b"a".to_vec()]));
        assert_eq!(texts(late.take(&HashSet::new())), ["1"]);
        late.message(of, b"b", b"3".to_vec());
        assert_eq!((late.close(), late.take_missed()), (20, HashMap::from([(b"a".to_vec(), 10), (b"b".to_vec(), 20)])));
        late.message(of, b"c", b"4".to_vec());
        late.give_up();
        assert!(late.take_missed().is_empty(), "nobody listens to it any more");
    }

    #[test]
    fn a_topic_that_is_not_live_keeps_its_own_in_order_and_holds_up_no_other() {
        let (mut late, of) = late();
        for (channel, text) in [("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")] {
            late.message(of, channel.as_bytes(), text.into());
        }
        late.prove(late.mark(20));
        late.message(of, b"b", b"5".to_vec());
        let but = HashSet::from([b"a".to_vec()]);
        assert_eq!(texts(late.take(&but)), ["2", "4"]);
        assert!(late.take(&but).is_empty());
        late.prove(late.mark(30));
        assert_eq!(texts(late.take(&HashSet::new())), ["1", "3", "5"]);
        assert_eq!(late.bytes, 0);
    }

    #[test]
    fn what_finds_no_room_is_missing_since_the_last_that_is_known_to_have_come() {
        let (mut late, of) = late();
        late.prove(late.mark(20));
        late.message(of, b"a", vec![0; HELD - 2 * EACH]);
        late.message(of, b"b", vec![0; EACH]);
        late.message(of, b"b", vec![0; EACH]);
        assert_eq!(late.take_missed(), HashMap::from([(b"b".to_vec(), 20)]));
        late.give_up();
        assert_eq!((late.take_missed(), late.bytes), (HashMap::from([(b"a".to_vec(), 20)]), 0));
    }

    #[test]
    fn only_a_canary_of_its_own_makes_it_an_echo() {
        let (mut late, of) = late();
        Late::default().canary(of);
        assert!(!late.echoes());
        late.canary(of);
        assert!(late.echoes() && late.is_of(of));
    }
}
