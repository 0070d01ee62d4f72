//! A real `fanline serve` as a child process: started on free ports, ended by its pid.

#![allow(dead_code, reason = "each test binary uses its own part of the fixture")]

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Every wait of the tests ends here: far above what a loaded machine needs, far below a hung run.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The configuration file of a gateway that was given one as text.
const CONFIG: &str = "given.toml";

/// The configuration file that is read where none is named.
const DEFAULT_CONFIG: &str = "fanline.toml";

/// Asks again until `probe` answers, at most for [`PATIENCE`].
///
/// # Panics
/// With `what` when the time is over.
#[track_caller]
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A running gateway. Dropped, it is killed, and shows its log where the test fails.
pub struct Gateway {
    process: Child,
    log: Log,
    home: tempfile::TempDir,
    public: SocketAddr,
    internal: SocketAddr,
}

/// What the gateway printed, both streams in order of arrival.
type Log = Arc<Mutex<Vec<String>>>;

impl Gateway {
    /// Starts `fanline serve ARGS` on free loopback ports and waits until it says which.
    ///
    /// # Panics
    /// When it does not start; with its log.
    pub fn start<S: AsRef<OsStr>>(args: &[S]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary directory"), args)
    }

    fn start_in<S: AsRef<OsStr>>(home: tempfile::TempDir, args: &[S]) -> Self {
        let mut gateway = Self::unread_in(home, args);
        gateway.read_log();
        gateway
    }

    /// Starts it as [`Gateway::start`] does, with a log that nobody reads until [`Gateway::read_log`].
    pub fn unread<S: AsRef<OsStr>>(args: &[S]) -> Self {
        Self::unread_in(tempfile::tempdir().expect("a temporary directory"), args)
    }

    fn unread_in<S: AsRef<OsStr>>(home: tempfile::TempDir, args: &[S]) -> Self {
        let mut process = command(&home).args(args).spawn().unwrap_or_else(|e| panic!("{}: {e}", binary().display()));
        let log = Log::default();
        follow(process.stdout.take().expect("piped"), &log);
        let (public, internal) = eventually_bound(&mut process, &log);
        Self { process, log, home, public, internal }
    }

    /// Begins to read what it logs.
    pub fn read_log(&mut self) {
        follow(self.process.stderr.take().expect("piped, and not read yet"), &self.log);
    }

    /// Starts it with a configuration file, given as its path in the repository.
    pub fn with_config(path: &str, args: &[&str]) -> Self {
        let path = repository().join(path).display().to_string();
        Self::start(&[&["--config", &path], args].concat())
    }

    /// Starts it with the text of a configuration file, which lies at [`Gateway::config`] while it runs.
    pub fn with_toml(text: &str, args: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        fs::write(home.path().join(CONFIG), text).expect("a written file");
        Self::start_in(home, &[&["--config", CONFIG], args].concat())
    }

    /// Starts it where a `fanline.toml` with this text lies, at [`Gateway::default_config`].
    pub fn with_default_toml(text: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        fs::write(home.path().join(DEFAULT_CONFIG), text).expect("a written file");
        Self::start_in::<&str>(home, &[])
    }

    /// Where it looks for a configuration that nobody named.
    pub fn default_config(&self) -> PathBuf {
        self.home.path().join(DEFAULT_CONFIG)
    }

    /// Where the configuration of [`Gateway::with_toml`] lies, to be changed before a SIGHUP.
    pub fn config(&self) -> PathBuf {
        self.home.path().join(CONFIG)
    }

