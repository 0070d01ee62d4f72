//! Both files that the model is worked out of: results.json of `make bench` and fleet.json of `fanline-load fleet`.

use super::costs::Costs;
use anyhow::{Context, Result};
use serde_json::Value;
use std::{fs, path::Path};

/// What was measured, and under which circumstances.
#[derive(Debug, Clone)]
pub struct Measured {
    pub costs: Costs,
    /// When, how busy the machine was, and for how long: a line for each file.
    pub origin: [String; 2],
}

impl Measured {
    /// Reads both files of a directory.
    pub fn read(from: &Path) -> Result<Self> {
        let (results, fleet) = (json(&from.join("results.json"))?, json(&from.join("fleet.json"))?);
        let costs = Costs::of(&results, &fleet)?;
        Ok(Self { costs, origin: [origin_of_results(&results), origin_of_fleet(&fleet)] })
    }
}

fn json(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

fn origin_of_results(results: &Value) -> String {
    let window = &results["plan"]["window"];
    let seconds = window["secs"].as_f64().zip(window["nanos"].as_f64()).map(|(secs, nanos)| secs + nanos / 1e9);
    format!("results.json: {}, windows of {}", when(results), in_seconds(seconds))
}

fn origin_of_fleet(fleet: &Value) -> String {
    let window = in_seconds(fleet["costs"]["ingest_window_s"].as_f64());
    format!("fleet.json: {}, `i₅₁₂` in a window of {window}, all else by count", when(fleet))
}

fn when(file: &Value) -> String {
    let said = |name: &str| file["machine"][name].as_str().unwrap_or("unknown").to_owned();
    format!("{}, load {} at the start", said("date"), said("load"))
}

fn in_seconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "unknown length".to_owned(), |seconds| format!("{seconds:.1} s"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_files_say_when_beside_what_and_for_how_long() {
        let machine = json!({"date": "2026-11-21", "load": "0.14"});
        let results = json!({"machine": machine, "plan": {"window": {"secs": 1, "nanos": 500_000_000}}});
        assert_eq!(origin_of_results(&results), "results.json: 2026-11-21, load 0.14 at the start, windows of 1.5 s");
        let fleet = origin_of_fleet(&json!({"machine": machine, "costs": {"ingest_window_s": 3.0}}));
        assert!(fleet.contains("2026-11-21, load 0.14") && fleet.contains("window of 3.0 s"), "{fleet}");
        assert!(origin_of_fleet(&Value::Null).contains("unknown length"));
    }
}
