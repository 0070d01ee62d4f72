//! One request a connection, and one deadline from accept to the last byte of its answer: how clients come in.
//!
//! hyper is not used here. It has no deadline for an answer that nobody reads, holds a connection that pipelines requests
//! for as long as it likes, and chooses the names of a 101's lines.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use prometheus::IntGauge;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, info, warn};

use super::head::{HeadLimits, Heard, Reader, Unfit};
use super::loan::{self, Lent, Loan};
use super::{Peer, Place, Serve, answer};
use crate::metrics::{Handshake, Metrics};
use crate::repeat::Repeats;

/// How long after the last drained connection a handshake may still take.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What serves the public listener.
pub struct Once {
    /// What answers.
    pub router: Router,
    /// From accept to the last byte of an answer, or of the head of a stream.
    pub timeout: Duration,
    /// How large the head of a request may be.
    pub head: HeadLimits,
    /// Where what reaches no door is counted.
    pub metrics: Arc<Metrics>,
    /// Where it is logged.
    pub unfit: Repeats,
    /// No more guests: a client that has said nothing goes.
    pub closing: CancellationToken,
    /// The house is empty: a handshake may still take `LAST_WORDS`.
    pub stop: CancellationToken,
}

/// A socket of which somebody is not in yet, or will not be.
struct Outside<'a>(&'a IntGauge);

impl<'a> Outside<'a> {
    fn new(count: &'a IntGauge) -> Self {
        count.inc();
        Self(count)
    }
}

impl Drop for Outside<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Serve for Once {
    async fn serve(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, place: Place) {
        let _outside = Outside::new(&self.metrics.handshakes_open);
        let deadline = Instant::now() + self.timeout;
        let late = || async {
            self.stop.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        tokio::select! {
            biased;
            () = self.attend(stream, Peer(peer), place, deadline) => {}
            () = late() => {}
        }
    }

    fn full(&self) {
        self.metrics.handshake(Handshake::Dropped).inc();
    }
}

impl Once {
    async fn attend(&self, stream: TcpStream, peer: Peer, place: Place, deadline: Instant) {
        let Some(heard) = self.listen(&stream, peer, &place, deadline).await else { return };
        // Boxed, because a client that says nothing should not hold its room.
        let answered = match heard {
            Heard::Request(request, early) => {
                Box::pin(self.ask(*request, Lent { stream, place, early }, peer, deadline)).await
            }
            Heard::Unfit(unfit) => {
                let bytes = Box::pin(self.refuse(unfit, peer)).await;
                Some((Lent { stream, place, early: Bytes::new() }, bytes))
            }
            Heard::Nothing | Heard::Part(_) => None,
        };
        if let Some((lent, bytes)) = answered {
            part(&lent, &bytes, deadline).await;
        }
    }

    /// Reads the head, as long as there is time and room for it.
    async fn listen(&self, stream: &TcpStream, peer: Peer, place: &Place, deadline: Instant) -> Option<Heard> {
        let mut wait = place.wait();
        let mut reader = Reader::new(self.head);
        let mut open = true;
        loop {
            tokio::select! {
                // A client that has spoken when the door closes is answered.
                biased;
                heard = timeout_at(deadline, reader.head(stream)) => match heard {
                    Ok(Ok(Heard::Part(bytes))) => self.note(wait.hold(bytes)),
                    Ok(Ok(heard)) => return Some(heard),
                    Ok(Err(error)) => return self.lose(peer, &error),
                    Err(late) => return self.lose(peer, &late),
                },
                () = &mut wait => {
                    self.full();
                    return None;
                }
                () = self.closing.cancelled(), if open => match reader.is_silent() {
                    true => return None,
                    false => open = false,
                },
            }
        }
    }

    /// Says that half heads hold as much as they may, where one gave way for it.
    fn note(&self, gave_way: bool) {
        if gave_way && let Some(repeated) = self.unfit.due("half heads") {
            warn!(
                repeated,
                "half heads of requests hold a quarter of inbound.total: the oldest of them is hung up on for each further one; \
                 somebody holds them back (handshake.timeout, handshake.head)"
            );
        }
    }

    fn lose<T>(&self, peer: Peer, error: &dyn std::error::Error) -> Option<T> {
        debug!(peer = %peer.0, %error, "handshake failed");
        self.metrics.handshake(Handshake::Timeout).inc();
        None
    }

    /// Lets a door have the socket. Where it leaves it: the socket, and what to answer.
    async fn ask(
        &self,
        mut request: Request<()>,
        lent: Lent,
        peer: Peer,
        deadline: Instant,
    ) -> Option<(Lent, Vec<u8>)> {
        let loan = Loan::of(lent, deadline);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(loan.clone());
        let method = request.method().clone();
        let answered = timeout_at(deadline, self.router.clone().oneshot(request.map(|()| Body::empty()))).await;
        let Ok(Ok(response)) = answered else {
            return self.lose(peer, &std::io::Error::from(std::io::ErrorKind::TimedOut));
        };
        let lent = loan.take()?;
        Some((lent, answer::encode(response, &method).await))
    }

    /// Tells a client why what it sent is no request.
    async fn refuse(&self, unfit: Unfit, peer: Peer) -> Vec<u8> {
        self.metrics.handshake(Handshake::BadRequest).inc();
        if let Some(repeated) = self.unfit.due(unfit) {
            info!(client = %peer.0.ip().to_canonical(), status = unfit.status().as_u16(), repeated, "handshake refused: {unfit}");
        }
        let response: Response = (unfit.status(), format!("{unfit}\n")).into_response();
        answer::encode(response, &Method::GET).await
    }
}

/// Writes the answer and waits until the client has hung up, so that what it still sends does not destroy the answer on
/// its way. A client that does neither in time is cut, and one that holds the place of another gives way.
async fn part(lent: &Lent, bytes: &[u8], deadline: Instant) {
    let socket = SockRef::from(&lent.stream);
    let leave = async {
        loan::write(&lent.stream, bytes).await?;
        socket.shutdown(std::net::Shutdown::Write)?;
        let mut rest = [0; 512];
        loop {
            lent.stream.readable().await?;
            match lent.stream.try_read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    let left = tokio::select! {
        biased;
        left = timeout_at(deadline, leave) => matches!(left, Ok(Ok(()))),
        () = lent.place.wait() => false,
    };
    // Without it the kernel would go on for the client, for as long as that likes. Both fail on a dead socket only.
    let _ = match left {
        true => socket.set_tcp_user_timeout(Some(LAST_WORDS)),
        false => socket.set_linger(Some(Duration::ZERO)),
    };
}
