//! How many sockets there may be at once, and who gives way when there are as many.
//!
//! Every socket has a place, from accept to its end. One that waits for its client stands in the waiting room besides:
//! when all places are taken, the one that has stood there longest gives way to the next. So strangers who say nothing,
//! or read nothing, cannot keep others out, and those who are in are no part of it.
//!
//! What half heads hold is bounded alike: over it, the one of them that has stood there longest gives way.

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
    /// The most bytes that half heads hold.
    most_held: usize,
    waiting: Mutex<Waiting>,
}

/// Those that wait for their client, in the order in which they came.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// Dropped, one learns that it has to give way.
    those: BTreeMap<u64, oneshot::Sender<Infallible>>,
    /// What those of them hold that hold much.
    heads: BTreeMap<u64, usize>,
    /// All of it.
    held: usize,
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
    /// So many, whose half heads hold so many bytes.
    #[must_use]
    pub fn new(most: usize, most_held: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), most, most_held, waiting: Mutex::default() })
    }

    /// Takes a place. Where none is free the longest wait ends, if there is any.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        // The place exists already, so that a refusal gives it back by dropping it.
        let place = Place(self.clone());
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        (before < self.most || before < self.most + LEAVING && self.send_one_away()).then_some(place)
    }

    fn send_one_away(&self) -> bool {
        let mut waiting = self.waiting.lock();
        let longest = waiting.those.first_key_value().map(|(number, _)| *number);
        longest.is_some_and(|number| waiting.leave(number))
    }
}

impl Waiting {
    /// One leaves, if it is there still.
    fn leave(&mut self, number: u64) -> bool {
        self.held -= self.heads.remove(&number).unwrap_or(0);
        self.those.remove(&number).is_some()
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

impl Wait {
    /// Its half head holds so many bytes now. Whether somebody had to give way for them, perhaps this one itself.
    pub fn hold(&self, bytes: usize) -> bool {
        let mut waiting = self.places.waiting.lock();
        if !waiting.those.contains_key(&self.number) {
            return false;
        }
        waiting.held += bytes;
        waiting.held -= waiting.heads.insert(self.number, bytes).unwrap_or(0);
        let mut gave_way = false;
        while waiting.held > self.places.most_held
            && let Some((&oldest, _)) = waiting.heads.first_key_value()
        {
            gave_way |= waiting.leave(oldest);
        }
        gave_way
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
        self.places.waiting.lock().leave(self.number);
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
        let places = Places::new(3, 0);
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
        let places = Places::new(1000, 0);
        let stubborn: Vec<_> =
            std::iter::from_fn(|| places.take().map(|place| (place.wait(), place))).take(5000).collect();
        assert_eq!(stubborn.len(), 1000 + LEAVING);
        assert_eq!(places.waiting.lock().those.len(), 1000);
    }

    #[test]
    fn half_heads_hold_so_much_and_the_oldest_of_them_gives_way() {
        let places = Places::new(10, 100);
        let those: Vec<_> = (0..6).map(|_| places.take().unwrap()).collect();
        let mut waits: Vec<_> = those.iter().map(Place::wait).collect();
        assert!(!waits[1].hold(20) && !waits[2].hold(40) && !waits[1].hold(50));
        assert_eq!(places.waiting.lock().held, 90, "what grows counts once");
        assert!(waits[3].hold(20), "one too many");
        assert!(is_over(&mut waits[1]) && !is_over(&mut waits[0]), "who holds nothing is no part of it");
        assert!(!waits[1].hold(60), "who has to go does not count any more");
        assert!(waits[4].hold(101) && is_over(&mut waits[4]), "more than there is room for");
        assert!(is_over(&mut waits[2]) && is_over(&mut waits[3]));
        assert!(!waits[5].hold(100));
        drop(waits);
        let waiting = places.waiting.lock();
        assert_eq!((waiting.held, waiting.heads.len(), waiting.those.len()), (0, 0, 0));
    }
}
