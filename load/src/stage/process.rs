//! What a process costs, as the kernel accounts it: CPU time and memory.

use anyhow::{Context, Result};
use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use std::{fs, time::Duration};

/// CPU time of all threads of a process since it began, ended threads included, in nanoseconds resolution:
/// the process's own CPU clock, because `/proc/<pid>/stat` counts in ticks of 10 ms and a thread's `schedstat`
/// goes away with the thread.
pub fn cpu(pid: u32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid as i32)).with_context(|| format!("no process {pid}"))?;
    Ok(clock_gettime(clock).with_context(|| format!("CPU clock of process {pid}"))?.into())
}

/// Proportional set size in bytes: what the process holds, pages shared with others divided among them.
pub fn pss(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    kilobytes(&text, "Pss").with_context(|| format!("no Pss in {path}"))
}

/// A `Field:   123 kB` line of a /proc file, in bytes.
fn kilobytes(text: &str, field: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let value = lines.find(|(name, _)| *name == field)?.1;
    value.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}

/// The model of the first processor in the text of /proc/cpuinfo.
pub fn cpu_model(cpuinfo: &str) -> Option<&str> {
    let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(name, _)| name.trim() == "model name").map(|(_, model)| model.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLUP: &str = "55d-7ff ---p 00000000 00:00 0      [rollup]\nRss:       5000 kB\n\
                          Pss:                4321 kB\nPss_Dirty:          12 kB\nPss_Anon:   7 kB\n";

    #[test]
    fn pss_is_the_whole_and_not_one_of_its_parts() {
        assert_eq!(kilobytes(ROLLUP, "Pss"), Some(4321 * 1024));
        assert_eq!(kilobytes(ROLLUP, "Swap"), None);
        assert_eq!(kilobytes("Pss: many kB", "Pss"), None);
    }

    #[test]
    fn the_model_is_the_first_processor_s() {
        let text = "processor\t: 0\nmodel name\t: Fast CPU\n\nprocessor\t: 1\nmodel name\t: Slow CPU\n";
        assert_eq!(cpu_model(text), Some("Fast CPU"));
    }

    #[test]
    fn the_cpu_clock_sees_work_below_a_tick() {
        let before = cpu(std::process::id()).unwrap();
        let mut turns = 0_u64;
        while cpu(std::process::id()).unwrap() < before + Duration::from_millis(1) {
            turns += 1;
        }
        assert!(turns > 10, "the clock went on in steps of a tick: {turns}");
        assert!(pss(std::process::id()).unwrap() > 100 * 1024);
    }
}
