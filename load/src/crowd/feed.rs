//! When the next publication is due.

use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// Publications outstanding at most at a fixed rate; beyond, the schedule is held rather than memory eaten.
const MOST_OUTSTANDING: usize = 65_536;

/// How publications are paced.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feed {
    /// So many are outstanding; the next goes out when every socket has the oldest.
    InFlight(usize),
    /// So many per second, whatever has become of the earlier ones.
    Rate(f64),
    /// So many at once, and no more.
    Burst(usize),
}

impl Feed {
    /// Whether one more may go out, after `elapsed` of the run with `sent` out and `outstanding` incomplete.
    pub fn is_due(self, elapsed: Duration, sent: u64, outstanding: usize) -> bool {
        match self {
            Feed::InFlight(most) => outstanding < most,
            Feed::Rate(rate) => sent as f64 <= elapsed.as_secs_f64() * rate && outstanding < MOST_OUTSTANDING,
            Feed::Burst(most) => sent < most as u64,
        }
    }

    /// Whether nothing more will go out, however long the run.
    pub fn is_spent(self, sent: u64) -> bool {
        matches!(self, Feed::Burst(most) if sent >= most as u64)
    }

    /// How long a poller may sleep, in ms; nothing below a millisecond can be slept, so that spins.
    pub fn patience(self, elapsed: Duration, sent: u64) -> u16 {
        match self {
            Feed::InFlight(_) | Feed::Burst(_) => 100,
            Feed::Rate(rate) => ((sent as f64 / rate - elapsed.as_secs_f64()) * 1000.0).clamp(0.0, 100.0) as u16,
        }
    }
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Feed::InFlight(most) => write!(f, "{most} in flight"),
            Feed::Rate(rate) => write!(f, "{rate} a second"),
            Feed::Burst(most) => write!(f, "{most} at once"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_loop_publishes_when_the_oldest_is_complete() {
        let feed = Feed::InFlight(8);
        assert!(feed.is_due(Duration::ZERO, 7, 7));
        assert!(!feed.is_due(Duration::from_secs(9), 8, 8));
    }

    #[test]
    fn a_burst_goes_out_whole_and_ends_the_run() {
        let feed = Feed::Burst(3);
        assert_eq!([0, 2, 3].map(|sent| feed.is_due(Duration::ZERO, sent, 0)), [true, true, false]);
        assert_eq!([2, 3].map(|sent| feed.is_spent(sent)), [false, true]);
    }

    #[test]
    fn a_rate_is_kept_whatever_is_outstanding() {
        let feed = Feed::Rate(64.0);
        assert!(feed.is_due(Duration::from_millis(50), 3, 3));
        assert!(!feed.is_due(Duration::from_millis(50), 4, 0));
        assert_eq!(feed.patience(Duration::from_millis(50), 4), 12);
        assert_eq!(feed.patience(Duration::from_millis(70), 4), 0);
    }
}
