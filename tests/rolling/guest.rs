//! One client: listens, is sent away, waits as long as it was told, comes back and resumes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fanline::position::Position;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::diary::{Diary, Heard, Return};
use crate::house::{Shared, topic};

/// A socket costs little: messages are small.
const BUFFER: usize = 2 * 1024;

/// How long a client waits that was turned away without a word, give or take a half.
const TURNED_AWAY: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<TcpStream>;

/// One client.
pub struct Guest {
    shared: Arc<Shared>,
    front: SocketAddr,
    diary: Diary,
    /// It was sent away, and has not come back.
    away: Option<Away>,
}

struct Away {
    from: String,
    closed: Duration,
    wait: Duration,
}

/// What the gateway says, as far as it matters here.
#[derive(Deserialize)]
struct Event<'e> {
    #[serde(rename = "type")]
    kind: &'e str,
    #[serde(borrow)]
    connection: Option<&'e str>,
    position: Option<&'e str>,
    recovered: Option<bool>,
    live: Option<bool>,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    n: usize,
    at: u64,
    last: bool,
}

impl Guest {
    pub fn new(shared: Arc<Shared>, front: SocketAddr, topic: usize) -> Self {
        Self { shared, front, diary: Diary::of(topic), away: None }
    }

    /// Until it has heard the last of its topic, or all is over.
    pub async fn live(mut self) -> Diary {
        let over = self.shared.over.clone();
        tokio::select! {
            () = self.visits() => {}
            () = over.cancelled() => {}
        }
        self.diary
    }

    async fn visits(&mut self) {
        while !self.diary.is_whole {
            let knocked = self.shared.now();
            match self.knock().await {
                Ok((socket, name)) => self.visit(socket, name, knocked).await,
                Err(why) => {
                    self.diary.turned_away.push(why);
                    tokio::time::sleep(TURNED_AWAY.mul_f64(0.5 + fastrand::f64())).await;
                }
            }
        }
    }

    /// Connects; answers the socket and the name of the replica.
    async fn knock(&self) -> Result<(Socket, String), String> {
        let shared = self.shared.clone();
        let _turn = if self.diary.came { None } else { shared.door.acquire().await.ok() };
        let mut request = format!("ws://{}/ws", self.front).into_client_request().map_err(|e| e.to_string())?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("fanline.json"));
        let stream = TcpStream::connect(self.front).await.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let config = WebSocketConfig::default().read_buffer_size(BUFFER);
        let shaken = client_async_with_config(request, stream, Some(config)).await;
        let (mut socket, _) = shaken.map_err(|error| error.to_string())?;
        let welcome = socket.next().await.ok_or("hung up")?.map_err(|error| error.to_string())?;
        let text = welcome.to_text().map_err(|error| error.to_string())?;
        let event: Event = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
        let name = event.connection.and_then(|id| id.split('-').next()).ok_or("no welcome")?.to_owned();
        Ok((socket, name))
    }

    /// Listens until it is sent away.
    async fn visit(&mut self, mut socket: Socket, name: String, knocked: Duration) {
        let since = self.diary.last.map(|position| position.to_string());
        let mut command = json!({ "type": "subscribe", "topic": topic(self.diary.topic), "id": 1 });
        if let Some(since) = since {
            command["since"] = since.into();
        }
        let mut said = socket.send(Message::text(command.to_string())).await.map(|()| None);
        let mut listening = None;
        while let Ok(None) = said {
            said = match socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    self.hear(&text, knocked, &mut listening);
                    if self.diary.is_whole {
                        return;
                    }
                    Ok(None)
                }
                Some(Ok(Message::Close(close))) => Ok(Some(close)),
                Some(Ok(_)) => Ok(None),
                Some(Err(error)) => Err(error),
                None => Err(Error::ConnectionClosed),
            };
        }
        if listening.is_some() {
            self.shared.listening.fetch_sub(1, Ordering::Relaxed);
        }
        match said {
            Ok(close) => self.leave(socket, name, close.flatten()).await,
            Err(error) => {
                self.diary.faults.push(format!("the socket to {name} broke: {error}"));
                tokio::time::sleep(TURNED_AWAY).await;
            }
        }
    }

    /// Notes what it is told.
    fn hear(&mut self, text: &str, knocked: Duration, listening: &mut Option<Duration>) {
        let event: Event = match serde_json::from_str(text) {
            Ok(event) => event,
            Err(error) => return self.diary.faults.push(format!("{error}: {text}")),
        };
        let now = self.shared.now();
        let position: Option<Position> = event.position.and_then(|position| position.parse().ok());
        match (event.kind, event.data, position) {
            ("message", Some(data), Some(position)) => {
                let sent = Duration::from_micros(data.at);
                let waited = listening.is_some_and(|since| since < sent).then(|| now - sent);
                self.diary.hear(Heard { n: data.n, position }, waited);
                self.diary.is_whole = data.last;
            }
            ("subscribed", _, Some(position)) => {
                *listening = Some(now);
                self.shared.listening.fetch_add(1, Ordering::Relaxed);
                if event.live != Some(true) || self.diary.came && event.recovered != Some(true) {
                    self.diary.faults.push(format!("after {:?}: {text}", self.diary.last));
                }
                self.diary.begin(position);
                if let Some(Away { from, closed, wait }) = self.away.take() {
                    self.diary.returns.push(Return { from, closed, wait, knocked, back: now });
                }
            }
            ("goodbye", ..) => {}
            _ => self.diary.faults.push(format!("unexpected: {text}")),
        }
    }

    /// Notes why it is sent away, closes its end, and waits as it was told.
    async fn leave(&mut self, mut socket: Socket, from: String, close: Option<CloseFrame>) {
        let closed = self.shared.now();
        let (code, reason) = close.map_or((0, String::new()), |close| (close.code.into(), close.reason.to_string()));
        // The library's answer to the close goes out as the rest is read.
        while let Some(Ok(_)) = socket.next().await {}
        drop(socket);
        let hint = serde_json::from_str(&reason).ok().and_then(|reason: serde_json::Value| reason["retry_ms"].as_u64());
        let (1012, Some(retry_ms)) = (code, hint) else {
            return self.diary.faults.push(format!("closed by {from} with {code} {reason}"));
        };
        let wait = Duration::from_millis(retry_ms);
        self.away = Some(Away { from, closed, wait });
        tokio::time::sleep(wait.saturating_sub(self.shared.now() - closed)).await;
    }
}
