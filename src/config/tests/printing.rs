//! What is printed loads again, and the example is current.

use super::file;
use crate::config::{example, print, reference};
use crate::settings::{Route, Settings, TopicRule};

const EXAMPLE: &str = include_str!("../../../examples/fanline.toml");

#[test]
fn the_committed_example_is_current() {
    if std::env::var_os("UPDATE_EXAMPLE").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/fanline.toml"), example()).unwrap();
        return;
    }
    assert_eq!(EXAMPLE, example(), "run UPDATE_EXAMPLE=1 cargo test the_committed_example_is_current");
}

#[test]
fn the_example_loads_to_the_defaults_without_a_warning() {
    let loaded = file(EXAMPLE).load().unwrap();
    assert_eq!(loaded.settings, Settings { routes: Route::defaults(), ..Settings::default() });
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn what_the_example_leaves_behind_a_hash_is_the_default_too() {
    // The echo alone changes something, so it stays behind its hash.
    let uncomment = |line: &str| match line.strip_prefix("# ") {
        Some(key) if key.starts_with("[[") || key.split_once(" = ").is_some_and(|(name, _)| is_key(name)) => {
            key.to_owned()
        }
        _ => line.to_owned(),
    };
    let text: Vec<_> = EXAMPLE.lines().map(uncomment).collect();
    let settings = file(&text.join("\n")).load().unwrap().settings;
    assert_eq!(settings.topics.rules, [TopicRule::default()]);
    assert_eq!(settings.routes[0].limits, Some(settings.limits));
    assert_eq!(settings.routes[0].heartbeat, Some(settings.heartbeat));
}

fn is_key(name: &str) -> bool {
    name != "echo" && name.chars().all(|c| c.is_ascii_lowercase() || "_.".contains(c))
}

#[test]
fn every_key_of_the_reference_stands_in_the_example_with_its_line() {
    for entry in reference().iter().filter(|entry| !entry.key.ends_with("_file")) {
        let name = entry.key.split_once('.').unwrap().1;
        assert!(EXAMPLE.contains(&format!("# {}\n", entry.doc)), "{}", entry.key);
        assert!(EXAMPLE.contains(&format!("{name} = {}", entry.default)), "{}", entry.key);
        assert!(!entry.expected.is_empty());
    }
}

#[test]
fn every_secret_has_a_file_beside_it() {
    let keys: Vec<_> = reference().into_iter().map(|entry| entry.key).collect();
    for secret in ["redis.url", "redis.password", "internal.api_keys"] {
        assert!(keys.contains(&format!("{secret}_file")), "{secret}");
    }
}

#[test]
fn what_is_printed_loads_to_the_same_settings() {
    let text = "[public]\norigins = [\"https://a.example\"]\ntrusted_proxies = [\"::1\"]\nmax_connections = 5\n\
                [redis]\nurl = \"redis://h\"\nlinger = \"1m1s1ms\"\n[outbox]\nstall = \"off\"\ntotal = \"1025MiB\"\n\
                [log]\nlevel = \"info,fanline::broker=debug\"\n[heartbeat]\ntext = \"a\\\"\\\\\\n\\u0000ü\"\n\
                [[topics]]\nmatch = \"a*\"\non_full = \"conflate\"\n[[topics]]\nmatch = \"b\"\n\
                [[routes]]\npath = \"/e\"\non_message = \"echo\"\n[[routes]]\npath = \"/r/{x}\"\ntopics = [\"a:{path.x}\"]\nburst = 1\n\
                heartbeat = \"off\"\n";
    let settings = file(text).load().unwrap().settings;
    let printed = print(&settings);
    assert_eq!(file(&printed).load().unwrap().settings, settings, "{printed}");
}
