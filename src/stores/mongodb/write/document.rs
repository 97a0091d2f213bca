//! Values on their way into documents, in the BSON types that the reader of their column takes. Documents themselves come as JSON, which is
//! read in `json.rs`.

use std::borrow::Cow;
use std::str::FromStr;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Decimal128, Uuid};

use super::super::literal::DATE_RANGE;
use super::json;
use crate::error::sqlstate;
use crate::pgtype::PgType;
use crate::stores::cell::{Cell, Cells, write_text};
use crate::stores::document::DocumentType;

/// The most digits of a `decimal128`.
const DIGITS_MAX: usize = 34;

/// A value that has no form in BSON, or none that is read back as itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) sqlstate: &'static str,
    /// The broken rule as a clause.
    pub(super) rule: Cow<'static, str>,
}

const NO_FORM: Fault = fault(sqlstate::FEATURE_NOT_SUPPORTED, "is of a type that is not written to documents");
const NO_NUMBER: Fault = fault(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "has more digits than a number of MongoDB");

pub(super) const fn fault(sqlstate: &'static str, rule: &'static str) -> Fault {
    Fault { sqlstate, rule: Cow::Borrowed(rule) }
}

/// Whether a value is read back as the one that was given: those of other types may hold documents, which have more than one form.
pub(super) fn is_plain(kind: &DocumentType) -> bool {
    match kind {
        DocumentType::List(inner) => !matches!(**inner, DocumentType::List(_)) && is_plain(inner),
        DocumentType::Null | DocumentType::Struct(_) | DocumentType::Mixed => false,
        DocumentType::Bool
        | DocumentType::Int
        | DocumentType::Double
        | DocumentType::Decimal { .. }
        | DocumentType::Numeric
        | DocumentType::Date
        | DocumentType::ObjectId
        | DocumentType::Uuid
        | DocumentType::Binary
        | DocumentType::Text => true,
    }
}

/// A value of a column of this type as BSON.
///
/// # Errors
/// A value that MongoDB has no form for.
pub(super) fn bson(cell: &Cell<'_>, pg_type: PgType, kind: &DocumentType) -> Result<Bson, Fault> {
    Ok(match (cell, kind) {
        (Cell::Null, _) => Bson::Null,
        (Cell::Bool(truth), DocumentType::Bool) => Bson::Boolean(*truth),
        (Cell::Int(number), DocumentType::Int) => Bson::Int64(*number),
        (Cell::Float8(number), DocumentType::Double) => Bson::Double(*number),
        (Cell::Decimal { .. } | Cell::Text(_), DocumentType::Decimal { .. } | DocumentType::Numeric) => {
            let mut text = String::new();
            write_text(cell, pg_type, &mut text).map_err(|_unwritable| NO_FORM)?;
            Bson::Decimal128(number(&text)?)
        }
        (Cell::TimestampTz(micros), DocumentType::Date) => Bson::DateTime(date(*micros)?),
        (Cell::Text(text), DocumentType::ObjectId) => Bson::ObjectId(object_id(text)?),
        (Cell::Text(text), DocumentType::Uuid) => uuid(text)?,
        (Cell::Text(text), DocumentType::Text) => Bson::String(text_of(text)?),
        (Cell::Text(text), DocumentType::Struct(_) | DocumentType::Mixed) => json::read(text, kind)?,
        (Cell::Text(text), DocumentType::List(_)) if pg_type == PgType::JSON => json::read(text, kind)?,
        (Cell::Bytes(bytes), DocumentType::Binary) => {
            Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() })
        }
        (Cell::List(elements), DocumentType::List(inner)) => {
            let of_element = pg_type.element().ok_or(NO_FORM)?;
            let cells = Cells::of(elements.as_ref(), of_element).ok_or(NO_FORM)?;
            let items = (0..elements.len()).map(|place| bson(&cells.get(place), of_element, inner));
            Bson::Array(items.collect::<Result<Vec<_>, _>>()?)
        }
        _ => return Err(NO_FORM),
    })
}

/// A number in the form of `numeric`: without an exponent.
pub(super) fn number(text: &str) -> Result<Decimal128, Fault> {
    let digits = text.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0').count();
    if digits > DIGITS_MAX {
        return Err(NO_NUMBER);
    }
    Decimal128::from_str(text).map_err(|_not_held| NO_NUMBER)
}

/// Text that PostgreSQL has too.
pub(super) fn text_of(text: &str) -> Result<String, Fault> {
    if text.contains('\0') {
        return Err(fault(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, "holds a NUL byte, which text cannot"));
    }
    Ok(text.to_owned())
}

pub(super) fn uuid(text: &str) -> Result<Bson, Fault> {
    let uuid = Uuid::parse_str(text).ok().ok_or(fault(sqlstate::INVALID_TEXT_REPRESENTATION, "is not a uuid"))?;
    Ok(Bson::Binary(Binary::from_uuid(uuid)))
}

