//! The doors that clients come in by: each turns a request into a greeting and a socket into a wire.

pub mod caller;
mod cors;
pub mod gate;
mod guest;
pub mod handshake;
pub mod house;
mod offers;
pub mod query;
mod refusal;
pub mod socket;
pub mod sse;
pub mod template;
pub mod websocket;

use std::sync::Arc;

use axum::routing::{MethodRouter, any};

pub use refusal::not_found;

/// A route's door, by what is spoken there.
pub enum Door {
    /// plain or json.
    WebSocket(websocket::Door),
    /// Event streams.
    Sse(sse::Door),
}

impl Door {
    /// What answers on its path.
    pub fn answers(self) -> MethodRouter {
        match self {
            Self::WebSocket(door) => any(websocket::open).with_state(Arc::new(door)),
            Self::Sse(door) => any(sse::open).with_state(Arc::new(door)),
        }
    }
}
