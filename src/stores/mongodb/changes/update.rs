//! What an update says of the columns of its document, where the whole document is not sent: the fields that were set as a whole have
//! their values in it, those that were removed are NULL, and of all others the value is not known here.

use mongodb::bson::RawBsonRef;
use mongodb::bson::raw::RawDocument;

use super::super::columns::ID;
use super::super::raw::BsonFields;
use super::event::get;
use crate::stores::document::schema::DOCUMENT_COLUMN;
use crate::stores::document::value::VisitField;
use crate::stores::document::{Fields, Mismatch};

/// What an update says of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing, or that something in it changed.
    Unknown,
    /// Its value.
    Value,
    /// That it is not there any more.
    Removed,
}

/// What `updateDescription` says of columns with these names, in their order.
///
/// # Errors
/// Bytes that are no BSON.
pub(super) fn said(update: &RawDocument, names: &[&str]) -> Result<Vec<Said>, Box<Mismatch>> {
    let mut said: Vec<Option<Said>> = vec![None; names.len()];
    let paths = get(update, "disambiguatedPaths").and_then(RawBsonRef::as_document);
    let mut note = |path: &str, what: Said| {
        let (top, is_below) = top_of(path, paths);
        for (column, _) in said.iter_mut().zip(names).filter(|(_, name)| **name == top) {
            let is_first = column.is_none();
            // Two statements about one column would be about parts of it.
            *column = Some(if is_first && !is_below { what } else { Said::Unknown });
        }
    };
    if let Some(updated) = get(update, "updatedFields").and_then(RawBsonRef::as_document) {
        BsonFields(updated).visit(&mut |path, _value| {
            note(path, Said::Value);
            Ok(())
        })?;
    }
    for path in elements(update, "removedFields").filter_map(RawBsonRef::as_str) {
        note(path, Said::Removed);
    }
    let truncated = elements(update, "truncatedArrays").filter_map(RawBsonRef::as_document);
    for path in truncated.filter_map(|array| get(array, "field")).filter_map(RawBsonRef::as_str) {
        note(path, Said::Unknown);
    }
    let said = said.into_iter().zip(names);
    Ok(said.map(|(said, name)| if *name == DOCUMENT_COLUMN { Said::Unknown } else { said.unwrap_or(Said::Unknown) }).collect())
}

/// The top-level field of a path, and whether the path goes on below it. Names may hold dots; then the server says the parts.
fn top_of<'p>(path: &'p str, paths: Option<&'p RawDocument>) -> (&'p str, bool) {
    if let Some(parts) = paths.and_then(|paths| get(paths, path)).and_then(RawBsonRef::as_array) {
        let mut parts = parts.into_iter();
        let top = parts.next().and_then(Result::ok).and_then(RawBsonRef::as_str);
        return (top.unwrap_or(path), parts.next().is_some());
    }
    path.split_once('.').map_or((path, false), |(top, _)| (top, true))
}

fn elements<'d>(document: &'d RawDocument, key: &str) -> impl Iterator<Item = RawBsonRef<'d>> {
    let array = get(document, key).and_then(RawBsonRef::as_array);
    array.into_iter().flat_map(|array| array.into_iter().filter_map(Result::ok))
}

/// The fields of a document that an event has: its key, and those that an update has set as a whole.
pub(super) struct Partial<'a> {
    pub(super) key: &'a RawDocument,
    pub(super) updated: Option<&'a RawDocument>,
    /// The names of the fields that are taken of `updated`.
    pub(super) taken: Vec<&'a str>,
}

impl Fields for Partial<'_> {
    fn visit(&self, visit: &mut VisitField<'_>) -> Result<(), Box<Mismatch>> {
        // The key of a sharded collection has more fields, which the documents have as well.
        BsonFields(self.key).visit(&mut |name, value| if name == ID { visit(name, value) } else { Ok(()) })?;
        let Some(updated) = self.updated else { return Ok(()) };
        BsonFields(updated)
            .visit(&mut |name, value| if name != ID && self.taken.contains(&name) { visit(name, value) } else { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::raw::RawDocumentBuf;
    use mongodb::bson::{Document, doc};

    use super::*;

    fn raw(document: &Document) -> RawDocumentBuf {
        RawDocumentBuf::from_bytes(document.to_vec().unwrap()).unwrap()
    }

    #[test]
    fn only_whole_fields_are_known() {
        let names = ["_id", "a", "b", "l", "gone", "x.y", "untouched", "_doc"];
        let update = raw(&doc! {
            "updatedFields": { "a": 1, "b.c": 2, "l.3": 4, "x.y": 5 },
            "removedFields": ["gone", "b.d"],
            "truncatedArrays": [{ "field": "l", "newSize": 3 }],
            "disambiguatedPaths": { "x.y": ["x.y"], "l.3": ["l", 3] },
        });
        use Said::{Removed, Unknown, Value};
        let expected = [Unknown, Value, Unknown, Unknown, Removed, Value, Unknown, Unknown];
        assert_eq!(said(&update, &names).unwrap(), expected);
        // Without the server's word a dot goes down.
        let plain = raw(&doc! { "updatedFields": { "x.y": 5 } });
        assert_eq!(said(&plain, &["x.y", "x"]).unwrap(), [Unknown, Unknown]);
        // A name may be a number.
        let number = raw(&doc! { "updatedFields": { "a.0": 5 }, "disambiguatedPaths": { "a.0": ["a", "0"] } });
        assert_eq!(said(&number, &["a"]).unwrap(), [Unknown]);
        // An array that was cut and then written to.
        let both = raw(&doc! { "updatedFields": { "l": [1] }, "truncatedArrays": [{ "field": "l", "newSize": 1 }] });
        assert_eq!(said(&both, &["l"]).unwrap(), [Unknown]);
    }

    #[test]
    fn partial_documents_have_their_key_and_what_was_set() {
        let (key, updated) = (raw(&doc! { "_id": 1, "shard": 2 }), raw(&doc! { "a": 1, "b.c": 2 }));
        let partial = Partial { key: &key, updated: Some(&updated), taken: vec!["a"] };
        let mut names = Vec::new();
        partial
            .visit(&mut |name, _| {
                names.push(name.to_owned());
                Ok(())
            })
            .unwrap();
        assert_eq!(names, ["_id", "a"]);
    }
}
