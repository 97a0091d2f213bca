//! What one scan asks SQLite and where each answer goes: SQL text, plain columns, document columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, SchemaRef};

use super::super::connector::{Scan, ScanLimits, StoreName};
use super::super::document::json_text::Repeated;
use super::super::error::StoreError;
use super::super::fragment::{Fragment, Tables, shapes};
use super::super::relational::documents::{DocumentCells, Part, Selected, in_order, select};
use super::super::relational::{Dialect, Sql};
use super::super::schema::Table;
use super::super::value::Value;
use super::pool::Pool;
use super::pushdown::write_filter;
use super::scan::Statement;
use super::types::read::{Cell, Fault, Read, reader};
use crate::error::sqlstate;
use crate::pgtype::{PgField, PgType};

/// A scan as SQL with its parameters, and the shape of its answer.
#[derive(Debug)]
pub(super) struct Layout {
    sql: String,
    values: Vec<Value>,
    store: StoreName,
    table: String,
    schema: SchemaRef,
    /// In the order of the row.
    items: Vec<Item>,
}

/// One value of a row.
#[derive(Debug)]
enum Item {
    /// A column with its place in the batch.
    Plain(usize, Field),
    /// A JSON column whose fields are read.
    Document(Part),
}

impl Layout {
    /// Plans `scan` of `table`.
    ///
    /// # Errors
    /// A column that the table does not have, or a filter that was not accepted by push-down.
    pub(super) fn new(store: &StoreName, table: &Table, scan: &Scan) -> Result<Self, StoreError> {
        let mut layout = Self {
            sql: String::new(),
            values: Vec::new(),
            store: store.clone(),
            table: table.id.name.clone(),
            schema: table.project(&scan.columns),
            items: Vec::new(),
        };
        let mut sql = Sql::bound(Dialect::Sqlite);
        sql.push("SELECT ");
        let selected = select(table, &scan.columns).ok_or_else(|| layout.changed("The scan names a column that is not there."))?;
        for item in selected {
            layout.select(item, table, "t", &mut sql);
        }
        sql.push(if layout.items.is_empty() { "1 FROM " } else { " FROM " });
        let name = Dialect::Sqlite.table(&table.id);
        sql.push(&name);
        sql.push(" AS t");
        let written = write_filter(table, &scan.filter, &mut sql);
        written.map_err(|unwritable| layout.changed(&format!("A filter cannot be sent: {unwritable}.")))?;
        if let Some(limit) = scan.limit {
            sql.push(" LIMIT ");
            sql.push(itoa::Buffer::new().format(limit));
        }
        (layout.sql, layout.values) = sql.into_parts();
        Ok(layout)
    }

    /// Plans what a statement gives back of the rows that it changes: [`Layout::sql`] is the list behind `RETURNING`.
    ///
    /// # Errors
    /// A column that the table does not have.
    pub(super) fn returning(store: &StoreName, table: &Table, columns: &[usize]) -> Result<Self, StoreError> {
        let mut layout = Self {
            sql: String::new(),
            values: Vec::new(),
            store: store.clone(),
            table: table.id.name.clone(),
            schema: table.project(columns),
            items: Vec::new(),
        };
        let mut sql = Sql::bound(Dialect::Sqlite);
        let selected = select(table, columns).ok_or_else(|| layout.changed("The statement names a column that is not there."))?;
        // Such a statement calls its table by the table's own name.
        let name = Dialect::Sqlite.quote(&table.id.name);
        for item in selected {
            layout.select(item, table, &name, &mut sql);
        }
        layout.sql = sql.into_parts().0;
        Ok(layout)
    }

