//! Tables from what discovery found: columns in order, keys, and what is refused. Pure.

use arrow::datatypes::{DataType, Field};
use mongodb::bson::{Bson, Document};

use super::raw::BsonFields;
use super::types::Shape;
use crate::stores::document::declared::from_json_schema;
use crate::stores::document::extended;
use crate::stores::document::schema::{DOCUMENT_COLUMN, document_column, overlay};
use crate::stores::document::types::{DocumentField, DocumentType};
use crate::stores::schema::{Collation, Column, ColumnStatistics, Division, Generated, Key, Refused, Table, TableId, TableKind};

/// The primary key of every collection.
pub(super) const ID: &str = "_id";

/// Everything that makes a table.
pub(super) struct Description<'a> {
    pub(super) id: TableId,
    pub(super) kind: TableKind,
    /// The locale of the default collation; of a view it cannot be overridden.
    pub(super) collation: Option<&'a str>,
    pub(super) fields: &'a [DocumentField],
    pub(super) include_document: bool,
    /// The answer of `listIndexes`.
    pub(super) indexes: &'a [Document],
    pub(super) row_estimate: Option<u64>,
    pub(super) division: Option<Division>,
    /// Whether the server keeps `_id` unique: not in time series, and not across the shards of a cluster.
    pub(super) unique_id: bool,
}

/// The table, and the fields of it that cannot be columns.
pub(super) fn table(description: &Description<'_>) -> (Table, Vec<Refused>) {
    let mut refused = Vec::new();
    let fields = ordered(description, &mut refused);
    let collection = description.kind == TableKind::Collection;
    let collation = match description.collation {
        Some(locale) if !collection && locale != "simple" => Collation::Loose(locale.to_owned()),
        _ => Collation::Bytes,
    };
    let mut columns: Vec<Column> = fields
        .iter()
        .map(|(field, native_type)| Column {
            field: field.clone(),
            native_type: (*native_type).to_owned(),
            default: None,
            generated: if collection && field.name() == ID { Generated::ByDefault } else { Generated::No },
            comment: None,
            collation: collation.clone(),
            // Of single fields the server keeps no counts; keys tell what is unique.
            statistics: ColumnStatistics::default(),
        })
        .collect();
    if let (true, Some(id)) = (collection, columns.first_mut()) {
        id.field = id.field.clone().with_nullable(false);
    }
    let keys = Keys::of(description.indexes, &columns);
    let table = Table {
        id: description.id.clone(),
        kind: description.kind,
        schema: Table::arrow_schema(&columns),
        columns,
        primary_key: collection.then(|| Key { name: "_id_".to_owned(), columns: vec![0], proven: description.unique_id }),
        unique_keys: keys.unique,
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        indexes: keys.plain,
        comment: None,
        row_estimate: description.row_estimate,
        division: description.division,
    };
    (table, refused)
}

/// `_id` first, the whole document last.
fn ordered(description: &Description<'_>, refused: &mut Vec<Refused>) -> Vec<(Field, &'static str)> {
    let mut columns = Vec::with_capacity(description.fields.len() + 2);
    let id = description.fields.iter().find(|field| field.name == ID);
    match id {
        Some(id) => columns.push((id.kind.field(ID), native(&id.kind))),
        // Nothing is known of an empty collection; drivers and server make ObjectIds when the writer gives no _id.
        None if description.kind == TableKind::Collection => columns.push((DocumentType::ObjectId.field(ID), "objectId")),
        None => {}
    }
    for field in description.fields.iter().filter(|field| field.name != ID) {
        let reason = match field.name.as_str() {
            "" => "has an empty name",
            DOCUMENT_COLUMN if description.include_document => "has the name of the column that holds the whole document",
            name => {
                columns.push((field.kind.field(name), native(&field.kind)));
                continue;
            }
        };
        refused.push(Refused {
            table: description.id.clone(),
            column: Some(field.name.clone()),
            native_type: native(&field.kind).to_owned(),
            reason: reason.to_owned(),
        });
    }
    if description.include_document {
        columns.push((document_column(), "object"));
    }
    columns
}

