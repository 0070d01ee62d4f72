//! The doors that clients come in by: each turns a request into a greeting and a socket into a wire.

pub mod caller;
pub mod gate;
mod guest;
pub mod handshake;
pub mod house;
mod offers;
mod refusal;
pub mod socket;
pub mod template;
pub mod websocket;

pub use refusal::not_found;
