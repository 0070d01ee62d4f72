//! Runs the driver, plainly for what it asks of the allocator, and under callgrind for its instructions.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::{Command, Output};

use serde::Deserialize;

/// The driver, in the profile that the tests were built in.
const DRIVER: &str = env!("CARGO_BIN_EXE_fanline-cost");

/// What is counted. All of it is per time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Instructions, the kernel's not among them.
    Instructions,
    /// Requests for memory.
    Allocations,
    /// Bytes asked for.
    Bytes,
    /// Bytes that it still holds when it is done.
    Held,
}

/// One case, and what of it is guarded, within which part of the baseline.
pub struct Guarded {
    pub case: &'static str,
    pub times: usize,
    pub within: &'static [(Quantity, f64)],
}

/// By `case: quantity`.
pub type Costs = BTreeMap<String, f64>;

impl Quantity {
    /// The name of this quantity of a case in the baseline.
    pub fn of(self, case: &str) -> String {
        let name = match self {
            Self::Instructions => "instructions",
            Self::Allocations => "allocations",
            Self::Bytes => "bytes asked for",
            Self::Held => "bytes held",
        };
        format!("{case}: {name}")
    }
}

/// What the driver says of itself.
#[derive(Deserialize)]
struct Asked {
    allocations: f64,
    bytes: f64,
    held: f64,
}

/// Measures what is guarded of one case.
pub fn costs(guarded: &Guarded, redis: &str) -> Costs {
    let &Guarded { case, times, within } = guarded;
    let counts = |wanted| within.iter().any(|&(quantity, _)| quantity == wanted);
    let mut costs = Costs::new();
    if counts(Quantity::Instructions) {
        // What both runs do is start-up; what only the second does is another so many times.
        let more = instructions(case, 2 * times, redis) - instructions(case, times, redis);
        costs.insert(Quantity::Instructions.of(case), (more / times as f64).round());
    }
    if within.iter().any(|&(quantity, _)| quantity != Quantity::Instructions) {
        let asked = asked(case, times, redis);
        let each = |sum: f64| (sum / times as f64 * 100.0).round() / 100.0;
        let all = [
            (Quantity::Allocations, each(asked.allocations)),
            (Quantity::Bytes, each(asked.bytes).round()),
            // A few bytes that a queue keeps are no leak: less than half a byte a time is nothing.
            (Quantity::Held, each(asked.held).round()),
        ];
        costs.extend(all.into_iter().filter(|&(quantity, _)| counts(quantity)).map(|(it, cost)| (it.of(case), cost)));
    }
    costs
}

fn asked(case: &str, times: usize, redis: &str) -> Asked {
    let mut driver = Command::new(DRIVER);
    let output = run(driver.args([case, &times.to_string()]), redis);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn instructions(case: &str, times: usize, redis: &str) -> f64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", DRIVER, case, &times.to_string()]);
    let output = run(&mut valgrind, redis);
    let said = String::from_utf8_lossy(&output.stderr);
    let total = said.lines().find_map(|line| line.split_once("Collected :")).map(|(_, total)| total.trim().parse());
    total.unwrap_or_else(|| panic!("callgrind counted nothing:\n{said}")).unwrap()
}

fn run(command: &mut Command, redis: &str) -> Output {
    let output = command.env("REDIS_URL", redis).env_remove("RUST_BACKTRACE").output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}; tests/setup.sh installs valgrind"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended by {}:\n{said}", output.status);
    output
}

/// All costs, one a line.
pub fn table(costs: &Costs) -> String {
    costs.iter().fold(String::new(), |mut table, (name, cost)| {
        let _ = writeln!(table, "{name:<32} {cost:>12}");
        table
    })
}
