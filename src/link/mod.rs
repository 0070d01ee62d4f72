//! Our wires to Redis: what things are called there, which wire carries which topic, how one is connected.
//! Knows nothing of subscriptions.

pub mod backoff;
pub mod connect;
pub mod doctor;
pub mod keys;
pub mod placement;
