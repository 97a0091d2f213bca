//! Rows on their way into batches: which reader takes which column of the answer, and the batch under construction.
//!
//! A scan reads columns by their declared types. A part of a plan also reads computed columns, whose forms the server tells with
//! the first row: then `computed.rs` chooses by the form that is sent and the type that is wanted, and anything else is an error
//! by name.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use sqlx::mysql::{MySql, MySqlRow};
use sqlx::{Column as _, Decode, Row, TypeInfo};

use super::super::error::StoreError;
use super::super::relational::Dialect;
use super::super::relational::documents::{DocumentCells, Selected, in_order};
use super::super::schema::{Table, TableId};
use super::computed;
use super::documents::REPEATED;
use super::error::Place;
use super::reader::Reader;
use super::scan::{Ending, Job, Rows, source_of};
use super::types;

/// What a statement reads.
pub(super) enum Source {
    /// Columns of one table.
    Table {
        /// The table.
        table: Arc<Table>,
        /// What is selected of it, in the order of the answer.
        selected: Vec<Selected>,
    },
    /// What a part of a plan computes.
    Plan {
        /// The tables that it reads.
        tables: Vec<TableId>,
        /// Their names, for errors.
        name: String,
        /// The declared types of the columns that are stored ones.
        native_types: Vec<Option<String>>,
    },
}

impl Source {
    /// A part of a plan over these tables.
    pub(super) fn plan(tables: Vec<TableId>, native_types: Vec<Option<String>>) -> Self {
        let name = tables.iter().map(|table| table.name.as_str()).collect::<Vec<_>>().join(", ");
        Self::Plan { tables, name, native_types }
    }

    /// The table that an answer of the server is about: it names a table in full, or a column of it by the alias that the table
    /// has in the statement.
    fn blamed(&self, message: &str, text: &str) -> &str {
        let Self::Plan { tables, .. } = self else { return self.name() };
        let alias = message.strip_prefix("Unknown column '").and_then(|rest| rest.split_once('.')).map(|(alias, _)| alias);
        let is_meant = |table: &&TableId| {
            message.contains(&format!("'{}.{}'", table.namespace, table.name))
                || alias.is_some_and(|alias| text.contains(&format!("{} AS {alias} ", Dialect::MySql.table(table))))
                || alias.is_some_and(|alias| text.ends_with(&format!("{} AS {alias}", Dialect::MySql.table(table))))
        };
        tables.iter().find(is_meant).map_or_else(|| self.name(), |table| &table.name)
    }

    /// The table that errors name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Table { table, .. } => &table.id.name,
            Self::Plan { name, .. } => name,
        }
    }
}

/// A batch under construction.
pub(super) struct Gathering<'a> {
    job: &'a Job,
    cells: Vec<Cells>,
    checked: bool,
    rows: usize,
    bytes: usize,
}

impl<'a> Gathering<'a> {
    /// Empty, with the readers that are known before the first row.
    ///
    /// # Errors
    /// A column of the table has no reader.
    pub(super) fn new(job: &'a Job) -> Result<Self, StoreError> {
        let cells = match &job.source {
            Source::Table { table, selected } => {
                selected.iter().map(|item| Cells::of_table(job, table, item)).collect::<Result<_, _>>()?
            }
            Source::Plan { .. } => Vec::new(),
        };
        Ok(Self { job, cells, checked: false, rows: 0, bytes: 0 })
    }

    /// Reads until the batch is full; false when the rows ended.
    ///
    /// # Errors
    /// How reading ended instead.
    pub(super) async fn fill(&mut self, rows: &mut Rows<'_>, rows_wanted: usize) -> Result<bool, Ending> {
        while self.rows < rows_wanted && self.bytes < self.job.limits.batch_bytes {
            match rows.next().await {
                Ok(Some(row)) => self.push(&row).map_err(Ending::Abandoned)?,
                Ok(None) => return Ok(false),
                Err(error) => {
                    let answered = matches!(error, sqlx::Error::Database(_));
                    let error = self.job.translated(&error);
                    let lost = matches!(error, StoreError::ConnectionLost { .. } | StoreError::Unreachable { .. });
                    return Err(if answered && !lost { Ending::Refused(error) } else { Ending::Lost(error) });
                }
            }
        }
        Ok(true)
    }