    /// Plans a fragment, whose rows become batches of `schema`.
    ///
    /// # Errors
    /// What [`super::fragment::accepts`] would have refused.
    pub(super) fn of_fragment(fragment: &Fragment, tables: &Tables, schema: &SchemaRef) -> Result<Self, StoreError> {
        let mut layout = Self {
            sql: String::new(),
            values: Vec::new(),
            store: fragment.store.clone(),
            table: tables.keys().next().map(|id| id.name.clone()).unwrap_or_default(),
            schema: Arc::clone(schema),
            items: Vec::new(),
        };
        let sql = super::fragment::write(fragment, tables);
        let sql = sql.map_err(|unwritable| layout.changed(&format!("A part of the plan cannot be sent: {unwritable}.")))?;
        let known = shapes(&fragment.root, tables);
        if known.len() != schema.fields().len() {
            return Err(layout.changed("The plan has another number of columns."));
        }
        let fields = schema.fields().iter().zip(&known).map(|(field, shape)| match super::fragment::stored_column(shape, tables) {
            // The plan may want another carrier of `numeric` than the column's.
            Some(column) if column.field.pg_type().oid == PgType::NUMERIC.oid => {
                column.field.clone().with_name(field.name()).with_data_type(field.data_type().clone())
            }
            Some(column) => column.field.clone().with_name(field.name()),
            None => {
                Field::new(field.name(), field.data_type().clone(), true).with_pg_type(PgType::with_typmod(shape.pg_type.oid, -1))
            }
        });
        layout.items = fields.enumerate().map(|(output, field)| Item::Plain(output, field)).collect();
        (layout.sql, layout.values) = sql.into_parts();
        Ok(layout)
    }

    fn changed(&self, difference: &str) -> StoreError {
        StoreError::SchemaChanged { store: self.store.to_string(), table: self.table.clone(), difference: difference.to_owned() }
    }

    fn select(&mut self, item: Selected, table: &Table, from: &str, sql: &mut Sql) {
        match item {
            Selected::Plain { output, ordinal } => {
                let Some(field) = table.columns.get(ordinal).map(|column| &column.field) else { return };
                self.push_item(from, field.name(), field.pg_type() == PgType::JSON, sql);
                self.items.push(Item::Plain(output, field.clone()));
            }
            Selected::Document(part) => {
                self.push_item(from, &part.column, true, sql);
                self.items.push(Item::Document(part));
            }
        }
    }

    /// Adds a column of the table called `from` to the list. Names are always qualified: SQLite reads a bare `"name"` that is
    /// no column as a text, which would turn a dropped column into its own name on every row.
    fn push_item(&self, from: &str, name: &str, json: bool, sql: &mut Sql) {
        sql.push(if self.items.is_empty() { "" } else { ", " });
        let place = format!("{from}.{}", Dialect::Sqlite.quote(name));
        if json {
            sql.push(&json_item(&place));
        } else {
            sql.push(&place);
        }
    }

    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    pub(super) fn values(&self) -> &[Value] {
        &self.values
    }

    pub(super) fn table(&self) -> &str {
        &self.table
    }

    /// The builders of the answer. `columns` is what the prepared statement returns.
    ///
    /// # Errors
    /// When the statement does not return what was asked, or a type has no reader.
    pub(super) fn filler(self, columns: usize, limits: ScanLimits) -> Result<Filler, StoreError> {
        if columns != self.items.len().max(1) {
            return Err(self.changed("The table returns another number of columns."));
        }
        let mut plain = Vec::with_capacity(self.items.len());
        let mut documents = Vec::new();
        for (place, item) in self.items.iter().enumerate() {
            match item {
                Item::Plain(output, field) => {
                    let reader = reader(field).ok_or_else(|| self.changed("A column has a type without a reader."))?;
                    plain.push(PlainColumn { place, output: *output, name: field.name().clone(), reader });
                }
                // SQLite's JSON functions find the first of several fields with one name.
                Item::Document(part) => documents.push(DocumentColumn { place, cells: DocumentCells::new(part, Repeated::First) }),
            }
        }
        Ok(Filler { store: self.store, table: self.table, schema: self.schema, plain, documents, limits, done: false })
    }
}

/// A JSON column, called by its qualified name, as text. JSON may also be stored in SQLite's binary form; a blob that is not that
/// stays a blob, so that the reader says so instead of the statement failing.
pub(super) fn json_item(place: &str) -> String {
    format!("CASE WHEN typeof({place}) = 'blob' AND json_valid({place}, 8) THEN json({place}) ELSE {place} END")
}

struct PlainColumn {
    place: usize,
    output: usize,
    name: String,
    reader: Box<dyn Read>,
}

