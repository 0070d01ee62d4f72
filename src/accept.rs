//! The accept loop: one task per socket, bounded in time and number. `axum::serve` never times out a client that sends
//! nothing, and does not see sockets that doors have taken; so the loop is ours.
//!
//! The public listener answers one request a connection ([`Once`]); the internal one keeps connections alive ([`Kept`]).

mod answer;
mod head;
mod kept;
mod loan;
mod once;
mod places;
mod prompt;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::repeat::Repeats;
pub use answer::lines;
pub use head::HeadLimits;
pub use kept::Kept;
pub use loan::{Lent, Loan};
pub use once::Once;
pub use places::{Place, Places};

/// The most bytes of a socket that wait in the kernel to be sent; what is on its way comes on top. A client that
/// does not read otherwise holds up to `tcp_wmem`'s 4 MiB there, which no bound of ours sees and no rule of a
/// topic can drop or conflate: measured, 4,077 KiB of kernel memory each, and 200 KiB with this. It does not
/// slow down who reads: 64 KiB are half a millisecond of 1 Gbit/s, and the socket is refilled as it drains.
const UNSENT: u32 = 64 * 1024;

/// How long accepting rests when descriptors have run out.
const BREATHER: Duration = Duration::from_millis(50);

/// What a socket is served by.
pub trait Serve: Send + Sync + 'static {
    /// Serves a socket until its end, or until a door has taken it.
    fn serve(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, place: Place) -> impl Future<Output = ()> + Send;
    /// A socket was closed because there was no room for it.
    fn full(&self);
}

/// One listener and what serves it.
pub struct Acceptor<S> {
    /// Bound already.
    pub listener: TcpListener,
    /// Room for so many sockets, those included that doors have taken.
    pub places: Arc<Places>,
    /// What serves them.
    pub service: Arc<S>,
}

/// The address of the other end, as the socket says.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl<S: Serve> Acceptor<S> {
    /// Accepts until told to stop. Requests under way are finished by `tasks`.
    pub async fn run(self, tasks: TaskTracker, stop: CancellationToken) {
        while let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await {
            match accepted {
                Ok((stream, peer)) => match self.places.take() {
                    Some(place) => {
                        prepare(&stream);
                        tasks.spawn(self.service.clone().serve(stream, peer, place));
                    }
                    // One too many is closed at once: answering it would take the descriptors of others.
                    None => self.service.full(),
                },
                Err(error) => self.rest(&error).await,
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
            self.service.full();
            tokio::time::sleep(BREATHER).await;
        }
    }
}

/// Sets what every socket needs. Fails on a dead socket only, which the first read finds.
fn prepare(stream: &TcpStream) {
    // Frames are written whole; waiting for more to come would only add delay.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}
