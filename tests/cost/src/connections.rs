//! Connections from accept to close, by a whole gateway with its default settings and clients that own no heap.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use fanline::config::{self, Override, Sources};
use fanline::frame;
use fanline::metrics::Metrics;
use fanline::protocol::Form;
use fanline::server::{Server, Stop, raise_descriptors};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::allocator::{Asked, count};

/// Those who come and go before the counting begins: every table has what it keeps by then.
const WARM: usize = 256;
/// A client's frames, masked with zeros: a ping and a farewell.
const PING: [u8; 6] = [0x89, 0x80, 0, 0, 0, 0];
const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8];
/// How long a gateway may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many come, listen to one topic, and stay.
pub fn stay(times: usize) -> anyhow::Result<Asked> {
    let gateway = Gateway::start()?;
    gateway.come_and_go(WARM)?;
    let mut clients = Vec::with_capacity(times);
    let asked = count(|| {
        for _ in 0..times {
            clients.push(Client::connect(gateway.public, "all", 0)?);
        }
        Ok(())
    })?;
    ensure!(gateway.connections() == times as i64 + 1, "{} connections", gateway.connections());
    drop(clients);
    gateway.stop()?;
    Ok(asked)
}

/// So many come one after the other, each listening to a topic of its own, and go.
pub fn come_and_go(times: usize) -> anyhow::Result<Asked> {
    let mut gateway = Gateway::start()?;
    gateway.come_and_go(WARM)?;
    gateway.settle()?;
    let asked = count(|| {
        gateway.come_and_go(times)?;
        gateway.settle()
    })?;
    gateway.stop()?;
    Ok(asked)
}

/// A gateway on a thread of its own: one thread, so that it does the same in the same order each time.
struct Gateway {
    public: SocketAddr,
    metrics: Arc<Metrics>,
    /// One client that stays: who has been answered knows that all before it is done.
    witness: Client,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Gateway {
    fn start() -> anyhow::Result<Self> {
        let keys = [("public.listen", "127.0.0.1:0"), ("internal.listen", "127.0.0.1:0")];
        let keys = keys.into_iter().chain([("replica.shards", "1"), ("drain.delay", "0s")]);
        let flag = |(key, value): (&str, &str)| Override { flag: key.into(), key: key.into(), value: value.into() };
        let sources = Sources { flags: keys.map(flag).collect(), ..Sources::default() };
        let settings = config::load(&sources).map_err(|mistakes| anyhow!("{mistakes}"))?.settings;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let metrics = Arc::new(Metrics::new());
        let server = runtime.block_on(Server::bind(settings, raise_descriptors(), metrics.clone()))?;
        let public = server.public_address()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            runtime.block_on(server.run(async move {
                drop(stopped.await);
                Stop::Supervisor
            }));
        });
        Ok(Self { public, metrics, witness: Client::connect(public, "all", 0)?, stop, thread })
    }

    fn connections(&self) -> i64 {
        self.metrics.connections.of(Form::Plain).get()
    }

    fn come_and_go(&self, times: usize) -> anyhow::Result<()> {
        (0..times).try_for_each(|number| Client::connect(self.public, "own", number)?.leave())
    }

    /// Waits until all but the witness are gone, and their topics with them.
    fn settle(&mut self) -> anyhow::Result<()> {
        let mut left = PATIENCE.as_millis();
        while self.connections() > 1 || self.metrics.subscriptions.get() > 1 || self.metrics.topics.get() > 1 {
            left = left.checked_sub(1).context("not all connections end")?;
            thread::sleep(Duration::from_millis(1));
        }
        self.witness.prove()
    }

    fn stop(self) -> anyhow::Result<()> {
        self.witness.leave()?;
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| anyhow!("the gateway panicked"))
    }
}

/// A client that owns a socket and nothing else.
struct Client(TcpStream);

impl Client {
    /// One that listens to topic `<name><number>`, and whose pump is seen to run.
    fn connect(to: SocketAddr, name: &str, number: usize) -> anyhow::Result<Self> {
        let mut socket = TcpStream::connect(to)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut request = [0; 256];
        let mut rest = &mut request[..];
        write!(rest, "GET /ws?topic={name}{number} HTTP/1.1\r\nHost: cost\r\nConnection: Upgrade\r\n")?;
        write!(rest, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")?;
        write!(rest, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")?;
        let left = rest.len();
        socket.write_all(&request[..request.len() - left])?;
        let mut client = Self(socket);
        client.opened()?;
        client.prove()?;
        Ok(client)
    }

    fn opened(&mut self) -> anyhow::Result<()> {
        let (mut answer, mut len) = ([0; 1024], 0);
        while !answer[..len].ends_with(b"\r\n\r\n") {
            let read = self.0.read(&mut answer[len..])?;
            ensure!(read > 0, "no upgrade: {}", String::from_utf8_lossy(&answer[..len]));
            len += read;
        }
        ensure!(answer.starts_with(b"HTTP/1.1 101 "), "no upgrade: {}", String::from_utf8_lossy(&answer[..len]));
        Ok(())
    }

    /// A ping and its pong.
    fn prove(&mut self) -> anyhow::Result<()> {
        self.0.write_all(&PING)?;
        let pong = self.head()?;
        ensure!(pong == [0x8A, 0], "no pong but {pong:?}");
        Ok(())
    }

    /// Says goodbye, and waits for the gateway's.
    fn leave(mut self) -> anyhow::Result<()> {
        self.0.write_all(&CLOSE)?;
        let (farewell, mut code) = (self.head()?, [0; 2]);
        self.0.read_exact(&mut code)?;
        ensure!(farewell == [0x88, 2] && code == [0x03, 0xE8], "no farewell but {farewell:?} {code:?}");
        ensure!(self.0.read(&mut code)? == 0, "more after the farewell");
        Ok(())
    }

    /// The head of the next frame. The gateway's own pings are passed over: who is slow may get one.
    fn head(&mut self) -> anyhow::Result<[u8; 2]> {
        let mut head = [0; 2];
        loop {
            self.0.read_exact(&mut head)?;
            if head != frame::PING {
                return Ok(head);
            }
        }
    }
}
