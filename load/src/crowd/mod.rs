//! Thousands of listening sockets and the publisher that feeds them, in one thread and one epoll.

mod audience;
mod client;
pub mod feed;
mod ledger;
pub mod server;

use crate::{
    crowd::audience::Audience,
    crowd::client::{Client, End},
    crowd::feed::Feed,
    crowd::ledger::Arrival,
    crowd::server::Server,
    stop,
    wire::bus::Bus,
    wire::sockets,
    wire::stamp::{self, Stamp},
};
use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use std::{
    net::SocketAddr,
    ops::Range,
    time::{Duration, Instant},
};

const REDIS: u64 = u64::MAX;
/// Handshakes under way at once: enough to keep a server busy, fewer than any listener's backlog.
const HANDSHAKES: usize = 64;
/// A server that has done nothing for so long will not do it any more.
const PATIENCE: Duration = Duration::from_secs(5);

/// Everyone who listens, to whichever server.
pub struct Crowd {
    epoll: Epoll,
    bus: Bus,
    prefix: String,
    audiences: Vec<Audience>,
    clients: Vec<Option<Client>>,
    greeting: usize,
    /// Publications that somebody still waits for.
    outstanding: usize,
    tally: Tally,
    chunk: Box<[u8]>,
    payload: Vec<u8>,
}

/// The sockets of one server, by the topics they listen to. Only who is named by a run is published to.
#[derive(Debug, Clone)]
pub struct Group {
    audiences: Range<usize>,
}

/// What was counted between two moments.
#[derive(Clone)]
pub struct Tally {
    pub publications: u64,
    pub deliveries: u64,
    pub lost: u64,
    pub duplicates: u64,
    pub misordered: u64,
    pub closed: u64,
    pub latency_ns: Histogram<u64>,
}

impl Tally {
    fn new() -> Result<Self> {
        let latency_ns = Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?;
        Ok(Self { publications: 0, deliveries: 0, lost: 0, duplicates: 0, misordered: 0, closed: 0, latency_ns })
    }

    /// A run counts only when this is true.
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicates + self.misordered + self.closed == 0
    }

    #[inline]
    fn enter(&mut self, arrival: Arrival, stamp: Stamp) -> bool {
        match arrival {
            Arrival::Fresh => {}
            Arrival::Late => self.misordered += 1,
            Arrival::Twice => {
                self.duplicates += 1;
                return false;
            }
        }
        self.deliveries += 1;
        self.latency_ns.saturating_record(stamp::now().saturating_sub(stamp.sent_ns));
        true
    }
}

impl Crowd {
    /// Nobody yet; publishes by `redis` on channels named `prefix` and topic.
    pub fn new(redis: SocketAddr, prefix: &str) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let bus = Bus::connect(redis)?;
        epoll.add(bus.stream(), EpollEvent::new(EpollFlags::EPOLLIN, REDIS))?;
        Ok(Self {
            epoll,
            bus,
            prefix: prefix.to_owned(),
            audiences: Vec::new(),
            clients: Vec::new(),
            greeting: 0,
            outstanding: 0,
            tally: Tally::new()?,
            chunk: vec![0; 256 * 1024].into(),
            payload: Vec::new(),
        })
    }

    /// Opens `count` sockets spread evenly over `topics`; returns when the last is greeted.
    pub fn connect(&mut self, server: &Server, topics: &[String], count: usize) -> Result<Group> {
        sockets::make_room_for(self.clients.len() + count)?;
        let first = self.audiences.len();
        self.audiences.extend(topics.iter().map(|topic| Audience::new(format!("{}{topic}", self.prefix))));
        let requests: Vec<String> = topics.iter().map(|topic| server.request(topic)).collect();
        for nth in 0..count {
            let topic = nth % topics.len();
            self.open(server, &requests[topic], first + topic)?;
            self.greet_until(HANDSHAKES)?;
        }
        self.greet_until(1)?;
        Ok(Group { audiences: first..first + topics.len() })
    }

    fn open(&mut self, server: &Server, request: &str, audience: usize) -> Result<()> {
        let id = self.clients.len();
        let stream =
            sockets::connect(server.address, id).with_context(|| format!("socket {id} to {}", server.address))?;
        let ledger = self.audiences[audience].join();
        let client = Client::ask(stream, request, audience, ledger)?;
        self.epoll.add(client.stream(), EpollEvent::new(EpollFlags::EPOLLIN, id as u64))?;
        self.clients.push(Some(client));
        self.greeting += 1;
        Ok(())
    }

    /// Turns until fewer than `most` handshakes are under way.
    fn greet_until(&mut self, most: usize) -> Result<()> {
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
        self.tally = Tally::new()?;
        let begin = Instant::now();
        let mut progress = (0, begin);
        loop {
            let elapsed = begin.elapsed();
            let over = elapsed >= time;
            while !over && feed.is_due(elapsed, self.tally.publications, self.outstanding) {
                self.publish(group, size)?;
            }
            if over && self.outstanding == 0 {
                return Ok((std::mem::replace(&mut self.tally, Tally::new()?), elapsed));
            }
            self.turn(feed.patience(elapsed, self.tally.publications))?;
            if self.tally.deliveries != progress.0 {
                progress = (self.tally.deliveries, Instant::now());
            } else if self.outstanding > 0 && progress.1.elapsed() > PATIENCE {
                self.give_up();
            }
        }
    }

    /// One publication on the next topic that somebody listens to; fails when nobody is left.
    fn publish(&mut self, group: &Group, size: usize) -> Result<()> {
        let audiences = &mut self.audiences[group.audiences.clone()];
        let turn = (self.tally.publications % audiences.len() as u64) as usize;
        let mut places = (turn..audiences.len()).chain(0..turn);
        let place = places.find(|place| audiences[*place].has_listeners()).context("every socket has been closed")?;
        let audience = &mut audiences[place];
        Stamp { number: audience.publish(), sent_ns: stamp::now() }.fill(size, &mut self.payload);
        self.bus.command(&[b"PUBLISH", &audience.channel, &self.payload]);
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
        self.bus.flush()?;
        let mut events = [EpollEvent::empty(); 512];
        let ready = sockets::wait(&self.epoll, &mut events, Some(patience_ms))?;
        for event in &events[..ready] {
            match event.data() {
                REDIS => {
                    self.bus.fill()?;
                    while self.bus.next()?.is_some() {}
                }
                id => self.hear(id as usize)?,
            }
        }
        Ok(())
    }

    fn hear(&mut self, id: usize) -> Result<()> {
        let Self { clients, audiences, tally, outstanding, chunk, .. } = self;
        let Some(client) = clients.get_mut(id).and_then(Option::as_mut) else { return Ok(()) };
        let audience = &mut audiences[client.audience];
        let was_greeted = client.is_greeted();
        let heard = client.hear(chunk, |arrival, stamp| {
            if tally.enter(arrival, stamp) {
                *outstanding -= audience.arrived(stamp.number);
            }
        });
        match heard {
            Ok(()) if client.is_greeted() != was_greeted => self.greeting -= 1,
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
