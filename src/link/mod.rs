//! Our wires to Redis: what things are called there, which wire carries which topic, how one is connected.
//! Knows nothing of subscriptions.

pub mod address;
pub mod backoff;
mod certificate;
pub mod cluster;
pub mod connect;
pub mod doctor;
pub mod endpoint;
pub mod failure;
mod files;
pub mod keys;
pub mod login;
mod names;
pub mod placement;
mod reach;
pub mod sentinel;
pub mod tls;
