//! A TCP socket as an outbox's wire and a connection's socket.

use std::io::{self, IoSlice};
use std::sync::OnceLock;
use std::task::{Context, Poll};

use tokio::net::TcpStream;

use crate::connection::Socket;
use crate::outbox::Wire;

/// A socket that comes later: the outbox fills while the handshake still owns it.
#[derive(Default)]
pub struct Tcp(OnceLock<TcpStream>);

impl Tcp {
    /// Puts the socket in its place, once.
    pub fn attach(&self, stream: TcpStream) {
        // A second one would be dropped, and closed; there never is one.
        let _ = self.0.set(stream);
    }

    fn stream(&self) -> io::Result<&TcpStream> {
        self.0.get().ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }
}

impl Wire for Tcp {
    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [one] => self.stream()?.try_write(one),
            many => self.stream()?.try_write_vectored(many),
        }
    }
}

impl Socket for Tcp {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        // An error is ready too: the read then meets it.
        self.0.get().map_or(Poll::Pending, |stream| stream.poll_read_ready(cx).map(|_| ()))
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.get().map_or(Poll::Pending, |stream| stream.poll_write_ready(cx).map(|_| ()))
    }

    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        self.stream()?.try_read(into)
    }

    fn finish(&self) {
        if let Some(stream) = self.0.get() {
            // Fails only where the peer is gone already.
            let _ = socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write);
        }
    }

    fn abort(&self) {
        if let Some(stream) = self.0.get() {
            // As above; a reset is sent when the last handle goes.
            let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
        }
    }
}