    /// The public listener's URL of a path, query included.
    pub fn ws_url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.public)
    }

    /// The same over HTTP.
    pub fn http_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.public)
    }

    /// The internal listener's URL of a path, query included.
    pub fn internal_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.internal)
    }

    /// Where clients connect.
    pub fn public(&self) -> SocketAddr {
        self.public
    }

    /// Where operators and producers connect.
    pub fn internal(&self) -> SocketAddr {
        self.internal
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it printed so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Publishes a text by `POST /api/publish` and answers how many replicas listened.
    ///
    /// # Panics
    /// When it is refused.
    pub fn publish(&self, topic: &str, text: &str) -> u64 {
        let request = serde_json::json!({ "topic": topic, "text": text });
        let answer = self.post("/api/publish", &request.to_string());
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answer: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        answer["topics"][topic]["replicas"].as_u64().expect("a number of replicas")
    }

    /// `/metrics`: the value of every series, by `name` or `name{label="value"}`.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let page = self.get("/metrics");
        assert_eq!(page.status, 200, "{}", page.body);
        let lines = page.body.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(name, value)| (name.into(), value.parse().expect("a number")))
            .collect()
    }

    /// The value of one series.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn metric(&self, series: &str) -> f64 {
        *self.metrics().get(series).unwrap_or_else(|| panic!("no series {series}"))
    }

    /// The status of `/readyz`.
    pub fn readyz(&self) -> u16 {
        self.get("/readyz").status
    }

    /// Waits until `/readyz` answers 200.
    pub fn ready(self) -> Self {
        eventually("/readyz answers 200", || (self.readyz() == 200).then_some(()));
        self
    }

    /// `GET` on the internal listener.
    pub fn get(&self, path: &str) -> Answer {
        ask(self.internal, &format!("GET {path} HTTP/1.1\r\n"), "")
    }

    /// `POST` of a JSON text on the internal listener.
    pub fn post(&self, path: &str, json: &str) -> Answer {
        ask(self.internal, &format!("POST {path} HTTP/1.1\r\nContent-Type: application/json\r\n"), json)
    }

    /// `DELETE` on the internal listener.
    pub fn delete(&self, path: &str) -> Answer {
        ask(self.internal, &format!("DELETE {path} HTTP/1.1\r\n"), "")
    }

    /// Sends it a signal: `TERM`, `HUP`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Asks it to drain and waits for its end; its log stays in the answer.
    pub fn stop(self) -> (ExitStatus, String) {
        self.signal("TERM");
        self.ended()
    }

    /// Whether it has ended by itself, with 0.
    ///
    /// # Panics
    /// When it ended otherwise.
    pub fn has_ended(&mut self) -> bool {
        let Some(status) = self.process.try_wait().expect("a child") else { return false };
        assert!(status.success(), "{status}: {}", self.log());
        true
    }

    /// Waits for the end of a gateway that was asked to drain already.
    pub fn ended(mut self) -> (ExitStatus, String) {
        let status = eventually("the gateway ends after SIGTERM", || self.process.try_wait().expect("a child"));
        (status, self.log())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("--- log of the gateway in {}\n{}\n---", self.home.path().display(), self.log());
        }
    }
}

/// What an HTTP request was answered.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header lines as they came.
    pub head: String,
    /// The body.
    pub body: String,
}

/// Sends a signal to a process that the test started.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().expect("kill");
    assert!(sent.success(), "kill -{name} {pid}");
}

/// The repository's root, whatever directory a test runs in.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The binary under test: `GATEWAY_BIN`, else the one cargo built for this test.
pub fn binary() -> PathBuf {
    env::var_os("GATEWAY_BIN").map_or_else(|| env!("CARGO_BIN_EXE_fanline").into(), |path| repository().join(path))
}

/// `fanline serve` on free ports, in an empty directory, with none of our own environment's settings.
fn command(home: &tempfile::TempDir) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in env::vars_os() {
        let ours = name.to_string_lossy().starts_with("FANLINE_");
        if ours || name == "REDIS_URL" || name == "PORT" {
            command.env_remove(name);
        }
    }
    command.current_dir(home).env("NO_COLOR", "1").arg("serve");
    command.args(["--set", "public.listen=127.0.0.1:0", "--set", "internal.listen=127.0.0.1:0"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn follow(stream: impl Read + Send + 'static, log: &Log) {
    let log = Arc::clone(log);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
}

fn eventually_bound(process: &mut Child, log: &Log) -> (SocketAddr, SocketAddr) {
    eventually("the gateway says which addresses it bound", || {
        let lines = log.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let found = |word| lines.iter().find_map(|line| bound(line, word));
        if let (Some(public), Some(internal)) = (found("public"), found("internal")) {
            return Some((public, internal));
        }
        if let Some(status) = process.try_wait().expect("a child") {
            let mut said = String::new();
            let _ = process.stderr.take().map(|mut stderr| stderr.read_to_string(&mut said));
            panic!("the gateway ended at start: {status}\n{}\n{said}", lines.join("\n"));
        }
        None
    })
}

/// The only place that knows how the start lines look: the word `public` or `internal`, and behind it on the
/// same line the first loopback address with a port that is not 0.
fn bound(line: &str, word: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(word).filter(|(_, rest)| !rest.starts_with(char::is_alphanumeric))?;
    let port = &rest[rest.find("127.0.0.1:")? + "127.0.0.1:".len()..];
    let port = port.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok().filter(|&port: &u16| port != 0)?;
    Some(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn ask(to: SocketAddr, head: &str, body: &str) -> Answer {
    let mut socket = TcpStream::connect(to).expect("a connection to the internal listener");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(socket, "{head}Host: {to}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .expect("sent");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("an answer");
    let answer = String::from_utf8(answer).expect("UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

#[test]
fn the_start_lines_are_understood_in_every_wording_we_agreed_on() {
    let port = |line, word| bound(line, word).map(|address| address.port());
    let together = "fanline: public ws://127.0.0.1:4711  internal http://127.0.0.1:4712";
    assert_eq!((port(together, "public"), port(together, "internal")), (Some(4711), Some(4712)));
    let logged = "INFO fanline::server: listening public=127.0.0.1:4711 internal=127.0.0.1:4712";
    assert_eq!((port(logged, "public"), port(logged, "internal")), (Some(4711), Some(4712)));
    assert_eq!(port("public.listen=127.0.0.1:0", "public"), None);
    assert_eq!(port("publications at 127.0.0.1:4711", "public"), None);
}
