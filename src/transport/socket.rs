//! A TCP socket as an outbox's wire and a connection's socket.

use std::io::{self, IoSlice};
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::SendFlags;
use socket2::TcpKeepalive;
use tokio::net::TcpStream;

use crate::connection::Socket;
use crate::outbox::{Journal, Wire};

/// How long a socket may be idle before the kernel probes it, and how often it then does: about what a
/// heartbeat with its defaults would need to find a dead peer.
const IDLE: Duration = Duration::from_secs(30);
const PROBE: Duration = Duration::from_secs(10);

/// How long bytes, or probes, may go unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(45);

/// A socket that comes later: the outbox fills while the handshake still owns it.
#[derive(Default)]
pub struct Tcp {
    stream: OnceLock<TcpStream>,
    journal: Option<Box<Journal>>,
}

impl Tcp {
    /// One whose client is told with every message how far it has come.
    #[must_use]
    pub fn with(journal: Option<Journal>) -> Self {
        Self { stream: OnceLock::new(), journal: journal.map(Box::new) }
    }

    /// Puts the socket in its place, once.
    pub fn attach(&self, stream: TcpStream) {
        // A second one would be dropped, and closed; there never is one.
        let _ = self.stream.set(stream);
    }

    /// Lets the kernel find out when the peer is gone, where no ping of ours does: it probes an idle socket,
    /// and gives up on one that acknowledges nothing.
    pub fn watch(&self) {
        if let Some(stream) = self.stream.get() {
            let socket = socket2::SockRef::from(stream);
            let probes = TcpKeepalive::new().with_time(IDLE).with_interval(PROBE);
            // Fails on a dead socket only, which the next read finds.
            let _ = socket.set_tcp_keepalive(&probes);
            let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        }
    }

    fn stream(&self) -> io::Result<&TcpStream> {
        self.stream.get().ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }
}

impl Wire for Tcp {
    fn journal(&self) -> Option<&Journal> {
        self.journal.as_deref()
    }

    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream()?.try_write_vectored(slices)
    }

    /// Past the runtime, whose own note of the socket's readiness is another cache line per delivery, and past
    /// libc, whose `send` is a cancellation point: 3 to 4 % of a delivery.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(self.stream()?, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?)
    }
}

impl Socket for Tcp {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        // An error is ready too: the read then meets it.
        self.stream.get().map_or(Poll::Pending, |stream| stream.poll_read_ready(cx).map(|_| ()))
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.get().map_or(Poll::Pending, |stream| stream.poll_write_ready(cx).map(|_| ()))
    }

    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        self.stream()?.try_read(into)
    }

    fn finish(&self) {
        if let Some(stream) = self.stream.get() {
            // Fails only where the peer is gone already.
            let _ = socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write);
        }
    }

    fn abort(&self) {
        if let Some(stream) = self.stream.get() {
            // As above; a reset is sent when the last handle goes.
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Tcp, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let wire = Tcp::default();
        wire.attach(listener.accept().await.unwrap().0);
        (wire, peer)
    }

    fn is_writable(wire: &Tcp) -> bool {
        wire.poll_writable(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn a_full_socket_is_waited_for_and_not_asked_again_and_again() {
        let (wire, mut peer) = pair().await;
        let mut written = 0;
        while let Ok(took) = wire.try_write(&[7; 4096]) {
            written += took;
        }
        let full = wire.try_write_vectored(&[IoSlice::new(&[7])]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        assert!(!is_writable(&wire), "the runtime knows that it is full");
        peer.read_exact(&mut vec![0; written]).await.unwrap();
        poll_fn(|cx| wire.poll_writable(cx)).await;
        assert_eq!(wire.try_write(b"more").unwrap(), 4);
    }

    #[tokio::test]
    async fn a_socket_that_is_not_there_yet_or_no_longer_takes_nothing() {
        assert_eq!(Tcp::default().try_write(b"a").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let (wire, peer) = pair().await;
        drop(peer);
        // The first write may still be taken by our own kernel, which then learns that nobody is there.
        let gone = std::iter::repeat_with(|| wire.try_write(b"a")).find_map(Result::err).unwrap();
        assert!(matches!(gone.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{gone}");
    }
}
