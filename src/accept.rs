//! The accept loop: one task per handshake, bounded in time and number. `axum::serve` never times out a
//! client that sends nothing, and does not see upgraded sockets; so the loop is ours.

mod loan;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::{BoxError, Router};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::metrics::{Handshake, Metrics};
use crate::repeat::Repeats;
pub use loan::Loan;

/// The largest head of a request, in bytes, and the most headers.
const HEAD: usize = 16 * 1024;
const HEADERS: usize = 64;

/// The most bytes of a socket that wait in the kernel to be sent; what is on its way comes on top. A client that
/// does not read otherwise holds up to `tcp_wmem`'s 4 MiB there, which no bound of ours sees and no rule of a
/// topic can drop or conflate: measured, 4,077 KiB of kernel memory each, and 200 KiB with this. It does not
/// slow down who reads: 64 KiB are half a millisecond of 1 Gbit/s, and the socket is refilled as it drains.
const UNSENT: u32 = 64 * 1024;

/// How long accepting rests when descriptors have run out.
const BREATHER: Duration = Duration::from_millis(50);

/// One listener and what it serves.
pub struct Acceptor {
    /// Bound already.
    pub listener: TcpListener,
    /// What answers.
    pub router: Router,
    /// From accept to the end of a request's head.
    pub timeout: Duration,
    /// The most sockets from here at once, upgraded ones included.
    pub most: usize,
    /// Where what fails before a request is counted; none where no handshakes are.
    pub metrics: Option<Arc<Metrics>>,
}

/// Who is at the other end, as the socket says.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Acceptor {
    /// Accepts until told to stop. Requests under way are finished by `tasks`.
    pub async fn run(self, tasks: TaskTracker, stop: CancellationToken) {
        let open = Arc::new(AtomicUsize::new(0));
        while let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await {
            match accepted {
                Ok((stream, peer)) => {
                    // One too many is closed at once: answering it would take the descriptors of others.
                    let Some(place) = Place::take(&open, self.most) else {
                        self.count(Handshake::Dropped);
                        continue;
                    };
                    tasks.spawn(self.serve(stream, peer, place, &stop));
                }
                Err(error) => self.rest(&error).await,
            }
        }
    }

    fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: Place,
        stop: &CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        prepare(&stream);
        let (router, metrics, stop) = (self.router.clone(), self.metrics.clone(), stop.clone());
        let deadline = Instant::now() + self.timeout;
        async move {
            let mut first = [0];
            let served = tokio::select! {
                // Who has spoken when the door closes is answered.
                biased;
                // Nothing is built for a client that says nothing: HTTP takes 8 KiB for its first read alone.
                // Peeked, because a new socket may well count as readable before anything has come.
                spoken = timeout_at(deadline, stream.peek(&mut first)) => match spoken {
                    Ok(Ok(0)) => Ok(()),
                    Ok(Ok(_)) => speak(Loan::of(stream, place), Peer(peer), router, deadline, &stop).await,
                    Ok(Err(error)) => Err(error.into()),
                    Err(silent) => Err(silent.into()),
                },
                () = stop.cancelled() => Ok(()),
            };
            if let (Err(error), Some(metrics)) = (served, metrics) {
                debug!(%peer, %error, "handshake failed");
                metrics.handshake(outcome(&error)).inc();
            }
        }
    }

    async fn rest(&self, error: &std::io::Error) {
        static FULL: Repeats = Repeats::new();
        // The peer's fault where it hung up in the queue; ours where descriptors ran out.
        let out_of_descriptors = matches!(error.raw_os_error(), Some(23 | 24));
        if out_of_descriptors {
            if let Some(repeated) = FULL.due(error.raw_os_error()) {
                warn!(%error, repeated, "cannot accept: raise the descriptor limit or lower public.max_connections");
            }
            self.count(Handshake::Dropped);
            tokio::time::sleep(BREATHER).await;
        }
    }

    fn count(&self, outcome: Handshake) {
        if let Some(metrics) = &self.metrics {
            metrics.handshake(outcome).inc();
        }
    }
}

/// Answers a client whose first byte is there; its head must be whole by the deadline.
async fn speak(
    socket: Loan,
    peer: Peer,
    router: Router,
    deadline: Instant,
    stop: &CancellationToken,
) -> Result<(), BoxError> {
    let loan = socket.clone();
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(loan.clone());
        router.clone().oneshot(request.map(axum::body::Body::new) as Request)
    });
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(deadline.saturating_duration_since(Instant::now()))
        .max_headers(HEADERS)
        .max_buf_size(HEAD)
        .serve_connection(socket, service)
        .with_upgrades();
    let mut http = Box::pin(http);
    tokio::select! {
        served = &mut http => Ok(served?),
        () = stop.cancelled() => {
            http.as_mut().graceful_shutdown();
            Ok(http.await?)
        }
    }
}

/// Sets what every socket needs. Fails on a dead socket only, which the first read finds.
fn prepare(stream: &TcpStream) {
    // Frames are written whole; waiting for more to come would only add delay.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}

/// What became of a handshake that no route saw: hyper answers what it cannot parse, by 400, 414 or 431.
fn outcome(error: &BoxError) -> Handshake {
    match error.downcast_ref::<hyper::Error>() {
        Some(error) if error.is_parse() => Handshake::BadRequest,
        _ => Handshake::Timeout,
    }
}

/// A descriptor's place, held by whoever has the socket: the handshake, then the connection.
pub struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let place = Self(open.clone());
        (open.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
