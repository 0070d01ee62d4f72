//! The two commands of the first screen.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::blocks;
use crate::gateway::{PATIENCE, repository, signal};
use crate::redis::{RedisServer, free_port};

/// `make run` may have to build first.
const BUILD: Duration = Duration::from_secs(900);

/// A command with a process group of its own, which ends with the test.
struct Running {
    process: Child,
    stdout: Receiver<String>,
}

impl Running {
    fn start(script: &str, env: &[(&str, &str)]) -> Self {
        let mut bash = Command::new("bash");
        bash.args(["-c", script]).current_dir(repository()).process_group(0);
        let ours = |name: &str| name.starts_with("FANLINE_") || name == "REDIS_URL" || name == "PORT";
        for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
            bash.env_remove(name);
        }
        bash.envs(env.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = bash.spawn().expect("bash");
        let (sender, stdout) = channel();
        follow(process.stdout.take().expect("piped"), sender.clone());
        follow(process.stderr.take().expect("piped"), sender);
        Self { process, stdout }
    }

    /// The first line with these words; passes over what comes before it.
    #[track_caller]
    fn says(&self, words: &str, patience: Duration) -> String {
        let mut before = Vec::new();
        loop {
            let line = self.stdout.recv_timeout(patience).unwrap_or_else(|e| panic!("{e}: {words}\n{before:#?}"));
            if line.contains(words) {
                return line;
            }
            before.push(line);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.process.wait();
    }
}

fn follow(stream: impl Read + Send + 'static, lines: std::sync::mpsc::Sender<String>) {
    thread::spawn(move || {
        BufReader::new(stream).lines().map_while(Result::ok).all(|line| lines.send(line).is_ok());
    });
}

/// The commands of the README's `sh make` blocks.
fn commands() -> Vec<String> {
    let blocks = blocks::of("sh make");
    let lines = blocks.iter().flat_map(|block| block.text.lines());
    lines.map(|line| line.split('#').next().unwrap_or_default().trim().to_owned()).filter(|it| !it.is_empty()).collect()
}

#[test]
fn the_readme_begins_with_two_commands_that_the_makefile_has() {
    assert_eq!(commands(), ["make run", "make test", "REDIS_URL=redis://127.0.0.1:6379 make run"]);
    let dry = Command::new("make").args(["--dry-run", "test"]).current_dir(repository()).output().expect("make");
    assert!(String::from_utf8_lossy(&dry.stdout).contains("tests/run.sh"), "{dry:?}");
}

#[test]
fn make_run_says_how_to_hear_and_how_to_publish_and_both_work_as_pasted() {
    try_out(&commands()[0], "");
}

#[test]
fn make_run_on_redis_does_too() {
    let Some(redis) = RedisServer::start() else { return };
    try_out(&commands()[2].replace("6379", &redis.port().to_string()), &format!("-p {} ", redis.port()));
}

fn try_out(make: &str, redis_port: &str) {
    let listen = |port: u16| format!("127.0.0.1:{port}");
    let (public, internal) = (listen(free_port()), listen(free_port()));
    let env = [("FANLINE_PUBLIC__LISTEN", &*public), ("FANLINE_INTERNAL__LISTEN", &*internal)];
    let gateway = Running::start(make, &env);
    let pasted = |line: String| line.split_once(": ").expect("a command").1.trim().to_owned();
    let hear = pasted(gateway.says("hear a topic:", BUILD));
    let publish =
        pasted(gateway.says("publish to it:", PATIENCE)).replace("redis-cli ", &format!("redis-cli {redis_port}"));
    let ears = Running::start(&hear, &env);
    ears.says("listening on", PATIENCE);
    Running::start(&publish, &env).says("1", PATIENCE);
    assert_eq!(ears.says("", PATIENCE), "Hello, world");
    signal(gateway.process.id(), "INT");
}
