//! A `redis-server` of the test's own, on a free port of 127.0.0.1.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running (or stopped) server; killed when dropped.
pub struct RedisServer {
    port: u16,
    child: Option<Child>,
    dir: TempDir,
    extra: Vec<String>,
    environment: Vec<(String, String)>,
}

impl RedisServer {
    /// Starts one; none where OFFLINE=1 and there is no `redis-server` on this machine. Without OFFLINE a
    /// missing `redis-server` fails the test.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same with more arguments, `--requirepass x` say.
    pub fn start_with(extra: &[&str]) -> Option<Self> {
        Self::start_under(&[], extra)
    }

    /// The same with variables in its environment.
    pub fn start_under(environment: &[(&str, &str)], extra: &[&str]) -> Option<Self> {
        let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
        if found.is_err() {
            assert!(
                std::env::var("OFFLINE").as_deref() == Ok("1"),
                "redis-server is not installed: install Redis 6.2 or newer, or set OFFLINE=1 to skip what needs it"
            );
            println!("skipped: redis-server is not installed and OFFLINE=1");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let extra = extra.iter().map(|&arg| arg.to_owned()).collect();
        let environment = environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut server = Self { port: free_port(), child: None, dir, extra, environment };
        server.restart();
        Some(server)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it keeps what it keeps.
    pub fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// The path of its unix socket.
    pub fn unix_socket(&self) -> String {
        self.dir.path().join("redis.sock").to_str().unwrap().to_owned()
    }

    /// Starts it again on the same port, with what its directory holds; returns once it answers.
    pub fn restart(&mut self) {
        self.kill();
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--dir", self.dir.path().to_str().unwrap(), "--unixsocket", &self.unix_socket()])
            .args(&self.extra)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.answers() {
            assert!(Instant::now() < deadline, "redis-server does not answer on port {}", self.port);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to shut down, and waits until it has.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal("-TERM", child.id());
            child.wait().unwrap();
        }
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Lets `gateway` in by this password alone, written as in `ACL SETUSER`, and to everything.
    pub fn let_in(&self, password: &str) {
        let user = ["ACL", "SETUSER", "gateway", "on", "resetpass", password, "~*", "&*", "+@all"];
        assert_eq!(self.cli(&user), "OK");
    }

    /// SIGSTOP: its sockets stay open and nobody answers.
    pub fn freeze(&self) {
        signal("-STOP", self.pid());
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        signal("-CONT", self.pid());
    }

    /// What `redis-cli` prints.
    pub fn cli(&self, args: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-h", "127.0.0.1", "-p", &port]).args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// How many channels beginning with `prefix` somebody is subscribed to.
    pub fn channels(&self, prefix: &str) -> usize {
        self.cli(&["PUBSUB", "CHANNELS", &format!("{prefix}*")]).lines().filter(|line| !line.is_empty()).count()
    }

    /// Whether it was started and not ended by the test.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    fn answers(&self) -> bool {
        let Ok(mut socket) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut answer = [0; 1];
        socket.write_all(b"PING\r\n").is_ok() && socket.read_exact(&mut answer).is_ok()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

pub fn signal(which: &str, pid: u32) {
    assert!(Command::new("kill").args([which, &pid.to_string()]).status().unwrap().success());
}

/// A port that nobody listens on just now, and that the kernel gives to no outgoing connection: below 32,768. The
/// same holds for the port 10,000 above, where a cluster's node listens for the others.
pub fn free_port() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut ports = std::iter::repeat_with(|| fastrand::u16(10_000..22_000));
    ports.find(|&port| is_free(port) && is_free(port + 10_000)).unwrap()
}