struct DocumentColumn {
    place: usize,
    cells: DocumentCells,
}

/// Grows batches from a stepping statement.
pub(super) struct Filler {
    store: StoreName,
    table: String,
    schema: SchemaRef,
    plain: Vec<PlainColumn>,
    documents: Vec<DocumentColumn>,
    limits: ScanLimits,
    done: bool,
}

impl Filler {
    /// Steps up to `rows` rows (never more than the scan's limit) into one batch; `None` after the last.
    ///
    /// # Errors
    /// What SQLite says, or a cell that does not fit its column.
    pub(super) fn fill(
        &mut self,
        statement: &mut Statement<'_>,
        rows: usize,
        pool: &Pool,
    ) -> Result<Option<RecordBatch>, StoreError> {
        if self.done {
            return Ok(None);
        }
        let most = rows.min(self.limits.batch_rows).max(1);
        let (mut count, mut bytes) = (0, 0);
        while count < most && bytes < self.limits.batch_bytes {
            if !statement.step().map_err(|failure| pool.store_error(failure, Some(&self.table)))? {
                self.done = true;
                break;
            }
            bytes += self.append(statement, pool).map_err(|error| *error)?;
            count += 1;
        }
        if count == 0 { Ok(None) } else { self.finish(count).map(Some) }
    }

    /// Adds the current row, and returns about how many bytes it takes. The error is boxed so that rows without one are told of in
    /// registers.
    ///
    /// # Errors
    /// As [`Filler::fill`].
    pub(super) fn append(&mut self, statement: &mut Statement<'_>, pool: &Pool) -> Result<usize, Box<StoreError>> {
        let mut bytes = 0;
        for column in &mut self.plain {
            match column.reader.append_held(statement.held(column.place)) {
                Ok(size) => bytes += size,
                Err(fault) => return Err(value_error(&self.store, &self.table, column.name.clone(), *fault).into()),
            }
        }
        for column in &mut self.documents {
            let before = column.cells.bytes();
            let cell = statement.cell(column.place).map_err(|failure| pool.store_error(failure, None))?;
            column.append(cell).map_err(|(path, fault)| value_error(&self.store, &self.table, path, fault))?;
            bytes += column.cells.bytes().saturating_sub(before);
        }
        Ok(bytes)
    }

    /// The batch of the rows so far, of which there are so many; the filler is empty then.
    ///
    /// # Errors
    /// A text that is none.
    pub(super) fn finish(&mut self, rows: usize) -> Result<RecordBatch, StoreError> {
        let broken = |error: arrow::error::ArrowError| StoreError::Remote {
            store: self.store.to_string(),
            sqlstate: sqlstate::FDW_ERROR.to_owned(),
            message: format!("rows of table \"{}\" do not fit its columns", self.table),
            detail: Some(error.to_string()),
            constraint: None,
            site: None,
        };
        let mut arrays: Vec<(usize, ArrayRef)> = Vec::with_capacity(self.schema.fields().len());
        for column in &mut self.plain {
            let array = column.reader.finish();
            let array = array.map_err(|fault| value_error(&self.store, &self.table, column.name.clone(), *fault))?;
            arrays.push((column.output, array));
        }
        for column in &mut self.documents {
            arrays.extend(column.cells.finish().map_err(broken)?);
        }
        let arrays = in_order(arrays);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options).map_err(broken)
    }
}

impl DocumentColumn {
    fn append(&mut self, cell: Cell<'_>) -> Result<(), (String, Fault)> {
        let appended = match cell {
            Cell::Null => {
                self.cells.append_null();
                Ok(())
            }
            Cell::Text(bytes) => self.cells.append(bytes),
            Cell::Int(_) | Cell::Real(_) | Cell::Blob(_) => self.cells.append_unfit("is not JSON text".to_owned()),
        };
        appended.map_err(|misfit| (misfit.path, Fault { sqlstate: misfit.sqlstate, rule: misfit.rule }))
    }
}

#[cold]
fn value_error(store: &StoreName, table: &str, column: String, fault: Fault) -> StoreError {
    StoreError::Value { store: store.to_string(), table: table.to_owned(), column, sqlstate: fault.sqlstate, rule: fault.rule }
}
