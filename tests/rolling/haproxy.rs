//! A real HAProxy before the replicas.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::gateway::{PATIENCE, eventually, signal};
use crate::support::redis::free_port;

/// As operators write it; what is missing is the server of each replica.
const CONFIG: &str = include_str!("haproxy.cfg");

/// A running HAProxy; killed when dropped.
pub struct Haproxy {
    child: Child,
    home: TempDir,
    pub front: SocketAddr,
}

/// One replica: where clients are sent, and where it is asked how it is.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub name: &'static str,
    pub public: u16,
    pub internal: u16,
}

impl Haproxy {
    /// Starts it; none where OFFLINE=1 and it is not on this machine. Without OFFLINE a missing one fails the test.
    pub fn start(places: &[Place]) -> Option<Self> {
        if Command::new("haproxy").arg("-v").stdout(Stdio::null()).status().is_err() {
            let offline = std::env::var("OFFLINE").as_deref() == Ok("1");
            assert!(offline, "haproxy is not installed: tests/setup.sh haproxy, or OFFLINE=1 to skip what needs it");
            println!("skipped: haproxy is not installed and OFFLINE=1");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let front = SocketAddr::from(([127, 0, 0, 1], free_port()));
        std::fs::write(home.path().join("haproxy.cfg"), config(&home, front, places)).unwrap();
        let child = Command::new("haproxy").args(["-db", "-f", "haproxy.cfg"]).current_dir(&home).spawn().unwrap();
        let haproxy = Self { child, home, front };
        eventually("HAProxy takes connections", || TcpStream::connect(front).ok().map(drop));
        places.iter().for_each(|place| haproxy.wait_until(place.name, "UP"));
        Some(haproxy)
    }

    /// Waits until it holds a replica to be `UP` or `DOWN`.
    pub fn wait_until(&self, name: &str, status: &str) {
        eventually(&format!("HAProxy finds {name} {status}"), || (self.field(name, 17) == status).then_some(()));
    }

    /// How many connections it has to a replica.
    pub fn sessions(&self, name: &str) -> usize {
        self.field(name, 4).parse().unwrap()
    }

    /// How many requests it has answered itself because no replica took them.
    pub fn failures(&self) -> usize {
        self.field("FRONTEND", 43).parse().unwrap()
    }

    /// A column of `show stat`.
    fn field(&self, name: &str, column: usize) -> String {
        let mut socket = UnixStream::connect(socket_path(&self.home)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(b"show stat\n").unwrap();
        let mut page = String::new();
        socket.read_to_string(&mut page).unwrap();
        let mut rows = page.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let row = rows.find(|row| row.get(1) == Some(&name)).unwrap_or_else(|| panic!("no {name} in {page}"));
        row[column].to_owned()
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        signal(self.child.id(), "KILL");
        let _ = self.child.wait();
    }
}

fn socket_path(home: &TempDir) -> PathBuf {
    home.path().join("haproxy.sock")
}

fn config(home: &TempDir, front: SocketAddr, places: &[Place]) -> String {
    let mut text = CONFIG.replace("{socket}", &socket_path(home).display().to_string());
    text = text.replace("{front}", &front.to_string());
    for Place { name, public, internal } in places {
        text += &format!("    server {name} 127.0.0.1:{public} check port {internal}\n");
    }
    text
}
