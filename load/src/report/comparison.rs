//! What a comparison has found: a table for a terminal, a section of RESULTS.md, peers.json, and the pictures.

use crate::{
    crowd::faults::Faults,
    report::estimate::Estimate,
    report::{pictures, section},
    scenario::pairs::{Outcome, TOLERANCE},
    scenario::plan::Plan,
    stage::machine::Machine,
};
use anyhow::{Context, Result};
use serde::Serialize;
use std::{fmt::Write, fs, path::Path};

/// Everybody beside the floor.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub machine: Machine,
    pub plan: Plan,
    /// Idle ones, of the memory's column.
    pub connections: u32,
    /// Why the figures are worth less than they look; `None` where the floor met itself.
    pub noise: Option<String>,
    pub rows: Vec<Row>,
    /// Peers that are not on this machine, each with what installs it.
    pub absent: Vec<String>,
    pub curves: Vec<Curve>,
}

/// One server.
#[derive(Debug, Serialize)]
pub struct Row {
    pub name: &'static str,
    pub version: String,
    pub command: String,
    pub note: String,
    /// With one publication in flight.
    pub one: Cost,
    pub eight: Cost,
    /// Per idle connection.
    pub pss_kib: f64,
}

/// CPU per delivery by the floor's, at the same feed.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cost {
    pub ratio: Estimate,
    pub floor_us: f64,
    pub faults: Faults,
}

/// What the pictures show of one server.
#[derive(Debug, Default, Serialize)]
pub struct Curve {
    pub name: &'static str,
    /// Ratio against sockets, one in flight.
    pub by_sockets: Vec<Point>,
    /// Ratio against publications in flight.
    pub by_in_flight: Vec<Point>,
    /// KiB per connection against idle connections.
    pub idle: Vec<Point>,
    /// KiB per connection behind the last window, against publications in flight.
    pub held: Vec<Point>,
}

/// One measured place of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    pub x: u32,
    pub y: f64,
}

impl Cost {
    /// The first side of some pairs by the second.
    pub fn of(outcome: &Outcome) -> Self {
        Self { ratio: outcome.ratio, floor_us: outcome.second_us.median, faults: outcome.first_faults }
    }

    fn cell(&self) -> String {
        let Estimate { low, median, high, .. } = self.ratio;
        format!("{median:.2} × ({low:.2}-{high:.2})")
    }
}

impl Row {
    fn loss(&self) -> String {
        [self.one.faults, self.eight.faults].into_iter().sum::<Faults>().in_short()
    }

    /// Of a server that is held against one that is the same, what is wrong with the machine.
    pub fn noise(&self) -> Option<String> {
        let [one, eight] = [self.one.ratio.median, self.eight.ratio.median];
        let is_level = [one, eight].iter().all(|ratio| (ratio - 1.0).abs() <= TOLERANCE);
        let same = self.name;
        (!is_level).then(|| format!("noisy machine: {same} against {same} {one:.2} × and {eight:.2} ×"))
    }

    /// Server, 1 in flight, 8 in flight, PSS, loss, version, note.
    fn cells(&self, noise: Option<&str>) -> [String; 7] {
        let pss = format!("{:.1} KiB", self.pss_kib);
        [
            self.name.into(),
            self.one.cell(),
            self.eight.cell(),
            pss,
            self.loss(),
            self.version.clone(),
            noise.unwrap_or_default().into(),
        ]
    }
}

impl Comparison {
    fn heads(&self) -> [String; 7] {
        let pss = format!("PSS per connection, {} idle", self.connections);
        ["server", "1 in flight", "8 in flight", &pss, "loss", "version", ""].map(str::to_owned)
    }

    fn cells(&self) -> impl Iterator<Item = [String; 7]> {
        self.rows.iter().map(|row| row.cells(self.noise.as_deref()))
    }

