//! What discovery has learnt about documents: their schemas by place, kept between discoveries and over a restart.
//!
//! **Invariant:** a schema is forgotten only when its table or column is gone or no longer declared, so columns only widen.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::super::schema::TableId;
use super::schema::DocumentSchema;
use super::types::DocumentField;

/// Where documents lie: a table with its JSON column, or a collection with an empty column name.
pub type Place = (TableId, String);

/// Document schemas by place.
pub type Known = BTreeMap<Place, DocumentSchema>;

/// One discovery's view: what was known before, and what is known now.
#[derive(Debug, Default)]
pub struct Learning {
    /// What earlier discoveries found.
    pub earlier: Known,
    /// What this one has looked at so far.
    pub now: Known,
}

impl Learning {
    /// Adds a sample to what is known of a place and returns the schema.
    pub fn learn(&mut self, place: Place, declared: &[DocumentField], sampled: Vec<DocumentField>) -> &DocumentSchema {
        let schema = match self.earlier.get(&place) {
            Some(earlier) => earlier.succeed(declared, sampled),
            None => DocumentSchema::new(declared, sampled),
        };
        self.now.entry(place).insert_entry(schema).into_mut()
    }
}

/// The schemas of one store, shared by its discoveries.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Known>);

/// One line of what is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    table: TableId,
    column: String,
    schema: DocumentSchema,
}

impl Memory {
    /// What is known now.
    pub fn known(&self) -> Known {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces it after a discovery.
    pub fn replace(&self, known: Known) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// What is to be kept over a restart; `None` when there are no documents.
    pub fn learned(&self) -> Option<serde_json::Value> {
        let known = self.known();
        let lines: Vec<Kept> = known.into_iter().map(|((table, column), schema)| Kept { table, column, schema }).collect();
        if lines.is_empty() { None } else { serde_json::to_value(lines).ok() }
    }

    /// Takes back what [`Memory::learned`] gave.
    ///
    /// # Errors
    /// What is wrong, when it is something else.
    pub fn recall(&self, learned: &serde_json::Value) -> Result<(), String> {
        let lines = Vec::<Kept>::deserialize(learned).map_err(|error| error.to_string())?;
        self.replace(lines.into_iter().map(|kept| ((kept.table, kept.column), kept.schema)).collect());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::DocumentType;
    use super::*;

    fn place(name: &str) -> Place {
        (TableId { namespace: "n".to_owned(), name: name.to_owned() }, "doc".to_owned())
    }

    fn field(name: &str, kind: DocumentType) -> DocumentField {
        DocumentField { name: name.to_owned(), kind }
    }

    #[test]
    fn what_was_learnt_survives_and_widens() {
        let before = Memory::default();
        assert_eq!(before.learned(), None);
        let mut learning = Learning::default();
        let first = learning.learn(place("t"), &[], vec![field("a", DocumentType::Int), field("b", DocumentType::Text)]);
        assert_eq!(first.version, 1);
        before.replace(learning.now);
        let after = Memory::default();
        after.recall(&before.learned().unwrap()).unwrap();
        assert_eq!(after.known(), before.known());
        let mut learning = Learning { earlier: after.known(), now: Known::new() };
        let wider = learning.learn(place("t"), &[], vec![field("a", DocumentType::Double)]);
        assert_eq!(
            (wider.version, wider.fields.as_slice()),
            (2, &[field("a", DocumentType::Double), field("b", DocumentType::Text)][..])
        );
        assert_eq!(learning.learn(place("other"), &[], vec![]).version, 1);
    }

    #[test]
    fn something_else_is_refused() {
        for wrong in [serde_json::json!({}), serde_json::json!([1]), serde_json::json!([{"namespace": "n", "name": "t"}])] {
            assert!(Memory::default().recall(&wrong).is_err(), "{wrong}");
        }
    }
}
