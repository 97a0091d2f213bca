//! Numbers of copies and of their reads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::audit::Audited;
use super::memory::Memory;
use super::status::CopyState;
use super::store::StoreCopies;
use crate::stores::StoreName;
use crate::telemetry::Family;
use crate::telemetry::metrics::Count;

/// What is counted of the copies of one store.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Statements that were served.
    pub(super) served: Count,
    /// Statements that have waited for a copy.
    pub(super) waited: Count,
    /// Statements that failed because no copy was fresh enough.
    pub(super) rejected: Count,
    /// Transactions that were applied.
    pub(super) transactions: Count,
    /// Tables that were loaded.
    pub(super) loaded: Count,
    /// Why statements went to the store, and why copies left.
    reasons: Mutex<Reasons>,
}

#[derive(Debug, Default)]
struct Reasons {
    fell_through: BTreeMap<&'static str, u64>,
    left: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// A statement went to the store, for a reason of a fixed list.
    pub(super) fn fell_through(&self, reason: &'static str) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        *reasons.fell_through.entry(reason).or_default() += 1;
    }

    /// A copy is not served any more, or was not loaded, for a reason of a fixed list.
    pub(super) fn left(&self, reason: &'static str) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        *reasons.left.entry(reason).or_default() += 1;
    }
}

pub(super) fn families(stores: &BTreeMap<StoreName, Arc<StoreCopies>>, memory: &Memory) -> Vec<Family> {
    let count = |number: fn(&Tally) -> &Count| {
        stores.iter().map(move |(store, copies)| (store.to_string(), number(&copies.tally).get())).collect::<Vec<_>>()
    };
    let by_reason = |pick: fn(&Reasons) -> &BTreeMap<&'static str, u64>| {
        let all = stores.iter().flat_map(move |(store, copies)| {
            let reasons = copies.tally.reasons.lock().unwrap_or_else(PoisonError::into_inner);
            let counts = pick(&reasons).iter().map(|(reason, count)| ([store.to_string(), (*reason).to_owned()], *count));
            counts.collect::<Vec<_>>()
        });
        all.collect::<Vec<_>>()
    };
    let staleness = stores.iter().filter_map(|(store, copies)| {
        let age = copies.set().and_then(|set| set.known_age())?;
        Some((store.to_string(), u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
    });
    let mut all = of_stands(stores);
    all.extend([
        Family::gauge(
            "tributary_cache_memory_bytes",
            "What all copies take, with those that are being loaded and with older states that are still read.",
        )
        .is(memory.total()),
        Family::gauge("tributary_cache_memory_max_bytes", "The most that they may take (cache.memory).").is(memory.most()),
        Family::gauge("tributary_cache_staleness_milliseconds", "At most so old is what copies of a store show.")
            .by("store", staleness),
        Family::counter("tributary_cache_served_total", "Statements that have read copies of a store.")
            .by("store", count(|tally| &tally.served)),
        Family::counter("tributary_cache_waited_total", "Statements that have waited for copies of a store.")
            .by("store", count(|tally| &tally.waited)),
        Family::counter("tributary_cache_rejected_total", "Statements that failed because no copy was fresh enough.")
            .by("store", count(|tally| &tally.rejected)),
        Family::counter("tributary_cache_fell_through_total", "Statements that went to a store though it has copies.")
            .by_both(["store", "reason"], by_reason(|reasons| &reasons.fell_through)),
        Family::counter("tributary_cache_left_total", "Copies that were given up, or could not be loaded.")
            .by_both(["store", "reason"], by_reason(|reasons| &reasons.left)),
        Family::counter("tributary_cache_loaded_total", "Tables that were loaded.").by("store", count(|tally| &tally.loaded)),
        Family::counter("tributary_cache_transactions_total", "Transactions that were applied to copies.")
            .by("store", count(|tally| &tally.transactions)),
    ]);
    all.extend(of_audits(stores));
    all
}

fn of_audits(stores: &BTreeMap<StoreName, Arc<StoreCopies>>) -> Vec<Family> {
    let count = |number: fn(&Audited) -> u64| {
        stores.iter().map(move |(store, copies)| (store.to_string(), number(&copies.audits.total()))).collect::<Vec<_>>()
    };
    let skipped = stores.iter().flat_map(|(store, copies)| {
        let all = copies.audits.all_skipped().into_iter();
        all.map(|(reason, count)| ([store.to_string(), reason.to_owned()], count)).collect::<Vec<_>>()
    });
    vec![
        Family::counter("tributary_cache_audits_total", "Looks of the auditor at copies of a store.")
            .by("store", count(|audited| audited.checks)),
        Family::counter("tributary_cache_audited_rows_total", "Rows that the auditor has compared.")
            .by("store", count(|audited| audited.rows)),
        Family::counter("tributary_cache_divergences_total", "Rows of copies that were not those of the store.")
            .by("store", count(|audited| audited.divergences)),
        Family::counter("tributary_cache_audits_skipped_total", "Looks of the auditor that came to nothing.")
            .by_both(["store", "reason"], skipped),
    ]
}

fn of_stands(stores: &BTreeMap<StoreName, Arc<StoreCopies>>) -> Vec<Family> {
    let (mut tables, mut rows, mut bytes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (store, copies) in stores {
        let all = copies.stands.all();
        for state in CopyState::ALL {
            let count = all.values().filter(|stand| stand.state == state).count();
            tables.insert([store.to_string(), state.word().to_owned()], u64::try_from(count).unwrap_or(u64::MAX));
        }
        rows.insert(store.to_string(), all.values().map(|stand| stand.rows).sum::<u64>());
        bytes.insert(store.to_string(), all.values().map(|stand| stand.bytes).sum::<u64>());
    }
    vec![
        Family::gauge("tributary_cache_tables", "How many tables of a store stand so.").by_both(["store", "state"], tables),
        Family::gauge("tributary_cache_rows", "Rows in the copies of a store.").by("store", rows),
        Family::gauge("tributary_cache_bytes", "What the copies of a store take.").by("store", bytes),
    ]
}
