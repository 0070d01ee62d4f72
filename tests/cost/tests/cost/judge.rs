//! Which costs are not what the baseline says.

use crate::baseline::{Baseline, Toolchain};
use crate::measure::{Costs, Guarded, Quantity};

/// Another compiler, C library or set of features changes every count a little: then so many times the distance is
/// allowed for instructions, and what became less is no fault.
const OTHER_TOOLCHAIN: f64 = 5.0;

/// What is wrong, and what is to be known.
#[derive(Debug, Default)]
pub struct Verdict {
    pub faults: Vec<String>,
    pub notes: Vec<String>,
}

/// Compares what was measured with the baseline.
pub fn judge(guarded: &[Guarded], baseline: &Baseline, here: &Toolchain, measured: &Costs) -> Verdict {
    let theirs = &baseline.toolchain;
    let mut verdict = Verdict::default();
    if here != theirs {
        verdict.notes.push(format!("the baseline is of {theirs:?}, this is {here:?}: {OTHER_TOOLCHAIN} times as far"));
    }
    for Guarded { case, within, .. } in guarded {
        for &(quantity, within) in *within {
            let name = quantity.of(case);
            if quantity == Quantity::Instructions && here.processor != theirs.processor {
                verdict.notes.push(format!("{name}: not judged; they are another processor's"));
                continue;
            }
            let (Some(&was), Some(&is)) = (baseline.costs.get(&name), measured.get(&name)) else {
                verdict.faults.push(format!("{name}: not in the baseline, or not measured"));
                continue;
            };
            let widens = here != theirs && quantity == Quantity::Instructions;
            let within = if widens { within * OTHER_TOOLCHAIN } else { within };
            let allowed = was.abs() * within;
            if is - was > allowed {
                verdict.faults.push(format!(
                    "{name}: {is}, was {was}: {}, allowed is {:+.1} %",
                    by(is, was),
                    within * 100.0
                ));
            } else if was - is > allowed && here == theirs {
                verdict
                    .faults
                    .push(format!("{name}: {is}, was {was}: {}; well done, keep it by a new baseline", by(is, was)));
            }
        }
    }
    verdict
}

fn by(is: f64, was: f64) -> String {
    if was == 0.0 { format!("{:+} from nothing", is) } else { format!("{:+.1} %", (is / was - 1.0) * 100.0) }
}

const GUARDED: &[Guarded] =
    &[Guarded { case: "x", times: 1, within: &[(Quantity::Instructions, 0.03), (Quantity::Held, 0.0)] }];

fn verdict(instructions: f64, held: f64, rustc: &str, processor: &str) -> Verdict {
    let toolchain = |rustc: &str, processor: &str| Toolchain {
        rustc: rustc.into(),
        libc: "glibc".into(),
        processor: processor.into(),
        features: String::new(),
    };
    let costs = |instructions, held| {
        Costs::from([(Quantity::Instructions.of("x"), instructions), (Quantity::Held.of("x"), held)])
    };
    let baseline = Baseline { toolchain: toolchain("1", "a"), costs: costs(1000.0, 0.0) };
    judge(GUARDED, &baseline, &toolchain(rustc, processor), &costs(instructions, held))
}

#[test]
fn what_grew_or_fell_beyond_its_tolerance_is_a_fault_and_says_by_how_much() {
    assert!(verdict(1030.0, 0.0, "1", "a").faults.is_empty());
    assert_eq!(
        verdict(1050.0, 1.0, "1", "a").faults,
        [
            "x: instructions: 1050, was 1000: +5.0 %, allowed is +3.0 %",
            "x: bytes held: 1, was 0: +1 from nothing, allowed is +0.0 %"
        ]
    );
    assert!(verdict(900.0, 0.0, "1", "a").faults[0].contains("-10.0 %; well done"));
}

#[test]
fn another_toolchain_is_told_and_judged_more_widely_and_another_processor_not_by_its_instructions() {
    let wider = verdict(1140.0, 0.0, "2", "a");
    assert_eq!((wider.faults.len(), wider.notes.len()), (0, 1));
    assert_eq!(verdict(1160.0, 0.0, "2", "a").faults, ["x: instructions: 1160, was 1000: +16.0 %, allowed is +15.0 %"]);
    assert!(verdict(500.0, 0.0, "2", "a").faults.is_empty());
    let foreign = verdict(5000.0, 1.0, "1", "b");
    assert_eq!((foreign.faults.len(), foreign.notes.len()), (1, 2));
}

#[test]
fn what_was_never_measured_is_a_fault() {
    let toolchain = Toolchain::here();
    let empty = Baseline { toolchain: toolchain.clone(), costs: Costs::new() };
    assert_eq!(judge(GUARDED, &empty, &toolchain, &Costs::new()).faults.len(), 2);
}
