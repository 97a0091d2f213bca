//! Rows of edits as documents, and new documents as the rows that they will be read as.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::raw::RawDocumentBuf;
use mongodb::bson::{Bson, Document, doc};

use super::super::fragment::carried;
use super::super::pool::Pool;
use super::super::raw::BsonFields;
use super::document::{Fault, bson, is_plain};
use super::judge::ID;
use crate::error::{Site, sqlstate};
use crate::stores::StoreError;
use crate::stores::cell::{Cells, write_text};
use crate::stores::document::build::Conversion;
use crate::stores::document::schema::type_of_field;
use crate::stores::document::{DocumentBuilder, DocumentField, DocumentType, OnMismatch};
use crate::stores::edit::{Insert, Path, part, path_at};
use crate::stores::schema::{Column, Table};

/// The values of some columns, or of fields inside of them, row by row.
pub(super) struct Rows<'r> {
    pool: &'r Pool,
    table: &'r Table,
    given: Vec<Given<'r>>,
}

/// One of them.
struct Given<'r> {
    /// It as a column: a field has its path with dots for a name, as commands write it.
    column: Cow<'r, Column>,
    /// The names that lead to it from the document.
    names: Vec<&'r str>,
    kind: DocumentType,
    cells: Cells<'r>,
}

impl<'r> Rows<'r> {
    /// `rows` has a column for each of `columns`, and perhaps more behind them.
    pub(super) fn of(pool: &'r Pool, table: &'r Table, columns: &[usize], rows: &'r RecordBatch) -> Result<Self, StoreError> {
        Self::inside(pool, table, (columns, &[]), rows)
    }

