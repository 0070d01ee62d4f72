//! The canaries of one link: one, or in a cluster one for each master that owns slots, because a link may hear
//! what one master publishes and be deaf to another.

use std::time::{Duration, Instant};

use crate::broker::redis::canary::{Canary, Flight, OVERDUE};
use crate::link::cluster::SlotMap;
use crate::link::placement::slot;

/// Every road that a link must hear.
#[derive(Debug)]
pub struct Canaries {
    /// The channel, and what the names of further ones begin with.
    base: String,
    roads: Vec<Road>,
}

/// One road: from the master that owns the channel's slot to this link.
#[derive(Debug)]
struct Road {
    channel: String,
    canary: Canary,
    /// How many came back in a row.
    row: u32,
    /// Until when all that was published on it is known to have come, on this connection.
    whole: Option<Instant>,
    /// Its master did not answer the last time.
    silent: bool,
}

/// What a canary that came back shows.
#[derive(Debug, PartialEq, Eq)]
pub struct Proof {
    /// From its publish until now; none for one that was sent before a newer one.
    pub rtt: Option<Duration>,
    /// How many came back in a row at least, on each road whose master answers.
    pub row: u32,
    /// Until when all that was published is known to have come; none while one road is not proven.
    pub whole: Option<Instant>,
}

impl Road {
    fn new(channel: String) -> Self {
        Self { channel, canary: Canary::Grounded, row: 0, whole: None, silent: false }
    }
}

impl Canaries {
    /// One, of channel `base`.
    #[must_use]
    pub fn new(base: String) -> Self {
        Self { roads: vec![Road::new(base.clone())], base }
    }

    /// The channels to publish to.
    #[must_use]
    pub fn channels(&self) -> Vec<String> {
        self.roads.iter().map(|road| road.channel.clone()).collect()
    }

    /// Whether a channel is one of them. Asked for every message, so the cheapest test comes first.
    #[must_use]
    pub fn has(&self, channel: &[u8]) -> bool {
        channel.starts_with(self.base.as_bytes()) && self.roads.iter().any(|road| road.channel.as_bytes() == channel)
    }

    /// The connection is gone: nothing flies, and in a cluster the next connection finds its own roads.
    pub fn ground(&mut self) {
        for road in &mut self.roads {
            (road.canary, road.row, road.whole) = (Canary::Grounded, 0, None);
        }
    }

    /// Until when all that was published is known to have come, on every road; none while one is not proven.
    fn whole(&self) -> Option<Instant> {
        self.roads.iter().map(|road| road.whole).min().flatten()
    }

    /// Adds a road for each master of the cluster that has none, and forgets those that lead to a master with
    /// another road, where `anew`. The channels that were added.
    pub fn cover(&mut self, map: &SlotMap, anew: bool) -> Vec<String> {
        if anew {
            self.roads.clear();
        }
        let mut added = Vec::new();
        for master in map.masters() {
            if self.roads.iter().any(|road| map.owner(slot(&road.channel)) == Some(master)) {
                continue;
            }
            let Some(channel) = map.name_on(master, &self.base) else { continue };
            self.roads.push(Road::new(channel.clone()));
            added.push(channel);
        }
        added
    }

    /// The channels of roads on which nothing flies.
    #[must_use]
    pub fn grounded(&self) -> Vec<String> {
        let grounded = self.roads.iter().filter(|road| matches!(road.canary, Canary::Grounded));
        grounded.map(|road| road.channel.clone()).collect()
    }

    /// SUBSCRIBE is on its way.
    pub fn subscribing(&mut self, channel: &str, now: Instant) {
        if let Some(road) = self.road(channel) {
            road.canary = Canary::Subscribing { until: now + OVERDUE };
        }
    }

    /// SUBSCRIBE was confirmed. Answers until when all is known to have come.
    pub fn fly(&mut self, channel: &str, now: Instant) -> Option<Instant> {
        if let Some(road) = self.road(channel) {
            (road.canary, road.whole) = (Canary::Flying(Flight::default()), Some(now));
        }
        self.whole()
    }

