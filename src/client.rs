//! The command line's own clients: listen, publish, healthcheck. No hot path: the field's usual libraries.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::settings::Settings;

/// How long a gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connects as a client and prints what arrives, one message a line; `count` messages, or for ever.
///
/// # Errors
/// No connection, or the gateway hung up.
pub async fn listen(url: &str, count: Option<u64>) -> anyhow::Result<()> {
    check(url)?;
    let opened = tokio::time::timeout(PATIENCE, tokio_tungstenite::connect_async(url)).await;
    let opened = opened.map_err(|_| anyhow!("cannot open {url}: no answer within {PATIENCE:?}"))?;
    let (mut socket, _) = opened.map_err(|error| unopened(url, error))?;
    // Nobody may read that.
    let _ = writeln!(io::stderr(), "listening on {url}");
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        let message = socket.next().await.context("the connection ended")?.context("the connection broke")?;
        let printed = match message {
            Message::Text(text) => print(text.as_bytes()),
            Message::Binary(bytes) => print(&bytes),
            Message::Close(reason) => {
                bail!("closed by the gateway: {}", reason.map_or_else(String::new, |r| r.to_string()))
            }
            _ => continue,
        };
        match printed {
            // A reader that has read enough, as `head` has, is no mistake.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            printed => printed.context("cannot print")?,
        }
        left -= 1;
    }
    Ok(())
}

/// Why a URL does not open: what the gateway answered where it answered.
fn unopened(url: &str, error: tungstenite::Error) -> anyhow::Error {
    match error {
        tungstenite::Error::Http(answer) => {
            let body = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            anyhow!("cannot open {url}: answered {}: {}", answer.status(), body.trim())
        }
        tungstenite::Error::Io(error) => {
            let hint = match error.kind() {
                io::ErrorKind::ConnectionRefused => {
                    ": no gateway listens there; a running one prints its address when it starts, as \"public ws://…\""
                }
                _ => "",
            };
            anyhow!("cannot open {url}: {error}{hint}")
        }
        error => anyhow!("cannot open {url}: {error}"),
    }
}

/// A URL that can be opened, before a connection is made that would be told as what is wrong with it.
fn check(url: &str) -> anyhow::Result<()> {
    match url.split_once("://") {
        Some(("ws", _)) => Ok(()),
        Some(("wss", _)) => {
            bail!("cannot open {url}: TLS ends at the proxy; write ws:// and the gateway's own address")
        }
        _ => bail!("cannot open {url}: this is no WebSocket's URL; write ws://host:port/path?topic=…"),
    }
}

fn print(message: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(message)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Publishes through the internal listener of the gateway that these settings describe, and answers what it says.
///
/// # Errors
/// No gateway there, or it refused.
pub async fn publish(settings: &Settings, topic: &str, text: &str) -> anyhow::Result<String> {
    // As it is, and not called text: what reads like JSON is JSON here, as with redis-cli.
    let path = format!("/api/publish?topic={}", utf8_percent_encode(topic, NON_ALPHANUMERIC));
    let (status, answer) = ask(settings, "POST", &path, text.to_owned()).await?;
    match status {
        StatusCode::OK => Ok(answer),
        _ => bail!("not published: {answer}"),
    }
}

/// Asks the gateway of these settings whether it is ready.
///
/// # Errors
/// It is not, or it is not there.
pub async fn healthcheck(settings: &Settings) -> anyhow::Result<String> {
    let (status, answer) = ask(settings, "GET", "/readyz", String::new()).await?;
    match status {
        StatusCode::OK => Ok(answer),
        _ => bail!("not ready: {answer}"),
    }
}

async fn ask(settings: &Settings, method: &str, path: &str, body: String) -> anyhow::Result<(StatusCode, String)> {
    let address = reachable(&settings.internal.listen);
    let asked = exchange(settings, &address, method, path, body);
    let answer = tokio::time::timeout(PATIENCE, asked).await.map_err(anyhow::Error::from).and_then(|answer| answer);
    answer.with_context(|| format!("no answer from the gateway's internal listener {address} (internal.listen)"))
}

async fn exchange(
    settings: &Settings,
    address: &str,
    method: &str,
    path: &str,
    body: String,
) -> anyhow::Result<(StatusCode, String)> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let mut request = Request::builder().method(method).uri(path).header("host", address);
    if let Some(key) = settings.internal.api_keys.first() {
        request = request.header("x-api-key", key.secret.reveal());
    }
    let request = request.body(Full::new(Bytes::from(body)))?;
    let answer = async { read(sender.send_request(request).await?).await };
    // The exchange ends with its answer; until then the connection must be driven.
    let driven = async {
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        answer = answer => answer,
        nothing = driven => nothing,
    }
}

async fn read(answer: hyper::Response<hyper::body::Incoming>) -> anyhow::Result<(StatusCode, String)> {
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// An address to connect to, for one to listen on: "every address" is reached on loopback.
fn reachable(listen: &str) -> String {
    let here = listen.replace("0.0.0.0", "127.0.0.1");
    here.replace("[::]", "[::1]")
}
