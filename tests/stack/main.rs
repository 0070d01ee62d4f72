//! The whole of it, as `make up` starts it: clients, replicas, Redis, HAProxy and Prometheus, all of them real.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

#[path = "../support/gateway.rs"]
mod gateway;

mod balance;
mod crowd;
mod house;
mod page;
mod producer;
mod refusals;
mod replicas;
mod watch;
