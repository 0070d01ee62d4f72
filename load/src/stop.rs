//! Ctrl-C and SIGTERM as a flag that every loop looks at, so that guards end what was started.

use anyhow::{Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::{
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// When the work at hand must be over, and how long it had been given.
static BOUND: Mutex<Option<(Instant, Duration)>> = Mutex::new(None);

/// Gives the work at hand so much time; [`check`] fails beyond it.
pub fn within(time: Duration) {
    *BOUND.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now() + time, time));
}

/// Call once, before anything is started.
pub fn listen() -> Result<()> {
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ASKED))?;
    }
    Ok(())
}

/// Somebody wants us to end.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// The same as an error, for work that has a caller to go back to.
pub fn check() -> Result<()> {
    if asked() {
        bail!("interrupted");
    }
    match *BOUND.lock().unwrap_or_else(PoisonError::into_inner) {
        Some((end, time)) if Instant::now() > end => bail!("not done within its bound of {} s", time.as_secs()),
        _ => Ok(()),
    }
}
