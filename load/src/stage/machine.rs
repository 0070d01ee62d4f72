//! Where and when figures were taken, so that nobody compares absolutes across machines.

use crate::stage::process::cpu_model;
use nix::sys::utsname::uname;
use serde::Serialize;
use std::{
    fs,
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

/// The circumstances of a bench.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// UTC.
    pub date: String,
    pub kernel: String,
    pub cpu: String,
    pub cores: usize,
    /// Of the last minute, before the bench began: a busy machine explains a wide spread.
    pub load: String,
    pub redis: String,
    pub gateway: String,
    pub harness: &'static str,
}

impl Machine {
    /// Asks the machine and the binaries.
    pub fn look(gateway: Option<&Path>) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self {
            date: date(seconds),
            kernel: uname().map_or_else(|_| unknown(), |name| name.release().to_string_lossy().into_owned()),
            cpu: cpu_model(&read("/proc/cpuinfo")).map_or_else(unknown, str::to_owned),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            redis: version(Path::new("redis-server")),
            gateway: gateway.map_or_else(|| "none".into(), version),
            harness: env!("CARGO_PKG_VERSION"),
        }
    }
}

fn unknown() -> String {
    "unknown".into()
}

fn version(binary: &Path) -> String {
    let output = Command::new(binary).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().map_or_else(unknown, str::to_owned)
}

/// The civil day of a UNIX time, by Howard Hinnant's algorithm: years begin in March, so that leap days come last.
fn date(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_know_leap_years() {
        let days = [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (1_735_689_599, "2024-12-31")];
        assert_eq!(days.map(|(seconds, _)| date(seconds)), days.map(|(_, day)| day.to_owned()));
    }
}
