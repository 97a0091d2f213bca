//! Many new rows: `COPY … FROM STDIN`, where it does what `INSERT` does.
//!
//! ```text
//! first edit of a table in a transaction     INSERT, with which nobody else changes the table until the transaction ends
//! the next one that is long                  the server is asked once: is it a plain table, as it was discovered?
//! from then on                               yes: COPY t (a, …) FROM STDIN (FORMAT binary), one for each edit; no: INSERT
//! ```
//!
//! A binary COPY carries no types: without the lock the bytes of an `integer` would be read as a `real` if the column became one
//! meanwhile. A way back to a savepoint may give the lock back, so everything is asked anew behind it.
//!
//! INSERT stays for views, which COPY does not fill; tables with rules, which it passes over; foreign tables and partitions; tables with
//! row security, which it refuses; those with triggers, which may answer with warnings that nobody reads while rows are sent; and for
//! values of columns that the server makes always, which differ between the two.
//!
//! The driver does not tell the kernel to send small pieces at once (`TCP_NODELAY`), and writes the five bytes that end a COPY by themselves:
//! behind the last rows they would wait until the server has acknowledged these, which it puts off for 40 ms. So messages without data
//! go along with the end, more of them than one segment holds: a full segment waits for nothing, and with it the server acknowledges
//! everything before it at once. Where the driver or the network do something else it is only slower.
//!
//! **Invariants:** all data of a COPY are here before it begins, so that it waits for nobody but the server; a connection whose COPY was
//! left in the middle is never used again, not even to end its transaction, because what comes back on it could be taken for the answer
//! to something else.

use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::RecordBatch;
use sqlx::Row;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgCopyIn, PgRow};

use super::super::super::edit::{Edit, Insert};
use super::super::super::error::StoreError;
use super::super::super::relational::{Dialect, Unwritable, embedded, literal};
use super::super::super::schema::{Generated, Table};
use super::super::pool::Lease;
use super::copy_rows::Rows;
use super::run::Problem;
use super::statement::{Parameters, Statement};
use super::transaction::{Line, Transaction};
use crate::error::sqlstate;

/// Fewer rows are not worth a second round trip.
const ROWS_MIN: usize = 64;
/// About so many bytes are sent at a time.
const CHUNK: usize = 64 << 10;
/// The size of a message without data.
const EMPTY: usize = 5;
/// More than a segment has on networks with the largest packets that are common.
const SEGMENT: usize = 9 << 10;
/// More than a segment has that does not leave the machine.
const OWN_SEGMENT: usize = (64 << 10) + 512;
/// A source that is at its end.
const NOTHING: &[u8] = &[];
/// So many tables of a transaction are kept in mind.
const TABLES_MAX: usize = 16;

/// Rows on their way into the table of a statement.
#[derive(Debug, PartialEq)]
pub(super) struct Load {
    /// The columns that are given, by ordinal.
    columns: Vec<usize>,
    rows: RecordBatch,
}

/// How long edits of a table are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Nobody has asked yet. Nobody else changes the table until the transaction ends.
    Unasked,
    /// By COPY.
    Copy,
    /// By INSERT.
    Insert,
}

/// The tables into which a transaction has inserted rows.
#[derive(Debug, Default)]
pub(super) struct Inserted(Vec<(Arc<Table>, Way)>);

impl Inserted {
    /// Rows have been inserted.
    pub(super) fn note(&mut self, edit: &Edit) {
        let Edit::Insert(insert) = edit else { return };
        if self.way(&insert.table).is_none() {
            self.put(&insert.table, Way::Unasked);
        }
    }

    /// Locks may have been given back.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    fn way(&self, table: &Arc<Table>) -> Option<Way> {
        self.0.iter().find(|(known, _)| Arc::ptr_eq(known, table)).map(|(_, way)| *way)
    }

    fn put(&mut self, table: &Arc<Table>, way: Way) {
        self.0.retain(|(known, _)| !Arc::ptr_eq(known, table));
        if self.0.len() >= TABLES_MAX {
            self.0.clear();
        }
        self.0.push((Arc::clone(table), way));
    }
}