fn native(kind: &DocumentType) -> &'static str {
    match kind {
        DocumentType::Null => "null",
        DocumentType::Bool => "bool",
        DocumentType::Int => "long",
        DocumentType::Double => "double",
        DocumentType::Decimal { .. } | DocumentType::Numeric => "decimal",
        DocumentType::Date => "date",
        DocumentType::ObjectId => "objectId",
        DocumentType::Uuid => "uuid",
        DocumentType::Binary => "binData",
        DocumentType::Text => "string",
        DocumentType::List(_) => "array",
        DocumentType::Struct(_) => "object",
        DocumentType::Mixed => "mixed",
    }
}

/// Declarations of the store file over the collection's validator. A validator often says less than the documents show
/// (`object` without properties, `binData` for UUIDs); then the sample speaks.
pub(super) fn with_validator(declared: &[DocumentField], options: &Document, sampled: &[DocumentField]) -> Vec<DocumentField> {
    let Some(validator) = validator(options) else { return declared.to_vec() };
    overlay(declared, &sharpen(validator, sampled))
}

fn validator(options: &Document) -> Option<Vec<DocumentField>> {
    let schema = options.get_document("validator").ok()?.get_document("$jsonSchema").ok()?;
    let bytes = schema.to_vec().ok()?;
    let raw = mongodb::bson::raw::RawDocument::from_bytes(&bytes).ok()?;
    let mut text = String::new();
    extended::write_document(&BsonFields(raw), &mut text).ok()?;
    from_json_schema(&serde_json::from_str(&text).ok()?).ok()
}

fn sharpen(validator: Vec<DocumentField>, sampled: &[DocumentField]) -> Vec<DocumentField> {
    validator
        .into_iter()
        .map(|field| {
            let seen = sampled.iter().find(|seen| seen.name == field.name).map(|seen| &seen.kind);
            let kind = seen.map_or(field.kind.clone(), |seen| sharper(field.kind, seen));
            DocumentField { name: field.name, kind }
        })
        .collect()
}

fn sharper(said: DocumentType, seen: &DocumentType) -> DocumentType {
    match (said, seen) {
        (said, DocumentType::Null) => said,
        (DocumentType::Mixed | DocumentType::Null | DocumentType::Binary, seen) => seen.clone(),
        (DocumentType::Numeric, DocumentType::Decimal { scale }) => DocumentType::Decimal { scale: *scale },
        (DocumentType::List(said), DocumentType::List(seen)) => DocumentType::List(Box::new(sharper(*said, seen))),
        (DocumentType::Struct(said), DocumentType::Struct(seen)) => {
            let said = sharpen(said, seen);
            DocumentType::Struct(overlay(&said, seen))
        }
        (said, _) => said,
    }
}

struct Keys {
    unique: Vec<Key>,
    plain: Vec<Key>,
}

impl Keys {
    fn of(indexes: &[Document], columns: &[Column]) -> Self {
        let mut keys = Self { unique: Vec::new(), plain: Vec::new() };
        for index in indexes {
            let Some(key) = plain_key(index, columns) else { continue };
            if index.get_bool("unique").unwrap_or(false) { keys.unique.push(key) } else { keys.plain.push(key) }
        }
        keys
    }
}

