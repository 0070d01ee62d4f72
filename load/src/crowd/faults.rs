//! What went wrong between two moments, and of how much.

use crate::crowd::Tally;
use serde::Serialize;
use std::{fmt, iter::Sum};

/// Deliveries, and what of them and beside them was not as it should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    pub delivered: u64,
    pub lost: u64,
    pub twice: u64,
    pub misordered: u64,
    pub closed: u64,
}

impl Faults {
    /// As a tally has counted them.
    pub fn of(tally: &Tally) -> Self {
        let Tally { deliveries, lost, duplicates, misordered, closed, .. } = *tally;
        Self { delivered: deliveries, lost, twice: duplicates, misordered, closed }
    }

    /// `none`, or what there was of it; what was lost, of all that should have come.
    pub fn in_short(self) -> String {
        let Self { delivered, lost, twice, misordered, closed } = self;
        let parts = [
            (lost, format!("{lost} lost of {}", delivered + lost)),
            (twice, format!("{twice} twice")),
            (misordered, format!("{misordered} out of order")),
            (closed, format!("{closed} sockets closed")),
        ];
        let there: Vec<String> = parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, words)| words).collect();
        if there.is_empty() { "none".into() } else { there.join(", ") }
    }
}

impl Sum for Faults {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |all, part| Self {
            delivered: all.delivered + part.delivered,
            lost: all.lost + part.lost,
            twice: all.twice + part.twice,
            misordered: all.misordered + part.misordered,
            closed: all.closed + part.closed,
        })
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { delivered, lost, twice, misordered, closed } = self;
        write!(
            f,
            "{delivered} delivered, {lost} lost, {twice} twice, {misordered} out of order, {closed} sockets closed"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_said_of_what_should_have_come_and_adds_up() {
        let window = Faults { delivered: 900, lost: 100, ..Faults::default() };
        let all: Faults = [window, Faults { closed: 1, ..window }].into_iter().sum();
        assert_eq!(all.in_short(), "200 lost of 2000, 1 sockets closed");
        assert_eq!(Faults { delivered: 5, ..Faults::default() }.in_short(), "none");
    }
}
