//! Cases with their bars, as a table, as RESULTS.md and as results.json.

use crate::{
    report::estimate::Estimate, report::section, scenario::pairs::Outcome, scenario::plan::Plan,
    stage::machine::Machine,
};
use anyhow::{Context, Result};
use serde::Serialize;
use std::{fmt::Write, fs, path::Path};

/// A measured value in its case's unit.
pub type Figure = f64;

/// What may not be exceeded.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Bar {
    pub most: Figure,
}

/// One line of the results.
#[derive(Debug, Serialize)]
pub struct Case {
    /// The subcommand that measures it alone.
    pub scenario: &'static str,
    pub name: String,
    /// `×` is a ratio of CPU per delivery, first by second.
    pub unit: &'static str,
    pub bar: Option<Bar>,
    /// `None` when only the floor was measured.
    pub measured: Option<Figure>,
    /// What it is held against, for orientation: CPU µs per delivery of pairs, or the case's own unit.
    pub floor: Option<Figure>,
    pub spread: Option<Estimate>,
    pub pairs: Option<Outcome>,
    pub note: String,
}

/// Everything a bench has found.
#[derive(Debug, Serialize)]
pub struct Results {
    pub machine: Machine,
    pub plan: Plan,
    pub cases: Vec<Case>,
}

impl Case {
    /// A case of adjacent pairs: its figure is the median of their ratios.
    pub fn of_pairs(name: String, bar: Option<Bar>, outcome: &Outcome) -> Self {
        let floor = Some(outcome.second_us.median);
        Self { floor, pairs: Some(outcome.clone()), ..Self::of_estimate(name, "×", bar, outcome.ratio) }
    }

    /// A case measured several times, of which the median counts.
    pub fn of_estimate(name: String, unit: &'static str, bar: Option<Bar>, spread: Estimate) -> Self {
        Self { spread: Some(spread), ..Self::of_single(name, unit, bar, Some(spread.median), None) }
    }

    /// A case measured once on each server.
    pub fn of_single(
        name: String,
        unit: &'static str,
        bar: Option<Bar>,
        gateway: Option<Figure>,
        floor: impl Into<Option<Figure>>,
    ) -> Self {
        let (scenario, floor) = ("", floor.into());
        Self { scenario, name, unit, bar, measured: gateway, floor, spread: None, pairs: None, note: String::new() }
    }

    /// A scenario that could not be measured, and why.
    pub fn failed(scenario: &'static str, error: &anyhow::Error) -> Self {
        let case = Self::of_single(scenario.to_owned(), "", None, None, None);
        // A log's last lines may be part of it, and a case is one line.
        let why = format!("{error:#}").lines().map(str::trim).collect::<Vec<_>>().join("; ");
        Self { scenario, note: format!("FAILED: {why}"), ..case }
    }

    /// The same, with something to know about it.
    pub fn noted(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    fn is_missed(&self) -> bool {
        // What is no number is not below its bar.
        matches!((self.bar, self.measured), (Some(bar), Some(measured)) if measured.is_nan() || measured > bar.most)
    }

    /// Whether another bench might well find the other side of the bar.
    fn is_within_noise(&self) -> bool {
        matches!((self.bar, self.spread), (Some(bar), Some(spread)) if spread.holds(bar.most))
    }

    fn verdict(&self) -> &'static str {
        match (self.bar, self.measured) {
            (Some(_), Some(_)) => match (self.is_missed(), self.is_within_noise()) {
                (false, false) => "ok",
                (false, true) => "ok, within noise",
                (true, false) => "MISSED",
                (true, true) => "MISSED, within noise",
            },
            _ => "",
        }
    }

    /// Case, bar, measured, bounds, floor, verdict.
    fn cells(&self) -> [String; 6] {
        let digits = if ["µs", "B"].contains(&self.unit) { 1 } else { 3 };
        let number = |figure: Figure| format!("{figure:.digits$}");
        let floor = |floor| match self.pairs {
            Some(_) => format!("{floor:.2} µs"),
            None => format!("{} {}", number(floor), self.unit),
        };
        [
            self.name.clone(),
            self.bar.map_or_else(String::new, |bar| format!("≤ {} {}", bar.most, self.unit)),
            self.measured.map_or_else(|| "–".into(), |measured| format!("{} {}", number(measured), self.unit)),
            self.spread.map_or_else(String::new, |spread| format!("{}-{}", number(spread.low), number(spread.high))),
            self.floor.map_or_else(String::new, floor),
            [self.verdict(), &self.note].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; "),
        ]
    }
}

const HEADS: [&str; 6] = ["case", "bar", "measured", "95 %", "floor", ""];

/// For a terminal: columns as wide as they need to be.
pub fn table(cases: &[Case]) -> String {
    let rows: Vec<[String; 6]> =
        std::iter::once(HEADS.map(str::to_owned)).chain(cases.iter().map(Case::cells)).collect();
    let widths: [usize; 6] =
        std::array::from_fn(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0));
    let mut table = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        table.push_str(cells.join("  ").trim_end());
        table.push('\n');
    }
    table
}

