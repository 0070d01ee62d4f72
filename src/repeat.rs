//! Log lines that would repeat: the first of each cause is said at once, then one a minute with how many were not.
//!
//! What lasts fills no log, and what changes is told when it changes. A cause is whatever tells one fault from another:
//! an error's kind and address, not its text where that has counts, times or an order of arrival in it.

use std::hash::{DefaultHasher, Hash, Hasher};

use parking_lot::Mutex;

use crate::clock;

/// How long a cause that goes on is not said again, in ms.
const AGAIN: u64 = 60_000;

/// The most causes that are told apart where nobody says another number; further ones share the last place, so that ever
/// new causes are no way around.
const CAUSES: usize = 16;

/// What was said, by cause.
#[derive(Debug)]
pub struct Repeats {
    causes: Mutex<Vec<Cause>>,
    most: usize,
}

#[derive(Debug)]
struct Cause {
    /// Its hash; none in the place that further causes share.
    hash: Option<u64>,
    /// When it was last said, in ms of [`clock::now_ms`].
    said: u64,
    /// How often it was not said since.
    kept: u64,
}

impl Default for Repeats {
    fn default() -> Self {
        Self::new()
    }
}

impl Repeats {
    /// Nothing was said yet.
    #[must_use]
    pub const fn new() -> Self {
        Self::of(CAUSES)
    }

    /// The same, where so many causes are told apart, the last of them in the place that further ones share.
    #[must_use]
    pub const fn of(most: usize) -> Self {
        Self { causes: Mutex::new(Vec::new()), most }
    }

    /// Whether a line of this cause is due. Where it is: how many of the same cause were not said since the last.
    #[must_use]
    pub fn due(&self, cause: impl Hash) -> Option<u64> {
        self.due_at(cause, clock::now_ms())
    }

    fn due_at(&self, cause: impl Hash, now: u64) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        cause.hash(&mut hasher);
        let mut causes = self.causes.lock();
        // A cause that was over for so long begins anew, and its place is free.
        causes.retain(|cause| now < cause.said + 2 * AGAIN);
        let hash = Some(hasher.finish())
            .filter(|hash| causes.len() + 1 < self.most || causes.iter().any(|cause| cause.hash == Some(*hash)));
        match causes.iter_mut().find(|cause| cause.hash == hash) {
            None => {
                causes.push(Cause { hash, said: now, kept: 0 });
                Some(0)
            }
            Some(cause) if now < cause.said + AGAIN => {
                cause.kept += 1;
                None
            }
            Some(cause) => {
                cause.said = now;
                Some(std::mem::take(&mut cause.kept))
            }
        }
    }

    /// The state is over: what comes next is news, whatever its cause.
    pub fn over(&self) {
        self.causes.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_at_once_and_then_once_a_minute_with_a_count() {
        let repeats = Repeats::new();
        assert_eq!(repeats.due_at("auth", 5), Some(0));
        assert!((6..1_006).all(|now| repeats.due_at("auth", now).is_none()));
        assert_eq!(repeats.due_at("dns", 100), Some(0), "another cause is news");
        assert_eq!(repeats.due_at("auth", 5 + AGAIN), Some(1_000));
        assert_eq!(repeats.due_at("auth", 5 + 2 * AGAIN), Some(0));
        repeats.over();
        assert_eq!(repeats.due_at("auth", 6 + 2 * AGAIN), Some(0), "what was over is news when it comes again");
    }

    #[test]
    fn ever_new_causes_are_no_way_around_the_minute() {
        let repeats = Repeats::new();
        let said = (0..10_000).filter(|cause| repeats.due_at(cause, 5).is_some()).count();
        assert_eq!(said, CAUSES);
        assert_eq!(repeats.due_at(0, 6), None, "the first ones are still told apart");
        assert_eq!(repeats.due_at("new", 5 + AGAIN), Some(10_000 - CAUSES as u64));
        let many = Repeats::of(3);
        assert_eq!((0..10).filter(|cause| many.due_at(cause, 5).is_some()).count(), 3);
    }
}
