//! What comes from Redis on a link, straight from the driver that reads its socket: never waits, and holds
//! no lock of ours while it calls the hub.

use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};

use crate::broker::redis::canary::{Canary, Flight};
use crate::broker::redis::desired::{Generation, Heard};
use crate::broker::redis::state::LinkState;
use crate::event::GapReason;
use crate::metrics::Dropped;
use crate::publication::{Header, Publication};
use crate::topic::Topic;

impl LinkState {
    /// Takes one push of connection `generation`; of a retired one it is ignored.
    pub(super) fn pushed(&self, generation: Generation, push: PushInfo) {
        let now = Instant::now();
        let mut data = push.data.into_iter();
        let Some(Value::BulkString(channel)) = data.next() else { return };
        match (push.kind, data.next()) {
            (PushKind::Message, Some(Value::BulkString(payload))) => self.message(generation, &channel, payload, now),
            (PushKind::Subscribe, _) => self.subscribed(generation, &channel, now),
            (PushKind::Unsubscribe, _) => self.unsubscribed(generation, &channel),
            _ => {}
        }
    }

    fn message(&self, generation: Generation, channel: &[u8], payload: Vec<u8>, now: Instant) {
        if channel == self.canary_channel.as_bytes() {
            return self.canary_came(&payload, now);
        }
        let Some(topic) = self.listened(generation, channel) else { return };
        self.seen(now);
        // `Bytes` takes the vector over: the payload is not copied.
        match Header::split(Bytes::from(payload)) {
            Ok((header, payload)) => {
                self.deliver.deliver(Publication::new(topic, header, payload, now));
            }
            Err(error) => {
                tracing::debug!(%topic, %error, "malformed publication");
                self.metrics.dropped(Dropped::Malformed).inc();
                self.deliver.gap(&topic, GapReason::Malformed);
            }
        }
    }

    /// The topic of a channel, where somebody listens. The table's own copy: nothing is allocated.
    fn listened(&self, generation: Generation, channel: &[u8]) -> Option<Topic> {
        let desired = self.desired.lock();
        match self.keys.name(channel).map_or(Heard::Stranger, |name| desired.live(generation, name)) {
            Heard::Live(topic) => Some(topic.clone()),
            Heard::Unwanted => None,
            Heard::Stranger => {
                self.strangers.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn subscribed(&self, generation: Generation, channel: &[u8], now: Instant) {
        self.seen(now);
        if channel == self.canary_channel.as_bytes() {
            *self.canary.lock() = Canary::Flying(Flight::default());
            self.fly.notify_one();
            return;
        }
        let Some(name) = self.keys.name(channel) else { return };
        let live = self.desired.lock().confirm(generation, name);
        if let Some(topic) = live {
            self.deliver.live(&topic);
        }
    }

    fn unsubscribed(&self, generation: Generation, channel: &[u8]) {
        let Some(name) = self.keys.name(channel) else { return };
        let lost = self.desired.lock().left(generation, name);
        if let Some(topic) = lost {
            self.deliver.lost(&[topic], self.last_seen());
        }
    }

    fn canary_came(&self, payload: &[u8], now: Instant) {
        let number = std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok());
        let Some(back) = number.and_then(|number| self.canary.lock().came(number, now)) else { return };
        self.seen(now);
        self.condition.lock().canary(back.in_a_row);
        if let Some(rtt) = back.rtt {
            self.metrics.redis_canary_rtt_seconds.observe(rtt.as_secs_f64());
        }
    }
}
