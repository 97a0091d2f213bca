//! What one scan asks SQLite and where each answer goes: SQL text, plain columns, document columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, SchemaRef};

use super::super::connector::{Scan, ScanLimits, StoreName};
use super::super::document::build::Conversion;
use super::super::document::json_text::{Repeated, parse};
use super::super::document::{DocumentBuilder, DocumentField, OnMismatch};
use super::super::error::StoreError;
use super::super::relational::embedded::{self, Source};
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
    plain: Vec<(usize, Field)>,
    documents: Vec<DocumentPart>,
    selected: usize,
}

/// One JSON column whose fields are read.
#[derive(Debug)]
struct DocumentPart {
    /// Its place in the row.
    place: usize,
    column: String,
    on_mismatch: OnMismatch,
    fields: Vec<DocumentField>,
    /// Where the fields go in the batch.
    outputs: Vec<usize>,
    /// Where the whole document goes in the batch.
    whole: Option<usize>,
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
            plain: Vec::new(),
            documents: Vec::new(),
            selected: 0,
        };
        let mut sql = Sql::bound(Dialect::Sqlite);
        sql.push("SELECT ");
        for (output, ordinal) in scan.columns.iter().enumerate() {
            let column = table.columns.get(*ordinal).ok_or_else(|| layout.changed("The scan names a column that is not there."))?;
            layout.select(output, &column.field, &mut sql);
        }
        sql.push(if layout.selected == 0 { "1 FROM " } else { " FROM " });
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

    fn changed(&self, difference: &str) -> StoreError {
        StoreError::SchemaChanged { store: self.store.to_string(), table: self.table.clone(), difference: difference.to_owned() }
    }

    fn select(&mut self, output: usize, field: &Field, sql: &mut Sql) {
        let Some(source) = embedded::source(field) else {
            let place = self.push_item(field.name(), field.pg_type() == PgType::JSON, sql);
            self.plain.push((place, field.clone()));
            return;
        };
        let known = self.documents.iter().position(|part| part.column == source.column);
        let index = known.unwrap_or_else(|| {
            let place = self.push_item(source.column, true, sql);
            let (column, on_mismatch) = (source.column.to_owned(), source.on_mismatch);
            self.documents.push(DocumentPart { place, column, on_mismatch, fields: vec![], outputs: vec![], whole: None });
            self.documents.len() - 1
        });
        if let Some(part) = self.documents.get_mut(index) {
            part.add(output, source);
        }
    }

    /// Adds a column to the SELECT list. Names are always qualified: SQLite reads a bare `"name"` that is no column as a
    /// text, which would turn a dropped column into its own name on every row.
    fn push_item(&mut self, name: &str, json: bool, sql: &mut Sql) -> usize {
        sql.push(if self.selected == 0 { "" } else { ", " });
        let quoted = Dialect::Sqlite.quote(name);
        if json {
            sql.push(&json_item(&quoted));
        } else {
            sql.push(&format!("t.{quoted}"));
        }
        self.selected += 1;
        self.selected - 1
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
        if columns != self.selected.max(1) {
            return Err(self.changed("The table returns another number of columns."));
        }
        let mut plain = Vec::with_capacity(self.plain.len());
        for (place, field) in &self.plain {
            let reader = reader(field).ok_or_else(|| self.changed("A column has a type without a reader."))?;
            plain.push(PlainColumn { place: *place, name: field.name().clone(), reader });
        }
        let outputs = self.outputs();
        let documents = self.documents.into_iter().map(|part| {
            let conversion = Conversion { on_mismatch: part.on_mismatch, texts: true };
            let builder = DocumentBuilder::new(&part.fields, part.whole.is_some(), conversion);
            DocumentColumn { place: part.place, column: part.column, on_mismatch: part.on_mismatch, builder }
        });
        let documents = documents.collect();
        Ok(Filler { store: self.store, table: self.table, schema: self.schema, plain, documents, outputs, limits, done: false })
    }

    /// For each array in the order in which [`Filler`] finishes them, its place in the batch.
    fn outputs(&self) -> Vec<usize> {
        let documents: Vec<usize> = self.documents.iter().flat_map(|part| part.outputs.iter().copied().chain(part.whole)).collect();
        let plain = (0..self.schema.fields().len()).filter(|output| !documents.contains(output));
        plain.chain(documents.iter().copied()).collect()
    }
}

impl DocumentPart {
    fn add(&mut self, output: usize, source: Source<'_>) {
        match source.field {
            Some(field) => {
                self.fields.push(field);
                self.outputs.push(output);
            }
            None => self.whole = Some(output),
        }
    }
}

