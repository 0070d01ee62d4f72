//! What a bench starts: one Redis for all, floors, and the gateway, each on a free port.

pub mod machine;
pub mod process;
pub mod started;

use crate::{
    crowd::server::Server,
    stage::started::{Cores, Started},
};
use anyhow::{Context, Result};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
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
    _redis: Started,
    home: TempDir,
    gateway: Option<Gateway>,
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
    started: Started,
}

impl Measured {
    pub fn pid(&self) -> u32 {
        self.started.pid()
    }
}

impl Stage {
    /// Starts Redis, beside the load.
    pub fn set(gateway: Option<Gateway>) -> Result<Self> {
        let cores = Cores::split()?;
        let home = tempfile::tempdir().context("a directory for logs")?;
        let redis = free_port()?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &redis.port().to_string(), "--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(home.path());
        let mut started = Started::start("redis-server", &mut command, home.path())?;
        started.wait_until(|| TcpStream::connect(redis).is_ok(), READY)?;
        Ok(Self { cores, redis, _redis: started, home, gateway })
    }

    /// Starts a floor of ours.
    pub fn floor(&self) -> Result<Measured> {
        let address = free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["floor", "--listen", &address.to_string(), "--redis", &self.redis.to_string()]);
        command.args(["--prefix", PREFIX]);
        let mut started = self.cores.start_server("floor", &mut command, self.home.path())?;
        started.wait_until(|| TcpStream::connect(address).is_ok(), READY)?;
        Ok(Measured { name: "floor", server: Server::local(address), started })
    }

    /// Starts the gateway; `None` when the bench was given none.
    pub fn gateway(&self) -> Result<Option<Measured>> {
        let Some(gateway) = &self.gateway else { return Ok(None) };
        let (public, internal) = (free_port()?, free_port()?);
        let mut command = Command::new(&gateway.binary);
        command.args(["serve", "--redis-url", &format!("redis://{}", self.redis)]);
        command.args(["--set", &format!("public.listen={public}"), "--set", &format!("internal.listen={internal}")]);
        command.args(&gateway.args).current_dir(self.home.path());
        let mut started = self.cores.start_server("gateway", &mut command, self.home.path())?;
        started.wait_until(|| is_ready(internal) && TcpStream::connect(public).is_ok(), READY)?;
        Ok(Some(Measured { name: "gateway", server: Server::local(public), started }))
    }
}

/// A port that was free a moment ago.
fn free_port() -> Result<SocketAddr> {
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
