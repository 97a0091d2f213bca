//! What is asked of the server, as one query with literals, and what its answer holds: a scan of one table, or a fragment.
//!
//! ```text
//! Scan     ─┐                                                  ┌→ COPY (…) TO STDOUT (FORMAT BINARY)
//!           ├→ SELECT … AND <check of the tables' columns>     ┤
//! Fragment ─┘                                                  └→ a cursor, in a transaction that writes
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::datatypes::{DataType, Field, SchemaRef};

use super::super::collation;
use super::super::connector::{Scan, ScanLimits, StoreName};
use super::super::error::StoreError;
use super::super::fragment::{Fragment, Relation, Shape, Tables, shapes};
use super::super::lock::{RowLock, SortKey};
use super::super::predicate::Predicate;
use super::super::relational::documents::{Part, Selected, select};
use super::super::relational::{self, Dialect, Sql, Unwritable, embedded, literal, write_all};
use super::super::schema::{Column, Table, TableId};
use super::copy::Malformed;
use super::error;
use super::fragment::{Postgres, compares_by_own};
use super::pages::Pages;
use super::pool::State;
use super::pushdown::Names;
use super::types::{self, Broken, Form};
use crate::error::sqlstate;
use crate::pgtype::{PgField, PgType};

/// A statement that is ready to be sent.
pub(super) struct Job {
    pub store: StoreName,
    /// The tables that it reads, in the order of their numbers in the check of columns.
    tables: Vec<Arc<Table>>,
    /// What the rows of the answer hold, in order.
    pub items: Arc<[Item]>,
    pub schema: SchemaRef,
    /// The query, or the list behind RETURNING.
    pub select: Arc<str>,
    pub limits: ScanLimits,
    pub deadline: Duration,
    /// What the connection is in the middle of once the answer has been read.
    pub after: State,
    /// Whether the statement has ended because the server said so, or because the connection is gone.
    pub ended_by_server: AtomicBool,
}

/// One value of a row of the answer.
pub(super) enum Item {
    /// A value for one column of the batch, and where it comes from.
    Plain { output: usize, field: Field, table: String },
    /// A JSON column of which fields are read.
    Document { part: Part, is_jsonb: bool, table: String },
}

/// A job that has not been started.
impl Clone for Job {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            tables: self.tables.clone(),
            items: self.items.clone(),
            schema: self.schema.clone(),
            select: self.select.clone(),
            limits: self.limits,
            deadline: self.deadline,
            after: self.after,
            ended_by_server: AtomicBool::new(false),
        }
    }
}