/// A JSON column as text. JSON may also be stored in SQLite's binary form; a blob that is not that stays a blob, so that the
/// reader says so instead of the statement failing.
pub(super) fn json_item(quoted: &str) -> String {
    format!("CASE WHEN typeof(t.{quoted}) = 'blob' AND json_valid(t.{quoted}, 8) THEN json(t.{quoted}) ELSE t.{quoted} END")
}

struct PlainColumn {
    place: usize,
    name: String,
    reader: Box<dyn Read>,
}

struct DocumentColumn {
    place: usize,
    column: String,
    on_mismatch: OnMismatch,
    builder: DocumentBuilder,
}

/// Grows batches from a stepping statement.
pub(super) struct Filler {
    store: StoreName,
    table: String,
    schema: SchemaRef,
    plain: Vec<PlainColumn>,
    documents: Vec<DocumentColumn>,
    outputs: Vec<usize>,
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
            bytes += self.append(statement, pool)?;
            count += 1;
        }
        if count == 0 { Ok(None) } else { self.finish(count).map(Some) }
    }

    fn append(&mut self, statement: &mut Statement<'_>, pool: &Pool) -> Result<usize, StoreError> {
        let mut bytes = 0;
        for column in &mut self.plain {
            let cell = statement.cell(column.place).map_err(|failure| pool.store_error(failure, None))?;
            match column.reader.append(cell) {
                Ok(size) => bytes += size,
                Err(fault) => return Err(value_error(&self.store, &self.table, column.name.clone(), fault)),
            }
        }
        for column in &mut self.documents {
            let before = column.builder.bytes();
            let cell = statement.cell(column.place).map_err(|failure| pool.store_error(failure, None))?;
            column.append(cell).map_err(|(path, fault)| value_error(&self.store, &self.table, path, fault))?;
            bytes += column.builder.bytes().saturating_sub(before);
        }
        Ok(bytes)
    }

    fn finish(&mut self, rows: usize) -> Result<RecordBatch, StoreError> {
        let broken = |error: arrow::error::ArrowError| StoreError::Remote {
            store: self.store.to_string(),
            sqlstate: sqlstate::FDW_ERROR.to_owned(),
            message: format!("rows of table \"{}\" do not fit its columns", self.table),
            detail: Some(error.to_string()),
            constraint: None,
        };
        let mut arrays: Vec<(usize, ArrayRef)> = Vec::with_capacity(self.outputs.len());
        let mut outputs = self.outputs.iter().copied();
        arrays.extend(self.plain.iter_mut().map(|column| column.reader.finish()).zip(outputs.by_ref()).map(|(a, o)| (o, a)));
        for column in &mut self.documents {
            let built = column.builder.finish().map_err(broken)?;
            arrays.extend(built.into_iter().zip(outputs.by_ref()).map(|(array, output)| (output, array)));
        }
        arrays.sort_by_key(|(output, _)| *output);
        let arrays = arrays.into_iter().map(|(_, array)| array).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options).map_err(broken)
    }
}

impl DocumentColumn {
    fn append(&mut self, cell: Cell<'_>) -> Result<(), (String, Fault)> {
        let fault = |rule: String| Fault { sqlstate: sqlstate::INVALID_TEXT_REPRESENTATION, rule };
        let parsed = match cell {
            Cell::Null => {
                self.builder.append_null();
                return Ok(());
            }
            // Its own `json_extract` takes the first of repeated names too.
            Cell::Text(bytes) => parse(bytes, Repeated::First).map_err(|error| fault(format!("is {error}"))),
            Cell::Int(_) | Cell::Real(_) | Cell::Blob(_) => Err(fault("is not JSON text".to_owned())),
        };
        let appended = parsed.map_err(|fault| (self.column.clone(), fault)).and_then(|value| match value.as_fields() {
            Some(document) => self.builder.append(document).map_err(|mismatch| {
                let path = format!("{}.{}", self.column, mismatch.path);
                (path, Fault { sqlstate: mismatch.sqlstate, rule: mismatch.rule })
            }),
            None => Err((self.column.clone(), fault("is not a JSON object".to_owned()))),
        });
        match appended {
            // A mismatch inside the document has already been read as NULL; what is left is no document at all.
            Err((path, _)) if self.on_mismatch == OnMismatch::Null && path == self.column => {
                self.builder.append_null();
                Ok(())
            }
            other => other,
        }
    }
}

fn value_error(store: &StoreName, table: &str, column: String, fault: Fault) -> StoreError {
    StoreError::Value { store: store.to_string(), table: table.to_owned(), column, sqlstate: fault.sqlstate, rule: fault.rule }
}
