//! A publication's place in its topic's history.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A place in a topic's history, written `<ms>-<n>`: the id of the publication's entry in the topic's stream. Places
/// grow with time; the time is that of the Redis that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// When it was published, in ms since 1970.
    pub ms: u64,
    /// Which of that millisecond it is, from 0.
    pub number: u64,
}

/// Why a text is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is two numbers such as \"1700000000000-0\", as in the `position` of a message")]
pub struct BadPosition;

impl Position {
    /// Before everything that was ever published: the last position of a topic without any publication.
    pub const START: Self = Self { ms: 0, number: 0 };

    /// Behind everything that ever will be: nothing follows it, whatever a history says.
    pub const NOWHERE: Self = Self { ms: u64::MAX, number: u64::MAX };

    /// The first place that a publication of this moment can have, in ms since 1970.
    #[must_use]
    pub fn at(ms: u64) -> Self {
        Self { ms, number: 0 }
    }

    /// The last place before this one; the start has none, and is its own.
    #[must_use]
    pub fn before(self) -> Self {
        match (self.ms, self.number.checked_sub(1)) {
            (ms, Some(number)) => Self { ms, number },
            (0, None) => Self::START,
            (ms, None) => Self { ms: ms - 1, number: u64::MAX },
        }
    }

    /// The first place after this one that a publication of `now_ms` can have: time may stand still or go back, places
    /// do not.
    #[must_use]
    pub fn next(self, now_ms: u64) -> Self {
        match now_ms > self.ms {
            true => Self::at(now_ms),
            false => Self { ms: self.ms, number: self.number + 1 },
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.number)
    }
}

impl FromStr for Position {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Self, BadPosition> {
        let (ms, number) = text.split_once('-').ok_or(BadPosition)?;
        Ok(Self { ms: digits(ms)?, number: digits(number)? })
    }
}

/// A number as Redis writes it: no sign, no zero in front.
fn digits(text: &str) -> Result<u64, BadPosition> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().map_err(|_| BadPosition) } else { Err(BadPosition) }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_position_is_two_plain_numbers_and_nothing_else_is() {
        assert_eq!("1700000000000-7".parse(), Ok(Position { ms: 1_700_000_000_000, number: 7 }));
        for bad in ["", "1", "-", "1-", "-1", "1-x", "+1-0", "01-0", "1-00", "1-2-3", " 1-0", "99999999999999999999-0"]
        {
            assert_eq!(bad.parse::<Position>(), Err(BadPosition), "{bad}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_gives_no_earlier_place() {
        let last = Position { ms: 50, number: 3 };
        assert_eq!(last.next(51), Position::at(51));
        assert_eq!(last.next(50), Position { ms: 50, number: 4 });
        assert_eq!(last.next(1), Position { ms: 50, number: 4 });
        assert!(Position::START < Position::START.next(0));
        assert_eq!(Position::at(7).before(), Position { ms: 6, number: u64::MAX });
        assert_eq!((last.before().number, Position::START.before()), (2, Position::START));
    }

    proptest! {
        #[test]
        fn every_position_comes_back_from_its_text(ms: u64, number: u64) {
            let position = Position { ms, number };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
            let json = serde_json::to_string(&position).unwrap();
            prop_assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), position);
        }
    }
}
