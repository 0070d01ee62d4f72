//! Ctrl-C and SIGTERM as a flag that every loop looks at, so that guards end what was started.

use anyhow::{Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicBool, Ordering},
};

static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

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
    Ok(())
}
