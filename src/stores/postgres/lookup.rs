//! A scan that finds few rows by a key: a prepared statement in one round trip, instead of a COPY that is parsed, planned and
//! guarded each time.
//!
//! ```text
//! Scan → Lookup (a proven key is pinned, every column travels as it is) → Bind, Execute → rows → Gather
//!     Batch: decoders → one batch        relay: the bytes of each value → rows as the client gets them
//! ```
//!
//! **Invariants:** the text of the statement holds no value and names the type of each parameter, so that the connection may
//! keep it prepared; the columns of the conditions are read too, and the types of all columns are checked: the server answers
//! 0A000 when a table that a prepared statement reads has changed, and the statement is then prepared anew, once. Nothing is
//! gathered without a bound: a key that is pinned leaves at most [`ROWS_MAX`] rows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use futures::TryStreamExt;
use sqlx::postgres::{PgArguments, PgColumn, PgRow};
use sqlx::{Arguments, AssertSqlSafe, Column as _, Row, ValueRef};

use super::super::connector::{Scan, StoreName};
use super::super::error::StoreError;
use super::super::predicate::{Comparison, Predicate};
use super::super::relational::{Dialect, Sql, write_all};
use super::super::schema::{Column, Key, Table};
use super::super::value::Value;
use super::error;
use super::pool::{Lease, Pool, State};
use super::pushdown::Names;
use super::types::{self, Broken, Decoder, Form};
use crate::error::sqlstate;
use crate::pgtype::{PgField, builtin};

/// Most rows that the pinned keys may leave.
const ROWS_MAX: usize = 100;
/// Most columns and parameters of a statement that stays prepared, so that the statements kept on a connection are small.
const KEPT_PARTS_MAX: usize = 100;
/// Most columns; PostgreSQL takes 1664 in a select list.
const COLUMNS_MAX: usize = 1_000;

/// A scan as a prepared statement.
pub(super) struct Lookup {
    store: StoreName,
    table: Arc<Table>,
    /// Columns by ordinal, in output order.
    outputs: Vec<usize>,
    /// The types of all columns that are read: those that are put out, then those of the conditions.
    types: Vec<u32>,
    statement: Arc<str>,
    /// Whether connections keep it prepared.
    is_kept: bool,
    values: Vec<Value>,
    /// The rows that the keys leave, if they are still what was discovered.
    rows: usize,
    /// The rows that are wanted.
    limit: usize,
    deadline: Duration,
}

/// Why a lookup failed.
pub(super) enum Failure {
    /// The table has changed since the statement was prepared on this connection.
    Stale(StoreError),
    /// Anything else.
    Other(StoreError),
}

/// What becomes of the rows of a lookup.
pub(super) trait Gather: Send {
    /// Forgets the rows of a try that has failed.
    fn restart(&mut self);

    /// Takes the next row; its columns have the types that were discovered.
    ///
    /// # Errors
    /// A value that cannot be read.
    fn take(&mut self, lookup: &Lookup, row: &PgRow) -> Result<(), Failure>;
}

impl Lookup {
    /// The lookup that a scan is; `None` when it is none.
    pub(super) fn of(table: &Arc<Table>, scan: &Scan, deadline: Duration) -> Option<Self> {
        let rows = rows_of_pinned_key(table, &scan.filter).filter(|rows| *rows <= ROWS_MAX)?;
        let mut used = BTreeSet::new();
        scan.filter.iter().try_for_each(|predicate| gather(predicate, &mut used))?;
        let checked = used.into_iter().filter(|ordinal| !scan.columns.contains(ordinal));
        let read: Vec<usize> = scan.columns.iter().copied().chain(checked).collect();
        let mut types = Vec::with_capacity(read.len());
        let mut sql = Sql::bound(Dialect::Postgres);
        for (place, ordinal) in read.iter().enumerate() {
            let column = table.columns.get(*ordinal).filter(|column| place < COLUMNS_MAX && travels_as_it_is(column))?;
            sql.push(if place == 0 { "SELECT " } else { ", " });
            sql.push_name(column.name());
            types.push(column.pg_type().oid);
        }
        sql.push(" FROM ");
        sql.push(&Dialect::Postgres.table(&table.id));
        write_all(&scan.filter, &Names(table), &mut sql).ok()?;
        let (mut statement, values) = sql.into_parts();
        // Statements are known by their text, so the text has to tell what their parameters are.
        statement.push_str(" -- ");
        for value in &values {
            statement.push_str(type_word(value)?);
        }
        let limit = scan.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(rows).min(rows);
        Some(Self {
            store: scan.store.clone(),
            table: Arc::clone(table),
            outputs: scan.columns.clone(),
            is_kept: types.len() + values.len() <= KEPT_PARTS_MAX,
            types,
            statement: statement.into(),
            values,
            rows,
            limit,
            deadline,
        })
    }

