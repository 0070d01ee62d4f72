//! A TCP proxy in front of Redis that can cut, stall, delay and swallow, and tells the connections that
//! subscribe from all others by what they send.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Which connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Those that have sent a SUBSCRIBE or SSUBSCRIBE.
    Subscribers,
    /// All others.
    Commands,
}

/// What happens to a class of connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rule {
    /// What clients send vanishes.
    pub swallow_up: bool,
    /// What the server sends vanishes.
    pub swallow_down: bool,
    /// Nothing moves, nothing is lost.
    pub stall: bool,
    /// Every chunk arrives this much later.
    pub delay: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct Rules {
    subscribers: Rule,
    commands: Rule,
    /// How often each class was cut.
    cuts: (usize, usize),
}

/// A proxy on a port of its own; everything through it ends when it is dropped.
pub struct Proxy {
    port: u16,
    target: Arc<AtomicU16>,
    rules: watch::Sender<Rules>,
    refusing: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    delayed: Delayed,
    accepting: JoinHandle<()>,
}

/// What was delayed last.
type Delayed = Arc<Mutex<Vec<u8>>>;

impl Proxy {
    /// In front of 127.0.0.1:`target`.
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (rules, watched) = watch::channel(Rules::default());
        let (refusing, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let target = Arc::new(AtomicU16::new(target));
        let delayed = Delayed::default();
        let (refuses, counts, leads, holds) = (refusing.clone(), accepted.clone(), target.clone(), delayed.clone());
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                counts.fetch_add(1, Ordering::Relaxed);
                if !refuses.load(Ordering::Relaxed) {
                    // Ends with its sockets, or when the proxy and with it `rules` is dropped.
                    tokio::spawn(carry(client, leads.load(Ordering::Relaxed), watched.clone(), holds.clone()));
                }
            }
        });
        Self { port, target, rules, refusing, accepted, delayed, accepting }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on this happens to a class; `Rule::default()` ends it.
    pub fn rule(&self, class: Class, rule: Rule) {
        self.rules.send_modify(|rules| match class {
            Class::Subscribers => rules.subscribers = rule,
            Class::Commands => rules.commands = rule,
        });
    }

    /// Closes all connections of a class.
    pub fn cut(&self, class: Class) {
        self.rules.send_modify(|rules| match class {
            Class::Subscribers => rules.cuts.0 += 1,
            Class::Commands => rules.cuts.1 += 1,
        });
    }

    /// Ends what happens to all connections, and closes those that it happened to.
    pub fn renew(&self) {
        self.rules
            .send_modify(|rules| *rules = Rules { cuts: (rules.cuts.0 + 1, rules.cuts.1 + 1), ..Rules::default() });
    }

    /// Whether new connections are hung up on at once.
    pub fn refuse(&self, refuse: bool) {
        self.refusing.store(refuse, Ordering::Relaxed);
    }

    /// Leads new connections to 127.0.0.1:`target`; those that are there stay where they are.
    pub fn lead_to(&self, target: u16) {
        self.target.store(target, Ordering::Relaxed);
    }

    /// Whether the chunk delayed last has this in it; whatever rule comes now, it arrives once its delay is over.
    pub fn delays(&self, what: &[u8]) -> bool {
        self.delayed.lock().unwrap().windows(what.len()).any(|window| window == what)
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[derive(Clone)]
struct Wire {
    subscribes: Arc<AtomicBool>,
    rules: watch::Receiver<Rules>,
    /// The cuts before this connection was made.
    cuts: (usize, usize),
    delayed: Delayed,
}

async fn carry(client: TcpStream, target: u16, rules: watch::Receiver<Rules>, delayed: Delayed) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let cuts = rules.borrow().cuts;
    let wire = Wire { subscribes: Arc::default(), rules, cuts, delayed };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = pump(from_client, to_server, wire.clone(), Direction::Up) => {}
        () = pump(from_server, to_client, wire.clone(), Direction::Down) => {}
        () = wire.cut() => {}
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Up,
    Down,
}

impl Wire {
    fn rule(&self) -> Rule {
        let rules = self.rules.borrow();
        if self.subscribes.load(Ordering::Relaxed) { rules.subscribers } else { rules.commands }
    }

    async fn cut(mut self) {
        loop {
            self.rules.borrow_and_update();
            if self.is_cut() || self.rules.changed().await.is_err() {
                return;
            }
        }
    }

    fn is_cut(&self) -> bool {
        let cuts = self.rules.borrow().cuts;
        let subscribes = self.subscribes.load(Ordering::Relaxed);
        (subscribes && cuts.0 > self.cuts.0) || (!subscribes && cuts.1 > self.cuts.1)
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut wire: Wire, direction: Direction) {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let n = match from.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(n) => n,
        };
        // A command's name is never split over two writes by the clients under test.
        let sends = |command: &[u8]| chunk[..n].windows(command.len()).any(|window| window == command);
        if direction == Direction::Up && (sends(b"\r\nSUBSCRIBE") || sends(b"\r\nSSUBSCRIBE")) {
            wire.subscribes.store(true, Ordering::Relaxed);
        }
        while wire.rule().stall {
            if wire.rules.changed().await.is_err() {
                return;
            }
        }
        let rule = wire.rule();
        if !rule.delay.is_zero() {
            *wire.delayed.lock().unwrap() = chunk[..n].to_vec();
            tokio::time::sleep(rule.delay).await;
        }
        // A connection that was cut carries nothing more: what it swallowed before would be a hole that no
        // network makes.
        if wire.is_cut() {
            return;
        }
        let swallowed = if direction == Direction::Up { rule.swallow_up } else { rule.swallow_down };
        if !swallowed && to.write_all(&chunk[..n]).await.is_err() {
            return;
        }
    }
}
