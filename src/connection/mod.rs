//! The byte pump of one connection: reads what the client sends, writes on where its socket was full,
//! and hangs up. Publications go out without it, straight from the hub.
//!
//! Knows no Redis and no HTTP; the socket is a trait, so that tests drive it without one.

mod ends;
mod heartbeat;
mod inbound;
mod roster;
mod turn;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::error::Elapsed;

use crate::clock;
use crate::close::Close;
use crate::command::{Command, Payload};
use crate::event::Refusal;
use crate::frame::{self, Message};
use crate::identity::ConnectionId;
use crate::outbox::{Duty, Outbox, Wire};
use crate::session::Session;

pub use ends::Ends;
pub use heartbeat::{Pace, sweep};
use inbound::Inbound;
pub use roster::{Enrolled, Roster};

/// How much one read takes; shared by all connections of a thread.
const READ: usize = 64 * 1024;

/// How long each half of a farewell may take: our last bytes out, and the peer's end of the socket closed.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long the last word may take to a peer that has shown no sign of life: a round trip to one that lives after all.
const LAST_WORD: Duration = Duration::from_secs(1);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// A socket that a connection reads from.
pub trait Socket: Wire + 'static {
    /// Ready when a read may succeed.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()>;
    /// Ready when a write may succeed.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()>;
    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock` where nothing is there; anything else means it is gone.
    fn try_read(&self, into: &mut [u8]) -> io::Result<usize>;
    /// Sends no more; the peer may still.
    fn finish(&self);
    /// Drops what is unsent, so that the peer learns at once that we are gone.
    fn abort(&self);
}

/// One connection's byte pump.
pub struct Connection<S: Socket> {
    socket: Arc<Outbox<S>>,
    session: Session,
    inbound: Inbound,
}

enum Step {
    Read,
    Write,
    Part(Close),
    HangUp(Close),
    Abort(Close),
}

impl<S: Socket> Connection<S> {
    /// A pump for a socket whose outbox the session already has.
    pub fn new(socket: Arc<Outbox<S>>, session: Session) -> Self {
        let inbound = Inbound::of(socket.protocol().hears(), session.max_message(), socket.extension());
        Self { socket, session, inbound }
    }

    /// Takes what came with the handshake.
    pub async fn begin(&mut self, early: Bytes) {
        self.outbox().heard().note(clock::now_ms());
        let mut asked = Vec::new();
        let heard = self.understand(&mut early.to_vec(), &mut asked);
        self.act(heard, asked).await;
    }

    /// Pumps until either side hangs up, and answers why.
    ///
    /// Idle connections are many, so this future holds little: what happens now and then is boxed, and
    /// costs an allocation when it happens instead of its room in every task.
    pub async fn run(&mut self) -> Close {
        loop {
            match self.next_step().await {
                Step::Read => {
                    let mut asked = Vec::new();
                    let heard = self.read(&mut asked);
                    if heard.is_err() || !asked.is_empty() {
                        Box::pin(self.act(heard, asked)).await;
                    }
                }
                // What a failed write means is the next step.
                Step::Write => drop(self.outbox().flush()),
                Step::Part(close) => {
                    self.inbound = Inbound::Over;
                    if Box::pin(self.write_farewell()).await.is_err() {
                        return close;
                    }
                }
                Step::HangUp(close) => {
                    self.inbound = Inbound::Over;
                    return Box::pin(self.hang_up(close)).await;
                }
                Step::Abort(close) => {
                    self.socket.wire().abort();
                    return close;
                }
            }
        }
    }

    async fn next_step(&self) -> Step {
        let socket = self.socket.wire();
        poll_fn(|cx| {
            match self.outbox().poll_duty(cx.waker()) {
                Duty::HangUp(close) => return Poll::Ready(Step::HangUp(close)),
                Duty::WriteAndHangUp(close) => return Poll::Ready(Step::Part(close)),
                Duty::Abort(close) => return Poll::Ready(Step::Abort(close)),
                Duty::Write if socket.poll_writable(cx).is_ready() => return Poll::Ready(Step::Write),
                Duty::Write | Duty::Listen => {}
            }
            socket.poll_readable(cx).map(|()| Step::Read)
        })
        .await
    }

    /// Reads once, and notes what the client asks for.
    fn read(&mut self, asked: &mut Vec<Result<Command, Refusal>>) -> Result<(), Close> {
        SCRATCH.with_borrow_mut(|scratch| match self.socket.wire().try_read(scratch) {
            Ok(0) => Err(self.inbound.end()),
            Ok(read) => {
                self.outbox().heard().note(clock::now_ms());
                self.understand(&mut scratch[..read], asked)
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(()),
            Err(_) => Err(Close::Lost),
        })
    }

    fn understand(&mut self, bytes: &mut [u8], asked: &mut Vec<Result<Command, Refusal>>) -> Result<(), Close> {
        let mut end = None;
        let max_message = self.session.max_message();
        let session = &mut self.session;
        let fed = self.inbound.feed(bytes, max_message, &mut |message| match take(session, message, asked) {
            Ok(()) => ControlFlow::Continue(()),
            Err(close) => {
                end = Some(close);
                ControlFlow::Break(())
            }
        });
        match end {
            Some(close) => Err(close),
            None => fed.and_then(|()| self.inbound.settle(|| self.session.claim())),
        }
    }

    /// Carries out what was asked before the end, if it is one.
    async fn act(&mut self, heard: Result<(), Close>, asked: Vec<Result<Command, Refusal>>) {
        let outbox = self.outbox().clone();
        for command in asked {
            if !outbox.is_open() {
                return;
            }
            let obeyed = std::pin::pin!(self.session.obey(command));
            if let Err(close) = writing_on(&self.socket, &outbox, obeyed).await {
                return outbox.close(close);
            }
            // Whoever waits for our work on what it sent is not silent.
            outbox.heard().note(clock::now_ms());
            self.inbound.excuse();
        }
        match heard {
            Ok(()) => {}
            Err(Close::Client(code)) => outbox.close_after_writing(Close::Client(code)),
            Err(close) => outbox.close(close),
        }
    }

    /// Writes what is left, the farewell last.
    ///
    /// # Errors
    /// The socket did not take it in time and was given up.
    async fn write_farewell(&self) -> Result<(), Elapsed> {
        let socket = self.socket.wire();
        let written = poll_fn(|cx| {
            loop {
                if !matches!(self.outbox().poll_duty(cx.waker()), Duty::WriteAndHangUp(_)) {
                    return Poll::Ready(());
                }
                std::task::ready!(socket.poll_writable(cx));
                if self.outbox().flush().is_err() {
                    return Poll::Ready(());
                }
            }
        });
        tokio::time::timeout(FAREWELL, written).await.inspect_err(|_| {
            socket.abort();
            self.outbox().give_up();
        })
    }

    /// Closes the socket: politely, so that the farewell arrives, unless there is nobody to hear it.
    async fn hang_up(&self, close: Close) -> Close {
        let socket = self.socket.wire();
        let patience = match close {
            Close::Lost => {
                socket.abort();
                return close;
            }
            Close::NoPong => LAST_WORD,
            _ => FAREWELL,
        };
        socket.finish();
        // Unread input would turn our close into a reset, and the farewell might be lost.
        let drained = poll_fn(|cx| {
            let mut rest = [0; 1024];
            loop {
                std::task::ready!(socket.poll_readable(cx));
                match socket.try_read(&mut rest) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Ok(0) | Err(_) => return Poll::Ready(()),
                    Ok(_) => {}
                }
            }
        });
        if tokio::time::timeout(patience, drained).await.is_err() {
            socket.abort();
        }
        close
    }

    /// Where its client is, as far as it can be trusted.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        self.session.client()
    }

    /// Its id in the fleet.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.session.id()
    }

    /// Its outbox.
    #[must_use]
    pub fn outbox(&self) -> &Arc<Outbox> {
        self.session.outbox()
    }
}

/// Awaits what may take a while, a publisher's answer say; what waits for the client goes on meanwhile.
async fn writing_on<S: Socket, T>(
    socket: &Outbox<S>,
    outbox: &Arc<Outbox>,
    mut awaited: Pin<&mut impl Future<Output = T>>,
) -> T {
    poll_fn(|cx| {
        let polled = awaited.as_mut().poll(cx);
        while polled.is_pending()
            && outbox.poll_duty(cx.waker()) == Duty::Write
            && socket.wire().poll_writable(cx).is_ready()
        {
            // What a failed write means is the next step.
            let _ = outbox.flush();
        }
        polled
    })
    .await
}

/// Takes one message, or a part of one: control frames are answered here, the rest is the session's.
fn take(session: &mut Session, message: Message<'_>, asked: &mut Vec<Result<Command, Refusal>>) -> Result<(), Close> {
    match message {
        Message::Text(text) => session.take(Payload::Text(Bytes::copy_from_slice(text.as_bytes())), asked),
        Message::Binary(bytes) => session.take(Payload::Binary(Bytes::copy_from_slice(bytes)), asked),
        Message::Ping(body) => {
            session.count_in()?;
            let mut pong = BytesMut::new();
            frame::encode(frame::Opcode::Pong, body, &mut pong);
            session.outbox().send(&pong.freeze());
            Ok(())
        }
        Message::Pong(_) => session.count_in(),
        Message::Fragment(bytes) => session.count_fragment(bytes),
        Message::Close(reason) => Err(Close::Client(reason.map_or(1000, |(code, _)| code))),
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
