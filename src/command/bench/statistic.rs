//! Medians, spreads and geometric means of measured times.

use serde::Serialize;

/// Times of one query on one server, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Times {
    /// The middle one.
    pub(super) median_ms: f64,
    /// The shortest.
    pub(super) least_ms: f64,
    /// The longest.
    pub(super) most_ms: f64,
}

impl Times {
    /// Of at least one run.
    pub(super) fn of(runs_ms: &[f64]) -> Option<Self> {
        let mut sorted = runs_ms.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least_ms, most_ms) = (*sorted.first()?, *sorted.last()?);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get((sorted.len() - 1) / 2)?;
        Some(Self { median_ms: f64::midpoint(lower, upper), least_ms, most_ms })
    }

    /// Whether it is slower than `factor` times the other, and not by chance: the spreads do not overlap.
    pub(super) fn is_slower_than(&self, other: &Self, factor: f64) -> bool {
        self.median_ms > factor * other.median_ms && self.least_ms > factor * other.most_ms
    }
}

/// The geometric mean; `None` of nothing.
#[expect(clippy::cast_precision_loss, reason = "there are few queries")]
pub(super) fn geometric_mean(values: &[f64]) -> Option<f64> {
    let logarithms: f64 = values.iter().map(|value| value.ln()).sum();
    (!values.is_empty()).then(|| (logarithms / values.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_odd_and_even_numbers() {
        let times = |runs: &[f64]| Times::of(runs).map(|times| (times.median_ms, times.least_ms, times.most_ms));
        assert_eq!(times(&[3.0, 1.0, 2.0]), Some((2.0, 1.0, 3.0)));
        assert_eq!(times(&[4.0, 1.0, 2.0, 3.0]), Some((2.5, 1.0, 4.0)));
        assert_eq!(times(&[]), None);
    }

    #[test]
    fn overlapping_spreads_are_not_slower() {
        let times = |runs: &[f64]| Times::of(runs).unwrap();
        assert!(times(&[10.0, 11.0, 12.0]).is_slower_than(&times(&[5.0, 6.0, 7.0]), 1.0));
        assert!(!times(&[6.5, 11.0, 12.0]).is_slower_than(&times(&[5.0, 6.0, 7.0]), 1.0));
        assert!(!times(&[10.0, 11.0, 12.0]).is_slower_than(&times(&[5.0, 6.0, 7.0]), 1.5));
        assert!(!times(&[1.0]).is_slower_than(&times(&[2.0]), 1.0));
    }

    #[test]
    fn the_geometric_mean_of_a_half_and_its_double_is_one() {
        assert!(geometric_mean(&[0.5, 2.0]).is_some_and(|mean| (mean - 1.0).abs() < 1e-12));
        assert_eq!(geometric_mean(&[]), None);
    }
}
