//! The gateway as its users meet it: the real binary, a real `redis-server`, real foreign clients, real
//! outages. One binary, so that it links once.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

#[path = "../support/bare.rs"]
mod bare;
#[path = "../support/client.rs"]
mod client;
#[path = "../support/foreign.rs"]
mod foreign;
#[path = "../support/gateway.rs"]
mod gateway;
#[path = "../support/stream.rs"]
mod stream;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tap.rs"]
mod tap;

mod deflate;
mod delivery;
mod doors;
mod drain;
mod heartbeat;
mod held;
mod history;
mod hostile;
mod logs;
mod notify;
mod operations;
mod outage;
mod publish;
mod rebalance;
mod reload;
mod resume;
mod slow;
mod sse;
mod tools;
