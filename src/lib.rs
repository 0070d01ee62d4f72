//! Fanline: one `PUBLISH` into Redis reaches every client of the topic on every replica.
//!
//! # The journey down: Redis → sockets
//! [`link`] holds the wires to Redis; [`broker`] splits a push into header and payload and calls
//! [`broker::Deliver::deliver`], a plain call that never waits. [`hub::Interest`] puts the publication
//! into the inbox of each shard that wants it. A shard of the [`hub`] takes it to its subscribers in turns:
//! encoded once per form by the [`protocol`], and compressed once per form for those who agreed on that, it is offered to each
//! [`outbox`], which writes it straight into the socket, or keeps what the socket does not take, within bounds.
//!
//! # The journey up: sockets → Redis
//! [`accept`] takes a socket, [`transport`] turns its request into a [`session::Greeting`], and once its topics
//! are live the door opens. The [`connection`] reads bytes, [`frame`] makes messages of them, the protocol
//! makes commands, and the [`session`] carries them out: limits first, rights next, then the act.
//!
//! # Who may know whom
//! `server → transport, http → connection → session → hub → broker → words`; hub and connection both know the
//! outbox. Rooms get handles, never the whole. `tests/architecture.rs` asserts it:
//!
//! - only `link` and `broker::redis` name the redis crate; only `transport`, `http`, `accept`, `server` and
//!   `client` name axum or hyper; words name no tokio;
//! - nothing on the delivery path waits for a client; no lock is held across an `.await`;
//! - every task has an owner that drains it; every queue has a bound that is chosen, counted and told;
//! - no topic, user or connection ever becomes a metric's label.

// Words: no I/O, no async.
pub mod clock;
pub mod close;
pub mod command;
pub mod event;
pub mod frame;
pub mod identity;
pub mod position;
pub mod protocol;
pub mod publication;
pub mod quote;
pub mod repeat;
pub mod settings;
pub mod topic;

// Engines: know Redis or the bytes' order, know no HTTP.
pub mod broker;
pub mod hub;
pub mod link;
pub mod metrics;
pub mod outbox;

// Conversation.
pub mod connection;
pub mod session;

// Doors.
pub mod accept;
pub mod http;
pub mod transport;

// The house.
pub mod cli;
pub mod client;
pub mod config;
pub mod drain;
pub mod server;
