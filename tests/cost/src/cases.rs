//! The paths that are counted.

use crate::allocator::Asked;
use crate::{connections, delivery, frames, ingest};

/// One path through the gateway.
pub struct Case {
    /// What the baseline calls it.
    pub name: &'static str,
    /// What one time is.
    pub counts: &'static str,
    /// Does it so many times, after what warms up.
    pub run: fn(usize) -> anyhow::Result<Asked>,
}

/// All of them.
pub const CASES: &[Case] = &[
    Case { name: "plain", counts: "one publication to 1,000 plain clients", run: delivery::plain },
    Case { name: "json", counts: "one publication to 1,000 json clients", run: delivery::json },
    Case { name: "plain-by-8", counts: "eight publications at once to 1,000 plain clients", run: delivery::plain_by_8 },
    Case { name: "json-by-8", counts: "eight publications at once to 1,000 json clients", run: delivery::json_by_8 },
    Case { name: "deflated", counts: "one publication of 1 KiB, compressed, to 10 clients", run: delivery::deflated },
    Case { name: "ingest", counts: "one publication from Redis to the outbox of its one client", run: ingest::run },
    Case { name: "decode", counts: "one text message of 32 bytes out of a client's frame", run: frames::decode },
    Case { name: "connect", counts: "one connection, listening to one topic, and staying", run: connections::stay },
    Case {
        name: "come-and-go",
        counts: "one connection with a topic of its own, and its end",
        run: connections::come_and_go,
    },
];

/// The case of that name.
pub fn find(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}
