//! BSON bytes as document values (bsonspec.org, version 1.1): each document is walked once, in its own order.
//!
//! The driver's own iterator checks every name, and makes a result and a value of its own of every element; that cost more
//! than all else in a scan. Here a value is read straight into what the document room takes, and a name is compared with the
//! one that is expected before it is looked at in any other way.
//!
//! **Invariants:** whatever the bytes say, nothing outside the document is read and nothing panics; of each document that the
//! driver can read, the same fields and values are given. What the types become is in `types.rs`.
#![deny(clippy::indexing_slicing)]

use std::fmt::Write;

use mongodb::bson::raw::{RawArray, RawDocument};
use mongodb::bson::spec::BinarySubtype;

use crate::error::sqlstate;
use crate::stores::document::value::{Decimal, DocumentValue, Elements, Fields, Mismatch, VisitElement, VisitField};
use crate::stores::document::{Filling, extended};

const DOUBLE: u8 = 0x01;
const STRING: u8 = 0x02;
const DOCUMENT: u8 = 0x03;
const ARRAY: u8 = 0x04;
const BINARY: u8 = 0x05;
const UNDEFINED: u8 = 0x06;
const OBJECT_ID: u8 = 0x07;
const BOOL: u8 = 0x08;
const DATE: u8 = 0x09;
const NULL: u8 = 0x0a;
const REGEX: u8 = 0x0b;
const DB_POINTER: u8 = 0x0c;
const CODE: u8 = 0x0d;
const SYMBOL: u8 = 0x0e;
const CODE_WITH_SCOPE: u8 = 0x0f;
const INT32: u8 = 0x10;
const TIMESTAMP: u8 = 0x11;
const INT64: u8 = 0x12;
const DECIMAL128: u8 = 0x13;
const MAX_KEY: u8 = 0x7f;
const MIN_KEY: u8 = 0xff;

/// Documents lie at most so deep inside one another. MongoDB itself stops at 100, and each level is a call here, so that bytes
/// that are no answer of a MongoDB could overflow the stack.
const DEPTH_MAX: usize = 200;

/// How messages name strings that fit no column.
const NOT_UTF8: &str = "text that is not UTF-8";

/// Bytes that are no BSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl From<Malformed> for Box<Mismatch> {
    fn from(_: Malformed) -> Self {
        Mismatch::new(sqlstate::DATA_EXCEPTION, "is malformed BSON")
    }
}

/// The documents of an array that holds nothing else, such as a batch of the server's.
pub(super) fn documents(array: &RawArray) -> impl Iterator<Item = Result<&RawDocument, Malformed>> {
    let mut reader = Reader::new(array.as_bytes());
    std::iter::from_fn(move || {
        let kind = reader.kind()?;
        let place = reader.name_bytes();
        let document = place.and_then(|_place| if kind == DOCUMENT { reader.document() } else { Err(Malformed) });
        if document.is_err() {
            reader.rest = &[];
        }
        Some(document)
    })
}

/// A BSON document as the document room reads it.
pub(super) struct BsonFields<'a>(pub(super) &'a RawDocument);

/// A document inside of others; so many.
struct InnerFields<'a>(&'a RawDocument, usize);

/// The elements of a BSON array, which is a document whose names are numbers, inside so many documents.
struct BsonElements<'a>(&'a RawDocument, usize);

impl Fields for BsonFields<'_> {
    fn visit(&self, visit: &mut VisitField<'_>) -> Result<(), Box<Mismatch>> {
        InnerFields(self.0, 0).visit(visit)
    }

    fn fill(&self, filling: &mut Filling<'_>) -> Result<(), Box<Mismatch>> {
        InnerFields(self.0, 0).fill(filling)
    }
}

impl Fields for InnerFields<'_> {
    fn visit(&self, visit: &mut VisitField<'_>) -> Result<(), Box<Mismatch>> {
        let mut reader = Reader::inside(self.0.as_bytes(), self.1);
        while let Some(kind) = reader.kind() {
            let name = reader.name()?;
            give(&mut reader, kind, |value| visit(name, value))?;
        }
        Ok(())
    }

    fn fill(&self, filling: &mut Filling<'_>) -> Result<(), Box<Mismatch>> {
        let mut reader = Reader::inside(self.0.as_bytes(), self.1);
        while let Some(kind) = reader.kind() {
            let place = match filling.expected() {
                Some((place, name)) if reader.skip_name(name) => Some(place),
                _ => filling.find(reader.name()?),
            };
            match place {
                Some(place) => give(&mut reader, kind, |value| filling.take(place, value))?,
                // Read all the same, so that whether a document is malformed does not depend on the columns that are asked for.
                None => give(&mut reader, kind, |_| Ok(()))?,
            }
        }
        Ok(())
    }
}

impl Elements for BsonElements<'_> {
    fn visit(&self, visit: &mut VisitElement<'_>) -> Result<(), Box<Mismatch>> {
        let mut reader = Reader::inside(self.0.as_bytes(), self.1);
        while let Some(kind) = reader.kind() {
            reader.name_bytes()?;
            give(&mut reader, kind, &mut *visit)?;
        }
        Ok(())
    }
}

