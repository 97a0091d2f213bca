//! What the auditor has found, as views and metrics tell it: counts and moments, and no values.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::{Checked, Skipped};
use crate::stores::StoreName;
use crate::stores::schema::TableId;

/// What the auditor has found of one table.
#[derive(Debug, Clone)]
pub struct ShownAudit {
    /// The store.
    pub store: StoreName,
    /// The table in the store's own names.
    pub table: TableId,
    /// In SQL: schema and name, where it is shown.
    pub label: Option<(String, String)>,
    /// How often it was looked at.
    pub checks: u64,
    /// How many rows were compared.
    pub rows: u64,
    /// How many of them changed meanwhile, so that nothing could be said of them.
    pub open: u64,
    /// How many of them were not the same.
    pub divergences: u64,
    /// When it was looked at last.
    pub checked: Option<DateTime<Utc>>,
    /// When a row was found last that was not the same.
    pub diverged: Option<DateTime<Utc>>,
    /// What was found then, in words and numbers.
    pub found: Option<String>,
}

/// The same without names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cache) struct Audited {
    pub(in crate::cache) checks: u64,
    pub(in crate::cache) rows: u64,
    pub(in crate::cache) open: u64,
    pub(in crate::cache) divergences: u64,
    pub(in crate::cache) checked: Option<DateTime<Utc>>,
    pub(in crate::cache) diverged: Option<(DateTime<Utc>, String)>,
}

/// What the auditor has found of one store.
#[derive(Debug, Default)]
pub(in crate::cache) struct Audits(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    tables: BTreeMap<TableId, Audited>,
    /// Of all tables, also of those that are gone.
    total: Audited,
    skipped: BTreeMap<Skipped, u64>,
}

impl Audits {
    fn found(&self) -> MutexGuard<'_, Found> {
        // What a panic left behind are whole numbers.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A check has come to something. What is known of tables that are not wanted any more is forgotten.
    pub(super) fn note(&self, table: &TableId, checked: Checked, is_wanted: &dyn Fn(&TableId) -> bool) {
        let now = Utc::now();
        let mut found = self.found();
        found.tables.retain(|table, _| is_wanted(table));
        found.total.add(checked, now);
        found.tables.entry(table.clone()).or_default().add(checked, now);
    }

    /// A check has come to nothing.
    pub(super) fn skipped(&self, skipped: Skipped) {
        *self.found().skipped.entry(skipped).or_default() += 1;
    }

    /// What was found of a table.
    pub(in crate::cache) fn of(&self, table: &TableId) -> Audited {
        self.found().tables.get(table).cloned().unwrap_or_default()
    }

    /// What was found of all tables since the start.
    pub(in crate::cache) fn total(&self) -> Audited {
        self.found().total.clone()
    }

    /// How many checks came to nothing, by the words of the reasons.
    pub(in crate::cache) fn all_skipped(&self) -> Vec<(&'static str, u64)> {
        self.found().skipped.iter().map(|(skipped, count)| (skipped.word(), *count)).collect()
    }
}

impl Audited {
    fn add(&mut self, checked: Checked, now: DateTime<Utc>) {
        let whole = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.checks += 1;
        self.rows += whole(checked.rows);
        self.open += whole(checked.open);
        self.checked = Some(now);
        if checked.diverged() > 0 {
            self.divergences += whole(checked.diverged());
            self.diverged = Some((now, described(&checked)));
        }
    }
}

/// What was found, without keys and values.
fn described(checked: &Checked) -> String {
    let parts = [
        (checked.missing, "not in the copy"),
        (checked.extra, "in the copy only"),
        (checked.other, "with other values in the copy"),
    ];
    let mut text = String::new();
    for (count, what) in parts.into_iter().filter(|(count, _)| *count > 0) {
        let between = if text.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{between}{count} {what}");
    }
    let _ = write!(text, ", of {} rows", checked.rows);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::fakes::id_of;

    #[test]
    fn what_was_found_is_told_in_numbers() {
        let (audits, wanted) = (Audits::default(), |_table: &TableId| true);
        assert_eq!(audits.of(&id_of("orders")), Audited::default());
        let clean = Checked { rows: 10, open: 2, ..Checked::default() };
        audits.note(&id_of("orders"), clean, &wanted);
        let bad = Checked { rows: 7, missing: 1, other: 3, ..Checked::default() };
        audits.note(&id_of("orders"), bad, &wanted);
        audits.skipped(Skipped::Away);
        let found = audits.of(&id_of("orders"));
        assert_eq!((found.checks, found.rows, found.open, found.divergences), (2, 17, 2, 4));
        assert!(found.checked.is_some());
        let described = found.diverged.unwrap().1;
        assert_eq!(described, "1 not in the copy, 3 with other values in the copy, of 7 rows");
        assert_eq!((audits.total().checks, audits.all_skipped()), (2, vec![("store", 1)]));
        // What is not wanted any more is forgotten, and counts in the total.
        audits.note(&id_of("items"), clean, &|table: &TableId| *table == id_of("items"));
        assert_eq!((audits.of(&id_of("orders")).checks, audits.total().checks), (0, 3));
    }
}
