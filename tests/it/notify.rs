//! What systemd hears of a `Type=notify` service.

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use crate::gateway::{PATIENCE, binary, eventually, signal};

/// A gateway under a service manager: our socket in place of systemd's.
struct Service {
    process: Child,
    manager: UnixDatagram,
    home: tempfile::TempDir,
}

impl Service {
    fn start(watchdog: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let manager = UnixDatagram::bind(home.path().join("notify")).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = Command::new(binary());
        command.args(["serve", "--set", "public.listen=127.0.0.1:0", "--set", "internal.listen=127.0.0.1:0"]);
        command.args(["--set", "drain.delay=3s", "--set", "drain.window=4s"]).current_dir(&home);
        command.env("NOTIFY_SOCKET", home.path().join("notify")).env("WATCHDOG_USEC", watchdog);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { process: command.spawn().unwrap(), manager, home }
    }

    /// The next message, as lines.
    fn hears(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let length = self.manager.recv(&mut message).expect("a message within the time");
        str::from_utf8(&message[..length]).unwrap().lines().map(ToOwned::to_owned).collect()
    }

    /// Fills the manager's socket, which nobody reads.
    fn fill(&self) {
        let probe = UnixDatagram::unbound().unwrap();
        probe.set_nonblocking(true).unwrap();
        probe.connect(self.home.path().join("notify")).unwrap();
        eventually("the socket is full", || probe.send(b"PROBE=1").is_err().then_some(()));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_service_manager_hears_of_the_start_of_reloads_and_of_the_end() {
    let mut service = Service::start("0");
    let ready = service.hears();
    assert_eq!(ready[0], "READY=1");
    assert!(ready[1].starts_with("STATUS=public 127.0.0.1:"), "{ready:?}");
    signal(service.process.id(), "HUP");
    let reloading = service.hears();
    assert_eq!(reloading[0], "RELOADING=1");
    assert!(reloading[1].starts_with("MONOTONIC_USEC="), "{reloading:?}");
    assert_eq!(service.hears(), ["READY=1"]);
    signal(service.process.id(), "TERM");
    // The delay, the window, and ten seconds for what is left.
    assert_eq!(service.hears(), ["STOPPING=1", "STATUS=draining", "EXTEND_TIMEOUT_USEC=17000000"]);
    signal(service.process.id(), "HUP");
    let status = eventually("it ends", || service.process.try_wait().unwrap());
    assert!(status.success(), "{status}");
    service.manager.set_nonblocking(true).unwrap();
    assert!(service.manager.recv(&mut [0; 64]).is_err(), "while it drains nothing is read again");
}

#[test]
fn a_watchdog_is_told_of_life() {
    let service = Service::start("200000");
    assert_eq!(service.hears()[0], "READY=1");
    for _ in 0..3 {
        assert_eq!(service.hears(), ["WATCHDOG=1"]);
    }
}

#[test]
fn a_service_manager_that_stands_still_holds_up_no_reload_and_no_end() {
    let mut service = Service::start("2000");
    assert_eq!(service.hears()[0], "READY=1");
    service.fill();
    (0..40).for_each(|_| signal(service.process.id(), "HUP"));
    signal(service.process.id(), "TERM");
    let status = eventually("it ends", || service.process.try_wait().unwrap());
    assert!(status.success(), "{status}");
}

#[test]
fn a_service_manager_that_reads_again_hears_what_it_has_to_in_order() {
    let service = Service::start("2000");
    let mut heard = vec![service.hears().swap_remove(0)];
    service.fill();
    signal(service.process.id(), "HUP");
    signal(service.process.id(), "TERM");
    while heard.last().is_none_or(|last| last != "STOPPING=1") {
        heard.push(service.hears().swap_remove(0));
    }
    heard.retain(|word| !["PROBE=1", "WATCHDOG=1"].contains(&word.as_str()));
    assert_eq!((heard[0].as_str(), heard.len() % 2), ("READY=1", 0), "a reload is told of whole or not: {heard:?}");
}
