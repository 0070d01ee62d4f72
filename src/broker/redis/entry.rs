//! One topic of a link, in two halves: what the hub wants, and what was said to Redis about it.

use std::time::Instant;

/// A topic's two halves, and where it stands beside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub want: Want,
    pub wire: Wire,
    pub queued: bool,
    pub ticket: bool,
}

/// What the hub wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Since then.
    Since(Instant),
    /// Nobody, but somebody may come back until then.
    Until(Instant),
    No,
}

/// What was said to Redis about the topic, on this link's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Absent,
    /// SUBSCRIBE is under way.
    Asked,
    /// Confirmed. Held and wanted means: the hub was told that it is live.
    Held,
    /// UNSUBSCRIBE is under way.
    Leaving,
}

impl Entry {
    pub fn is_wanted(&self) -> bool {
        matches!(self.want, Want::Since(_))
    }

    /// What it adds to the topics that are missing, and to those that linger.
    pub fn counts(&self) -> (usize, usize) {
        let is_missing = self.is_wanted() && self.wire != Wire::Held;
        let lingers = matches!(self.want, Want::Until(_)) && self.wire != Wire::Absent;
        (usize::from(is_missing), usize::from(lingers))
    }

    pub fn disagrees(&self) -> bool {
        matches!((self.want, self.wire), (Want::Since(_), Wire::Absent) | (Want::No, Wire::Held))
    }
}
