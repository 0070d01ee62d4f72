//! The hand-over of a full socket, in every order that threads can take: the hub offers, the connection's task
//! writes on when the peer makes room, somebody closes. Nobody sleeps over waiting bytes, and all leave in order.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::fake::{publication, run};
use super::{Duty, Outbox, Run, Terms, Total, Wire};
use crate::close::Close;
use crate::frame::Extension;
use crate::identity::ConnectionNumber;
use crate::metrics::Metrics;
use crate::protocol::{Plain, Protocol};
use crate::settings::{OnFull, OnGap};

/// How often a thread may be interrupted in one run; two find every lost wake-up known so far.
const PREEMPTIONS: usize = 2;

/// A socket whose peer makes room when it likes.
struct Socket {
    held: Mutex<Held>,
    took: Condvar,
}

struct Held {
    room: usize,
    taken: Vec<u8>,
    writer: Option<Waker>,
}

impl Socket {
    fn make_room(&self, bytes: usize) {
        let writer = {
            let mut held = self.held.lock().unwrap();
            held.room = held.room.saturating_add(bytes);
            held.writer.take()
        };
        writer.into_iter().for_each(Waker::wake);
    }

    /// Waits until it took so many bytes in all.
    fn wait_for(&self, bytes: usize) {
        let mut held = self.held.lock().unwrap();
        while held.taken.len() < bytes {
            held = self.took.wait(held).unwrap();
        }
    }

    fn poll_writable(&self, cx: &Context<'_>) -> Poll<()> {
        let mut held = self.held.lock().unwrap();
        if held.room > 0 {
            return Poll::Ready(());
        }
        held.writer = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Wire for Socket {
    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut held = self.held.lock().unwrap();
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(held.room).collect();
        held.room -= bytes.len();
        held.taken.extend_from_slice(&bytes);
        self.took.notify_all();
        if bytes.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(bytes.len()) }
    }
}

/// What the connection's task does about its outbox, until it is to hang up.
async fn connection(socket: Arc<Outbox<Socket>>, outbox: Arc<Outbox>) -> Close {
    poll_fn(|cx| {
        loop {
            match outbox.poll_duty(cx.waker()) {
                Duty::Listen => return Poll::Pending,
                Duty::HangUp(close) | Duty::Abort(close) => return Poll::Ready(close),
                Duty::Write | Duty::WriteAndHangUp(_) => {
                    std::task::ready!(socket.wire().poll_writable(cx).map(drop));
                    outbox.flush().unwrap();
                }
            }
        }
    })
    .await
}

/// One outbox over a socket with `room`, and its task, which ends with all that was taken.
struct Scene {
    socket: Arc<Outbox<Socket>>,
    outbox: Arc<Outbox>,
    total: Arc<Total>,
    task: thread::JoinHandle<Close>,
}

impl Scene {
    fn new(room: usize, metrics: &Arc<Metrics>) -> Self {
        let total = Total::new(usize::MAX);
        let protocol = Box::new(Plain::new(OnGap::Ignore));
        let extension = Extension::None;
        let terms =
            Terms { protocol, extension, bytes: 1000, messages: 100, total: total.clone(), metrics: metrics.clone() };
        let held = Held { room, taken: Vec::new(), writer: None };
        let socket =
            Outbox::new(Arc::new(terms), ConnectionNumber(1), Socket { held: Mutex::new(held), took: Condvar::new() });
        let outbox: Arc<Outbox> = socket.clone();
        let (theirs, ours) = (socket.clone(), outbox.clone());
        let task = thread::spawn(move || loom::future::block_on(connection(theirs, ours)));
        Self { socket, outbox, total, task }
    }

    /// Waits for the task's end; answers what the peer got.
    fn end(self) -> Vec<u8> {
        assert_eq!(self.task.join().unwrap(), Close::Client(1000));
        assert_eq!((self.total.used(), self.outbox.waiting()), (0, 0));
        let taken = self.socket.wire().held.lock().unwrap().taken.clone();
        taken
    }
}

fn one(text: &'static str) -> Run {
    run(&Plain::new(OnGap::Ignore), (0, OnFull::Disconnect), &[publication("t", None, text)])
}

fn expected(frames: &[&[u8]]) -> Vec<u8> {
    let mut farewell = bytes::BytesMut::new();
    Plain::new(OnGap::Ignore).farewell(&Close::Client(1000), &mut farewell);
    [frames.concat(), farewell.to_vec()].concat()
}

fn explore(scene: impl Fn(&Arc<Metrics>) + Sync + Send + 'static) {
    let metrics = Arc::new(Metrics::new());
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(PREEMPTIONS);
    model.check(move || scene(&metrics));
}

#[test]
fn a_full_socket_is_handed_over_and_no_wake_up_is_lost() {
    explore(|metrics| {
        let scene = Scene::new(1, metrics);
        let peer = scene.socket.clone();
        let peer = thread::spawn(move || {
            peer.wire().make_room(4);
            peer.wire().make_room(usize::MAX);
        });
        scene.outbox.offer(&one("a"));
        scene.outbox.offer(&one("b"));
        scene.outbox.close_after_writing(Close::Client(1000));
        peer.join().unwrap();
        assert_eq!(scene.end(), expected(&[b"\x81\x01a", b"\x81\x01b"]));
    });
}

#[test]
fn a_socket_that_fills_again_is_handed_over_again() {
    explore(|metrics| {
        let scene = Scene::new(1, metrics);
        scene.outbox.offer(&one("a"));
        scene.socket.wire().make_room(2);
        scene.socket.wire().wait_for(3);
        scene.outbox.offer(&one("b"));
        scene.socket.wire().make_room(3);
        scene.socket.wire().wait_for(6);
        scene.socket.wire().make_room(usize::MAX);
        scene.outbox.close(Close::Client(1000));
        assert_eq!(scene.end(), expected(&[b"\x81\x01a", b"\x81\x01b"]));
    });
}

#[test]
fn a_reply_and_a_publication_never_cut_each_other() {
    explore(|metrics| {
        let scene = Scene::new(2, metrics);
        let session = scene.outbox.clone();
        let session = thread::spawn(move || session.send(&Bytes::from_static(b"\x8a\x00")));
        scene.outbox.offer(&one("a"));
        scene.socket.wire().make_room(usize::MAX);
        session.join().unwrap();
        scene.outbox.close_after_writing(Close::Client(1000));
        let taken = scene.end();
        let orders: [&[&[u8]]; 2] = [&[b"\x81\x01a", b"\x8a\x00"], &[b"\x8a\x00", b"\x81\x01a"]];
        assert!(orders.iter().any(|order| expected(order) == taken), "{taken:?}");
    });
}

#[test]
fn a_close_from_elsewhere_wakes_a_task_that_has_nothing_to_write() {
    explore(|metrics| {
        let scene = Scene::new(usize::MAX, metrics);
        let closer = scene.outbox.clone();
        let closer = thread::spawn(move || closer.close(Close::Client(1000)));
        scene.outbox.offer(&one("a"));
        closer.join().unwrap();
        let taken = scene.end();
        assert!(taken == expected(&[b"\x81\x01a"]) || taken == expected(&[]), "{taken:?}");
    });
}
