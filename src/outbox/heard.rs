//! When each peer was last heard, kept apart from what else its connection owns.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// How many share a block: eight cache lines.
const TOGETHER: usize = 64;

type Block = [AtomicU64; TOGETHER];

/// When one peer last sent anything or made room in a full socket, in ms of [`crate::clock`]; 0: never.
///
/// Those of connections that came one after the other lie side by side. So the heartbeat finds out who answered
/// without touching the connections themselves, whose memory may be cold by then.
#[derive(Clone)]
pub struct Heard {
    block: Arc<Block>,
    place: u8,
}

impl Heard {
    /// Notes a sign of life.
    pub fn note(&self, now: u64) {
        self.slot().store(now, Ordering::Relaxed);
    }

    /// The last one.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.slot().load(Ordering::Relaxed)
    }

    fn slot(&self) -> &AtomicU64 {
        &self.block[usize::from(self.place) % TOGETHER]
    }
}

/// Gives out places, block after block. No place is given out twice; a block goes with the last of its peers.
#[derive(Default)]
pub(super) struct Places {
    /// The block that is being filled, and its first free place; locked for one look.
    open: Mutex<Option<Heard>>,
}

impl Places {
    /// A place of its own for one more peer.
    pub fn next(&self) -> Heard {
        let mut open = self.open.lock();
        let place = open.take().unwrap_or_else(Heard::first);
        *open = place.following();
        place
    }
}

impl Heard {
    fn first() -> Self {
        Self { block: Arc::new([const { AtomicU64::new(0) }; TOGETHER]), place: 0 }
    }

    fn following(&self) -> Option<Self> {
        let place = self.place + 1;
        (usize::from(place) < TOGETHER).then(|| Self { block: self.block.clone(), place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn nobody_hears_for_another_and_neighbours_lie_side_by_side() {
        let places = Places::default();
        let peers: Vec<_> = (0..1000).map(|_| places.next()).collect();
        peers.iter().zip(1..).for_each(|(peer, now)| peer.note(now));
        assert!(peers.iter().zip(1..).all(|(peer, now)| peer.last() == now));
        let blocks: HashSet<_> = peers.iter().map(|peer| Arc::as_ptr(&peer.block)).collect();
        assert_eq!(blocks.len(), 1000_usize.div_ceil(TOGETHER));
    }

    #[test]
    fn a_block_goes_with_the_last_of_its_peers() {
        let places = Places::default();
        let mut peers: Vec<_> = (0..TOGETHER).map(|_| places.next()).collect();
        let block = Arc::downgrade(&peers[0].block);
        peers.truncate(1);
        assert!(block.upgrade().is_some());
        peers.clear();
        assert!(block.upgrade().is_none());
    }
}
