//! Numbers of views and of their reads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::ViewName;
use super::serve::Kept;
use super::status::{ShownView, ViewState};
use crate::telemetry::Family;
use crate::telemetry::metrics::Count;

/// What is counted of one view.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Reads that its rows have answered.
    pub(super) served: Count,
    /// Reads that its query has answered.
    pub(super) fell_through: Count,
    /// Reads that have waited for it.
    pub(super) waited: Count,
    /// Reads that failed because it was not fresh enough.
    pub(super) rejected: Count,
    /// States that followed from changes of its tables.
    pub(super) steps: Count,
    /// Those of them for which its query was run for the keys of what has changed alone.
    pub(super) keyed: Count,
    /// How often its rows were computed from all rows of its tables.
    pub(super) built: Count,
    /// Rows that were not those of its query when it was verified.
    pub(super) differed: Count,
    /// Why its query was run, why its rows left, and why there was nothing for keys.
    reasons: Mutex<Reasons>,
}

#[derive(Debug, Default)]
struct Reasons {
    fell_through: BTreeMap<&'static str, u64>,
    left: BTreeMap<&'static str, u64>,
    keyed_failed: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Its query is run, for a reason of a fixed list.
    pub(super) fn fell_through(&self, reason: &'static str) {
        self.fell_through.add(1);
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        *reasons.fell_through.entry(reason).or_default() += 1;
    }

    /// Its rows are not there any more, or were not made, for a reason of a fixed list.
    pub(super) fn left(&self, reason: &'static str) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        *reasons.left.entry(reason).or_default() += 1;
    }

    /// Its query failed for the keys of what has changed and is run over all rows, for a reason of a fixed list; `true` where it is the first.
    pub(super) fn keyed_failed(&self, reason: &'static str) -> bool {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = reasons.keyed_failed.is_empty();
        *reasons.keyed_failed.entry(reason).or_default() += 1;
        is_first
    }

    /// How often that was so.
    #[cfg(test)]
    pub(super) fn keyed_failures(&self) -> u64 {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).keyed_failed.values().sum()
    }
}

/// `memory`: what all of them take, and the most that they may.
pub(super) fn families(kept: &BTreeMap<ViewName, Arc<Kept>>, memory: (u64, u64)) -> Vec<Family> {
    let shown: Vec<ShownView> = kept.values().map(|kept| kept.shown()).collect();
    let count = |number: fn(&Tally) -> &Count| {
        kept.iter().map(move |(name, kept)| (name.to_string(), number(&kept.tally).get())).collect::<Vec<_>>()
    };
    let by_reason = |pick: fn(&Reasons) -> &BTreeMap<&'static str, u64>| {
        let all = kept.iter().flat_map(move |(name, kept)| {
            let reasons = kept.tally.reasons.lock().unwrap_or_else(PoisonError::into_inner);
            let counts = pick(&reasons).iter().map(|(reason, count)| ([name.to_string(), (*reason).to_owned()], *count));
            counts.collect::<Vec<_>>()
        });
        all.collect::<Vec<_>>()
    };
    let states = ViewState::ALL.map(|state| {
        let number = shown.iter().filter(|shown| shown.state == state).count();
        (state.word().to_owned(), u64::try_from(number).unwrap_or(u64::MAX))
    });
    let staleness = shown.iter().filter_map(|shown| {
        let age = shown.staleness?;
        Some((shown.name.to_string(), u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
    });
    let rows = shown.iter().map(|shown| (shown.name.to_string(), shown.rows));
    let bytes = shown.iter().map(|shown| (shown.name.to_string(), shown.bytes));
    vec![
        Family::gauge("tributary_views", "How many materialized views stand so.").by("state", states),
        Family::gauge("tributary_view_memory_bytes", "What all materialized views take, with older rows that are still read.")
            .is(memory.0),
        Family::gauge("tributary_view_memory_max_bytes", "The most that they may take.").is(memory.1),
        Family::gauge("tributary_view_rows", "Rows of a materialized view.").by("view", rows),
        Family::gauge("tributary_view_bytes", "What a view takes with what keeps it up to date.").by("view", bytes),
        Family::gauge("tributary_view_staleness_milliseconds", "At most so old is what a view shows.").by("view", staleness),
        Family::counter("tributary_view_served_total", "Reads that the rows of a view have answered.")
            .by("view", count(|tally| &tally.served)),
        Family::counter("tributary_view_waited_total", "Reads that have waited for a view.")
            .by("view", count(|tally| &tally.waited)),
        Family::counter("tributary_view_rejected_total", "Reads that failed because a view was not fresh enough.")
            .by("view", count(|tally| &tally.rejected)),
        Family::counter("tributary_view_fell_through_total", "Reads that the query of a view has answered.")
            .by_both(["view", "reason"], by_reason(|reasons| &reasons.fell_through)),
        Family::counter("tributary_view_left_total", "How often the rows of a view were given up, or could not be made.")
            .by_both(["view", "reason"], by_reason(|reasons| &reasons.left)),
        Family::counter("tributary_view_steps_total", "States of a view that followed from changes of its tables.")
            .by("view", count(|tally| &tally.steps)),
        Family::counter("tributary_view_keyed_total", "States of a view whose query was run for keys that have changed alone.")
            .by("view", count(|tally| &tally.keyed)),
        Family::counter(
            "tributary_view_keyed_failed_total",
            "How often a view's query failed for keys, and was run over all rows.",
        )
        .by_both(["view", "reason"], by_reason(|reasons| &reasons.keyed_failed)),
        Family::counter("tributary_view_built_total", "How often a view was computed from all rows of its tables.")
            .by("view", count(|tally| &tally.built)),
        Family::counter("tributary_view_differed_total", "Rows that were not those of a view's query when it was verified.")
            .by("view", count(|tally| &tally.differed)),
    ]
}
