//! Tables of ours in a PostgreSQL store: how they look, how they are made, and the marks in one of them.
//!
//! ```text
//! install   CREATE TABLE, one instance after the other (a lock of the database's), unless it is there
//! mark      INSERT … 'commit', in the transaction that it marks
//! decide    INSERT … 'abort', which waits for that transaction; then what stands there
//! ```
//!
//! **Invariants:** a mark of either kind is on disk when its commit is answered, whatever the role's `synchronous_commit` says; what is
//! read of a mark was written by a transaction that has ended.

use std::fmt::Write;
use std::sync::Arc;

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::super::commit::{CHANGES, DECISIONS, FEED, LOGS, MarkId, OwnTable, Verdict, is_own_name};
use super::super::error::StoreError;
use super::super::relational::Dialect;
use super::super::schema::{Collation, Column, ColumnStatistics, Generated, Key, Table, TableId, TableKind};
use super::branch::Inner;
use super::error;
use super::types::{self, NativeType};
use crate::error::sqlstate;

/// Where they are.
pub(super) const NAMESPACE: &str = "public";

/// Those that nobody but us reads or writes, with those of the log (`ledger.rs`) and of a feed by triggers (`changes/triggers.rs`).
const HIDDEN: [&str; 6] = ["tributary_marks", "tributary_keys", LOGS, DECISIONS, CHANGES, FEED];

/// The lock under which tables of ours are made, so that two instances do not meet in the catalogs.
const LOCK: i64 = 0x7472_6962_7574_6172;

/// How often a mark is looked at that goes away in between, because somebody has forgotten it.
const LOOKS: usize = 3;

/// Marks that are removed by one statement.
const FORGOTTEN_AT_ONCE: usize = 500;

/// How text compares there, as discovery names it.
const BY_BYTES: &str = "pg_catalog.\"C\"";

/// From here to the end of the transaction its commit is waited for until it is on disk.
pub(super) const DURABLE: &str = "SELECT pg_catalog.set_config('synchronous_commit', 'on', true) \
     WHERE pg_catalog.current_setting('synchronous_commit') IN ('off', 'local')";

/// A column: its name, the number and modifier of its type, the words for it, and whether it may be NULL.
type Drawn = (&'static str, u32, i32, &'static str, bool);

const VARCHAR: u32 = 1043;
const MOMENT: (u32, i32, &str) = (1184, -1, "timestamp with time zone");

fn columns(which: OwnTable) -> Vec<Drawn> {
    let (oid, typmod, words) = MOMENT;
    let at = ("at", oid, typmod, words, false);
    match which {
        OwnTable::Marks => {
            vec![("id", VARCHAR, 68, "character varying(64)", false), ("state", VARCHAR, 12, "character varying(8)", false), at]
        }
        OwnTable::Keys => vec![
            ("key", VARCHAR, 204, "character varying(200)", false),
            ("hash", 1042, 68, "character(64)", false),
            ("outcome", 25, -1, "text", true),
            at,
        ],
        OwnTable::Outbox => vec![
            ("id", VARCHAR, 40, "character varying(36)", false),
            ("topic", VARCHAR, 204, "character varying(200)", false),
            ("key", 25, -1, "text", true),
            ("payload", 114, -1, "json", true),
            at,
            ("transaction", VARCHAR, 68, "character varying(64)", true),
        ],
    }
}

/// Whether values of a type are compared as text.
fn is_text(oid: u32) -> bool {
    [25, 1042, VARCHAR].contains(&oid)
}

/// Whether a table is ours alone, so that discovery leaves it out.
pub(super) fn is_hidden(id: &TableId) -> bool {
    id.namespace == NAMESPACE && HIDDEN.contains(&id.name.as_str())
}

/// Whether it is a table of ours, offered or not.
pub(super) fn is_ours(id: &TableId) -> bool {
    id.namespace == NAMESPACE && is_own_name(&id.name)
}

/// The table as discovery would describe it.
pub(super) fn table(which: OwnTable) -> Option<Arc<Table>> {
    let drawn = columns(which);
    let columns: Result<Vec<Column>, &'static str> = drawn.iter().map(column).collect();
    let columns = columns.ok()?;
    let name = which.name().to_owned();
    let key = Key { name: format!("{name}_pkey"), columns: vec![0], proven: true };
    Some(Arc::new(Table {
        id: TableId { namespace: NAMESPACE.to_owned(), name },
        kind: TableKind::Table,
        primary_key: Some(key),
        unique_keys: Vec::new(),
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        indexes: Vec::new(),
        comment: None,
        row_estimate: None,
        division: None,
        schema: Table::arrow_schema(&columns),
        columns,
    }))
}

