//! `tributary.feeds`, `tributary.feed_objects` and `tributary.changes`: how feeds stand, what of ours they leave in stores, and what
//! they have told.
//!
//! The rows of the last are not made here: they are read from the log as they are asked for (`federation::changes`).

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::table::{Cell, TEXTS, live, schema_of};
use crate::catalog::discover::{SystemBody, SystemRelation};
use crate::catalog::snapshot::{RowFunction, SessionFacts, Snapshot};
use crate::cells;
use crate::changes::{Shown, ShownTable};
use crate::error::Diagnosis;
use crate::pgtype::PgType;

pub(super) fn relations() -> Vec<SystemRelation> {
    let log = SystemBody::Rows(Arc::new(Log));
    vec![
        live("tributary", "feeds", FEEDS, feeds),
        live("tributary", "feed_objects", OBJECTS, objects),
        SystemRelation { schema: "tributary", name: "changes".to_owned(), oid: 0, body: log },
    ]
}

fn sees_all(facts: &SessionFacts) -> bool {
    facts.superusers.contains(&facts.role)
}

const FEEDS: &[(&str, PgType)] = &[
    ("store", PgType::NAME),
    ("table_schema", PgType::NAME),
    ("table_name", PgType::NAME),
    ("state", PgType::TEXT),
    ("reason", PgType::TEXT),
    ("mend", PgType::TEXT),
    ("position", PgType::TEXT),
    ("applied", PgType::TIMESTAMPTZ),
    ("lag", PgType::INTERVAL),
    ("lag_bytes", PgType::INT8),
    ("retained_bytes", PgType::INT8),
    ("retained_max_bytes", PgType::INT8),
    ("events", PgType::INT8),
    ("since", PgType::TIMESTAMPTZ),
    ("history_window", PgType::INTERVAL),
    ("losses", PgType::INT8),
    ("reconnects", PgType::INT8),
    ("transactions", PgType::INT8),
    ("bytes", PgType::INT8),
    ("log_bytes", PgType::INT8),
    ("ring_bytes", PgType::INT8),
    ("queue_bytes", PgType::INT8),
    ("sync_lag", PgType::INTERVAL),
    ("outbox_waiting", PgType::INT8),
];

/// A row for each store, without a table, and behind it one for each of its tables. Tables that no role sees are shown to superusers
/// alone, by the names that their store has for them.
fn feeds(_snapshot: &Snapshot, facts: &SessionFacts) -> Vec<Vec<Cell>> {
    rows_of(&facts.feeds.shown(), sees_all(facts))
}

fn rows_of(shown: &[Shown], sees_all: bool) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for feed in shown {
        rows.push(store_row(feed));
        let seen = feed.tables.iter().filter(|table| sees_all || table.label.is_some());
        rows.extend(seen.map(|table| table_row(feed, table)));
    }
    rows
}

fn store_row(feed: &Shown) -> Vec<Cell> {
    cells![
        feed.store.as_str(),
        Cell::Null,
        Cell::Null,
        feed.state.word(),
        feed.reason.clone(),
        feed.mend.clone(),
        feed.position.map(|place| place.to_string()),
        feed.applied,
        feed.lag,
        feed.lag_bytes.map(whole),
        feed.retained_bytes.map(whole),
        feed.retained_max_bytes.map(whole),
        whole(feed.events),
        feed.since,
        feed.window,
        whole(feed.losses),
        whole(feed.reconnects),
        whole(feed.transactions),
        whole(feed.bytes),
        feed.log_bytes.map(whole),
        feed.ring_bytes.map(whole),
        feed.queue_bytes.map(whole),
        feed.sync_lag,
        feed.outbox_waiting.map(whole),
    ]
}

