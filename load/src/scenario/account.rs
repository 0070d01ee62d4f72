//! What a process has spent and holds, between two moments.

use crate::{crowd::Crowd, stage::process};
use anyhow::Result;
use std::time::Duration;

/// A process at one moment.
pub struct Account {
    pub cpu: Duration,
    pub pss: u64,
}

impl Account {
    /// What the kernel says of it now.
    pub fn of(pid: u32) -> Result<Self> {
        Ok(Self { cpu: process::cpu(pid)?, pss: process::pss(pid)? })
    }
}

/// PSS once it holds still (two looks 300 ms apart within 0.2 %), or after 5 s.
pub fn settled_pss(crowd: &mut Crowd, pid: u32) -> Result<u64> {
    let mut last = process::pss(pid)?;
    for _ in 0..16 {
        crowd.idle(Duration::from_millis(300))?;
        let now = process::pss(pid)?;
        if now.abs_diff(last) * 500 <= now {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}

/// Microseconds with their fraction.
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
