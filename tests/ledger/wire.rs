//! One socket of a json client, and what is said on it.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// A handshake that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Small, because there are thousands of clients in one process.
const BUFFER: usize = 4 * 1024;

/// A socket that stands.
pub struct Socket(WebSocketStream<TcpStream>);

/// Why there is no socket, and how long to wait before the next try, where that was said.
pub struct Refused(pub Option<Duration>);

/// What came.
pub enum Heard {
    Told(Box<Told>),
    /// The socket is closed, and how long to wait, where that was said.
    Closed(Option<Duration>),
}

/// An event of the json protocol, as far as the crowd reads it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Told {
    #[serde(rename = "type")]
    pub kind: String,
    pub topic: String,
    pub topics: Vec<String>,
    pub text: String,
    pub live: bool,
    pub recovered: Option<bool>,
    pub position: Option<String>,
    pub reason: String,
    pub since: Value,
    pub until: Value,
    pub retry_ms: Option<u64>,
    pub code: Value,
    pub message: String,
}

impl Socket {
    pub async fn open(door: SocketAddr) -> Result<Self, Refused> {
        timeout(PATIENCE, Self::shake(door)).await.unwrap_or(Err(Refused(None)))
    }

    async fn shake(door: SocketAddr) -> Result<Self, Refused> {
        let stream = TcpStream::connect(door).await.map_err(|_| Refused(None))?;
        let _ = stream.set_nodelay(true);
        let mut request = format!("ws://{door}/ws").into_client_request().map_err(|_| Refused(None))?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("fanline.json"));
        let config = WebSocketConfig::default().read_buffer_size(BUFFER).write_buffer_size(0);
        match client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(answer)) => Err(Refused(retry_after(&answer))),
            Err(_) => Err(Refused(None)),
        }
    }

    pub async fn say(&mut self, command: &Value) {
        // A socket that is broken says so to whoever reads it.
        let _ = self.0.send(Message::text(command.to_string())).await;
    }

    /// Can be given up without losing anything.
    pub async fn next(&mut self) -> Heard {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                    Ok(told) => return Heard::Told(Box::new(told)),
                    Err(error) => panic!("not of the json protocol: {error}: {text}"),
                },
                Some(Ok(Message::Close(close))) => {
                    return Heard::Closed(close.and_then(|close| retry_ms(&close.reason)));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Heard::Closed(None),
            }
        }
    }
}

fn retry_ms(reason: &str) -> Option<Duration> {
    let reason: Value = serde_json::from_str(reason).ok()?;
    reason["retry_ms"].as_u64().map(Duration::from_millis)
}

fn retry_after<T>(answer: &Response<T>) -> Option<Duration> {
    let seconds = answer.headers().get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
