//! A stream that leaves by a thread of its own: its reader may stand still, and nobody here waits for it.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tracing::warn;

/// The most bytes that wait to be written; as much again is being written.
const MOST: usize = 1 << 20;

/// What stands before the further lines of an event, as a backtrace has them: so that none of them looks like an event of
/// its own, whoever's words they are.
const FURTHER: &[u8] = b"    ";

/// How long what was said may take to leave at the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long a stream that takes nothing and does not block is left alone.
const BREATHER: Duration = Duration::from_millis(10);

/// Owns the thread. Dropped, it waits until all is written, or for [`FAREWELL`].
pub struct Writer(Arc<Pipe>);

/// The end that lines are put into; never waits for the stream.
#[derive(Clone)]
pub struct Lines(Arc<Pipe>);

struct Pipe {
    state: Mutex<State>,
    /// There is something to write, or nothing more to come.
    news: Condvar,
    /// All is written.
    idle: Condvar,
    /// Is told how many lines were dropped.
    dropped: Box<dyn Fn(u64) + Send + Sync>,
}

#[derive(Default)]
struct State {
    /// Whole lines.
    waiting: Vec<u8>,
    /// The thread is writing.
    busy: bool,
    /// How many lines were dropped since the log last said so.
    untold: u64,
    closed: bool,
}

impl Writer {
    /// Writes to a stream such as stderr.
    ///
    /// # Errors
    /// The stream is closed, or there can be no thread.
    pub fn start(stream: impl AsFd, dropped: impl Fn(u64) + Send + Sync + 'static) -> io::Result<Self> {
        // A descriptor of its own: std's stderr is locked for as long as a write takes.
        let stream = File::from(stream.as_fd().try_clone_to_owned()?);
        let pipe = Arc::new(Pipe {
            state: Mutex::default(),
            news: Condvar::new(),
            idle: Condvar::new(),
            dropped: Box::new(dropped),
        });
        let writer = Self(pipe.clone());
        thread::Builder::new().name("writer".into()).spawn(move || pipe.write(stream))?;
        Ok(writer)
    }

    /// Where lines are put in.
    pub fn lines(&self) -> Lines {
        Lines(self.0.clone())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.closed = true;
        self.0.news.notify_one();
        let deadline = Instant::now() + FAREWELL;
        while state.busy || !state.waiting.is_empty() {
            if self.0.idle.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }
}

impl Write for Lines {
    /// Takes an event, which is whole lines, or drops and counts them where too much waits.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let lines = indented(event);
        let mut state = self.0.state.lock();
        if state.waiting.len() + lines.len() > MOST {
            self.0.drop_lines(&mut state, &lines);
        } else {
            state.waiting.extend_from_slice(&lines);
            self.0.news.notify_one();
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An event with its further lines set in.
fn indented(event: &[u8]) -> Cow<'_, [u8]> {
    let mut lines = event.split_inclusive(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    if first.len() == event.len() {
        return Cow::Borrowed(event);
    }
    let mut all = first.to_vec();
    for line in lines {
        all.extend_from_slice(FURTHER);
        all.extend_from_slice(line);
    }
    Cow::Owned(all)
}

impl Pipe {
    fn drop_lines(&self, state: &mut State, lines: &[u8]) {
        let lines = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        state.untold += lines;
        (self.dropped)(lines);
    }

    /// The thread: everything that waits, by one write.
    fn write(&self, mut stream: File) {
        while let Some(lines) = self.next() {
            match write(&mut stream, &lines) {
                Ok(()) => self.tell(),
                Err(unwritten) => self.drop_lines(&mut self.state.lock(), unwritten),
            }
        }
    }

    /// Waits for lines; none where the writer is gone.
    fn next(&self) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        state.busy = false;
        while state.waiting.is_empty() {
            self.idle.notify_all();
            if state.closed {
                return None;
            }
            self.news.wait(&mut state);
        }
        state.busy = true;
        Some(std::mem::take(&mut state.waiting))
    }

    /// Says in the log what it lacks, now that the stream takes lines again: at most once for each megabyte of them.
    fn tell(&self) {
        let lines = std::mem::take(&mut self.state.lock().untold);
        if lines > 0 {
            warn!(lines, "log lines were dropped: they were not read or written as fast as they came");
        }
    }
}

/// Writes everything, or answers what was not written.
fn write<'a>(stream: &mut File, mut lines: &'a [u8]) -> Result<(), &'a [u8]> {
    while !lines.is_empty() {
        match stream.write(lines) {
            Ok(0) => return Err(lines),
            Ok(written) => lines = &lines[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Another process of the same terminal or pipe may have made it so.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(BREATHER),
            Err(_) => return Err(lines),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A writer into a pipe, its reader, and how many lines were dropped.
    fn piped() -> (Writer, io::PipeReader, Arc<AtomicU64>) {
        let (reader, stream) = io::pipe().unwrap();
        let count = Arc::new(AtomicU64::new(0));
        let dropped = count.clone();
        let writer = Writer::start(stream, move |lines| _ = dropped.fetch_add(lines, Ordering::Relaxed)).unwrap();
        (writer, reader, count)
    }

    #[test]
    fn everything_is_written_in_order_before_the_writer_is_gone() {
        let (writer, mut reader, count) = piped();
        for line in 0..1000 {
            writer.lines().write_all(format!("{line}\n").as_bytes()).unwrap();
        }
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        let lines: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(lines, (0..1000).collect::<Vec<_>>());
        assert_eq!(count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn no_line_within_an_event_looks_like_another_event() {
        let (writer, mut reader, _) = piped();
        writer.lines().write_all(b"one\n2026 ERROR forged\n\n").unwrap();
        writer.lines().write_all(b"two\n").unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\n    2026 ERROR forged\n    \ntwo\n");
    }

    #[test]
    fn a_reader_that_stands_still_holds_up_nobody_and_costs_so_much_memory() {
        let (writer, mut reader, count) = piped();
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        for _ in 0..4096 {
            writer.lines().write_all(&line).unwrap();
        }
        let dropped = count.load(Ordering::Relaxed);
        assert!(dropped > 1024, "{dropped} of 4 MiB");
        assert!(writer.0.state.lock().waiting.len() <= MOST);
        let begun = Instant::now();
        drop(writer);
        assert!(begun.elapsed() >= FAREWELL, "it waits for the reader");
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap();
        assert_eq!(text.len() as u64, (4096 - dropped) * 1024, "what was not dropped is there");
    }

    #[test]
    fn what_a_closed_stream_does_not_take_is_counted() {
        let (writer, reader, count) = piped();
        drop(reader);
        writer.lines().write_all(b"one\ntwo\n").unwrap();
        drop(writer);
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }
}