impl Job {
    /// Writes the statement of a scan.
    ///
    /// # Errors
    /// A filter value that cannot be written, which [`super::pushdown::judge`] would have refused.
    pub(super) fn scan(table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<Self, StoreError> {
        Self::scan_pages(table, scan, limits, Pages::ALL)
    }

    /// Writes the statement of a scan of some pages of its table.
    ///
    /// # Errors
    /// As [`Job::scan`].
    pub(super) fn scan_pages(table: &Arc<Table>, scan: &Scan, limits: ScanLimits, pages: Pages) -> Result<Self, StoreError> {
        let refused = |Unwritable(rule)| unwritable(&scan.store, rule);
        let mut sql = Sql::literal();
        let selected = write_select(table, scan, &mut sql).map_err(refused)?;
        let used = BTreeMap::from([(&scan.table, used_columns(scan))]);
        let guard = guard(&used, &|_| Some(table)).map_err(refused)?;
        let mut word = if scan.filter.is_empty() { " WHERE " } else { " AND " };
        for condition in guard.into_iter().chain(pages.condition()) {
            sql.push(word);
            sql.push(&condition);
            word = " AND ";
        }
        push_limit(scan, &mut sql);
        let items = selected.into_iter().filter_map(|selected| item(table, selected)).collect();
        Ok(Self::new(&scan.store, vec![table.clone()], items, table.project(&scan.columns), &sql, limits))
    }

    /// Writes the statement of a fragment, whose rows become batches of `schema`.
    ///
    /// # Errors
    /// A value that cannot be written, which [`super::fragment::accepts`] would have refused.
    pub(super) fn fragment(
        fragment: &Fragment,
        tables: &Tables,
        schema: &SchemaRef,
        limits: ScanLimits,
    ) -> Result<Self, StoreError> {
        let refused = |Unwritable(rule)| unwritable(&fragment.store, rule);
        let mut used: BTreeMap<&TableId, BTreeSet<usize>> = BTreeMap::new();
        fragment.root.visit(&mut |relation| {
            if let Relation::Table(scan) = relation {
                used.entry(&scan.table).or_default().extend(used_columns(scan));
            }
        });
        let guard = guard(&used, &|id| tables.get(id)).map_err(refused)?;
        let mut sql = Sql::literal();
        let phrasing = Postgres { by_own_collations: fragment.by_own_collations };
        relational::fragment::write(&fragment.root, tables, &phrasing, guard.as_deref(), &mut sql).map_err(refused)?;
        let read: Vec<Arc<Table>> = used.keys().filter_map(|id| tables.get(*id).cloned()).collect();
        let known = shapes(&fragment.root, tables);
        if known.len() != schema.fields().len() {
            return Err(unwritable(&fragment.store, "belongs to another number of columns"));
        }
        let items = known.iter().zip(schema.fields()).enumerate();
        let items = items.map(|(output, (shape, field))| Item::Plain {
            output,
            field: carried_as(field, shape, tables),
            table: shape.origin.as_ref().or(None).map_or_else(|| named(&read), |origin| origin.table.name.clone()),
        });
        let items = items.collect();
        Ok(Self::new(&fragment.store, read, items, schema.clone(), &sql, limits))
    }

    fn new(store: &StoreName, tables: Vec<Arc<Table>>, items: Vec<Item>, schema: SchemaRef, sql: &Sql, limits: ScanLimits) -> Self {
        Self {
            store: store.clone(),
            tables,
            items: items.into(),
            schema,
            select: sql.text().into(),
            limits,
            deadline: Duration::MAX,
            after: State::Ready,
            ended_by_server: AtomicBool::new(false),
        }
    }

    /// What an edit gives back of the rows of `table` that it changes, which are called by `prefix`. The batch has all of them.
    ///
    /// # Errors
    /// A column that the table does not have.
    pub(super) fn returning(store: &StoreName, table: &Arc<Table>, columns: &[usize], prefix: &str) -> Result<Self, StoreError> {
        let mut sql = Sql::literal();
        let selected =
            write_items(table, columns, prefix, returned_cast, &mut sql).map_err(|Unwritable(rule)| unwritable(store, rule))?;
        let items = selected.into_iter().filter_map(|selected| item(table, selected)).collect();
        Ok(Self::new(store, vec![table.clone()], items, table.project(columns), &sql, ScanLimits::default()))
    }

    /// The first of the rows of `table` in an order; the same where there is none.
    pub(super) fn sorted(mut self, table: &Table, order: &[SortKey], limit: Option<u64>) -> Self {
        if order.is_empty() {
            return self;
        }
        // A bare name would be that of what is selected, which may be the column in another type.
        let name = |key: &SortKey| {
            let column = table.columns.get(key.column).map_or("", |column| column.name());
            format!("{}.{}", Dialect::Postgres.table(&table.id), Dialect::Postgres.quote(column))
        };
        let key = |key: &SortKey| {
            let direction = if key.descending { "DESC" } else { "ASC" };
            format!("{} {direction} NULLS {}", name(key), if key.nulls_first { "FIRST" } else { "LAST" })
        };
        let keys: Vec<String> = order.iter().map(key).collect();
        let limit = limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
        self.select = format!("{} ORDER BY {}{limit}", self.select, keys.join(", ")).into();
        self
    }

    /// The same rows, locked until the end of the transaction.
    pub(super) fn locking(mut self, lock: RowLock) -> Self {
        self.select = format!("{} {}{}", self.select, lock.strength.words(), lock.waiting.words()).into();
        self
    }

    /// The statement that sends all rows.
    pub(super) fn copy(&self) -> String {
        format!("COPY ({}) TO STDOUT (FORMAT BINARY)", self.select)
    }

    pub(super) fn malformed(&self, problem: &Malformed) -> StoreError {
        StoreError::ConnectionLost { store: self.store.to_string(), reason: problem.to_string() }
    }

    /// A value of an item that cannot be read, in a document by its path.
    #[cold]
    pub(super) fn broken(&self, item: usize, path: Option<&str>, broken: Broken) -> StoreError {
        let (table, column) = match self.items.get(item) {
            Some(Item::Plain { field, table, .. }) => (table.as_str(), field.name().as_str()),
            Some(Item::Document { part, table, .. }) => (table.as_str(), part.column.as_str()),
            None => ("?", "?"),
        };
        error::value(&self.store, table, path.unwrap_or(column), broken)
    }

    pub(super) fn changed(&self, problem: &arrow::error::ArrowError) -> StoreError {
        StoreError::SchemaChanged { store: self.store.to_string(), table: named(&self.tables), difference: format!("{problem}.") }
    }

    pub(super) fn server_error(&self, problem: &sqlx::Error) -> StoreError {
        self.ended_by_server.store(true, Ordering::Relaxed);
        let failure = error::running(&self.store, problem);
        if error::is_inside_function(problem) { failure } else { error::scanning(failure, &self.tables) }
    }
}

/// The first of the tables, for what is said of no one in particular.
fn named(tables: &[Arc<Table>]) -> String {
    tables.first().map_or_else(|| "?".to_owned(), |table| table.id.name.clone())
}

fn item(table: &Table, selected: Selected) -> Option<Item> {
    let name = table.id.name.clone();
    Some(match selected {
        Selected::Plain { output, ordinal } => {
            Item::Plain { output, field: table.columns.get(ordinal)?.field.clone(), table: name }
        }
        Selected::Document(part) => {
            let is_jsonb = types::is_jsonb(&table.columns.get(part.ordinal)?.field);
            Item::Document { part, is_jsonb, table: name }
        }
    })
}

/// What is read for a column of a fragment: a stored column in its own form, anything else by its type, in the carrier of the plan.
fn carried_as(field: &Field, shape: &Shape, tables: &Tables) -> Field {
    let named = Field::new(field.name(), field.data_type().clone(), true).with_pg_type(shape.pg_type);
    match stored_column(shape, tables) {
        Some(column) if Form::of(&column.field) != Form::Binary => column.field.clone().with_name(field.name()),
        _ => named,
    }
}

/// The stored column whose values a column of a fragment has.
pub(super) fn stored_column<'t>(shape: &Shape, tables: &'t Tables) -> Option<&'t Column> {
    let origin = shape.origin.as_ref()?;
    tables.get(&origin.table)?.columns.get(origin.column)
}