/// An index over whole top-level fields of all documents, in ascending or descending order.
fn plain_key(index: &Document, columns: &[Column]) -> Option<Key> {
    let name = index.get_str("name").ok()?;
    let special = ["partialFilterExpression", "collation"].iter().any(|option| index.contains_key(option))
        || index.get_bool("sparse").unwrap_or(false)
        || name == "_id_";
    if special {
        return None;
    }
    let places = index.get_document("key").ok()?.iter().map(|(field, direction)| {
        let ordered = matches!(direction, Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_));
        let place = columns.iter().position(|column| column.name() == field)?;
        // An index on arrays has an entry for each element: it neither orders nor identifies documents.
        let whole = columns.get(place).is_some_and(|column| !matches!(column.field.data_type(), DataType::List(_)));
        let known = columns.get(place).is_some_and(|column| Shape::of(&column.field) != Shape::Document);
        (ordered && whole && known).then_some(place)
    });
    let columns = places.collect::<Option<Vec<_>>>()?;
    (!columns.is_empty()).then(|| Key { name: name.to_owned(), columns, proven: false })
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    fn field(name: &str, kind: DocumentType) -> DocumentField {
        DocumentField { name: name.to_owned(), kind }
    }

    fn description<'a>(fields: &'a [DocumentField], indexes: &'a [Document]) -> Description<'a> {
        Description {
            id: TableId { namespace: "shop".to_owned(), name: "orders".to_owned() },
            kind: TableKind::Collection,
            collation: None,
            fields,
            include_document: true,
            indexes,
            row_estimate: Some(7),
            division: None,
            unique_id: true,
        }
    }

    fn names(table: &Table) -> Vec<&str> {
        table.columns.iter().map(Column::name).collect()
    }

    #[test]
    fn columns_begin_with_the_key_and_end_with_the_document() {
        let fields = [field("a", DocumentType::Int), field("", DocumentType::Text), field("_id", DocumentType::Uuid)];
        let (table, refused) = table(&description(&fields, &[]));
        assert_eq!(names(&table), ["_id", "a", "_doc"]);
        assert!(!table.columns[0].field.is_nullable() && table.columns[1].field.is_nullable());
        assert_eq!(table.primary_key.unwrap().columns, [0]);
        assert_eq!(refused.len(), 1);
    }

    #[test]
    fn an_empty_collection_has_its_key() {
        let (table, _) = table(&Description { include_document: false, ..description(&[], &[]) });
        assert_eq!(names(&table), ["_id"]);
        assert_eq!(table.columns[0].native_type, "objectId");
    }

    #[test]
    fn views_have_no_key_and_their_own_collation() {
        let fields = [field("a", DocumentType::Text)];
        let view =
            Description { kind: TableKind::View, collation: Some("en"), include_document: false, ..description(&fields, &[]) };
        let (table, _) = table(&view);
        assert_eq!(names(&table), ["a"]);
        assert!(table.primary_key.is_none());
        assert_eq!(table.columns[0].collation, Collation::Loose("en".to_owned()));
    }

    #[test]
    fn only_plain_indexes_are_keys() {
        let fields = [
            field("_id", DocumentType::ObjectId),
            field("a", DocumentType::Int),
            field("b", DocumentType::Text),
            field("l", DocumentType::List(Box::new(DocumentType::Int))),
        ];
        let indexes = [
            doc! { "name": "_id_", "key": { "_id": 1 } },
            doc! { "name": "ab", "key": { "a": 1, "b": -1 }, "unique": true },
            doc! { "name": "b", "key": { "b": 1 } },
            doc! { "name": "hash", "key": { "b": "hashed" } },
            doc! { "name": "deep", "key": { "a.b": 1 }, "unique": true },
            doc! { "name": "list", "key": { "l": 1 }, "unique": true },
            doc! { "name": "sparse", "key": { "a": 1 }, "unique": true, "sparse": true },
            doc! { "name": "partial", "key": { "a": 1 }, "unique": true, "partialFilterExpression": { "a": { "$gt": 1 } } },
            doc! { "name": "folded", "key": { "b": 1 }, "unique": true, "collation": { "locale": "en" } },
        ];
        let (table, _) = table(&description(&fields, &indexes));
        assert_eq!(table.unique_keys, [Key { name: "ab".to_owned(), columns: vec![1, 2], proven: false }]);
        assert_eq!(table.indexes, [Key { name: "b".to_owned(), columns: vec![2], proven: false }]);
    }

    #[test]
    fn a_validator_speaks_where_it_says_more_than_the_sample() {
        let options = doc! { "validator": { "$jsonSchema": { "bsonType": "object", "properties": {
            "a": { "bsonType": "string" },
            "u": { "bsonType": "binData" },
            "o": { "bsonType": "object" },
            "n": { "bsonType": ["int", "null"] },
        } } } };
        let nested = DocumentType::Struct(vec![field("x", DocumentType::Int)]);
        let sampled = [field("a", DocumentType::Mixed), field("u", DocumentType::Uuid), field("o", nested.clone())];
        let merged = with_validator(&[field("n", DocumentType::Double)], &options, &sampled);
        let expected =
            [field("n", DocumentType::Double), field("a", DocumentType::Text), field("u", DocumentType::Uuid), field("o", nested)];
        assert_eq!(merged, expected);
        assert_eq!(with_validator(&[], &doc! {}, &sampled), []);
    }
}
