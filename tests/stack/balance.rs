//! Replicas that are new have no clients; those that are old send some of theirs away, and the balancer evens it out.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::crowd::Crowd;
use crate::gateway::eventually;
use crate::house::{KEY, Stack, get, post};
use crate::producer::Producer;

const CLIENTS: usize = 200;
const REPLICAS: [&str; 4] = ["r1", "r2", "r3", "r4"];

/// How many the fullest may have, as a multiple of the mean.
const FULLEST: f64 = 1.25;

#[test]
fn after_scaling_two_to_four_a_shed_evens_out_and_nothing_is_lost() {
    let stack = Stack::up(&[("REPLICAS", "2"), ("PROMETHEUS", "off")]);
    let crowd = Crowd::gather(CLIENTS, stack.at("BALANCER_PORT"), "orders:test");
    let producer = Producer::start(&stack, "orders:test");
    stack.scale(4);
    REPLICAS.iter().for_each(|name| stack.until_balancer_finds(name, "UP"));
    assert_eq!(crowd.spread(&REPLICAS), [CLIENTS / 2, CLIENTS / 2, 0, 0], "nobody moves by itself");

    for old in ["INTERNAL_1", "INTERNAL_2"] {
        let request = json!({ "fraction": 0.5, "over": "10s" });
        let (status, body) = post(stack.at(old), "/api/shed", &request, KEY).unwrap();
        assert!((200..300).contains(&status), "{status} {body}");
    }
    let curve = Curve::follow(&crowd, || remaining(&stack, "INTERNAL_1") + remaining(&stack, "INTERNAL_2") == 0.0);
    crowd.all_listen();
    println!("{}", curve.picture(&crowd.spread(&REPLICAS)));

    let fullest = *crowd.spread(&REPLICAS).iter().max().unwrap() as f64 / (CLIENTS / REPLICAS.len()) as f64;
    assert!(fullest <= FULLEST, "the fullest has {fullest:.2} times the mean");
    assert_eq!((crowd.ends("r1", 4200), crowd.ends("r2", 4200)), (CLIENTS / 4, CLIENTS / 4));
    assert_eq!((crowd.all_ends(), crowd.turned_away()), (CLIENTS / 2, Vec::new()), "somebody met an error");
    crowd.judge(producer.stop());
}

/// How many connections a replica's shed has yet to close.
fn remaining(stack: &Stack, replica: &str) -> f64 {
    let (_, page) = get(stack.at(replica), "/metrics").unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix("fanline_shed_remaining "));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no fanline_shed_remaining in {page}"))
}

/// The connections of each replica, second by second.
struct Curve(Vec<(Duration, Vec<usize>)>);

impl Curve {
    fn follow(crowd: &Crowd, mut is_over: impl FnMut() -> bool) -> Self {
        let begin = Instant::now();
        let mut points = vec![(Duration::ZERO, crowd.spread(&REPLICAS))];
        eventually("the shed is over", || {
            if begin.elapsed() > points.last().unwrap().0 + Duration::from_secs(1) {
                points.push((begin.elapsed(), crowd.spread(&REPLICAS)));
            }
            is_over().then_some(())
        });
        Self(points)
    }

    fn picture(&self, end: &[usize]) -> String {
        let row = |when: &str, spread: &[usize]| {
            let numbers: String = spread.iter().map(|count| format!("{count:>6}")).collect();
            format!("{when:>6}{numbers}\n")
        };
        let head = format!("{:>6}{}\n", "s", REPLICAS.map(|name| format!("{name:>6}")).concat());
        let rows = self.0.iter().map(|(when, spread)| row(&when.as_secs().to_string(), spread));
        head + &rows.collect::<String>() + &row("end", end)
    }
}
