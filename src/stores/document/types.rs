//! The lattice of document types: what a column becomes when its values were seen to have these types, and its Arrow form.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields as ArrowFields};
use serde::{Deserialize, Serialize};

use crate::pgtype::{PgField, PgType};

/// Field metadata: the document store's own word for a type whose Arrow form does not tell it (`objectId`, `mixed`).
pub const NATIVE_KEY: &str = "native";
/// Nesting deeper than this is kept as text.
pub const DEPTH_MAX: usize = 32;
/// A nested document with more distinct fields than this is a map in disguise, and is kept as text.
pub const NESTED_FIELDS_MAX: usize = 256;
/// More digits after the point than this are kept as unconstrained `numeric`, so that whole numbers always fit 38 digits.
pub const SCALE_MAX: u8 = 18;

/// The type of a column or nested field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DocumentType {
    /// Nothing but null was seen; a text column.
    Null,
    /// `boolean`
    Bool,
    /// `bigint`; 32-bit and 64-bit integers alike.
    Int,
    /// `double precision`; also integers and doubles mixed.
    Double,
    /// `numeric(38, scale)`
    Decimal {
        /// Digits after the point.
        scale: u8,
    },
    /// `numeric` of any size; also decimals and doubles mixed.
    Numeric,
    /// `timestamptz`
    Date,
    /// `text` of 24 hexadecimal digits, marked as `objectId`.
    ObjectId,
    /// `uuid`
    Uuid,
    /// `bytea`
    Binary,
    /// `text`
    Text,
    /// An array of one element type.
    List(Box<DocumentType>),
    /// A nested document; fields in the order in which they were first seen.
    Struct(Vec<DocumentField>),
    /// Types without a common one: text holding extended JSON.
    Mixed,
}

/// A named field of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentField {
    /// Its name in the document.
    pub name: String,
    /// Its type.
    pub kind: DocumentType,
}

impl DocumentType {
    /// The least type that holds the values of both.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::Null, kind) | (kind, Self::Null) => kind,
            (Self::Int | Self::Double, Self::Double) | (Self::Double, Self::Int) => Self::Double,
            (Self::Int, Self::Decimal { scale }) | (Self::Decimal { scale }, Self::Int) => Self::Decimal { scale },
            (Self::Decimal { scale: left }, Self::Decimal { scale: right }) => Self::Decimal { scale: left.max(right) },
            (left, right) if left.is_number() && right.is_number() && left != right => Self::Numeric,
            (Self::List(left), Self::List(right)) => Self::List(Box::new(left.merge(*right))),
            (Self::Struct(left), Self::Struct(right)) => merge_nested(left, right),
            (left, right) if left == right => left,
            _ => Self::Mixed,
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Double | Self::Decimal { .. } | Self::Numeric)
    }

    /// The Postgres type that clients see.
    pub fn pg_type(&self) -> PgType {
        match self {
            Self::Bool => PgType::BOOL,
            Self::Int => PgType::INT8,
            Self::Double => PgType::FLOAT8,
            Self::Decimal { scale } => PgType::numeric(38, i16::from(*scale)),
            Self::Numeric => PgType::NUMERIC,
            Self::Date => PgType::TIMESTAMPTZ,
            Self::Uuid => PgType::UUID,
            Self::Binary => PgType::BYTEA,
            Self::Null | Self::Text | Self::ObjectId | Self::Mixed => PgType::TEXT,
            // Postgres has no arrays of arrays of different lengths: they are shown as JSON.
            Self::List(inner) => inner.pg_type().array().unwrap_or(PgType::JSON),
            Self::Struct(_) => PgType::JSON,
        }
    }

    /// The Arrow type.
    pub fn arrow_type(&self) -> DataType {
        match self {
            Self::List(inner) => DataType::List(Arc::new(inner.field("item"))),
            // A document that was never seen with a field has nothing to be a struct of.
            Self::Struct(fields) if fields.is_empty() => DataType::Utf8,
            Self::Struct(fields) => {
                DataType::Struct(fields.iter().map(|field| field.kind.field(&field.name)).collect::<ArrowFields>())
            }
            scalar => scalar.pg_type().carrier(),
        }
    }

    /// The Arrow field of a column of this type, marked with its Postgres type; always nullable.
    pub fn field(&self, name: &str) -> Field {
        let field = Field::new(name, self.arrow_type(), true);
        let native = match self {
            Self::ObjectId => Some("objectId"),
            Self::Mixed => Some("mixed"),
            _ => None,
        };
        let metadata = native.map(|word| (NATIVE_KEY.to_owned(), word.to_owned())).into_iter().collect();
        field.with_metadata(metadata).with_pg_type(self.pg_type())
    }

    /// The type in the words of the store file and of error messages.
    pub fn describe(&self) -> String {
        match self {
            Self::ObjectId => "objectId".to_owned(),
            Self::Mixed => "mixed".to_owned(),
            Self::Null => "null".to_owned(),
            Self::Struct(_) => "document".to_owned(),
            Self::List(inner) => format!("{}[]", inner.describe()),
            scalar => scalar.pg_type().to_string(),
        }
    }
}