/// A connection with a COPY. One that is left in the middle goes with it.
pub(super) struct Copying<'l>(pub(super) &'l mut Lease);

impl Drop for Copying<'_> {
    fn drop(&mut self) {
        if self.0.is_running() {
            self.0.abandon();
        }
    }
}

impl Transaction {
    /// The COPY that an edit is sent as; `None` where it is sent as a statement.
    ///
    /// # Errors
    /// What the server answered; a value that cannot be written.
    pub(super) async fn copying(&self, line: &mut Line, edit: &Edit) -> Result<Option<Statement>, StoreError> {
        let Edit::Insert(insert) = edit else { return Ok(None) };
        if !is_long(insert) {
            return Ok(None);
        }
        let way = match line.inserted.way(&insert.table) {
            Some(Way::Unasked) => {
                let way = self.ask(line, &insert.table).await?;
                line.inserted.put(&insert.table, way);
                way
            }
            Some(way) => way,
            None => return Ok(None),
        };
        if way == Way::Copy { statement(insert).map(Some) } else { Ok(None) }
    }

    /// Asks whether COPY does with a table what INSERT does, and whether the table is as it was discovered.
    async fn ask(&self, line: &mut Line, table: &Table) -> Result<Way, StoreError> {
        let Some(question) = question(table) else { return Ok(Way::Insert) };
        let mut is_plain = false;
        let mut take = |row: &PgRow| -> Result<(), StoreError> {
            is_plain = row.try_get(0).unwrap_or(false);
            Ok(())
        };
        self.rows(line, &question, None, &mut take).await?;
        Ok(if is_plain { Way::Copy } else { Way::Insert })
    }
}

/// Whether an edit may be sent as a COPY.
fn is_long(insert: &Insert) -> bool {
    // Fields of documents are gathered for a statement.
    let is_made = |ordinal: &usize| {
        let column = insert.table.columns.get(*ordinal);
        column.is_none_or(|column| column.generated == Generated::Always || embedded::source(&column.field).is_some())
    };
    insert.rows.num_rows() >= ROWS_MIN
        && insert.conflict.is_none()
        && insert.returning.is_empty()
        && !insert.columns.is_empty()
        && !insert.columns.iter().any(is_made)
}

/// What asks the server for all that INSERT and COPY differ in, and for the types of the columns. `None` when there is nothing to ask
/// for.
fn question(table: &Table) -> Option<String> {
    let mut columns = String::new();
    let mut count = 0_usize;
    for column in table.columns.iter().filter(|column| embedded::source(&column.field).is_none()) {
        columns.push_str(if count == 0 { "(" } else { ", (" });
        literal::write_text(column.name(), &mut columns).ok()?;
        columns.push_str(", ");
        literal::write_text(&column.native_type, &mut columns).ok()?;
        columns.push(')');
        count += 1;
    }
    let mut name = String::new();
    literal::write_text(&Dialect::Postgres.table(&table.id), &mut name).ok()?;
    let below = "(WITH RECURSIVE below(oid) AS (SELECT c.oid UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i, below b \
         WHERE i.inhparent = b.oid) SELECT oid FROM below)";
    (count > 0).then(|| {
        format!(
            "SELECT c.relkind IN ('r', 'p') AND NOT c.relhasrules AND NOT c.relrowsecurity \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE NOT g.tgisinternal AND g.tgrelid IN {below}) \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_class f WHERE f.relkind = 'f' AND f.oid IN {below}) \
             AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped AND \
             (a.attname::pg_catalog.text, pg_catalog.format_type(a.atttypid, a.atttypmod)) IN ({columns})) = {count} \
             FROM pg_catalog.pg_class c WHERE c.oid = {name}::pg_catalog.regclass"
        )
    })
}

