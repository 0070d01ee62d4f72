//! Publishes numbers to a topic through the balancer's API, until it is told that it is enough.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;

use crate::house::{KEY, Stack, post};

/// How long it rests after each.
const PACE: Duration = Duration::from_millis(50);

pub struct Producer {
    enough: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Producer {
    /// Begins with 0.
    pub fn start(stack: &Stack, topic: &'static str) -> Self {
        let (api, enough) = (stack.at("API_PORT"), Arc::new(AtomicBool::new(false)));
        let until = Arc::clone(&enough);
        Self { enough, thread: thread::spawn(move || publish(api, topic, &until)) }
    }

    /// Answers how many numbers were acknowledged.
    pub fn stop(self) -> usize {
        self.enough.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn publish(api: SocketAddr, topic: &str, enough: &AtomicBool) -> usize {
    let mut n = 0;
    while !enough.load(Ordering::Relaxed) {
        let request = json!({ "topic": topic, "data": { "n": n }, "idempotency_key": format!("{topic}.{n}") });
        // What is not acknowledged is published again, under the same key.
        if post(api, "/api/publish", &request, KEY).is_ok_and(|(status, _)| status == 200) {
            n += 1;
        }
        thread::sleep(PACE);
    }
    n
}
