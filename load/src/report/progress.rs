//! Where a long run stands: one line that the next overwrites, on a terminal only.

use std::{
    io::{IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// What is measured, since when, and the step it is at.
static WORK: Mutex<Option<(&'static str, Instant, String)>> = Mutex::new(None);

/// A scenario begins.
pub fn begin(scenario: &'static str) {
    *work() = Some((scenario, Instant::now(), String::new()));
}

/// What it does now.
pub fn step(doing: impl Into<String>) {
    if let Some((scenario, begun, step)) = &mut *work() {
        *step = doing.into();
        write(&format!("{:>4} s  {scenario}: {step} …", begun.elapsed().as_secs()));
    }
}

/// Which pair of the step.
pub fn pair(nth: usize, of: usize) {
    if let Some((scenario, begun, step)) = &*work() {
        write(&format!("{:>4} s  {scenario}: {step}, pair {nth} of {of} …", begun.elapsed().as_secs()));
    }
}

/// It is over; the line goes.
pub fn end() {
    *work() = None;
    write("");
}

fn work() -> std::sync::MutexGuard<'static, Option<(&'static str, Instant, String)>> {
    WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(line: &str) {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        // Nobody to tell where the terminal is gone.
        let _ = write!(err, "\r\x1b[K{line}");
        let _ = err.flush();
    }
}