    /// The values that the scan itself compares with, in the order of its parameters.
    pub(super) fn values(&self) -> &[Value] {
        &self.values
    }

    /// The columns that are put out.
    pub(super) fn columns(&self) -> impl Iterator<Item = &Column> {
        self.outputs.iter().filter_map(move |ordinal| self.table.columns.get(*ordinal))
    }

    /// The rows of the key. A pooled connection may have died with a restarted server, or have the statement prepared for a table
    /// that has changed since: it is then sent again, in the end on a new one.
    ///
    /// # Errors
    /// What the server answered, a value that cannot be read, a missed deadline.
    pub(super) async fn look_up(&self, scans: &Pool, values: &[Value], rows: &mut impl Gather) -> Result<(), StoreError> {
        loop {
            let lease = scans.acquire().await?;
            let reused = lease.is_reused();
            rows.restart();
            match self.run(lease, values, rows).await {
                Ok(()) => return Ok(()),
                // Each turn closes a pooled connection, so there is a last one.
                Err(Failure::Stale(_) | Failure::Other(StoreError::ConnectionLost { .. })) if reused => scans.forget_idle(),
                Err(Failure::Stale(error) | Failure::Other(error)) => return Err(error),
            }
        }
    }

    /// Runs the statement on a connection, which is ready again afterwards, or closed.
    async fn run(&self, mut lease: Lease, values: &[Value], rows: &mut impl Gather) -> Result<(), Failure> {
        let limit = self.deadline;
        let outcome = match tokio::time::timeout(limit, Box::pin(self.fetch(&mut lease, values, rows))).await {
            Ok(outcome) => outcome,
            // The statement still runs; its session ends with the lease.
            Err(_) => return Err(Failure::Other(error::deadline(&self.store, limit, "the rows of a key"))),
        };
        // After an error of the server something may be left to read.
        lease.settle(if outcome.is_ok() { State::Ready } else { State::Broken });
        outcome
    }

    async fn fetch(&self, lease: &mut Lease, values: &[Value], gathered: &mut impl Gather) -> Result<(), Failure> {
        let arguments = self.arguments(values)?;
        let connection = lease.connection().map_err(Failure::Other)?;
        let statement = AssertSqlSafe(Arc::clone(&self.statement));
        let mut rows = sqlx::query_with::<sqlx::Postgres, _>(statement, arguments).persistent(self.is_kept).fetch(connection);
        let mut seen = 0;
        while let Some(row) = rows.try_next().await.map_err(|problem| self.server_error(&problem))? {
            seen += 1;
            if seen > self.rows {
                return Err(Failure::Stale(self.changed("Its key leaves more rows than a key can.".to_owned())));
            }
            if seen == 1 {
                self.check_types(&row)?;
            }
            // The rest is read to the end, for the connection's sake.
            if seen <= self.limit {
                gathered.take(self, &row)?;
            }
        }
        Ok(())
    }

    fn arguments(&self, values: &[Value]) -> Result<PgArguments, Failure> {
        let mut arguments = PgArguments::default();
        for value in values {
            let added = match value {
                Value::Bool(truth) => arguments.add(*truth),
                Value::Int(number) => arguments.add(*number),
                Value::Text(text) => arguments.add(text.as_str()),
                _ => Ok(()),
            };
            added.map_err(|cause| Failure::Other(self.lost(cause.to_string())))?;
        }
        Ok(arguments)
    }

