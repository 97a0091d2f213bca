//! `tributary.divergence`: how often rows of copies were compared with those of their stores, and what was not the same.

use super::table::{Cell, live};
use crate::cache::ShownAudit;
use crate::catalog::discover::SystemRelation;
use crate::catalog::snapshot::{SessionFacts, Snapshot};
use crate::cells;
use crate::pgtype::PgType;

pub(super) fn relations() -> Vec<SystemRelation> {
    vec![live("tributary", "divergence", DIVERGENCE, divergence)]
}

const DIVERGENCE: &[(&str, PgType)] = &[
    ("schema_name", PgType::NAME),
    ("table_name", PgType::NAME),
    ("store", PgType::NAME),
    ("checks", PgType::INT8),
    ("rows", PgType::INT8),
    ("undecided", PgType::INT8),
    ("divergences", PgType::INT8),
    ("last_check", PgType::TIMESTAMPTZ),
    ("last_divergence", PgType::TIMESTAMPTZ),
    ("found", PgType::TEXT),
];

/// A row for each table that is wanted as a copy, in counts and moments: no key and no value of its rows. Tables that no role sees are shown
/// to superusers alone, by the names that their store has for them.
fn divergence(_snapshot: &Snapshot, facts: &SessionFacts) -> Vec<Vec<Cell>> {
    rows_of(facts.caches.audits(), facts.superusers.contains(&facts.role))
}

fn rows_of(shown: Vec<ShownAudit>, sees_all: bool) -> Vec<Vec<Cell>> {
    shown.into_iter().filter(|audit| sees_all || audit.label.is_some()).map(row_of).collect()
}

fn row_of(audit: ShownAudit) -> Vec<Cell> {
    let (schema, name) = audit.label.unwrap_or((audit.table.namespace, audit.table.name));
    cells![
        schema,
        name,
        audit.store.as_str(),
        whole(audit.checks),
        whole(audit.rows),
        whole(audit.open),
        whole(audit.divergences),
        audit.checked,
        audit.diverged,
        audit.found,
    ]
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;
    use crate::catalog::discover::SystemBody;
    use crate::stores::StoreName;
    use crate::stores::schema::TableId;

    fn audit(name: &str, label: Option<(&str, &str)>) -> ShownAudit {
        ShownAudit {
            store: StoreName::new("shop"),
            table: TableId { namespace: "public".to_owned(), name: name.to_owned() },
            label: label.map(|(schema, name)| (schema.to_owned(), name.to_owned())),
            checks: 3,
            rows: 700,
            open: 2,
            divergences: 0,
            checked: Some(DateTime::<Utc>::UNIX_EPOCH),
            diverged: None,
            found: None,
        }
    }

    #[test]
    fn a_table_says_how_often_it_was_compared() {
        let rows = rows_of(vec![audit("orders", Some(("shop", "orders"))), audit("hidden", None)], false);
        let moment = DateTime::<Utc>::UNIX_EPOCH;
        let expected = cells!["shop", "orders", "shop", 3_i64, 700_i64, 2_i64, 0_i64, Some(moment), Cell::Null, Cell::Null];
        assert_eq!(rows, [expected]);
        assert_eq!(rows[0].len(), DIVERGENCE.len());
        let all = rows_of(vec![audit("hidden", None)], true);
        assert_eq!(all[0][..3], [Cell::from("public"), Cell::from("hidden"), Cell::from("shop")]);
    }

    #[test]
    fn its_rows_are_made_at_every_statement() {
        let relation = relations().pop().unwrap();
        let SystemBody::Rows(rows) = relation.body;
        assert!(rows.is_live());
        assert_eq!(rows.schema().fields().len(), DIVERGENCE.len());
    }
}
