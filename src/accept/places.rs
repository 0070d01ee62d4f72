//! How many sockets there may be at once, and who gives way when there are as many.
//!
//! Every socket has a place, from accept to its end. One that waits for its client stands in the waiting room besides:
//! when all places are taken, the one that has stood there longest gives way to the next. So strangers who say nothing,
//! or read nothing, cannot keep others out, and those who are in are no part of it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// How many may be on their way out while others have come in for them already.
const LEAVING: usize = 64;

/// The places of one listener.
#[derive(Debug)]
pub struct Places {
    taken: AtomicUsize,
    most: usize,
    waiting: Mutex<Waiting>,
}

/// Those that wait for their client, in the order in which they came.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// Dropped, one learns that it has to give way.
    those: BTreeMap<u64, oneshot::Sender<Infallible>>,
}

/// A socket's place, held by whoever has the socket: the handshake, then the connection.
#[derive(Debug)]
pub struct Place(Arc<Places>);

/// A stay in the waiting room; resolves when its socket has to give way.
#[derive(Debug)]
pub(super) struct Wait {
    places: Arc<Places>,
    number: u64,
    sent_away: oneshot::Receiver<Infallible>,
}

impl Places {
    /// So many.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), most, waiting: Mutex::default() })
    }

    /// Takes a place. Where none is free the longest wait ends, if there is any.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        // The place exists already, so that a refusal gives it back by dropping it.
        let place = Place(self.clone());
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        (before < self.most || before < self.most + LEAVING && self.send_one_away()).then_some(place)
    }

    fn send_one_away(&self) -> bool {
        self.waiting.lock().those.pop_first().is_some()
    }
}

impl Place {
    /// Enters the waiting room.
    pub(super) fn wait(&self) -> Wait {
        let (sender, sent_away) = oneshot::channel();
        let mut waiting = self.0.waiting.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.those.insert(number, sender);
        drop(waiting);
        Wait { places: self.0.clone(), number, sent_away }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.sent_away).poll(cx).map(drop)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.places.waiting.lock().those.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_over(wait: &mut Wait) -> bool {
        Pin::new(wait).poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[test]
    fn who_has_waited_longest_gives_way_and_who_is_in_never_does() {
        let places = Places::new(3);
        let [one, two, three] = [(); 3].map(|()| places.take().unwrap());
        let (mut first, mut second) = (one.wait(), two.wait());
        let fourth = places.take().unwrap();
        assert!(is_over(&mut first) && !is_over(&mut second));
        drop((first, one));
        assert!(places.taken.load(Ordering::Relaxed) == 3 && !is_over(&mut second));
        drop(second);
        assert!(places.take().is_none(), "nobody waits, and all places are taken");
        drop((two, three, fourth));
        assert_eq!((places.taken.load(Ordering::Relaxed), places.waiting.lock().those.len()), (0, 0));
    }

    #[test]
    fn those_on_their_way_out_are_bounded_too() {
        let places = Places::new(1000);
        let stubborn: Vec<_> =
            std::iter::from_fn(|| places.take().map(|place| (place.wait(), place))).take(5000).collect();
        assert_eq!(stubborn.len(), 1000 + LEAVING);
        assert_eq!(places.waiting.lock().those.len(), 1000);
    }
}
