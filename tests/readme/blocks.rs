//! The README taken apart: its fenced blocks, its generated parts, its links.
//!
//! What stands behind a fence's language says how it is proven:
//!
//! - `sh run`: bash runs it; `sh drains`, `sh reloads`: and the gateway does so; `sh publishes`: each line
//!   alone reaches every listener; `sh make`: the commands of the Makefile.
//! - `… output`: what the block above prints, `…` standing for whatever differs; `json heard`: what a json
//!   client that listens to `hello` hears meanwhile.
//! - `json client`, `json server`, `text stream`: lines of the wire protocol. `js json`, `js plain`: browser snippets;
//!   `js sse`: one that `tests/chromium.rs` runs.
//!   `rust example`: lines of `examples/publish.rs`. `toml config`: loaded.
//! - `nginx config`, `haproxy config`, `text picture`: for people.

use std::fs;

use crate::gateway::repository;

/// A fenced block.
#[derive(Debug, Clone)]
pub struct Block {
    /// The line of its fence, from 1.
    pub line: usize,
    /// Language and proof, e.g. `sh run`.
    pub kind: String,
    /// What stands in it.
    pub text: String,
}

/// The README's text.
pub fn text() -> String {
    fs::read_to_string(repository().join("README.md")).expect("README.md")
}

/// All fenced blocks, in order.
pub fn all() -> Vec<Block> {
    let text = text();
    let (mut blocks, mut open) = (Vec::new(), None::<Block>);
    for (line, number) in text.lines().zip(1..) {
        match (line.strip_prefix("```"), open.take()) {
            (Some(kind), None) => open = Some(Block { line: number, kind: kind.trim().into(), text: String::new() }),
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(block)) => open = Some(Block { text: block.text + line + "\n", ..block }),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence stays open: {open:?}");
    blocks
}

/// The blocks of one kind.
pub fn of(kind: &str) -> Vec<Block> {
    all().into_iter().filter(|block| block.kind == kind).collect()
}

/// The blocks of these kinds, each with those right behind it that say what comes of it.
pub fn with_results(kinds: &[&str]) -> Vec<(Block, Vec<Block>)> {
    let mut found: Vec<(Block, Vec<Block>)> = Vec::new();
    for block in all() {
        match found.last_mut() {
            Some((_, results)) if is_result(&block) => results.push(block),
            _ => found.push((block, Vec::new())),
        }
    }
    found.into_iter().filter(|(block, _)| kinds.contains(&&*block.kind)).collect()
}

/// Whether a block says what comes of the one above.
pub fn is_result(block: &Block) -> bool {
    block.kind.ends_with(" output") || block.kind == "json heard"
}

/// Whether `found` reads as `written`, in which `…` stands for whatever differs.
pub fn reads_as(written: &str, found: &str) -> bool {
    let mut parts = written.split('…');
    let Some(mut rest) = parts.next().and_then(|first| found.strip_prefix(first)) else { return false };
    let mut last = None;
    for part in parts {
        last = Some(part);
        match rest.find(part) {
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
    }
    match last {
        None => rest.is_empty(),
        Some(last) => last.is_empty() || found.ends_with(last),
    }
}

#[test]
fn a_pattern_reads_as_what_differs_only_where_it_may() {
    assert!(reads_as("a…c", "abc") && reads_as("…", "") && reads_as("abc", "abc") && reads_as("a…", "abc"));
    assert!(reads_as(r#"{"n":…,"t":…}"#, r#"{"n":1,"t":{"x":2}}"#) && reads_as("a…b", "abb"));
    assert!(!reads_as("abc", "abcd") && !reads_as("a…c", "abcd") && !reads_as("a…x…c", "abc"));
}
