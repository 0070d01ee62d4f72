//! A socket that hyper speaks over, whose client must take each answer in time. One that is still sending when the answer
//! is the last is read from until it has hung up: what nobody reads would destroy the answer on its way.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

use super::Place;
use super::places::Wait;

/// A socket with a deadline for each answer, from the first byte that has to wait to the last. Until the head of a request
/// is whole, be it the first, it stands in the waiting room: a single byte holds no place.
pub(super) struct Prompt<'a> {
    io: TokioIo<TcpStream>,
    place: &'a Place,
    timeout: Duration,
    /// Runs while an answer waits for its client.
    late: Option<Pin<Box<Sleep>>>,
    /// Whether an answer is on its way out.
    answering: bool,
    /// The last answer is out; the client may hang up.
    parting: bool,
    /// It had to give way.
    sent_away: bool,
    idle: Idle,
    stop: &'a CancellationToken,
}

/// The stay of a socket in the waiting room, which ends when its request is understood.
#[derive(Clone)]
pub(super) struct Idle(Arc<Mutex<Option<Wait>>>);

impl Idle {
    /// Stands there.
    pub fn new(place: &Place) -> Self {
        Self(Arc::new(Mutex::new(Some(place.wait()))))
    }

    /// The request is whole.
    pub fn end(&self) {
        *self.0.lock() = None;
    }

    fn again(&self, place: &Place) {
        *self.0.lock() = Some(place.wait());
    }

    /// Resolves when the socket has to give way.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.lock().as_mut().map_or(Poll::Pending, |idle| Pin::new(idle).poll(cx))
    }
}

impl<'a> Prompt<'a> {
    pub fn new(
        stream: TcpStream,
        place: &'a Place,
        idle: Idle,
        timeout: Duration,
        stop: &'a CancellationToken,
    ) -> Self {
        let io = TokioIo::new(stream);
        Self { io, place, timeout, late: None, answering: false, parting: false, sent_away: false, idle, stop }
    }

    /// Reads what the client still sends, until it hangs up, has no more time, or has to give way.
    fn poll_parted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.timeout;
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(timeout)));
        if late.as_mut().poll(cx).is_ready() || self.idle.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut rest = [0; 4096];
        loop {
            if ready!(self.io.inner().poll_read_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            match self.io.inner().try_read(&mut rest) {
                Ok(0) => return Poll::Ready(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(()),
            }
        }
    }

    /// What a write that has to wait comes to.
    fn patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let timeout = self.timeout;
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(late.as_mut().poll(cx));
        // What the kernel has of the answer goes with the socket. Fails on a dead one only.
        let _ = SockRef::from(self.io.inner()).set_linger(Some(Duration::ZERO));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Read for Prompt<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.io).poll_read(cx, buffer) {
            return Poll::Ready(read);
        }
        ready!(self.idle.poll(cx));
        // To hyper it looks as if the client had hung up.
        self.sent_away = true;
        Poll::Ready(Ok(()))
    }
}

impl Write for Prompt<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.answering = true;
        match Pin::new(&mut self.io).poll_write(cx, bytes) {
            Poll::Pending => self.patience(cx),
            written => written,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.answering = true;
        match Pin::new(&mut self.io).poll_write_vectored(cx, slices) {
            Poll::Pending => self.patience(cx),
            written => written,
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper asks for it when all that it had is written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes before each look at the end, too, which has a deadline of its own.
        if !self.parting {
            self.late = None;
        }
        if std::mem::take(&mut self.answering) {
            self.idle.again(self.place);
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.parting {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.parting = true;
        }
        // When everything ends, a client that is idle has all its answers.
        if !self.sent_away && !self.stop.is_cancelled() {
            ready!(self.poll_parted(cx));
        }
        Poll::Ready(Ok(()))
    }
}