fn unwritable(store: &StoreName, rule: &'static str) -> StoreError {
    StoreError::Remote {
        store: store.to_string(),
        sqlstate: sqlstate::INVALID_PARAMETER_VALUE.to_owned(),
        message: format!("a filter value {rule}"),
        detail: None,
        constraint: None,
        site: None,
    }
}

/// The statement as `EXPLAIN` shows it: values as placeholders, without the wrapping COPY and without the check of the
/// table's columns.
pub(super) fn describe(table: &Table, scan: &Scan) -> (String, String) {
    let mut sql = Sql::bound(Dialect::Postgres);
    match write_select(table, scan, &mut sql) {
        Ok(_) => {
            push_limit(scan, &mut sql);
            let text = collation::noted_scan(sql.text().to_owned(), table, &scan.filter, &compares_by_own);
            (text, relational::fragment::shown_values(sql.values()))
        }
        Err(Unwritable(rule)) => (format!("not sent: a filter value {rule}"), String::new()),
    }
}

fn write_select(table: &Table, scan: &Scan, sql: &mut Sql) -> Result<Vec<Selected>, Unwritable> {
    sql.push("SELECT");
    let selected = write_items(table, &scan.columns, "", |field| Form::of(field).cast(), sql)?;
    sql.push(" FROM ");
    sql.push(&Dialect::Postgres.table(&table.id));
    write_all(&scan.filter, &Names(table), sql)?;
    Ok(selected)
}

/// Writes what is selected of columns, each behind a prefix and before a cast, and all behind a blank.
fn write_items(
    table: &Table,
    columns: &[usize],
    prefix: &str,
    cast: fn(&Field) -> &'static str,
    sql: &mut Sql,
) -> Result<Vec<Selected>, Unwritable> {
    let selected = select(table, columns).ok_or(Unwritable("belongs to no column of the table"))?;
    for (place, item) in selected.iter().enumerate() {
        sql.push(if place == 0 { " " } else { ", " });
        sql.push(prefix);
        match item {
            Selected::Plain { ordinal, .. } => {
                let column = table.columns.get(*ordinal).ok_or(Unwritable("belongs to no column of the table"))?;
                sql.push_name(column.name());
                sql.push(cast(&column.field));
            }
            Selected::Document(part) => sql.push_name(&part.column),
        }
    }
    Ok(selected)
}

