//! The composition root: builds the rooms in order, binds both listeners, runs until drained.

mod limits;
mod reload;
mod start;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::accept::{Acceptor, HeadLimits, Kept, Once, Places};
use crate::config::{Loaded, Sources};
use crate::connection::Roster;
use crate::drain;
use crate::http::{self, Desk};
use crate::metrics::Metrics;
use crate::repeat::Repeats;
use crate::settings::{Live, Settings};
use crate::transport::Door;
use crate::transport::house::House;

pub use crate::http::Vitals;
pub use limits::raise_descriptors;
pub use reload::Reload;

/// How many connections may wait to be accepted. Of 8,000 that come within 0.1 s the last is answered after 1.1 s, with
/// 1,024 after 3.1 s: whose handshake finds the queue full tries again a second later (load/CHOICES.md).
const BACKLOG: u32 = 4096;

/// How many sockets beside the connections may speak HTTP: those who get a 503, health checks, scrapes.
const SPARE: usize = 512;

/// How long the last tasks get after the drain.
const LAST_TASKS: Duration = Duration::from_secs(5);

/// A gateway with its rooms built and its listeners bound.
pub struct Server {
    public: TcpListener,
    internal: TcpListener,
    doors: Vec<(String, Door)>,
    house: Arc<House>,
    desk: Arc<Desk>,
    live: Arc<Live>,
    tasks: TaskTracker,
    /// Ends the listeners.
    closing: CancellationToken,
    /// Ends everything else, when the last connection is gone.
    stop: CancellationToken,
    max_sockets: usize,
}

/// Who stops a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Whoever runs it for clients: load balancers need a while to notice.
    Supervisor,
    /// Somebody at its terminal.
    Terminal,
}

impl Stop {
    /// How long clients still come in. A terminal does not wait for the load balancers of nobody.
    fn delay(self, delay: Duration, roster: &Roster) -> Duration {
        if self == Self::Terminal && roster.is_empty() { Duration::ZERO } else { delay }
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be bound.
    #[error("{key}: cannot listen on {address}: {error}{}", why(error))]
    Bind {
        /// The setting.
        key: &'static str,
        /// As it is set.
        address: String,
        /// What the system says.
        error: io::Error,
    },
    /// Redis is configured in a way that cannot be used.
    #[error("{0}")]
    Redis(String),
}

/// What the system's word means here.
fn why(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => ", by a process that listens there already (ss -ltnp shows which)",
        io::ErrorKind::AddrNotAvailable => ": no interface of this machine has that address",
        io::ErrorKind::PermissionDenied => ": ports below 1024 need CAP_NET_BIND_SERVICE",
        _ => "",
    }
}

impl Server {
    /// Where clients connect.
    ///
    /// # Errors
    /// The socket's own.
    pub fn public_address(&self) -> io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Where operators and producers connect.
    ///
    /// # Errors
    /// The socket's own.
    pub fn internal_address(&self) -> io::Result<SocketAddr> {
        self.internal.local_addr()
    }

    /// The handle by which a running server takes new settings, from where it was `loaded`.
    #[must_use]
    pub fn reload(&self, sources: &Sources, loaded: &Loaded) -> Reload {
        let rooms = &self.house.rooms;
        Reload::new(self.live.clone(), rooms, sources, loaded)
    }

    /// The handle by which one sees whether a running server lives.
    #[must_use]
    pub fn vitals(&self) -> Vitals {
        Vitals::of(&self.desk)
    }

    /// Serves until `shutdown` resolves, then drains: resolves when the house is empty.
    pub async fn run(self, shutdown: impl Future<Output = Stop>) {
        let Self { public, internal, doors, house, desk, live, tasks, closing, stop, max_sockets } = self;
        let settings = live.get().clone();
        let metrics = house.rooms.metrics.clone();
        let head = HeadLimits { bytes: settings.handshake.head.0, lines: settings.handshake.lines };
        let once = Once {
            router: http::public(doors, house.clone()),
            timeout: settings.handshake.timeout,
            head,
            metrics: metrics.clone(),
            unfit: Repeats::new(),
            closing: closing.clone(),
            stop: stop.clone(),
        };
        let kept = Kept {
            router: http::internal(desk.clone()),
            timeout: settings.handshake.timeout,
            head,
            unfit: Repeats::new(),
            stop: stop.clone(),
        };
        let half_heads = limits::half_heads(&settings);
        let front =
            Acceptor { listener: public, places: Places::new(max_sockets, half_heads), service: Arc::new(once) };
        let back = Acceptor { listener: internal, places: Places::new(SPARE, usize::MAX), service: Arc::new(kept) };
        tasks.spawn(front.run(tasks.clone(), closing.clone()));
        // The internal listener stays until the end: `/readyz` and `/metrics` tell how the drain goes.
        tasks.spawn(back.run(tasks.clone(), stop.clone()));

        let asked = shutdown.await;
        desk.draining.store(true, Ordering::Relaxed);
        metrics.ready.set(0);
        metrics.draining.set(1);
        let delay = asked.delay(settings.drain.delay, &house.roster);
        info!(
            connections = house.roster.len(), ?delay, window = ?settings.drain.window,
            "shutting down: not ready any more, and clients still come in for the delay, so that load balancers notice; \
             then they are closed within the window. A second signal (Ctrl-C) ends at once"
        );
        tokio::time::sleep(delay).await;
        closing.cancel();
        drain::see_out(&house.roster, &settings.drain, &metrics).await;
        stop.cancel();
        tasks.close();
        if tokio::time::timeout(LAST_TASKS, tasks.wait()).await.is_err() {
            info!(tasks = tasks.len(), "ending with tasks unfinished");
        }
        info!("drained");
    }

    /// Builds the rooms of these settings and binds the listeners; `/metrics` shows what is given.
    ///
    /// # Errors
    /// An address that cannot be bound, or a Redis that cannot be named.
    pub async fn bind(settings: Settings, descriptors: usize, metrics: Arc<Metrics>) -> Result<Self, StartError> {
        start::start(settings, descriptors, metrics).await
    }
}

async fn bind(key: &'static str, address: &str) -> Result<TcpListener, StartError> {
    let failed = |error| StartError::Bind { key, address: address.to_owned(), error };
    let resolved = lookup_host(address).await.map_err(failed)?.next();
    let resolved = resolved.ok_or_else(|| failed(io::Error::other("the name has no address")))?;
    listen(resolved).map_err(failed)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
