//! A socket that is lent to hyper: a door may take it back, and answer over it as it likes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::Place;

/// A socket on loan: hyper speaks over one handle, and each request carries another. Once it is taken, hyper reads
/// the end of the stream and what it writes goes nowhere, so that it ends in peace.
#[derive(Clone)]
pub struct Loan(Arc<Mutex<Option<Lent>>>);

struct Lent {
    io: TokioIo<TcpStream>,
    place: Place,
    /// Whether hyper has written since it last flushed: then bytes of an earlier answer may still wait with it.
    begun: bool,
}

impl Loan {
    /// Lends a socket that has this place.
    pub(super) fn of(stream: TcpStream, place: Place) -> Self {
        Self(Arc::new(Mutex::new(Some(Lent { io: TokioIo::new(stream), place, begun: false }))))
    }

    /// Takes the socket and its place. None where somebody has, or where an earlier answer is not out: its end would
    /// be lost.
    #[must_use]
    pub fn take(&self) -> Option<(TcpStream, Place)> {
        let mut lent = self.0.lock();
        let whole = lent.take_if(|lent| !lent.begun)?;
        Some((whole.io.into_inner(), whole.place))
    }

    /// Asks the socket, if it is still lent.
    fn ask<T>(
        &self,
        ask: impl FnOnce(Pin<&mut TokioIo<TcpStream>>) -> Poll<io::Result<T>>,
        gone: T,
    ) -> Poll<io::Result<T>> {
        match &mut *self.0.lock() {
            Some(lent) => ask(Pin::new(&mut lent.io)),
            None => Poll::Ready(Ok(gone)),
        }
    }

    fn begin(&self) {
        if let Some(lent) = &mut *self.0.lock() {
            lent.begun = true;
        }
    }
}

impl Read for Loan {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.ask(|io| io.poll_read(cx, buffer), ())
    }
}

impl Write for Loan {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.begin();
        self.ask(|io| io.poll_write(cx, bytes), bytes.len())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.begin();
        self.ask(|io| io.poll_write_vectored(cx, slices), slices.iter().map(|slice| slice.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper asks for it when all that it had is written.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(lent) = &mut *self.0.lock() {
            lent.begun = false;
        }
        self.ask(|io| io.poll_flush(cx), ())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ask(|io| io.poll_shutdown(cx), ())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn lend() -> (Loan, TcpStream, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let open = Arc::new(AtomicUsize::new(0));
        let place = Place::take(&open, 1).unwrap();
        (Loan::of(listener.accept().await.unwrap().0, place), peer, open)
    }

    async fn write(loan: &mut Loan, bytes: &[u8]) -> usize {
        poll_fn(|cx| Pin::new(&mut *loan).poll_write(cx, bytes)).await.unwrap()
    }

    #[tokio::test]
    async fn who_takes_a_socket_has_it_alone_and_hyper_ends_in_peace() {
        let (mut hypers, mut peer, open) = lend().await;
        let (stream, place) = hypers.clone().take().unwrap();
        assert!(hypers.take().is_none(), "once");
        assert_eq!(write(&mut hypers, b"HTTP/1.1 200 OK").await, 15, "into nowhere");
        poll_fn(|cx| Pin::new(&mut hypers).poll_flush(cx)).await.unwrap();
        poll_fn(|cx| Pin::new(&mut hypers).poll_shutdown(cx)).await.unwrap();
        drop(hypers);
        assert_eq!((stream.try_write(b"ours").unwrap(), open.load(Ordering::Relaxed)), (4, 1));
        drop((stream, place));
        let mut heard = String::new();
        peer.read_to_string(&mut heard).await.unwrap();
        assert_eq!((heard.as_str(), open.load(Ordering::Relaxed)), ("ours", 0));
    }

    #[tokio::test]
    async fn nobody_takes_it_while_an_earlier_answer_is_half_out() {
        let (mut hypers, _peer, _open) = lend().await;
        write(&mut hypers, b"HTTP/1.1 204").await;
        assert!(hypers.take().is_none());
        poll_fn(|cx| Pin::new(&mut hypers).poll_flush(cx)).await.unwrap();
        assert!(hypers.take().is_some());
    }
}
