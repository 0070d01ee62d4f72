//! What the sources must not do: the absences that the design promises, read off the files.

use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom: a room imports rooms of lower floors, and words import words.
const FLOORS: &[&[&str]] = &[
    &[
        "clock",
        "topic",
        "identity",
        "position",
        "publication",
        "quote",
        "repeat",
        "command",
        "event",
        "close",
        "frame",
        "protocol",
        "settings",
    ],
    &["metrics"],
    &["outbox", "link"],
    &["broker"],
    &["hub"],
    &["session"],
    &["connection"],
    &["drain", "accept"],
    &["transport"],
    &["http"],
    &["config"],
    &["server", "client"],
    &["cli"],
    &["commands"],
];

/// The longest file that a reader takes in at once.
const MOST_LINES: usize = 400;

/// Who may start a task: each of them drains what it started.
const TASK_OWNERS: &[&str] = &["drain"];

#[test]
fn only_the_rooms_that_talk_to_redis_name_its_crates() {
    nowhere_but(&["link", "broker/redis"], &["redis", "deadpool_redis", "deadpool"]);
}

#[test]
fn only_the_doors_name_axum_or_hyper() {
    let http = &["axum", "hyper", "hyper_util", "http_body_util", "httparse", "tower"];
    nowhere_but(&["transport", "http", "accept", "server", "client"], http);
}

#[test]
fn words_know_no_runtime() {
    let words = sources("src").into_iter().filter(|file| FLOORS[0].contains(&file.room()));
    let named = words.filter(|file| file.names("tokio") || file.names("tokio_util"));
    none(named.map(|file| file.path));
}

#[test]
fn imports_point_downwards() {
    let mut broken = Vec::new();
    for file in sources("src").iter().filter(|file| !["lib", "main"].contains(&file.room())) {
        let own = floor(file.room());
        for import in file.imports() {
            let downwards = floor(&import) < own || floor(&import) == Some(0) && own == Some(0);
            if own.is_none() || !(downwards || import == file.room()) {
                broken.push(format!("{} ({}) imports {import}", file.path, file.room()));
            }
        }
    }
    none(broken);
}

#[test]
fn every_room_has_a_floor() {
    let rooms = sources("src").into_iter().filter(|file| !["lib", "main"].contains(&file.room()));
    none(rooms.filter(|file| floor(file.room()).is_none()).map(|file| file.path));
}

#[test]
fn no_file_is_longer_than_a_reader_takes_in() {
    let long = sources("src").into_iter().filter(|file| file.text.lines().count() > MOST_LINES);
    none(long.map(|file| format!("{}: {} lines", file.path, file.text.lines().count())));
}

#[test]
fn every_task_has_an_owner() {
    let bare = |file: &Source| ["tokio::spawn(", "task::spawn("].iter().any(|call| file.code.contains(call));
    let strays = sources("src").into_iter().filter(|file| !TASK_OWNERS.contains(&file.room()));
    none(strays.filter(bare).map(|file| file.path));
}

#[test]
fn no_test_is_switched_off_or_content_with_any_panic() {
    let attributes = [concat!("#[", "ignore"), concat!("#[", "should_panic")];
    let files = ["src", "tests", "load"].into_iter().flat_map(sources);
    let lame = files.filter(|file| attributes.iter().any(|attribute| file.text.contains(attribute)));
    none(lame.map(|file| file.path));
}

#[test]
fn only_the_metrics_page_chooses_labels() {
    let others = sources("src").into_iter().filter(|file| file.room() != "metrics");
    none(others.filter(|file| file.text.contains("with_label_values")).map(|file| file.path));
}

/// A file of ours.
struct Source {
    /// From the repository's root.
    path: String,
    /// As it is.
    text: String,
    /// Without comments and without the tests at its end.
    code: String,
}

impl Source {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a readable file");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = path.strip_prefix(root).expect("a file of ours").display().to_string();
        let tests = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
        let lines = text[..tests].lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = lines.collect::<Vec<_>>().join("\n");
        let code = if path.ends_with("/tests.rs") { String::new() } else { code };
        Self { path, text, code }
    }

    /// Where it lies below `src`: `hub/fanout.rs`.
    fn place(&self) -> &str {
        self.path.strip_prefix("src/").unwrap_or(&self.path)
    }

    /// The room it belongs to: `hub`.
    fn room(&self) -> &str {
        let end = self.place().find(['/', '.']).unwrap_or(self.place().len());
        &self.place()[..end]
    }

    fn lies_in(&self, place: &str) -> bool {
        self.place().strip_prefix(place).is_some_and(|rest| rest.starts_with(['/', '.']))
    }

    /// Whether its code names a crate: `name::` that is no path's inner part, or `use name`.
    fn names(&self, name: &str) -> bool {
        let imported = [format!("use {name};"), format!("use {name} as ")];
        let path = format!("{name}::");
        let outer = |&(at, _): &(usize, &str)| {
            let before = &self.code[..at];
            let before = before.strip_suffix("::").unwrap_or(before);
            !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
        };
        imported.iter().any(|line| self.code.contains(line)) || self.code.match_indices(&path).any(|hit| outer(&hit))
    }

    /// The rooms its code imports, by `crate::room` or `crate::{room, …}`.
    fn imports(&self) -> Vec<String> {
        let parts = self.code.split("crate::").skip(1);
        parts
            .flat_map(|rest| if let Some(group) = rest.strip_prefix('{') { heads(group) } else { vec![word(rest)] })
            .collect()
    }
}

/// The first word of each member of a `{…}` group, whose opening brace is already passed.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut heads) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                heads.push(word(group[start..at].trim()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Every Rust file below a folder of the repository.
fn sources(folder: &str) -> Vec<Source> {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut files);
    assert!(!files.is_empty(), "no sources in {folder}");
    files.iter().map(|path| Source::read(path)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        match path.is_dir() {
            true if !hidden && !path.ends_with("node_modules") => collect(&path, files),
            false if path.extension().is_some_and(|end| end == "rs") => files.push(path),
            _ => {}
        }
    }
}

#[track_caller]
fn nowhere_but(places: &[&str], crates: &[&str]) {
    let strangers = sources("src").into_iter().filter(|file| !places.iter().any(|place| file.lies_in(place)));
    none(strangers.filter(|file| crates.iter().any(|name| file.names(name))).map(|file| file.path));
}

#[track_caller]
fn none(found: impl IntoIterator<Item = String>) {
    let found: Vec<_> = found.into_iter().collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_reader_of_sources_sees_crates_and_imports_as_the_compiler_does() {
    let source = |code: &str| Source { path: "src/hub/x.rs".into(), text: String::new(), code: code.into() };
    for code in
        ["use redis::Client;", "let c = redis::Client::open(u);", "use redis;", "x(::redis::Client)", "use ::redis::A;"]
    {
        assert!(source(code).names("redis"), "{code}");
    }
    for code in ["use crate::broker::redis::Links;", "pub mod redis;", "let deadpool_redis = 1;", "settings.redis.url"]
    {
        assert!(!source(code).names("redis"), "{code}");
    }
    let imports = source("use crate::{hub::{A, B}, topic::Topic};\nlet x = crate::event::Y;").imports();
    assert_eq!(imports, ["hub", "topic", "event"]);
    assert_eq!((source("").room(), source("").lies_in("hub"), source("").lies_in("hu")), ("hub", true, false));
}