/// The COPY of an edit.
///
/// # Errors
/// A value that cannot be written.
fn statement(insert: &Insert) -> Result<Statement, StoreError> {
    let (table, columns) = (&insert.table, &insert.columns);
    let rows = Rows::of(table, columns, &insert.rows).map_err(|rule| refused(insert.store.as_str(), &rule))?;
    let names = columns.iter().filter_map(|ordinal| table.columns.get(*ordinal));
    let names: Vec<String> = names.map(|column| Dialect::Postgres.quote(column.name())).collect();
    let format = if rows.is_binary() { " (FORMAT binary)" } else { "" };
    let text = format!("COPY {} ({}) FROM STDIN{format}", Dialect::Postgres.table(&table.id), names.join(", "));
    let load = Load { columns: columns.clone(), rows: insert.rows.clone() };
    let (store, table) = (insert.store.clone(), Arc::clone(table));
    Ok(Statement { store, table, text: text.into(), parameters: Parameters::Load(load), returned: None, defines: false })
}

fn refused(store: &str, Unwritable(rule): &Unwritable) -> StoreError {
    StoreError::remote(store, sqlstate::INVALID_PARAMETER_VALUE, format!("a value {rule}"))
}

/// How many messages without data go before the end of a COPY.
pub(super) fn fillers(connect: &PgConnectOptions) -> usize {
    let host = connect.get_host();
    // A Unix socket keeps nothing back.
    if connect.get_socket().is_some() || host.starts_with('/') {
        return 0;
    }
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_near = host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback());
    (if is_near { OWN_SEGMENT } else { SEGMENT }).div_ceil(EMPTY)
}

/// Sends a COPY with its rows, and waits for the answer. Gives how many rows the server has taken.
///
/// # Errors
/// What has happened to it, and why.
pub(super) async fn send(
    connection: &mut PgConnection,
    statement: &Statement,
    load: &Load,
    fillers: usize,
) -> Result<u64, Problem> {
    let refused = |rule: &Unwritable| refused(statement.store.as_str(), rule);
    let rows = Rows::of(&statement.table, &load.columns, &load.rows);
    let mut rows = rows.map_err(|rule| Problem::Unreadable(refused(&rule)))?;
    let mut copy = connection.copy_in_raw(&statement.text).await.map_err(Problem::Early)?;
    let mut out = Vec::with_capacity(CHUNK * 2);
    rows.begin(&mut out);
    for row in 0..load.rows.num_rows() {
        if let Err(rule) = rows.write(row, &mut out) {
            return Err(give_up(copy, refused(&rule)).await);
        }
        if out.len() >= CHUNK {
            copy.send(out.as_slice()).await.map_err(Problem::Server)?;
            out.clear();
        }
    }
    rows.end(&mut out);
    copy.send(out.as_slice()).await.map_err(Problem::Server)?;
    for _ in 0..fillers {
        // Of a source that is at its end comes a message without data, which the driver keeps until it writes the next one.
        copy.read_from(NOTHING).await.map_err(Problem::Server)?;
    }
    copy.finish().await.map_err(Problem::Server)
}

