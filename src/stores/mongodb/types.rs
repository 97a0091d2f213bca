//! BSON values as document values, and the shapes that filters tell apart.
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

use std::borrow::Cow;
use std::fmt::Write;

use arrow::datatypes::{DataType, Field};
use mongodb::bson::raw::{RawArray, RawBsonRef, RawDocument, RawElement};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Bson, Decimal128, Document};

use crate::error::sqlstate;
use crate::pgtype::{PgField, PgType};
use crate::stores::document::extended;
use crate::stores::document::types::NATIVE_KEY;
use crate::stores::document::value::{Decimal, DocumentValue, Elements, Fields, Mismatch, VisitElement, VisitField};

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
        let sure: &[&str] = match self {
            Self::Uuid => &[],
            Self::Int | Self::Decimal => &["int", "long"],
            Self::Float => &["int", "double"],
            other => other.accepted(),
        };
        names(&OTHER_THAN_ARRAY.iter().copied().filter(|name| !sure.contains(name)).collect::<Vec<_>>())
    }
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

/// A BSON document as the document room reads it.
pub(super) struct BsonFields<'a>(pub(super) &'a RawDocument);

struct BsonElements<'a>(&'a RawArray);

impl Fields for BsonFields<'_> {
    fn visit(&self, visit: &mut VisitField<'_>) -> Result<(), Mismatch> {
        for element in self.0.iter_elements() {
            let element = element.ok().ok_or_else(malformed)?;
            let name = element.key().as_str();
            match element.value().ok().and_then(plain) {
                Some(value) => visit(name, value)?,
                None => give(&element, &mut |value| visit(name, value))?,
            }
        }
        Ok(())
    }
}

impl Elements for BsonElements<'_> {
    fn visit(&self, visit: &mut VisitElement<'_>) -> Result<(), Mismatch> {
        for element in self.0.iter_elements() {
            give(&element.ok().ok_or_else(malformed)?, visit)?;
        }
        Ok(())
    }
}

/// A document of our own making as relaxed extended JSON.
pub(super) fn relaxed_json(document: &Document) -> String {
    let mut text = String::new();
    let written = document.to_vec().is_ok_and(|bytes| {
        RawDocument::from_bytes(&bytes).is_ok_and(|raw| extended::write_document(&BsonFields(raw), &mut text).is_ok())
    });
    if written { text } else { String::from("{}") }
}

fn malformed() -> Mismatch {
    Mismatch::new(sqlstate::DATA_EXCEPTION, "is malformed BSON")
}

fn give(element: &RawElement<'_>, take: &mut VisitElement<'_>) -> Result<(), Mismatch> {
    match element.value() {
        Ok(value) => give_value(value, take),
        Err(_) => give_lossy(element, take),
    }
}

/// Strings that are not UTF-8 fit no column; what can be shown of them is kept for mixed columns.
fn give_lossy(element: &RawElement<'_>, take: &mut VisitElement<'_>) -> Result<(), Mismatch> {
    let lossy = element.value_utf8_lossy().ok().ok_or_else(malformed)?;
    let mut text = String::new();
    give_value(lossy.as_raw_bson_ref(), &mut |value| extended::write(&value, &mut text))?;
    take(DocumentValue::Other("text that is not UTF-8", Cow::Owned(text)))
}

/// A value that lives as long as its document's bytes: all that most documents hold. `None` for values that borrow from what
/// is made for the visit alone.
fn plain(value: RawBsonRef<'_>) -> Option<DocumentValue<'_>> {
    Some(match value {
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) => DocumentValue::Text(text),
        RawBsonRef::Int32(number) => DocumentValue::Int(i64::from(number)),
        RawBsonRef::Int64(number) => DocumentValue::Int(number),
        RawBsonRef::Double(number) => DocumentValue::Double(number),
        RawBsonRef::Boolean(truth) => DocumentValue::Bool(truth),
        RawBsonRef::ObjectId(id) => DocumentValue::ObjectId(id.bytes()),
        RawBsonRef::DateTime(moment) => DocumentValue::Date(moment.timestamp_millis()),
        RawBsonRef::Decimal128(number) => DocumentValue::Decimal(decimal(number)),
        RawBsonRef::Null | RawBsonRef::Undefined => DocumentValue::Null,
        RawBsonRef::Binary(binary) => match (binary.subtype, <[u8; 16]>::try_from(binary.bytes)) {
            (BinarySubtype::Uuid, Ok(bytes)) => DocumentValue::Uuid(bytes),
            (subtype, _) => DocumentValue::Binary(binary.bytes, u8::from(subtype)),
        },
        _ => return None,
    })
}