    /// SUBSCRIBE was refused, or Redis took the subscription away.
    pub fn lose(&mut self, channel: &str) {
        if let Some(road) = self.road(channel) {
            (road.canary, road.row, road.whole) = (Canary::Grounded, 0, None);
        }
    }

    /// One is about to be published.
    pub fn sent(&mut self, channel: &str, number: u64, at: Instant) {
        if let Some(road) = self.road(channel) {
            road.canary.sent(number, at);
        }
    }

    /// One master of several did not answer, or is gone. Where this connection has heard it before, a
    /// canary is in the air from now on, and the link is given up over it: something may be missed. Afterwards
    /// nothing can be published there either, and the link is judged by the others.
    pub fn unanswered(&mut self, channel: &str, number: u64, now: Instant) {
        let Some(road) = self.road(channel) else { return };
        road.silent = true;
        match road.row {
            0 => road.canary.recalled(),
            _ => road.canary.sent(number, now),
        }
    }

    /// One master of several lets nobody new in who would send a canary. Whether this connection has heard it before: then
    /// that counts, until something shows otherwise. Where not, the link is judged by the others.
    pub fn unsent(&mut self, channel: &str) -> bool {
        let Some(road) = self.road(channel) else { return true };
        road.silent = road.row == 0;
        !road.silent
    }

    /// The master answers (again).
    pub fn answered(&mut self, channel: &str) {
        if let Some(road) = self.road(channel) {
            road.silent = false;
        }
    }

    /// None was published after all.
    pub fn recalled(&mut self, channel: &str) {
        if let Some(road) = self.road(channel) {
            road.canary.recalled();
        }
    }

    /// One came back.
    pub fn came(&mut self, channel: &[u8], number: u64, now: Instant) -> Option<Proof> {
        let road = self.roads.iter_mut().find(|road| road.channel.as_bytes() == channel)?;
        let back = road.canary.came(number, now)?;
        road.row = if back.in_a_row { road.row.saturating_add(1) } else { 1 };
        road.whole = Some(back.sent);
        let row = self.roads.iter().filter(|road| !road.silent).map(|road| road.row).min().unwrap_or(0);
        Some(Proof { rtt: back.rtt, row, whole: self.whole() })
    }

