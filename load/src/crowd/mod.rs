//! Thousands of listening sockets and the publisher that feeds them, in one thread and one epoll.

pub mod apart;
mod audience;
mod client;
pub mod faults;
pub mod feed;
pub mod fixture;
mod inflate;
mod ledger;
pub mod orders;
pub mod publisher;
pub mod server;
mod socketio;
pub mod stuck;
pub mod tally;

use crate::{
    crowd::audience::Audience,
    crowd::client::{Client, End},
    crowd::feed::Feed,
    crowd::fixture::Fixture,
    crowd::inflate::Inflater,
    crowd::publisher::{Address, Publisher},
    crowd::server::Server,
    stop,
    wire::sockets,
    wire::stamp::{self, Stamp},
};
use anyhow::{Context, Result, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use serde::{Deserialize, Serialize};
use std::{
    net::SocketAddr,
    ops::Range,
    time::{Duration, Instant},
};

pub use tally::Tally;

/// Handshakes under way at once: enough to keep a server busy, fewer than any listener's backlog.
const HANDSHAKES: usize = 64;
/// A server that has done nothing for so long will not do it any more.
const PATIENCE: Duration = Duration::from_secs(5);

/// Everyone who listens, to whichever server.
pub struct Crowd {
    epoll: Epoll,
    publisher: Publisher,
    prefix: String,
    audiences: Vec<Audience>,
    clients: Vec<Option<Client>>,
    /// Sockets ever opened; from which address the next one comes.
    opened: usize,
    greeting: usize,
    /// Publications that somebody still waits for.
    outstanding: usize,
    /// When nobody waited any more, by [`stamp::now`].
    completed_ns: u64,
    tally: Tally,
    inflater: Inflater,
    /// What is published; none: a filler of the run's size.
    fixture: Option<Fixture>,
    chunk: Box<[u8]>,
    payload: Vec<u8>,
}

/// The sockets of one server, by the topics they listen to. Only who is named by a run is published to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    audiences: Range<usize>,
    sockets: Range<usize>,
}

impl Group {
    /// How many sockets it was opened with.
    pub fn sockets(&self) -> usize {
        self.sockets.len()
    }
}

