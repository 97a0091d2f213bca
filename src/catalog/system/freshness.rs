//! `tributary.freshness`: how the copies of tables and materialized views stand, how old what they show may be, and how they are used.

use super::table::{Cell, live};
use crate::cache::ShownCopy;
use crate::catalog::discover::SystemRelation;
use crate::catalog::materialized::Standing;
use crate::catalog::snapshot::{SessionFacts, Snapshot};
use crate::cells;
use crate::pgtype::PgType;

pub(super) fn relations() -> Vec<SystemRelation> {
    vec![live("tributary", "freshness", FRESHNESS, freshness)]
}

const FRESHNESS: &[(&str, PgType)] = &[
    ("schema_name", PgType::NAME),
    ("table_name", PgType::NAME),
    ("store", PgType::NAME),
    ("state", PgType::TEXT),
    ("reason", PgType::TEXT),
    ("rows", PgType::INT8),
    ("bytes", PgType::INT8),
    ("position", PgType::TEXT),
    ("staleness", PgType::INTERVAL),
    ("served", PgType::INT8),
    ("fell_through", PgType::INT8),
    ("waited", PgType::INT8),
    ("since", PgType::TIMESTAMPTZ),
];

/// A row for each table that is wanted as a copy, whether it has one or not. Tables that no role sees are shown to superusers alone, by
/// the names that their store has for them. Then one for each materialized view, which may have several stores and names none.
fn freshness(_snapshot: &Snapshot, facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let mut rows = rows_of(facts.caches.shown(), facts.superusers.contains(&facts.role));
    rows.extend(facts.views.states().into_iter().map(row_of_view));
    rows
}

fn row_of_view(view: Standing) -> Vec<Cell> {
    cells![
        view.schema,
        view.name,
        Cell::Null,
        view.state,
        view.reason,
        whole(view.rows),
        whole(view.bytes),
        view.position,
        view.staleness,
        whole(view.served),
        whole(view.fell_through),
        whole(view.waited),
        view.since,
    ]
}

fn rows_of(shown: Vec<ShownCopy>, sees_all: bool) -> Vec<Vec<Cell>> {
    shown.into_iter().filter(|copy| sees_all || copy.label.is_some()).map(row_of).collect()
}

fn row_of(copy: ShownCopy) -> Vec<Cell> {
    let (schema, name) = copy.label.unwrap_or((copy.table.namespace, copy.table.name));
    cells![
        schema,
        name,
        copy.store.as_str(),
        copy.state.word(),
        copy.reason,
        whole(copy.rows),
        whole(copy.bytes),
        copy.position,
        copy.staleness,
        whole(copy.served),
        whole(copy.fell_through),
        whole(copy.waited),
        copy.since,
    ]
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::{DateTime, Utc};

    use super::*;
    use crate::cache::CopyState;
    use crate::catalog::discover::SystemBody;
    use crate::stores::StoreName;
    use crate::stores::schema::TableId;

    fn copy(name: &str, label: Option<(&str, &str)>, state: CopyState) -> ShownCopy {
        ShownCopy {
            store: StoreName::new("shop"),
            table: TableId { namespace: "public".to_owned(), name: name.to_owned() },
            label: label.map(|(schema, name)| (schema.to_owned(), name.to_owned())),
            state,
            reason: None,
            rows: 3,
            bytes: u64::MAX,
            position: None,
            staleness: None,
            served: 5,
            fell_through: 1,
            waited: 2,
            since: DateTime::<Utc>::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_copy_says_how_old_it_may_be_and_how_it_is_used() {
        let (position, staleness) = (Some("shop@7".to_owned()), Some(Duration::from_millis(12)));
        let cached = ShownCopy { position, staleness, ..copy("orders", Some(("shop", "orders")), CopyState::Cached) };
        let rows = rows_of(vec![cached], false);
        let expected = cells![
            "shop",
            "orders",
            "shop",
            "cached",
            Cell::Null,
            3_i64,
            i64::MAX,
            "shop@7",
            Duration::from_millis(12),
            5_i64,
            1_i64,
            2_i64,
            DateTime::<Utc>::UNIX_EPOCH,
        ];
        assert_eq!(rows, [expected]);
        assert_eq!(rows[0].len(), FRESHNESS.len());
    }

    #[test]
    fn a_table_that_no_role_sees_is_shown_to_superusers() {
        let reason = Some("it has no key".to_owned());
        let kept_back = ShownCopy { reason, ..copy("notes", Some(("shop", "notes")), CopyState::StoreOnly) };
        let shown = vec![kept_back, copy("hidden", None, CopyState::Loading)];
        let some = rows_of(shown.clone(), false);
        assert_eq!(some.len(), 1);
        assert_eq!(some[0][3..5], [Cell::from("store-only"), Cell::from("it has no key")]);
        let all = rows_of(shown, true);
        assert_eq!(all[1][..4], [Cell::from("public"), Cell::from("hidden"), Cell::from("shop"), Cell::from("loading")]);
    }

    #[test]
    fn a_view_is_shown_without_a_store() {
        let view = Standing {
            schema: "public".to_owned(),
            name: "totals".to_owned(),
            state: "current".to_owned(),
            reason: None,
            maintained: "incrementally".to_owned(),
            is_populated: true,
            rows: 2,
            bytes: 3,
            position: Some("shop@7, crm@9".to_owned()),
            staleness: Some(Duration::from_millis(4)),
            served: 5,
            fell_through: 6,
            waited: 7,
            since: DateTime::<Utc>::UNIX_EPOCH,
        };
        let row = row_of_view(view);
        let expected = cells![
            "public",
            "totals",
            Cell::Null,
            "current",
            Cell::Null,
            2_i64,
            3_i64,
            "shop@7, crm@9",
            Duration::from_millis(4),
            5_i64,
            6_i64,
            7_i64,
            DateTime::<Utc>::UNIX_EPOCH,
        ];
        assert_eq!(row, expected);
        assert_eq!(row.len(), FRESHNESS.len());
    }

    #[test]
    fn its_rows_are_made_at_every_statement() {
        let relation = relations().pop().unwrap();
        let SystemBody::Rows(rows) = relation.body;
        assert!(rows.is_live());
        assert_eq!(rows.schema().fields().len(), FRESHNESS.len());
    }
}