    /// When the link counts as deaf, unless something comes back before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.roads.iter().filter_map(|road| road.canary.deadline()).min()
    }

    /// Whether some fly, and none is on the way to.
    #[must_use]
    pub fn fly_where_they_can(&self) -> bool {
        let flying = self.roads.iter().any(|road| matches!(road.canary, Canary::Flying(_)));
        flying && !self.roads.iter().any(|road| matches!(road.canary, Canary::Subscribing { .. }))
    }

    fn road(&mut self, channel: &str) -> Option<&mut Road> {
        self.roads.iter_mut().find(|road| road.channel == channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::cluster::Cluster;
    use crate::link::connect::{Dialer, Means};
    use crate::link::login::Login;
    use redis::Value;

    /// A cluster whose masters own the slots up to these, in order.
    fn map(last: &[i64]) -> std::sync::Arc<SlotMap> {
        let text = |text: &str| Value::BulkString(text.as_bytes().into());
        let mut first = 0;
        let ranges = last.iter().zip(7000..).map(|(&last, port)| {
            let node = Value::Array(vec![text("h"), Value::Int(port)]);
            let range = Value::Array(vec![Value::Int(first), Value::Int(last), node]);
            first = last + 1;
            range
        });
        let ranges = Value::Array(ranges.collect());
        let cluster = Cluster::new(Vec::new(), Dialer::new(Login::default(), None, Means::default()));
        let from = crate::link::address::Place::Tcp { host: "h".into(), port: 7000 };
        cluster.learn(&from, vec![text("cluster_state:ok\r\ncluster_current_epoch:1"), ranges]);
        cluster.map()
    }

    fn flying(roads: usize) -> (Canaries, Vec<String>, Instant) {
        let mut canaries = Canaries::new("fanline:@canary:a.0".into());
        let ends: Vec<i64> = (1..=roads).map(|n| i64::try_from(n * 16_384 / roads).unwrap() - 1).collect();
        let channels = canaries.cover(&map(&ends), true);
        let now = Instant::now();
        let whole: Vec<_> = channels.iter().map(|channel| canaries.fly(channel, now)).collect();
        assert_eq!(whole.last(), Some(&Some(now)));
        assert!(whole[..roads - 1].iter().all(Option::is_none), "not before all roads are");
        (canaries, channels, now)
    }

    #[test]
    fn every_master_has_one_and_one_that_comes_gets_one() {
        let (mut canaries, channels, _) = flying(3);
        let three = map(&[5_460, 10_922, 16_383]);
        let owners: Vec<_> = channels.iter().map(|channel| three.owner(slot(channel))).collect();
        assert!(three.masters().all(|master| owners.contains(&Some(master))));
        assert_eq!(canaries.cover(&three, false), [""; 0]);
        let four = map(&[5_460, 10_922, 16_000, 16_383]);
        let added = canaries.cover(&four, false);
        assert!(added.len() == 1 && slot(&added[0]) > 16_000, "{added:?}");
        assert!(canaries.has(added[0].as_bytes()) && !canaries.has(b"fanline:@canary:a.0.x"));
    }

    #[test]
    fn a_link_is_proven_only_by_canaries_of_all_roads() {
        let (mut canaries, channels, now) = flying(2);
        let mut row = |channel: &str, number| {
            canaries.sent(channel, number, now);
            canaries.came(channel.as_bytes(), number, now).map(|proof| proof.row)
        };
        assert_eq!([row(&channels[0], 1), row(&channels[0], 2), row(&channels[0], 3)], [Some(0); 3]);
        assert_eq!([row(&channels[1], 1), row(&channels[1], 2)], [Some(1), Some(2)]);
    }

    #[test]
    fn all_has_come_until_the_oldest_of_the_last_canaries_was_sent() {
        let (mut canaries, channels, now) = flying(2);
        let [later, latest] = [1, 2].map(|s| now + Duration::from_secs(s));
        let mut whole = |channel: &str, number, at| {
            canaries.sent(channel, number, at);
            canaries.came(channel.as_bytes(), number, at + OVERDUE).and_then(|proof| proof.whole)
        };
        assert_eq!(whole(&channels[0], 1, later), Some(now));
        assert_eq!(whole(&channels[1], 1, latest), Some(later));
    }

    #[test]
    fn a_master_that_falls_silent_costs_the_link_once() {
        let (mut canaries, channels, now) = flying(2);
        canaries.sent(&channels[0], 1, now);
        canaries.came(channels[0].as_bytes(), 1, now);
        canaries.unanswered(&channels[0], 2, now);
        canaries.unanswered(&channels[0], 3, now + OVERDUE);
        assert_eq!(canaries.deadline(), Some(now + OVERDUE), "it was heard: something may be missed");
        canaries.ground();
        canaries.fly(&channels[0], now);
        canaries.sent(&channels[0], 4, now);
        canaries.unanswered(&channels[0], 4, now);
        assert_eq!(canaries.deadline(), None, "it was not heard since");
    }

    #[test]
    fn a_master_that_lets_nobody_new_in_is_no_proof_and_counts_as_it_was_last_heard() {
        let (mut canaries, channels, now) = flying(2);
        let row = |canaries: &mut Canaries, channel: &str, number| {
            canaries.sent(channel, number, now);
            canaries.came(channel.as_bytes(), number, now).map(|proof| proof.row)
        };
        assert_eq!([0, 1].map(|at| row(&mut canaries, &channels[at], 1)), [Some(0), Some(1)]);
        assert!(canaries.unsent(&channels[0]), "it was heard");
        assert_eq!(canaries.deadline(), None);
        assert_eq!(row(&mut canaries, &channels[1], 2), Some(1));
        canaries.unanswered(&channels[0], 2, now);
        canaries.unsent(&channels[0]);
        assert_eq!(canaries.deadline(), Some(now + OVERDUE), "what is missing stays so");
        canaries.ground();
        canaries.fly(&channels[1], now);
        assert!(!canaries.unsent(&channels[0]), "it was not heard on this connection");
        assert_eq!(row(&mut canaries, &channels[1], 3), Some(1), "the other one's word is enough");
    }
}
