//! What comes from Redis on a link, straight from the driver that reads its socket: never waits, and holds
//! no lock of ours while it calls the hub.

use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};

use crate::broker::redis::desired::{Generation, Heard};
use crate::broker::redis::late::Held;
use crate::broker::redis::state::LinkState;
use crate::clock;
use crate::event::GapReason;
use crate::metrics::Dropped;
use crate::publication::{Header, Publication};
use crate::topic::Topic;

/// The listeners of a channel.
enum Listened {
    By(Topic),
    Nobody,
    /// Nobody on this connection, which is one that was left.
    Late,
}

impl LinkState {
    /// Takes one push of connection `generation`; of a retired one it is ignored.
    pub(super) fn pushed(&self, generation: Generation, push: PushInfo) {
        let now = Instant::now();
        let mut data = push.data.into_iter();
        let Some(Value::BulkString(channel)) = data.next() else { return };
        match (push.kind, data.next()) {
            (PushKind::Message | PushKind::SMessage, Some(Value::BulkString(payload))) => {
                self.message(generation, &channel, payload, now);
            }
            (PushKind::Subscribe | PushKind::SSubscribe, _) => self.subscribed(generation, &channel, now),
            (PushKind::Unsubscribe | PushKind::SUnsubscribe, _) => self.unsubscribed(generation, &channel),
            _ => {}
        }
    }

    fn message(&self, generation: Generation, channel: &[u8], payload: Vec<u8>, now: Instant) {
        if self.is_canary(channel) {
            return self.canary_came(generation, channel, &payload, now);
        }
        let topic = match self.listened(generation, channel) {
            Listened::By(topic) => topic,
            Listened::Nobody => return,
            Listened::Late => return self.late.lock().message(generation, channel, payload),
        };
        // `Bytes` takes the vector over: the payload is not copied.
        match Header::split(Bytes::from(payload)) {
            Ok((header, payload)) => {
                self.deliver.deliver(Publication::new(topic, header, payload, now));
            }
            Err(error) => {
                if let Some(unsaid) = self.repeats.due("malformed") {
                    tracing::warn!(%topic, %error, unsaid, "malformed publication");
                }
                self.metrics.dropped(Dropped::Malformed).inc();
                self.deliver.gap(&topic, GapReason::Malformed, clock::unix_ms());
            }
        }
    }

    /// The topic of a channel, where somebody listens. The table's own copy: nothing is allocated.
    fn listened(&self, generation: Generation, channel: &[u8]) -> Listened {
        let desired = self.desired.lock();
        match self.keys.name(channel).map_or(Heard::Stranger, |name| desired.live(generation, name)) {
            Heard::Live(topic) => Listened::By(topic.clone()),
            Heard::Unwanted => Listened::Nobody,
            Heard::Retired => Listened::Late,
            Heard::Stranger => {
                self.strangers.fetch_add(1, Ordering::Relaxed);
                Listened::Nobody
            }
        }
    }

    /// A publication of a master that was left. What it put into a history stands in that master's alone.
    pub(super) fn late_came(&self, held: Held) {
        let Some(generation) = self.desired.lock().current() else { return };
        match Header::split(Bytes::copy_from_slice(&held.payload)) {
            Ok((Some(header), _)) if header.pos.is_some() => self.late.lock().miss(held),
            _ => self.message(generation, &held.channel, held.payload, Instant::now()),
        }
    }

    fn subscribed(&self, generation: Generation, channel: &[u8], now: Instant) {
        let Ok(channel) = std::str::from_utf8(channel) else { return };
        if self.is_canary(channel.as_bytes()) {
            if self.desired.lock().current() != Some(generation) {
                return;
            }
            let whole = self.canaries.lock().fly(channel, now);
            self.whole_until(whole);
            self.fly.notify_one();
            return;
        }
        let Some(name) = self.keys.name(channel.as_bytes()) else { return };
        let live = self.desired.lock().confirm(generation, name);
        if let Some(topic) = live {
            self.deliver.live(&topic);
        }
    }

    /// We left, or in a cluster the slot has moved to another master: then the topic is lost, and wanted still.
    fn unsubscribed(&self, generation: Generation, channel: &[u8]) {
        let Ok(channel) = std::str::from_utf8(channel) else { return };
        if self.is_canary(channel.as_bytes()) {
            if self.desired.lock().current() == Some(generation) {
                self.canaries.lock().lose(channel);
                self.wake.notify_one();
            }
            return;
        }
        let Some(name) = self.keys.name(channel.as_bytes()) else { return };
        let lost = self.desired.lock().left(generation, name);
        if let Some(topic) = lost {
            self.deliver.lost(&[topic], self.last_whole());
            self.wake.notify_one();
        }
    }

    /// Whether a channel is a canary's. The lock is taken only for what begins as they do.
    fn is_canary(&self, channel: &[u8]) -> bool {
        channel.starts_with(self.canary_base.as_bytes()) && self.canaries.lock().has(channel)
    }

    fn canary_came(&self, generation: Generation, channel: &[u8], payload: &[u8], now: Instant) {
        if self.desired.lock().current() != Some(generation) {
            return self.late.lock().canary(generation);
        }
        let number = std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok());
        let Some(proof) = number.and_then(|number| self.canaries.lock().came(channel, number, now)) else { return };
        self.whole_until(proof.whole);
        self.condition.lock().canary(proof.row);
        if let Some(rtt) = proof.rtt {
            self.metrics.redis_canary_rtt_seconds.observe(rtt.as_secs_f64());
        }
    }
}
