//! As much HTTP as asking a replica takes, without holding up the clients of the same runtime.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Far above what a replica may take for any answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Status and body.
pub type Answer = (u16, String);

pub async fn get(at: SocketAddr, path: &str) -> io::Result<Answer> {
    ask(at, &format!("GET {path} HTTP/1.1\r\n"), "").await
}

pub async fn post(at: SocketAddr, path: &str, json: &Value) -> io::Result<Answer> {
    ask(at, &format!("POST {path} HTTP/1.1\r\nContent-Type: application/json\r\n"), &json.to_string()).await
}

/// `/metrics`, by series.
pub async fn metrics(at: SocketAddr) -> io::Result<BTreeMap<String, f64>> {
    let (_, page) = get(at, "/metrics").await?;
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    Ok(lines
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, n)| Some((name.into(), n.parse().ok()?)))
        .collect())
}

async fn ask(at: SocketAddr, head: &str, body: &str) -> io::Result<Answer> {
    let exchange = async {
        let mut socket = TcpStream::connect(at).await?;
        let request = format!("{head}Host: {at}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = timeout(PATIENCE, exchange).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    Ok((status, body.to_owned()))
}
