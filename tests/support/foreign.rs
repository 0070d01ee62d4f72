//! Real foreign WebSocket clients as child processes: npm `ws`, PyPI `websockets`, and a page in Chromium.

#![allow(dead_code, reason = "each test binary uses its own part of the fixture")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{PATIENCE, repository, signal};

/// Who wrote the client.
#[derive(Debug, Clone, Copy)]
pub enum Language {
    /// Node with npm `ws`.
    Node,
    /// Python with PyPI `websockets`.
    Python,
    /// A page in Chromium.
    Chromium,
    /// Python with PyPI `requests`, on an event stream.
    Requests,
}

/// The libraries, for what must hold whoever wrote the client.
pub const LANGUAGES: [Language; 2] = [Language::Node, Language::Python];

/// A foreign client with one socket. Dropped, it is killed.
pub struct Foreign {
    process: Child,
    stdin: ChildStdin,
    said: Receiver<Value>,
    name: String,
    language: Language,
    extensions: String,
}

impl Foreign {
    /// Connects, and waits until the socket is open.
    ///
    /// # Panics
    /// When it is refused.
    pub fn open(language: Language, url: &str) -> Self {
        Self::open_as(language, url, "-")
    }

    /// Connects with a subprotocol, and waits until the socket is open.
    ///
    /// # Panics
    /// When it is refused.
    pub fn open_as(language: Language, url: &str, subprotocol: &str) -> Self {
        let mut client = Self::start(language, url, subprotocol);
        let first = client.next();
        assert_eq!(first["open"], true, "{}: {first}", client.name);
        client.extensions = first["extensions"].as_str().unwrap_or_default().to_owned();
        client
    }

    /// An `EventSource` in a page that hears these types of events beside messages; waits until it is open.
    ///
    /// # Panics
    /// When it does not open.
    pub fn events(url: &str, types: &[&str]) -> Self {
        Self::open_as(Language::Chromium, url, &types.join(","))
    }

    /// A page that runs a script.
    pub fn page(script: &std::path::Path) -> Self {
        Self::start(Language::Chromium, &script.display().to_string(), "-")
    }

    /// Connects where it must be refused, and answers the status and the body.
    ///
    /// # Panics
    /// When the socket opens.
    pub fn refused(language: Language, url: &str) -> (u64, String) {
        let client = Self::start(language, url, "-");
        let first = client.next();
        let status = first["refused"].as_u64().unwrap_or_else(|| panic!("{}: {first}", client.name));
        (status, first["body"].as_str().unwrap_or_default().to_owned())
    }

    /// The extensions that it agreed on with the gateway, as it says itself.
    pub fn extensions(&self) -> &str {
        &self.extensions
    }

    /// What happened next, pings left out; see `tests/clients/subscribe.mjs` for the lines.
    ///
    /// # Panics
    /// When nothing does within [`PATIENCE`].
    #[track_caller]
    pub fn next(&self) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let said = self.within(left).unwrap_or_else(|| panic!("{}: nothing more came", self.name));
            if said["ping"].is_null() {
                return said;
            }
        }
    }

    /// The next message, which must be a text.
    #[track_caller]
    pub fn text(&self) -> String {
        let said = self.next();
        said["text"].as_str().unwrap_or_else(|| panic!("{}: expected a text, got {said}", self.name)).to_owned()
    }

    /// The next message, which must be a JSON text.
    #[track_caller]
    pub fn json(&self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}: {text}", self.name))
    }

    /// Waits for a ping and passes over what came before it. Node only: Python's library hides them.
    #[track_caller]
    pub fn ping(&self) {
        while self.within(PATIENCE).unwrap_or_else(|| panic!("{}: no ping came", self.name))["ping"].is_null() {}
    }

    /// Waits for the close; answers code and reason. What came before it must be nothing.
    #[track_caller]
    pub fn closed(&self) -> (u64, String) {
        let said = self.next();
        let close = said["close"].as_array().unwrap_or_else(|| panic!("{}: expected a close, got {said}", self.name));
        (close[0].as_u64().unwrap_or_default(), close[1].as_str().unwrap_or_default().to_owned())
    }

    /// Everything said until now and for `silence` more: to show that something does *not* come.
    pub fn for_a_while(&self, silence: Duration) -> Vec<Value> {
        std::iter::from_fn(|| self.within(silence)).collect()
    }

    /// The messages among that: a heartbeat's first ping may come at any moment, and is none.
    pub fn messages_for_a_while(&self, silence: Duration) -> Vec<Value> {
        self.for_a_while(silence).into_iter().filter(|said| said["ping"].is_null()).collect()
    }

    /// Sends a text message.
    pub fn send(&mut self, text: &str) {
        self.act(&json!({ "text": text }));
    }

    /// Sends a binary message, given in base64.
    pub fn send_b64(&mut self, b64: &str) {
        self.act(&json!({ "b64": b64 }));
    }

    /// Closes the socket as a client does, and waits until the gateway has answered.
    pub fn close(mut self) {
        self.act(&json!({ "close": [1000, "bye"] }));
        while self.next()["close"].is_null() {}
    }

    /// Stops the process as it stands: the socket stays open and nobody answers.
    pub fn freeze(&self) {
        signal(self.process.id(), "STOP");
    }

    fn start(language: Language, url: &str, subprotocol: &str) -> Self {
        let clients = repository().join("tests/clients");
        let mut command = match language {
            Language::Node | Language::Chromium => Command::new("node"),
            Language::Python | Language::Requests => Command::new(repository().join("tests/.tools/venv/bin/python")),
        };
        command.arg(clients.join(match language {
            Language::Node => "subscribe.mjs",
            Language::Python => "subscribe.py",
            Language::Chromium => "chromium.mjs",
            Language::Requests => "events.py",
        }));
        command.args([url, subprotocol, "0", "300"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|e| panic!("{language:?} client: {e}; run tests/setup.sh"));
        let (sender, said) = channel();
        let stdout = process.stdout.take().expect("piped");
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let said = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
                if sender.send(said).is_err() {
                    return;
                }
            }
        });
        let stdin = process.stdin.take().expect("piped");
        let name = format!("{language:?} client of {url}");
        Self { process, stdin, said, name, language, extensions: String::new() }
    }

    /// Lets a browser end its processes and remove its profile first.
    fn clear_away(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let asked = matches!(self.process.try_wait(), Ok(None));
        if asked {
            let _ = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        }
        while asked && matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn within(&self, time: Duration) -> Option<Value> {
        self.said.recv_timeout(time).ok()
    }

    fn act(&mut self, order: &Value) {
        writeln!(self.stdin, "{order}").unwrap_or_else(|e| panic!("{}: {e}", self.name));
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        if let Language::Chromium = self.language {
            self.clear_away();
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
