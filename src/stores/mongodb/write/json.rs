//! JSON on its way into documents: each field in the BSON type that the reader of its declared type takes, and what has no declared type as
//! extended JSON (the form in which it is read).

use std::borrow::Cow;

use base64::Engine;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document};

use super::super::pushdown::addressable;
use super::document::{Fault, date, fault, number, object_id, text_of, uuid};
use crate::error::sqlstate;
use crate::format::{bytea, numeric};
use crate::stores::document::json_text::{self, Json, Repeated};
use crate::stores::document::scalar::{as_double, as_micros};
use crate::stores::document::{DocumentField, DocumentType, DocumentValue};

const MISFIT: Fault = fault(sqlstate::INVALID_TEXT_REPRESENTATION, "does not fit the type of its field");
const NO_NUMBER: Fault = fault(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "is a number that its type does not hold");
const NO_NAME: Fault =
    fault(sqlstate::FEATURE_NOT_SUPPORTED, "has a field whose name is empty, has a dot or begins with a dollar sign");

/// A JSON text as a value of the type.
///
/// # Errors
/// What is no JSON, or has no form in BSON that is read back as itself. `null` is read back as NULL, which it is not.
pub(super) fn read(text: &str, kind: &DocumentType) -> Result<Bson, Fault> {
    let json = json_text::parse_written(text.as_bytes(), Repeated::Last);
    let json = json.map_err(|_not_json| fault(sqlstate::INVALID_TEXT_REPRESENTATION, "is not JSON"))?;
    if json == Json::Null {
        return Err(fault(sqlstate::FEATURE_NOT_SUPPORTED, "is the null of JSON, which is read back as NULL"));
    }
    value(&json, kind)
}

fn value(json: &Json, kind: &DocumentType) -> Result<Bson, Fault> {
    Ok(match (kind, json) {
        (_, Json::Null) => Bson::Null,
        (DocumentType::Mixed | DocumentType::Null, _) => extended(json)?,
        (DocumentType::Struct(fields), Json::Object(_)) if fields.is_empty() => extended(json)?,
        (DocumentType::Struct(fields), Json::Object(members)) => Bson::Document(document(members, fields)?),
        (DocumentType::List(inner), Json::List(items)) => {
            Bson::Array(items.iter().map(|item| value(item, inner)).collect::<Result<_, _>>()?)
        }
        (DocumentType::Bool, Json::Bool(truth)) => Bson::Boolean(*truth),
        (DocumentType::Int, Json::Beyond(text)) => Bson::Int64(text.parse().ok().ok_or(NO_NUMBER)?),
        (DocumentType::Double, Json::Beyond(text)) => Bson::Double(double(text)?),
        (DocumentType::Decimal { scale }, Json::Beyond(text)) => Bson::Decimal128(number(&digits(text, Some(*scale))?)?),
        (DocumentType::Numeric, Json::Beyond(text)) => Bson::Decimal128(number(&digits(text, None)?)?),
        (DocumentType::Date, Json::Text(text)) => Bson::DateTime(moment(text)?),
        (DocumentType::ObjectId, Json::Text(text)) => Bson::ObjectId(object_id(text)?),
        (DocumentType::Uuid, Json::Text(text)) => uuid(text)?,
        (DocumentType::Binary, Json::Text(text)) if text.starts_with("\\x") => {
            let bytes = bytea::read(text).map_err(|_malformed| MISFIT)?;
            Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes })
        }
        (DocumentType::Text, Json::Text(text)) => Bson::String(text_of(text)?),
        _ => return Err(MISFIT),
    })
}

/// The fields of a document. One that the schema does not have would not be read back.
fn document(members: &[(String, Json)], fields: &[DocumentField]) -> Result<Document, Fault> {
    let mut document = Document::new();
    for (name, member) in members {
        let Some(field) = fields.iter().find(|field| field.name == *name) else {
            let rule = Cow::Owned(format!("has a field \"{name}\" that its schema does not have"));
            return Err(Fault { sqlstate: sqlstate::UNDEFINED_COLUMN, rule });
        };
        addressable(name).map_err(|_rule| NO_NAME)?;
        document.insert(name.clone(), value(member, &field.kind).map_err(|fault| inside(name, fault))?);
    }
    Ok(document)
}

fn inside(name: &str, fault: Fault) -> Fault {
    Fault { rule: Cow::Owned(format!("has a field \"{name}\" that {}", fault.rule)), ..fault }
}

