//! The statement that the server is sent for an edit.
//!
//! ```text
//! one new row    INSERT INTO t (a, …) VALUES ($1::text::int4, …)
//! more           INSERT INTO t (a, …) SELECT v0.c0::int4, … FROM unnest($1::text[], …) WITH ORDINALITY AS v0 (c0, …, n)
//! many more      COPY t (a, …) FROM STDIN, in a transaction (`copy_in`)
//! rows by key    UPDATE t AS t0 SET a = v0.c1::int4 FROM unnest(…) … WHERE t0.k = v0.c0::int4 RETURNING …, v0.n
//! whole forms    as fragments are written, with literals
//! ```
//!
//! **Invariants:** the text of a statement that carries rows holds none of their values, so that connections may keep it prepared;
//! every value is read by the input of its type from its text, which is exact. A type is named without its modifier: the modifier is
//! the column's, and what does not fit is refused by the assignment.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::Array;

use super::super::super::cell::{Cells, write_text};
use super::super::super::connector::StoreName;
use super::super::super::define::Define;
use super::super::super::edit::{DeleteRows, Edit, Insert, UpdateRows};
use super::super::super::error::StoreError;
use super::super::super::relational::edit::{conflict, delete, gathered, insert_head, update, with_fields};
use super::super::super::relational::{Dialect, Sql, Unwritable, embedded};
use super::super::super::schema::{Collation, Column, Generated, Table};
use super::super::super::truncate::{Emptied, Truncate};
use super::super::super::value::Value;
use super::super::documents::REPEATED;
use super::super::fragment::Postgres;
use super::super::job::Job;
use super::super::types::Form;
use super::copy_in::Load;
use crate::error::sqlstate;
use crate::pgtype::{PgType, builtin};

const NO_COLUMN: Unwritable = Unwritable("belongs to no column of the table");

/// An edit that is ready to be sent.
pub(super) struct Statement {
    pub store: StoreName,
    pub table: Arc<Table>,
    pub text: Arc<str>,
    pub parameters: Parameters,
    pub returned: Option<Returned>,
    /// Whether it changes what tables there are: that one is missing says nothing of what was discovered then.
    pub defines: bool,
}

/// What is bound, or sent behind the statement.
#[derive(Debug, PartialEq)]
pub(super) enum Parameters {
    /// Nothing.
    None,
    /// One row: a text for each column.
    Row(Vec<Option<String>>),
    /// Rows: an array of texts for each column.
    Columns(Vec<Vec<Option<String>>>),
    /// Rows: the data of a COPY.
    Load(Load),
}

/// What the rows of the answer hold.
pub(super) struct Returned {
    /// How they are read.
    pub job: Job,
    /// Whether the last value is the number of the row that was given.
    pub is_numbered: bool,
}

/// How a constant of a column, by ordinal, is written.
type Spell<'s> = &'s dyn Fn(usize, Option<&Value>, &mut Sql) -> Result<(), Unwritable>;

impl Statement {
    /// The statement of an edit.
    ///
    /// # Errors
    /// A value that cannot be written, or not in a document; a column that the table does not have.
    pub(super) fn of(edit: &Edit) -> Result<Self, StoreError> {
        let whole = gathered(edit, REPEATED)?;
        let whole = with_fields(&whole, REPEATED)?;
        let edit = &*whole;
        let (store, table) = (edit.store(), edit.table());
        let refused = |Unwritable(rule): Unwritable| {
            let message = format!("a value {rule}");
            StoreError::remote(store.as_str(), sqlstate::INVALID_PARAMETER_VALUE, message)
        };
        let mut sql = Sql::literal();
        write(edit, &|ordinal, value, sql| write_constant(table, ordinal, value, sql), &mut sql).map_err(refused)?;
        let parameters = parameters(edit).map_err(refused)?;
        let returned = match edit.returning() {
            [] => None,
            columns => {
                let is_numbered = matches!(edit, Edit::UpdateRows(_) | Edit::DeleteRows(_));
                let job = Job::returning(store, table, columns, if is_numbered { "t0." } else { "" })?;
                sql.push(" RETURNING");
                sql.push(&job.select);
                sql.push(if is_numbered { ", v0.n" } else { "" });
                Some(Returned { job, is_numbered })
            }
        };
        Ok(Self { store: store.clone(), table: Arc::clone(table), text: sql.text().into(), parameters, returned, defines: false })
    }

