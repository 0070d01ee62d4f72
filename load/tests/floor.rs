//! The load's own proof: floor and fan-out over a real Redis, with a real fault each that must be seen.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use serde_json::Value;
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A process that ends with its test.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Redis and a floor on it.
struct House {
    redis: SocketAddr,
    floor: Owned,
    url: String,
    _redis: Owned,
    _home: tempfile::TempDir,
}

/// A port that nobody listens on just now, and that the kernel gives to no outgoing connection: below 32,768.
fn free_address() -> SocketAddr {
    // Random enough, without a crate for it: tests that run side by side must not try the same ports.
    let seed = RandomState::new().build_hasher().finish();
    let mut ports = (0..).map(|n| 10_000 + (seed.wrapping_add(n * 7919) % 22_000) as u16);
    let free = ports.find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok()).unwrap();
    ([127, 0, 0, 1], free).into()
}

impl House {
    fn open() -> Self {
        let home = tempfile::tempdir().unwrap();
        let redis = free_address();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &redis.port().to_string()]);
        command.arg("--dir").arg(home.path()).stdout(Stdio::null());
        let server = Owned(command.spawn().expect("redis-server is installed"));
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(redis).is_err() {
            assert!(Instant::now() < end, "redis does not listen");
            thread::yield_now();
        }
        let mut command = load(&["floor", "--redis", &redis.to_string()]);
        let mut floor = Owned(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(floor.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = format!("ws://{}/ws", line.trim().strip_prefix("listening ").unwrap());
        Self { redis, floor, url, _redis: server, _home: home }
    }

    fn fanout(&self, more: &[&str]) -> Command {
        let (redis, pid) = (self.redis.to_string(), self.floor.0.id().to_string());
        let mut command = load(&["fanout", "--url", &self.url, "--redis", &redis, "--pid", &pid, "--json"]);
        command.args(["--sockets", "50"]).args(more);
        command
    }
}

fn load(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanline-load"));
    command.args(args);
    command
}

fn report(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn fifty_sockets_get_everything_once_and_in_order_at_any_pace() {
    let house = House::open();
    let paces: [&[&str]; 4] =
        [&["--in-flight", "1"], &["--in-flight", "8", "--topics", "5"], &["--rate", "400"], &["--size", "70000"]];
    for pace in paces {
        let output = house.fanout(pace).args(["--seconds", "0.5"]).output().unwrap();
        let report = report(&output);
        assert!(output.status.success(), "{pace:?}: {report}");
        for fault in ["lost", "duplicates", "misordered", "closed"] {
            assert_eq!(report[fault], 0, "{pace:?}: {report}");
        }
        let listeners = 50 / report["topics"].as_u64().unwrap();
        assert_eq!(report["deliveries"], report["publications"].as_u64().unwrap() * listeners, "{pace:?}: {report}");
        assert!(report["publications"].as_u64().unwrap() > 5, "{pace:?}: {report}");
        assert!(report["server"]["cpu_us_per_delivery"].as_f64().unwrap() > 0.0, "{pace:?}: {report}");
    }
}

#[test]
fn a_server_that_dies_under_load_is_not_a_clean_run() {
    let mut house = House::open();
    let mut command = house.fanout(&["--seconds", "60"]);
    let mut fanout = Owned(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut watcher = Watcher::subscribe(house.redis, "fanline:load:0");
    watcher.wait_for_a_publication();
    house.floor.0.kill().unwrap();
    let mut said = String::new();
    fanout.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!fanout.0.wait().unwrap().success(), "{said}");
    assert!(said.contains("every socket has been closed"), "{said}");
}

#[test]
fn a_message_that_somebody_else_repeats_is_counted_as_come_twice() {
    let house = House::open();
    let mut command = house.fanout(&["--seconds", "2", "--rate", "50"]);
    let fanout = Owned(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut watcher = Watcher::subscribe(house.redis, "fanline:load:0");
    let payload = watcher.wait_for_a_publication();
    let mut redis = TcpStream::connect(house.redis).unwrap();
    let end = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < end {
        write!(redis, "*3\r\n$7\r\nPUBLISH\r\n$14\r\nfanline:load:0\r\n${}\r\n{payload}\r\n", payload.len()).unwrap();
        redis.read_exact(&mut [0; 4]).unwrap();
    }
    let mut fanout = fanout;
    let mut json = String::new();
    fanout.0.stdout.take().unwrap().read_to_string(&mut json).unwrap();
    let report: Value = serde_json::from_str(&json).unwrap();
    assert!(report["duplicates"].as_u64().unwrap() >= 50, "{report}");
    assert_eq!(report["lost"], 0, "{report}");
    assert!(!fanout.0.wait().unwrap().success(), "{report}");
}

/// Somebody who sees what is published, as a sign that a run is under way.
struct Watcher(BufReader<TcpStream>);

impl Watcher {
    fn subscribe(redis: SocketAddr, channel: &str) -> Self {
        let mut stream = TcpStream::connect(redis).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "SUBSCRIBE {channel}\r\n").unwrap();
        Self(BufReader::new(stream))
    }

    fn wait_for_a_publication(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "redis hung up");
            if line.len() > 100 {
                return line.trim().to_owned();
            }
        }
    }
}
