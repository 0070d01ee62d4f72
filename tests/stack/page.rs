//! The page that the balancer serves, in Node in place of a browser.

use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;

use crate::gateway::{PATIENCE, repository, signal};
use crate::house::Stack;

#[test]
fn the_page_shows_orders_and_goes_on_where_it_was_when_its_replica_dies() {
    let stack = Stack::up(&[("REPLICAS", "2"), ("PROMETHEUS", "off")]);
    let page = Page::open(&format!("http://{}/", stack.at("BALANCER_PORT")));
    page.has_counted(2);
    // It is with one of them, and then with the other.
    for _ in 0..2 {
        let its = ["r1", "r2"].into_iter().find(|name| stack.balancer(name, "scur") == "1").unwrap();
        signal(stack.pid(its), "KILL");
        stack.until_balancer_finds(its, "DOWN");
        // It hears what was published while it was away, too.
        page.has_counted(page.count.get() + 6);
        stack.scale(2);
        stack.until_balancer_finds(its, "UP");
    }
}

struct Page {
    node: Child,
    shown: Receiver<Value>,
    /// How many orders it has counted.
    count: Cell<u64>,
}

impl Page {
    fn open(url: &str) -> Self {
        let modules = repository().join("tests/clients/node_modules");
        let mut node = Command::new("node");
        node.arg(repository().join("tests/stack/page.mjs")).arg(url).env("NODE_PATH", modules);
        let mut node = node.stdout(Stdio::piped()).spawn().expect("node; run tests/setup.sh node");
        let (sender, shown) = channel();
        let stdout = node.stdout.take().unwrap();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.map(|line| serde_json::from_str(&line).unwrap()).all(|line| sender.send(line).is_ok());
        });
        Self { node, shown, count: Cell::default() }
    }

    /// Waits until this many orders came, of which none was lost and none came twice.
    #[track_caller]
    fn has_counted(&self, orders: u64) {
        while self.count.get() < orders {
            let line = self.shown.recv_timeout(PATIENCE).expect("another line");
            assert_eq!([&line["lost"], &line["twice"]], [0, 0], "{line}");
            self.count.set(line["count"].as_u64().unwrap());
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}
