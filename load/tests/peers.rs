//! Servers of others beside the floor at a tiny size: foreign ones, on Node, as they are compared, and one that is broken.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use serde_json::Value;
use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
    thread,
};
use tempfile::TempDir;

const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

/// Twenty sockets, one short window each; the results go to `out`. `None` where there is no second core.
fn compare(peers: &Path, out: &Path, only: &[&str]) -> Option<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanline-load"));
    command.arg("compare").arg("--peers").arg(peers).arg("--out").arg(out);
    command.args(["--sockets", "20", "--connections", "20", "--pairs", "1", "--window", "0.2"]);
    command.args(only.iter().flat_map(|name| ["--only", name]));
    let output = command.output().unwrap();
    if thread::available_parallelism().unwrap().get() == 1 {
        assert!(said(&output).contains("a second core is needed"), "{}", said(&output));
        return None;
    }
    Some(output)
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

fn rows(out: &Path) -> Vec<Value> {
    let json: Value = serde_json::from_slice(&fs::read(out.join("peers.json")).unwrap()).unwrap();
    json["rows"].as_array().unwrap().clone()
}

#[test]
fn peers_on_node_deliver_everything_beside_the_floor() {
    let out = tempfile::tempdir().unwrap();
    let Some(output) = compare(Path::new(PEERS), out.path(), &["ws", "socket-io"]) else { return };
    assert!(output.status.success(), "{}", said(&output));
    let rows = rows(out.path());
    let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["floor", "ws", "Socket.IO"], "{}", said(&output));
    for cost in rows.iter().flat_map(|row| [&row["one"], &row["eight"]]) {
        let faults = &cost["faults"];
        assert!(faults["delivered"].as_u64().unwrap() > 100, "{cost}");
        let sound = ["lost", "twice", "misordered", "closed"].iter().all(|fault| faults[fault] == 0);
        assert!(sound && cost["ratio"]["median"].as_f64().unwrap() > 0.0, "{cost}");
    }
    // As many as it took the floor to meet itself.
    let pairs = |name: &str| rows.iter().map(|row| row[name]["pairs"].as_u64().unwrap()).collect::<Vec<_>>();
    let are_as_many = |pairs: Vec<u64>| (1..=3).contains(&pairs[0]) && pairs.iter().all(|one| *one == pairs[0]);
    assert!(["one", "eight"].into_iter().all(|name| are_as_many(pairs(name))), "{rows:#?}");
    let results = fs::read_to_string(out.path().join("RESULTS.md")).unwrap();
    assert!(results.contains("- **floor**, once more behind all others: "), "{results}");
    assert!(results.contains("## Beside its peers") && results.contains("`node ws.js "), "{results}");
}

/// `ws.js` that sends every message to everybody twice.
fn stutter() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    symlink(Path::new(PEERS).join("node_modules"), folder.path().join("node_modules")).unwrap();
    let sound = fs::read_to_string(Path::new(PEERS).join("ws.js")).unwrap();
    let send = "socket.send(message, { binary: false });";
    assert!(sound.contains(send), "{sound}");
    let broken = sound.replace(send, &format!("{{ {send} {send} }}"));
    fs::write(folder.path().join("ws.js"), broken).unwrap();
    fs::copy(Path::new(PEERS).join("package.json"), folder.path().join("package.json")).unwrap();
    folder
}

#[test]
fn a_peer_that_delivers_wrongly_is_shown_with_what_went_wrong() {
    let (peers, out) = (stutter(), tempfile::tempdir().unwrap());
    let Some(output) = compare(peers.path(), out.path(), &["ws"]) else { return };
    assert!(output.status.success(), "{}", said(&output));
    let rows = rows(out.path());
    let twice = rows[1]["one"]["faults"]["twice"].as_u64().unwrap();
    assert!(twice > 100, "{}", said(&output));
    let line = said(&output).lines().find(|line| line.starts_with("ws ")).unwrap().to_owned();
    assert!(line.contains(" twice"), "{line}");
}

#[test]
fn a_peer_that_is_not_here_is_named_with_what_installs_it() {
    let nowhere = tempfile::tempdir().unwrap();
    let Some(output) = compare(nowhere.path(), nowhere.path(), &["ws"]) else { return };
    assert!(output.status.success(), "{}", said(&output));
    let results = fs::read_to_string(nowhere.path().join("RESULTS.md")).unwrap();
    assert!(results.contains("- not measured: ws: ws is not here; `make peers` installs it"), "{results}");
}