/// The nearest double, as `float8in` would read the text.
fn double(text: &str) -> Result<f64, Fault> {
    let json = json_text::parse(text.as_bytes(), Repeated::Last).map_err(|_not_json| MISFIT)?;
    as_double(&json.document_value(), true).ok_or(NO_NUMBER)
}

/// A number without an exponent, and with so many digits after the point at most.
fn digits(text: &str, scale: Option<u8>) -> Result<String, Fault> {
    let plain = numeric::read(text).map_err(|_beyond| NO_NUMBER)?.to_string();
    let fraction = plain.split_once('.').map_or(0, |(_, fraction)| fraction.trim_end_matches('0').len());
    if scale.is_some_and(|scale| fraction > usize::from(scale)) {
        return Err(fault(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "has more digits after the point than its field"));
    }
    Ok(plain)
}

fn moment(text: &str) -> Result<DateTime, Fault> {
    date(as_micros(&DocumentValue::Text(text), true).ok_or(MISFIT)?)
}

/// What has no declared type.
fn extended(json: &Json) -> Result<Bson, Fault> {
    Ok(match json {
        Json::Null => Bson::Null,
        Json::Bool(truth) => Bson::Boolean(*truth),
        Json::Beyond(text) => match json_text::parse(text.as_bytes(), Repeated::Last) {
            Ok(Json::Int(number)) => Bson::Int64(number),
            Ok(Json::Double(number)) => Bson::Double(number),
            _ => return Err(NO_NUMBER),
        },
        Json::Text(text) => Bson::String(text_of(text)?),
        Json::List(items) => Bson::Array(items.iter().map(extended).collect::<Result<_, _>>()?),
        Json::Object(members) => match members.as_slice() {
            [(word, inner)] if word.starts_with('$') => typed(word, inner)?,
            members => {
                let mut document = Document::new();
                for (name, member) in members {
                    addressable(name).map_err(|_rule| NO_NAME)?;
                    document.insert(name.clone(), extended(member)?);
                }
                Bson::Document(document)
            }
        },
        // Numbers stay as they are written.
        Json::Int(_) | Json::Double(_) | Json::Decimal(_) => return Err(MISFIT),
    })
}

/// A value whose type is written beside it (MongoDB Extended JSON v2).
fn typed(word: &str, inner: &Json) -> Result<Bson, Fault> {
    Ok(match (word, inner) {
        ("$oid", Json::Text(text)) => Bson::ObjectId(object_id(text)?),
        ("$numberInt", Json::Text(text)) => Bson::Int32(text.parse().ok().ok_or(NO_NUMBER)?),
        ("$numberLong", Json::Text(text)) => Bson::Int64(text.parse().ok().ok_or(NO_NUMBER)?),
        ("$numberDouble", Json::Text(text)) => Bson::Double(match text.as_str() {
            "NaN" => f64::NAN,
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            text => double(text)?,
        }),
        ("$numberDecimal", Json::Text(text)) => {
            let plain = numeric::read(text).map_err(|_malformed| MISFIT)?.to_string();
            Bson::Decimal128(number(&plain)?)
        }
        ("$date", Json::Text(text)) => Bson::DateTime(moment(text)?),
        ("$date", Json::Object(members)) => match members.as_slice() {
            [(word, Json::Text(millis))] if word == "$numberLong" => {
                Bson::DateTime(DateTime::from_millis(millis.parse().ok().ok_or(MISFIT)?))
            }
            _ => return Err(MISFIT),
        },
        ("$binary", Json::Object(members)) => binary(members)?,
        _ => return Err(NO_NAME),
    })
}

fn binary(members: &[(String, Json)]) -> Result<Bson, Fault> {
    let text = |wanted: &str| {
        members.iter().find_map(|(name, value)| match value {
            Json::Text(text) if name == wanted => Some(text.as_str()),
            _ => None,
        })
    };
    let (Some(base64), Some(subtype), 2) = (text("base64"), text("subType"), members.len()) else { return Err(MISFIT) };
    let bytes = base64::engine::general_purpose::STANDARD.decode(base64).map_err(|_malformed| MISFIT)?;
    let subtype = u8::from_str_radix(subtype, 16).map_err(|_malformed| MISFIT)?;
    Ok(Bson::Binary(Binary { subtype: BinarySubtype::from(subtype), bytes }))
}

#[cfg(test)]
mod tests {
    use mongodb::bson::oid::ObjectId;
    use mongodb::bson::{bson, doc};

    use super::*;

