//! Sockets by the thousand: limits, source addresses, waiting.

use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollEvent, EpollTimeout},
        resource::{Resource, getrlimit, setrlimit},
        socket::{setsockopt, sockopt},
    },
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

/// Sockets one process opens at most: beyond, it is the client that is measured.
pub const PER_PROCESS: usize = 18_000;
/// Sockets from one source address: a good deal less than the 28,000 ephemeral ports of a Linux default.
const PER_SOURCE: usize = 4_000;
/// Descriptors beside the sockets: log, epoll, Redis, standard streams.
const SPARE: u64 = 100;
/// Loopback answers at once or not at all.
const CONNECT: Duration = Duration::from_secs(5);

/// Raises the soft limit of descriptors to the hard one.
pub fn raise_descriptor_limit() -> Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raising the descriptor limit")?;
    Ok(hard)
}

/// Fails with a sentence when a process of ours may not open that many sockets.
pub fn make_room_for(sockets: usize) -> Result<()> {
    ensure!(sockets <= PER_PROCESS, "{sockets} sockets: start several processes of at most {PER_PROCESS}");
    let limit = raise_descriptor_limit()?;
    ensure!(sockets as u64 + SPARE <= limit, "{sockets} sockets need `ulimit -n` above {limit}");
    Ok(())
}

/// A non-blocking listener with room for a crowd at the door.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The `nth` connection to a server, non-blocking; loopback servers are met from several loopback addresses.
pub fn connect(server: SocketAddr, nth: usize) -> io::Result<TcpStream> {
    connect_with(server, nth, None)
}

/// The same, with a receive buffer of so many bytes; none: the kernel's choice.
pub fn connect_with(server: SocketAddr, nth: usize, receive_buffer: Option<usize>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(bytes) = receive_buffer {
        // Before connecting, for the window's scale is agreed there.
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = source(server.ip(), nth) {
        // The port is chosen at connect, where it need only be free towards this server: what a scenario before this
        // one left in TIME_WAIT is in nobody's way.
        setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
        socket.bind(&SockAddr::from(SocketAddr::from((source, 0))))?;
    }
    socket.connect_timeout(&server.into(), CONNECT)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn source(server: IpAddr, nth: usize) -> Option<Ipv4Addr> {
    let host = u8::try_from(2 + nth / PER_SOURCE).unwrap_or(254);
    matches!(server, IpAddr::V4(v4) if v4.is_loopback()).then_some(Ipv4Addr::new(127, 0, 0, host))
}

/// Waits for events; a signal counts as none. `None` waits for ever.
pub fn wait(epoll: &Epoll, events: &mut [EpollEvent], milliseconds: Option<u16>) -> Result<usize> {
    let timeout = milliseconds.map_or(EpollTimeout::NONE, EpollTimeout::from);
    match epoll.wait(events, timeout) {
        Ok(ready) => Ok(ready),
        Err(Errno::EINTR) => Ok(0),
        Err(error) => Err(error).context("epoll"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_comes_from_as_many_addresses_as_its_ports_need() {
        let server = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(source(server, 0), Some(Ipv4Addr::new(127, 0, 0, 2)));
        assert_eq!(source(server, PER_PROCESS - 1), Some(Ipv4Addr::new(127, 0, 0, 6)));
        assert_eq!(source(IpAddr::from([10, 0, 0, 1]), 0), None);
    }

    #[test]
    fn more_sockets_than_a_process_should_open_are_refused_with_a_way_out() {
        let refusal = make_room_for(PER_PROCESS + 1).unwrap_err().to_string();
        assert!(refusal.contains("several processes"), "{refusal}");
    }
}
