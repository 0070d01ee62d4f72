//! What systemd is told of a `Type=notify` service: that it listens, reloads, stops, and lives. Elsewhere, where
//! `NOTIFY_SOCKET` is not set, nobody is told anything.
//!
//! The reader of the socket may stand still, and nothing here waits for it but the [`Errand`]: what the service manager has
//! to hear waits there, in order, and signs of life are let go.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fanline::server::Vitals;
use fanline::settings;
use sd_notify::NotifyState;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::warn;

/// What the last tasks and farewells may take beyond `drain.delay` and `drain.window`.
const GRACE: Duration = Duration::from_secs(10);

/// How many messages may wait for the service manager.
const WAITING: usize = 16;

/// How many of them a reload leaves room for: its own end, and that of the service.
const LAST: usize = 2;

/// How long a socket that takes nothing is left alone.
const BREATHER: Duration = Duration::from_millis(100);

/// Takes what the service manager is to hear; never waits for it.
pub(super) struct Manager(mpsc::Sender<String>);

/// Brings it there.
pub(super) struct Errand(mpsc::Receiver<String>);

/// The two ends.
pub(super) fn manager() -> (Manager, Errand) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Manager(sender), Errand(receiver))
}

impl Manager {
    /// Clients may connect.
    pub fn ready(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// SIGHUP has come; [`Self::reloaded`] follows.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) if self.0.capacity() > LAST => self.tell(&[NotifyState::Reloading, now]),
            Ok(_) => {}
            Err(error) => warn!(%error, "systemd is not told of the reload"),
        }
    }

    /// The reload is over, whether the new configuration is used or not.
    pub fn reloaded(&self) {
        if self.0.capacity() >= LAST {
            self.tell(&[NotifyState::Ready]);
        }
    }

    /// It drains: systemd must wait for it, also where `TimeoutStopSec` is too short.
    pub fn stopping(&self, drain: &settings::Drain) {
        // In words of our own: the crate's number ends at 71 minutes.
        let needed = format!("EXTEND_TIMEOUT_USEC={}", (drain.delay + drain.window + GRACE).as_micros());
        self.tell(&[NotifyState::Stopping, NotifyState::Status("draining"), NotifyState::Custom(&needed)]);
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        // Where there is no room left, nobody has read anything for many reloads.
        let _ = self.0.try_send(states.iter().map(|state| format!("{state}\n")).collect());
    }
}

impl Errand {
    /// Brings all messages, and with `WatchdogSec=` a sign of life for as long as `/livez` would answer well.
    pub async fn run(mut self, vitals: Vitals) -> Infallible {
        let asked = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero());
        let mut watchdog = asked.map(|patience| interval(patience / 2));
        if let Some(tick) = &mut watchdog {
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                biased;
                Some(message) = self.0.recv() => bring(&message).await,
                () = tick(&mut watchdog) => if vitals.is_alive() {
                    // A socket that is full has signs of life enough.
                    let _ = offer(&format!("{}\n", NotifyState::Watchdog));
                },
            }
        }
    }
}

async fn tick(watchdog: &mut Option<Interval>) {
    match watchdog {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

/// Offers a message until it is taken, or never will be.
async fn bring(message: &str) {
    while offer(message).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
        tokio::time::sleep(BREATHER).await;
    }
}

/// Offers a message once, and says so the first time that nobody can take one.
fn offer(message: &str) -> io::Result<()> {
    static SAID: AtomicBool = AtomicBool::new(false);
    // Set to nothing is not set.
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else { return Ok(()) };
    let sent = send(&socket, message);
    if let Err(error) = &sent
        && error.kind() != ErrorKind::WouldBlock
        && !SAID.swap(true, Ordering::Relaxed)
    {
        let socket = socket.display();
        warn!(%error, "NOTIFY_SOCKET={socket} takes no message: whoever started this does not learn that it is up; outside of systemd, unset it");
    }
    sent
}

fn send(socket: &OsString, message: &str) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    sender.connect(socket)?;
    sender.send(message.as_bytes()).map(drop)
}
