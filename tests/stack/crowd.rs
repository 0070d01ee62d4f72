//! Clients that connect through the balancer, come back as the README's page does, and note what they live through.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::gateway::eventually;

type Socket = WebSocketStream<TcpStream>;

/// One stay with a replica.
#[derive(Debug, Clone)]
pub struct Stay {
    /// `r1`…
    pub replica: String,
    /// The code it was closed with, or 0 where the socket broke; none while it lasts.
    pub end: Option<u16>,
}

/// What one client lived through.
#[derive(Debug, Default)]
pub struct Diary {
    pub stays: Vec<Stay>,
    pub heard: Vec<Value>,
    /// Its stay has begun to bring messages.
    pub listens: bool,
    /// Where it goes on.
    position: Option<String>,
    /// It came and was not let in.
    pub turned_away: Vec<String>,
    /// What must not be: a gap, an error, a history that does not go on.
    pub faults: Vec<String>,
}

impl Diary {
    /// The replica that it is with.
    pub fn with(&self) -> Option<&str> {
        self.stays.last().filter(|stay| stay.end.is_none()).map(|stay| &*stay.replica)
    }

    /// What is wrong with the numbers that it heard; they are from 0 to below `count`.
    fn judge(&self, count: usize) -> Vec<String> {
        let numbers: Vec<_> = self.heard.iter().map(|data| data["n"].as_u64().unwrap()).collect();
        let due: Vec<_> = (0..count as u64).collect();
        let mut wrong = self.faults.clone();
        if numbers != due {
            let odd = numbers.iter().zip(&due).position(|(heard, due)| heard != due);
            let odd = odd.unwrap_or(numbers.len().min(due.len()));
            let around = &numbers[odd.saturating_sub(2)..numbers.len().min(odd + 3)];
            wrong.push(format!("heard {} of {count}; at {odd}: {around:?}; {:?}", numbers.len(), self.stays));
        }
        wrong
    }
}

/// Many clients on one topic.
pub struct Crowd {
    diaries: Vec<Arc<Mutex<Diary>>>,
    _runtime: Runtime,
}

impl Crowd {
    /// Lets them in, one after the other so that least-connections can count, and waits until all listen.
    pub fn gather(size: usize, front: SocketAddr, topic: &str) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut crowd = Self { diaries: Vec::new(), _runtime: runtime };
        for _ in 0..size {
            let diary = Arc::<Mutex<Diary>>::default();
            crowd._runtime.spawn(live(front, topic.to_owned(), Arc::clone(&diary)));
            eventually("a client listens", || diary.lock().unwrap().listens.then_some(()));
            crowd.diaries.push(diary);
        }
        crowd
    }

    pub fn each(&self) -> impl Iterator<Item = MutexGuard<'_, Diary>> {
        self.diaries.iter().map(|diary| diary.lock().unwrap())
    }

    /// How many clients each of these replicas has.
    pub fn spread(&self, replicas: &[&str]) -> Vec<usize> {
        let with: Vec<_> = self.each().filter_map(|diary| diary.with().map(ToOwned::to_owned)).collect();
        replicas.iter().map(|name| with.iter().filter(|one| one == name).count()).collect()
    }

    /// How many of them stand in a list of how their stays ended, with whom.
    pub fn ends(&self, replica: &str, code: u16) -> usize {
        let is_it = |stay: &Stay| stay.replica == replica && stay.end == Some(code);
        self.each().filter(|diary| diary.stays.iter().any(is_it)).count()
    }

    /// How many stays have ended at all.
    pub fn all_ends(&self) -> usize {
        self.each().map(|diary| diary.stays.iter().filter(|stay| stay.end.is_some()).count()).sum()
    }

    pub fn turned_away(&self) -> Vec<String> {
        self.each().flat_map(|diary| diary.turned_away.clone()).collect()
    }

    pub fn all_listen(&self) {
        eventually("everybody listens", || self.each().all(|diary| diary.listens).then_some(()));
    }

    /// Waits until everybody has heard the last of `count`, and holds what each heard against them.
    pub fn judge(&self, count: usize) {
        let last = |diary: &Diary| diary.heard.last().and_then(|data| data["n"].as_u64()) == Some(count as u64 - 1);
        let late = || self.each().filter(|diary| !last(diary)).count();
        eventually("everybody has heard the last", || (late() == 0).then_some(()));
        let wrong: Vec<_> = self.each().flat_map(|diary| diary.judge(count)).collect();
        assert!(wrong.is_empty(), "{} faults: {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    }
}

/// Until its runtime ends.
async fn live(front: SocketAddr, topic: String, diary: Arc<Mutex<Diary>>) {
    loop {
        let wait = match knock(front).await {
            Ok((socket, replica)) => {
                diary.lock().unwrap().stays.push(Stay { replica, end: None });
                let (code, wait) = stay(socket, &topic, &diary).await;
                let mut diary = diary.lock().unwrap();
                diary.listens = false;
                diary.stays.last_mut().unwrap().end = Some(code);
                wait
            }
            Err(why) => {
                diary.lock().unwrap().turned_away.push(why);
                None
            }
        };
        // A socket that broke said nothing; then nobody has anything to wait for but everybody else.
        tokio::time::sleep(wait.unwrap_or_else(|| Duration::from_millis(fastrand::u64(100..600)))).await;
    }
}

async fn knock(front: SocketAddr) -> Result<(Socket, String), String> {
    let mut request = format!("ws://{front}/ws").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("fanline.json"));
    let stream = TcpStream::connect(front).await.map_err(|e| e.to_string())?;
    let (mut socket, _) = client_async(request, stream).await.map_err(|e| e.to_string())?;
    let welcome = socket.next().await.ok_or("hung up")?.map_err(|e| e.to_string())?;
    let welcome: Value = serde_json::from_str(welcome.to_text().unwrap_or_default()).map_err(|e| e.to_string())?;
    let replica = welcome["connection"].as_str().and_then(|id| id.split('-').next());
    Ok((socket, replica.ok_or("no welcome")?.to_owned()))
}

/// Answers the code that it ended with, and how long to stay away.
async fn stay(mut socket: Socket, topic: &str, diary: &Mutex<Diary>) -> (u16, Option<Duration>) {
    let since = diary.lock().unwrap().position.clone();
    let subscribe = json!({ "type": "subscribe", "topics": { topic: since } });
    let mut wait = None;
    let _ = socket.send(Message::text(subscribe.to_string())).await;
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) => {
                let event: Value = serde_json::from_str(&text).unwrap();
                wait = wait.or_else(|| event["retry_ms"].as_u64().map(Duration::from_millis));
                note(&event, since.is_some(), &mut diary.lock().unwrap());
            }
            Message::Close(close) => {
                let code = close.as_ref().map_or(0, |close| close.code.into());
                while let Some(Ok(_)) = socket.next().await {}
                return (code, wait);
            }
            _ => {}
        }
    }
    (0, wait)
}

fn note(event: &Value, again: bool, diary: &mut Diary) {
    if let Some(position) = event["position"].as_str() {
        diary.position = Some(position.to_owned());
    }
    match event["type"].as_str().unwrap_or_default() {
        "message" => diary.heard.push(event["data"].clone()),
        "subscribed" if again && event["recovered"] != true => diary.faults.push(event.to_string()),
        "subscribed" => diary.listens = true,
        "goodbye" => {}
        _ => diary.faults.push(event.to_string()),
    }
}