/// How a column is given back by an edit. Labels are cast to text, so that the driver need not ask for their type first.
fn returned_cast(field: &Field) -> &'static str {
    match (field.enum_labels(), field.data_type()) {
        (Some(_), DataType::List(_)) => Form::TextArray.cast(),
        (Some(_), _) => Form::Text.cast(),
        (None, _) => Form::of(field).cast(),
    }
}

impl Item {
    /// The type that an edit gives it back in.
    pub(super) fn returned_type(&self) -> u32 {
        match self {
            Self::Plain { field, .. } => match returned_cast(field) {
                cast if cast == Form::Text.cast() => PgType::TEXT.oid,
                cast if cast == Form::TextArray.cast() => PgType::TEXT.array().unwrap_or(PgType::TEXT).oid,
                _ => field.pg_type().oid,
            },
            Self::Document { is_jsonb: true, .. } => PgType::JSONB.oid,
            Self::Document { is_jsonb: false, .. } => PgType::JSON.oid,
        }
    }
}

fn push_limit(scan: &Scan, sql: &mut Sql) {
    if let Some(limit) = scan.limit {
        sql.push(" LIMIT ");
        sql.push(itoa::Buffer::new().format(limit));
    }
}

/// The columns that a scan reads or asks about.
pub(super) fn used_columns(scan: &Scan) -> BTreeSet<usize> {
    let mut used: BTreeSet<usize> = scan.columns.iter().copied().collect();
    scan.filter.iter().for_each(|predicate| gather_columns(predicate, &mut used));
    used
}

fn gather_columns(predicate: &Predicate, used: &mut BTreeSet<usize>) {
    match predicate {
        Predicate::Compare { column, .. }
        | Predicate::In { column, .. }
        | Predicate::IsNull { column, .. }
        | Predicate::Like { column, .. } => {
            used.insert(column.column);
        }
        Predicate::Rows(rows) => used.extend(rows.columns.iter().map(|column| column.column)),
        Predicate::And(parts) | Predicate::Or(parts) => parts.iter().for_each(|part| gather_columns(part, used)),
    }
}

/// A condition that is evaluated once and fails when a used column is no longer of the discovered type; `None` without columns.
///
/// A binary COPY carries no types: the bytes of a column that has become `real` would be read as an `integer` without any
/// sign of it. Tables and check are read in the same statement, so there is no gap between them.
fn guard<'t>(
    used: &BTreeMap<&TableId, BTreeSet<usize>>,
    table: &dyn Fn(&TableId) -> Option<&'t Arc<Table>>,
) -> Result<Option<String>, Unwritable> {
    let mut text = String::new();
    for (number, (id, columns)) in used.iter().enumerate() {
        let table = table(id).ok_or(Unwritable("belongs to no table of the statement"))?;
        let named =
            columns.iter().filter_map(|ordinal| table.columns.get(*ordinal)).map(|column| match embedded::source(&column.field) {
                Some(source) => (source.column.to_owned(), source.native_type.to_owned()),
                None => (column.name().to_owned(), column.native_type.clone()),
            });
        let named: BTreeSet<(String, String)> = named.collect();
        if named.is_empty() {
            continue;
        }
        text.push_str(if text.is_empty() { "" } else { " AND " });
        write_check(table, number, &named, &mut text)?;
    }
    Ok((!text.is_empty()).then_some(text))
}

fn write_check(table: &Table, number: usize, columns: &BTreeSet<(String, String)>, text: &mut String) -> Result<(), Unwritable> {
    text.push_str("CASE WHEN (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a WHERE a.attrelid = ");
    literal::write_text(&Dialect::Postgres.table(&table.id), text)?;
    text.push_str("::pg_catalog.regclass AND NOT a.attisdropped AND ");
    text.push_str("(a.attname::pg_catalog.text, pg_catalog.format_type(a.atttypid, a.atttypmod)) IN (");
    for (place, (name, native_type)) in columns.iter().enumerate() {
        text.push_str(if place == 0 { "(" } else { ", (" });
        literal::write_text(name, text)?;
        text.push_str(", ");
        literal::write_text(native_type, text)?;
        text.push(')');
    }
    text.push_str(")) = ");
    text.push_str(itoa::Buffer::new().format(columns.len()));
    // The sub-select keeps the planner from evaluating the failing cast ahead of time.
    text.push_str(" THEN TRUE ELSE (SELECT '");
    text.push_str(error::CHANGED_MARK);
    text.push(' ');
    text.push_str(itoa::Buffer::new().format(number));
    text.push_str("'::pg_catalog.text OFFSET 0)::pg_catalog.bool END");
    Ok(())
}
