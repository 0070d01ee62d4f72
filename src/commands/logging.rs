//! Logs by `tracing`: to stderr, as text or JSON, at a level that SIGHUP may change.

mod writer;

use std::io::{self, IsTerminal, Write};
use std::panic;

use fanline::metrics::Metrics;
use fanline::settings::{Log, LogFormat};
use tracing::error;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

pub use writer::Writer;

/// The log of a running process. Dropped, it waits a moment until its lines are written.
pub struct Logs {
    level: reload::Handle<EnvFilter, Registry>,
    writer: Writer,
}

/// Starts logging, of panics too: the standard hook would wait for whoever reads stderr.
///
/// # Errors
/// There is no stderr.
pub fn start(config: &Log, metrics: &Metrics) -> io::Result<Logs> {
    let dropped = metrics.log_lines_dropped.clone();
    let writer = Writer::start(io::stderr(), move |lines| dropped.inc_by(lines))?;
    let lines = writer.lines();
    let stderr = move || lines.clone();
    // Colours are for a terminal, not for a file.
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let layer = match config.format {
        LogFormat::Text => fmt::layer().with_ansi(colours).with_writer(stderr).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(stderr).boxed(),
    };
    let (filter, level) = reload::Layer::new(filter(&config.level));
    tracing_subscriber::registry().with(filter).with(layer).init();
    panic::set_hook(Box::new(told));
    Ok(Logs { level, writer })
}

fn told(panic: &panic::PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = std::backtrace::Backtrace::capture();
    error!(at, %backtrace, "panicked, which is a fault of the gateway: {}", panic.payload_as_str().unwrap_or("?"));
}

impl Logs {
    /// Puts a level in force.
    pub fn set(&self, level: &str) {
        // Fails only where the subscriber is gone, and the process with it.
        let _ = self.level.reload(filter(level));
    }

    /// Says a line behind all that was logged, in the form of the command line's own errors.
    pub fn say(&self, line: &str) {
        // Never fails: what it does not take is dropped.
        let _ = self.writer.lines().write_all(format!("{line}\n").as_bytes());
    }
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"))
}
