//! What one socket has got of its topic: nothing lost, nothing twice, nothing out of order, or it is counted.

/// Numbers a socket may miss before we stop telling "late" from "twice"; a socket so far behind is lost anyway.
const HOLES: usize = 1024;

/// One socket's account of one topic.
#[derive(Debug, Default)]
pub struct Ledger {
    from: u64,
    next: u64,
    holes: Vec<u64>,
}

/// What an arriving number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The one expected, or one behind a hole; both are deliveries, and a hole left open is counted as loss.
    Fresh,
    /// One that was skipped and now came after its successor: a delivery, and an error of order.
    Late,
    /// One that had come before.
    Twice,
    /// One that was published before the account began: the socket joined while it was on its way.
    Early,
}

impl Ledger {
    /// A socket that joins before number `next` is published.
    pub fn from(next: u64) -> Self {
        Self { from: next, next, holes: Vec::new() }
    }

    /// A socket that has not joined yet: whatever comes is early.
    pub fn closed() -> Self {
        Self::from(u64::MAX)
    }

    /// The first number not yet seen nor skipped.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Numbers skipped and not come since.
    pub fn holes(&self) -> &[u64] {
        &self.holes
    }

    /// Enters one arrival.
    #[inline]
    pub fn enter(&mut self, number: u64) -> Arrival {
        if number == self.next {
            self.next += 1;
            return Arrival::Fresh;
        }
        self.out_of_turn(number)
    }

    #[cold]
    fn out_of_turn(&mut self, number: u64) -> Arrival {
        if number < self.from {
            return Arrival::Early;
        }
        if number > self.next {
            let room = HOLES.saturating_sub(self.holes.len());
            self.holes.extend((self.next..number).take(room));
            self.next = number + 1;
            return Arrival::Fresh;
        }
        match self.holes.iter().position(|hole| *hole == number) {
            Some(at) => {
                self.holes.swap_remove(at);
                Arrival::Late
            }
            None => Arrival::Twice,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(numbers: &[u64]) -> (Vec<Arrival>, Vec<u64>) {
        let mut ledger = Ledger::default();
        let arrivals = numbers.iter().map(|number| ledger.enter(*number)).collect();
        (arrivals, ledger.holes)
    }

    #[test]
    fn a_number_that_comes_twice_is_no_second_delivery() {
        assert_eq!(story(&[0, 1, 1, 0]).0, [Arrival::Fresh, Arrival::Fresh, Arrival::Twice, Arrival::Twice]);
    }

    #[test]
    fn a_number_behind_its_successor_is_an_error_of_order_and_not_a_loss() {
        let (arrivals, holes) = story(&[0, 2, 1, 1, 3]);
        assert_eq!(arrivals, [Arrival::Fresh, Arrival::Fresh, Arrival::Late, Arrival::Twice, Arrival::Fresh]);
        assert!(holes.is_empty());
    }

    #[test]
    fn what_was_on_its_way_when_a_socket_joined_is_no_error() {
        let mut ledger = Ledger::from(5);
        assert_eq!(
            [4, 5, 4, 5].map(|number| ledger.enter(number)),
            [Arrival::Early, Arrival::Fresh, Arrival::Early, Arrival::Twice]
        );
    }

    #[test]
    fn a_number_that_never_comes_stays_a_hole() {
        assert_eq!(story(&[0, 3]).1, [1, 2]);
    }
}
