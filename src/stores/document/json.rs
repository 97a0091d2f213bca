//! JSON of our own making, such as declared schemas, as document values. The text of stores is read in `json_text.rs`, which
//! changes no number.

use serde_json::{Map, Value};

use super::value::{Decimal, DocumentValue, Elements, Fields, Mismatch, VisitElement, VisitField};

impl Fields for Map<String, Value> {
    fn visit(&self, visit: &mut VisitField<'_>) -> Result<(), Box<Mismatch>> {
        self.iter().try_for_each(|(name, value)| visit(name, document_value(value)))
    }
}

impl Elements for Vec<Value> {
    fn visit(&self, visit: &mut VisitElement<'_>) -> Result<(), Box<Mismatch>> {
        self.iter().try_for_each(|value| visit(document_value(value)))
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