    /// A value of a row in its binary form; `None` is NULL.
    ///
    /// # Errors
    /// There is no such value.
    pub(super) fn value<'r>(&self, row: &'r PgRow, place: usize) -> Result<Option<&'r [u8]>, Failure> {
        let value = row.try_get_raw(place).map_err(|problem| Failure::Other(self.lost(problem.to_string())))?;
        if value.is_null() {
            return Ok(None);
        }
        value.as_bytes().map(Some).map_err(|cause| Failure::Other(self.lost(cause.to_string())))
    }

    /// What a value of a column that cannot be given fails with.
    pub(super) fn broken(&self, column: &Column, broken: Broken) -> Failure {
        Failure::Other(error::value(&self.store, &self.table.id.name, column.name(), broken))
    }

    /// The binary form of a value says nothing of its type; the description of the rows does.
    fn check_types(&self, row: &PgRow) -> Result<(), Failure> {
        let given = row.columns();
        let is_as_discovered = |(wanted, given): (&u32, &PgColumn)| given.type_info().oid().is_some_and(|oid| oid.0 == *wanted);
        if given.len() == self.types.len() && self.types.iter().zip(given).all(is_as_discovered) {
            return Ok(());
        }
        Err(Failure::Stale(self.changed("Its columns or their types differ from what was discovered.".to_owned())))
    }

    fn server_error(&self, problem: &sqlx::Error) -> Failure {
        let failure = error::running(&self.store, problem);
        if error::is_inside_function(problem) {
            return Failure::Other(failure);
        }
        match &failure {
            StoreError::Remote { sqlstate, .. } if sqlstate == sqlstate::FEATURE_NOT_SUPPORTED => {
                return Failure::Stale(self.changed("Its columns have changed since they were discovered.".to_owned()));
            }
            // Something between us and the server has put another session behind the connection.
            StoreError::Remote { sqlstate, .. } if sqlstate == sqlstate::INVALID_SQL_STATEMENT_NAME => {
                return Failure::Stale(failure);
            }
            _ => {}
        }
        match error::scanning(failure, std::slice::from_ref(&self.table)) {
            changed @ StoreError::SchemaChanged { .. } => Failure::Stale(changed),
            other => Failure::Other(other),
        }
    }

    fn changed(&self, difference: String) -> StoreError {
        StoreError::SchemaChanged { store: self.store.to_string(), table: self.table.id.name.clone(), difference }
    }

    fn lost(&self, reason: String) -> StoreError {
        StoreError::ConnectionLost { store: self.store.to_string(), reason }
    }
}

/// Rows that become a batch.
#[derive(Default)]
pub(super) struct Batch {
    /// One for each column that is put out; made with the first row.
    decoders: Vec<Box<dyn Decoder>>,
    count: usize,
}

impl Gather for Batch {
    fn restart(&mut self) {
        *self = Self::default();
    }

    fn take(&mut self, lookup: &Lookup, row: &PgRow) -> Result<(), Failure> {
        if self.count == 0 {
            self.decoders = lookup.columns().map(|column| types::decoder(&column.field, lookup.limit)).collect();
        }
        for ((place, decoder), column) in self.decoders.iter_mut().enumerate().zip(lookup.columns()) {
            match lookup.value(row, place)? {
                Some(bytes) => decoder.value(bytes).map_err(|broken| lookup.broken(column, *broken))?,
                None => decoder.null(),
            }
        }
        self.count += 1;
        Ok(())
    }
}

impl Batch {
    /// The batch; `None` when there were no rows.
    ///
    /// # Errors
    /// A rule that is looked at for all values of a column together.
    pub(super) fn finish(mut self, lookup: &Lookup) -> Result<Option<RecordBatch>, StoreError> {
        if self.count == 0 {
            return Ok(None);
        }
        let arrays = self.decoders.iter_mut().zip(lookup.columns()).map(|(decoder, column)| {
            decoder.finish().map_err(|broken| error::value(&lookup.store, &lookup.table.id.name, column.name(), *broken))
        });
        let arrays = arrays.collect::<Result<Vec<ArrayRef>, StoreError>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.count));
        let batch = RecordBatch::try_new_with_options(lookup.table.project(&lookup.outputs), arrays, &options);
        batch.map(Some).map_err(|problem| lookup.changed(problem.to_string()))
    }
}

