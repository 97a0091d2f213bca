//! BSON types as columns, and the shapes that filters tell apart. The bytes are read in `raw.rs`.
//!
//! | BSON | column |
//! |---|---|
//! | int32, int64 | `bigint`; with doubles among them `double precision`, with decimals `numeric` |
//! | double | `double precision`, NaN, infinities and negative zero included |
//! | decimal128 | `numeric`, NaN and infinities included |
//! | string, symbol | `text` |
//! | bool | `boolean` |
//! | date | `timestamptz` from milliseconds |
//! | objectId | `text` of 24 hexadecimal digits |
//! | binary subtype 4 of 16 bytes | `uuid` |
//! | other binary | `bytea` |
//! | document, array | struct (`json` to clients), list |
//! | null, undefined, missing | NULL |
//! | timestamp, regular expression, code, dbPointer, minKey, maxKey | `text` of extended JSON |
//!
//! A BSON timestamp is a place in the operation log, not a time of day: its second half counts operations within a second,
//! and would be lost in a `timestamptz`.

use arrow::datatypes::{DataType, Field};
use mongodb::bson::raw::RawDocument;
use mongodb::bson::{Bson, Document};

use super::raw::BsonFields;
use crate::pgtype::{PgField, PgType};
use crate::stores::document::extended;
use crate::stores::document::types::NATIVE_KEY;

/// How a filter treats a column: what its values are in BSON and how they compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Strings.
    Text,
    /// ObjectIds, as hexadecimal text.
    ObjectId,
    /// Binary subtype 4.
    Uuid,
    /// Other binary.
    Bytes,
    /// Integers.
    Int,
    /// Doubles, and integers that doubles hold.
    Float,
    /// Numbers of any size.
    Numeric,
    /// Decimals with a fixed number of digits after the point, and integers.
    Decimal,
    /// Truth values.
    Bool,
    /// Dates.
    Date,
    /// Arrays.
    List,
    /// Nested documents.
    Struct,
    /// Values of any type, as extended JSON.
    Mixed,
    /// The document as a whole, or a document without known fields, as JSON.
    Document,
}

impl Shape {
    /// The shape of a column or nested field, from its Postgres type and native word.
    pub(super) fn of(field: &Field) -> Self {
        match field.metadata().get(NATIVE_KEY).map(String::as_str) {
            Some("objectId") => return Self::ObjectId,
            Some(_) => return Self::Mixed,
            None => {}
        }
        match field.data_type() {
            DataType::List(_) => return Self::List,
            DataType::Struct(_) => return Self::Struct,
            _ => {}
        }
        match field.pg_type() {
            PgType::TEXT => Self::Text,
            PgType::UUID => Self::Uuid,
            PgType::BYTEA => Self::Bytes,
            PgType::INT8 => Self::Int,
            PgType::FLOAT8 => Self::Float,
            PgType::NUMERIC => Self::Numeric,
            PgType { oid: 1700, .. } => Self::Decimal,
            PgType::BOOL => Self::Bool,
            PgType::TIMESTAMPTZ => Self::Date,
            _ => Self::Document,
        }
    }

    /// The type names (`$type`) of values that a column of this shape can hold, though perhaps not all of them.
    pub(super) fn accepted(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["string", "symbol"],
            Self::ObjectId => &["objectId"],
            Self::Uuid | Self::Bytes => &["binData"],
            Self::Int | Self::Numeric => &["int", "long", "double", "decimal"],
            Self::Float => &["int", "long", "double"],
            Self::Decimal => &["int", "long", "decimal"],
            Self::Bool => &["bool"],
            Self::Date => &["date"],
            Self::List => &["array"],
            Self::Struct | Self::Document => &["object"],
            Self::Mixed => OTHER_THAN_ARRAY,
        }
    }

    /// The types of which a value may not fit: all others, and those with values that would be rounded or cut. Null and
    /// array are left out, because conditions on them need forms of their own.
    pub(super) fn unsure(self) -> Bson {
        others(match self {
            Self::Uuid => &[],
            Self::Int | Self::Decimal => &["int", "long"],
            Self::Float => &["int", "double"],
            other => other.accepted(),
        })
    }

    /// The types whose values stand apart from all that a column of this shape can hold in the order of an index: looking for them there
    /// costs nothing when there are none. Numbers of all types stand together, and so do binary values of all lengths and subtypes.
    pub(super) fn apart(self) -> Bson {
        others(match self {
            Self::Float | Self::Decimal => Self::Numeric.accepted(),
            other => other.accepted(),
        })
    }
}

/// All types but these, null and array.
fn others(these: &[&str]) -> Bson {
    names(&OTHER_THAN_ARRAY.iter().copied().filter(|name| !these.contains(name)).collect::<Vec<_>>())
}

/// Every type name of the server but `null` and `array`.
const OTHER_THAN_ARRAY: &[&str] = &[
    "double",
    "string",
    "object",
    "binData",
    "undefined",
    "objectId",
    "bool",
    "date",
    "regex",
    "dbPointer",
    "javascript",
    "symbol",
    "javascriptWithScope",
    "int",
    "timestamp",
    "long",
    "decimal",
    "minKey",
    "maxKey",
];

/// Every type name of the server.
pub(super) fn words() -> Vec<&'static str> {
    OTHER_THAN_ARRAY.iter().copied().chain(["null", "array"]).collect()
}

/// Type names as the argument of `$type`.
pub(super) fn names(list: &[&str]) -> Bson {
    Bson::Array(list.iter().map(|name| Bson::String((*name).to_owned())).collect())
}

/// A document of our own making as relaxed extended JSON.
pub(super) fn relaxed_json(document: &Document) -> String {
    let mut text = String::new();
    let written = document.to_vec().is_ok_and(|bytes| {
        RawDocument::from_bytes(&bytes).is_ok_and(|raw| extended::write_document(&BsonFields(raw), &mut text).is_ok())
    });
    if written { text } else { String::from("{}") }
}
