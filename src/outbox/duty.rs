//! The outbox as the connection's task sees it: what to do next, and doing it.

use std::io;
use std::sync::Arc;
use std::task::Waker;

use super::{Outbox, Phase};
use crate::close::Close;

/// What the connection's task has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Duty {
    /// Nothing waits.
    Listen,
    /// Bytes wait for the socket.
    Write,
    /// The farewell is out: hang up.
    HangUp(Close),
    /// The farewell waits for the socket: write, then hang up.
    WriteAndHangUp(Close),
    /// What waited is given up, a frame half out perhaps: nothing may follow it, not even a farewell.
    Abort(Close),
}

impl Outbox {
    /// Leaves a waker and learns what to do next.
    pub fn poll_duty(&self, task: &Waker) -> Duty {
        let mut state = self.state.lock();
        if !state.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            state.task = Some(task.clone());
        }
        state.armed = state.backlog.is_some();
        match (&state.phase, &state.backlog) {
            (Phase::Open | Phase::Gone, None) => Duty::Listen,
            (Phase::Open | Phase::Gone, Some(_)) => Duty::Write,
            (Phase::Cut(close), _) => Duty::Abort((**close).clone()),
            (Phase::Closing(close), None) => Duty::HangUp((**close).clone()),
            (Phase::Closing(close), Some(_)) => Duty::WriteAndHangUp((**close).clone()),
        }
    }

    /// Writes on until the socket is full or nothing waits.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn flush(self: &Arc<Self>) -> io::Result<()> {
        let mut state = self.state.lock();
        self.write_on(&mut state)
    }

    /// Nothing more will be written, though bytes wait.
    pub fn give_up(&self) {
        self.state.lock().backlog = None;
    }

    /// The task ends: frees what waits and takes nothing more.
    pub fn gone(&self) {
        let mut state = self.state.lock();
        state.backlog = None;
        state.task = None;
        state.phase = Phase::Gone;
    }
}