/// How many rows a proven key leaves whose columns are all compared with values.
fn rows_of_pinned_key(table: &Table, filter: &[Predicate]) -> Option<usize> {
    let values_of = |ordinal: &usize| {
        let counts = filter.iter().filter_map(|predicate| match predicate {
            Predicate::Compare { column, op: Comparison::Equal, .. } if column.column == *ordinal => Some(1),
            Predicate::In { column, values, negated: false } if column.column == *ordinal => Some(values.len()),
            _ => None,
        });
        counts.min()
    };
    let rows_of = |key: &Key| {
        let counts = key.columns.iter().map(values_of).collect::<Option<Vec<usize>>>();
        let apart = counts.and_then(|counts| counts.into_iter().try_fold(1_usize, usize::checked_mul));
        let together = filter.iter().filter_map(|predicate| rows_over(predicate, key)).min();
        apart.into_iter().chain(together).min()
    };
    // A key is proven by bytes, or by the collation of its index, which may be another one than that of the column.
    let merges = |ordinal: &usize| table.columns.get(*ordinal).is_some_and(|column| column.collation.merges());
    let keys = table.primary_key.iter().chain(&table.unique_keys).filter(|key| !key.columns.iter().any(merges));
    keys.filter(|key| key.proven && !key.columns.is_empty()).filter_map(rows_of).min()
}

/// How many rows of values a condition lists for all columns of a key.
fn rows_over(predicate: &Predicate, key: &Key) -> Option<usize> {
    let Predicate::Rows(rows) = predicate else { return None };
    let is_listed = |ordinal: &usize| rows.columns.iter().any(|column| column.path.is_empty() && column.column == *ordinal);
    key.columns.iter().all(is_listed).then_some(rows.rows.len())
}

/// The columns of a condition; `None` when one of its values needs a COPY's literal.
fn gather(predicate: &Predicate, used: &mut BTreeSet<usize>) -> Option<()> {
    let column = match predicate {
        Predicate::Compare { column, .. } | Predicate::In { column, .. } | Predicate::IsNull { column, .. } => column,
        Predicate::Like { .. } => return None,
        Predicate::Rows(rows) => {
            used.extend(rows.columns.iter().map(|column| column.column));
            return rows.columns.iter().all(|column| column.path.is_empty()).then_some(());
        }
        Predicate::And(parts) | Predicate::Or(parts) => return parts.iter().try_for_each(|part| gather(part, used)),
    };
    used.insert(column.column);
    column.path.is_empty().then_some(())
}

/// Whether a column is selected without a cast, and the description of a row tells its type.
fn travels_as_it_is(column: &Column) -> bool {
    let field = &column.field;
    Form::of(field) == Form::Binary
        && field.enum_labels().is_none()
        && column.pg_type().element().is_none()
        && builtin(column.pg_type().oid).is_some()
        && !field.data_type().is_nested()
}

