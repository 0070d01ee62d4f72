//! A median, and how well it is known.

use crate::report::figures::Spread;
use serde::Serialize;
use std::fmt;

/// How often the true median may lie outside of the bounds.
const RISK: f64 = 0.05;

/// The median of some samples, the bounds within which the true one lies, and what they lay between.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    pub median: f64,
    /// Lower bound, at 95 %; of fewer than six samples the smallest, as nothing narrower can be said.
    pub low: f64,
    /// Upper bound, likewise.
    pub high: f64,
    pub min: f64,
    pub max: f64,
}

impl Estimate {
    /// `None` without samples.
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let Spread { min, median, max } = Spread::of(sorted.iter().copied())?;
        let outside = rank(sorted.len()).unwrap_or(1) - 1;
        Some(Self { median, low: sorted[outside], high: sorted[sorted.len() - 1 - outside], min, max })
    }

    /// Whether a figure cannot be told from the median.
    pub fn holds(&self, figure: f64) -> bool {
        (self.low..=self.high).contains(&figure)
    }

    /// The ratio of each pair, first by second, never the ratio of two medians: what disturbs a machine for seconds
    /// disturbs both halves of a pair.
    pub fn of_ratios(pairs: &[(f64, f64)]) -> Option<Self> {
        Self::of(pairs.iter().map(|(measured, floor)| measured / floor))
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} ({:.3}-{:.3})", self.median, self.low, self.high)
    }
}

/// The innermost of `count` samples in their order, from 1, that lies with its counterpart from above around the true
/// median as often as it must. Each sample is a coin: it lies below the true median, or above. `None`: too few samples.
fn rank(count: usize) -> Option<usize> {
    // By logarithms, as half to the power of some thousand is no number any more.
    let (mut ln_chance, mut below, mut rank) = (count as f64 * 0.5_f64.ln(), 0.0, 0);
    while rank < count {
        below += ln_chance.exp();
        if 2.0 * below > RISK {
            break;
        }
        rank += 1;
        ln_chance += ((count + 1 - rank) as f64 / rank as f64).ln();
    }
    (rank > 0).then_some(rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_of_a_median_are_ranks_that_hold_it_95_times_of_100() {
        let wanted = [(5, None), (6, Some(1)), (9, Some(2)), (19, Some(5)), (27, Some(8)), (39, Some(13))];
        wanted.iter().for_each(|(count, wanted)| assert_eq!(rank(*count), *wanted, "of {count}"));
        assert!((950..970).contains(&rank(2_000).unwrap()), "{:?}", rank(2_000));
        let nine = Estimate::of((1..=9).rev().map(f64::from)).unwrap();
        assert_eq!(nine, Estimate { median: 5.0, low: 2.0, high: 8.0, min: 1.0, max: 9.0 });
        assert!(nine.holds(2.0) && nine.holds(8.0) && !nine.holds(1.9) && !nine.holds(f64::NAN));
    }

    #[test]
    fn a_few_samples_have_no_bounds_but_themselves() {
        let three = Estimate::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((three.low, three.high), (three.min, three.max));
        assert_eq!(Estimate::of([]), None);
    }

    #[test]
    fn one_disturbed_pair_does_not_move_the_ratio() {
        let calm = (2.0, 4.0);
        let both_halves_disturbed = (20.0, 40.0);
        let one_half_disturbed = (20.0, 4.0);
        let ratio = Estimate::of_ratios(&[calm, both_halves_disturbed, calm, one_half_disturbed, calm]).unwrap();
        assert_eq!((ratio.min, ratio.median, ratio.max), (0.5, 0.5, 5.0));
    }
}