    /// Appends a row.
    ///
    /// # Errors
    /// A row of another form than was declared, or a value that does not fit its column.
    pub(super) fn push(&mut self, row: &MySqlRow) -> Result<(), StoreError> {
        if !self.checked {
            match &self.job.source {
                Source::Table { table, selected } => self.check(row, table, selected)?,
                Source::Plan { native_types, .. } => self.cells = self.job.planned(row, native_types)?,
            }
            self.checked = true;
        }
        for (index, cells) in self.cells.iter_mut().enumerate() {
            let value = row.try_get_raw(index).map_err(|error| self.job.place().translate(&error))?;
            // The only error of this decoder is "unexpected null". `is_null` will not do: it takes zero dates for NULL.
            let raw = <&[u8] as Decode<'_, MySql>>::decode(value).ok();
            self.bytes += raw.map_or(0, <[u8]>::len);
            cells.push(raw, self.job)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// The server tells the form of each column with the first row; another form than the declared one must not be read.
    fn check(&self, row: &MySqlRow, table: &Table, selected: &[Selected]) -> Result<(), StoreError> {
        if row.len() < self.cells.len() {
            return Err(self.job.changed(format!("It gives {} columns instead of {}.", row.len(), self.cells.len())));
        }
        let announced = row.columns().iter().zip(selected);
        for (sent, (name, native_type)) in announced.filter_map(|(sent, item)| Some((sent, source_of(table, item)?))) {
            let wire_name = sent.type_info().name();
            if !types::agrees(native_type, wire_name) {
                return Err(self.job.changed(format!("Column \"{name}\" was {native_type} and is now {wire_name}.")));
            }
        }
        Ok(())
    }

    /// The batch so far; `None` when it has no rows.
    ///
    /// # Errors
    /// A NULL in a column that was declared NOT NULL.
    pub(super) fn finish(&mut self) -> Result<Option<RecordBatch>, StoreError> {
        if self.rows == 0 {
            return Ok(None);
        }
        let mut arrays = Vec::with_capacity(self.job.schema.fields().len());
        for cells in &mut self.cells {
            arrays.extend(cells.finish().map_err(|error| self.job.changed(format!("{error}.")))?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new_with_options(Arc::clone(&self.job.schema), in_order(arrays), &options)
            .map(Some)
            .map_err(|error| self.job.changed(format!("{error}.")))
    }
}

/// The growing arrays of one selected item.
enum Cells {
    Plain { output: usize, reader: Box<dyn Reader> },
    Document(Box<DocumentCells>),
}

impl Cells {
    fn of_table(job: &Job, table: &Table, item: &Selected) -> Result<Self, StoreError> {
        match item {
            Selected::Plain { output, ordinal } => {
                let column = table.columns.get(*ordinal);
                let reader = column.and_then(|column| types::reader(&column.native_type, job.policy)).ok_or_else(|| {
                    let (name, native_type) = source_of(table, item).unwrap_or_default();
                    job.changed(format!("Column \"{name}\" has no reader for {native_type}."))
                })?;
                Ok(Self::Plain { output: *output, reader })
            }
            Selected::Document(part) => Ok(Self::Document(Box::new(DocumentCells::new(part, REPEATED)))),
        }
    }

    fn push(&mut self, raw: Option<&[u8]>, job: &Job) -> Result<(), StoreError> {
        match (self, raw) {
            (Self::Plain { reader, output }, raw) => reader.push(raw).map_err(|fault| {
                let column = job.schema.fields().get(*output).map_or("", |field| field.name());
                job.fault(column.to_owned(), fault.sqlstate, fault.rule)
            }),
            (Self::Document(cells), Some(text)) => {
                cells.append(text).map_err(|misfit| job.fault(misfit.path, misfit.sqlstate, misfit.rule))
            }
            (Self::Document(cells), None) => {
                cells.append_null();
                Ok(())
            }
        }
    }

    fn finish(&mut self) -> Result<Vec<(usize, ArrayRef)>, arrow::error::ArrowError> {
        match self {
            Self::Plain { output, reader } => Ok(vec![(*output, reader.finish())]),
            Self::Document(cells) => cells.finish(),
        }
    }
}

impl Job {
    /// Our error for what the driver reports, about the table that it is about.
    pub(super) fn translated(&self, error: &sqlx::Error) -> StoreError {
        let message = error.as_database_error().map_or("", sqlx::error::DatabaseError::message);
        let place = Place { store: &self.shared.name, table: Some(self.source.blamed(message, &self.text)) };
        let mut told = place.translate(error);
        if let (StoreError::Remote { site: Some(site), .. }, Source::Table { table, .. }) = (&mut told, &self.source) {
            // Another database of the store may have a table of that name.
            site.schema.get_or_insert_with(|| table.id.namespace.clone());
        }
        told
    }

    fn fault(&self, column: String, sqlstate: &'static str, rule: String) -> StoreError {
        let (store, table) = (self.shared.name.to_string(), self.source.name().to_owned());
        StoreError::Value { store, table, column, sqlstate, rule }
    }

    fn changed(&self, difference: String) -> StoreError {
        StoreError::SchemaChanged { store: self.shared.name.to_string(), table: self.source.name().to_owned(), difference }
    }

    /// The readers of a part of a plan: a stored column that comes as it was declared is read like a scan's.
    fn planned(&self, row: &MySqlRow, native_types: &[Option<String>]) -> Result<Vec<Cells>, StoreError> {
        let policy = self.policy;
        let fields = self.schema.fields();
        if row.len() < fields.len() {
            return Err(self.changed(format!("It gives {} columns instead of {}.", row.len(), fields.len())));
        }
        let readers = fields.iter().zip(row.columns()).enumerate().map(|(output, (field, sent))| {
            let wire_name = sent.type_info().name();
            let native_type = native_types.get(output).and_then(Option::as_deref);
            let stored = native_type.filter(|native_type| types::agrees(native_type, wire_name));
            let stored = stored.filter(|native_type| types::carries(native_type, policy, field.data_type()));
            let reader = match stored.and_then(|native_type| types::reader(native_type, policy)) {
                Some(reader) => Some(reader),
                None => computed::reader(wire_name, field, policy),
            };
            let reader = reader.ok_or_else(|| {
                let rule = format!("was computed as {wire_name}, which is not read as {}", field.data_type());
                self.fault(field.name().clone(), crate::error::sqlstate::FDW_ERROR, rule)
            })?;
            Ok(Cells::Plain { output, reader })
        });
        readers.collect()
    }
}
