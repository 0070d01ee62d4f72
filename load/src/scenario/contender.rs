//! Who takes part in a comparison, and how it is started.

use crate::{
    peers::Peer,
    scenario::pairs::Loss,
    stage::machine::Machine,
    stage::{Measured, Stage},
};
use anyhow::{Context, Result};

/// Who is put beside the floor; the floor too, because that shows how well the machine repeats itself.
pub enum Contender {
    Floor,
    Gateway,
    Peer(Peer),
}

impl Contender {
    /// As the table names it.
    pub fn name(&self) -> &'static str {
        match self {
            Contender::Floor => "floor",
            Contender::Gateway => "Fanline",
            Contender::Peer(peer) => peer.kind.name(),
        }
    }

    /// Starts it on the measured core.
    pub fn start(&self, stage: &Stage) -> Result<Measured> {
        match self {
            Contender::Floor => stage.floor(),
            Contender::Gateway => stage.gateway()?.context("no gateway was given"),
            Contender::Peer(peer) => peer.start(stage),
        }
    }

    /// Version, command line and note.
    pub fn describe(&self, machine: &Machine) -> [String; 3] {
        match self {
            Contender::Floor => {
                let command = "fanline-load floor --listen ADDRESS --redis ADDRESS --prefix fanline:".into();
                [machine.harness.into(), command, "the floor against itself: how well this machine repeats".into()]
            }
            Contender::Gateway => {
                let command = "fanline serve --redis-url URL --set public.listen=ADDRESS --set internal.listen=ADDRESS";
                [machine.gateway.trim_start_matches("fanline ").into(), command.into(), String::new()]
            }
            Contender::Peer(peer) => [peer.version.clone(), peer.command_line(), peer.kind.note().into()],
        }
    }

    /// What losing something is to it: of ours an error.
    pub fn loss(&self) -> Loss {
        if matches!(self, Contender::Peer(_)) { Loss::IsShown } else { Loss::Fails }
    }
}
