//! Names of servers, looked up: one question per name at a time, however many ask and however long it takes.
//!
//! The system's resolver cannot be interrupted, and holds a thread until it has given up, 30 s later perhaps. So a
//! question goes on when nobody waits for it any more, and whoever asks the same next joins it: neither do threads
//! pile up while a resolver is dead, nor is an answer lost that comes later than anybody waits.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, Shared};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

/// Nobody joins a question that is older: its answer may be of yesterday.
const JOINED: Duration = Duration::from_secs(60);

type Answer = Result<Arc<[SocketAddr]>, Arc<str>>;
type Resolve = dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

/// Looks names up. Clones share what is under way.
#[derive(Clone)]
pub struct Names {
    resolve: Arc<Resolve>,
    /// Without those that were answered; locked for one look.
    asked: Arc<Mutex<HashMap<(String, u16), Question>>>,
}

#[derive(Clone)]
struct Question {
    since: Instant,
    answer: Shared<BoxFuture<'static, Answer>>,
}

/// Why a name leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfound {
    /// The resolver did not answer in time.
    Silent,
    /// It did: in its own words.
    Answered(String),
}

impl Default for Names {
    /// As the system does.
    fn default() -> Self {
        Self::with(|host, port| async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) }.boxed())
    }
}

impl Names {
    /// Asks `resolve`.
    pub fn with(
        resolve: impl Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync + 'static,
    ) -> Self {
        Self { resolve: Arc::new(resolve), asked: Arc::default() }
    }

    /// The addresses of a name, at least one; an address is its own.
    ///
    /// # Errors
    /// There is none, or no answer `within` this time.
    pub async fn find(&self, host: &str, port: u16, within: Duration) -> Result<Arc<[SocketAddr]>, Unfound> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok([SocketAddr::new(address, port)].into());
        }
        let name = (host.to_owned(), port);
        let Question { since, answer } = self.question(&name);
        let answer = timeout(within, answer).await.map_err(|_| Unfound::Silent)?;
        let mut asked = self.asked.lock();
        if asked.get(&name).is_some_and(|question| question.since == since) {
            asked.remove(&name);
        }
        answer.map_err(|why| Unfound::Answered(why.as_ref().into()))
    }

    /// The one that is under way, or a new one.
    fn question(&self, name: &(String, u16)) -> Question {
        let mut asked = self.asked.lock();
        asked.retain(|_, question| question.since.elapsed() < JOINED);
        asked.entry(name.clone()).or_insert_with(|| self.ask(name)).clone()
    }

    fn ask(&self, (host, port): &(String, u16)) -> Question {
        let found = (self.resolve)(host.clone(), *port);
        let answer = async move {
            match found.await {
                Ok(addresses) if addresses.is_empty() => Err("it has no address".into()),
                Ok(addresses) => Ok(addresses.into()),
                Err(error) => Err(error.to_string().into()),
            }
        };
        Question { since: Instant::now(), answer: answer.boxed().shared() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::sleep;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// Answers after so long, and counts the questions.
    fn slow(wait: Duration) -> (Names, Arc<AtomicU32>) {
        let asked = Arc::new(AtomicU32::new(0));
        let count = asked.clone();
        let resolve = move |_, port| {
            count.fetch_add(1, Ordering::Relaxed);
            let answer = async move {
                sleep(wait).await;
                Ok(vec![SocketAddr::from(([10, 0, 0, 1], port))])
            };
            // As the system's does, this one goes on though nobody waits.
            tokio::spawn(answer).map(|done| done.unwrap()).boxed()
        };
        (Names::with(resolve), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_the_same_at_a_time_share_one_question() {
        let (names, asked) = slow(Duration::from_secs(2));
        let (one, other) = tokio::join!(names.find("redis", 1, PATIENCE), names.find("redis", 1, PATIENCE));
        assert_eq!(one, Ok([SocketAddr::from(([10, 0, 0, 1], 1))].into()));
        assert_eq!((one, asked.load(Ordering::Relaxed)), (other, 1));
        assert!(names.find("redis", 1, PATIENCE).await.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 2, "an answer is not kept");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_waited_for_is_the_next_ones() {
        let (names, asked) = slow(Duration::from_secs(8));
        assert_eq!(names.find("redis", 1, PATIENCE).await, Err(Unfound::Silent));
        assert!(names.find("redis", 1, PATIENCE).await.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_never_answers_is_asked_once_a_minute() {
        let (names, asked) = slow(Duration::from_secs(100_000));
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(600) {
            assert_eq!(names.find("redis", 1, PATIENCE).await, Err(Unfound::Silent));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 10);
    }

    #[tokio::test]
    async fn an_address_needs_no_resolver_and_a_name_without_one_is_told() {
        let nobody = Names::with(|_, _| async { Ok(Vec::new()) }.boxed());
        assert_eq!(nobody.find("::1", 7, PATIENCE).await, Ok(["[::1]:7".parse().unwrap()].into()));
        let unfound = nobody.find("redis", 7, PATIENCE).await;
        assert_eq!(unfound, Err(Unfound::Answered("it has no address".into())));
    }
}
