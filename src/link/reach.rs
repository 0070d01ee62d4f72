//! From addresses to a socket: each is given its own time, and a dead one does not keep the next waiting.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{sleep, timeout};

/// How long an address has before the next one is tried beside it; RFC 8305 recommends as much.
const STAGGER: Duration = Duration::from_millis(250);

/// The most addresses of a name that are tried; those who have more share their load by names.
const MOST: usize = 8;

/// How long reaching a server may take, step by step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For its name to be looked up.
    pub lookup: Duration,
    /// For an address to accept, then for TLS, then for the greeting; each.
    pub connect: Duration,
}

impl Patience {
    /// The longest that all of it may take.
    #[must_use]
    pub fn whole(self) -> Duration {
        let staggered = STAGGER.saturating_mul(u32::try_from(MOST - 1).unwrap_or(u32::MAX));
        self.lookup.saturating_add(staggered).saturating_add(self.connect.saturating_mul(3))
    }
}

/// An address that was tried in vain.
#[derive(Debug)]
pub struct Miss {
    /// Which.
    pub address: SocketAddr,
    /// What the network said; nothing: nobody answered in time.
    pub why: Option<io::Error>,
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Some(why) => write!(f, "{}: {why}", self.address),
            None => write!(f, "{}: no answer", self.address),
        }
    }
}

/// Tries the addresses until one takes us: the next at once where one refuses, or beside those under way where
/// they take their time. Each has `patience`.
///
/// # Errors
/// What each of them said, in their order.
pub async fn race<T, F>(
    addresses: &[SocketAddr],
    patience: Duration,
    dial: impl Fn(SocketAddr) -> F,
) -> Result<T, Vec<Miss>>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = by_turns(addresses).into_iter().take(MOST);
    let (mut under_way, mut misses) = (FuturesUnordered::new(), Vec::new());
    loop {
        if let Some(address) = waiting.next() {
            let dialled = timeout(patience, dial(address));
            under_way.push(async move { (address, dialled.await) });
        }
        let more = waiting.len() > 0;
        tokio::select! {
            ended = under_way.next() => match ended {
                Some((_, Ok(Ok(socket)))) => return Ok(socket),
                Some((address, failed)) => misses.push(Miss { address, why: failed.ok().and_then(Result::err) }),
                None => break,
            },
            () = sleep(STAGGER), if more => {}
        }
    }
    // In one order, so that the same failure reads the same.
    misses.sort_by_key(|miss| addresses.iter().position(|address| *address == miss.address));
    Err(misses)
}

/// The families in turn, beginning with the one that the resolver prefers: where one of them leads nowhere, as IPv6
/// does in many a container, it costs one turn.
fn by_turns(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let (preferred, others): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv6() == first.is_ipv6());
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    let mut turns = Vec::with_capacity(addresses.len());
    while turns.len() < addresses.len() {
        turns.extend(preferred.next());
        turns.extend(others.next());
    }
    turns
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// An address on port 1 is dead, one on port 2 refuses, and another takes as many ms as its port says.
    async fn dial(address: SocketAddr) -> io::Result<SocketAddr> {
        match address.port() {
            1 => pending().await,
            2 => Err(io::ErrorKind::ConnectionRefused.into()),
            port => {
                sleep(Duration::from_millis(u64::from(port))).await;
                Ok(address)
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_whose_first_address_is_dead_connects_to_the_next() {
        let began = Instant::now();
        let all = addresses(&["10.0.0.1:1", "10.0.0.2:100"]);
        assert_eq!(race(&all, PATIENCE, dial).await.unwrap(), all[1]);
        assert_eq!(began.elapsed(), STAGGER + Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_refuses_costs_no_time_and_a_slow_one_may_still_win() {
        let began = Instant::now();
        let all = addresses(&["10.0.0.1:2", "10.0.0.2:900", "10.0.0.3:1"]);
        assert_eq!(race(&all, PATIENCE, dial).await.unwrap(), all[1]);
        assert_eq!(began.elapsed(), Duration::from_millis(900));
    }

    #[tokio::test(start_paused = true)]
    async fn each_address_has_its_own_time_and_what_it_said_is_told_in_order() {
        let began = Instant::now();
        let all = addresses(&["10.0.0.1:1", "[::1]:2", "10.0.0.3:1"]);
        let misses = race(&all, PATIENCE, dial).await.unwrap_err();
        let told: Vec<String> = misses.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["10.0.0.1:1: no answer", "[::1]:2: connection refused", "10.0.0.3:1: no answer"]);
        assert_eq!(began.elapsed(), STAGGER + PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_addresses_a_name_has_it_is_given_up_in_time() {
        let began = Instant::now();
        let all: Vec<_> = (0..200).map(|n| SocketAddr::from(([10, 0, 0, n], 1))).collect();
        assert_eq!(race(&all, PATIENCE, dial).await.unwrap_err().len(), MOST);
        let whole = Patience { lookup: Duration::ZERO, connect: PATIENCE }.whole();
        assert!(began.elapsed() <= whole, "{:?}", began.elapsed());
    }

    #[test]
    fn the_families_take_turns() {
        let all = addresses(&["[::1]:3", "[::2]:3", "10.0.0.1:3", "[::3]:3"]);
        assert_eq!(by_turns(&all), addresses(&["[::1]:3", "10.0.0.1:3", "[::2]:3", "[::3]:3"]));
    }
}
