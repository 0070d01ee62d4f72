//! The ledger as a table: for a terminal, and as load/RELIABILITY.md.

use std::fmt::Write;
use std::process::Command;
use std::{env, fs};

use crate::gateway::{binary, repository};
use crate::history;
use crate::trial::Row;

const HEADS: [&str; 13] = [
    "fault",
    "published",
    "in doubt",
    "delivered",
    "recovered",
    "announced",
    "lost unannounced",
    "twice, out of order",
    "closed",
    "noticed",
    "healed",
    "longest publish",
    "memory KiB",
];

fn cells(row: &Row) -> [String; 13] {
    let seconds = |time: std::time::Duration| format!("{:.2} s", time.as_secs_f64());
    let account = &row.account;
    let [before, most, after] = row.memory;
    [
        row.fault.clone(),
        row.published.to_string(),
        row.maybe.to_string(),
        account.delivered.to_string(),
        account.recovered.to_string(),
        account.announced.to_string(),
        account.lost.len().to_string(),
        (account.twice.len() + account.swapped.len() + account.strays.len()).to_string(),
        row.closes.to_string(),
        row.noticed.map_or_else(String::new, seconds),
        seconds(row.healed),
        seconds(row.slowest_publish),
        format!("{before}, {most}, {after}"),
    ]
}

/// For a terminal: columns as wide as they need to be.
pub fn table(rows: &[Row]) -> String {
    let rows: Vec<_> = std::iter::once(HEADS.map(str::to_owned)).chain(rows.iter().map(cells)).collect();
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; 13] = std::array::from_fn(width);
    let line = |row: &[String; 13]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What others write into the page, and keep; this report stands before it.
const ROLLING: (&str, &str) = ("<!-- rolling -->", "<!-- /rolling -->");

/// The section of the others in a page, where it has one.
fn kept(page: &str) -> Option<&str> {
    let section = &page[page.find(ROLLING.0)?..];
    Some(&section[..section.find(ROLLING.1)? + ROLLING.1.len()])
}

#[test]
fn a_new_report_keeps_the_section_of_others() {
    let page = "# Old\n\n<!-- rolling -->\ntheirs\n<!-- /rolling -->\nmore\n";
    assert_eq!((kept(page), kept("# Old\n")), (Some("<!-- rolling -->\ntheirs\n<!-- /rolling -->"), None));
}

/// Writes the report into load/.
pub fn write(seed: u64, each: &[Row], chaos: &[Row]) {
    let path = repository().join("load/RELIABILITY.md");
    let former = fs::read_to_string(&path).unwrap_or_default();
    let rolling = kept(&former).map_or_else(String::new, |section| format!("\n{section}\n"));
    fs::write(&path, text(seed, each, chaos) + &rolling).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    println!("written: {}", path.display());
}

fn text(seed: u64, each: &[Row], chaos: &[Row]) -> String {
    let mut text = format!("{HEADING}\n{}\n", lines(each));
    let _ = write!(text, "\n## {} faults in a row\n\n{ROW}\n\n{}\n", chaos.len(), lines(chaos));
    let keeps = if history::is_kept() { "with and without history" } else { "without history" };
    let _ = write!(text, "\n## Where and when\n\n{}, seed {seed}, topics {keeps}.\n\n{READING}", machine());
    text
}

fn lines(rows: &[Row]) -> String {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let heads = line(&HEADS.map(str::to_owned));
    let rule = format!("|{}", "---|".repeat(HEADS.len()));
    let rows = rows.iter().map(|row| line(&cells(row)));
    [heads, rule].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

fn machine() -> String {
    let said = |command: &mut Command| {
        let output = command.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        output.unwrap_or_default().lines().next().unwrap_or("unknown").to_owned()
    };
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu =
        cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, model)| model);
    let redis = said(Command::new("redis-server").arg("--version"));
    let redis = redis.split(" sha").next().unwrap_or("unknown").to_owned();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{}; Linux {}, {cores} cores of {}; {redis}; {}",
        said(Command::new("date").args(["-u", "+%F"])),
        said(Command::new("uname").arg("-r")),
        cpu.unwrap_or("unknown"),
        said(Command::new(binary()).arg("--version")),
    )
}

/// The seed of this run: CHAOS_SEED, else one of its own, printed either way.
pub fn seed() -> u64 {
    let seed = env::var("CHAOS_SEED").ok().map_or_else(|| fastrand::u64(..), |text| text.parse().expect("a number"));
    println!("CHAOS_SEED={seed}");
    seed
}

const HEADING: &str = "# What faults cost

Written by `make reliability`. Two replicas, each behind a proxy, on one Redis, or, where a master is replaced, under Sentinel
or in a cluster; clients and producers go on through every fault.
Each client's diary is held against what the master acknowledged: what is missing without a word, doubled or out of order is an error.

## Each fault by itself
";

const ROW: &str =
    "Drawn by the seed, on one fleet that is never restarted; `CHAOS_SEED=n make chaos` draws them again.";

const READING: &str = "## How to read it

- *published*: what the master acknowledged, or the replica that was asked; *in doubt*: tried, with an error or no answer. It may
  arrive, once.
- *delivered*: messages at clients. *recovered*: of these, what was published while the client could not hear.
- *announced*: missing at a client, in a time that a `gap` or its own lost socket has told. Counted per client.
- *lost unannounced* and *twice, out of order* must be 0; so must *closed* unless a replica was killed.
- *noticed*: from the fault until the replica says so in `/readyz`, where nothing else shows the fault, or from the Sentinels' agreement
  until everybody listens to the new master; at most 10 s.
- *healed*: from when Redis could be reached again until every client listens and every replica takes publications; at most 3 s. Where a
  master is replaced, from the Sentinels' agreement or the old master's death; at most 15 s.
- *longest publish*: the longest that a replica let a publisher wait for a yes or a no; at most 2.5 s.
- *memory KiB*: anonymous memory of the replica that holds most: before, at most while the fault lasted, and after. It must come back to
  within 10 % or 4 MiB in 30 s, whichever is more; where a burst has left the
  allocator with more than that, the fault is done again, and must not add to it.
";