impl Crowd {
    /// Nobody yet; publishes by `redis` on channels named `prefix` and topic, unless a server has a road of its own.
    pub fn new(redis: SocketAddr, prefix: &str) -> Result<Self> {
        let mut crowd = Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            publisher: Publisher::default(),
            prefix: prefix.to_owned(),
            audiences: Vec::new(),
            clients: Vec::new(),
            opened: 0,
            greeting: 0,
            outstanding: 0,
            completed_ns: 0,
            tally: Tally::new()?,
            inflater: Inflater::default(),
            fixture: None,
            chunk: vec![0; 256 * 1024].into(),
            payload: Vec::new(),
        };
        crowd.meet_redis(redis)?;
        Ok(crowd)
    }

    /// Publishes by this Redis from now on.
    pub fn meet_redis(&mut self, redis: SocketAddr) -> Result<()> {
        self.publisher.meet_redis(redis, &self.epoll)
    }

    /// Hangs up on Redis, which is about to go away; the sockets stay.
    pub fn leave_redis(&mut self) {
        self.publisher.leave_redis();
    }

    /// Publishes this object instead of a filler.
    pub fn carry(&mut self, fixture: Fixture) {
        self.fixture = Some(fixture);
    }

    /// Opens `count` sockets spread evenly over `topics`, one each; returns when the last is greeted.
    pub fn connect(&mut self, server: &Server, topics: &[String], count: usize) -> Result<Group> {
        let topics: Vec<Vec<String>> = topics.iter().map(|topic| vec![topic.clone()]).collect();
        self.seat(server, &topics, count)
    }

    /// Opens one socket for each list of topics.
    pub fn connect_to_many(&mut self, server: &Server, topics: &[Vec<String>]) -> Result<Group> {
        self.seat(server, topics, topics.len())
    }

    fn seat(&mut self, server: &Server, topics: &[Vec<String>], count: usize) -> Result<Group> {
        sockets::make_room_for(self.clients.len() + count)?;
        let (first, begin) = (self.audiences.len(), self.clients.len());
        let prefix = self.prefix.clone();
        self.publisher.build(server.road, &self.epoll)?;
        let address = |topic: &String| Address::of(server.road, &prefix, topic);
        self.audiences.extend(topics.iter().map(|topics| Audience::new(topics.iter().map(address))));
        for nth in 0..count {
            let place = nth % topics.len();
            self.clients.push(None);
            self.open(begin + nth, server, &topics[place], first + place)?;
            self.greet_until(HANDSHAKES)?;
        }
        self.greet_until(1)?;
        Ok(Group { audiences: first..first + topics.len(), sockets: begin..begin + count })
    }

    fn open(&mut self, id: usize, server: &Server, topics: &[String], audience: usize) -> Result<()> {
        let stream = sockets::connect(server.address, self.opened)
            .with_context(|| format!("socket {id} to {}", server.address))?;
        self.opened += 1;
        let client = Client::ask(stream, &server.request(topics), server.speech, topics.len(), audience)?;
        self.epoll.add(client.stream(), EpollEvent::new(EpollFlags::EPOLLIN, id as u64))?;
        self.clients[id] = Some(client);
        self.greeting += 1;
        Ok(())
    }

    /// Closes one socket of a group as a client does that goes away, and opens another in its place. The new one
    /// counts as a listener once it is greeted.
    pub fn replace(&mut self, group: &Group, nth: usize, server: &Server, topic: &str) -> Result<()> {
        let id = group.sockets.start + nth % group.sockets.len();
        self.greet_until(HANDSHAKES)?;
        let Some(client) = self.clients[id].take() else { return Ok(()) };
        let audience = client.audience;
        if client.is_greeted() {
            self.outstanding -= self.audiences[audience].leave(&client.ledger).completed;
        } else {
            self.greeting -= 1;
        }
        client.part();
        self.open(id, server, &[topic.to_owned()], audience)
    }

    /// Turns until fewer than `most` handshakes are under way.
    pub fn greet_until(&mut self, most: usize) -> Result<()> {
        let mut progress = (self.greeting, Instant::now());
        while self.greeting >= most {
            self.turn(100)?;
            if self.greeting != progress.0 {
                progress = (self.greeting, Instant::now());
            }
            ensure!(progress.1.elapsed() < PATIENCE, "{} handshakes are not answered", self.greeting);
        }
        Ok(())
    }

    /// Listens without publishing (and answers pings).
    pub fn idle(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.turn(left.as_millis().clamp(1, 100) as u16)?;
        }
        Ok(())
    }

    /// Publishes payloads of `size` bytes to a group for some time, topics in turn, and waits for what is still in
    /// flight; what has not come after five silent seconds is lost. Returns what was counted, and in which time.
    pub fn run(&mut self, group: &Group, feed: Feed, size: usize, time: Duration) -> Result<(Tally, Duration)> {
        self.run_beside(group, feed, size, time, |_, _| Ok(()))
    }

    /// The same, with something else to do each turn while it publishes; it is told the time since the beginning.
    pub fn run_beside(
        &mut self,
        group: &Group,
        feed: Feed,
        size: usize,
        time: Duration,
        mut beside: impl FnMut(&mut Self, Duration) -> Result<()>,
    ) -> Result<(Tally, Duration)> {
        self.tally = Tally::new()?;
        let begin = Instant::now();
        let mut progress = (0, begin);
        loop {
            let elapsed = begin.elapsed();
            let over = elapsed >= time || feed.is_spent(self.tally.publications);
            while !over && feed.is_due(elapsed, self.tally.publications, self.outstanding) {
                self.publish(group, size)?;
            }
            if over && self.outstanding == 0 {
                return Ok((std::mem::replace(&mut self.tally, Tally::new()?), elapsed));
            }
            if !over {
                beside(self, elapsed)?;
            }
            self.turn(feed.patience(elapsed, self.tally.publications))?;
            if self.tally.deliveries != progress.0 {
                progress = (self.tally.deliveries, Instant::now());
            } else if self.outstanding > 0 && progress.1.elapsed() > PATIENCE {
                self.give_up();
            }
        }
    }

    /// Counts on a publication to a group's topics, which somebody else is about to make.
    pub fn expect(&mut self, group: &Group) {
        for audience in &mut self.audiences[group.audiences.clone()] {
            audience.publish();
            self.outstanding += 1;
        }
    }

    /// Waits until everybody has what was expected; what has not come after five silent seconds is lost. Returns what
    /// was counted since the last time, and when the last socket had it, by [`stamp::now`].
    pub fn await_expected(&mut self) -> Result<(Tally, u64)> {
        let mut progress = (0, Instant::now());
        while self.outstanding > 0 {
            self.turn(100)?;
            if self.tally.deliveries != progress.0 {
                progress = (self.tally.deliveries, Instant::now());
            } else if progress.1.elapsed() > PATIENCE {
                self.give_up();
            }
        }
        Ok((std::mem::replace(&mut self.tally, Tally::new()?), self.completed_ns))
    }

    /// One publication on the next topic that somebody listens to; fails when nobody is left.
    fn publish(&mut self, group: &Group, size: usize) -> Result<()> {
        let audiences = &mut self.audiences[group.audiences.clone()];
        let turn = (self.tally.publications % audiences.len() as u64) as usize;
        let mut places = (turn..audiences.len()).chain(0..turn);
        let place = places.find(|place| audiences[*place].has_listeners()).context("every socket has been closed")?;
        let number = audiences[place].publish();
        let stamp = Stamp { number, sent_ns: stamp::now() };
        match &self.fixture {
            Some(fixture) => fixture.fill(stamp, &mut self.payload),
            None => stamp.fill(size, &mut self.payload),
        }
        self.publisher.publish(audiences[place].channel(number), &self.payload)?;
        self.tally.publications += 1;
        self.outstanding += 1;
        Ok(())
    }

    fn give_up(&mut self) {
        self.tally.lost += self.audiences.iter_mut().map(Audience::give_up).sum::<u64>();
        self.outstanding = 0;
    }

    /// Sends what was published, then hears everyone who has something to say.
    fn turn(&mut self, patience_ms: u16) -> Result<()> {
        stop::check()?;
        self.publisher.flush()?;
        let mut events = [EpollEvent::empty(); 512];
        let ready = sockets::wait(&self.epoll, &mut events, Some(patience_ms))?;
        for event in &events[..ready] {
            match event.data() {
                event if Publisher::owns(event) => self.publisher.hear(event)?,
                id => self.hear(id as usize)?,
            }
        }
        Ok(())
    }

    fn hear(&mut self, id: usize) -> Result<()> {
        let Self { clients, audiences, tally, outstanding, chunk, inflater, .. } = self;
        let Some(client) = clients.get_mut(id).and_then(Option::as_mut) else { return Ok(()) };
        let audience = &mut audiences[client.audience];
        let (was_greeted, before) = (client.is_greeted(), *outstanding);
        let heard = client.hear(chunk, inflater, |message| {
            if tally.enter(&message) {
                *outstanding -= audience.arrived(message.stamp.number);
            }
        });
        if before > 0 && *outstanding == 0 {
            self.completed_ns = stamp::now();
        }
        match heard {
            Ok(()) if client.is_greeted() != was_greeted => {
                client.ledger = audience.join();
                self.greeting -= 1;
            }
            Ok(()) => {}
            Err(end) if !was_greeted => return Err(end).with_context(|| format!("socket {id}")),
            Err(end) => self.bury(id, &end),
        }
        Ok(())
    }

    fn bury(&mut self, id: usize, end: &End) {
        let Some(client) = self.clients[id].take() else { return };
        let leave = self.audiences[client.audience].leave(&client.ledger);
        if self.tally.closed == 0 {
            eprintln!("socket {id}: {end}");
        }
        self.tally.closed += 1;
        self.tally.lost += leave.owed;
        self.outstanding -= leave.completed;
    }
}
