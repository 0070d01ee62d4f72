//! What `make up` refuses, and how: everything that is wrong at once, and what to do about it.

use std::net::TcpListener;

use crate::gateway::{eventually, signal};
use crate::house::{Stack, is_there};

#[test]
fn a_second_one_in_its_folder_is_told_so_and_one_that_is_killed_leaves_nothing() {
    let stack = Stack::up(&[("PROMETHEUS", "off"), ("REPLICAS", "1")]);
    let second = stack.make("up", &[("PROMETHEUS", "off")]);
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("it runs already") && said.contains("make down"), "{said}");
    assert!(!second.status.success());

    let pids = stack.pids();
    assert_eq!(pids.iter().filter(|&&pid| is_there(pid)).count(), 4, "Redis, a replica, HAProxy, the producer");
    signal(stack.keeper(), "KILL");
    eventually("all end with the one that keeps them", || pids.iter().all(|&pid| !is_there(pid)).then_some(()));
    let down = stack.make("down", &[]);
    let said = String::from_utf8_lossy(&down.stderr);
    assert!(said.contains("nothing runs in") && said.contains("make up"), "{said}");
}

#[test]
fn taken_ports_missing_programs_and_wrong_numbers_are_named_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let home = tempfile::tempdir().unwrap();
    let refused = |settings: &[(&str, &str)]| {
        let done = crate::house::make("up", home.path(), settings).output().unwrap();
        assert!(!done.status.success(), "{done:?}");
        String::from_utf8_lossy(&done.stderr).into_owned()
    };
    let said = refused(&[("PORTS", ""), ("REDIS_PORT", &port), ("GATEWAY_BIN", "/nowhere/fanline")]);
    let expected = format!("port {port} (REDIS_PORT) is taken; REDIS_PORT=… names another, PORTS=free takes free ones");
    assert!(said.contains(&expected), "{said}");
    assert!(said.contains("/nowhere/fanline: no such program; make up builds it"), "{said}");

    let said = refused(&[("PORTS", ""), ("REDIS_PORT", "8115")]);
    assert!(said.contains("port 8115 (INTERNAL_5) is that of REDIS_PORT, too; REPLICA_PORTS=…"), "{said}");

    let said = refused(&[("REPLICAS", "9"), ("API_PORT", "many"), ("RULES", "/nowhere/rules.yaml"), ("PORTS", "any")]);
    for expected in [
        "REPLICAS=9: expected a whole number from 1 to 8, such as REPLICAS=3",
        "API_PORT=many: expected a whole number from 1 to 65535, such as API_PORT=8081",
        "RULES=/nowhere/rules.yaml: no such file",
        "PORTS=any: expected free, or nothing",
    ] {
        assert!(said.contains(expected), "{said}");
    }
}