fn table_row(feed: &Shown, table: &ShownTable) -> Vec<Cell> {
    let named = table.label.clone();
    let (schema, name) = named.unwrap_or_else(|| (table.table.namespace.clone(), table.table.name.clone()));
    let mut row = cells![
        feed.store.as_str(),
        schema,
        name,
        table.state.word(),
        table.reason.clone(),
        table.mend.clone(),
        Cell::Null,
        Cell::Null,
        Cell::Null,
        Cell::Null,
        Cell::Null,
        Cell::Null,
        whole(table.events),
        table.since,
    ];
    // The rest is of the store.
    row.resize(FEEDS.len(), Cell::Null);
    row
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

const OBJECTS: &[(&str, PgType)] =
    &[("store", PgType::NAME), ("what", PgType::TEXT), ("name", PgType::TEXT), ("remove", PgType::TEXT), ("ours", PgType::BOOL)];

/// For superusers: what removes an object is a statement in the store's own names.
fn objects(_snapshot: &Snapshot, facts: &SessionFacts) -> Vec<Vec<Cell>> {
    if !sees_all(facts) {
        return Vec::new();
    }
    objects_of(&facts.feeds.shown())
}

fn objects_of(shown: &[Shown]) -> Vec<Vec<Cell>> {
    let of_feed = |feed: &Shown| {
        let row = |object: &crate::stores::capture::OwnObject| {
            cells![feed.store.as_str(), object.what, object.name.as_str(), object.remove.as_str(), object.ours]
        };
        feed.objects.iter().map(row).collect::<Vec<_>>()
    };
    shown.iter().flat_map(of_feed).collect()
}

/// Columns of `tributary.changes`: one row for each changed row, and for each thing between them that is no row.
pub const CHANGES: &[(&str, PgType)] = &[
    ("store", PgType::NAME),
    ("position", PgType::TEXT),
    ("ordinal", PgType::INT8),
    ("transaction", PgType::TEXT),
    ("committed", PgType::TIMESTAMPTZ),
    ("received", PgType::TIMESTAMPTZ),
    ("table_schema", PgType::NAME),
    ("table_name", PgType::NAME),
    ("op", PgType::TEXT),
    ("key", PgType::JSONB),
    ("old", PgType::JSONB),
    ("new", PgType::JSONB),
    ("unknown", TEXTS),
    ("reason", PgType::TEXT),
];

/// The log of changes as a relation.
struct Log;

impl RowFunction for Log {
    fn schema(&self) -> SchemaRef {
        schema_of(CHANGES)
    }

    /// None: see [`RowFunction::is_log`].
    fn rows(&self, _snapshot: &Snapshot, _facts: &SessionFacts) -> Result<RecordBatch, Diagnosis> {
        Ok(RecordBatch::new_empty(self.schema()))
    }

    fn is_live(&self) -> bool {
        true
    }

    fn is_log(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::{DateTime, Utc};

    use super::*;
    use crate::changes::{State, TableState};
    use crate::stores::StoreName;
    use crate::stores::capture::OwnObject;
    use crate::stores::schema::TableId;

    fn shown() -> Vec<Shown> {
        let since = DateTime::<Utc>::UNIX_EPOCH;
        let table = |name: &str, label: Option<(&str, &str)>, state| ShownTable {
            table: TableId { namespace: "public".to_owned(), name: name.to_owned() },
            label: label.map(|(schema, name)| (schema.to_owned(), name.to_owned())),
            state,
            reason: None,
            mend: None,
            events: 3,
            since,
        };
        let object = OwnObject {
            what: "replication slot",
            name: "s".to_owned(),
            remove: "SELECT 1".to_owned(),
            ours: true,
            holds_bytes: None,
        };
        vec![Shown {
            store: StoreName::new("shop"),
            state: State::Streaming,
            reason: None,
            mend: None,
            cautions: Vec::new(),
            objects: vec![object],
            tables: vec![
                table("orders", Some(("shop", "orders")), TableState::Streaming),
                table("tributary_outbox", None, TableState::Streaming),
                table("notes", Some(("shop", "notes")), TableState::StoreOnly),
            ],
            position: None,
            applied: None,
            lag: Some(Duration::from_millis(5)),
            lag_bytes: Some(u64::MAX),
            retained_bytes: None,
            retained_max_bytes: Some(1 << 30),
            window: Some(Duration::from_secs(7_200)),
            events: 7,
            since,
            transactions: 5,
            bytes: 90,
            losses: 1,
            reconnects: 2,
            log_bytes: Some(4_096),
            ring_bytes: Some(512),
            queue_bytes: Some(64),
            sync_lag: Some(Duration::ZERO),
            outbox_waiting: None,
        }]
    }

    #[test]
    fn rows_fit_their_columns_and_hide_what_no_role_sees() {
        let (shown, all) = (shown(), rows_of(&shown(), true));
        assert!(all.iter().all(|row| row.len() == FEEDS.len()));
        assert_eq!(all.len(), 4);
        assert_eq!(all[0][..4], [Cell::from("shop"), Cell::Null, Cell::Null, Cell::from("streaming")]);
        assert_eq!((&all[0][8], &all[0][9]), (&Cell::Lasting(Duration::from_millis(5)), &Cell::Int(i64::MAX)));
        assert_eq!((&all[0][10], &all[0][11]), (&Cell::Null, &Cell::Int(1 << 30)));
        let numbers =
            cells![Duration::from_secs(7_200), 1i64, 2i64, 5i64, 90i64, 4_096i64, 512i64, 64i64, Duration::ZERO, Cell::Null];
        assert_eq!(all[0][14..], numbers);
        assert!(all[1][14..].iter().all(|cell| *cell == Cell::Null));
        assert_eq!(all[2][1..4], [Cell::from("public"), Cell::from("tributary_outbox"), Cell::from("streaming")]);
        let some = rows_of(&shown, false);
        assert_eq!(some.len(), 3);
        assert_eq!(some[2][1..4], [Cell::from("shop"), Cell::from("notes"), Cell::from("store-only")]);
        let objects = objects_of(&shown);
        assert_eq!(objects, [cells!["shop", "replication slot", "s", "SELECT 1", true]]);
        assert_eq!(objects[0].len(), OBJECTS.len());
    }

    #[test]
    fn the_log_is_read_elsewhere() {
        assert!(Log.is_log() && Log.is_live());
        assert_eq!(Log.schema().fields().len(), CHANGES.len());
    }
}