fn column((name, oid, typmod, words, nullable): &Drawn) -> Result<Column, &'static str> {
    let native = NativeType { oid: *oid, typmod: *typmod, kind: 'b', element: None, labels: Vec::new() };
    let collation = match *oid {
        1042 => Collation::Loose((*words).to_owned()),
        oid if is_text(oid) => Collation::Linguistic(BY_BYTES.to_owned()),
        _ => Collation::Bytes,
    };
    Ok(Column {
        field: types::map(name, &native, *nullable)?,
        native_type: (*words).to_owned(),
        default: None,
        generated: Generated::No,
        comment: None,
        collation,
        statistics: ColumnStatistics::default(),
    })
}

/// `"public"."name"`
pub(super) fn quoted(name: &str) -> String {
    Dialect::Postgres.table(&TableId { namespace: NAMESPACE.to_owned(), name: name.to_owned() })
}

fn creation(which: OwnTable) -> String {
    let described = columns(which).into_iter().map(|(name, oid, _, words, nullable)| {
        let collation = if is_text(oid) { " COLLATE pg_catalog.\"C\"" } else { "" };
        let null = if nullable { "" } else { " NOT NULL" };
        format!("{} {words}{collation}{null}, ", Dialect::Postgres.quote(name))
    });
    let described: String = described.collect();
    let key = columns(which).first().map_or("", |(name, ..)| *name);
    format!("CREATE TABLE IF NOT EXISTS {} ({described}PRIMARY KEY ({}))", quoted(which.name()), Dialect::Postgres.quote(key))
}

/// What finds the rows that are too old; nobody removes those of the outbox.
fn index(which: OwnTable) -> Option<String> {
    let (name, table) = (which.name(), quoted(which.name()));
    let is_swept = HIDDEN.contains(&name);
    is_swept.then(|| format!("CREATE INDEX IF NOT EXISTS {} ON {table} (\"at\")", Dialect::Postgres.quote(&format!("{name}_at"))))
}

/// What is done with a table of ours.
fn rights(which: OwnTable) -> &'static [&'static str] {
    match which {
        OwnTable::Marks => &["SELECT", "INSERT", "DELETE"],
        OwnTable::Keys => &["SELECT", "INSERT", "UPDATE", "DELETE"],
        OwnTable::Outbox => &["INSERT"],
    }
}

/// Makes a table of ours where it is not there.
///
/// # Errors
/// What the server answered; 42501 where it is there and must not be used.
pub(super) async fn install(inner: &Inner, which: OwnTable) -> Result<(), StoreError> {
    if inner.settings.read_only {
        return Err(StoreError::ReadOnly { store: inner.name.to_string() });
    }
    let name = quoted(which.name());
    let rights: Vec<String> = rights(which).iter().map(|right| format!("('{right}')")).collect();
    let look = format!(
        "SELECT pg_catalog.bool_and(pg_catalog.has_table_privilege(c.oid, r.word)) FROM pg_catalog.pg_class c, \
         (VALUES {}) AS r (word) WHERE c.oid = pg_catalog.to_regclass('{name}')",
        rights.join(", ")
    );
    let (mut lease, rows) = Box::pin(inner.pools.control.acquire_with(&look)).await?;
    let may_use: Option<bool> = match rows.iter().flatten().next() {
        Some(row) => row.try_get(0).map_err(|problem| error::running(&inner.name, &problem))?,
        None => None,
    };
    match may_use {
        Some(true) => Ok(()),
        Some(false) => {
            let message = format!("permission denied for table {}", which.name());
            Err(StoreError::remote(inner.name.as_str(), sqlstate::INSUFFICIENT_PRIVILEGE, message))
        }
        None => {
            let all: Vec<String> = [creation(which)].into_iter().chain(index(which)).collect();
            lease.query(&made(&all)).await.map(drop)
        }
    }
}

/// Statements that make tables, one instance after the other.
pub(super) fn made(creations: &[String]) -> String {
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_catalog.pg_advisory_xact_lock({LOCK}); {}; COMMIT",
        creations.join("; ")
    )
}

/// The statements that mark the transaction that they are run in.
pub(super) fn mark(mark: MarkId) -> String {
    format!("{DURABLE}; {}", insertion(mark, "commit"))
}

/// A name of ours holds nothing that would have to be quoted.
fn insertion(mark: MarkId, state: &str) -> String {
    format!(
        "INSERT INTO {} (id, state, at) VALUES ('{mark}', '{state}', pg_catalog.clock_timestamp())",
        quoted(OwnTable::Marks.name())
    )
}

/// Whether a transaction with this mark is committed; if not, it never will be.
///
/// # Errors
/// What the server answered; 55P03 while the transaction is under way.
pub(super) async fn decide(inner: &Inner, mark: MarkId) -> Result<Verdict, StoreError> {
    let sql = decision(inner, mark);
    for _ in 0..LOOKS {
        // Safe to repeat, also when the answer to the first was lost.
        let (_lease, rows) = Box::pin(inner.pools.control.acquire_with(&sql)).await?;
        // The last statement with rows is the one that tells.
        let told = rows.iter().flatten().next_back();
        if let Some(verdict) = told.and_then(state) {
            return Ok(verdict);
        }
    }
    let message = format!("the mark {mark} comes and goes");
    Err(StoreError::remote(inner.name.as_str(), sqlstate::LOCK_NOT_AVAILABLE, message))
}