/// Ends a COPY one of whose values cannot be written, which the server takes for a failure of the statement.
async fn give_up(copy: PgCopyIn<&mut PgConnection>, refused: StoreError) -> Problem {
    match copy.abort("a value cannot be written").await {
        Ok(()) => Problem::Unreadable(refused),
        // The driver has left something of the answer unread.
        Err(problem) => Problem::Server(sqlx::Error::Protocol(problem.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int32Array, StringArray};
    use arrow::datatypes::Schema;

    use super::super::super::super::connector::StoreName;
    use super::super::super::super::edit::{Conflict, ConflictAction, ConflictTarget, field};
    use super::super::super::super::schema::{Collation, Column, ColumnStatistics};
    use super::super::super::types::{NativeType, map};
    use super::*;

    fn column(name: &str, oid: u32, native_type: &str) -> Column {
        let native = NativeType { oid, typmod: -1, kind: 'b', element: None, labels: Vec::new() };
        Column {
            field: map(name, &native, true).unwrap(),
            native_type: native_type.to_owned(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        }
    }

    fn table() -> Arc<Table> {
        Arc::new(Table::plain(
            "public",
            "it's",
            vec![column("id", 23, "integer"), column("a\"b", 25, "text"), column("p", 600, "point")],
        ))
    }

    fn insert(table: &Arc<Table>, columns: &[usize], count: usize) -> Insert {
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![7; count]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["(1,2)"; count]));
        let schema = Schema::new(columns.iter().map(|ordinal| field(&table.columns[*ordinal])).collect::<Vec<_>>());
        let arrays = columns.iter().map(|ordinal| if *ordinal == 0 { numbers.clone() } else { texts.clone() }).collect();
        let rows = RecordBatch::try_new(Arc::new(schema), arrays).unwrap();
        let (store, table, columns) = (StoreName::new("s"), Arc::clone(table), columns.to_vec());
        Insert { store, table, columns, paths: Vec::new(), rows, conflict: None, returning: Vec::new() }
    }

    #[test]
    fn only_plain_and_long_edits_are_copied() {
        let known = table();
        let long = insert(&known, &[0, 1], ROWS_MIN);
        assert!(is_long(&long) && !is_long(&insert(&known, &[0, 1], ROWS_MIN - 1)));
        let met = Conflict { target: ConflictTarget::Any, action: ConflictAction::Nothing };
        assert!(!is_long(&Insert { conflict: Some(met), ..long.clone() }));
        assert!(!is_long(&Insert { returning: vec![0], ..long.clone() }));
        let mut counted = Table::clone(&known);
        counted.columns[0].generated = Generated::Always;
        assert!(!is_long(&Insert { table: Arc::new(counted), ..long }));
    }

    #[test]
    fn the_text_names_the_columns_and_the_format() {
        let known = table();
        let of = |columns: &[usize]| statement(&insert(&known, columns, ROWS_MIN)).unwrap().text.to_string();
        assert_eq!(of(&[1, 0]), "COPY \"public\".\"it's\" (\"a\"\"b\", \"id\") FROM STDIN (FORMAT binary)");
        assert_eq!(of(&[0, 2]), "COPY \"public\".\"it's\" (\"id\", \"p\") FROM STDIN");
        let asked = question(&known).unwrap();
        assert!(asked.contains("IN (('id', 'integer'), ('a\"b', 'text'), ('p', 'point'))) = 3"), "{asked}");
        assert!(asked.ends_with("c.oid = '\"public\".\"it''s\"'::pg_catalog.regclass"), "{asked}");
        assert_eq!(question(&Table::plain("public", "t", Vec::new())), None);
    }

    #[test]
    fn what_goes_along_with_the_end_is_more_than_a_segment() {
        let of = |host: &str| fillers(&PgConnectOptions::new_without_pgpass().host(host)) * EMPTY;
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]"] {
            assert!(of(host) > 65_536, "{host}");
        }
        for host in ["db.example.com", "10.0.0.7", "[2001:db8::1]"] {
            assert!((9_000..65_536).contains(&of(host)), "{host}");
        }
        assert_eq!(of("/var/run/postgresql"), 0);
    }

    #[test]
    fn a_way_is_known_of_tables_that_hold_still() {
        let (one, same, mut inserted) = (table(), table(), Inserted::default());
        assert_eq!(inserted.way(&one), None);
        inserted.note(&Edit::Insert(insert(&one, &[0], 1)));
        assert_eq!((inserted.way(&one), inserted.way(&same)), (Some(Way::Unasked), None));
        inserted.put(&one, Way::Copy);
        inserted.note(&Edit::Insert(insert(&one, &[0], 1)));
        assert_eq!(inserted.way(&one), Some(Way::Copy));
        for _ in 0..TABLES_MAX * 3 {
            inserted.put(&table(), Way::Insert);
            assert!(inserted.0.len() <= TABLES_MAX);
        }
        inserted.put(&one, Way::Copy);
        inserted.forget();
        assert_eq!(inserted.way(&one), None);
    }
}