impl Results {
    /// Whether any bar was.
    pub fn has_missed(&self) -> bool {
        self.cases.iter().any(Case::is_missed)
    }

    /// Whether any scenario could not be measured.
    pub fn has_failed(&self) -> bool {
        self.cases.iter().any(|case| case.note.starts_with("FAILED"))
    }

    /// Writes RESULTS.md and results.json into a directory; the other commands' sections in the former stay.
    pub fn write(&self, out: &Path) -> Result<()> {
        fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
        let former = fs::read_to_string(out.join("RESULTS.md")).unwrap_or_default();
        let text = section::keep(&former, self.markdown()?);
        let json = serde_json::to_string_pretty(self)? + "\n";
        for (name, text) in [("RESULTS.md", text), ("results.json", json)] {
            let path = out.join(name);
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }

    fn markdown(&self) -> Result<String> {
        let Machine { date, kernel, cpu, cores, load, redis, gateway, harness } = &self.machine;
        let Plan { pairs, window, payload_bytes, .. } = &self.plan;
        let mut text = String::from(
            "# What a delivery costs\n\nWritten by `make bench`; how to read it: [README.md](README.md).\n\n",
        );
        writeln!(text, "| {} |\n|{}", HEADS.join(" | "), "---|".repeat(HEADS.len()))?;
        for case in &self.cases {
            writeln!(text, "| {} |", case.cells().map(|cell| cell.replace('|', "/")).join(" | "))?;
        }
        writeln!(
            text,
            "\nRatios (×) are medians over at least {pairs} adjacent pairs of {window:?}, CPU time per delivery of {payload_bytes} B where no other size is named,"
        )?;
        writeln!(
            text,
            "the server alone on one core. Ratios travel better than microseconds; cold caches and cold memory move them, too:\n"
        )?;
        writeln!(text, "- {date}, Linux {kernel}, {cores} × {cpu}, load {load} at the start")?;
        writeln!(text, "- gateway: {gateway}\n- {redis}\n- fanline-load {harness}")?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(measured: Option<f64>) -> Case {
        Case::of_single("PSS".into(), "KiB", Some(Bar { most: 3.0 }), measured, 0.1)
    }

    #[test]
    fn a_bar_is_missed_above_it_and_not_on_it() {
        let verdicts = [Some(3.0), Some(3.01), Some(f64::NAN), None].map(|measured| case(measured).verdict());
        assert_eq!(verdicts, ["ok", "MISSED", "MISSED", ""]);
    }

    #[test]
    fn a_bar_within_the_bounds_is_said_to_be_and_missed_all_the_same() {
        let of = |samples: [f64; 7]| {
            Case::of_estimate(String::new(), "×", Some(Bar { most: 3.0 }), Estimate::of(samples).unwrap())
        };
        let around = [of([1.0, 2.9, 2.9, 2.9, 2.9, 2.9, 3.1]), of([2.9, 3.1, 3.1, 3.1, 3.1, 3.1, 3.1])];
        assert_eq!(around.each_ref().map(Case::verdict), ["ok, within noise", "MISSED, within noise"]);
        assert_eq!(around.each_ref().map(Case::is_missed), [false, true]);
        assert_eq!([of([2.9; 7]), of([3.1; 7])].each_ref().map(Case::verdict), ["ok", "MISSED"]);
    }

    #[test]
    fn the_column_holds_the_bounds_of_the_median_and_the_smallest_and_largest_of_a_few() {
        let column = |count: i32| {
            let samples = Estimate::of((1..=count).map(f64::from)).unwrap();
            Case::of_estimate(String::new(), "×", None, samples).cells()[3].clone()
        };
        assert_eq!([HEADS[3].into(), column(9), column(3)], ["95 %", "2.000-8.000", "1.000-3.000"]);
    }

    #[test]
    fn a_scenario_that_failed_is_one_line_and_neither_ok_nor_missed() {
        let failed = Case::failed("idle", &anyhow::anyhow!("it ended:\n  - a bad key"));
        let [name, _, measured, .., verdict] = failed.cells();
        assert_eq!([&name[..], &measured, &verdict], ["idle", "–", "FAILED: it ended:; - a bad key"]);
        let machine = Machine::look(None);
        let second = std::time::Duration::from_secs(1);
        let plan = Plan::of(1, second, 1);
        let results = Results { machine, plan, cases: vec![failed] };
        assert_eq!((results.has_failed(), results.has_missed()), (true, false));
    }

    #[test]
    fn the_table_says_case_bar_measured_and_verdict() {
        let [name, bar, measured, _, floor, verdict] = case(Some(3.5)).cells();
        assert_eq!([name, bar, measured, floor, verdict], ["PSS", "≤ 3 KiB", "3.500 KiB", "0.100 KiB", "MISSED"]);
    }
}