    fn check(text: &str, kind: &DocumentType, expected: Result<Bson, &str>) {
        assert_eq!(read(text, kind).map_err(|fault| fault.sqlstate), expected, "{text} as {kind:?}");
    }

    fn field(name: &str, kind: DocumentType) -> DocumentField {
        DocumentField { name: name.to_owned(), kind }
    }

    #[test]
    fn fields_have_their_declared_types() {
        let decimal = |text: &str| Bson::Decimal128(text.parse().unwrap());
        let kind = DocumentType::Struct(vec![
            field("id", DocumentType::ObjectId),
            field("n", DocumentType::Int),
            field("x", DocumentType::Double),
            field("price", DocumentType::Decimal { scale: 2 }),
            field("any", DocumentType::Numeric),
            field("at", DocumentType::Date),
            field("raw", DocumentType::Binary),
            field("tags", DocumentType::List(Box::new(DocumentType::Text))),
            field("inner", DocumentType::Struct(vec![field("a", DocumentType::Bool)])),
            field("m", DocumentType::Mixed),
        ]);
        let text = r#"{"id": "abababababababababababab", "n": 5, "x": 5, "price": 1.5, "any": 1.50, "at": "1970-01-01T01:00:00+01:00",
            "raw": "\\x00ff", "tags": ["a", null], "inner": {"a": true}, "m": {"k": [1, 2.5, {"$numberInt": "7"}]}}"#;
        let raw = Binary { subtype: BinarySubtype::Generic, bytes: vec![0, 255] };
        let expected = doc! {
            "id": ObjectId::from_bytes([0xab; 12]), "n": 5_i64, "x": 5.0, "price": decimal("1.5"), "any": decimal("1.50"),
            "at": DateTime::from_millis(0), "raw": raw, "tags": ["a", Bson::Null], "inner": { "a": true },
            "m": { "k": [1_i64, 2.5, 7_i32] },
        };
        check(text, &kind, Ok(Bson::Document(expected)));
        check("{}", &kind, Ok(bson!({})));
        check(r#"{"n": null, "n": 1}"#, &kind, Ok(bson!({ "n": 1_i64 })));
        for (text, code) in [
            (r#"{"n": 1.0}"#, "22003"),
            (r#"{"n": "1"}"#, "22P02"),
            (r#"{"price": 1.555}"#, "22003"),
            (r#"{"x": 1e999}"#, "22003"),
            (r#"{"at": "yesterday"}"#, "22P02"),
            (r#"{"inner": []}"#, "22P02"),
            (r#"{"tags": [1]}"#, "22P02"),
            (r#"{"other": 1}"#, "42703"),
            (r#"{"inner": {"b": 1}}"#, "42703"),
            (r#"{"m": {"a.b": 1}}"#, "0A000"),
            (r#"{"m": {"$where": 1}}"#, "0A000"),
            ("null", "0A000"),
            ("{", "22P02"),
        ] {
            check(text, &kind, Err(code));
        }
        let told = read(r#"{"inner": {"a": 1}}"#, &kind).unwrap_err().rule;
        assert_eq!(told, "has a field \"inner\" that has a field \"a\" that does not fit the type of its field");
    }

    #[test]
    fn values_of_any_type_are_extended_json() {
        let mixed = DocumentType::Mixed;
        let rows = [
            ("1", Ok(Bson::Int64(1))),
            ("1.5", Ok(Bson::Double(1.5))),
            ("\"x\"", Ok(Bson::String("x".to_owned()))),
            (r#"{"$numberDecimal": "1.50"}"#, Ok(Bson::Decimal128("1.50".parse().unwrap()))),
            (r#"{"$date": {"$numberLong": "-1"}}"#, Ok(Bson::DateTime(DateTime::from_millis(-1)))),
            (r#"{"$oid": "abababababababababababab"}"#, Ok(Bson::ObjectId(ObjectId::from_bytes([0xab; 12])))),
            (
                r#"{"$binary": {"base64": "aGk=", "subType": "80"}}"#,
                Ok(Bson::Binary(Binary { subtype: BinarySubtype::UserDefined(0x80), bytes: b"hi".to_vec() })),
            ),
            ("[]", Ok(bson!([]))),
            ("9223372036854775808", Err("22003")),
            ("x", Err("22P02")),
            (r#"{"$regularExpression": {"pattern": "a", "options": ""}}"#, Err("0A000")),
        ];
        for (text, expected) in rows {
            check(text, &mixed, expected);
        }
    }
}