    /// The statement that empties tables; `None` without tables.
    pub(super) fn truncating(truncate: &Truncate) -> Option<Self> {
        let first = truncate.tables.first()?;
        let name = |emptied: &Emptied| {
            let only = if emptied.only { "ONLY " } else { "" };
            format!("{only}{}", Dialect::Postgres.table(&emptied.table.id))
        };
        let names: Vec<String> = truncate.tables.iter().map(name).collect();
        let identity = if truncate.restarts { "RESTART IDENTITY" } else { "CONTINUE IDENTITY" };
        let others = if truncate.cascades { "CASCADE" } else { "RESTRICT" };
        let text = format!("TRUNCATE TABLE {} {identity} {others}", names.join(", "));
        let (store, table) = (truncate.store.clone(), Arc::clone(&first.table));
        Some(Self { store, table, text: text.into(), parameters: Parameters::None, returned: None, defines: false })
    }

    /// A statement that defines something.
    pub(super) fn defining(define: &Define, text: &str) -> Self {
        let (store, table) = (define.store.clone(), define.subject());
        Self { store, table, text: text.into(), parameters: Parameters::None, returned: None, defines: true }
    }
}

/// The statement as `EXPLAIN` shows it: values as placeholders.
pub(in super::super) fn describe(edit: &Edit) -> String {
    let mut sql = Sql::bound(Dialect::Postgres);
    let placeholder = |_: usize, _: Option<&Value>, sql: &mut Sql| -> Result<(), Unwritable> {
        sql.push("$value");
        Ok(())
    };
    let whole = gathered(edit, REPEATED).unwrap_or(Cow::Borrowed(edit));
    let whole = with_fields(&whole, REPEATED).unwrap_or(Cow::Borrowed(&whole));
    match write(&whole, &placeholder, &mut sql) {
        Ok(()) => sql.text().to_owned(),
        Err(Unwritable(rule)) => format!("not sent: a value {rule}"),
    }
}

fn write(edit: &Edit, spell: Spell<'_>, sql: &mut Sql) -> Result<(), Unwritable> {
    let phrasing = Postgres { by_own_collations: false };
    match edit {
        Edit::Insert(insert) => write_insert(insert, spell, sql),
        Edit::Update(whole) => update(whole, &phrasing, sql),
        Edit::Delete(whole) => delete(whole, &phrasing, sql),
        Edit::UpdateRows(rows) => write_update_rows(rows, sql),
        Edit::DeleteRows(rows) => write_delete_rows(rows, sql),
    }
}

fn write_insert(insert: &Insert, spell: Spell<'_>, sql: &mut Sql) -> Result<(), Unwritable> {
    let table = &insert.table;
    insert_head(table, &insert.columns, sql)?;
    // Such a column is among them only where the statement said so; one that is computed the server refuses nevertheless.
    if insert.columns.iter().filter_map(|ordinal| table.columns.get(*ordinal)).any(|column| column.generated == Generated::Always) {
        sql.push(" OVERRIDING SYSTEM VALUE");
    }
    match (insert.columns.as_slice(), insert.rows.num_rows()) {
        ([], 1) => sql.push(" DEFAULT VALUES"),
        ([], rows) => {
            sql.push(" SELECT FROM pg_catalog.generate_series(1, ");
            sql.push(itoa::Buffer::new().format(rows));
            sql.push(")");
        }
        (columns, 1) => {
            for (place, ordinal) in columns.iter().enumerate() {
                sql.push(if place == 0 { " VALUES ($" } else { ", $" });
                sql.push(itoa::Buffer::new().format(place + 1));
                sql.push("::pg_catalog.text::");
                sql.push(&read_as(column(table, *ordinal)?));
            }
            sql.push(")");
        }
        (columns, _) => {
            for (place, ordinal) in columns.iter().enumerate() {
                sql.push(if place == 0 { " SELECT " } else { ", " });
                push_given(column(table, *ordinal)?, place, sql);
            }
            push_rows(" FROM ", columns.len(), sql);
        }
    }
    match &insert.conflict {
        Some(met) => conflict(met, table, spell, sql),
        None => Ok(()),
    }
}

