//! The log leaves by itself: who reads it may stand still.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::client::{Client, answer};
use crate::gateway::{Gateway, PATIENCE, eventually};
use crate::support::redis::RedisServer;

const DROPPED: &str = "fanline_log_lines_dropped_total";

/// A gateway whose log, of which clients that come and go make much, is read by nobody: the pipe is full, and so is what
/// waits for it.
fn clogged() -> Gateway {
    let gateway = Gateway::unread(&["--log-level", "debug", "--set", "drain.delay=0s"]).ready();
    let clogged = (0..300).any(|_| {
        (0..100).for_each(|_| come_and_go(&gateway));
        gateway.metric(DROPPED) > 0.0
    });
    assert!(clogged, "30,000 connections leave more lines than wait");
    gateway
}

fn come_and_go(gateway: &Gateway) {
    let mut socket = TcpStream::connect(gateway.public()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(b"GET /sse?topic=a HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    socket.read_exact(&mut [0]).unwrap();
}

#[test]
fn a_log_that_nobody_reads_stops_nothing_and_tells_what_it_lacks() {
    let mut gateway = clogged();
    let mut client = Client::open(&gateway.ws_url("/ws?topic=a"));
    for text in ["one", "two", "three"] {
        assert_eq!(gateway.publish("a", text), 1);
        assert_eq!(client.text(), text);
    }
    assert_eq!(gateway.get("/livez").status, 200);
    gateway.read_log();
    eventually("it says what is missing", || gateway.log().contains("log lines were dropped").then_some(()));
}

#[test]
fn a_log_that_nobody_reads_does_not_hold_up_the_end() {
    let gateway = clogged();
    let begun = Instant::now();
    let (status, _) = gateway.stop();
    assert!(status.success(), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn descriptors_that_run_out_are_told_once_and_not_twenty_times_a_second() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    // Taken before there is none left to come by.
    let mut operator = TcpStream::connect(gateway.internal()).unwrap();
    let mut dropped = || {
        operator.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let page = answer(&mut operator).unwrap().body;
        let line = page.lines().find(|line| line.starts_with("fanline_handshakes_total{outcome=\"dropped\"}"));
        line.unwrap().rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()
    };
    assert_eq!(dropped(), 0);
    let process = Pid::from_raw(i32::try_from(gateway.pid()).unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = |current| prlimit(process, Resource::Nofile, Rlimit { current: Some(current), maximum });
    limit(3).unwrap();
    let _waits = TcpStream::connect(gateway.public()).unwrap();
    eventually("it fails again and again", || (dropped() >= 5).then_some(()));
    limit(1000).unwrap();
    let log = eventually("it is told", || Some(gateway.log()).filter(|log| log.contains("cannot accept")));
    assert_eq!(log.matches("cannot accept").count(), 1, "{log}");
}

#[test]
fn clients_that_are_closed_for_what_they_do_fill_no_log() {
    let gateway = Gateway::start(&["--set", "limits.messages_per_second=1", "--set", "limits.burst=1"]).ready();
    let begun = Instant::now();
    // Longer than a second, whose lines alone were bounded once.
    while begun.elapsed() < Duration::from_millis(2500) {
        let mut forbidden = Client::open(&gateway.ws_url("/ws"));
        forbidden.send("no".into());
        assert_eq!(forbidden.closed().0, 4003);
    }
    let mut other = Client::json_open(&gateway);
    other.send([r#"{"type":"ping"}"#; 9].join("\n").into());
    assert_eq!(other.rest().1, 4101);
    let lines = |reason: &str| {
        let log = gateway.log();
        let of = |line: &&str| line.contains("connection closed") && line.contains(&format!("reason=\"{reason}\""));
        log.lines().filter(of).count()
    };
    eventually("another reason is hidden by none", || (lines("rate_limited") == 1).then_some(()));
    let closed = gateway.metric(r#"fanline_connections_closed_total{reason="forbidden"}"#) as usize;
    assert!(closed > 30, "{closed}");
    assert_eq!(lines("forbidden"), 10, "{}", gateway.log());
}

#[test]
fn another_cause_for_which_nobody_is_dialled_is_told_at_once() {
    const SAID: &str = "nobody to send the canary by";
    let Some(redis) = RedisServer::start() else { return };
    redis.let_in(">old");
    let url = format!("unix://{}", redis.unix_socket());
    let toml = format!("[redis]\nurl = {url:?}\nusername = \"gateway\"\npassword = \"old\"\n");
    let gateway = Gateway::with_toml(&toml, &[]).ready();
    let lines = |cause: &str| {
        let log = gateway.log();
        log.lines().filter(|line| line.contains(SAID) && line.contains(cause)).count()
    };
    let elsewhere = redis.unix_socket() + ".elsewhere";
    std::fs::rename(redis.unix_socket(), &elsewhere).unwrap();
    redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    eventually("nobody is there", || (lines("No such file") > 0).then_some(()));
    redis.let_in(">new");
    std::fs::rename(&elsewhere, redis.unix_socket()).unwrap();
    let begun = Instant::now();
    eventually("nobody is let in", || (lines("WRONGPASS") > 0).then_some(()));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!((lines("No such file"), lines("WRONGPASS")), (1, 1), "{}", gateway.log());
}

#[test]
fn start_lines_that_nobody_wants_end_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (reader, stdout) = std::io::pipe().unwrap();
    drop(reader);
    let mut process = crate::tools::command(home.path(), &["serve"])
        .args(["--set", "public.listen=127.0.0.1:0", "--set", "internal.listen=127.0.0.1:0", "--set", "drain.delay=0s"])
        .stdout(stdout)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = std::io::BufReader::new(process.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut log, &mut line).unwrap();
    assert!(line.contains("listening"), "{line}");
    crate::gateway::signal(process.id(), "TERM");
    let status = eventually("it drains", || process.try_wait().unwrap());
    assert!(status.success(), "{status}");
}
