//! What a comparison has found: a table for a terminal, a section of RESULTS.md, peers.json, and the pictures.

use crate::{
    crowd::faults::Faults,
    report::figures::Spread,
    report::pictures,
    scenario::pairs::{Outcome, Plan},
    stage::machine::Machine,
};
use anyhow::{Context, Result};
use serde::Serialize;
use std::{fmt::Write, fs, path::Path};

/// The heading of the section that a comparison owns in RESULTS.md.
const HEADING: &str = "## Beside its peers\n";

/// Everybody beside the floor.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub machine: Machine,
    pub plan: Plan,
    /// Idle ones, of the memory's column.
    pub connections: u32,
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
    pub ratio: Spread,
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
        let Spread { min, median, max } = self.ratio;
        format!("{median:.2} × ({min:.2}-{max:.2})")
    }
}

impl Row {
    fn loss(&self) -> String {
        [self.one.faults, self.eight.faults].into_iter().sum::<Faults>().in_short()
    }

    /// Server, 1 in flight, 8 in flight, PSS, loss, version.
    fn cells(&self) -> [String; 6] {
        let pss = format!("{:.1} KiB", self.pss_kib);
        [self.name.into(), self.one.cell(), self.eight.cell(), pss, self.loss(), self.version.clone()]
    }
}

impl Comparison {
    fn heads(&self) -> [String; 6] {
        let pss = format!("PSS per connection, {} idle", self.connections);
        ["server", "1 in flight", "8 in flight", &pss, "loss", "version"].map(str::to_owned)
    }

    /// For a terminal: columns as wide as they need to be.
    pub fn table(&self) -> String {
        let rows: Vec<[String; 6]> = std::iter::once(self.heads()).chain(self.rows.iter().map(Row::cells)).collect();
        let widths: [usize; 6] =
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
        let results = fs::read_to_string(out.join("RESULTS.md")).unwrap_or_default();
        save("RESULTS.md", &with_section(&results, &self.section()?))
    }

    fn section(&self) -> Result<String> {
        let Machine { date, kernel, cpu, cores, load, redis, .. } = &self.machine;
        let Plan { pairs, window, payload_bytes, .. } = self.plan;
        let mut text = format!("{HEADING}\nWritten by `make compare`; how to read it: [README.md](README.md).\n\n");
        writeln!(text, "| {} |\n|{}", self.heads().join(" | "), "---|".repeat(6))?;
        for row in &self.rows {
            writeln!(text, "| {} |", row.cells().join(" | "))?;
        }
        writeln!(
            text,
            "\nCPU per delivery of {payload_bytes} B by the floor's at the same feed: the median (min-max) of {pairs} adjacent pairs of {window:?}."
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

/// The comparison's section, as far as a text of results has one.
pub fn section_of(results: &str) -> Option<&str> {
    let from = results.find(HEADING)?;
    let len = results[from + HEADING.len()..].find("\n## ").map(|end| end + 1 + HEADING.len());
    Some(&results[from..len.map_or(results.len(), |len| from + len)])
}

/// The text with the section in the place of its former self, or at the end.
pub fn with_section(results: &str, section: &str) -> String {
    match section_of(results) {
        Some(former) => results.replacen(former, section, 1),
        None if results.is_empty() => section.to_owned(),
        None => format!("{}\n\n{section}", results.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_its_former_place_and_leaves_the_rest() {
        let old = format!("# A\n\n{HEADING}\nold\n\n## B\n\nlast\n");
        let new = with_section(&old, &format!("{HEADING}\nnew\n\n"));
        assert_eq!(new, format!("# A\n\n{HEADING}\nnew\n\n## B\n\nlast\n"));
        assert_eq!(
            with_section(&with_section("# A\n", "## Beside its peers\nx\n"), "## Beside its peers\ny\n"),
            "# A\n\n## Beside its peers\ny\n"
        );
    }

    #[test]
    fn a_server_that_lost_messages_is_shown_with_its_loss() {
        let cost = |lost| Cost {
            ratio: Spread { min: 1.0, median: 1.5, max: 2.0 },
            floor_us: 2.0,
            faults: Faults { delivered: 900, lost, ..Faults::default() },
        };
        let row = |lost| Row {
            name: "ws",
            version: "8".into(),
            command: String::new(),
            note: String::new(),
            one: cost(0),
            eight: cost(lost),
            pss_kib: 12.34,
        };
        assert_eq!(row(0).cells(), ["ws", "1.50 × (1.00-2.00)", "1.50 × (1.00-2.00)", "12.3 KiB", "none", "8"]);
        assert_eq!(row(200).cells()[4], "200 lost of 2000");
    }
}
