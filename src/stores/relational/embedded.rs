//! JSON columns of relational tables declared as documents (`[tables.reviews] document = "doc"`): their fields become
//! columns of the table, and the JSON column itself is offered only as `_doc` on request.
//!
//! Where such a column comes from is kept in its Arrow field's metadata, so that a scan finds it without other knowledge.

use std::collections::HashMap;

use arrow::datatypes::Field;

use super::super::document::schema::{DOCUMENT_COLUMN, document_column, type_of_field};
use super::super::document::{DocumentField, DocumentOptions, DocumentType, OnMismatch};
use super::super::predicate::ColumnRef;
use super::super::schema::{Collation, Column, ColumnStatistics, Generated};

/// Field metadata: the JSON column that the value lies in.
pub const COLUMN_KEY: &str = "document.column";
/// Field metadata: the field inside the JSON column; absent for the whole document.
pub const FIELD_KEY: &str = "document.field";
/// Field metadata: the JSON column's type in the store's own words.
pub const TYPE_KEY: &str = "document.column_type";
/// Field metadata: `error`, `null` or `text`.
pub const MISMATCH_KEY: &str = "document.on_mismatch";

/// Where an embedded column's values come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Source<'a> {
    /// The JSON column of the table.
    pub column: &'a str,
    /// Its type in the store's own words.
    pub native_type: &'a str,
    /// The top-level field in it, or `None` for the whole document.
    pub field: Option<DocumentField>,
    /// What becomes of values that do not fit.
    pub on_mismatch: OnMismatch,
}

impl Source<'_> {
    /// The type of the field that `at` reaches, and the names that lead to it inside the document.
    pub fn reach(&self, at: &ColumnRef) -> Option<(DocumentType, Vec<String>)> {
        let top = self.field.as_ref()?;
        let (mut kind, mut names) = (top.kind.clone(), vec![top.name.clone()]);
        for name in &at.path {
            let DocumentType::Struct(fields) = kind else { return None };
            kind = fields.into_iter().find(|field| field.name == *name)?.kind;
            names.push(name.clone());
        }
        Some((kind, names))
    }
}

/// Reads the source of a column back; `None` for a plain column.
pub fn source(field: &Field) -> Option<Source<'_>> {
    let metadata = field.metadata();
    let column = metadata.get(COLUMN_KEY)?;
    let on_mismatch = match metadata.get(MISMATCH_KEY).map(String::as_str) {
        Some("null") => OnMismatch::Null,
        Some("text") => OnMismatch::Text,
        _ => OnMismatch::Error,
    };
    let field = match metadata.get(FIELD_KEY) {
        Some(name) => Some(DocumentField { name: name.clone(), kind: type_of_field(field)? }),
        None => None,
    };
    let native_type = metadata.get(TYPE_KEY).map(String::as_str).unwrap_or_default();
    Some(Source { column, native_type, field, on_mismatch })
}

/// The columns that the JSON column `from` becomes. A field whose name a plain column of the table already has (`taken`) is offered as
/// `<column>_<field>`; names that are still not free, and empty ones, are told in the second list.
pub fn expand(from: &Column, taken: &[&str], fields: &[DocumentField], options: &DocumentOptions) -> (Vec<Column>, Vec<String>) {
    let column = from.name();
    let mut columns: Vec<Column> = Vec::with_capacity(fields.len());
    let mut refused = Vec::new();
    for field in fields {
        let prefixed = format!("{column}_{}", field.name);
        let free = |name: &str| !taken.contains(&name) && name != DOCUMENT_COLUMN && !columns.iter().any(|c| c.name() == name);
        let name = [field.name.as_str(), prefixed.as_str()].into_iter().find(|name| !field.name.is_empty() && free(name));
        match name {
            Some(name) => {
                let marked = mark(field.kind.field(name), from, Some(&field.name), options.on_mismatch);
                columns.push(embedded(marked, field.kind.describe()));
            }
            None => refused.push(field.name.clone()),
        }
    }
    if options.include_document {
        columns.push(embedded(mark(document_column(), from, None, options.on_mismatch), "document".to_owned()));
    }
    (columns, refused)
}

fn mark(field: Field, from: &Column, name: Option<&str>, on_mismatch: OnMismatch) -> Field {
    let mut metadata: HashMap<String, String> = field.metadata().clone();
    metadata.insert(COLUMN_KEY.to_owned(), from.name().to_owned());
    metadata.insert(TYPE_KEY.to_owned(), from.native_type.clone());
    if let Some(name) = name {
        metadata.insert(FIELD_KEY.to_owned(), name.to_owned());
    }
    let word = match on_mismatch {
        OnMismatch::Error => "error",
        OnMismatch::Null => "null",
        OnMismatch::Text => "text",
    };
    metadata.insert(MISMATCH_KEY.to_owned(), word.to_owned());
    field.with_metadata(metadata)
}

fn embedded(field: Field, native_type: String) -> Column {
    let generated = Generated::No;
    let (collation, statistics) = (Collation::Bytes, ColumnStatistics::default());
    Column { field, native_type, default: None, generated, comment: None, collation, statistics }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_columns_that_know_where_they_come_from() {
        let field = |name: &str, kind| DocumentField { name: name.to_owned(), kind };
        let fields = [
            field("id", DocumentType::ObjectId),
            field("rating", DocumentType::Int),
            field("", DocumentType::Int),
            field("doc_id", DocumentType::Int),
            field("tags", DocumentType::List(Box::new(DocumentType::Text))),
        ];
        let options = DocumentOptions { include_document: true, on_mismatch: OnMismatch::Null, ..DocumentOptions::default() };
        let from = embedded(document_column().with_name("doc"), "jsonb".to_owned());
        let (columns, refused) = expand(&from, &["id", "doc"], &fields, &options);
        let names: Vec<&str> = columns.iter().map(Column::name).collect();
        assert_eq!(names, ["doc_id", "rating", "doc_doc_id", "tags", "_doc"]);
        assert_eq!(refused, [""]);
        let first = source(&columns[0].field).unwrap();
        assert_eq!((first.column, first.native_type, first.on_mismatch), ("doc", "jsonb", OnMismatch::Null));
        assert_eq!(first.field.as_ref(), Some(&fields[0]));
        assert_eq!(source(&columns[3].field).unwrap().field.as_ref(), Some(&fields[4]));
        assert_eq!(source(&columns[4].field).unwrap().field, None);
        let below = ColumnRef { column: 0, path: vec!["x".to_owned()] };
        assert_eq!(first.reach(&below), None);
        assert_eq!(first.reach(&ColumnRef::of(0)), Some((DocumentType::ObjectId, vec!["id".to_owned()])));
        assert!(source(&Field::new("x", arrow::datatypes::DataType::Int64, true)).is_none());
    }
}
