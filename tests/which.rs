//! Producers in other languages find a topic's home as the gateway does: in foreign programs, of node and python3.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const URLS: [&str; 3] = ["redis://10.0.0.1:6379", "redis://10.0.0.2:6379", "redis://10.0.0.3:6380"];

/// What came of a program; none where it is not installed and need not be.
fn run(program: &str, args: &[&str]) -> Option<Output> {
    let run = Command::new(program).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    if run.is_err() && std::env::var("OFFLINE").as_deref() == Ok("1") {
        println!("skipped: {program} is not installed and OFFLINE=1");
        return None;
    }
    Some(run.unwrap_or_else(|error| panic!("{program}: {error}")))
}

fn printed(program: &str, args: &[&str]) -> Option<String> {
    let output = run(program, args)?;
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What a program says where it is not told enough, and fails.
fn refused(program: &str, args: &[&str]) -> Option<String> {
    let output = run(program, args)?;
    assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{program} {args:?}: {output:?}");
    Some(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

fn gateway() -> PathBuf {
    let binary = std::env::var("GATEWAY_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_fanline").into());
    Path::new(env!("CARGO_MANIFEST_DIR")).join(binary)
}

fn gateway_says(urls: &[&str], topic: &str) -> String {
    let said = printed(&gateway().to_string_lossy(), &["--redis-url", &urls.join(","), "which", topic]);
    let said = said.unwrap_or_default();
    let home = said.lines().find_map(|line| line.strip_prefix("home    "));
    home.unwrap_or_else(|| panic!("no home in {said}")).to_owned()
}

#[test]
fn python_and_node_find_the_home_that_the_gateway_prints() {
    let mut homes = std::collections::BTreeSet::new();
    for topic in ["hello", "room:42", "room:43", "a/b.c~d", "user@example.com", "x", "1", "2", "3", "~%$#"] {
        for urls in [&URLS[..1], &URLS[..2], &URLS] {
            let said = gateway_says(urls, topic);
            for (program, script) in [("python3", "examples/which.py"), ("node", "examples/which.mjs")] {
                let args: Vec<&str> = [script, topic].into_iter().chain(urls.iter().copied()).collect();
                if let Some(found) = printed(program, &args) {
                    assert_eq!(found, said, "{program}: {topic} on {}", urls.len());
                }
            }
            homes.insert(said);
        }
    }
    assert_eq!(homes.len(), URLS.len(), "every one is some topic's home");
}

#[test]
fn python_and_node_say_how_they_are_called() {
    for (program, script) in [("python3", "which.py"), ("node", "which.mjs")] {
        let path = format!("examples/{script}");
        for args in [vec![path.as_str()], vec![path.as_str(), "room:42"]] {
            let Some(said) = refused(program, &args) else { continue };
            assert!(said.contains(&format!("{program} {script} TOPIC URL URL...")), "{args:?}: {said}");
        }
    }
}

#[test]
fn a_home_is_printed_without_user_and_password() {
    let said = gateway_says(&["rediss+sentinel://ada:hunter2@s1,s2:26380/main"], "hello");
    assert_eq!(said, "rediss+sentinel://s1:26379,s2:26380/main");
}

#[test]
fn a_gateway_that_subscribes_by_slots_says_that_producers_must_spublish() {
    let mut gateway = Command::new(gateway())
        .args(["--redis-url", "redis+cluster://:hunter2@127.0.0.1:1", "--set", "redis.sharded=true"])
        .args(["--public-listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a gateway that starts without Redis");
    let (out, log) = (gateway.stdout.take(), gateway.stderr.take());
    let told = |lines: &mut dyn Iterator<Item = String>| {
        lines.inspect(|line| assert!(!line.contains("hunter2"), "{line}")).find(|line| line.contains("must SPUBLISH"))
    };
    let printed = out.and_then(|out| told(&mut BufReader::new(out).lines().map_while(Result::ok)));
    let logged = log.and_then(|log| told(&mut BufReader::new(log).lines().map_while(Result::ok)));
    let _ = (gateway.kill(), gateway.wait());
    assert!(printed.is_some() && logged.is_some(), "{printed:?} {logged:?}");
}
