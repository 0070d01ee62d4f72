//! `make up` on free ports, and what it says of itself in `stack.json`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::gateway::{PATIENCE, binary, eventually, repository};

/// The key of the API unless another one is set.
pub const KEY: &str = "for-trials-only";

/// A running stack. Dropped, all of it is killed.
pub struct Stack {
    make: Child,
    home: TempDir,
    said: Arc<Mutex<Vec<String>>>,
}

impl Stack {
    /// Three replicas, unless `settings` say otherwise.
    pub fn up(settings: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut make = make("up", home.path(), settings);
        // With a group of its own: what make has started dies with it, and with that all the rest.
        let mut make = make.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::default();
        follow(make.stdout.take().unwrap(), &said);
        follow(make.stderr.take().unwrap(), &said);
        let mut stack = Self { make, home, said };
        eventually("the stack is up", || {
            let ended = stack.make.try_wait().unwrap();
            assert!(ended.is_none(), "make up ended: {ended:?}\n{}", stack.said());
            stack.said().contains("make down").then_some(())
        });
        stack
    }

    /// What it printed so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    /// `make TARGET` beside it, to its end.
    pub fn make(&self, target: &str, settings: &[(&str, &str)]) -> Output {
        make(target, self.home.path(), settings).output().unwrap()
    }

    pub fn scale(&self, replicas: usize) {
        let done = self.make("scale", &[("REPLICAS", &replicas.to_string())]);
        assert!(done.status.success(), "{done:?}\n{}", self.said());
    }

    /// Ends it as operators do; answers what it printed at last.
    pub fn down(mut self) -> String {
        let done = self.make("down", &[]);
        assert!(done.status.success(), "{done:?}\n{}", self.said());
        let status = eventually("make up ends", || self.make.try_wait().unwrap());
        assert!(status.success(), "{status}\n{}", self.said());
        self.said()
    }

    /// Ends it by Ctrl-C, which reaches everybody in the terminal's group; answers what it printed at last.
    pub fn interrupt(mut self) -> String {
        signal_group(&self.make, "INT");
        eventually("make up ends", || self.make.try_wait().unwrap());
        self.said()
    }

    /// What a process has logged.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.home.path().join("logs").join(format!("{name}.log"))).unwrap()
    }

    fn state(&self) -> Value {
        let path = self.home.path().join("stack.json");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_str(&text).unwrap()
    }

    /// The process that keeps the others.
    pub fn keeper(&self) -> u32 {
        u32::try_from(self.state()["pid"].as_u64().unwrap()).unwrap()
    }

    /// The process id of `redis`, `haproxy`, `r1`…
    pub fn pid(&self, name: &str) -> u32 {
        let pid = self.state()["processes"][name]["pid"].as_u64().unwrap_or_else(|| panic!("{name} does not run"));
        u32::try_from(pid).unwrap()
    }

    /// All of them.
    pub fn pids(&self) -> Vec<u32> {
        let state = self.state();
        let processes = state["processes"].as_object().unwrap();
        processes.values().map(|process| u32::try_from(process["pid"].as_u64().unwrap()).unwrap()).collect()
    }

    /// Where `BALANCER_PORT` and the like are.
    pub fn at(&self, port: &str) -> SocketAddr {
        let number = self.state()["ports"][port].as_u64().unwrap_or_else(|| panic!("no {port}"));
        SocketAddr::from(([127, 0, 0, 1], u16::try_from(number).unwrap()))
    }

    /// Publishes through the balancer; answers status and body.
    pub fn publish(&self, request: &Value, key: &str) -> (u16, String) {
        post(self.at("API_PORT"), "/api/publish", request, key).unwrap()
    }

    /// A column of HAProxy's statistics, by its name, for one of its servers.
    pub fn balancer(&self, server: &str, column: &str) -> String {
        let (status, page) = get(self.at("STATS_PORT"), "/;csv").unwrap();
        assert_eq!(status, 200, "{page}");
        let mut rows = page.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let columns = rows.next().unwrap();
        let nth = columns.iter().position(|name| *name == column).unwrap_or_else(|| panic!("no {column}: {columns:?}"));
        let row = rows.find(|row| row[0] == "fanline" && row[1] == server);
        row.unwrap_or_else(|| panic!("no {server} in {page}"))[nth].to_owned()
    }

    /// Waits until HAProxy finds a replica `UP` or `DOWN`.
    pub fn until_balancer_finds(&self, server: &str, status: &str) {
        eventually(&format!("HAProxy finds {server} {status}"), || {
            (self.balancer(server, "status") == status).then_some(())
        });
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- make up\n{}\n---", self.said());
        }
        signal_group(&self.make, "KILL");
        let _ = self.make.wait();
    }
}

fn signal_group(leader: &Child, name: &str) {
    let (name, group) = (format!("-{name}"), format!("-{}", leader.id()));
    let _ = Command::new("kill").args([&name, "--", &group]).stderr(Stdio::null()).status();
}

pub fn make(target: &str, home: &Path, settings: &[(&str, &str)]) -> Command {
    let mut make = Command::new("make");
    make.args(["--no-print-directory", target]).current_dir(repository()).stdin(Stdio::null());
    let ours = |name: &str| name.starts_with("FANLINE_") || name.starts_with("MAKE") || name == "REDIS_URL";
    for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
        make.env_remove(name);
    }
    make.env("STACK", home).env("PORTS", "free").env("GATEWAY_BIN", binary()).env("PYTHONDONTWRITEBYTECODE", "1");
    make.envs(settings.iter().copied());
    make
}

fn follow(stream: impl Read + Send + 'static, said: &Arc<Mutex<Vec<String>>>) {
    let said = Arc::clone(said);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            said.lock().unwrap().push(line);
        }
    });
}

/// Whether a process of this id is there and no zombie.
pub fn is_there(pid: u32) -> bool {
    let stat = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat")));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

pub fn get(to: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    ask(to, &format!("GET {path} HTTP/1.0\r\nHost: {to}\r\n\r\n"))
}

pub fn post(to: SocketAddr, path: &str, request: &Value, key: &str) -> std::io::Result<(u16, String)> {
    let body = request.to_string();
    let head = format!("POST {path} HTTP/1.0\r\nHost: {to}\r\nContent-Type: application/json\r\nX-API-Key: {key}\r\n");
    ask(to, &format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
}

/// As 1.0, so that the answer ends with its connection.
fn ask(to: SocketAddr, request: &str) -> std::io::Result<(u16, String)> {
    let mut socket = TcpStream::connect_timeout(&to, PATIENCE)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.write_all(request.as_bytes())?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Ok((status, if chunked { unchunked(body) } else { body.to_owned() }))
}

/// HAProxy's own pages come in chunks, whatever was asked for.
fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole += &rest[..size];
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}
