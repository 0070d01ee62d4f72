//! Who listens together, as their publisher sees them, and which publications somebody still waits for.

use crate::crowd::{ledger::Ledger, publisher::Address};
use std::collections::VecDeque;

/// Steps from one channel of an audience to the next: a prime, so that all get their turn in no order.
const STRIDE: u64 = 7919;

/// Sockets that listen to the same topics, one topic as a rule.
pub struct Audience {
    /// Where the topics' publications go.
    channels: Vec<Address>,
    listeners: usize,
    oldest: u64,
    /// For each publication from `oldest` on: how many listeners have not got it.
    waiting: VecDeque<usize>,
}

impl Audience {
    /// # Panics
    /// Later, where there is no channel.
    pub fn new(channels: impl IntoIterator<Item = Address>) -> Self {
        Self { channels: channels.into_iter().collect(), listeners: 0, oldest: 0, waiting: VecDeque::new() }
    }

    /// Where a publication goes.
    pub fn channel(&self, number: u64) -> &Address {
        let place = (number * STRIDE) % self.channels.len() as u64;
        &self.channels[place as usize]
    }

    /// A listener joins; its account begins with the next publication.
    pub fn join(&mut self) -> Ledger {
        self.listeners += 1;
        Ledger::from(self.next())
    }

    /// Without any, a publication would never be complete.
    pub fn has_listeners(&self) -> bool {
        self.listeners > 0
    }

    /// A listener's socket has ended. Answers how many deliveries it is owed for ever.
    pub fn leave(&mut self, ledger: &Ledger) -> Leave {
        self.listeners -= 1;
        let owed = ledger.holes().iter().copied().chain(ledger.next()..self.next());
        let owed: Vec<u64> = owed.filter(|number| *number >= self.oldest).collect();
        let completed = owed.iter().map(|number| self.arrived(*number)).sum();
        Leave { owed: owed.len() as u64, completed }
    }

    /// The number of the publication that is about to go out.
    pub fn publish(&mut self) -> u64 {
        self.waiting.push_back(self.listeners);
        self.next() - 1
    }

    /// One listener has got one publication. Answers how many publications everybody has got now: a later one
    /// counts only once the oldest is complete.
    #[inline]
    pub fn arrived(&mut self, number: u64) -> usize {
        let Some(place) = number.checked_sub(self.oldest) else { return 0 };
        match self.waiting.get_mut(place as usize) {
            Some(left) => *left = left.saturating_sub(1),
            None => return 0,
        }
        let mut completed = 0;
        while self.waiting.front() == Some(&0) {
            self.waiting.pop_front();
            self.oldest += 1;
            completed += 1;
        }
        completed
    }

    /// Nobody waits any longer. Answers how many deliveries that gives up.
    pub fn give_up(&mut self) -> u64 {
        self.oldest = self.next();
        self.waiting.drain(..).sum::<usize>() as u64
    }

    fn next(&self) -> u64 {
        self.oldest + self.waiting.len() as u64
    }
}

/// What a socket's end means for the publications in flight.
#[derive(Debug, PartialEq, Eq)]
pub struct Leave {
    pub owed: u64,
    pub completed: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::publisher::Road;

    fn address(topic: &str) -> Address {
        Address::of(Road::Redis, "fanline:", topic)
    }

    fn of_two() -> (Audience, Ledger) {
        let mut audience = Audience::new([address("a")]);
        audience.join();
        let second = audience.join();
        (audience, second)
    }

    #[test]
    fn a_publication_is_complete_when_everybody_has_it_and_everything_before_it() {
        let (mut audience, _) = of_two();
        let (first, second) = (audience.publish(), audience.publish());
        assert_eq!([first, second], [0, 1]);
        assert_eq!([audience.arrived(1), audience.arrived(1), audience.arrived(0)], [0, 0, 0]);
        assert_eq!(audience.arrived(0), 2);
    }

    #[test]
    fn an_audience_of_many_topics_is_published_to_on_all_of_them() {
        let audience = Audience::new((0..200).map(|topic| address(&topic.to_string())));
        let used: std::collections::HashSet<_> = (0..200).map(|number| audience.channel(number)).collect();
        assert_eq!(used.len(), 200);
    }

    #[test]
    fn a_socket_that_ends_is_owed_what_it_missed_and_holds_nobody_up() {
        let (mut audience, mut second) = of_two();
        audience.publish();
        audience.publish();
        audience.arrived(0);
        audience.arrived(1);
        second.enter(1);
        audience.arrived(1);
        assert_eq!(audience.leave(&second), Leave { owed: 1, completed: 2 });
    }

    #[test]
    fn what_is_given_up_is_counted_once_and_late_arrivals_change_nothing() {
        let (mut audience, _) = of_two();
        audience.publish();
        audience.arrived(0);
        assert_eq!(audience.give_up(), 1);
        assert_eq!((audience.arrived(0), audience.give_up()), (0, 0));
        assert_eq!(audience.publish(), 1);
    }
}
