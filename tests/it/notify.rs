//! What systemd hears of a `Type=notify` service.

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use crate::gateway::{PATIENCE, binary, eventually, signal};

/// A gateway under a service manager: our socket in place of systemd's.
struct Service {
    process: Child,
    manager: UnixDatagram,
    _home: tempfile::TempDir,
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
        Self { process: command.spawn().unwrap(), manager, _home: home }
    }

    /// The next message, as lines.
    fn hears(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let length = self.manager.recv(&mut message).expect("a message within the time");
        str::from_utf8(&message[..length]).unwrap().lines().map(ToOwned::to_owned).collect()
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
