//! What the README's commands run in: a Redis and a gateway of their own, and the README's ports led there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::blocks::reads_as;
use crate::foreign::{Foreign, Language};
use crate::gateway::{Gateway, binary, repository};
use crate::redis::RedisServer;

/// Programs that the README's commands mean: `fanline`, `redis-cli` and `cargo` that find this world.
struct Shims(tempfile::TempDir);

/// The rule of the README's history.
pub const RULE: &str = "[[topics]]\nmatch = \"orders:*\"\nhistory_size = 1000\nhistory_ttl = \"10m\"\n";

/// Redis, a gateway on it, a json client that listens to `hello`.
pub struct World {
    pub redis: RedisServer,
    pub gateway: Gateway,
    pub ears: Foreign,
    shims: Shims,
}

impl World {
    /// None where OFFLINE=1 and there is no Redis.
    pub fn new() -> Option<Self> {
        let redis = RedisServer::start()?;
        let url = format!("redis.url={}", redis.url());
        let gateway = Gateway::with_toml(RULE, &["--set", &url, "--set", "drain.delay=50ms"]).ready();
        let ears = ears(&gateway);
        let shims = Shims::new(&gateway, &redis);
        Some(Self { redis, gateway, ears, shims })
    }

    /// Runs a script of the README's, which must succeed, and answers what it printed, with the README's ports.
    pub fn run(&self, script: &str) -> String {
        let output = self.command(&self.here(script)).output().expect("bash");
        let said = |bytes: &[u8]| self.there(&String::from_utf8_lossy(bytes));
        let (stdout, stderr) = (said(&output.stdout), said(&output.stderr));
        assert!(output.status.success(), "{}\n{script}\n{stdout}\n{stderr}", output.status);
        stdout
    }

    fn command(&self, script: &str) -> Command {
        let mut bash = Command::new("timeout");
        bash.args(["300", "bash", "-euo", "pipefail", "-c", script]).current_dir(self.shims.0.path());
        let venv = repository().join("tests/.tools/venv/bin");
        let path = std::env::var("PATH").unwrap_or_default();
        bash.env("PATH", format!("{}:{}:{path}", self.shims.0.path().display(), venv.display()));
        bash.env("NODE_PATH", repository().join("tests/clients/node_modules"));
        bash.env("REDIS_URL", self.redis.url()).env("PID", self.gateway.pid().to_string());
        bash
    }

    /// The README's ports and ours.
    fn ports(&self) -> [(&'static str, String); 3] {
        let [public, internal] = [self.gateway.public(), self.gateway.internal()].map(|it| it.port().to_string());
        [("8080", public), ("8081", internal), ("6379", self.redis.port().to_string())]
    }

    fn here(&self, text: &str) -> String {
        self.ports().iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
    }

    fn there(&self, text: &str) -> String {
        self.ports().iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(ours, theirs))
    }

    /// The json client hears exactly these lines.
    #[track_caller]
    pub fn hears(&self, lines: &str) {
        for line in lines.lines() {
            let heard = self.ears.text();
            assert!(reads_as(line, &heard), "written {line}\nheard   {heard}");
        }
    }
}

/// A json client of topic `hello`, past its greeting.
pub fn ears(gateway: &Gateway) -> Foreign {
    let ears = Foreign::open_as(Language::Node, &gateway.ws_url("/ws?topic=hello"), "fanline.json");
    assert_eq!(ears.json()["type"], "welcome");
    assert_eq!(ears.json()["live"], true);
    ears
}

impl Shims {
    fn new(gateway: &Gateway, redis: &RedisServer) -> Self {
        let shims = Self(tempfile::tempdir().expect("a temporary directory"));
        let addresses =
            format!("FANLINE_PUBLIC__LISTEN={} FANLINE_INTERNAL__LISTEN={}", gateway.public(), gateway.internal());
        shims.add("fanline", &format!("{addresses} exec {}", binary().display()));
        let real = which("redis-cli");
        shims.add("redis-cli", &format!("exec {} -p {}", real.display(), redis.port()));
        shims.add("cargo", &format!("cd {} && exec {}", repository().display(), which("cargo").display()));
        std::os::unix::fs::symlink(repository().join("examples"), shims.0.path().join("examples")).expect("a link");
        shims
    }

    fn add(&self, name: &str, command: &str) {
        let path = self.0.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{command} \"$@\"\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
    }
}

/// Where the shell finds a program.
fn which(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|dir| dir.join(name)).filter(|file| Path::is_file(file));
    found.next().unwrap_or_else(|| panic!("{name} is not installed; run tests/setup.sh"))
}
