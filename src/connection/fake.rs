//! A house without doors, and sockets that tests hold the other end of.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Connection, Pace, Roster, Socket};
use crate::broker::Broker;
use crate::broker::memory::MemoryBroker;
use crate::close::Close;
use crate::command::Wanted;
use crate::frame::{Opcode, encode_masked};
use crate::hub::{Hub, Interest, Parts};
use crate::identity::Replica;
use crate::metrics::Metrics;
use crate::outbox::fake::{Pipe, terms, topic};
use crate::outbox::{Outbox, Total, Wire};
use crate::protocol::{Json, Protocol};
use crate::session::{Greeting, Names, Rooms, Slots, Unfinished, Wish};
use crate::settings::{Inbound, Live, Route, Settings};

/// The socket's other end.
#[derive(Default)]
pub struct Line {
    pipe: Pipe,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    inbound: VecDeque<u8>,
    eof: bool,
    waiting: Vec<Waker>,
    /// When we said that we send no more.
    finished: Option<Instant>,
    /// Whether the peer then does the same.
    polite: bool,
    aborted: bool,
}

impl Line {
    /// A socket that takes so many bytes.
    pub fn with_room(room: usize) -> Self {
        Self { pipe: Pipe::with_room(room), held: Mutex::default() }
    }

    pub fn pipe(&self) -> &Pipe {
        &self.pipe
    }

    /// The peer sends these bytes.
    pub fn send(&self, bytes: &[u8]) {
        self.change(|held| held.inbound.extend(bytes));
    }

    /// The peer sends nothing more.
    pub fn hang_up(&self) {
        self.change(|held| held.eof = true);
    }

    /// The peer hangs up as soon as we do.
    pub fn hang_up_when_told(&self) {
        self.change(|held| held.polite = true);
    }

    /// The peer reads on.
    pub fn give_room(&self, bytes: usize) {
        self.pipe.give_room(bytes);
        self.change(|_| {});
    }

    /// The socket breaks.
    pub fn break_down(&self) {
        self.pipe.break_down();
        self.change(|held| held.eof = true);
    }

    /// When we said that we send no more.
    pub fn finished_at(&self) -> Option<Instant> {
        self.held.lock().finished
    }

    /// Whether we cut it.
    pub fn is_aborted(&self) -> bool {
        self.held.lock().aborted
    }

    fn change(&self, change: impl FnOnce(&mut Held)) {
        let waiting = {
            let mut held = self.held.lock();
            change(&mut held);
            std::mem::take(&mut held.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    fn ready(&self, cx: &Context<'_>, ready: impl FnOnce(&Held) -> bool) -> Poll<()> {
        let mut held = self.held.lock();
        if ready(&held) {
            return Poll::Ready(());
        }
        held.waiting.push(cx.waker().clone());
        Poll::Pending
    }
}

impl Wire for Line {
    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.pipe.try_write_vectored(slices)
    }
}

impl Socket for Line {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.ready(cx, |held| held.eof || !held.inbound.is_empty())
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.ready(cx, |_| self.pipe.has_room())
    }

    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut held = self.held.lock();
        if held.inbound.is_empty() {
            return if held.eof { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let read = into.len().min(held.inbound.len());
        into.iter_mut().zip(held.inbound.drain(..read)).for_each(|(to, from)| *to = from);
        Ok(read)
    }

    fn finish(&self) {
        self.change(|held| {
            held.finished = Some(Instant::now());
            held.eof |= held.polite;
        });
    }

    fn abort(&self) {
        self.held.lock().aborted = true;
    }
}

/// One frame as a client sends it.
pub fn masked(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut wire = BytesMut::new();
    encode_masked(opcode, payload, true, [1, 2, 3, 4], &mut wire);
    wire.freeze()
}

/// Everything that connections live in, without doors.
pub struct House {
    pub rooms: Arc<Rooms>,
    pub roster: Arc<Roster>,
    pub total: Arc<Total>,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
}

/// A running connection.
pub struct Visit {
    pub socket: Arc<Outbox<Line>>,
    pub outbox: Arc<Outbox>,
    pub end: JoinHandle<Close>,
    /// What the pump's future takes, in bytes.
    pub size: usize,
}

impl House {
    pub fn new(settings: Settings) -> Self {
        Self::on(settings, None)
    }

    /// A house on a road of the test's own.
    pub fn on(mut settings: Settings, road: Option<Arc<dyn Broker>>) -> Self {
        if settings.routes.is_empty() {
            settings.routes = vec![Route::default()];
        }
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (metrics, live, replica) = (Arc::new(Metrics::new()), Live::new(settings), Replica::new("here"));
        let interest = Interest::new(1, live.rules(), metrics.clone());
        let broker = road.unwrap_or_else(|| MemoryBroker::new(interest.clone(), live.rules()));
        let rules = live.rules();
        let parts = Parts {
            broker: broker.clone(),
            interest,
            replica: replica.clone(),
            rules,
            metrics: metrics.clone(),
            least_deflated: 1,
        };
        let hub = Hub::start(&parts, &tasks, &stop);
        let Inbound { total, timeout } = live.get().inbound.clone();
        let unfinished = Unfinished::new(total.value().map_or(1 << 20, |total| total.0), timeout);
        let slots = Slots::new(1 << 20);
        let names = Names::new(1 << 20, 0);
        let rooms = Arc::new(Rooms { hub, broker, live, replica, metrics, slots, unfinished, names });
        Self { rooms, roster: Arc::default(), total: Total::new(usize::MAX), tasks, stop }
    }

    /// A json client whose socket has `room`, listening to topic `t`.
    pub async fn visit(&self, room: usize, early: Bytes) -> Visit {
        self.visit_as(Box::new(Json), room, early, None).await
    }

    pub async fn visit_as(
        &self,
        protocol: Box<dyn Protocol>,
        room: usize,
        early: Bytes,
        pace: Option<Arc<Pace>>,
    ) -> Visit {
        let slot = self.rooms.slots.take().unwrap();
        let terms = terms(protocol, 1 << 20, 10_000, &self.total);
        let socket = Outbox::new(terms, slot.number(), Line::with_room(room));
        let wish = Wish { route: 0, topics: vec![Wanted::fresh(topic("t"))], warning: None };
        let greeting = Greeting::begin(&self.rooms, slot, socket.clone(), Ipv4Addr::LOCALHOST.into(), wish).await;
        let session = greeting.open(Duration::from_secs(1)).await.unwrap();
        let mut connection = Connection::new(socket.clone(), session);
        let enrolled = self.roster.enrol(connection.outbox(), pace, None);
        let size = size_of_val(&connection.run());
        let end = self.tasks.spawn(async move {
            connection.begin(early).await;
            let close = connection.run().await;
            drop(enrolled);
            close
        });
        Visit { outbox: socket.clone(), socket, end, size }
    }

    /// Ends the hub and waits for every task.
    pub async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Visit {
    pub fn line(&self) -> &Line {
        self.socket.wire()
    }

    /// The `type`s of what came out, `close:<code>` for the close frame.
    pub fn told(&self) -> Vec<String> {
        let told = self.line().pipe().frames().into_iter().map(|frame| match frame.close_code() {
            Some(code) => format!("close:{code}"),
            None => frame.json()["type"].as_str().unwrap_or("?").to_owned(),
        });
        told.collect()
    }
}
