//! Connections that are kept alive, for as long as each step of a request comes in time: how operators and producers come
//! in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, info, warn};

use super::head::{HeadLimits, Unfit, one_host};
use super::prompt::{Idle, Prompt};
use super::{Peer, Place, Serve};
use crate::repeat::Repeats;

/// How long an answer may still take when everything ends.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The least that hyper reads a head into.
const LEAST: usize = 8 * 1024;

/// What serves the internal listener.
pub struct Kept {
    /// What answers.
    pub router: Router,
    /// How long a client may be idle, how long the head of a request may take, and how long the client to take the answer.
    pub timeout: Duration,
    /// How large the head of a request may be.
    pub head: HeadLimits,
    /// Where what cannot be understood is logged.
    pub unfit: Repeats,
    /// Everything ends.
    pub stop: CancellationToken,
}

impl Serve for Kept {
    async fn serve(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, place: Place) {
        if self.has_spoken(&stream, &place).await {
            // Boxed, because a client that says nothing should not hold its room.
            if let Err(error) = Box::pin(self.converse(stream, Peer(peer), &place)).await {
                self.note(peer, &error);
            }
        }
    }

    fn full(&self) {
        if let Some(repeated) = self.unfit.due("full") {
            warn!(
                repeated,
                "no place is left on the internal listener: each socket there has a request under way; a probe or a scrape may fail"
            );
        }
    }
}

impl Kept {
    /// Nothing is built for a client that says nothing: HTTP takes 8 KiB for its first read alone.
    async fn has_spoken(&self, stream: &TcpStream, place: &Place) -> bool {
        let mut first = [0];
        tokio::select! {
            // Peeked, because a new socket may well count as readable before anything has come.
            biased;
            spoken = timeout(self.timeout, stream.peek(&mut first)) => matches!(spoken, Ok(Ok(1))),
            () = place.wait() => false,
            () = self.stop.cancelled() => false,
        }
    }

    async fn converse(&self, stream: TcpStream, peer: Peer, place: &Place) -> Result<(), BoxError> {
        let idle = Idle::new(place);
        let asked = idle.clone();
        let service = service_fn(move |request| {
            asked.end();
            self.answer(peer, request)
        });
        let http = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.timeout)
            .max_headers(self.head.lines)
            .max_buf_size(self.head.bytes.max(LEAST))
            .serve_connection(Prompt::new(stream, place, idle, self.timeout, &self.stop), service);
        let mut http = std::pin::pin!(http);
        tokio::select! {
            served = &mut http => Ok(served?),
            () = self.stop.cancelled() => {
                http.as_mut().graceful_shutdown();
                Ok(timeout(LAST_WORDS, http).await??)
            }
        }
    }

    async fn answer(&self, peer: Peer, mut request: Request<Incoming>) -> io::Result<Response> {
        if let Err(unfit) = self.fits(&request) {
            if let Some(repeated) = self.unfit.due(unfit) {
                info!(client = %peer.0.ip().to_canonical(), repeated, "request refused on the internal listener: {unfit}");
            }
            return Ok((unfit.status(), format!("{unfit}\n")).into_response());
        }
        request.extensions_mut().insert(peer);
        match self.router.clone().oneshot(request.map(Body::new)).await {
            Ok(response) => Ok(response),
            Err(never) => match never {},
        }
    }

    /// What hyper does not look at: the one host, and a limit below the least that it reads.
    fn fits(&self, request: &Request<Incoming>) -> Result<(), Unfit> {
        let lines = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
        let first = request.method().as_str().len() + request.uri().to_string().len() + "  HTTP/1.1\r\n".len();
        if first + lines.sum::<usize>() + "\r\n".len() > self.head.bytes {
            return Err(Unfit::TooLarge(self.head.bytes));
        }
        one_host(request.version(), request.headers())
    }

    /// hyper itself answers what it cannot parse, by 400 or 431 and no word.
    fn note(&self, peer: SocketAddr, error: &BoxError) {
        debug!(%peer, %error, "connection to the internal listener failed");
        let Some(error) = error.downcast_ref::<hyper::Error>().filter(|error| error.is_parse()) else { return };
        let too_large = error.is_parse_too_large();
        // hyper's words, of which there are few.
        if let Some(repeated) = self.unfit.due(error.to_string()) {
            let mend = if too_large { "; raise handshake.head or handshake.lines" } else { "" };
            info!(client = %peer.ip().to_canonical(), repeated, "request refused on the internal listener: {error}{mend}");
        }
    }
}
