//! Connections in paused time, over sockets that tests hold the other end of.

mod farewell;
mod heartbeat;
mod pump;
mod stream;
mod unfinished;
