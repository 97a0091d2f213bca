//! Declared document types: a JSON Schema (also MongoDB's validator dialect with `bsonType`), or columns in the store file.
//!
//! Understood of JSON Schema: `type`, `bsonType` (one word or several), `properties`, `items`, `enum`, `anyOf`, `oneOf`.
//! `required` is read over: stores do not check documents written before the schema, so columns stay nullable. Other
//! keywords only narrow values within a type and are ignored.

use serde_json::{Map, Value};

use super::infer::type_of;
use super::json::document_value;
use super::types::{DEPTH_MAX, DocumentField, DocumentType};

/// The fields of a JSON Schema of an object; `{ "$jsonSchema": … }` is looked through.
///
/// # Errors
/// What is wrong with it, as a clause that follows the option's name.
pub fn from_json_schema(schema: &Value) -> Result<Vec<DocumentField>, String> {
    let schema = schema.get("$jsonSchema").unwrap_or(schema);
    match schema_type(schema, 0)? {
        DocumentType::Struct(fields) => Ok(fields),
        _ => Err("does not describe an object with properties".to_owned()),
    }
}

fn schema_type(schema: &Value, depth: usize) -> Result<DocumentType, String> {
    let Some(schema) = schema.as_object() else {
        return if schema.is_boolean() { Ok(DocumentType::Mixed) } else { Err("holds a schema that is not an object".to_owned()) };
    };
    if depth >= DEPTH_MAX {
        return Ok(DocumentType::Mixed);
    }
    if let Some(words) = schema.get("bsonType").or_else(|| schema.get("type")) {
        let words: Vec<&Value> = words.as_array().map_or_else(|| vec![words], |several| several.iter().collect());
        let types = words.iter().map(|word| match word.as_str() {
            Some(word) => word_type(word, schema, depth),
            None => Err("holds a type that is not a text".to_owned()),
        });
        return merge_all(types);
    }
    if let Some(choices) = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
        return merge_all(choices.iter().map(|choice| schema_type(choice, depth + 1)));
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return merge_all(values.iter().map(|value| type_of(&document_value(value), depth).map_err(|mismatch| mismatch.rule)));
    }
    if schema.contains_key("properties") {
        return word_type("object", schema, depth);
    }
    Ok(DocumentType::Mixed)
}

fn merge_all(types: impl Iterator<Item = Result<DocumentType, String>>) -> Result<DocumentType, String> {
    let mut merged = DocumentType::Null;
    for kind in types {
        merged = merged.merge(kind?);
    }
    Ok(merged)
}

fn word_type(word: &str, schema: &Map<String, Value>, depth: usize) -> Result<DocumentType, String> {
    Ok(match word {
        "null" | "undefined" => DocumentType::Null,
        "bool" | "boolean" => DocumentType::Bool,
        "int" | "long" | "integer" => DocumentType::Int,
        "double" => DocumentType::Double,
        // In a validator `bsonType: "number"` admits decimals; in JSON Schema a number is what JSON readers take as a double.
        "number" if schema.contains_key("bsonType") => DocumentType::Numeric,
        "number" => DocumentType::Double,
        "decimal" => DocumentType::Numeric,
        "date" => DocumentType::Date,
        "objectId" => DocumentType::ObjectId,
        "binData" => DocumentType::Binary,
        "string" => string_type(schema),
        "array" => {
            let inner = match schema.get("items") {
                Some(Value::Array(positions)) => merge_all(positions.iter().map(|item| schema_type(item, depth + 1)))?,
                Some(item) => schema_type(item, depth + 1)?,
                None => DocumentType::Mixed,
            };
            DocumentType::List(Box::new(inner))
        }
        "object" => object_type(schema, depth)?,
        "regex" | "javascript" | "javascriptWithScope" | "symbol" | "timestamp" | "minKey" | "maxKey" | "dbPointer" => {
            DocumentType::Mixed
        }
        other => return Err(format!("names the type \"{other}\", which is not known")),
    })
}

fn string_type(schema: &Map<String, Value>) -> DocumentType {
    match schema.get("format").and_then(Value::as_str) {
        Some("date-time") => DocumentType::Date,
        Some("uuid") => DocumentType::Uuid,
        _ => DocumentType::Text,
    }
}

fn object_type(schema: &Map<String, Value>, depth: usize) -> Result<DocumentType, String> {
    let Some(properties) = schema.get("properties") else { return Ok(DocumentType::Mixed) };
    let Some(properties) = properties.as_object() else { return Err("holds properties that are not an object".to_owned()) };
    let fields = properties.iter().map(|(name, schema)| {
        let kind = schema_type(schema, depth + 1)?;
        Ok(DocumentField { name: name.clone(), kind })
    });
    Ok(DocumentType::Struct(fields.collect::<Result<_, String>>()?))
}

