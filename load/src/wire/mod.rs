//! What travels: Redis's language and WebSocket's, the stamp of a payload, sockets by the thousand.

pub mod bus;
pub mod emitter;
pub mod post;
pub mod resp;
pub mod sockets;
pub mod stamp;
pub mod websocket;
