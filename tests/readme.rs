//! The README is true: what it tells people to run is run here, with the foreign clients it names; what it
//! quotes is compared; what the code knows better is generated. `readme/blocks.rs` says how a fenced block
//! tells which.

#[path = "readme/blocks.rs"]
mod blocks;
#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "readme/generated.rs"]
mod generated;
#[path = "readme/links.rs"]
mod links;
#[path = "readme/make.rs"]
mod make;
#[path = "readme/page.rs"]
mod page;
#[path = "support/redis.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "shared; a broken fixture should panic where it broke")]
mod redis;
#[path = "readme/symptoms.rs"]
mod symptoms;
#[path = "readme/wire.rs"]
mod wire;
#[path = "readme/world.rs"]
mod world;

use std::fs;

use fanline::config::{self, Sources};

use blocks::Block;
use foreign::{Foreign, Language};
use gateway::{eventually, repository};
use world::World;

/// Every kind of block that something here proves, or that is for people.
const KINDS: [&str; 20] = [
    "sh make",
    "sh run",
    "sh publishes",
    "sh reloads",
    "sh drains",
    "text output",
    "json output",
    "json heard",
    "json client",
    "json server",
    "js json",
    "js plain",
    "js sse",
    "text stream",
    "rust example",
    "toml config",
    "nginx config",
    "haproxy config",
    "text picture",
    "text acl",
];

#[test]
fn no_block_stands_in_the_readme_that_nothing_proves() {
    let mut above = None::<Block>;
    for block in blocks::all() {
        assert!(KINDS.contains(&&*block.kind), "line {}: nothing proves a block of {:?}", block.line, block.kind);
        let proven = above.as_ref().is_some_and(|above| above.kind == "sh run" || blocks::is_result(above));
        assert!(proven || !blocks::is_result(&block), "line {}: a result of nothing that runs", block.line);
        above = Some(block);
    }
}

#[test]
fn every_command_runs_and_comes_to_what_the_readme_says() {
    for (block, results) in blocks::with_results(&["sh run"]) {
        let Some(world) = World::new() else { return };
        let printed = world.run(&block.text);
        for result in results {
            match &*result.kind {
                "json heard" => world.hears(&result.text),
                _ => assert!(
                    blocks::reads_as(result.text.trim_end(), printed.trim_end()),
                    "line {}: written\n{}printed\n{printed}",
                    result.line,
                    result.text
                ),
            }
        }
    }
}

#[test]
fn every_line_that_publishes_reaches_plain_and_json_clients() {
    let lines: Vec<_> = blocks::of("sh publishes").into_iter().flat_map(|block| lines_of(&block)).collect();
    for producer in ["redis-cli", "python3", "node", "cargo"] {
        assert!(lines.iter().any(|line| line.starts_with(producer)), "nothing is published by {producer}");
    }
    let Some(world) = World::new() else { return };
    let plain = Foreign::open(Language::Python, &world.gateway.ws_url("/ws?topic=hello"));
    for line in lines {
        world.run(&line);
        assert_eq!(plain.text(), "hi", "{line}");
        world.hears(r#"{"type":"message","topic":"hello","text":"hi"…}"#);
    }
}

/// The commands of a block, one a line, without what is said about them.
fn lines_of(block: &Block) -> Vec<String> {
    block.text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_lines_of_rust_are_those_of_the_example() {
    let example = fs::read_to_string(repository().join("examples/publish.rs")).expect("the example");
    let blocks = blocks::of("rust example");
    assert!(!blocks.is_empty());
    blocks.iter().for_each(|block| assert!(example.contains(block.text.trim()), "line {}", block.line));
}

#[test]
fn a_reload_takes_the_new_settings_and_a_drain_says_goodbye() {
    let Some(world) = World::new() else { return };
    for block in blocks::of("sh reloads") {
        world.run(&block.text);
        eventually("the log says so", || world.gateway.log().contains("configuration reloaded").then_some(()));
    }
    for block in blocks::of("sh drains") {
        world.run(&block.text);
        world.hears(r#"{"type":"goodbye","code":1012,"reason":"drain","retry_ms":…}"#);
        assert_eq!(world.ears.closed().0, 1012);
        eventually("the gateway has drained", || world.gateway.log().contains("drained").then_some(()));
    }
}

#[test]
fn every_configuration_loads_without_a_warning() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let file = home.path().join("fanline.toml");
    let blocks = blocks::of("toml config");
    assert!(!blocks.is_empty());
    for block in blocks {
        fs::write(&file, &block.text).expect("a written file");
        let loaded = config::load(&Sources { file: Some(file.clone()), ..Sources::default() });
        let loaded = loaded.unwrap_or_else(|mistakes| panic!("line {}: {mistakes}", block.line));
        assert_eq!(loaded.warnings, [""; 0], "line {}", block.line);
    }
}

#[test]
fn a_gateway_needs_no_more_of_redis_than_the_readme_grants() {
    let Some(world) = World::new() else { return };
    for line in blocks::of("text acl").iter().flat_map(|block| block.text.lines()) {
        let command: Vec<_> = line.split_whitespace().collect();
        assert_eq!(world.redis.cli(&command), "OK", "{line}");
    }
    let port = world.redis.port();
    let url = format!("redis.url=redis://fanline:secret@127.0.0.1:{port}");
    let gateway = gateway::Gateway::with_toml(world::RULE, &["--set", &url, "--set", "redis.linger=0s"]).ready();
    Foreign::open(Language::Node, &gateway.ws_url("/ws?topic=left")).close();
    eventually("the topic is left", || (world.redis.channels("fanline:left") == 0).then_some(()));
    let ears = world::ears(&gateway);
    let producer = ["--user", "producer", "--pass", "secret", "--no-auth-warning", "PUBLISH", "fanline:hello", "hi"];
    assert_eq!(world.redis.cli(&producer), "2");
    assert_eq!(ears.json()["text"], "hi");
    assert_eq!(gateway.publish("hello", "again"), 2);
    let call = ["FCALL", "fanline_publish", "1", "fanline:orders:1", "hi", "ID", "a"];
    eventually("the function is there", || {
        world.redis.cli(&[&producer[..5], &call].concat()).contains('-').then_some(())
    });
    assert_eq!(gateway.publish("orders:1", "again"), 0);
    let kept = Foreign::open(Language::Node, &gateway.ws_url("/ws?topic=orders:1&last=2"));
    assert_eq!([kept.text(), kept.text()], ["hi", "again"]);
    assert_eq!(world.redis.cli(&["ACL", "LOG"]), "");
}
