//! How the rows of a view are kept, as its plan allows: by steps, by keys, by its whole query, or by REFRESH alone; and how long each takes.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::Schema;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{LogicalPlan, TableScan};

use super::super::by_key::{Lineages, TableKey};
use super::super::engine::{self, InputId, Kind, Program};
use super::super::maintain::Pinned;
use super::super::order;
use super::super::status::Upkeep;
use super::Versions;
use crate::federation::kept_query;

/// How the rows could be kept.
#[derive(Clone)]
pub(super) enum Way {
    Steps(Arc<Program>),
    /// By the keys of what has changed, and why not by each change.
    Keys(Arc<Lineages>, String),
    Whole(String),
    Refresh(String),
}

fn input_of(scan: &TableScan) -> Option<InputId> {
    let (store, table) = kept_query::table_of(scan)?;
    Some(InputId { store, table: table.id.clone() })
}

impl Way {
    /// How rows that follow from those of tables alone are kept up to date.
    pub(super) fn of(plan: &LogicalPlan, schema: &Schema, state: &SessionState) -> Self {
        let reason = match engine::program(plan, state, &input_of) {
            Kind::Incremental(program) => return Self::Steps(Arc::new(program)),
            Kind::Whole { reason } => reason,
        };
        let table_of = |scan: &TableScan| kept_query::table_of(scan).map(|(store, table)| (store, table.id.clone()));
        // What follows changes exactly is the same whenever it is computed.
        let is_settled = |part: &LogicalPlan| matches!(engine::program(part, state, &input_of), Kind::Incremental(_));
        match Lineages::of(plan, schema, &table_of, &is_settled) {
            Ok(lineages) => Self::Keys(Arc::new(lineages), reason),
            Err(hindrance) => Self::Whole(format!("{reason}; not by key: {hindrance}")),
        }
    }

    /// Whether the query that is run for the rows may give others, each time that it is run over the same tables.
    pub(super) fn is_of_order(&self, plan: &LogicalPlan, state: &SessionState) -> bool {
        matches!(self, Self::Keys(..) | Self::Whole(_)) && order::is_of_order(plan, state, &input_of)
    }

    /// What is told of it where the tables have copies.
    pub(super) fn upkeep(&self, schema: &Schema) -> Upkeep {
        match self {
            Self::Steps(_) => Upkeep::Incremental,
            Self::Keys(lineages, reason) => {
                let column = lineages.first().and_then(|lineage| schema.fields().get(lineage.column));
                let whole = lineages.unknown().map(|(store, table)| format!("{store}.{}", table.name)).collect();
                Upkeep::Key { column: column.map(|field| field.name().clone()).unwrap_or_default(), whole, reason: reason.clone() }
            }
            Self::Whole(reason) => Upkeep::Whole { reason: reason.clone() },
            Self::Refresh(reason) => Upkeep::Refresh { reason: reason.clone() },
        }
    }

    /// Whether the query is going to be run for keys alone, as far as that can be told without looking at rows.
    pub(super) fn expects_keys(&self, seen: &Versions, pinned: &Pinned) -> bool {
        let Self::Keys(lineages, _) = self else { return false };
        let has_moved = |table: &TableKey| match (seen.get(table), pinned.tables.get(table)) {
            (Some(seen), Some(now)) => !Arc::ptr_eq(seen, now),
            _ => true,
        };
        let moved: Vec<&TableKey> = pinned.tables.keys().filter(|table| has_moved(table)).collect();
        !seen.is_empty() && lineages.of_all(&moved).is_some()
    }
}

/// How long the last computations took: one for keys is no measure of one over all rows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Took {
    keyed: Duration,
    whole: Duration,
}

impl Took {
    pub(super) fn of(self, is_keyed: bool) -> Duration {
        if is_keyed { self.keyed } else { self.whole }
    }

    /// One that should have been for keys and was not counts as both: what led to that may come again.
    pub(super) fn set(&mut self, (expected_keys, was_keyed): (bool, bool), took: Duration) {
        if expected_keys || was_keyed {
            self.keyed = took;
        }
        if !was_keyed {
            self.whole = took;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_for_keys_is_no_measure_of_a_whole_one_but_one_that_became_whole_is_of_both() {
        let (short, long) = (Duration::from_millis(1), Duration::from_secs(1));
        let mut took = Took::default();
        took.set((false, false), long);
        assert_eq!((took.of(true), took.of(false)), (Duration::ZERO, long));
        took.set((true, true), short);
        assert_eq!((took.of(true), took.of(false)), (short, long));
        took.set((true, false), long);
        assert_eq!((took.of(true), took.of(false)), (long, long));
        // Tables that were changed in nothing that is read.
        took.set((false, true), short);
        assert_eq!((took.of(true), took.of(false)), (short, long));
    }
}