fn merge_nested(left: Vec<DocumentField>, right: Vec<DocumentField>) -> DocumentType {
    let fields = merge_fields(left, right);
    if fields.len() > NESTED_FIELDS_MAX { DocumentType::Mixed } else { DocumentType::Struct(fields) }
}

/// Merges two field lists by name: the order is that of first appearance.
pub fn merge_fields(mut left: Vec<DocumentField>, right: Vec<DocumentField>) -> Vec<DocumentField> {
    for (position, field) in right.into_iter().enumerate() {
        // Documents of one collection mostly agree in order, so the same position is tried before a search.
        let found = match left.get(position) {
            Some(same) if same.name == field.name => Some(position),
            _ => left.iter().position(|known| known.name == field.name),
        };
        match found.and_then(|place| left.get_mut(place)) {
            Some(known) => {
                let kind = std::mem::replace(&mut known.kind, DocumentType::Null);
                known.kind = kind.merge(field.kind);
            }
            None => left.push(field),
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, kind: DocumentType) -> DocumentField {
        DocumentField { name: name.to_owned(), kind }
    }

    #[test]
    fn merging_finds_the_least_type_that_loses_nothing() {
        use DocumentType::{Binary, Bool, Date, Decimal, Double, Int, List, Mixed, Null, Numeric, ObjectId, Struct, Text, Uuid};
        let list = |kind| List(Box::new(kind));
        let rows = [
            (Null, Int, Int),
            (Int, Int, Int),
            (Int, Double, Double),
            (Int, Decimal { scale: 2 }, Decimal { scale: 2 }),
            (Decimal { scale: 2 }, Decimal { scale: 5 }, Decimal { scale: 5 }),
            (Double, Decimal { scale: 2 }, Numeric),
            (Numeric, Int, Numeric),
            (Int, Text, Mixed),
            (Mixed, Null, Mixed),
            (ObjectId, Text, Mixed),
            (Uuid, Binary, Mixed),
            (Date, Date, Date),
            (Bool, Int, Mixed),
            (list(Null), list(Int), list(Int)),
            (list(Int), list(Text), list(Mixed)),
            (list(Int), Int, Mixed),
            (Struct(vec![]), Text, Mixed),
            (
                Struct(vec![field("a", Int), field("b", Text)]),
                Struct(vec![field("c", Bool), field("a", Double)]),
                Struct(vec![field("a", Double), field("b", Text), field("c", Bool)]),
            ),
        ];
        for (left, right, expected) in rows {
            assert_eq!(left.clone().merge(right.clone()), expected, "{left:?} {right:?}");
            if !matches!(expected, Struct(_)) {
                assert_eq!(right.merge(left), expected);
            }
        }
    }

    #[test]
    fn a_document_used_as_a_map_becomes_text() {
        let left = (0..200).map(|number| field(&format!("k{number}"), DocumentType::Int)).collect();
        let right = (200..300).map(|number| field(&format!("k{number}"), DocumentType::Int)).collect();
        assert_eq!(DocumentType::Struct(left).merge(DocumentType::Struct(right)), DocumentType::Mixed);
    }

    #[test]
    fn arrow_forms_carry_their_postgres_types_all_the_way_down() {
        let kind = DocumentType::Struct(vec![
            field("id", DocumentType::ObjectId),
            field("tags", DocumentType::List(Box::new(DocumentType::Text))),
            field("grid", DocumentType::List(Box::new(DocumentType::List(Box::new(DocumentType::Int))))),
        ]);
        let top = kind.field("x");
        assert_eq!(top.pg_type(), PgType::JSON);
        let DataType::Struct(inner) = top.data_type() else { panic!("not a struct") };
        assert_eq!(inner[0].metadata().get(NATIVE_KEY).map(String::as_str), Some("objectId"));
        assert_eq!(inner[0].pg_type(), PgType::TEXT);
        assert_eq!(inner[1].pg_type(), PgType::TEXT.array().unwrap());
        assert_eq!(inner[2].pg_type(), PgType::JSON);
        assert_eq!(DocumentType::Decimal { scale: 4 }.arrow_type(), DataType::Decimal128(38, 4));
    }
}
