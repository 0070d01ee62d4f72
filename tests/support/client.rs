//! A blocking WebSocket client (tungstenite) and bare HTTP, each read with a deadline.

#![allow(dead_code, reason = "each test binary uses its own part of the fixture")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Error, Message, WebSocket};

use crate::gateway::{Answer, Gateway, PATIENCE};

/// The head of a handshake as every browser sends it, but for path and host.
pub const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// One socket.
pub struct Client {
    socket: WebSocket<TcpStream>,
    /// The subprotocol that the gateway chose.
    pub subprotocol: String,
}

impl Client {
    /// Connects to a URL of [`Gateway::ws_url`].
    #[track_caller]
    pub fn open(url: &str) -> Self {
        Self::open_as(url, None)
    }

    /// Connects with a subprotocol.
    #[track_caller]
    pub fn open_as(url: &str, subprotocol: Option<&str>) -> Self {
        let host = url.trim_start_matches("ws://").split('/').next().unwrap();
        Self::over(TcpStream::connect(host).unwrap(), url, subprotocol).unwrap_or_else(|e| panic!("{url}: {e}"))
    }

    /// Shakes hands over a socket that stands already.
    pub fn over(stream: TcpStream, url: &str, subprotocol: Option<&str>) -> Result<Self, String> {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = url.into_client_request().unwrap();
        if let Some(subprotocol) = subprotocol {
            request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_str(subprotocol).unwrap());
        }
        let (socket, response) = tungstenite::client(request, stream).map_err(|error| error.to_string())?;
        let chosen = response.headers().get("sec-websocket-protocol");
        let subprotocol = chosen.map_or(String::new(), |chosen| chosen.to_str().unwrap().to_owned());
        Ok(Self { socket, subprotocol })
    }

    /// A json client that listens to these topics, all live.
    #[track_caller]
    pub fn json(gateway: &Gateway, topics: &[&str]) -> Self {
        let mut client = Self::json_open(gateway);
        client.subscribe(topics);
        client
    }

    /// A json client that was welcomed.
    #[track_caller]
    pub fn json_open(gateway: &Gateway) -> Self {
        let mut client = Self::open_as(&gateway.ws_url("/ws"), Some("fanline.json"));
        client.until("welcome");
        client
    }

    /// Subscribes and waits until all of it is live.
    #[track_caller]
    pub fn subscribe(&mut self, topics: &[&str]) {
        if topics.is_empty() {
            return;
        }
        self.say(&json!({ "type": "subscribe", "topics": topics }));
        for _ in topics {
            let told = self.until("subscribed");
            assert_eq!(told["live"], true, "{told}");
        }
    }

    /// The next message, control frames but a close left out.
    #[track_caller]
    pub fn next(&mut self) -> Message {
        self.within(PATIENCE).unwrap_or_else(|| panic!("nothing more came within {PATIENCE:?}"))
    }

    /// The next message, if one comes in time.
    #[track_caller]
    pub fn within(&mut self, time: Duration) -> Option<Message> {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.socket.get_ref().set_read_timeout(Some(left)).unwrap();
            match self.socket.read() {
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Ok(message) => return Some(message),
                Err(Error::Io(error)) if is_for_now(error.kind()) => {
                    if Instant::now() >= deadline {
                        return None;
                    }
                }
                Err(error) => panic!("the connection broke: {error}"),
            }
        }
    }

    /// The next message's bytes, and whether it was a text.
    #[track_caller]
    pub fn payload(&mut self) -> (Vec<u8>, bool) {
        match self.next() {
            Message::Text(text) => (text.as_bytes().to_vec(), true),
            Message::Binary(bytes) => (bytes.to_vec(), false),
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// The next message, a text.
    #[track_caller]
    pub fn text(&mut self) -> String {
        match self.next() {
            Message::Text(text) => text.as_str().to_owned(),
            other => panic!("expected a text, got {other:?}"),
        }
    }

    /// The next message, JSON.
    #[track_caller]
    pub fn told(&mut self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The next event of this type; what comes before it is passed over.
    #[track_caller]
    pub fn until(&mut self, kind: &str) -> Value {
        loop {
            let told = self.told();
            if told["type"] == kind {
                return told;
            }
        }
    }

    /// Everything told until an event of this type, that one included.
    #[track_caller]
    pub fn all_until(&mut self, kind: &str) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            all.push(self.told());
            if all.last().unwrap()["type"] == kind {
                return all;
            }
        }
    }

    /// Asks for a pong and answers all that was told before it: what was not told by then never will be.
    #[track_caller]
    pub fn told_so_far(&mut self) -> Vec<Value> {
        self.say(&json!({ "type": "ping" }));
        let mut all = self.all_until("pong");
        all.pop();
        all
    }

    /// Waits for a ping frame.
    #[track_caller]
    pub fn ping(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.socket.read() {
                Ok(Message::Ping(_)) => return,
                Ok(Message::Close(close)) => panic!("closed: {close:?}"),
                Ok(_) => {}
                Err(Error::Io(error)) if is_for_now(error.kind()) => {}
                Err(error) => panic!("the connection broke: {error}"),
            }
        }
        panic!("no ping came");
    }

    /// Code and reason of the close, which must be what comes next.
    #[track_caller]
    pub fn closed(&mut self) -> (u16, String) {
        match self.next() {
            Message::Close(Some(close)) => (close.code.into(), close.reason.as_str().to_owned()),
            other => panic!("expected a close, got {other:?}"),
        }
    }

    /// Everything until the close, its code and its reason.
    #[track_caller]
    pub fn rest(&mut self) -> (Vec<Message>, u16, String) {
        let mut all = Vec::new();
        loop {
            match self.next() {
                Message::Close(close) => {
                    let (code, reason) = close
                        .map_or((1005, String::new()), |close| (close.code.into(), close.reason.as_str().to_owned()));
                    return (all, code, reason);
                }
                other => all.push(other),
            }
        }
    }

    /// Sends a command.
    #[track_caller]
    pub fn say(&mut self, command: &Value) {
        self.send(Message::text(command.to_string()));
    }

    /// Sends a message.
    #[track_caller]
    pub fn send(&mut self, message: Message) {
        self.socket.send(message).unwrap();
    }

    /// The socket below, for bytes that no library would send.
    pub fn raw(&mut self) -> &mut TcpStream {
        self.socket.get_mut()
    }
}

