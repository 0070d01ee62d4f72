//! The fleet itself: replicas, their crowds, and the passes over all of them.

use super::{Costs, figures::Figures, figures::Replica, kernel::Kernel};
use crate::{
    crowd::{Group, apart::Apart, apart::Priority},
    report::figures::Spread,
    scenario::account::{Account, micros},
    stage::{Measured, PREFIX, Stage, machine::Machine, process},
    wire::bus::Bus,
    wire::resp::Value,
    wire::stamp::{self, Stamp},
};
use anyhow::{Context, Result, ensure};
use std::time::Instant;

const TOPIC: &str = "load:fleet";
const PAYLOAD_BYTES: usize = 128;

/// Replicas, and who listens to each.
pub struct Hall {
    replicas: Vec<(Measured, Apart, Group)>,
    before: Kernel,
    /// PSS of a replica before anybody came.
    empty: Vec<u64>,
    connected_s: f64,
}

/// One publication: how long until everybody had it, and what went wrong.
struct Pass {
    deliveries: u64,
    lost: u64,
    duplicates: u64,
    misordered: u64,
    closed: u64,
    milliseconds: f64,
}

impl Hall {
    /// Starts the replicas and connects everybody, evenly.
    pub fn open(stage: &Stage, connections: usize, replicas: usize) -> Result<Self> {
        let start = |_| -> Result<_> {
            let gateway = stage.gateway()?.context("no gateway")?;
            Ok((gateway, stage.crowd(Priority::Usual)?))
        };
        let mut started = (0..replicas).map(start).collect::<Result<Vec<_>>>()?;
        let empty = started.iter().map(|(gateway, _)| process::pss(gateway.pid())).collect::<Result<_>>()?;
        let (before, begun) = (Kernel::now()?, Instant::now());
        for (nth, (gateway, crowd)) in started.iter_mut().enumerate() {
            let share = connections / replicas + usize::from(nth < connections % replicas);
            crowd.begin_to_connect(&gateway.server, &[TOPIC.to_owned()], share)?;
        }
        let seat = |(gateway, mut crowd): (Measured, Apart)| -> Result<_> {
            let group = crowd.connected()?;
            Ok((gateway, crowd, group))
        };
        let replicas = started.into_iter().map(seat).collect::<Result<_>>()?;
        Ok(Self { replicas, before, empty, connected_s: begun.elapsed().as_secs_f64() })
    }

    /// Publishes so often, each time when everybody has the last.
    pub fn measure(&mut self, stage: &Stage, passes: usize, machine: Machine, costs: Costs) -> Result<Figures> {
        let kernel = Kernel::now()?;
        let mut bus = Bus::connect(stage.redis)?;
        let begun = self.replicas.iter().map(|(gateway, ..)| Account::of(gateway.pid())).collect::<Result<Vec<_>>>()?;
        let passes = (0..passes).map(|number| self.pass(&mut bus, number as u64)).collect::<Result<Vec<_>>>()?;
        let sum = |of: fn(&Pass) -> u64| passes.iter().map(of).sum::<u64>();
        let replicas = self.accounts(&begun, passes.len())?;
        let connections = replicas.iter().map(|replica| replica.connections).sum::<usize>();
        let deliveries = sum(|pass| pass.deliveries);
        let counted = self.counted()?;
        let each = |bytes: u64| bytes as f64 / 1024.0 / connections as f64;
        Ok(Figures {
            machine,
            connections,
            publications: passes.len(),
            deliveries,
            deliveries_counted_by_replicas: counted,
            lost: sum(|pass| pass.lost),
            duplicates: sum(|pass| pass.duplicates),
            misordered: sum(|pass| pass.misordered),
            closed: sum(|pass| pass.closed),
            connected_s: self.connected_s,
            pass_ms: Spread::of(passes.iter().map(|pass| pass.milliseconds)).context("no passes")?,
            cpu_us_per_delivery: replicas.iter().map(|replica| replica.cpu_us).sum::<f64>() / deliveries as f64,
            // Client and server live on this machine, so half of the kernel's objects are the server's.
            kernel_kib_per_connection: each(kernel.slab.saturating_sub(self.before.slab)) / 2.0,
            buffers_kib_per_connection: each(kernel.buffers.saturating_sub(self.before.buffers)) / 2.0,
            replicas,
            costs,
        })
    }

    fn pass(&mut self, bus: &mut Bus, number: u64) -> Result<Pass> {
        for (_, crowd, group) in &mut self.replicas {
            crowd.expect(group)?;
        }
        let mut payload = Vec::new();
        let sent_ns = stamp::now();
        Stamp { number, sent_ns }.fill(PAYLOAD_BYTES, &mut payload);
        let heard = publish(bus, &payload)?;
        ensure!(heard == self.replicas.len() as i64, "{heard} of {} replicas listen", self.replicas.len());
        let mut pass = Pass { deliveries: 0, lost: 0, duplicates: 0, misordered: 0, closed: 0, milliseconds: 0.0 };
        for (_, crowd, _) in &mut self.replicas {
            let (tally, completed_ns) = crowd.await_expected()?;
            pass.deliveries += tally.deliveries;
            pass.lost += tally.lost;
            pass.duplicates += tally.duplicates;
            pass.misordered += tally.misordered;
            pass.closed += tally.closed;
            pass.milliseconds = pass.milliseconds.max(completed_ns.saturating_sub(sent_ns) as f64 / 1e6);
        }
        Ok(pass)
    }

    fn accounts(&self, begun: &[Account], passes: usize) -> Result<Vec<Replica>> {
        let of = |(nth, (gateway, _, group)): (usize, &(Measured, Apart, Group))| {
            let (now, connections) = (Account::of(gateway.pid())?, group.sockets());
            let cpu_us = micros(now.cpu - begun[nth].cpu);
            Ok(Replica {
                connections,
                pss_mib: now.pss as f64 / 1024.0 / 1024.0,
                pss_kib_per_connection: now.pss.saturating_sub(self.empty[nth]) as f64 / 1024.0 / connections as f64,
                cpu_us,
                cpu_us_per_delivery: cpu_us / (connections * passes) as f64,
            })
        };
        self.replicas.iter().enumerate().map(of).collect()
    }

    /// What the replicas say they delivered.
    fn counted(&self) -> Result<u64> {
        let sums =
            self.replicas.iter().map(|(gateway, ..)| Ok(gateway.scrape()?.sum("fanline_deliveries_total") as u64));
        sums.sum()
    }
}

/// Publishes, and answers how many replicas heard it.
fn publish(bus: &mut Bus, payload: &[u8]) -> Result<i64> {
    bus.command(&[b"PUBLISH", format!("{PREFIX}{TOPIC}").as_bytes(), payload]);
    bus.flush()?;
    loop {
        bus.wait()?;
        bus.fill()?;
        if let Some(Value::Integer(heard)) = bus.next()? {
            return Ok(heard);
        }
        crate::stop::check()?;
    }
}
