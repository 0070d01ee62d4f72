//! Durations and sizes as people write them.
//!
//! Reading is strict, so that one text means one thing; a guess at what else was meant only ever becomes a
//! proposal in a message.

use std::time::Duration;

use super::ByteSize;

const HOUR: u64 = 3_600_000;
const UNITS: [(&str, u64); 4] = [("h", HOUR), ("m", 60_000), ("s", 1000), ("ms", 1)];
const SIZES: [(&str, usize); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A month: nothing of ours takes longer, and clocks can be added to it without overflow.
pub const LONGEST: Duration = Duration::from_millis(720 * HOUR);

/// `500ms`, `10s`, `1m30s`, `2h`: whole numbers with units, from large to small.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (number, unit, after) = piece(rest)?;
        let (_, worth) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*worth)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(Duration::from_millis(total))
}

/// A number, the letters behind it, and what follows.
fn piece(text: &str) -> Option<(&str, &str, &str)> {
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(unit);
    let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
    (!number.is_empty()).then_some((number, &rest[..end], &rest[end..]))
}

/// As [`duration`] reads it.
#[must_use]
pub fn write_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (name, worth) in UNITS {
        if rest >= worth {
            text.push_str(&format!("{}{name}", rest / worth));
            rest %= worth;
        }
    }
    text
}

/// What somebody may have meant who wrote `10`, `10 sec`, `1.5s` or `2 days`.
#[must_use]
pub fn guess_duration(text: &str) -> Option<Duration> {
    let (number, unit) = loose(text)?;
    let worth = match unit.as_str() {
        "ms" | "msec" | "msecs" | "millis" | "milliseconds" => 1.0,
        "" | "s" | "sec" | "secs" | "second" | "seconds" => 1000.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => HOUR as f64,
        "d" | "day" | "days" => 24.0 * HOUR as f64,
        _ => return None,
    };
    let guess = Duration::try_from_secs_f64((number * worth).round() / 1000.0).ok()?;
    (guess <= LONGEST).then_some(guess)
}

/// `64KiB`, `1MiB`, `512B`: a whole number and a unit of 1,024.
#[must_use]
pub fn size(text: &str) -> Option<ByteSize> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    let (_, worth) = SIZES.iter().find(|(name, _)| *name == unit)?;
    Some(ByteSize(number.parse::<usize>().ok()?.checked_mul(*worth)?))
}

/// As [`size`] reads it, in the largest unit that loses nothing.
#[must_use]
pub fn write_size(size: ByteSize) -> String {
    let whole = SIZES.iter().find(|(_, worth)| size.0 >= *worth && size.0.is_multiple_of(*worth));
    let (name, worth) = whole.unwrap_or(&SIZES[3]);
    format!("{}{name}", size.0 / worth)
}

/// What somebody may have meant who wrote `64kb`, `1M` or `65536`.
#[must_use]
pub fn guess_size(text: &str) -> Option<ByteSize> {
    let (number, unit) = loose(text)?;
    let worth = match unit.as_str() {
        "" | "b" | "byte" | "bytes" => 1.0,
        "k" | "kb" | "ki" | "kib" => 1024.0,
        "m" | "mb" | "mi" | "mib" => 1024.0 * 1024.0,
        "g" | "gb" | "gi" | "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let bytes = (number * worth).round();
    (bytes < 1e15).then_some(ByteSize(bytes as usize))
}

fn loose(text: &str) -> Option<(f64, String)> {
    let text: String = text.chars().take(40).filter(|c| !c.is_whitespace() && *c != '_').collect();
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    Some((number.parse().ok()?, unit.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_whole_numbers_with_units_from_large_to_small() {
        for (text, ms) in [("500ms", 500), ("10s", 10_000), ("1m30s", 90_000), ("2h", 7_200_000), ("0s", 0)] {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "10", "s", "1.5s", "10S", "30s1m", "1s1s", "-1s", " 1s", "1d", "99999999999999999999h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_whole_numbers_with_units_of_1024() {
        for (text, bytes) in [("512B", 512), ("64KiB", 65_536), ("1MiB", 1 << 20), ("2GiB", 2 << 30), ("0B", 0)] {
            assert_eq!(size(text), Some(ByteSize(bytes)), "{text}");
        }
        for text in ["", "64", "KiB", "64kb", "64KB", "1.5MiB", "-1B", "99999999999999999GiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn what_was_probably_meant_is_guessed() {
        let guesses = [("10", "10s"), ("10 sec", "10s"), ("1.5s", "1s500ms"), ("2 days", "48h"), ("5MIN", "5m")];
        for (text, meant) in guesses {
            assert_eq!(guess_duration(text).map(write_duration).as_deref(), Some(meant), "{text}");
        }
        for (text, meant) in [("64kb", "64KiB"), ("1M", "1MiB"), ("65536", "64KiB"), ("1000", "1000B")] {
            assert_eq!(guess_size(text).map(write_size).as_deref(), Some(meant), "{text}");
        }
        assert_eq!(guess_duration("soon"), None);
        assert_eq!(guess_size("-1"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(ms in 0_u64..10_000_000_000, bytes in 0_usize..1 << 50) {
            let span = Duration::from_millis(ms);
            prop_assert_eq!(duration(&write_duration(span)), Some(span));
            prop_assert_eq!(size(&write_size(ByteSize(bytes))), Some(ByteSize(bytes)));
        }

        #[test]
        fn no_text_is_too_strange(text in ".*") {
            let _ = (duration(&text), guess_duration(&text), size(&text), guess_size(&text));
        }
    }
}
