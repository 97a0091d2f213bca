//! Types of sampled documents.

use super::types::{DEPTH_MAX, DocumentField, DocumentType, SCALE_MAX, merge_fields};
use super::value::{Decimal, DocumentValue, Fields, Mismatch};

/// Top-level fields beyond this many are not made columns.
pub const COLUMNS_MAX: usize = 1000;

/// What a sample of documents looks like.
#[derive(Debug, Default)]
pub struct Sample {
    fields: Vec<DocumentField>,
    documents: u64,
    left_out: usize,
}

impl Sample {
    /// An empty sample.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one document into account.
    ///
    /// # Errors
    /// Bytes that cannot be read.
    pub fn observe(&mut self, document: &dyn Fields) -> Result<(), Box<Mismatch>> {
        let seen = fields_of(document, 0)?;
        self.documents += 1;
        self.fields = merge_fields(std::mem::take(&mut self.fields), seen);
        if self.fields.len() > COLUMNS_MAX {
            self.left_out = self.left_out.max(self.fields.len() - COLUMNS_MAX);
            self.fields.truncate(COLUMNS_MAX);
        }
        Ok(())
    }

    /// How many documents were seen.
    pub fn documents(&self) -> u64 {
        self.documents
    }

    /// How many fields at least had no room among [`COLUMNS_MAX`] columns.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The fields with the least type that holds what was seen.
    pub fn into_fields(self) -> Vec<DocumentField> {
        self.fields
    }
}

fn fields_of(document: &dyn Fields, depth: usize) -> Result<Vec<DocumentField>, Box<Mismatch>> {
    let mut fields: Vec<DocumentField> = Vec::new();
    document.visit(&mut |name, value| {
        // A repeated name is read by its first appearance, here as in the builder.
        if !fields.iter().any(|field| field.name == name) {
            fields.push(DocumentField { name: name.to_owned(), kind: type_of(&value, depth + 1)? });
        }
        Ok(())
    })?;
    Ok(fields)
}

/// The type of one value.
///
/// # Errors
/// Bytes that cannot be read.
pub fn type_of(value: &DocumentValue<'_>, depth: usize) -> Result<DocumentType, Box<Mismatch>> {
    Ok(match value {
        DocumentValue::Null => DocumentType::Null,
        DocumentValue::Bool(_) => DocumentType::Bool,
        DocumentValue::Int(_) => DocumentType::Int,
        DocumentValue::Double(_) => DocumentType::Double,
        DocumentValue::Decimal(decimal) => decimal_type(*decimal),
        DocumentValue::Date(_) => DocumentType::Date,
        DocumentValue::ObjectId(_) => DocumentType::ObjectId,
        DocumentValue::Uuid(_) => DocumentType::Uuid,
        DocumentValue::Binary(..) => DocumentType::Binary,
        DocumentValue::Text(_) => DocumentType::Text,
        DocumentValue::Document(_) | DocumentValue::List(_) if depth >= DEPTH_MAX => DocumentType::Mixed,
        DocumentValue::Document(document) => DocumentType::Struct(fields_of(*document, depth)?),
        DocumentValue::List(elements) => {
            let mut inner = DocumentType::Null;
            elements.visit(&mut |element| {
                let kind = std::mem::replace(&mut inner, DocumentType::Null);
                inner = kind.merge(type_of(&element, depth + 1)?);
                Ok(())
            })?;
            DocumentType::List(Box::new(inner))
        }
        DocumentValue::Other(..) => DocumentType::Mixed,
    })
}

fn decimal_type(decimal: Decimal) -> DocumentType {
    let Decimal::Finite { exponent, .. } = decimal else { return DocumentType::Numeric };
    match u8::try_from(-exponent.min(0)) {
        // A positive exponent may mean more whole digits than a fixed shape has room for.
        Ok(scale) if scale <= SCALE_MAX && exponent <= 0 => DocumentType::Decimal { scale },
        _ => DocumentType::Numeric,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::stores::document::json::object;

    #[test]
    fn a_sample_merges_what_its_documents_show() {
        let documents = [
            json!({"id": 1, "name": "a", "tags": [], "at": {"x": 1}, "odd": 1, "big": 18446744073709551615_u64}),
            json!({"id": 2.5, "tags": ["t"], "at": {"y": "s"}, "odd": "one", "big": null}),
            json!({"later": true}),
        ];
        let mut sample = Sample::new();
        for document in &documents {
            sample.observe(object(document).unwrap()).unwrap();
        }
        assert_eq!(sample.documents(), 3);
        let fields = sample.into_fields();
        let shown: Vec<(&str, String)> = fields.iter().map(|field| (field.name.as_str(), field.kind.describe())).collect();
        let expected = [
            ("id", "double precision"),
            ("name", "text"),
            ("tags", "text[]"),
            ("at", "document"),
            ("odd", "mixed"),
            ("big", "numeric(38,0)"),
            ("later", "boolean"),
        ];
        let expected: Vec<(&str, String)> = expected.iter().map(|(name, kind)| (*name, (*kind).to_owned())).collect();
        // serde_json keeps the order of fields.
        assert_eq!(shown, expected);
    }

    #[test]
    fn decimals_keep_the_most_digits_seen() {
        let rows = [
            (Decimal::Finite { unscaled: 5, exponent: -2 }, DocumentType::Decimal { scale: 2 }),
            (Decimal::Finite { unscaled: 5, exponent: 0 }, DocumentType::Decimal { scale: 0 }),
            (Decimal::Finite { unscaled: 5, exponent: 3 }, DocumentType::Numeric),
            (Decimal::Finite { unscaled: 5, exponent: -19 }, DocumentType::Numeric),
            (Decimal::NaN, DocumentType::Numeric),
        ];
        for (decimal, expected) in rows {
            assert_eq!(decimal_type(decimal), expected);
        }
    }

    #[test]
    fn deep_nesting_ends_as_text() {
        let mut value = json!(1);
        for _ in 0..60 {
            value = json!({ "d": value });
        }
        let mut sample = Sample::new();
        sample.observe(object(&value).unwrap()).unwrap();
        let mut kind = &sample.into_fields()[0].kind.clone();
        let mut depth = 0;
        while let DocumentType::Struct(fields) = kind {
            kind = &fields[0].kind;
            depth += 1;
        }
        assert_eq!(*kind, DocumentType::Mixed);
        assert_eq!(depth, DEPTH_MAX - 1);
    }
}