    /// For a terminal: columns as wide as they need to be.
    pub fn table(&self) -> String {
        let rows: Vec<[String; 7]> = std::iter::once(self.heads()).chain(self.cells()).collect();
        let widths: [usize; 7] =
            std::array::from_fn(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0));
        let lines = rows.iter().map(|row| {
            let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            cells.join("  ").trim_end().to_owned() + "\n"
        });
        lines.collect()
    }

    /// Writes peers.json, the section of RESULTS.md, and the pictures where curves were measured.
    pub fn write(&self, out: &Path) -> Result<()> {
        let save = |name: &str, text: &str| {
            let path = out.join(name);
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
        };
        fs::create_dir_all(out.join("pictures")).with_context(|| format!("creating {}", out.display()))?;
        save("peers.json", &(serde_json::to_string_pretty(self)? + "\n"))?;
        for (name, svg) in pictures::of(&self.curves) {
            save(&format!("pictures/{name}.svg"), &svg)?;
        }
        section::COMPARISON.write(out, &self.section()?)
    }

    fn section(&self) -> Result<String> {
        let Machine { date, kernel, cpu, cores, load, redis, .. } = &self.machine;
        let Plan { pairs, window, payload_bytes, .. } = self.plan;
        let mut text = section::COMPARISON.heading.to_owned();
        writeln!(text, "\nWritten by `make compare`; how to read it: [README.md](README.md).\n")?;
        writeln!(text, "| {} |\n|{}", self.heads().join(" | "), "---|".repeat(7))?;
        for cells in self.cells() {
            writeln!(text, "| {} |", cells.join(" | "))?;
        }
        if let Some(noise) = &self.noise {
            let bound = TOLERANCE * 100.0;
            writeln!(text, "\n**{noise}, not within ±{bound:.0} %**: measure again when nothing else runs.")?;
        }
        writeln!(
            text,
            "\nCPU per delivery of {payload_bytes} B by the floor's at the same feed: the median (its 95 % bounds) of at least {pairs} adjacent pairs of {window:?}."
        )?;
        writeln!(
            text,
            "Each server alone on one core, as one process. {date}, Linux {kernel}, {cores} × {cpu}, load {load} at the start; {redis}.\n"
        )?;
        for row in &self.rows {
            let note = if row.note.is_empty() { String::new() } else { format!(": {}", row.note) };
            writeln!(text, "- **{}** `{}`{note}", row.name, row.command)?;
        }
        self.absent.iter().try_for_each(|line| writeln!(text, "- not measured: {line}"))?;
        for (title, name) in pictures::captions(&self.curves) {
            writeln!(text, "\n![{title}](pictures/{name}.svg)")?;
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &'static str, ratio: f64, lost: u64) -> Row {
        let cost = |lost| Cost {
            ratio: Estimate { median: ratio, low: 1.0, high: 2.0, min: 0.5, max: 3.0 },
            floor_us: 2.0,
            faults: Faults { delivered: 900, lost, ..Faults::default() },
        };
        let (version, command, note) = ("8".into(), String::new(), String::new());
        Row { name, version, command, note, one: cost(0), eight: cost(lost), pss_kib: 12.34 }
    }

    #[test]
    fn a_server_that_lost_messages_is_shown_with_its_loss() {
        let cells = ["ws", "1.50 × (1.00-2.00)", "1.50 × (1.00-2.00)", "12.3 KiB", "none", "8", ""];
        assert_eq!(row("ws", 1.5, 0).cells(None), cells);
        assert_eq!(row("ws", 1.5, 200).cells(None)[4], "200 lost of 2000");
    }

    #[test]
    fn a_floor_that_does_not_meet_itself_is_said_on_every_row_and_below_the_table() {
        let comparison = |floor| {
            let rows = vec![row("floor", floor, 0), row("ws", 1.5, 0)];
            let second = std::time::Duration::from_secs(1);
            let plan = Plan::of(1, second, 1);
            let (noise, machine) = (rows[0].noise(), Machine::look(None));
            Comparison { machine, plan, connections: 1, noise, rows, absent: Vec::new(), curves: Vec::new() }
        };
        let said = |text: &str| text.matches("noisy machine: floor against floor 1.03 × and 1.03 ×").count();
        let noisy = comparison(1.03);
        assert_eq!((said(&noisy.table()), said(&noisy.section().unwrap())), (2, 3));
        let (quiet, nothing) = (comparison(0.985), "noisy");
        assert!(!quiet.table().contains(nothing) && !quiet.section().unwrap().contains(nothing));
    }
}