/// What tells the type of a parameter in the text; `None` for values that only literals carry.
fn type_word(value: &Value) -> Option<&'static str> {
    Some(match value {
        Value::Bool(_) => "b",
        Value::Int(_) => "i",
        Value::Text(_) => "t",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::predicate::{ColumnRef, Rows};
    use super::super::super::schema::{Collation, ColumnStatistics, Generated, TableId, TableKind};
    use super::super::types::{NativeType, map};
    use super::*;

    fn column(name: &str, oid: u32, kind: char) -> Column {
        let labels = if kind == 'e' { vec!["a".to_owned()] } else { Vec::new() };
        let native = NativeType { oid, typmod: -1, kind, element: None, labels };
        Column {
            field: map(name, &native, true).unwrap(),
            native_type: String::new(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        }
    }

    fn table() -> Arc<Table> {
        let columns = vec![
            column("id", 23, 'b'),
            column("part", 25, 'b'),
            column("day", 1082, 'b'),
            column("mood", 90_000, 'e'),
            column("place", 600, 'b'),
            column("code", 2950, 'b'),
        ];
        let key = |columns: &[usize], proven| Key { name: String::new(), columns: columns.to_vec(), proven };
        Arc::new(Table {
            id: TableId { namespace: "public".to_owned(), name: "t".to_owned() },
            kind: TableKind::Table,
            primary_key: Some(key(&[0, 1], true)),
            unique_keys: vec![key(&[5], true), key(&[2], false)],
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            indexes: Vec::new(),
            comment: None,
            row_estimate: None,
            division: None,
            schema: Table::arrow_schema(&columns),
            columns,
        })
    }

    fn equal(column: usize, value: Value) -> Predicate {
        Predicate::Compare { column: ColumnRef::of(column), op: Comparison::Equal, value }
    }

    fn check(columns: &[usize], filter: Vec<Predicate>, expected: Option<&str>) {
        let table = table();
        let scan = Scan { store: StoreName::new("s"), table: table.id.clone(), columns: columns.to_vec(), filter, limit: None };
        let found = Lookup::of(&table, &scan, Duration::from_secs(1));
        assert_eq!(found.as_ref().map(|lookup| lookup.statement.as_ref()), expected, "{scan:?}");
    }

    #[test]
    fn a_scan_is_a_lookup_when_it_pins_a_proven_key() {
        let text = |text: &str| Value::Text(text.to_owned());
        let uuid = || text("00112233-4455-6677-8899-aabbccddeeff");
        let many =
            |count: i64| Predicate::In { column: ColumnRef::of(0), values: (0..count).map(Value::Int).collect(), negated: false };
        check(
            &[2, 0],
            vec![equal(0, Value::Int(7)), equal(1, text("it's"))],
            Some(
                "SELECT \"day\", \"id\", \"part\" FROM \"public\".\"t\" WHERE \"id\" = $1 AND \"part\" = $2::pg_catalog.text -- it",
            ),
        );
        check(
            &[0],
            vec![equal(5, uuid())],
            Some("SELECT \"id\", \"code\" FROM \"public\".\"t\" WHERE \"code\" = $1::pg_catalog.uuid -- t"),
        );
        let rows = |columns: [usize; 2], count: i64| {
            let rows = (0..count).map(|row| vec![Value::Int(row), text("a")]).collect();
            Predicate::Rows(Rows { columns: columns.map(ColumnRef::of).to_vec(), rows })
        };
        check(
            &[0],
            vec![rows([0, 1], 1)],
            Some("SELECT \"id\", \"part\" FROM \"public\".\"t\" WHERE (\"id\", \"part\") IN (($1, $2::pg_catalog.text)) -- it"),
        );
        check(&[0], vec![rows([0, 1], 101)], None);
        check(&[0], vec![rows([0, 4], 1)], None);
        // A key that no two rows share by bytes, where texts of different bytes are one.
        let mut merging = table().as_ref().clone();
        merging.columns[1].collation = Collation::Native { name: "ci".to_owned(), is_loose: true };
        let scan = [equal(0, Value::Int(7)), equal(1, text("a"))];
        assert_eq!((rows_of_pinned_key(&table(), &scan), rows_of_pinned_key(&merging, &scan)), (Some(1), None));
        check(&[0], vec![equal(0, Value::Int(7))], None);
        check(&[0], vec![equal(2, Value::Date(7))], None);
        check(&[0], vec![equal(5, uuid()), equal(2, Value::Date(7))], None);
        check(&[3], vec![equal(5, uuid())], None);
        check(&[4], vec![equal(5, uuid())], None);
        check(&[0], vec![many(101), equal(1, text("a"))], None);
        check(
            &[0],
            vec![many(2), equal(1, text("a"))],
            Some(
                "SELECT \"id\", \"part\" FROM \"public\".\"t\" WHERE \"id\" IN ($1, $2) AND \"part\" = $3::pg_catalog.text -- iit",
            ),
        );
        check(
            &[0],
            vec![many(9), equal(1, text("a"))],
            Some(
                "SELECT \"id\", \"part\" FROM \"public\".\"t\" WHERE \"id\" = ANY ($1::pg_catalog.int4[]) AND \"part\" = $2::pg_catalog.text -- tt",
            ),
        );
    }
}
