//! A socket that is lent to a door: it takes the socket and answers over it, or leaves it and answers by a response.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Place;

/// A socket on loan, with the request that came over it.
#[derive(Clone)]
pub struct Loan {
    lent: Arc<Mutex<Option<Lent>>>,
    deadline: Instant,
}

/// What a door takes.
pub struct Lent {
    /// The socket. Nothing was written to it.
    pub stream: TcpStream,
    /// Its place among all sockets.
    pub place: Place,
    /// What the client has sent behind the head of its request.
    pub early: Bytes,
}

impl Loan {
    /// Lends a socket until then.
    pub(super) fn of(lent: Lent, deadline: Instant) -> Self {
        Self { lent: Arc::new(Mutex::new(Some(lent))), deadline }
    }

    /// Takes the socket. None where somebody has.
    #[must_use]
    pub fn take(&self) -> Option<Lent> {
        self.lent.lock().take()
    }

    /// How long a door may wait for something before it answers: what is left of the time for the whole, less a tenth
    /// for the answer.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()) * 9 / 10
    }
}

impl Lent {
    /// Writes bytes, all of them. The request's deadline ends the wait for a client that takes none.
    ///
    /// # Errors
    /// The socket's own.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        write(&self.stream, bytes).await
    }
}

/// Writes bytes, all of them.
pub(super) async fn write(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::super::Places;
    use super::*;

    #[tokio::test]
    async fn who_takes_a_socket_has_it_alone_and_its_place_with_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let places = Places::new(1, 0);
        let (stream, place) = (listener.accept().await.unwrap().0, places.take().unwrap());
        let lent = Lent { stream, place, early: Bytes::from_static(b"early") };
        let loan = Loan::of(lent, Instant::now() + Duration::from_secs(10));
        assert!(loan.patience() > Duration::from_secs(8) && loan.patience() <= Duration::from_secs(9));
        let lent = loan.clone().take().unwrap();
        assert!(loan.take().is_none(), "once");
        lent.write(b"ours").await.unwrap();
        assert!(places.take().is_none() && &lent.early[..] == b"early");
        drop(lent);
        let mut heard = String::new();
        peer.read_to_string(&mut heard).await.unwrap();
        assert!(heard == "ours" && places.take().is_some());
    }
}