/// The fields of a `columns` table in a store file: `rating = "bigint"`, `tags = "text[]"`, `address = { zip = "text" }`.
///
/// # Errors
/// The key and the broken rule of the first wrong entry.
pub fn from_columns(columns: &toml::Table) -> Result<Vec<DocumentField>, (String, String)> {
    let mut fields = Vec::with_capacity(columns.len());
    for (name, value) in columns {
        let kind = match value {
            toml::Value::String(word) => column_type(word)
                .ok_or_else(|| (name.clone(), format!("\"{word}\" is not a type that a document field can be declared with")))?,
            toml::Value::Table(nested) => {
                let below = |(key, rule)| (format!("{name}.{key}"), rule);
                DocumentType::Struct(from_columns(nested).map_err(below)?)
            }
            other => return Err((name.clone(), format!("{other} is not a type name or a table of nested fields"))),
        };
        fields.push(DocumentField { name: name.clone(), kind });
    }
    Ok(fields)
}

fn column_type(word: &str) -> Option<DocumentType> {
    let word = word.trim();
    if let Some(inner) = word.strip_suffix("[]") {
        return Some(DocumentType::List(Box::new(column_type(inner)?)));
    }
    if let Some(shape) = word.strip_prefix("numeric(").and_then(|rest| rest.strip_suffix(')')) {
        let (precision, scale) = shape.split_once(',').unwrap_or((shape, "0"));
        let (precision, scale): (u8, u8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
        // Fixed decimals are carried with 38 digits. A smaller precision would be a promise that nobody keeps.
        return (precision == 38 && scale <= precision).then_some(DocumentType::Decimal { scale });
    }
    Some(match word.to_ascii_lowercase().as_str() {
        "bool" | "boolean" => DocumentType::Bool,
        "smallint" | "int2" | "int" | "integer" | "int4" | "bigint" | "int8" => DocumentType::Int,
        "real" | "float4" | "float8" | "double precision" | "double" => DocumentType::Double,
        "numeric" | "decimal" => DocumentType::Numeric,
        // Documents hold moments and no calendar days: `date` is refused rather than read as something else.
        "timestamptz" | "timestamp with time zone" => DocumentType::Date,
        "objectid" => DocumentType::ObjectId,
        "uuid" => DocumentType::Uuid,
        "bytea" => DocumentType::Binary,
        "text" | "varchar" => DocumentType::Text,
        "json" | "jsonb" | "mixed" => DocumentType::Mixed,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_validator_becomes_fields() {
        let validator = json!({"$jsonSchema": {
        "bsonType": "object", "required": ["_id"],
        "properties": {
            "_id": {"bsonType": "objectId"},
            "n": {"bsonType": ["int", "null"]},
            "x": {"bsonType": ["int", "double"]},
            "any": {"bsonType": "number"},
            "when": {"bsonType": "date"},
            "status": {"enum": ["new", "old", null]},
            "tags": {"bsonType": "array", "items": {"bsonType": "string"}},
            "address": {"bsonType": "object", "properties": {"zip": {"type": "string"}}},
            "free": {},
            "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]}
        }}});
        let fields = from_json_schema(&validator).unwrap();
        let shown: Vec<String> = fields.iter().map(|field| format!("{} {}", field.name, field.kind.describe())).collect();
        let expected = [
            "_id objectId",
            "n bigint",
            "x double precision",
            "any numeric",
            "when timestamp with time zone",
            "status text",
            "tags text[]",
            "address document",
            "free mixed",
            "either mixed",
        ];
        assert_eq!(shown, expected);
        assert!(from_json_schema(&json!({"type": "string"})).is_err());
        assert!(from_json_schema(&json!({"properties": {"a": {"type": "strnig"}}})).unwrap_err().contains("strnig"));
        assert!(from_json_schema(&json!([])).is_err());
    }

    #[test]
    fn columns_are_declared_by_postgres_names() {
        let columns: toml::Table =
            toml::from_str("a = \"bigint\"\nb = \"text[]\"\nc = { d = \"numeric(38,2)\", e = \"objectId\" }\nf = \"boolean[][]\"")
                .unwrap();
        let fields = from_columns(&columns).unwrap();
        assert_eq!(fields[1].kind, DocumentType::List(Box::new(DocumentType::Text)));
        let DocumentType::Struct(nested) = &fields[2].kind else { panic!("not nested") };
        assert_eq!(nested[0].kind, DocumentType::Decimal { scale: 2 });
        assert_eq!(nested[1].kind, DocumentType::ObjectId);
        for (wrong, key) in [
            ("a = \"strnig\"", "a"),
            ("a = { b = 1 }", "a.b"),
            ("a = \"numeric(38,39)\"", "a"),
            ("a = \"numeric(5,2)\"", "a"),
            ("a = \"date\"", "a"),
        ] {
            let columns: toml::Table = toml::from_str(wrong).unwrap();
            assert_eq!(from_columns(&columns).unwrap_err().0, key);
        }
    }
}
