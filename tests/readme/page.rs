//! The browser snippets, in Node with npm `ws` in the browser's place.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::blocks;
use crate::gateway::{Gateway, PATIENCE, eventually, repository};
use crate::redis::{RedisServer, free_port};

/// What a page brings along: a WebSocket that keeps its failures to itself, as a browser's does.
const BROWSER: &str = r#"
const Ws = require("ws");
globalThis.WebSocket = class extends Ws {
  constructor(...given) { super(...given); this.on("error", () => {}); this.on("open", () => console.log("open")); }
};
"#;

/// A page: what it shows, a line each.
struct Page {
    process: Child,
    shown: Receiver<String>,
    _home: tempfile::TempDir,
}

impl Page {
    fn open(kind: &str, gateway: &Gateway) -> Self {
        let blocks = blocks::of(kind);
        let [snippet] = blocks.as_slice() else { panic!("one block of {kind}, not {}", blocks.len()) };
        let home = tempfile::tempdir().expect("a temporary directory");
        let script = home.path().join("page.cjs");
        let text = snippet.text.replace("8080", &gateway.public().port().to_string());
        fs::write(&script, format!("{BROWSER}{text}")).expect("a script");
        let modules = repository().join("tests/clients/node_modules");
        let mut node = Command::new("node");
        node.arg(script).env("NODE_PATH", modules).stdout(Stdio::piped());
        let mut process = node.spawn().expect("node; run tests/setup.sh");
        let (sender, shown) = channel();
        let stdout = process.stdout.take().expect("piped");
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok());
        });
        Self { process, shown, _home: home }
    }

    #[track_caller]
    fn shows(&self, line: &str) {
        assert_eq!(self.shown.recv_timeout(PATIENCE).expect("something to be shown"), line);
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A gateway on a port that its successor can have, too.
fn gateway(port: u16, redis: &RedisServer) -> Gateway {
    let (listen, url) = (format!("public.listen=127.0.0.1:{port}"), format!("redis.url={}", redis.url()));
    Gateway::start(&["--set", &listen, "--set", &url, "--set", "drain.delay=0s"]).ready()
}

#[test]
fn a_page_of_json_shows_messages_and_gaps_and_comes_back_after_a_restart() {
    let Some(mut redis) = RedisServer::start() else { return };
    let port = free_port();
    let first = gateway(port, &redis);
    let page = Page::open("js json", &first);
    page.shows("open");
    listens(&first, 1);
    first.publish("hello", r#"{"a":1}"#);
    page.shows(r#"hello {"a":1}"#);
    first.publish("hello", "text");
    page.shows("hello text");

    redis.restart();
    page.shows("missed something in hello");
    first.publish("hello", "after the outage");
    page.shows("hello after the outage");

    assert!(first.stop().0.success());
    let second = gateway(port, &redis);
    page.shows("open");
    page.shows("missed something in hello");
    listens(&second, 1);
    second.publish("hello", "after the restart");
    page.shows("hello after the restart");
}

#[test]
fn a_plain_page_shows_messages_and_comes_back_after_a_restart() {
    let Some(redis) = RedisServer::start() else { return };
    let port = free_port();
    let first = gateway(port, &redis);
    let page = Page::open("js plain", &first);
    page.shows("open");
    first.publish("hello", "hi");
    page.shows("hi");
    assert!(first.stop().0.success());
    let second = gateway(port, &redis);
    page.shows("open");
    second.publish("hello", "again");
    page.shows("again");
}

fn listens(gateway: &Gateway, subscriptions: u64) {
    eventually("the page listens", || (gateway.metric("fanline_subscriptions") as u64 == subscriptions).then_some(()));
}