    /// The same of columns with paths beside them.
    pub(super) fn inside(
        pool: &'r Pool,
        table: &'r Table,
        (columns, paths): (&[usize], &'r [Path]),
        rows: &'r RecordBatch,
    ) -> Result<Self, StoreError> {
        let given = |(place, (ordinal, array)): (usize, (&usize, &'r ArrayRef))| {
            let path = path_at(paths, place);
            let column = part(table, *ordinal, path)?;
            let mut names = vec![table.columns.get(*ordinal)?.name()];
            names.extend(path.iter().map(String::as_str));
            let (kind, cells) = (type_of_field(&column.field)?, Cells::of(array.as_ref(), column.pg_type())?);
            Some(Given { column, names, kind, cells })
        };
        let found: Option<Vec<_>> = columns.iter().zip(rows.columns()).enumerate().map(given).collect();
        match found.filter(|found| found.len() == columns.len()) {
            Some(given) => Ok(Self { pool, table, given }),
            None => Err(StoreError::SchemaChanged {
                store: pool.context.store.clone(),
                table: table.id.name.clone(),
                difference: "The rows of the edit are not those of its columns.".to_owned(),
            }),
        }
    }

    /// The document that a row is.
    pub(super) fn document(&self, row: usize) -> Result<Document, StoreError> {
        let mut document = Document::new();
        for given in &self.given {
            put(&mut document, &given.names, self.value(given, row)?);
        }
        Ok(document)
    }

    /// What a row gives existing documents: `$set` takes names with dots for those of fields inside of others.
    pub(super) fn assignments(&self, row: usize) -> Result<Document, StoreError> {
        let mut assignments = Document::new();
        for given in &self.given {
            assignments.insert(given.column.name(), self.value(given, row)?);
        }
        Ok(assignments)
    }

    /// The documents with these fields; no operator can be among the values.
    pub(super) fn filter(&self, row: usize) -> Result<Document, StoreError> {
        Ok(self.document(row)?.into_iter().map(|(name, value)| (name, Bson::Document(doc! { "$eq": value }))).collect())
    }

    fn value(&self, given: &Given<'_>, row: usize) -> Result<Bson, StoreError> {
        let (column, cell) = (&*given.column, given.cells.get(row));
        bson(&cell, column.pg_type(), &given.kind).map_err(|fault| unfit(self.pool, self.table, column, &fault))
    }

    /// What tells rows apart, with what numbers of one size may be spelled in one way.
    pub(super) fn text(&self, row: usize) -> Result<String, StoreError> {
        let mut text = String::new();
        for given in &self.given {
            let start = text.len();
            let written = write_text(&given.cells.get(row), given.column.pg_type(), &mut text);
            written.map_err(|_null| self.pool.context.malformed())?;
            if matches!(given.kind, DocumentType::Numeric) && text.get(start..).is_some_and(|number| number.contains('.')) {
                let kept = text.trim_end_matches('0').trim_end_matches('.').len();
                text.truncate(kept.max(start));
            }
            // No text of PostgreSQL holds it.
            text.push('\0');
        }
        Ok(text)
    }

    pub(super) fn has_null(&self, row: usize) -> bool {
        self.given.iter().any(|given| given.cells.get(row).is_null())
    }
}

/// Puts a value where names lead to; documents on the way are made.
fn put(document: &mut Document, names: &[&str], value: Bson) {
    match names {
        [] => {}
        [name] => {
            document.insert(*name, value);
        }
        [name, rest @ ..] => {
            if let Bson::Document(inner) = document.entry((*name).to_owned()).or_insert_with(|| Bson::Document(Document::new())) {
                put(inner, rest, value);
            }
        }
    }
}

pub(super) fn unfit(pool: &Pool, table: &Table, column: &Column, fault: &Fault) -> StoreError {
    StoreError::Value {
        store: pool.context.store.clone(),
        table: table.id.name.clone(),
        column: column.name().to_owned(),
        sqlstate: fault.sqlstate,
        rule: fault.rule.clone().into_owned(),
    }
}

fn no_id(pool: &Pool, table: &Table) -> StoreError {
    let name = &table.id.name;
    let site = Site { schema: Some(table.id.namespace.clone()), table: Some(name.clone()), ..Site::default() };
    StoreError::Remote {
        store: pool.context.store.clone(),
        sqlstate: sqlstate::NOT_NULL_VIOLATION.to_owned(),
        message: format!("null value in column \"_id\" of relation \"{name}\" violates not-null constraint"),
        detail: None,
        constraint: None,
        site: Some(Box::new(Site { column: Some("_id".to_owned()), ..site })),
    }
}

/// The documents of an insertion, each with its key, and the keys that were made here.
pub(super) fn documents(pool: &Pool, insert: &Insert) -> Result<(Vec<Document>, Option<Vec<String>>), StoreError> {
    let table = &insert.table;
    let rows = Rows::inside(pool, table, (&insert.columns, &insert.paths), &insert.rows)?;
    let is_given = insert.columns.contains(&ID);
    let makes_id = table.columns.first().and_then(|id| type_of_field(&id.field)) == Some(DocumentType::ObjectId);
    let mut made = Vec::new();
    let mut documents = Vec::with_capacity(insert.rows.num_rows());
    for row in 0..insert.rows.num_rows() {
        let fields = rows.document(row)?;
        if is_given {
            if matches!(fields.get("_id"), None | Some(Bson::Null)) {
                return Err(no_id(pool, table));
            }
            documents.push(fields);
            continue;
        }
        if !makes_id {
            return Err(no_id(pool, table));
        }
        let id = ObjectId::new();
        made.push(id.to_hex());
        let mut document = doc! { "_id": id };
        document.extend(fields);
        documents.push(document);
    }
    Ok((documents, (!is_given).then_some(made)))
}

/// The new rows as they will be read. `documents` are what they have become, in their order.
pub(super) fn new_rows(
    pool: &Pool,
    insert: &Insert,
    documents: &[Document],
    made: Option<&Vec<String>>,
) -> Result<Option<RecordBatch>, StoreError> {
    if insert.returning.is_empty() {
        return Ok(None);
    }
    let (table, count) = (&insert.table, insert.rows.num_rows());
    let malformed = |_broken| pool.context.malformed();
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(insert.returning.len());
    for ordinal in &insert.returning {
        let Some(column) = table.columns.get(*ordinal) else { return Err(pool.context.malformed()) };
        let given = insert.columns.iter().position(|inserted| inserted == ordinal);
        let array: ArrayRef = match (given, made) {
            (Some(_), _) if !type_of_field(&column.field).is_some_and(|kind| is_plain(&kind)) => {
                read_again(pool, column, documents)?
            }
            (Some(place), _) => carried(insert.rows.column(place), column.field.data_type()).map_err(malformed)?,
            (None, Some(made)) if *ordinal == ID => Arc::new(StringArray::from(made.clone())),
            (None, _) => new_null_array(column.field.data_type(), count),
        };
        arrays.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(table.project(&insert.returning), arrays, &options).map(Some).map_err(malformed)
}

/// A column of documents that holds documents itself.
fn read_again(pool: &Pool, column: &Column, documents: &[Document]) -> Result<ArrayRef, StoreError> {
    let Some(kind) = type_of_field(&column.field) else { return Err(pool.context.malformed()) };
    let field = DocumentField { name: column.name().to_owned(), kind };
    let conversion = Conversion { on_mismatch: OnMismatch::Error, texts: false };
    let mut builder = DocumentBuilder::new(&[field], false, conversion);
    for document in documents {
        let bytes = RawDocumentBuf::try_from(document).map_err(|_malformed| pool.context.malformed())?;
        builder.append(&BsonFields(&bytes)).map_err(|_misfit| pool.context.malformed())?;
    }
    let mut arrays = builder.finish().map_err(|_broken| pool.context.malformed())?;
    let array = arrays.pop().ok_or_else(|| pool.context.malformed())?;
    carried(&array, column.field.data_type()).map_err(|_broken| pool.context.malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_to_be_where_they_are_named() {
        let mut document = doc! { "_id": 1_i64 };
        put(&mut document, &["a"], Bson::Int64(1));
        put(&mut document, &["b", "x"], Bson::Int64(2));
        put(&mut document, &["b", "y", "z"], Bson::Null);
        assert_eq!(document, doc! { "_id": 1_i64, "a": 1_i64, "b": { "x": 2_i64, "y": { "z": Bson::Null } } });
    }
}
