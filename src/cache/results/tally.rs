//! Numbers of results.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::telemetry::Family;
use crate::telemetry::metrics::Count;

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Queries that were given a result that was kept.
    pub(super) hits: Count,
    /// Results that were kept.
    pub(super) filled: Count,
    reasons: Mutex<Reasons>,
}

#[derive(Debug, Default)]
struct Reasons {
    missed: BTreeMap<&'static str, u64>,
    rejected: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// A query was given none, for a reason of a fixed list.
    pub(super) fn missed(&self, reason: &'static str) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        *reasons.missed.entry(reason).or_default() += 1;
    }

    /// A result was not kept, for a reason of a fixed list.
    pub(super) fn rejected(&self, reason: &'static str) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        *reasons.rejected.entry(reason).or_default() += 1;
    }

    pub(super) fn families(&self, entries: u64, bytes: u64, most: u64) -> Vec<Family> {
        let reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let by = |counts: &BTreeMap<&'static str, u64>| {
            counts.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect::<Vec<_>>()
        };
        vec![
            Family::gauge("tributary_results_entries", "Results of queries that are kept.").is(entries),
            Family::gauge("tributary_results_bytes", "What they take.").is(bytes),
            Family::gauge("tributary_results_max_bytes", "The most that they may take (cache.results).").is(most),
            Family::counter("tributary_results_hits_total", "Queries that were given a result that was kept.").is(self.hits.get()),
            Family::counter("tributary_results_misses_total", "Queries that were given none, of those whose results may be kept.")
                .by("reason", by(&reasons.missed)),
            Family::counter("tributary_results_filled_total", "Results that were kept.").is(self.filled.get()),
            Family::counter("tributary_results_rejected_total", "Results that were not kept.").by("reason", by(&reasons.rejected)),
        ]
    }
}
