//! Messages of clients that are not all here yet, of all connections together: what they hold and how long they take
//! is bounded.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use crate::close::{Close, retry_hint};
use crate::identity::ConnectionNumber;
use crate::outbox::Outbox;

/// What a claim holds beside the message itself, in bytes: its place in the list and the decoder's notes, about.
const BESIDE: usize = 256;

/// How long a client whose message was given up should stay away at least, in ms.
const RETRY: u32 = 2000;

/// Room for all messages that are not all here yet.
///
/// Only they are listed, so a connection that is idle or sends whole messages has no part in it.
pub struct Unfinished {
    limit: usize,
    /// How long one may take, in ms.
    patience: u64,
    used: AtomicUsize,
    /// The connections by when their messages began, in ms. No outbox is locked under this lock.
    begun: Mutex<BTreeMap<(u64, ConnectionNumber), Weak<Outbox>>>,
}

/// One message's room; dropped, it is free again.
pub struct Claim {
    all: Arc<Unfinished>,
    place: (u64, ConnectionNumber),
    held: usize,
}

impl Unfinished {
    /// Room for `limit` bytes, each message for this long.
    #[must_use]
    pub fn new(limit: usize, patience: Duration) -> Arc<Self> {
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        Arc::new(Self { limit, patience, used: AtomicUsize::new(0), begun: Mutex::default() })
    }

    /// The bytes that are held now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The most bytes that may be held.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Room for a message that a connection began to send at `now`, in ms of [`crate::clock`].
    pub(super) fn claim(all: &Arc<Self>, outbox: &Arc<Outbox>, now: u64) -> Box<Claim> {
        let place = (now, outbox.number());
        all.begun.lock().insert(place, Arc::downgrade(outbox));
        Box::new(Claim { all: all.clone(), place, held: 0 })
    }

    /// Closes every client whose message takes too long.
    pub fn close_late(&self, now: u64) {
        let Some(last) = now.checked_sub(self.patience) else { return };
        let late = {
            let mut begun = self.begun.lock();
            let in_time = begun.split_off(&(last + 1, ConnectionNumber(0)));
            std::mem::replace(&mut *begun, in_time)
        };
        for outbox in late.into_values().filter_map(|outbox| outbox.upgrade()) {
            outbox.close(given_up());
        }
    }

    /// The message that has waited longest makes room: it is given up.
    fn close_oldest(&self) {
        let oldest = self.begun.lock().pop_first();
        if let Some(outbox) = oldest.and_then(|(_, outbox)| outbox.upgrade()) {
            outbox.close(given_up());
        }
    }
}

impl Claim {
    /// The message holds so many bytes now.
    ///
    /// Where seven eighths of all room are taken, whoever takes more costs the message that has waited longest its
    /// own: those who hold messages back do not keep the others from sending theirs.
    ///
    /// # Errors
    /// There is no room for them.
    pub fn hold(&mut self, bytes: usize) -> Result<(), Close> {
        let wanted = bytes + BESIDE;
        let more = wanted.saturating_sub(self.held);
        let used = self.all.used.fetch_add(more, Ordering::Relaxed) + more;
        self.all.used.fetch_sub(self.held.saturating_sub(wanted), Ordering::Relaxed);
        self.held = wanted;
        if more > 0 && used > self.all.limit - self.all.limit / 8 {
            self.all.close_oldest();
        }
        if used > self.all.limit { Err(given_up()) } else { Ok(()) }
    }

    /// The message counts from `now` on: the client could not know that it was not read.
    pub fn excuse(&mut self, now: u64) {
        let mut begun = self.all.begun.lock();
        if let Some(outbox) = begun.remove(&self.place) {
            self.place.0 = now;
            begun.insert(self.place, outbox);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.all.used.fetch_sub(self.held, Ordering::Relaxed);
        self.all.begun.lock().remove(&self.place);
    }
}

fn given_up() -> Close {
    Close::Unfinished(retry_hint(RETRY))
}
