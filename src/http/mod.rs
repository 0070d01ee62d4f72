//! What is answered over HTTP: the routes clients come in by, and the internal listener's API, health
//! and metrics.

mod authorize;
mod body;
mod health;
mod history;
mod host;
mod order;
mod parameters;
mod problem;
mod publish;
mod routes;
mod shed;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::drain::Shedder;
use crate::outbox::Total;
use crate::session::Rooms;

pub use health::{Health, Vitals};
pub use routes::{internal, public};

/// What the internal listener answers from.
pub struct Desk {
    /// What sessions use too.
    pub rooms: Arc<Rooms>,
    /// Bytes that wait, for `/metrics`.
    pub outboxes: Arc<Total>,
    /// Which shards want what, for `/metrics`.
    pub interest: Arc<crate::hub::Interest>,
    /// Whether Redis is configured.
    pub has_redis: bool,
    /// Sends some clients to the other replicas.
    pub shedder: Arc<Shedder>,
    /// Set once the house empties.
    pub draining: AtomicBool,
}
