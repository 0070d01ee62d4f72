//! How connections' ends are logged: the ordinary at debug, the abnormal at info. Of each reason ten are shown as they come,
//! so that an operator sees whom it meets; where it goes on, one a minute, with how many were not shown. Clients cause most
//! of them, and so have no say in how long the log gets.

use std::net::IpAddr;

use parking_lot::Mutex;
use tracing::{debug, info};

use crate::clock;
use crate::close::Close;
use crate::identity::ConnectionId;
use crate::metrics::CLOSE_REASONS;

/// How many ends of one reason are shown as they come.
const LINES: u64 = 10;

/// How long it takes until another one is, in ms.
const AGAIN: u64 = 60_000;

/// Counts the lines of each reason.
#[derive(Default)]
pub struct Ends {
    reasons: [Mutex<Reason>; CLOSE_REASONS.len()],
}

/// What was shown of one reason.
#[derive(Default)]
struct Reason {
    /// When all of [`LINES`] may be shown again, in ms of [`clock::now_ms`].
    rested: u64,
    suppressed: u64,
}

impl Ends {
    /// Logs one end.
    pub fn log(&self, connection: &ConnectionId, client: IpAddr, close: &Close) {
        let reason = close.label();
        if matches!(close, Close::Client(_) | Close::Drain(_) | Close::Shed(_) | Close::MaxAge(_) | Close::Lost) {
            return debug!(%connection, %client, reason, "connection closed");
        }
        let place = CLOSE_REASONS.iter().position(|known| *known == reason).unwrap_or(0);
        let Some(suppressed) = self.reasons[place].lock().admit(clock::now_ms()) else {
            return;
        };
        match suppressed {
            0 => info!(%connection, %client, reason, detail = close.reason(), "connection closed"),
            _ => info!(%connection, %client, reason, detail = close.reason(), suppressed, "connection closed"),
        }
    }
}

impl Reason {
    /// Whether a line may be shown now, and how many were not since the last.
    fn admit(&mut self, now: u64) -> Option<u64> {
        let rested = self.rested.max(now) + AGAIN;
        if rested > now + LINES * AGAIN {
            self.suppressed += 1;
            return None;
        }
        self.rested = rested;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_as_they_come_and_then_one_a_minute_with_a_count_of_the_rest() {
        let mut reason = Reason::default();
        assert_eq!((0..25).filter_map(|_| reason.admit(7)).collect::<Vec<_>>(), [0; 10]);
        assert_eq!((reason.admit(6 + AGAIN), reason.admit(7 + AGAIN)), (None, Some(16)));
        let hour = (1..=3600).filter(|second| reason.admit(7 + AGAIN + second * 1000).is_some()).count();
        assert_eq!(hour, 60, "a flood that lasts");
        let calm = 7 + 100 * AGAIN;
        assert_eq!((0..25).filter_map(|_| reason.admit(calm)).count(), 10, "what has rested is shown again");
    }
}
