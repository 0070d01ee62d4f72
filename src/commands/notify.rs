//! What systemd is told of a `Type=notify` service: that it listens, reloads, stops, and lives. Elsewhere, where
//! `NOTIFY_SOCKET` is not set, nobody is told anything.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fanline::server::Vitals;
use fanline::settings;
use sd_notify::NotifyState;
use tracing::warn;

/// What the last tasks and farewells may take beyond `drain.delay` and `drain.window`.
const GRACE: Duration = Duration::from_secs(10);

/// Clients may connect.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// SIGHUP has come; [`reloaded`] follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => warn!(%error, "systemd is not told of the reload"),
    }
}

/// The reload is over, whether the new configuration is used or not.
pub(super) fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// It drains: systemd must wait for it, also where `TimeoutStopSec` is too short.
pub(super) fn stopping(drain: &settings::Drain) {
    // In words of our own: the crate's number ends at 71 minutes.
    let needed = format!("EXTEND_TIMEOUT_USEC={}", (drain.delay + drain.window + GRACE).as_micros());
    tell(&[NotifyState::Stopping, NotifyState::Status("draining"), NotifyState::Custom(&needed)]);
}

/// With `WatchdogSec=`: says that it lives for as long as `/livez` would.
pub(super) async fn watchdog(vitals: Vitals) -> Infallible {
    let asked = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero());
    let Some(patience) = asked else { return std::future::pending().await };
    let mut tick = tokio::time::interval(patience / 2);
    loop {
        tick.tick().await;
        if vitals.is_alive() {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    static SAID: AtomicBool = AtomicBool::new(false);
    // Set to nothing is not set.
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else { return };
    if let Err(error) = sd_notify::notify(states)
        && !SAID.swap(true, Ordering::Relaxed)
    {
        let socket = socket.display();
        warn!(%error, "NOTIFY_SOCKET={socket} takes no message: whoever started this does not learn that it is up; outside of systemd, unset it");
    }
}
