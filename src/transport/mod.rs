//! The doors that clients come in by: each turns a request into a greeting and a socket into a wire.

pub mod caller;
pub mod handshake;
mod offers;
pub mod socket;
pub mod template;
pub mod websocket;
