//! Prometheus watches: it scrapes whoever is there, and its alerts come and go.

use std::process::Command;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::crowd::Crowd;
use crate::gateway::{eventually, repository, signal};
use crate::house::{KEY, Stack, get};
use crate::producer::Producer;

/// Scrapes and rules come every five seconds each, and an alert waits for some of them.
const WATCHED: Duration = Duration::from_secs(90);

const REPLICAS: [&str; 4] = ["r1", "r2", "r3", "r4"];

#[test]
fn redis_goes_away_and_nobody_is_ejected_but_an_alert_fires_until_it_is_back() {
    let rules = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(&rules, impatient(&std::fs::read_to_string(repository().join(RULES)).unwrap())).unwrap();
    let stack = Stack::up(&[("RULES", rules.path().to_str().unwrap())]);
    let prometheus = Prometheus::of(&stack);
    stack.scale(4);
    prometheus.until("all four replicas are scraped", || prometheus.ask(r#"up{job="fanline"} == 1"#).len() == 4);
    prometheus.until("HAProxy is scraped", || prometheus.ask(r#"up{job="haproxy"} == 1"#).len() == 1);
    assert_eq!(prometheus.firing("FanlineRedisAway"), 0);
    let crowd = Crowd::gather(8, stack.at("BALANCER_PORT"), "orders:test");
    let falls = || REPLICAS.map(|name| stack.balancer(name, "chkdown"));
    let before = falls();

    signal(stack.pid("redis"), "KILL");
    for slot in 1..=4 {
        eventually("the replica knows", || {
            let (status, body) = get(stack.at(&format!("INTERNAL_{slot}")), "/readyz").unwrap();
            (status == 200 && body.contains("degraded")).then_some(())
        });
    }
    prometheus.until("the alert fires", || prometheus.firing("FanlineRedisAway") == 1);
    assert_eq!(falls(), before, "HAProxy found a replica down");
    assert!(REPLICAS.iter().all(|name| stack.balancer(name, "status") == "UP"));
    assert_eq!(crowd.all_ends(), 0, "a socket was closed");

    // What has ended is started again.
    stack.scale(4);
    prometheus.until("the alert is over", || prometheus.firing("FanlineRedisAway") == 0);
    let request = json!({ "topic": "orders:test", "data": { "n": 0 } });
    eventually("it can be published again", || (stack.publish(&request, KEY).0 == 200).then_some(()));
    crowd.judge(1);
    assert_eq!((falls(), crowd.all_ends()), (before, 0), "somebody was disturbed");
}

#[test]
fn every_query_of_the_dashboard_and_of_the_rules_has_an_answer() {
    let stack = Stack::up(&[]);
    let crowd = Crowd::gather(12, stack.at("BALANCER_PORT"), "orders:test");
    let producer = Producer::start(&stack, "orders:test");
    let python = repository().join("tests/.tools/venv/bin/python");
    let live = repository().join("tests/deploy/live.py");
    let url = format!("http://{}", stack.at("PROMETHEUS_PORT"));
    // It asks again until all is there, or its time is over.
    let done = Command::new(&python).arg(&live).args(["--prometheus", &url, "--deadline", "90"]).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{}: {said}", live.display());
    println!("{said}");
    crowd.judge(producer.stop());
}

const RULES: &str = "helm/fanline/rules/fanline.yaml";

/// The same rules, but alerts wait for five seconds in place of minutes.
fn impatient(rules: &str) -> String {
    let waits = |line: &&str| line.trim_start().starts_with("for: ");
    assert!(rules.lines().filter(waits).count() > 10, "no alert waits: {rules}");
    let shorten = |line: &str| match line.split_once("for: ") {
        Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 5s\n"),
        _ => format!("{line}\n"),
    };
    rules.lines().map(shorten).collect()
}

struct Prometheus(std::net::SocketAddr);

impl Prometheus {
    fn of(stack: &Stack) -> Self {
        Self(stack.at("PROMETHEUS_PORT"))
    }

    /// The series of an expression.
    fn ask(&self, expression: &str) -> Vec<Value> {
        let query = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let answer = self.get(&format!("/api/v1/query?query={query}"));
        answer["data"]["result"].as_array().unwrap().clone()
    }

    /// How many alerts of this name fire.
    fn firing(&self, name: &str) -> usize {
        let answer = self.get("/api/v1/alerts");
        let alerts = answer["data"]["alerts"].as_array().unwrap();
        alerts.iter().filter(|alert| alert["labels"]["alertname"] == name && alert["state"] == "firing").count()
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = get(self.0, path).unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Asks again until it is so.
    #[track_caller]
    fn until(&self, what: &str, mut probe: impl FnMut() -> bool) {
        let deadline = Instant::now() + WATCHED;
        while !probe() {
            assert!(Instant::now() < deadline, "not within {WATCHED:?}: {what}\n{}", self.get("/api/v1/alerts"));
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
