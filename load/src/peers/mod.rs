//! Servers of others that do the same job: how each is found on this machine, started and spoken to.
//! Each runs alone on the measured core, as one process, in the form its own documentation calls fast.

mod nchan;
mod npm;

use crate::{
    crowd::publisher::Road,
    crowd::server::{Server, Speech},
    stage::{Measured, PREFIX, Stage, free_port},
};
use anyhow::Result;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

/// Whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Bun,
    Nchan,
    Ws,
    SocketIo,
}

/// All of them, as tables list them.
pub const KINDS: [Kind; 4] = [Kind::Bun, Kind::Nchan, Kind::Ws, Kind::SocketIo];

/// A peer that is on this machine.
#[derive(Debug)]
pub struct Peer {
    pub kind: Kind,
    /// Its own and its runtime's.
    pub version: String,
    program: PathBuf,
    /// The folder of the peers' scripts and configurations.
    folder: PathBuf,
}

/// A peer that is not, and what would change that.
#[derive(Debug, thiserror::Error)]
#[error("{}: {lack} is not here; `make peers` installs it", .kind.name())]
pub struct Missing {
    kind: Kind,
    lack: &'static str,
}

impl Kind {
    /// As its users call it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Bun => "Bun",
            Kind::Nchan => "nchan",
            Kind::Ws => "ws",
            Kind::SocketIo => "Socket.IO",
        }
    }

    /// What a reader must know to judge its figures.
    pub fn note(self) -> &'static str {
        match self {
            Kind::Bun => "its own Redis client and `server.publish`",
            Kind::Nchan => "without Redis, one process; published to by HTTP POST",
            Kind::Ws => "ioredis, each message sent as the Buffer it came in, no compression",
            Kind::SocketIo => {
                "its Redis adapter, published to as its Redis emitter writes; its frames are 16 bytes longer"
            }
        }
    }

    /// Looks for it; `folder` is where `make peers` has put the npm packages.
    pub fn find(self, folder: &Path) -> Result<Peer, Missing> {
        let found = match self {
            Kind::Bun => npm::bun(folder),
            Kind::Nchan => nchan::find(),
            Kind::Ws => npm::on_node(folder, "ws"),
            Kind::SocketIo => npm::on_node(folder, "socket.io"),
        };
        let (program, version) = found.map_err(|lack| Missing { kind: self, lack })?;
        Ok(Peer { kind: self, version, program, folder: folder.to_owned() })
    }
}

impl Peer {
    /// Starts it on the measured core.
    pub fn start(&self, stage: &Stage) -> Result<Measured> {
        let address = free_port()?;
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Nchan => {
                nchan::configure(&self.folder, stage.home(), address)?;
                command.args(nchan::arguments(stage.home()));
            }
            _ => {
                command.arg(self.folder.join(self.script()));
                command.args([address.port().to_string(), stage.redis.port().to_string(), PREFIX.to_owned()]);
            }
        }
        stage.serve(self.kind.name(), &mut command, self.server(address))
    }

    fn server(&self, address: SocketAddr) -> Server {
        match self.kind {
            Kind::Bun | Kind::Ws => Server::local(address),
            Kind::Nchan => Server::local_as(address, "/ws", Speech::Plain, Road::Http(address)),
            Kind::SocketIo => {
                let target = "/socket.io/?EIO=4&transport=websocket";
                Server::local_as(address, target, Speech::SocketIo, Road::Emitter)
            }
        }
    }

    fn script(&self) -> &'static str {
        match self.kind {
            Kind::Bun => "bun.js",
            Kind::Ws => "ws.js",
            Kind::SocketIo => "socketio.js",
            Kind::Nchan => "nchan.conf",
        }
    }

    /// Its command line, with words for what differs from start to start.
    pub fn command_line(&self) -> String {
        let program = self.program.file_name().unwrap_or_default().to_string_lossy();
        match self.kind {
            Kind::Nchan => format!("{program} -p HOME -c {}", self.script()),
            _ => format!("{program} {} PORT REDIS_PORT {PREFIX}", self.script()),
        }
    }
}

/// The first line that a program prints when asked; `None` when there is no such program.
fn ask(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_not_here_is_named_with_what_installs_it() {
        let nowhere = tempfile::tempdir().unwrap();
        let missing = Kind::Ws.find(nowhere.path()).unwrap_err().to_string();
        assert!(missing.starts_with("ws: ") && missing.contains("make peers"), "{missing}");
    }

    #[test]
    fn a_command_line_has_words_for_what_differs_from_start_to_start() {
        let program = PathBuf::from("/usr/bin/node");
        let peer = Peer { kind: Kind::Ws, version: String::new(), program, folder: PathBuf::from("load/peers") };
        assert_eq!(peer.command_line(), "node ws.js PORT REDIS_PORT fanline:");
    }
}
