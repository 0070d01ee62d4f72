//! The ledger: replicas of the real binary on real redis-servers, and for each client what was acknowledged as
//! published and what arrived. After every fault nothing may be lost without a word, doubled or out of order,
//! no socket closed that need not be, and the replicas must be ready, and as small as before.
//!
//! `make test` runs each fault in its short form; `make chaos` draws faults by a seed; `make reliability` runs
//! the long forms, too, and writes load/RELIABILITY.md.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

#[path = "../support/gateway.rs"]
mod gateway;
#[path = "../support/mod.rs"]
mod support;

mod chaos;
mod client;
mod clock;
mod crowd;
mod each;
mod failovers;
mod faults;
mod history;
mod http;
mod judge;
mod judge_tests;
mod ledger;
mod link_faults;
mod memory;
mod producer;
mod redis_faults;
mod report;
mod room_faults;
mod servers;
mod trial;
mod trial_tests;
mod wire;
mod world;