fn write_update_rows(update: &UpdateRows, sql: &mut Sql) -> Result<(), Unwritable> {
    let table = &update.table;
    if update.set.is_empty() {
        return Err(NO_COLUMN);
    }
    sql.push("UPDATE ");
    sql.push(&Dialect::Postgres.table(&table.id));
    let mut documents: Vec<&str> = Vec::new();
    for (place, ordinal) in update.set.iter().enumerate() {
        let column = column(table, *ordinal)?;
        let document = embedded::source(&column.field).map(|source| source.column);
        if document.is_some_and(|document| documents.contains(&document)) {
            continue;
        }
        sql.push(if place == 0 { " AS t0 SET " } else { ", " });
        match document {
            Some(document) => {
                documents.push(document);
                push_document(update, document, sql)?;
            }
            None => {
                sql.push_name(column.name());
                sql.push(" = ");
                push_given(column, update.key.len() + place, sql);
            }
        }
    }
    push_rows(" FROM ", update.key.len() + update.set.len(), sql);
    write_key(table, &update.key, sql)
}

/// `doc = jsonb_set(jsonb_set(…, ARRAY['a'], v0.c1), ARRAY['b'], v0.c2)`: everything else in the document stays as it is. What is no
/// document is an error of the server.
fn push_document(update: &UpdateRows, document: &str, sql: &mut Sql) -> Result<(), Unwritable> {
    let mut fields = Vec::new();
    for (place, ordinal) in update.set.iter().enumerate() {
        let source = embedded::source(&column(&update.table, *ordinal)?.field).filter(|source| source.column == document);
        if let Some(source) = source {
            fields.push((update.key.len() + place, source.field.ok_or(NO_COLUMN)?.name));
        }
    }
    sql.push_name(document);
    sql.push(" = ");
    for _ in &fields {
        sql.push("pg_catalog.jsonb_set(");
    }
    sql.push("coalesce(t0.");
    sql.push_name(document);
    sql.push(", '{}'::pg_catalog.jsonb)");
    for (place, name) in fields {
        sql.push(", ARRAY[");
        sql.push_value(Value::Text(name))?;
        sql.push("]::pg_catalog.text[], ");
        push_text(place, sql);
        sql.push("::pg_catalog.jsonb)");
    }
    Ok(())
}

fn write_delete_rows(delete: &DeleteRows, sql: &mut Sql) -> Result<(), Unwritable> {
    sql.push("DELETE FROM ");
    sql.push(&Dialect::Postgres.table(&delete.table.id));
    push_rows(" AS t0 USING ", delete.key.len(), sql);
    write_key(&delete.table, &delete.key, sql)
}

/// The given rows as a table with a text for each column, and the number of the row.
fn push_rows(word: &str, columns: usize, sql: &mut Sql) {
    sql.push(word);
    // Several arrays side by side are a form of the grammar, which knows the function by this name only.
    sql.push("unnest(");
    for place in 1..=columns {
        sql.push(if place == 1 { "$" } else { ", $" });
        sql.push(itoa::Buffer::new().format(place));
        sql.push("::pg_catalog.text[]");
    }
    sql.push(") WITH ORDINALITY AS v0 (");
    for place in 0..columns {
        sql.push("c");
        sql.push(itoa::Buffer::new().format(place));
        sql.push(", ");
    }
    sql.push("n)");
}

/// A value of the given rows in the type of its column.
fn push_given(column: &Column, place: usize, sql: &mut Sql) {
    push_text(place, sql);
    sql.push("::");
    sql.push(&read_as(column));
}

fn push_text(place: usize, sql: &mut Sql) {
    sql.push("v0.c");
    sql.push(itoa::Buffer::new().format(place));
}

/// The rows of the keys, which are exactly those that were read. A type whose operators are not the server's own, or that is read as
/// its text, is compared as its text; texts of different bytes are different, whatever the column's collation.
fn write_key(table: &Table, key: &[usize], sql: &mut Sql) -> Result<(), Unwritable> {
    if key.is_empty() {
        return Err(NO_COLUMN);
    }
    for (place, ordinal) in key.iter().enumerate() {
        let column = column(table, *ordinal)?;
        let form = Form::of(&column.field);
        sql.push(if place == 0 { " WHERE " } else { " AND " });
        push_key(column, form, sql);
        match form {
            Form::Binary => {
                sql.push(" = ");
                push_given(column, place, sql);
                if is_loose(column) {
                    sql.push(" AND ");
                    push_key(column, form, sql);
                    sql.push(" COLLATE pg_catalog.\"C\" = ");
                    push_given(column, place, sql);
                }
            }
            Form::Text | Form::TextArray => {
                sql.push(" COLLATE pg_catalog.\"C\" = ");
                push_text(place, sql);
                sql.push(form.cast());
            }
        }
    }
    Ok(())
}

