//! Parsed JSON as document values.
//!
//! Whole numbers that fit 64 bits are integers, up to 2^64 decimals; other numbers are doubles, as JSON readers commonly
//! take them. A number with more digits than a double holds is therefore read as the nearest double.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::value::{Decimal, DocumentValue, Elements, Fields, Mismatch, VisitElement, VisitField};

impl Fields for Map<String, Value> {
    fn visit(&self, visit: &mut VisitField<'_>) -> Result<(), Mismatch> {
        self.iter().try_for_each(|(name, value)| visit(name, document_value(value)))
    }
}

impl Elements for Vec<Value> {
    fn visit(&self, visit: &mut VisitElement<'_>) -> Result<(), Mismatch> {
        self.iter().try_for_each(|value| visit(document_value(value)))
    }
}

/// Which value counts where an object repeats a name. Stores differ, and a condition that the store evaluates must see what
/// the scan reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeated {
    /// The first, as in SQLite and MariaDB.
    First,
    /// The last, as in PostgreSQL.
    Last,
}

/// Reads JSON text.
///
/// # Errors
/// Text that is not JSON, or holds a number beyond the range of doubles.
pub fn parse(text: &[u8], repeated: Repeated) -> Result<Value, serde_json::Error> {
    match repeated {
        Repeated::First => serde_json::from_slice(text).map(|FirstCounts(value)| value),
        Repeated::Last => serde_json::from_slice(text),
    }
}

/// The fields of a JSON object; `None` for any other JSON value.
pub fn object(value: &Value) -> Option<&dyn Fields> {
    value.as_object().map(|map| map as &dyn Fields)
}

/// A JSON value as a document value.
pub fn document_value(value: &Value) -> DocumentValue<'_> {
    match value {
        Value::Null => DocumentValue::Null,
        Value::Bool(truth) => DocumentValue::Bool(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => DocumentValue::Int(number),
            (None, Some(large)) => DocumentValue::Decimal(Decimal::Finite { unscaled: i128::from(large), exponent: 0 }),
            (None, None) => number.as_f64().map_or(DocumentValue::Null, DocumentValue::Double),
        },
        Value::String(text) => DocumentValue::Text(text),
        Value::Array(elements) => DocumentValue::List(elements),
        Value::Object(fields) => DocumentValue::Document(fields),
    }
}

/// A JSON value read by [`Repeated::First`]; `serde_json` itself keeps the last.
struct FirstCounts(Value);

impl<'de> Deserialize<'de> for FirstCounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FirstCountsVisitor).map(Self)
    }
}

struct FirstCountsVisitor;

impl<'de> Visitor<'de> for FirstCountsVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(FirstCounts(element)) = elements.next_element()? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, FirstCounts(value))) = fields.next_entry::<String, FirstCounts>()? {
            object.entry(name).or_insert(value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn repeated_names_count_as_the_store_counts_them() {
        let text = r#"{"a": 1, "b": {"c": [{"x": 1, "x": 2}], "c": 3}, "a": "two", "n": -1.5e2, "t": true, "z": null}"#.as_bytes();
        let first = json!({"a": 1, "b": {"c": [{"x": 1}]}, "n": -150.0, "t": true, "z": null});
        let last = json!({"a": "two", "b": {"c": 3}, "n": -150.0, "t": true, "z": null});
        assert_eq!(parse(text, Repeated::First).unwrap(), first);
        assert_eq!(parse(text, Repeated::Last).unwrap(), last);
        for wrong in ["", "{", "{\"a\": 1,}", "[1 2]", "{\"a\": 1e999}", "{} x"] {
            assert!(parse(wrong.as_bytes(), Repeated::First).is_err(), "{wrong}");
        }
        assert_eq!(parse(b"18446744073709551615", Repeated::First).unwrap(), json!(u64::MAX));
    }
}
