//! Three replicas on fixed ports, and what is shared by everybody who uses them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::gateway::Gateway;
use crate::haproxy::Place;
use crate::support::redis::free_port;

/// The names of the replicas.
pub const NAMES: [&str; 3] = ["a", "b", "c"];

/// How many topics there are.
pub const TOPICS: usize = 50;

/// How many clients connect at a time when the test begins.
const DOOR: usize = 100;

/// `drain.window`.
pub const WINDOW: Duration = Duration::from_secs(8);

const CONFIG: &str = r#"
[public]
trusted_proxies = ["127.0.0.1"]
[drain]
delay = "2s"
window = "8s"
[[topics]]
match = "h:*"
history_size = 10000
"#;

pub fn topic(number: usize) -> String {
    format!("h:{number}")
}

/// Free ports for each replica.
pub fn places() -> [Place; 3] {
    NAMES.map(|name| Place { name, public: free_port(), internal: free_port() })
}

/// Starts a replica; `generation` tells it from those that had its ports before.
pub fn start(place: Place, redis: &str, generation: usize) -> Gateway {
    let settings = [
        format!("public.listen=127.0.0.1:{}", place.public),
        format!("internal.listen=127.0.0.1:{}", place.internal),
        format!("replica.name={}-{generation}", place.name),
        format!("redis.url={redis}"),
    ];
    let args: Vec<_> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    Gateway::with_toml(CONFIG, &args).ready()
}

/// What clients and producers share.
pub struct Shared {
    pub begin: Instant,
    /// The first time they come in they do so by turns: only the reconnects are the gateway's to pace.
    pub door: Semaphore,
    /// How many clients listen now.
    pub listening: AtomicUsize,
    /// Ends everybody who has not ended by itself.
    pub over: CancellationToken,
}

impl Shared {
    pub fn new() -> Self {
        let (door, over) = (Semaphore::new(DOOR), CancellationToken::new());
        Self { begin: Instant::now(), door, listening: AtomicUsize::new(0), over }
    }

    /// Since the test began.
    pub fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    pub fn listening(&self) -> usize {
        self.listening.load(Ordering::Relaxed)
    }
}
