//! The canary: what proves that a link hears what producers publish.
//!
//! A link can look well and be deaf: its server was demoted, a proxy swallows one direction, the other end
//! is a process that no longer runs. So a publication flies every two seconds, sent by a connection that
//! finds Redis as producers do, and the link must hear it.

use std::time::{Duration, Instant};

/// How often it flies.
pub const EVERY: Duration = Duration::from_secs(2);

/// How long it may take before the link counts as lost. With [`EVERY`] that is at most 5 s from the moment
/// a link goes deaf.
pub const OVERDUE: Duration = Duration::from_secs(3);

/// What is in the air on one connection of a link.
#[derive(Debug)]
pub enum Canary {
    /// No connection, or one whose subscription to the canary Redis refused: nothing can be expected.
    Grounded,
    /// Its topic is to be confirmed by then.
    Subscribing {
        /// The moment from which on the link counts as deaf.
        until: Instant,
    },
    /// It flies.
    Flying(Flight),
}

/// The canaries that were sent on a link that can hear them.
#[derive(Debug, Default)]
pub struct Flight {
    /// The oldest that has not come back, the newest sent, and when each was sent.
    waiting: Option<(Sent, Sent)>,
    back: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    number: u64,
    at: Instant,
}

/// A canary that came back.
#[derive(Debug, PartialEq, Eq)]
pub struct Return {
    /// From its publish until now; none for one that was sent before a newer one.
    pub rtt: Option<Duration>,
    /// Whether it is the first since the connection was made, or follows the one before it.
    pub in_a_row: bool,
    /// When it was sent, or some time before: whatever was published until then has come before it.
    pub sent: Instant,
}

impl Canary {
    /// A canary is about to be published.
    pub fn sent(&mut self, number: u64, at: Instant) {
        if let Self::Flying(flight) = self {
            let sent = Sent { number, at };
            let oldest = flight.waiting.map_or(sent, |(oldest, _)| oldest);
            flight.waiting = Some((oldest, sent));
        }
    }

    /// None was published after all: Redis answered, and refused. That breaks no row: the next one follows the one before.
    pub fn recalled(&mut self) {
        if let Self::Flying(flight) = self
            && let Some((_, newest)) = flight.waiting.take()
        {
            flight.back = flight.back.map(|last| if last + 1 == newest.number { newest.number } else { last });
        }
    }

    /// One came back. One that is not expected proves nothing: it was another process's of our name.
    pub fn came(&mut self, number: u64, now: Instant) -> Option<Return> {
        let Self::Flying(flight) = self else { return None };
        let (oldest, newest) = flight.waiting?;
        if !(oldest.number..=newest.number).contains(&number) {
            return None;
        }
        let in_a_row = flight.back.is_none_or(|last| number == last + 1);
        flight.back = Some(number);
        if newest.number > number {
            // A later one is out still; its own clock runs from its own start.
            flight.waiting = Some((newest, newest));
            return Some(Return { rtt: None, in_a_row, sent: oldest.at });
        }
        flight.waiting = None;
        Some(Return { rtt: Some(now.duration_since(newest.at)), in_a_row, sent: newest.at })
    }

    /// When the link counts as deaf, unless something comes back before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Grounded => None,
            Self::Subscribing { until } => Some(*until),
            Self::Flying(flight) => flight.waiting.map(|(oldest, _)| oldest.at + OVERDUE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flying() -> (Canary, Instant) {
        (Canary::Flying(Flight::default()), Instant::now())
    }

    #[test]
    fn a_canary_that_does_not_come_back_is_overdue_three_seconds_after_it_left() {
        let (mut canary, now) = flying();
        assert_eq!(canary.deadline(), None);
        canary.sent(7, now);
        canary.sent(8, now + EVERY);
        assert_eq!(canary.deadline(), Some(now + OVERDUE), "a later one gives no grace");
        let back = canary.came(7, now + EVERY);
        assert_eq!(back, Some(Return { rtt: None, in_a_row: true, sent: now }));
        assert_eq!(canary.deadline(), Some(now + EVERY + OVERDUE));
        let back = canary.came(8, now + EVERY + EVERY);
        assert_eq!(back, Some(Return { rtt: Some(EVERY), in_a_row: true, sent: now + EVERY }));
        assert_eq!(canary.deadline(), None);
    }

    #[test]
    fn one_that_is_skipped_breaks_the_row() {
        let (mut canary, now) = flying();
        for (number, in_a_row) in [(1, true), (2, true), (4, false), (5, true)] {
            canary.sent(number, now);
            assert_eq!(canary.came(number, now).map(|back| back.in_a_row), Some(in_a_row), "{number}");
        }
    }

    #[test]
    fn one_that_was_not_published_breaks_no_row_but_one_before_it_that_is_missing_does() {
        let (mut canary, now) = flying();
        let mut in_a_row = |recalled: &[u64], number| {
            for &recalled in recalled {
                canary.sent(recalled, now);
                canary.recalled();
            }
            canary.sent(number, now);
            canary.came(number, now).map(|back| back.in_a_row)
        };
        assert_eq!(in_a_row(&[], 1), Some(true));
        assert_eq!(in_a_row(&[2, 3], 4), Some(true));
        assert_eq!(in_a_row(&[6], 7), Some(false), "nobody knows of the fifth");
    }

    #[test]
    fn a_canary_of_another_process_proves_nothing() {
        let (mut canary, now) = flying();
        canary.sent(7, now);
        assert_eq!((canary.came(6, now), canary.came(8, now)), (None, None));
        assert_eq!(canary.deadline(), Some(now + OVERDUE));
    }

    #[test]
    fn nothing_is_expected_of_a_link_that_cannot_hear_it() {
        let mut canary = Canary::Grounded;
        canary.sent(1, Instant::now());
        assert_eq!((canary.deadline(), canary.came(1, Instant::now())), (None, None));
    }
}
