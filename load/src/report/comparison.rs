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
    /// The floor against itself once more, behind everybody else, at one and at eight in flight.
    pub again: [Cost; 2],
    /// Peers that are not on this machine, each with what installs it.
    pub absent: Vec<String>,
    /// Whether the section has pictures: new ones, or where the machine was too noisy the former.
    #[serde(skip)]
    pub growth: bool,
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
    pub pairs: usize,
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
        let Outcome { pairs, ratio, first_faults: faults, .. } = *outcome;
        Self { pairs, ratio, floor_us: outcome.second_us.median, faults }
    }

    fn cell(&self) -> String {
        let Estimate { low, median, high, .. } = self.ratio;
        format!("{median:.2} × ({low:.2}-{high:.2})")
    }
}

/// What is wrong with the machine, by the floor against itself: before everybody else, and behind.
pub fn noise(first: [Cost; 2], again: Option<[Cost; 2]>) -> Option<String> {
    let looks = [("", Some(first)), (" at the end", again)];
    looks.into_iter().find_map(|(when, costs)| {
        let [one, eight] = costs?.map(|cost| cost.ratio.median);
        let is_level = [one, eight].iter().all(|ratio| (ratio - 1.0).abs() <= TOLERANCE);
        (!is_level).then(|| format!("noisy machine: floor against floor{when} {one:.2} × and {eight:.2} ×"))
    })
}

impl Row {
    fn loss(&self) -> String {
        [self.one.faults, self.eight.faults].into_iter().sum::<Faults>().in_short()
    }

    /// At one and at eight in flight.
    pub fn costs(&self) -> [Cost; 2] {
        [self.one, self.eight]
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

    /// Writes peers.json, the section of RESULTS.md, and the pictures where curves were measured and not for nothing.
    pub fn write(&self, out: &Path) -> Result<()> {
        let save = |name: &str, text: &str| {
            let path = out.join(name);
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
        };
        fs::create_dir_all(out.join("pictures")).with_context(|| format!("creating {}", out.display()))?;
        save("peers.json", &(serde_json::to_string_pretty(self)? + "\n"))?;
        for (name, svg) in self.drawn() {
            save(&format!("pictures/{name}.svg"), &svg)?;
        }
        section::COMPARISON.write(out, &self.section(out)?)
    }

    /// A picture does not say how noisy its machine was, so a noisy one draws none.
    fn drawn(&self) -> Vec<(&'static str, String)> {
        match &self.noise {
            None => pictures::of(&self.curves),
            Some(noise) if self.growth => {
                eprintln!("{noise}: no new pictures are drawn, the former ones stay");
                Vec::new()
            }
            Some(_) => Vec::new(),
        }
    }

    /// The pictures of the section, as far as they are there.
    fn captions(&self, out: &Path) -> String {
        let is_there = |name: &str| out.join(format!("pictures/{name}.svg")).exists();
        let shown = pictures::captions().filter(|(_, name)| self.growth && is_there(name));
        let captions: String = shown.map(|(title, name)| format!("\n![{title}](pictures/{name}.svg)\n")).collect();
        match &self.noise {
            Some(_) if !captions.is_empty() => {
                format!("\nThe pictures are an earlier run's: this one was too noisy.\n{captions}")
            }
            _ => captions,
        }
    }

    fn section(&self, out: &Path) -> Result<String> {
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
        let [one, eight] = self.again.map(|cost| cost.cell());
        writeln!(text, "- **floor**, once more behind all others: {one} and {eight}")?;
        Ok(text + &self.captions(out))
    }
}

#[cfg(test)]
#[path = "comparison_tests.rs"]
mod tests;