/// Whether a read may be tried again; one with a deadline is interrupted by any signal.
fn is_for_now(error: ErrorKind) -> bool {
    matches!(error, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// The hint in a close's reason, in ms.
pub fn retry_ms(reason: &str) -> u64 {
    let reason: Value = serde_json::from_str(reason).unwrap_or_else(|error| panic!("{error}: {reason}"));
    reason["retry_ms"].as_u64().expect("a number")
}

/// Says something bare to an address and reads one HTTP answer.
///
/// # Panics
/// When there is no whole answer in time.
#[track_caller]
pub fn exchange(to: SocketAddr, request: &[u8]) -> Answer {
    let mut socket = TcpStream::connect(to).unwrap();
    socket.write_all(request).unwrap();
    answer(&mut socket).expect("an HTTP answer")
}

/// Reads one HTTP answer, its body by its length; none where the peer closes first.
pub fn answer(socket: &mut TcpStream) -> Option<Answer> {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(answer) = parse(&bytes) {
            return Some(answer);
        }
        match socket.read(&mut chunk) {
            Ok(0) => return None,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("no answer: {error}"),
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    // Behind a 101 frames may stand already, which are no text.
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 4..]);
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let status = head.split(' ').nth(1)?.parse().ok()?;
    (body.len() >= length.unwrap_or(0)).then(|| Answer {
        status,
        head: head.to_owned(),
        body: String::from_utf8_lossy(body).into_owned(),
    })
}

/// A handshake on the public listener with more header lines, each ended by `\r\n`; answers what it is told.
#[track_caller]
pub fn knock(gateway: &Gateway, path: &str, more: &str) -> Answer {
    exchange(gateway.public(), format!("GET {path} HTTP/1.1\r\nHost: fanline\r\n{HANDSHAKE}{more}\r\n").as_bytes())
}

/// The value of a header line of an answer.
pub fn header(answer: &Answer, name: &str) -> Option<String> {
    let mut lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
}
