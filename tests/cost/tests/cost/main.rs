//! The guard: what the hot paths take in instructions and ask of the allocator is what `baseline.json` says.
//! None of it depends on how fast or how busy the machine is.

#![allow(clippy::unwrap_used, reason = "a broken fixture should panic where it broke")]

mod baseline;
mod judge;
mod measure;
#[path = "../../../support/redis.rs"]
#[allow(dead_code, reason = "shared; not all of it is used here")]
mod redis;

use baseline::{Baseline, Toolchain};
use measure::{Costs, Guarded, Quantity};

/// What is guarded, how often it is done, and how far a quantity may be from the baseline, in parts of it.
/// Each is some times what it was seen to vary in repeated runs, on a quiet machine and on a busy one. Instructions
/// vary by 0.5 % there, but by up to 4 % where a change elsewhere makes the compiler inline differently.
const GUARDED: &[Guarded] = &[
    Guarded { case: "plain", times: 20, within: &DELIVERY },
    Guarded { case: "json", times: 20, within: &DELIVERY },
    Guarded { case: "plain-by-8", times: 20, within: &DELIVERY },
    Guarded { case: "json-by-8", times: 20, within: &DELIVERY },
    Guarded { case: "deflated", times: 20, within: &DELIVERY },
    // How Redis' bytes are cut into reads differs from run to run, and more on a busy machine: a read costs instructions
    // for each publication in it the fewer they are.
    Guarded {
        case: "ingest",
        times: 5000,
        within: &[(Quantity::Instructions, 0.15), (Quantity::Allocations, 0.02), (Quantity::Bytes, 0.05)],
    },
    Guarded { case: "decode", times: 100_000, within: &[(Quantity::Instructions, 0.05), (Quantity::Allocations, 0.0)] },
    // How often the gateway's thread sleeps between a client's steps differs from run to run.
    Guarded { case: "connect", times: 300, within: &[(Quantity::Instructions, 0.15)] },
    Guarded {
        case: "connect",
        times: 1000,
        within: &[(Quantity::Allocations, 0.01), (Quantity::Bytes, 0.01), (Quantity::Held, 0.01)],
    },
    Guarded { case: "come-and-go", times: 1000, within: &[(Quantity::Allocations, 0.01), (Quantity::Held, 0.0)] },
];

const DELIVERY: [(Quantity, f64); 3] =
    [(Quantity::Instructions, 0.05), (Quantity::Allocations, 0.02), (Quantity::Bytes, 0.02)];

#[test]
fn no_hot_path_costs_more_than_the_baseline_says() {
    assert!(!cfg!(debug_assertions), "the baseline is of an optimised build: add --profile quick");
    let Some(redis) = redis::RedisServer::start() else { return };
    let toolchain = Toolchain::here();
    let measured: Costs = GUARDED.iter().flat_map(|guarded| measure::costs(guarded, &redis.url())).collect();
    print!("{}", measure::table(&measured));
    if std::env::var_os("UPDATE_COST").is_some() {
        return Baseline { toolchain, costs: measured }.write();
    }
    let baseline = Baseline::read();
    let verdict = judge::judge(GUARDED, &baseline, &toolchain, &measured);
    verdict.notes.iter().for_each(|note| println!("{note}"));
    assert!(
        verdict.faults.is_empty(),
        "{}\n\nWhat is meant to be so is accepted by\n    UPDATE_COST=1 cargo test --profile quick -p fanline-cost --test cost\n\
         and committed with the change that made it so.",
        verdict.faults.join("\n")
    );
}