fn give_value(value: RawBsonRef<'_>, take: &mut VisitElement<'_>) -> Result<(), Mismatch> {
    match (plain(value), value) {
        (Some(value), _) => take(value),
        (None, RawBsonRef::Document(document)) => take(DocumentValue::Document(&BsonFields(document))),
        (None, RawBsonRef::Array(array)) => take(DocumentValue::List(&BsonElements(array))),
        (None, other) => give_other(other, take),
    }
}

fn give_other(value: RawBsonRef<'_>, take: &mut VisitElement<'_>) -> Result<(), Mismatch> {
    let mut text = String::new();
    let kind = match value {
        RawBsonRef::Timestamp(moment) => {
            // Writing into a `String` cannot fail.
            let _ = write!(text, "{{\"$timestamp\":{{\"t\":{},\"i\":{}}}}}", moment.time, moment.increment);
            "timestamp"
        }
        RawBsonRef::RegularExpression(regex) => {
            text.push_str("{\"$regularExpression\":{\"pattern\":");
            extended::write_text(regex.pattern.as_str(), &mut text);
            text.push_str(",\"options\":");
            extended::write_text(regex.options.as_str(), &mut text);
            text.push_str("}}");
            "regular expression"
        }
        RawBsonRef::JavaScriptCode(code) => {
            text.push_str("{\"$code\":");
            extended::write_text(code, &mut text);
            text.push('}');
            "code"
        }
        RawBsonRef::JavaScriptCodeWithScope(code) => {
            text.push_str("{\"$code\":");
            extended::write_text(code.code, &mut text);
            text.push_str(",\"$scope\":");
            extended::write_document(&BsonFields(code.scope), &mut text)?;
            text.push('}');
            "code with scope"
        }
        RawBsonRef::MinKey => {
            text.push_str("{\"$minKey\":1}");
            "minKey"
        }
        RawBsonRef::MaxKey => {
            text.push_str("{\"$maxKey\":1}");
            "maxKey"
        }
        // The driver does not let us look inside a DBPointer; the type is deprecated since 2010.
        _ => {
            text.push_str("{\"$dbPointer\":{}}");
            "dbPointer"
        }
    };
    take(DocumentValue::Other(kind, Cow::Owned(text)))
}

/// The largest coefficient of a decimal128, 34 digits; larger bit patterns mean zero (IEEE 754-2008, 3.5.2).
const COEFFICIENT_MAX: u128 = 10_u128.pow(34) - 1;
const EXPONENT_BIAS: i32 = 6176;

