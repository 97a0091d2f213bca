//! The schema of a document column or collection: what was declared over what was sampled, with a version.

use arrow::datatypes::{DataType, Field};
use serde::{Deserialize, Serialize};

use super::types::{DocumentField, DocumentType, NATIVE_KEY, merge_fields};
use crate::pgtype::{PgField, PgType};
use crate::spelling::nearest;

/// The column that holds the whole document as JSON, when the store file asks for it.
pub const DOCUMENT_COLUMN: &str = "_doc";

/// The fields of a kind of document. Kept in the state directory, so that a new sample adds to what was known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentSchema {
    /// Rises by one whenever `fields` changes; the first is 1.
    pub version: u64,
    /// The columns: declared fields in declared order, then sampled ones.
    pub fields: Vec<DocumentField>,
    /// What all samples so far showed, before declarations.
    pub sampled: Vec<DocumentField>,
}

impl DocumentSchema {
    /// A first schema. What is declared wins over what was sampled.
    pub fn new(declared: &[DocumentField], sampled: Vec<DocumentField>) -> Self {
        Self { version: 1, fields: overlay(declared, &sampled), sampled }
    }

    /// The schema after one more sample. Samples only widen: a field that this sample happens to miss keeps its column, so
    /// that columns do not come and go with the luck of the draw.
    #[must_use]
    pub fn succeed(&self, declared: &[DocumentField], sampled: Vec<DocumentField>) -> Self {
        let sampled = merge_fields(self.sampled.clone(), sampled);
        let fields = overlay(declared, &sampled);
        let version = if fields == self.fields { self.version } else { self.version + 1 };
        Self { version, fields, sampled }
    }

    /// The declared fields that no sampled document has. None before there was a sample.
    pub fn unseen(&self, declared: &[DocumentField]) -> Vec<Unseen> {
        if self.sampled.is_empty() { Vec::new() } else { unseen(declared, &self.sampled) }
    }
}

/// A declared field that no sampled document has; nested ones as `address.zip`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// The field.
    pub name: String,
    /// A field that documents have and nobody declares, which was probably meant.
    pub near: Option<String>,
}

fn unseen(declared: &[DocumentField], sampled: &[DocumentField]) -> Vec<Unseen> {
    let names = sampled.iter().map(|seen| seen.name.as_str());
    let undeclared: Vec<&str> = names.filter(|name| !declared.iter().any(|field| field.name == *name)).collect();
    let near = |name: &str| nearest(name, undeclared.iter().copied()).map(str::to_owned);
    let missing = |field: &DocumentField| match (&field.kind, sampled.iter().find(|seen| seen.name == field.name)) {
        (_, None) => vec![Unseen { name: field.name.clone(), near: near(&field.name) }],
        (DocumentType::Struct(declared), Some(DocumentField { kind: DocumentType::Struct(sampled), .. })) => {
            let below = |nested: String| format!("{}.{nested}", field.name);
            let inside = unseen(declared, sampled).into_iter();
            inside.map(|nested| Unseen { name: below(nested.name), near: nested.near.map(below) }).collect()
        }
        (_, Some(_)) => Vec::new(),
    };
    declared.iter().flat_map(missing).collect()
}

/// Declared fields, then the sampled ones that are not declared; nested documents likewise.
pub fn overlay(declared: &[DocumentField], sampled: &[DocumentField]) -> Vec<DocumentField> {
    let mut fields: Vec<DocumentField> = declared
        .iter()
        .map(|field| {
            let seen = sampled.iter().find(|seen| seen.name == field.name).map(|seen| &seen.kind);
            let kind = match (&field.kind, seen) {
                (DocumentType::Struct(declared), Some(DocumentType::Struct(sampled))) => {
                    DocumentType::Struct(overlay(declared, sampled))
                }
                (kind, _) => kind.clone(),
            };
            DocumentField { name: field.name.clone(), kind }
        })
        .collect();
    fields.extend(sampled.iter().filter(|seen| !declared.iter().any(|field| field.name == seen.name)).cloned());
    fields
}

/// The Arrow field of the whole document.
pub fn document_column() -> Field {
    Field::new(DOCUMENT_COLUMN, DataType::Utf8, true).with_pg_type(PgType::JSON)
}

