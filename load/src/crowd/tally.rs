//! What was counted between two moments.

use crate::{
    crowd::ledger::Arrival,
    wire::stamp::{self, Stamp},
};
use anyhow::Result;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// What was counted between two moments.
#[derive(Clone, Serialize, Deserialize)]
pub struct Tally {
    pub publications: u64,
    pub deliveries: u64,
    /// Of the deliveries, on the wire: WebSocket frames, headers and all.
    pub bytes: u64,
    /// Deliveries that came compressed.
    pub deflated: u64,
    pub lost: u64,
    pub duplicates: u64,
    pub misordered: u64,
    pub closed: u64,
    #[serde(with = "latencies")]
    pub latency_ns: Histogram<u64>,
}

/// What one frame brought.
pub struct Message {
    pub arrival: Arrival,
    pub stamp: Stamp,
    pub frame_bytes: usize,
    pub deflated: bool,
}

impl Tally {
    pub fn new() -> Result<Self> {
        Ok(Self {
            publications: 0,
            deliveries: 0,
            bytes: 0,
            deflated: 0,
            lost: 0,
            duplicates: 0,
            misordered: 0,
            closed: 0,
            latency_ns: latencies::empty()?,
        })
    }

    /// A run counts only when this is true.
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicates + self.misordered + self.closed == 0
    }

    /// Enters a message; answers whether somebody waited for it.
    #[inline]
    pub fn enter(&mut self, message: &Message) -> bool {
        match message.arrival {
            Arrival::Fresh => {}
            Arrival::Early => return false,
            Arrival::Late => self.misordered += 1,
            Arrival::Twice => {
                self.duplicates += 1;
                return false;
            }
        }
        self.deliveries += 1;
        self.bytes += message.frame_bytes as u64;
        self.deflated += u64::from(message.deflated);
        self.latency_ns.saturating_record(stamp::now().saturating_sub(message.stamp.sent_ns));
        true
    }
}

/// A histogram between processes: its bounds are known, so values and counts are enough.
mod latencies {
    use hdrhistogram::{CreationError, Histogram};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub fn empty() -> Result<Histogram<u64>, CreationError> {
        Histogram::new_with_bounds(1_000, 60_000_000_000, 3)
    }

    pub fn serialize<S: Serializer>(histogram: &Histogram<u64>, to: S) -> Result<S::Ok, S::Error> {
        let recorded = histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()));
        recorded.collect::<Vec<_>>().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Histogram<u64>, D::Error> {
        let mut histogram = empty().map_err(D::Error::custom)?;
        for (value, count) in Vec::<(u64, u64)>::deserialize(from)? {
            histogram.saturating_record_n(value, count);
        }
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_comes_out_of_another_process_as_it_was() {
        let mut tally = Tally::new().unwrap();
        tally.deliveries = 7;
        [1_000, 5_000, 5_000, 3_000_000].into_iter().for_each(|ns| tally.latency_ns.saturating_record(ns));
        let json = serde_json::to_string(&tally).unwrap();
        let back: Tally = serde_json::from_str(&json).unwrap();
        assert_eq!((back.deliveries, back.latency_ns), (tally.deliveries, tally.latency_ns));
    }

    #[test]
    fn what_was_on_its_way_when_a_socket_joined_is_not_counted() {
        let mut tally = Tally::new().unwrap();
        let stamp = Stamp { number: 0, sent_ns: 0 };
        let message = |arrival| Message { arrival, stamp, frame_bytes: 100, deflated: false };
        assert_eq!([Arrival::Early, Arrival::Fresh].map(|arrival| tally.enter(&message(arrival))), [false, true]);
        assert_eq!((tally.deliveries, tally.bytes, tally.is_clean()), (1, 100, true));
    }
}
