//! What systemd is told of a `Type=notify` service: that it listens, reloads, stops, and lives. Elsewhere, where
//! `NOTIFY_SOCKET` is not set, nobody is told anything.

use std::convert::Infallible;
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
    let needed = u32::try_from((drain.delay + drain.window + GRACE).as_micros()).unwrap_or(u32::MAX);
    let (status, stay) = (NotifyState::Status("draining"), NotifyState::ExtendTimeoutUsec(needed));
    tell(&[NotifyState::Stopping, status, stay]);
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
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "systemd cannot be told");
    }
}
