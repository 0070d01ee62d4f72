//! Producers: one a topic, each publishes again and again by any replica until it is acknowledged.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fanline::position::Position;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::haproxy::Place;
use crate::house::{Shared, topic};

/// How often a topic is published to.
const PACE: Duration = Duration::from_secs(1);

/// How long a replica may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was acknowledged on one topic.
#[derive(Default)]
pub struct Acknowledged {
    pub topic: usize,
    /// The position of each publication, by its number.
    pub positions: Vec<Position>,
    /// How often a replica did not acknowledge.
    pub tries_again: usize,
}

/// Publishes to a topic until `enough`, and then one more, the last.
pub async fn publish(shared: Arc<Shared>, places: [Place; 3], topic: usize, enough: CancellationToken) -> Acknowledged {
    let mut done = Acknowledged { topic, ..Acknowledged::default() };
    tokio::time::sleep(PACE.mul_f64(fastrand::f64())).await;
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let is_last = enough.is_cancelled();
        let number = done.positions.len();
        // The same one however often it takes, so that none is there twice.
        let request = json!({
            "topic": self::topic(topic),
            "idempotency_key": format!("{topic}.{number}"),
            "data": { "n": number, "at": shared.now().as_micros() as u64, "last": is_last },
        });
        let position = acknowledged(&places, &request.to_string(), &mut done).await;
        done.positions.push(position);
        if is_last {
            return done;
        }
    }
}

/// Asks one replica after the other until one acknowledges.
async fn acknowledged(places: &[Place; 3], request: &str, done: &mut Acknowledged) -> Position {
    let begin = fastrand::usize(..places.len());
    for nth in begin.. {
        let to = SocketAddr::from(([127, 0, 0, 1], places[nth % places.len()].internal));
        if let Ok(Ok(Some(position))) = timeout(PATIENCE, post(to, request)).await {
            return position;
        }
        done.tries_again += 1;
        tokio::time::sleep(PACE / 20).await;
    }
    unreachable!("there is always a next one")
}

async fn post(to: SocketAddr, body: &str) -> io::Result<Option<Position>> {
    let mut socket = TcpStream::connect(to).await?;
    let head = "POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close";
    socket.write_all(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    let body = answer.split_once("\r\n\r\n").filter(|_| answer.starts_with("HTTP/1.1 200")).map(|(_, body)| body);
    let answer: Option<Value> = body.and_then(|body| serde_json::from_str(body).ok());
    let topics = answer.as_ref().and_then(|answer| answer["topics"].as_object());
    let position = topics.and_then(|topics| topics.values().next()?["position"].as_str());
    Ok(position.and_then(|position| position.parse().ok()))
}
