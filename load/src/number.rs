//! Numbers that arguments may be. What is out of range is said before anything starts.

use crate::wire::stamp;
use std::time::Duration;

/// The largest payload that a gateway takes by default, in bytes.
const LARGEST_PAYLOAD: u32 = 512 * 1024;

/// A number from `LEAST` to `MOST`, both included.
pub fn within<const LEAST: u64, const MOST: u64>(text: &str) -> Result<f64, String> {
    from_to(text, LEAST as f64, MOST as f64)
}

/// A part of something that is divided by, and therefore never 0.
pub fn share(text: &str) -> Result<f64, String> {
    from_to(text, 0.01, 1.0)
}

/// Seconds of a measurement.
pub fn seconds(text: &str) -> Result<Duration, String> {
    from_to(text, 0.01, 3600.0).map(Duration::from_secs_f64)
}

/// Publications a second.
pub fn rate(text: &str) -> Result<f64, String> {
    from_to(text, 0.1, 1e7)
}

/// Bytes of a payload, which holds a stamp at least.
pub fn payload(text: &str) -> Result<usize, String> {
    let (least, most) = (stamp::LEAST as f64, f64::from(LARGEST_PAYLOAD));
    from_to(text, least, most).map(|bytes| bytes as usize)
}

fn from_to(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("not a number; write one from {least} to {most}"))?;
    match (least..=most).contains(&number) {
        true => Ok(number),
        false => Err(format!("write a number from {least} to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_that_mean_something_are_taken() {
        assert_eq!((within::<1, 1_000_000>("1e6"), within::<0, 8>("0.5")), (Ok(1e6), Ok(0.5)));
        assert_eq!((seconds("0.2"), payload("34")), (Ok(Duration::from_millis(200)), Ok(34)));
        assert!(share("0.6") == Ok(0.6) && share("0").is_err() && share("60").is_err());
        for text in ["1e7", "-1", "NaN", "inf", "1e-30", "many"] {
            let error = within::<1, 1_000_000>(text).unwrap_err();
            assert!(error.contains("from 1 to 1000000"), "{text}: {error}");
        }
        assert!(seconds("nan").is_err() && seconds("0").is_err() && seconds("1e30").is_err());
        assert!(rate("-5").is_err() && rate("1e-30").is_err());
        assert!(payload("33").is_err() && payload("600000").is_err());
    }
}