fn push_key(column: &Column, form: Form, sql: &mut Sql) {
    sql.push("t0.");
    sql.push_name(column.name());
    sql.push(form.cast());
}

/// Whether texts of different bytes may be equal.
fn is_loose(column: &Column) -> bool {
    matches!(column.collation, Collation::Loose(_) | Collation::Native { is_loose: true, .. })
}

/// A constant of a column.
fn write_constant(table: &Table, ordinal: usize, value: Option<&Value>, sql: &mut Sql) -> Result<(), Unwritable> {
    let Some(value) = value else {
        sql.push("NULL");
        return Ok(());
    };
    let column = column(table, ordinal)?;
    sql.push_value(value.clone())?;
    sql.push("::");
    sql.push(&read_as(column));
    Ok(())
}

fn column(table: &Table, ordinal: usize) -> Result<&Column, Unwritable> {
    table.columns.get(ordinal).ok_or(NO_COLUMN)
}

/// The type of a column that is offered as text, or as an array of texts, and is not: an enum, a composite type, one of an extension.
pub(in super::super) fn native(column: &Column) -> Option<&str> {
    let pg_type = column.pg_type();
    let is_text = pg_type.element().unwrap_or(pg_type).oid == PgType::TEXT.oid;
    (is_text && !matches!(column.native_type.as_str(), "text" | "text[]")).then_some(column.native_type.as_str())
}

/// The type whose input reads the text of a value of the column.
fn read_as(column: &Column) -> String {
    if let Some(native) = native(column) {
        return native.to_owned();
    }
    let pg_type = column.pg_type();
    let element = if pg_type.is_vector() { None } else { pg_type.element() };
    let Some(known) = builtin(element.unwrap_or(pg_type).oid) else { return column.native_type.clone() };
    match (element, known.name) {
        (Some(_), name) => format!("pg_catalog.{name}[]"),
        // From a text it would be read as the name of a table.
        (None, "regclass") => "pg_catalog.oid".to_owned(),
        (None, name) => format!("pg_catalog.{name}"),
    }
}

/// The rows of an edit as texts.
fn parameters(edit: &Edit) -> Result<Parameters, Unwritable> {
    let ordinals: Vec<usize> = match edit {
        Edit::Insert(insert) => insert.columns.clone(),
        Edit::UpdateRows(update) => update.key.iter().chain(&update.set).copied().collect(),
        Edit::DeleteRows(delete) => delete.key.clone(),
        Edit::Update(_) | Edit::Delete(_) => Vec::new(),
    };
    let Some(rows) = edit.rows().filter(|_| !ordinals.is_empty()) else { return Ok(Parameters::None) };
    if rows.num_columns() != ordinals.len() {
        return Err(NO_COLUMN);
    }
    let columns = ordinals.into_iter().zip(rows.columns());
    let columns = columns.map(|(ordinal, values)| texts(values.as_ref(), column(edit.table(), ordinal)?.pg_type()));
    let columns = columns.collect::<Result<Vec<_>, Unwritable>>()?;
    if matches!(edit, Edit::Insert(_)) && rows.num_rows() == 1 {
        return Ok(Parameters::Row(columns.into_iter().map(|texts| texts.into_iter().next().flatten()).collect()));
    }
    Ok(Parameters::Columns(columns))
}

fn texts(values: &dyn Array, pg_type: PgType) -> Result<Vec<Option<String>>, Unwritable> {
    let cells = Cells::of(values, pg_type).ok_or(Unwritable("is not carried as its type is"))?;
    let text = |row: usize| {
        let cell = cells.get(row);
        if cell.is_null() {
            return Ok(None);
        }
        let mut text = String::new();
        write_text(&cell, pg_type, &mut text)?;
        Ok(Some(text))
    };
    (0..values.len()).map(text).collect()
}