/// The document type behind a column's Arrow field, as [`DocumentType::field`] made it; `None` for other fields.
pub fn type_of_field(field: &Field) -> Option<DocumentType> {
    let native = field.metadata().get(NATIVE_KEY).map(String::as_str);
    Some(match field.data_type() {
        DataType::Boolean => DocumentType::Bool,
        DataType::Int64 => DocumentType::Int,
        DataType::Float64 => DocumentType::Double,
        DataType::Decimal128(38, scale) => DocumentType::Decimal { scale: u8::try_from(*scale).ok()? },
        DataType::Timestamp(_, Some(_)) => DocumentType::Date,
        DataType::Binary => DocumentType::Binary,
        DataType::Utf8 => match (field.pg_type(), native) {
            (PgType::NUMERIC, _) => DocumentType::Numeric,
            (PgType::UUID, _) => DocumentType::Uuid,
            (PgType::JSON, _) => DocumentType::Struct(Vec::new()),
            (_, Some("objectId")) => DocumentType::ObjectId,
            (_, Some("mixed")) => DocumentType::Mixed,
            _ => DocumentType::Text,
        },
        DataType::List(item) => DocumentType::List(Box::new(type_of_field(item)?)),
        DataType::Struct(fields) => DocumentType::Struct(
            fields
                .iter()
                .map(|field| Some(DocumentField { name: field.name().clone(), kind: type_of_field(field)? }))
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, kind: DocumentType) -> DocumentField {
        DocumentField { name: name.to_owned(), kind }
    }

    #[test]
    fn declared_wins_and_versions_rise_only_with_change() {
        let declared = [field("zip", DocumentType::Text)];
        let first = DocumentSchema::new(&declared, vec![field("n", DocumentType::Int), field("zip", DocumentType::Int)]);
        assert_eq!(first.fields, vec![field("zip", DocumentType::Text), field("n", DocumentType::Int)]);
        let same = first.succeed(&declared, vec![field("zip", DocumentType::Mixed)]);
        assert_eq!((same.version, &same.fields), (1, &first.fields));
        let wider = same.succeed(&declared, vec![field("n", DocumentType::Double), field("new", DocumentType::Bool)]);
        assert_eq!(wider.version, 2);
        assert_eq!(wider.fields[1..], [field("n", DocumentType::Double), field("new", DocumentType::Bool)]);
        let text = serde_json::to_string(&wider).unwrap();
        assert_eq!(serde_json::from_str::<DocumentSchema>(&text).unwrap(), wider);
    }

    #[test]
    fn declared_fields_that_no_document_has_are_told() {
        let nested = |names: &[&str]| DocumentType::Struct(names.iter().map(|name| field(name, DocumentType::Text)).collect());
        let declared = [field("zip", DocumentType::Text), field("address", nested(&["city", "stret"])), field("n", nested(&["x"]))];
        let sampled = vec![field("address", nested(&["city", "street"])), field("n", DocumentType::Int)];
        let told = DocumentSchema::new(&declared, sampled).unseen(&declared);
        let told: Vec<(&str, Option<&str>)> = told.iter().map(|field| (field.name.as_str(), field.near.as_deref())).collect();
        assert_eq!(told, [("zip", None), ("address.stret", Some("address.street"))]);
        // A name that is declared itself is not what another one was to be.
        let declared = [field("tag", DocumentType::Text), field("tags", DocumentType::Text)];
        let told = DocumentSchema::new(&declared, vec![field("tags", DocumentType::Text)]).unseen(&declared);
        assert_eq!(told, [Unseen { name: "tag".to_owned(), near: None }]);
        let declared = [field("att", DocumentType::Date)];
        let told = DocumentSchema::new(&declared, vec![field("at", DocumentType::Text)]).unseen(&declared);
        assert_eq!(told, [Unseen { name: "att".to_owned(), near: Some("at".to_owned()) }]);
        assert!(DocumentSchema::new(&declared, Vec::new()).unseen(&declared).is_empty());
    }

    #[test]
    fn types_are_found_again_in_their_arrow_fields() {
        let nested = DocumentType::Struct(vec![field("a", DocumentType::Uuid), field("b", DocumentType::ObjectId)]);
        let kinds = [
            DocumentType::Bool,
            DocumentType::Int,
            DocumentType::Double,
            DocumentType::Decimal { scale: 3 },
            DocumentType::Numeric,
            DocumentType::Date,
            DocumentType::ObjectId,
            DocumentType::Uuid,
            DocumentType::Binary,
            DocumentType::Text,
            DocumentType::Mixed,
            DocumentType::Struct(Vec::new()),
            nested.clone(),
            DocumentType::List(Box::new(nested)),
        ];
        for kind in kinds {
            assert_eq!(type_of_field(&kind.field("f")), Some(kind));
        }
    }
}
