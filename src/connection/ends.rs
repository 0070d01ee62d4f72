//! How connections' ends are logged: the ordinary at debug, the abnormal at info and at most so many a
//! second per reason, then one line with how many were not shown.

use std::net::IpAddr;

use parking_lot::Mutex;
use tracing::{debug, info};

use crate::close::Close;
use crate::identity::ConnectionId;
use crate::metrics::CLOSE_REASONS;

/// The most lines a second per reason.
const LINES: u32 = 10;

/// Counts the lines of the running second, per reason.
#[derive(Default)]
pub struct Ends {
    seconds: [Mutex<Second>; CLOSE_REASONS.len()],
}

#[derive(Default)]
struct Second {
    at: u64,
    shown: u32,
    suppressed: u32,
}

impl Ends {
    /// Logs one end.
    pub fn log(&self, connection: &ConnectionId, client: IpAddr, close: &Close) {
        let reason = close.label();
        if matches!(close, Close::Client(_) | Close::Drain(_) | Close::Shed(_) | Close::MaxAge(_) | Close::Lost) {
            return debug!(%connection, %client, reason, "connection closed");
        }
        let place = CLOSE_REASONS.iter().position(|known| *known == reason).unwrap_or(0);
        let Some(suppressed) = self.seconds[place].lock().admit(crate::clock::now_ms() / 1000) else {
            return;
        };
        match suppressed {
            0 => info!(%connection, %client, reason, detail = close.reason(), "connection closed"),
            _ => info!(%connection, %client, reason, detail = close.reason(), suppressed, "connection closed"),
        }
    }
}

impl Second {
    /// Whether a line may be shown now, and how many were not since the last.
    fn admit(&mut self, now: u64) -> Option<u32> {
        if self.at != now {
            (self.at, self.shown) = (now, 0);
        }
        self.shown += 1;
        match self.shown <= LINES {
            true => Some(std::mem::take(&mut self.suppressed)),
            false => {
                self.suppressed += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_second_and_then_a_count_of_the_rest() {
        let mut second = Second::default();
        let shown = (0..25).filter_map(|_| second.admit(7)).count();
        assert_eq!(shown, 10);
        assert_eq!(second.admit(8), Some(15));
        assert_eq!(second.admit(8), Some(0));
    }
}