/// What is there already is waited for as long as for a connection: whoever asks, asks again.
fn decision(inner: &Inner, mark: MarkId) -> String {
    let wait = inner.settings.connect_timeout.as_millis().max(1);
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = {wait}; {DURABLE}; {} ON CONFLICT (id) DO NOTHING; \
         SELECT 'state', state::pg_catalog.text FROM {} WHERE id = '{mark}'; COMMIT",
        insertion(mark, "abort"),
        quoted(OwnTable::Marks.name())
    )
}

fn state(row: &PgRow) -> Option<Verdict> {
    match row.try_get::<String, _>(1).ok()?.as_str() {
        "commit" => Some(Verdict::Commit),
        "abort" => Some(Verdict::Abort),
        _ => None,
    }
}

/// Removes marks of transactions that have ended everywhere, and what stood against others for a day.
///
/// # Errors
/// What the server answered.
pub(super) async fn forget(inner: &Inner, marks: &[MarkId]) -> Result<(), StoreError> {
    for some in marks.chunks(FORGOTTEN_AT_ONCE) {
        Box::pin(inner.pools.control.acquire_with(&removal(some))).await?;
    }
    Ok(())
}

fn removal(marks: &[MarkId]) -> String {
    let mut sql = format!(
        "DELETE FROM {} WHERE state = 'abort' AND at < pg_catalog.now() - '1 day'::pg_catalog.interval \
         OR state = 'commit' AND id IN (",
        quoted(OwnTable::Marks.name())
    );
    for (place, mark) in marks.iter().enumerate() {
        // Writing into a text cannot fail.
        let _ = write!(sql, "{}'{mark}'", if place == 0 { "" } else { ", " });
    }
    sql.push(')');
    sql
}

#[cfg(test)]
mod tests {
    use super::super::super::commit::{Gid, LogId, MarkOf};
    use super::*;
    use crate::pgtype::PgType;

    fn at(of: MarkOf) -> MarkId {
        MarkId { gid: Gid { log: LogId(1), number: 2 }, of }
    }

    #[test]
    fn tables_are_made_as_they_are_described() {
        assert_eq!(
            creation(OwnTable::Marks),
            "CREATE TABLE IF NOT EXISTS \"public\".\"tributary_marks\" (\
             \"id\" character varying(64) COLLATE pg_catalog.\"C\" NOT NULL, \
             \"state\" character varying(8) COLLATE pg_catalog.\"C\" NOT NULL, \
             \"at\" timestamp with time zone NOT NULL, PRIMARY KEY (\"id\"))"
        );
        for which in OwnTable::ALL {
            let table = table(which).unwrap();
            assert_eq!(table.id.name, which.name());
            assert_eq!(table.columns.len(), columns(which).len());
            assert_eq!(table.primary_key.as_ref().unwrap().columns, [0]);
            // Only the outbox is offered to readers.
            assert_eq!(is_hidden(&table.id), which != OwnTable::Outbox);
        }
        let indexed = "CREATE INDEX IF NOT EXISTS \"tributary_keys_at\" ON \"public\".\"tributary_keys\" (\"at\")";
        assert_eq!((index(OwnTable::Keys).as_deref(), index(OwnTable::Outbox)), (Some(indexed), None));
        let outbox = table(OwnTable::Outbox).unwrap();
        assert_eq!((outbox.columns[3].pg_type(), outbox.columns[4].pg_type()), (PgType::JSON, PgType::TIMESTAMPTZ));
        let id = |namespace: &str, name: &str| TableId { namespace: namespace.to_owned(), name: name.to_owned() };
        assert!(!is_hidden(&id("other", "tributary_marks")) && !is_ours(&id("other", "tributary_marks")));
        assert!(is_hidden(&id(NAMESPACE, CHANGES)) && is_hidden(&id(NAMESPACE, FEED)));
        assert!(is_ours(&id(NAMESPACE, "tributary_outbox")) && !is_ours(&id(NAMESPACE, "orders")));
    }

    #[test]
    fn marks_are_named_in_texts() {
        let text = mark(at(MarkOf::Step(3)));
        assert!(text.starts_with("SELECT pg_catalog.set_config('synchronous_commit', 'on', true)"), "{text}");
        assert!(text.contains("('tributary:0000000000000001:0000000000000002/3', 'commit', "), "{text}");
        let text = removal(&[at(MarkOf::All), at(MarkOf::Undo(0))]);
        assert!(
            text.ends_with(
                "id IN ('tributary:0000000000000001:0000000000000002', 'tributary:0000000000000001:0000000000000002/0u')"
            ),
            "{text}"
        );
    }
}
