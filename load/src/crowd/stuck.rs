//! Sockets that listen and never read: a phone in a tunnel, a debugger at a breakpoint.

use crate::{crowd::server::Server, stop, wire::sockets, wire::websocket};
use anyhow::{Context, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{
    io::{Read, Write},
    net::TcpStream,
    os::fd::AsFd,
    time::{Duration, Instant},
};

/// The kernel's receive buffer of each, in bytes: what is not read stands at the server soon.
const RECEIVE_BUFFER: usize = 4096;
/// The answer to a handshake.
const PATIENCE: Duration = Duration::from_secs(5);

/// They stay connected until this is dropped.
pub struct Stuck {
    _sockets: Vec<TcpStream>,
}

impl Stuck {
    /// Opens them, each on all of `topics`; they read the answer to their handshake, and nothing behind it.
    pub fn open(server: &Server, topics: &[String], count: usize) -> Result<Self> {
        let sockets = (0..count).map(|nth| open(server, topics, nth).with_context(|| format!("stuck socket {nth}")));
        Ok(Self { _sockets: sockets.collect::<Result<_>>()? })
    }
}

fn open(server: &Server, topics: &[String], nth: usize) -> Result<TcpStream> {
    let mut stream = sockets::connect_with(server.address, nth, Some(RECEIVE_BUFFER))?;
    stream.write_all(server.request(topics).as_bytes())?;
    let (end, mut head) = (Instant::now() + PATIENCE, Vec::new());
    while websocket::head_end(&head).is_none() {
        stop::check()?;
        ensure!(Instant::now() < end, "the handshake is not answered");
        poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLIN)], PollTimeout::from(100_u16))?;
        let mut bytes = [0; 256];
        match stream.read(&mut bytes) {
            Ok(0) => anyhow::bail!("the server hung up"),
            Ok(len) => head.extend_from_slice(&bytes[..len]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    ensure!(head.starts_with(b"HTTP/1.1 101 "), "refused: {}", String::from_utf8_lossy(&head));
    Ok(stream)
}