/// What is left of a document: its elements, without the zero that ends them. After an error the rest means nothing.
struct Reader<'a> {
    rest: &'a [u8],
    /// How many documents lie around this one.
    depth: usize,
}

impl<'a> Reader<'a> {
    /// The elements between the length and the zero, which `RawDocument` has checked.
    fn new(document: &'a [u8]) -> Self {
        let elements = document.split_at_checked(4).and_then(|(_length, elements)| elements.split_last());
        Self { rest: elements.map_or(&[], |(_zero, elements)| elements), depth: 0 }
    }

    /// The elements of a document inside so many others.
    fn inside(document: &'a [u8], depth: usize) -> Self {
        Self { depth, ..Self::new(document) }
    }

    /// A document or array that is walked by its own call, and how many lie around it.
    #[inline]
    fn nested(&mut self) -> Result<(&'a RawDocument, usize), Box<Mismatch>> {
        if self.depth >= DEPTH_MAX {
            return Err(Mismatch::new(sqlstate::STATEMENT_TOO_COMPLEX, format!("is nested more than {DEPTH_MAX} levels deep")));
        }
        Ok((self.document()?, self.depth + 1))
    }

    /// The type of the next element; `None` at the end.
    #[inline]
    fn kind(&mut self) -> Option<u8> {
        let (kind, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*kind)
    }

    /// Steps over the name if it is `name`.
    #[inline]
    fn skip_name(&mut self, name: &str) -> bool {
        match self.rest.split_at_checked(name.len()) {
            // Names end with a zero, and the expected one has been seen in a document, so that it holds none.
            Some((bytes, [0, rest @ ..])) if bytes == name.as_bytes() => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Bytes up to a zero, and past it.
    #[inline]
    fn name_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.rest.iter().position(|byte| *byte == 0).ok_or(Malformed)?;
        let name = self.bytes(length)?;
        self.bytes(1)?;
        Ok(name)
    }

    fn name(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.name_bytes()?).map_err(|_cause| Malformed)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*array)
    }

    #[inline]
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(i32::from_le_bytes(self.array()?)).map_err(|_cause| Malformed)
    }

    /// The bytes of a string, without the zero that its length counts.
    #[inline]
    fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.length()?;
        match self.bytes(length)?.split_last() {
            Some((0, string)) => Ok(string),
            _ => Err(Malformed),
        }
    }

    /// A document or array, whose length counts itself.
    #[inline]
    fn document(&mut self) -> Result<&'a RawDocument, Malformed> {
        let length = self.rest.first_chunk().ok_or(Malformed)?;
        let length = usize::try_from(i32::from_le_bytes(*length)).map_err(|_cause| Malformed)?;
        RawDocument::from_bytes(self.bytes(length)?).map_err(|_cause| Malformed)
    }

    fn binary(&mut self) -> Result<DocumentValue<'a>, Malformed> {
        let length = self.length()?;
        let [subtype] = self.array()?;
        let bytes = self.bytes(length)?;
        if subtype == u8::from(BinarySubtype::BinaryOld) {
            // The old form says its length twice.
            let mut inner = Reader { rest: bytes, depth: self.depth };
            let length = inner.length()?;
            return if inner.rest.len() == length { Ok(DocumentValue::Binary(inner.rest, subtype)) } else { Err(Malformed) };
        }
        Ok(match bytes.try_into() {
            Ok(uuid) if subtype == u8::from(BinarySubtype::Uuid) => DocumentValue::Uuid(uuid),
            _ => DocumentValue::Binary(bytes, subtype),
        })
    }
}

