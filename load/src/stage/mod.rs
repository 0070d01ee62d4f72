//! What a bench starts: one Redis for all, floors, and the gateway, each on a free port.

pub mod machine;
pub mod process;
pub mod scrape;
pub mod started;
pub mod urgent;

use crate::{
    crowd::apart::{Apart, Priority},
    crowd::server::Server,
    stage::scrape::Scrape,
    stage::started::{Cores, Started},
};
use anyhow::{Context, Result};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

/// The channels' prefix on the bench's own Redis: the gateway's default.
pub const PREFIX: &str = "fanline:";
/// A gateway says ready once its first canary came back.
const READY: Duration = Duration::from_secs(20);

/// Redis, the cores, and where logs go.
pub struct Stage {
    pub cores: Cores,
    pub redis: SocketAddr,
    shared: Redis,
    home: TempDir,
    gateway: Option<Gateway>,
}

/// A Redis of ours, beside the load.
pub struct Redis {
    pub address: SocketAddr,
    started: Started,
    home: PathBuf,
}

/// How the gateway is started.
#[derive(Debug, Clone)]
pub struct Gateway {
    pub binary: PathBuf,
    /// Flags behind the ones that place it.
    pub args: Vec<String>,
}

/// A measured server.
pub struct Measured {
    pub name: &'static str,
    pub server: Server,
    internal: Option<SocketAddr>,
    started: Started,
}

impl Measured {
    pub fn pid(&self) -> u32 {
        self.started.pid()
    }

    /// What it says of itself now; a floor says nothing.
    pub fn scrape(&self) -> Result<Scrape> {
        Scrape::of(self.internal.context("a floor has no metrics")?)
    }
}

impl Redis {
    fn start(home: &Path) -> Result<Self> {
        let address = free_port()?;
        Ok(Self { address, started: Self::process(address, home)?, home: home.to_owned() })
    }

    fn process(address: SocketAddr, home: &Path) -> Result<Started> {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
        command.args(["--save", "", "--appendonly", "no"]).arg("--dir").arg(home);
        let mut started = Started::start("redis-server", &mut command, home)?;
        started.wait_until(|| TcpStream::connect(address).is_ok(), READY)?;
        Ok(started)
    }

    pub fn pid(&self) -> u32 {
        self.started.pid()
    }

    /// Ends it; everybody who was connected learns it at once.
    pub fn stop(&mut self) {
        self.started.end();
    }

    /// Starts it anew where it was; returns when it listens.
    pub fn start_again(&mut self) -> Result<()> {
        self.started = Self::process(self.address, &self.home)?;
        Ok(())
    }
}

impl Stage {
    /// Starts Redis, beside the load.
    pub fn set(gateway: Option<Gateway>) -> Result<Self> {
        let cores = Cores::split()?;
        let home = tempfile::tempdir().context("a directory for logs")?;
        let redis = Redis::start(home.path())?;
        Ok(Self { cores, redis: redis.address, shared: redis, home, gateway })
    }

    /// Where logs go, and what else a scenario needs to put down.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The process of the Redis that everybody shares.
    pub fn redis_pid(&self) -> u32 {
        self.shared.pid()
    }

    /// A second Redis, for who wants to restart it.
    pub fn another_redis(&self) -> Result<Redis> {
        Redis::start(self.home.path())
    }

    /// A crowd in a process of its own, beside the load.
    pub fn crowd(&self, priority: Priority) -> Result<Apart> {
        Apart::start(self.redis, PREFIX, self.home.path(), priority)
    }

    /// Starts a floor of ours.
    pub fn floor(&self) -> Result<Measured> {
        let address = free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["floor", "--listen", &address.to_string(), "--redis", &self.redis.to_string()]);
        command.args(["--prefix", PREFIX]);
        self.serve("floor", &mut command, Server::local(address))
    }

    /// Starts whatever server on the measured core; it is ready when it accepts.
    pub fn serve(&self, name: &'static str, command: &mut Command, server: Server) -> Result<Measured> {
        let mut started = self.cores.start_server(name, command, self.home.path())?;
        started.wait_until(|| TcpStream::connect(server.address).is_ok(), READY)?;
        Ok(Measured { name, server, internal: None, started })
    }

    /// Starts the gateway; `None` when the bench was given none.
    pub fn gateway(&self) -> Result<Option<Measured>> {
        self.gateway_with(&[])
    }

    /// Starts the gateway with flags more.
    pub fn gateway_with(&self, flags: &[&str]) -> Result<Option<Measured>> {
        self.gateway_on(self.redis, flags)
    }

    /// Starts the gateway on another Redis.
    pub fn gateway_on(&self, redis: SocketAddr, flags: &[&str]) -> Result<Option<Measured>> {
        let Some(gateway) = &self.gateway else { return Ok(None) };
        let (public, internal) = (free_port()?, free_port()?);
        let mut command = Command::new(&gateway.binary);
        command.args(["serve", "--redis-url", &format!("redis://{redis}")]);
        command.args(["--set", &format!("public.listen={public}"), "--set", &format!("internal.listen={internal}")]);
        command.args(flags).args(&gateway.args).current_dir(self.home.path());
        let mut started = self.cores.start_server("gateway", &mut command, self.home.path())?;
        started.wait_until(|| is_ready(internal) && TcpStream::connect(public).is_ok(), READY)?;
        Ok(Some(Measured { name: "gateway", server: Server::local(public), internal: Some(internal), started }))
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn is_ready(internal: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(internal)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(String::from_utf8_lossy(&head).into_owned())
    };
    ask().is_ok_and(|status| status == "HTTP/1.1 200")
}
