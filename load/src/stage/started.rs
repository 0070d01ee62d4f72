//! Processes we start, pin to cores, and end by their own id, whatever happens to us.

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::stop;

/// A process of ours. Dropped (on return, error, Ctrl-C or panic), it is killed and reaped.
pub struct Started {
    child: Child,
    name: &'static str,
    log: PathBuf,
}

/// Who runs where: the measured server alone on one core, everything else on the others.
pub struct Cores {
    pub server: usize,
    pub others: Vec<usize>,
}

impl Cores {
    /// Splits the cores this process may use, and moves it (with whatever it starts from now on) off the server's.
    pub fn split() -> Result<Self> {
        let allowed = sched_getaffinity(THIS_THREAD)?;
        let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
        let server = cores.next().context("no core to run on")?;
        let others: Vec<usize> = cores.collect();
        ensure!(!others.is_empty(), "a second core is needed: the load must not run on the measured server's");
        let cores = Self { server, others };
        pin(&cores.others)?;
        Ok(cores)
    }

    /// Starts a measured server: a child begins with the affinity of the thread that starts it, before its first
    /// instruction, so it sizes itself for one core.
    pub fn start_server(&self, name: &'static str, command: &mut Command, logs: &Path) -> Result<Started> {
        pin(&[self.server])?;
        let started = Started::start(name, command, logs);
        pin(&self.others)?;
        started
    }
}

/// A log of its own for each process, so that its last words are not another's.
fn log_of(name: &str, logs: &Path) -> Result<(PathBuf, File)> {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let log = logs.join(format!("{name}-{}.log", STARTED.fetch_add(1, Ordering::Relaxed)));
    let file = File::options().create(true).append(true).open(&log)?;
    Ok((log, file))
}

const THIS_THREAD: Pid = Pid::from_raw(0);

fn pin(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    cores.iter().try_for_each(|core| set.set(*core))?;
    sched_setaffinity(THIS_THREAD, &set).with_context(|| format!("pinning to cores {cores:?}"))
}

impl Started {
    /// Starts a process whose output goes to a file in `logs`.
    pub fn start(name: &'static str, command: &mut Command, logs: &Path) -> Result<Self> {
        let (log, file) = log_of(name, logs)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("starting {name}: {:?}", command.get_program()))?;
        Ok(Self { child, name, log })
    }

    /// Starts a process to talk with: its standard input and output are pipes, its errors go to a file in `logs`.
    pub fn converse(name: &'static str, command: &mut Command, logs: &Path) -> Result<(Self, ChildStdin, ChildStdout)> {
        let (log, file) = log_of(name, logs)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().with_context(|| format!("starting {name}: {:?}", command.get_program()))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let started = Self { child, name, log };
        let (input, output) = pipes.context("a process without pipes")?;
        Ok((started, input, output))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Polls until `ready`; fails with the end of the log when the process ends or `patience` does.
    pub fn wait_until(&mut self, ready: impl Fn() -> bool, patience: Duration) -> Result<()> {
        let end = Instant::now() + patience;
        while !ready() {
            stop::check()?;
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at once ({status}): {}", self.name, self.last_words());
            }
            ensure!(Instant::now() < end, "{} is not ready after {patience:?}: {}", self.name, self.last_words());
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Started {
    /// Killed and not asked: a gateway would drain for half a minute.
    pub fn end(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(pid: u32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }

    fn sleeper(logs: &Path) -> Started {
        Started::start("sleeper", Command::new("sleep").arg("600"), logs).unwrap()
    }

    #[test]
    fn a_process_ends_with_its_guard_even_on_panic() {
        let logs = tempfile::tempdir().unwrap();
        let started = sleeper(logs.path());
        let pid = started.pid();
        assert!(alive(pid));
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = started;
            panic!("as a test may");
        }));
        assert!(panic.is_err());
        assert!(!alive(pid));
    }

    #[test]
    fn the_last_words_of_one_process_are_not_those_of_its_namesake() {
        let logs = tempfile::tempdir().unwrap();
        let says = |words: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("echo {words}")]);
            let mut started = Started::start("shell", &mut command, logs.path()).unwrap();
            started.wait_until(|| false, Duration::from_secs(10)).unwrap_err().to_string()
        };
        let (first, second) = (says("one"), says("two"));
        assert!(first.contains("one") && second.contains("two") && !second.contains("one"), "{first} {second}");
    }

    #[test]
    fn a_process_that_ends_at_once_is_reported_with_its_last_words() {
        let logs = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such setting; exit 64"]);
        let mut started = Started::start("shell", &mut command, logs.path()).unwrap();
        let error = started.wait_until(|| false, Duration::from_secs(10)).unwrap_err().to_string();
        assert!(error.contains("64") && error.contains("no such setting"), "{error}");
    }
}