pub(super) fn date(micros: i64) -> Result<DateTime, Fault> {
    let millis = micros.div_euclid(1_000);
    if micros.rem_euclid(1_000) != 0 && micros != i64::MAX && micros != i64::MIN {
        return Err(fault(sqlstate::DATETIME_FIELD_OVERFLOW, "has microseconds, where MongoDB keeps milliseconds"));
    }
    if micros == i64::MAX || micros == i64::MIN || !(DATE_RANGE.0..=DATE_RANGE.1).contains(&millis) {
        return Err(fault(sqlstate::DATETIME_FIELD_OVERFLOW, "is no moment that MongoDB has a date for"));
    }
    Ok(DateTime::from_millis(millis))
}

/// Only what is read back as the same text.
pub(super) fn object_id(text: &str) -> Result<ObjectId, Fault> {
    let is_canonical = text.len() == 24 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let parsed = if is_canonical { ObjectId::parse_str(text).ok() } else { None };
    parsed.ok_or(fault(sqlstate::INVALID_TEXT_REPRESENTATION, "is not an ObjectId of 24 lower-case hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringArray};
    use arrow::datatypes::i256;
    use mongodb::bson::bson;

    use crate::stores::document::DocumentField;

    use super::bson as written;
    use super::*;

    #[test]
    fn values_take_the_types_that_are_read_back() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
        let list = DocumentType::List(Box::new(DocumentType::Text));
        let decimal = |unscaled| Cell::Decimal { unscaled: i256::from_i128(unscaled), scale: 2 };
        let money = DocumentType::Decimal { scale: 2 };
        let nested = DocumentType::List(Box::new(DocumentType::List(Box::new(DocumentType::Int))));
        let document = DocumentType::Struct(vec![DocumentField { name: "a".to_owned(), kind: DocumentType::Int }]);
        let of_documents = DocumentType::List(Box::new(document));
        let documents: ArrayRef = Arc::new(StringArray::from(vec![Some("{\"a\":1}"), None]));
        let rows = [
            (Cell::Null, PgType::TEXT, DocumentType::Text, Ok(Bson::Null)),
            (Cell::Int(5), PgType::INT8, DocumentType::Int, Ok(Bson::Int64(5))),
            (Cell::Float8(0.5), PgType::FLOAT8, DocumentType::Double, Ok(Bson::Double(0.5))),
            (Cell::Text("7"), PgType::TEXT, DocumentType::Text, Ok(Bson::String("7".to_owned()))),
            (Cell::Text("x\0"), PgType::TEXT, DocumentType::Text, Err("22021")),
            (decimal(150), PgType::numeric(38, 2), money.clone(), Ok(Bson::Decimal128("1.50".parse().unwrap()))),
            (decimal(10_i128.pow(36)), PgType::numeric(38, 2), money, Err("22003")),
            (Cell::Text("NaN"), PgType::NUMERIC, DocumentType::Numeric, Ok(Bson::Decimal128("NaN".parse().unwrap()))),
            (Cell::TimestampTz(-1_000), PgType::TIMESTAMPTZ, DocumentType::Date, Ok(Bson::DateTime(DateTime::from_millis(-1)))),
            (Cell::TimestampTz(1), PgType::TIMESTAMPTZ, DocumentType::Date, Err("22008")),
            (Cell::TimestampTz(i64::MAX), PgType::TIMESTAMPTZ, DocumentType::Date, Err("22008")),
            (Cell::Text("ABABABABABABABABABABABAB"), PgType::TEXT, DocumentType::ObjectId, Err("22P02")),
            (
                Cell::Text("abababababababababababab"),
                PgType::TEXT,
                DocumentType::ObjectId,
                Ok(Bson::ObjectId(ObjectId::from_bytes([0xab; 12]))),
            ),
            (Cell::List(texts), PgType::TEXT.array().unwrap(), list, Ok(bson!(["a", null]))),
            (Cell::Text("{}"), PgType::JSON, DocumentType::Struct(Vec::new()), Ok(bson!({}))),
            (Cell::Text("[[1],[]]"), PgType::JSON, nested, Ok(bson!([[1_i64], []]))),
            (Cell::List(documents), PgType::JSON.array().unwrap(), of_documents, Ok(bson!([{ "a": 1_i64 }, null]))),
            (Cell::Date(1), PgType::DATE, DocumentType::Date, Err("0A000")),
        ];
        for (cell, pg_type, kind, expected) in rows {
            let found = written(&cell, pg_type, &kind).map_err(|fault| fault.sqlstate);
            assert_eq!(found, expected, "{cell:?} as {kind:?}");
        }
    }

    #[test]
    fn documents_are_read_again() {
        let list = |inner| DocumentType::List(Box::new(inner));
        assert!(is_plain(&list(DocumentType::Int)) && is_plain(&DocumentType::Uuid));
        for kind in
            [DocumentType::Mixed, DocumentType::Struct(Vec::new()), list(DocumentType::Mixed), list(list(DocumentType::Int))]
        {
            assert!(!is_plain(&kind), "{kind:?}");
        }
    }
}
