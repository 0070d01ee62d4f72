//! Real-time priority, by util-linux's `chrt`: for what must not wait for the load's own core.

use std::process::{Command, ExitStatus, Stdio};

/// Below the kernel's own real-time threads.
const PRIORITY: &str = "10";

/// A process that runs before everything usual, until this is dropped.
pub struct Urgent(u32);

impl Urgent {
    /// Raises a process of ours. Where that is not permitted nothing changes.
    pub fn make(pid: u32) -> Self {
        let _ = run(&["-f", "-p", PRIORITY, &pid.to_string()]);
        Self(pid)
    }
}

impl Drop for Urgent {
    fn drop(&mut self) {
        let _ = run(&["-o", "-p", "0", &self.0.to_string()]);
    }
}

/// Whether this user may have real-time priority, and `chrt` is there.
pub fn is_permitted() -> bool {
    run(&["-f", PRIORITY, "true"]).is_ok_and(|status| status.success())
}

/// The beginning of a command line whose rest runs so.
pub fn command() -> Command {
    let mut command = Command::new("chrt");
    command.args(["-f", PRIORITY]);
    command
}

fn run(args: &[&str]) -> std::io::Result<ExitStatus> {
    Command::new("chrt").args(args).stdout(Stdio::null()).stderr(Stdio::null()).status()
}
