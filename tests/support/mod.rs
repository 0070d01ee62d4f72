//! What tests share: a real Redis to be mistreated, and a wire to it that can be.

#![allow(dead_code, reason = "no test file uses all of it")]
#![allow(clippy::unwrap_used, reason = "a broken fixture should panic where it broke")]

pub mod cluster;
pub mod proxy;
pub mod recorder;
pub mod redis;
pub mod replicated;
pub mod sentinel;
pub mod tls;
