//! Logs by `tracing`: to stderr, as text or JSON, at a level that SIGHUP may change.

use std::io::IsTerminal;

use fanline::settings::{Log, LogFormat};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// Changes the level of a running process.
pub struct Level(reload::Handle<EnvFilter, Registry>);

/// Starts logging.
pub fn start(config: &Log) -> Level {
    let (filter, handle) = reload::Layer::new(filter(&config.level));
    // Colours are for a terminal, not for a file.
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let lines = match config.format {
        LogFormat::Text => fmt::layer().with_ansi(colours).with_writer(std::io::stderr).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    Level(handle)
}

impl Level {
    /// Puts a level in force.
    pub fn set(&self, level: &str) {
        // Fails only where the subscriber is gone, and the process with it.
        let _ = self.0.reload(filter(level));
    }
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"))
}
