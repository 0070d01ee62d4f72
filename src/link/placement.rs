//! Where a channel lives: which of several Redis is its home, and which link carries it. The one place that
//! knows how many there are.

use std::fmt;

/// Redis Cluster's number of slots; ours are the same, so that a channel's home never depends on who asks.
pub const SLOTS: u16 = 16_384;

/// One connection that carries subscriptions, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Link(usize);

impl Link {
    /// Link number `number`, from 0.
    #[must_use]
    pub fn new(number: usize) -> Self {
        Self(number)
    }

    /// Its number, from 0.
    #[must_use]
    pub fn number(self) -> usize {
        self.0
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Divides the slots evenly among several Redis ("homes"), and those of each among its links.
#[derive(Debug, Clone, Copy)]
pub struct Placement {
    homes: usize,
    links: usize,
}

impl Placement {
    /// Divides them among `homes` Redis with `links` links each; 0 counts as 1.
    #[must_use]
    pub fn new(homes: usize, links: usize) -> Self {
        Self { homes: homes.max(1), links: links.max(1) }
    }

    /// Every link, and the home that it leads to.
    pub fn links(self) -> impl Iterator<Item = (Link, usize)> {
        (0..self.homes * self.links).map(move |number| (Link(number), number / self.links))
    }

    /// The link that carries a channel.
    #[must_use]
    pub fn of(self, channel: &str) -> Link {
        Link(share(slot(channel), self.homes * self.links))
    }

    /// The Redis that a channel lives on, by its place in `redis.url`.
    #[must_use]
    pub fn home(self, channel: &str) -> usize {
        share(slot(channel), self.homes)
    }
}

fn share(slot: u16, among: usize) -> usize {
    usize::from(slot) * among / usize::from(SLOTS)
}

/// A channel's slot: CRC16 (XMODEM) of its name, as Redis Cluster computes it for a name without braces.
#[must_use]
pub fn slot(channel: &str) -> u16 {
    channel.bytes().fold(0, crc16) % SLOTS
}

fn crc16(crc: u16, byte: u8) -> u16 {
    (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(slot("123456789"), 0x31C3);
        assert_eq!(slot("foo"), 12_182);
        assert_eq!(slot(""), 0);
    }

    #[test]
    fn links_share_the_channels_evenly_and_a_channel_keeps_its_link() {
        let placement = Placement::new(1, 3);
        let mut share = [0; 3];
        for n in 0..30_000 {
            share[placement.of(&format!("fanline:room:{n}")).number()] += 1;
        }
        assert!(share.iter().all(|&n| (9_000..11_000).contains(&n)), "{share:?}");
        assert_eq!(placement.links().count(), 3);
        assert_eq!(Placement::new(0, 0).of("x"), Link(0));
    }

    #[test]
    fn a_channels_link_leads_to_its_home() {
        for (homes, links) in [(1, 1), (2, 1), (3, 2), (7, 3), (5, 16)] {
            let placement = Placement::new(homes, links);
            let leads: Vec<usize> = placement.links().map(|(_, home)| home).collect();
            for n in 0..2_000 {
                let channel = format!("fanline:room:{n}");
                assert_eq!(leads[placement.of(&channel).number()], placement.home(&channel));
            }
        }
        assert_eq!(Placement::new(4, 1).home("123456789"), 0x31C3 * 4 / 16_384);
    }
}