/// Reads the value of an element and hands it over.
#[inline]
fn give(
    reader: &mut Reader<'_>,
    kind: u8,
    take: impl FnOnce(DocumentValue<'_>) -> Result<(), Box<Mismatch>>,
) -> Result<(), Box<Mismatch>> {
    let value = match kind {
        STRING | SYMBOL => {
            let bytes = reader.string()?;
            match std::str::from_utf8(bytes) {
                Ok(text) => DocumentValue::Text(text),
                Err(_) => return give_lossy(bytes, take),
            }
        }
        INT32 => DocumentValue::Int(i64::from(i32::from_le_bytes(reader.array()?))),
        INT64 => DocumentValue::Int(i64::from_le_bytes(reader.array()?)),
        DOUBLE => DocumentValue::Double(f64::from_le_bytes(reader.array()?)),
        DATE => DocumentValue::Date(i64::from_le_bytes(reader.array()?)),
        BOOL => match reader.array()? {
            [0] => DocumentValue::Bool(false),
            [1] => DocumentValue::Bool(true),
            [_] => return Err(Malformed.into()),
        },
        NULL | UNDEFINED => DocumentValue::Null,
        OBJECT_ID => DocumentValue::ObjectId(reader.array()?),
        DECIMAL128 => DocumentValue::Decimal(decimal(reader.array()?)),
        BINARY => reader.binary()?,
        DOCUMENT => {
            let (document, depth) = reader.nested()?;
            return take(DocumentValue::Document(&InnerFields(document, depth)));
        }
        ARRAY => {
            let (elements, depth) = reader.nested()?;
            return take(DocumentValue::List(&BsonElements(elements, depth)));
        }
        _ => return give_other(reader, kind, take),
    };
    take(value)
}

/// Strings that are not UTF-8 fit no column; what can be shown of them is kept for mixed columns.
#[cold]
fn give_lossy(bytes: &[u8], take: impl FnOnce(DocumentValue<'_>) -> Result<(), Box<Mismatch>>) -> Result<(), Box<Mismatch>> {
    let mut text = String::new();
    write_lossy(bytes, &mut text);
    take(DocumentValue::Other(NOT_UTF8, &text))
}

/// Appends a JSON string of bytes that should be UTF-8, and tells whether they are.
fn write_lossy(bytes: &[u8], text: &mut String) -> bool {
    let read = String::from_utf8_lossy(bytes);
    extended::write_text(&read, text);
    matches!(read, std::borrow::Cow::Borrowed(_))
}

/// Types without a column form, as extended JSON.
#[cold]
fn give_other(
    reader: &mut Reader<'_>,
    kind: u8,
    take: impl FnOnce(DocumentValue<'_>) -> Result<(), Box<Mismatch>>,
) -> Result<(), Box<Mismatch>> {
    let mut text = String::new();
    let (word, is_utf8) = match kind {
        TIMESTAMP => {
            let [increment, time] = [u32::from_le_bytes(reader.array()?), u32::from_le_bytes(reader.array()?)];
            // Writing into a `String` cannot fail.
            let _ = write!(text, "{{\"$timestamp\":{{\"t\":{time},\"i\":{increment}}}}}");
            ("timestamp", true)
        }
        REGEX => ("regular expression", write_regex(reader, &mut text)?),
        CODE => ("code", write_code(reader, &mut text)?),
        CODE_WITH_SCOPE => ("code with scope", write_scoped_code(reader, &mut text)?),
        MIN_KEY => {
            text.push_str("{\"$minKey\":1}");
            ("minKey", true)
        }
        MAX_KEY => {
            text.push_str("{\"$maxKey\":1}");
            ("maxKey", true)
        }
        DB_POINTER => ("dbPointer", write_pointer(reader, &mut text)?),
        _ => return Err(Malformed.into()),
    };
    take(DocumentValue::Other(if is_utf8 { word } else { NOT_UTF8 }, &text))
}

fn write_regex(reader: &mut Reader<'_>, text: &mut String) -> Result<bool, Malformed> {
    text.push_str("{\"$regularExpression\":{\"pattern\":");
    let is_utf8 = write_lossy(reader.name_bytes()?, text);
    text.push_str(",\"options\":");
    let is_utf8 = write_lossy(reader.name_bytes()?, text) && is_utf8;
    text.push_str("}}");
    Ok(is_utf8)
}

fn write_code(reader: &mut Reader<'_>, text: &mut String) -> Result<bool, Malformed> {
    text.push_str("{\"$code\":");
    let is_utf8 = write_lossy(reader.string()?, text);
    text.push('}');
    Ok(is_utf8)
}

fn write_scoped_code(reader: &mut Reader<'_>, text: &mut String) -> Result<bool, Box<Mismatch>> {
    // The length counts its own four bytes.
    let length = reader.length()?.checked_sub(4).ok_or(Malformed)?;
    let mut inner = Reader { rest: reader.bytes(length)?, depth: reader.depth };
    text.push_str("{\"$code\":");
    let is_utf8 = write_lossy(inner.string()?, text);
    text.push_str(",\"$scope\":");
    let (scope, depth) = inner.nested()?;
    extended::write_document(&InnerFields(scope, depth), text)?;
    text.push('}');
    if inner.rest.is_empty() { Ok(is_utf8) } else { Err(Malformed.into()) }
}

/// A type that is deprecated since 2010: a namespace and an ObjectId.
fn write_pointer(reader: &mut Reader<'_>, text: &mut String) -> Result<bool, Malformed> {
    text.push_str("{\"$dbPointer\":{\"$ref\":");
    let is_utf8 = write_lossy(reader.string()?, text);
    text.push_str(",\"$id\":{\"$oid\":\"");
    extended::write_hex(&reader.array::<12>()?, text);
    text.push_str("\"}}}");
    Ok(is_utf8)
}

/// The largest coefficient of a decimal128, 34 digits; larger bit patterns mean zero (IEEE 754-2008, 3.5.2).
const COEFFICIENT_MAX: u128 = 10_u128.pow(34) - 1;
const EXPONENT_BIAS: i32 = 6176;

/// Takes a decimal128 apart (IEEE 754-2008 binary integer significand encoding, little-endian in BSON).
fn decimal(bytes: [u8; 16]) -> Decimal {
    let bits = u128::from_le_bytes(bytes);
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
    use mongodb::bson::{Binary, Bson, DateTime, Decimal128, JavaScriptCodeWithScope, Regex, Timestamp, doc};

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
            assert_eq!(decimal(text.parse::<Decimal128>().unwrap().bytes()), expected, "{text}");
        }
        let too_large = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x41, 0x30];
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