/// Takes a decimal128 apart (IEEE 754-2008 binary integer significand encoding, little-endian in BSON).
fn decimal(number: Decimal128) -> Decimal {
    let bits = u128::from_le_bytes(number.bytes());
    let negative = bits >> 127 == 1;
    let combination = (bits >> 122) & 0x1f;
    if combination == 0x1f {
        return Decimal::NaN;
    }
    if combination == 0x1e {
        return if negative { Decimal::NegativeInfinity } else { Decimal::Infinity };
    }
    // The form with a leading 11 announces a coefficient that is always too large.
    let (exponent, coefficient) =
        if combination >> 3 == 3 { ((bits >> 111) & 0x3fff, 0) } else { ((bits >> 113) & 0x3fff, bits & ((1 << 113) - 1)) };
    let coefficient = if coefficient > COEFFICIENT_MAX { 0 } else { coefficient };
    let unscaled = i128::try_from(coefficient).unwrap_or_default();
    let exponent = i32::try_from(exponent).unwrap_or_default() - EXPONENT_BIAS;
    Decimal::Finite { unscaled: if negative { -unscaled } else { unscaled }, exponent }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::oid::ObjectId;
    use mongodb::bson::{Binary, DateTime, JavaScriptCodeWithScope, Regex, Timestamp, doc};

    use super::*;

    fn shown(value: Bson) -> (String, String) {
        let bytes = doc! { "v": value }.to_vec().unwrap();
        let document = RawDocument::from_bytes(&bytes).unwrap();
        let mut result = None;
        BsonFields(document)
            .visit(&mut |name, value| {
                assert_eq!(name, "v");
                let mut text = String::new();
                extended::write(&value, &mut text)?;
                result = Some((value.kind().to_owned(), text));
                Ok(())
            })
            .unwrap();
        result.unwrap()
    }

    fn check(value: impl Into<Bson>, kind: &str, text: &str) {
        assert_eq!(shown(value.into()), (kind.to_owned(), text.to_owned()));
    }

    #[test]
    fn every_bson_type_is_read() {
        check(5_i32, "integer", "5");
        check(i64::MIN, "integer", "-9223372036854775808");
        check(-0.0, "double", "-0.0");
        check("ü\0", "text", "\"ü\\u0000\"");
        check(Bson::Symbol("s".to_owned()), "text", "\"s\"");
        check(true, "boolean", "true");
        check(Bson::Null, "null", "null");
        check(Bson::Undefined, "null", "null");
        check(ObjectId::from_bytes([1; 12]), "objectId", "{\"$oid\":\"010101010101010101010101\"}");
        check(DateTime::from_millis(1), "date", "{\"$date\":\"1970-01-01T00:00:00.001Z\"}");
        let binary = |subtype, bytes: &[u8]| Binary { subtype, bytes: bytes.to_vec() };
        check(binary(BinarySubtype::Generic, b"hi"), "binary", "{\"$binary\":{\"base64\":\"aGk=\",\"subType\":\"00\"}}");
        check(
            binary(BinarySubtype::Uuid, &[0; 16]).clone(),
            "uuid",
            "{\"$binary\":{\"base64\":\"AAAAAAAAAAAAAAAAAAAAAA==\",\"subType\":\"04\"}}",
        );
        check(binary(BinarySubtype::Uuid, b"hi"), "binary", "{\"$binary\":{\"base64\":\"aGk=\",\"subType\":\"04\"}}");
        check(doc! { "a": [1, { "b": "c" }] }, "document", "{\"a\":[1,{\"b\":\"c\"}]}");
        check(Timestamp { time: 7, increment: 8 }, "timestamp", "{\"$timestamp\":{\"t\":7,\"i\":8}}");
        let regex = Regex { pattern: "a\"b".try_into().unwrap(), options: "i".try_into().unwrap() };
        check(regex, "regular expression", "{\"$regularExpression\":{\"pattern\":\"a\\\"b\",\"options\":\"i\"}}");
        let code = JavaScriptCodeWithScope { code: "f()".to_owned(), scope: doc! { "x": 1 } };
        check(code, "code with scope", "{\"$code\":\"f()\",\"$scope\":{\"x\":1}}");
        check(Bson::JavaScriptCode("f()".to_owned()), "code", "{\"$code\":\"f()\"}");
        check(Bson::MinKey, "minKey", "{\"$minKey\":1}");
        check(Bson::MaxKey, "maxKey", "{\"$maxKey\":1}");
    }

    #[test]
    fn decimals_keep_every_digit() {
        let rows = [
            ("0", Decimal::Finite { unscaled: 0, exponent: 0 }),
            ("-0.00", Decimal::Finite { unscaled: 0, exponent: -2 }),
            ("1.10", Decimal::Finite { unscaled: 110, exponent: -2 }),
            ("-1E+6111", Decimal::Finite { unscaled: -1, exponent: 6111 }),
            ("1E-6176", Decimal::Finite { unscaled: 1, exponent: -6176 }),
            (
                "9999999999999999999999999999999999",
                Decimal::Finite { unscaled: 9_999_999_999_999_999_999_999_999_999_999_999, exponent: 0 },
            ),
            ("NaN", Decimal::NaN),
            ("Infinity", Decimal::Infinity),
            ("-Infinity", Decimal::NegativeInfinity),
        ];
        for (text, expected) in rows {
            assert_eq!(decimal(text.parse().unwrap()), expected, "{text}");
        }
        let too_large = Decimal128::from_bytes([
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x41, 0x30,
        ]);
        assert!(matches!(decimal(too_large), Decimal::Finite { unscaled: 0, .. }));
    }

    #[test]
    fn text_that_is_not_utf8_is_no_text() {
        let mut bytes = doc! { "v": "ab" }.to_vec().unwrap();
        let place = bytes.iter().position(|byte| *byte == b'a').unwrap();
        bytes[place] = 0xff;
        let mut kinds = Vec::new();
        BsonFields(RawDocument::from_bytes(&bytes).unwrap())
            .visit(&mut |_, value| {
                kinds.push(value.kind().to_owned());
                Ok(())
            })
            .unwrap();
        assert_eq!(kinds, ["text that is not UTF-8"]);
    }
}
