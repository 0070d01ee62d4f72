//! What a measured payload says of itself: its number on its topic, and when it left.

use nix::time::{ClockId, clock_gettime};

/// Number and time as 16 hex digits each, with a blank behind each: the smallest payload we can publish.
pub const LEAST: usize = 34;

/// The head of every payload we publish; text, so that it travels as a text frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Counts from 0 on each topic.
    pub number: u64,
    /// [`now`] of the publisher. One machine, one monotonic clock.
    pub sent_ns: u64,
}

/// Nanoseconds of the machine's monotonic clock, the same for every process on it.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap_or(nix::sys::time::TimeSpec::new(0, 0));
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

impl Stamp {
    /// Replaces `into` by a payload of `size` bytes, or of [`LEAST`] if that is more.
    pub fn fill(self, size: usize, into: &mut Vec<u8>) {
        into.clear();
        self.append(into);
        into.resize(size.max(LEAST), b'x');
    }

    /// Appends the [`LEAST`] bytes of the stamp alone.
    pub fn append(self, into: &mut Vec<u8>) {
        for value in [self.number, self.sent_ns] {
            into.extend((0..16).rev().map(|digit| b"0123456789abcdef"[(value >> (digit * 4)) as usize & 15]));
            into.push(b' ');
        }
    }

    /// Reads a payload; `None` when it is not one of ours.
    #[inline]
    pub fn read(payload: &[u8]) -> Option<Stamp> {
        let head = payload.first_chunk::<LEAST>()?;
        (head[16] == b' ' && head[33] == b' ').then_some(())?;
        Some(Stamp { number: hex(&head[..16])?, sent_ns: hex(&head[17..33])? })
    }

    /// Finds the stamp of a message that wraps it: one of the json protocol, or a JSON payload that carries it in
    /// a string of its own.
    #[inline]
    pub fn find(message: &[u8]) -> Option<Stamp> {
        Self::read(message).or_else(|| {
            message.starts_with(b"{").then_some(())?;
            let strings = message.iter().enumerate().filter(|(_, byte)| **byte == b'"');
            strings.map(|(quote, _)| quote + 1).find_map(|begin| Self::read(&message[begin..]))
        })
    }
}

#[inline]
fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_its_payload_at_every_size() {
        let stamp = Stamp { number: u64::MAX - 7, sent_ns: 1 };
        let mut payload = Vec::new();
        for (asked, got) in [(0, LEAST), (34, 34), (128, 128), (70_000, 70_000)] {
            stamp.fill(asked, &mut payload);
            assert_eq!((payload.len(), Stamp::read(&payload)), (got, Some(stamp)));
        }
    }

    #[test]
    fn a_stamp_is_found_behind_what_a_protocol_puts_before_it() {
        let stamp = Stamp { number: 3, sent_ns: 77 };
        let mut payload = Vec::new();
        stamp.fill(50, &mut payload);
        let text = String::from_utf8(payload).unwrap();
        let json = format!(r#"{{"type":"message","topic":"load:first","text":"{text}"}}"#);
        assert_eq!(Stamp::find(json.as_bytes()), Some(stamp));
        assert_eq!(Stamp::find(text.as_bytes()), Some(stamp));
        assert_eq!(Stamp::find(br#"{"type":"subscribed","topic":"load:first","live":true}"#), None);
    }

    #[test]
    fn what_others_publish_is_not_ours() {
        assert_eq!(Stamp::read(b"hello"), None);
        assert_eq!(Stamp::read(&[b'g'; 64]), None);
    }
}
