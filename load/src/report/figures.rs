//! From samples to figures: medians, percentiles of latency.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Smallest, middle and largest of some samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    /// `None` without samples. The median of an even number is the mean of the middle two.
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let half = sorted.len() / 2;
        let median =
            if sorted.len().is_multiple_of(2) { (sorted[half - 1] + sorted[half]) / 2.0 } else { sorted[half] };
        Some(Self { min, median, max })
    }
}

/// Milliseconds from PUBLISH to the read that completed the frame, over all deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
}

impl Latency {
    /// `None` without deliveries.
    pub fn of(nanoseconds: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| nanoseconds.value_at_quantile(quantile) as f64 / 1e6;
        (!nanoseconds.is_empty()).then(|| Self { p50_ms: at(0.5), p99_ms: at(0.99), p999_ms: at(0.999) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_the_mean_of_the_middle_two() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).map(|spread| spread.median), Some(2.5));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn percentiles_are_of_all_deliveries_in_milliseconds() {
        let mut nanoseconds = Histogram::new(3).unwrap();
        (1..=1000_u64).for_each(|ms| nanoseconds.record(ms * 1_000_000).unwrap());
        let latency = Latency::of(&nanoseconds).unwrap();
        for (got, wanted) in [(latency.p50_ms, 500.0), (latency.p99_ms, 990.0), (latency.p999_ms, 999.0)] {
            assert!((got / wanted - 1.0).abs() < 0.002, "{got} is not {wanted}");
        }
        assert_eq!(Latency::of(&Histogram::new(3).unwrap()), None);
    }
}
