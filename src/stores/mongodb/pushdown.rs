//! Predicates as MongoDB filter documents, by the semantics in which the two differ.
//!
//! What a predicate means is decided by what the scan reads: a value that does not fit its column becomes NULL
//! (`on_mismatch = null`), an error, or text. A filter must keep every row for which the predicate is true of what would be
//! read, and, where a mismatch is an error, every row that would raise it: a filter may not hide a broken value in the
//! column it tests. So with `error` and `text` each filter also keeps the documents whose value has another type, which
//! makes it a superset. A lookup (`=` or `IN` on the first column of an index) meets fewer of them: those that equal a value it
//! looks for, and those whose type has a place of its own in the index. To find the others, a double with a fraction among
//! integers, say, the server would have to read the whole index ([`Place::lookup`]).
//!
//! Traps handled here (MongoDB manual, "Query an Array", "Comparison/Sort Order", "Query for Null or Missing Fields"):
//! - a condition on an array holds when it holds for any element, also for arrays on the way of a dotted path;
//! - `$ne`, `$nin` and `$not` hold for null, missing and values of other types;
//! - order comparisons are bracketed by type, but int, long, double and decimal are one bracket, compared exactly, while a
//!   reader of `double precision` rounds; NaN is equal to itself and above nothing;
//! - dates have milliseconds, `timestamptz` has microseconds;
//! - names with dots or a leading dollar sign cannot be addressed.
//!
//! Text: with the simple collation strings compare by their UTF-8 bytes and then by length, which is the `C` collation.
//! ObjectIds compare by their twelve bytes; two lower-case hex digits per byte keep that order because `'9' < 'a'`.

use arrow::datatypes::{DataType, Field};
use mongodb::bson::{Bson, Document, doc};

use super::literal::{Core, compare, is_in};
use super::types::{Shape, names};
use crate::stores::document::OnMismatch;
use crate::stores::predicate::{ColumnRef, Comparison, Predicate, Pushdown};
use crate::stores::schema::{Collation, Table};

/// The most rows of one list. Each is a conjunction of its own, which the server plans on its own; with what is kept of values that
/// do not fit, one takes about a kilobyte, and a command 16 MiB.
const ROWS_MAX: usize = 400;

/// What a value becomes that does not fit its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// NULL.
    Null,
    /// An error: the row must be read.
    Error,
    /// Text in columns of text, an error elsewhere: either way the row must be read.
    Text,
}

impl Mismatch {
    /// By the collection's option.
    pub(super) fn of(option: OnMismatch) -> Self {
        match option {
            OnMismatch::Null => Self::Null,
            OnMismatch::Error => Self::Error,
            OnMismatch::Text => Self::Text,
        }
    }
}

/// A filter document and whether it keeps exactly the rows for which the predicate is true.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filter {
    /// The argument of `$match` or `find`.
    pub(super) document: Document,
    /// Whether no local check is needed.
    pub(super) exact: bool,
}

/// Judges a predicate ([`crate::stores::Connector::pushdown`]).
pub(super) fn judge(table: &Table, mismatch: Mismatch, predicate: &Predicate) -> Pushdown {
    let kept = match predicate {
        Predicate::And(parts) => {
            let kept: Vec<Predicate> = parts.iter().filter(|part| translate(table, mismatch, part).is_ok()).cloned().collect();
            if kept.len() == parts.len() { predicate.clone() } else { Predicate::And(kept) }
        }
        other => other.clone(),
    };
    match translate(table, mismatch, predicate) {
        Ok(filter) if filter.exact => Pushdown::Exact(kept),
        Ok(_) => Pushdown::Superset(kept),
        Err(reason) => Pushdown::Refused(reason),
    }
}

/// The filter document of all conjuncts of a scan; empty when there are none. Conjuncts that [`judge`] refuses are left out.
pub(super) fn filter_document(table: &Table, mismatch: Mismatch, filter: &[Predicate]) -> Document {
    let mut parts: Vec<Document> =
        filter.iter().filter_map(|part| translate(table, mismatch, part).ok()).map(|filter| filter.document).collect();
    match parts.len() {
        0 => Document::new(),
        1 => parts.remove(0),
        _ => doc! { "$and": parts },
    }
}

/// The filter of one predicate, or why there is none.
pub(super) fn translate(table: &Table, mismatch: Mismatch, predicate: &Predicate) -> Result<Filter, &'static str> {
    match predicate {
        Predicate::And(parts) => all(table, mismatch, parts),
        Predicate::Or(parts) => any(table, mismatch, parts),
        Predicate::Compare { column, op, value } => {
            let place = Place::find(table, column)?;
            let core = compare(place.shape, *op, value)?;
            Ok(if *op == Comparison::Equal { place.lookup(core, mismatch) } else { place.filter(core, mismatch) })
        }
        Predicate::In { column, values, negated } => {
            let place = Place::find(table, column)?;
            let core = is_in(place.shape, values, *negated)?;
            Ok(if *negated { place.filter(core, mismatch) } else { place.lookup(core, mismatch) })
        }
        Predicate::Rows(rows) if rows.rows.len() > ROWS_MAX => Err("the list of rows is too long for one command"),
        Predicate::Rows(rows) => translate(table, mismatch, &rows.alternatives()),
        Predicate::IsNull { column, negated: false } => Place::find(table, column)?.is_null(mismatch),
        Predicate::IsNull { column, negated: true } => Place::find(table, column)?.is_not_null(mismatch),
        Predicate::Like { negated: true, .. } => Err("NOT LIKE is decided here"),
        Predicate::Like { case_insensitive: true, .. } => Err("ILIKE is decided here: case folding differs"),
        Predicate::Like { column, pattern, .. } => {
            let place = Place::find(table, column)?;
            Ok(place.filter(super::literal::like(place.shape, pattern)?, mismatch))
        }
    }
}

fn all(table: &Table, mismatch: Mismatch, parts: &[Predicate]) -> Result<Filter, &'static str> {
    let mut documents = Vec::with_capacity(parts.len());
    let mut exact = true;
    let mut refusal = "an empty conjunction";
    for part in parts {
        match translate(table, mismatch, part) {
            Ok(filter) => {
                exact &= filter.exact;
                documents.push(filter.document);
            }
            Err(reason) => {
                exact = false;
                refusal = reason;
            }
        }
    }
    if documents.is_empty() {
        return Err(refusal);
    }
    Ok(Filter { document: doc! { "$and": documents }, exact })
}

fn any(table: &Table, mismatch: Mismatch, parts: &[Predicate]) -> Result<Filter, &'static str> {
    let mut documents = Vec::with_capacity(parts.len());
    let mut exact = true;
    for part in parts {
        let filter = translate(table, mismatch, part)?;
        exact &= filter.exact;
        documents.push(filter.document);
    }
    if documents.is_empty() {
        return Err("an empty disjunction");
    }
    Ok(Filter { document: doc! { "$or": documents }, exact })
}

/// Where a column lies in a document.
struct Place {
    path: String,
    /// The enclosing documents' paths, outermost first.
    ancestors: Vec<String>,
    shape: Shape,
    /// Whether an index begins with the column.
    is_indexed: bool,
}

impl Place {
    fn find(table: &Table, reference: &ColumnRef) -> Result<Self, &'static str> {
        let column = table.columns.get(reference.column).ok_or("an unknown column")?;
        let mut field: &Field = &column.field;
        let mut path = addressable(field.name())?.to_owned();
        let mut ancestors = Vec::new();
        for name in &reference.path {
            let DataType::Struct(fields) = field.data_type() else { return Err("a field of something that is no document") };
            field = fields.iter().find(|inner| inner.name() == name).ok_or("an unknown field")?;
            ancestors.push(path.clone());
            path = format!("{path}.{}", addressable(name)?);
        }
        let shape = Shape::of(field);
        if shape == Shape::Text && column.collation != Collation::Bytes {
            return Err("the view compares text by its own collation");
        }
        let is_indexed = reference.path.is_empty() && begins_index(table, reference.column);
        Ok(Self { path, ancestors, shape, is_indexed })
    }

    /// The filter of a comparison.
    fn filter(&self, core: Core, mismatch: Mismatch) -> Filter {
        let document = any_of(core.alternatives.into_iter().map(|test| self.scalar(test, core.typed)).collect(), &self.path);
        match mismatch {
            Mismatch::Null => Filter { document, exact: core.exact },
            Mismatch::Error | Mismatch::Text => Filter { document: self.or_misfit(document), exact: false },
        }
    }

    /// The filter of a comparison with single values, for the server to read no more of an index than the entries of these values.
    /// Values that do not fit are met where they equal one of them (the reader then says what is wrong), where an element of an
    /// array does, and where nothing that fits has its place among them. In columns of text they may be what is looked for.
    fn lookup(&self, core: Core, mismatch: Mismatch) -> Filter {
        let read_as_text = mismatch == Mismatch::Text && matches!(self.shape, Shape::Text | Shape::ObjectId);
        if mismatch == Mismatch::Null || read_as_text || !self.is_indexed || self.shape == Shape::Mixed {
            return self.filter(core, mismatch);
        }
        // Nothing else stands beside the values, so that the server joins all parts to one scan of the index.
        let mut parts: Vec<Document> = core.alternatives.into_iter().map(|test| doc! { self.path.clone(): test }).collect();
        parts.push(doc! { self.path.clone(): { "$type": self.shape.apart() } });
        if self.shape == Shape::Date {
            parts.extend(self.out_of_range());
        }
        Filter { document: doc! { "$or": parts }, exact: false }
    }

    /// `test` on the column when neither it nor a document around it is an array.
    fn scalar(&self, mut test: Document, typed: bool) -> Document {
        if typed {
            test.insert("$type", names(self.shape.accepted()));
        }
        test.insert("$not", doc! { "$type": "array" });
        let mut document = doc! { self.path.clone(): test };
        for ancestor in &self.ancestors {
            document.insert(ancestor.clone(), doc! { "$not": { "$type": "array" } });
        }
        document
    }

    /// `document`, or a value (or a document around it) that may not fit the column. Types are listed, not negated, so that
    /// an index on the field can answer.
    fn or_misfit(&self, document: Document) -> Document {
        let mut parts = vec![document];
        if self.shape != Shape::Mixed {
            parts.push(doc! { self.path.clone(): { "$type": self.shape.unsure() } });
            // The server refuses arrays as _id, and the condition would read the whole index.
            if self.shape != Shape::List && self.path != "_id" {
                parts.push(doc! { self.path.clone(): { "$type": "array" } });
            }
        }
        for ancestor in &self.ancestors {
            parts.push(doc! { ancestor.clone(): { "$type": "array" } });
            parts.push(doc! { ancestor.clone(): { "$type": Shape::Struct.unsure() } });
        }
        parts.extend(self.out_of_range());
        doc! { "$or": parts }
    }

    /// Values of a sure type that the column cannot hold: dates beyond `timestamptz`, texts with a zero byte.
    fn out_of_range(&self) -> Vec<Document> {
        match self.shape {
            Shape::Date => super::literal::dates_outside().into_iter().map(|test| doc! { self.path.clone(): test }).collect(),
            Shape::Text => vec![doc! { self.path.clone(): { "$regex": "\\x00" } }],
            _ => Vec::new(),
        }
    }

    /// Missing, null, and whatever may be read as NULL or raise an error; through an array on its way a dotted path would
    /// find fields that the scan does not read, so those are kept too.
    fn is_null(&self, mismatch: Mismatch) -> Result<Filter, &'static str> {
        self.refuse_whole(mismatch)?;
        Ok(Filter { document: self.or_misfit(doc! { self.path.clone(): null }), exact: false })
    }

    fn is_not_null(&self, mismatch: Mismatch) -> Result<Filter, &'static str> {
        self.refuse_whole(mismatch)?;
        let path = self.path.clone();
        Ok(match (self.shape, mismatch) {
            // `$ne: null` does not hold for an array with a null in it.
            (Shape::Mixed, _) => {
                let present = doc! { "$or": [{ &path: { "$type": "array" } }, { &path: { "$ne": null } }] };
                Filter { document: if self.ancestors.is_empty() { present } else { self.or_misfit(present) }, exact: false }
            }
            (_, Mismatch::Error | Mismatch::Text) => {
                Filter { document: self.or_misfit(doc! { path: { "$ne": null } }), exact: false }
            }
            (Shape::List | Shape::Struct, Mismatch::Null) => {
                Filter { document: doc! { path: { "$type": names(self.shape.accepted()) } }, exact: false }
            }
            (shape, Mismatch::Null) => {
                let exact = matches!(shape, Shape::ObjectId | Shape::Bool | Shape::Numeric | Shape::Bytes);
                Filter { document: self.scalar(Document::new(), true), exact }
            }
        })
    }

    /// Inside arrays and documents there may be broken values that no condition on the whole can find.
    fn refuse_whole(&self, mismatch: Mismatch) -> Result<(), &'static str> {
        match (self.shape, mismatch) {
            (Shape::Document, _) => Err("the document as a whole is never absent"),
            (Shape::List | Shape::Struct, Mismatch::Error | Mismatch::Text) => Err("a broken value inside must be noticed"),
            _ => Ok(()),
        }
    }
}

/// Whether an index of all documents begins with a column.
pub(super) fn begins_index(table: &Table, column: usize) -> bool {
    let mut keys = table.primary_key.iter().chain(&table.unique_keys).chain(&table.indexes);
    keys.any(|key| key.columns.first() == Some(&column))
}

/// One test of several, or a filter that nothing passes.
fn any_of(mut tests: Vec<Document>, path: &str) -> Document {
    match tests.len() {
        0 => doc! { path: { "$in": Bson::Array(Vec::new()) } },
        1 => tests.remove(0),
        _ => doc! { "$or": tests },
    }
}

/// Whether a filter or projection can name the field: the server reads dots as paths and dollar signs as operators.
pub(super) fn addressable(name: &str) -> Result<&str, &'static str> {
    if name.is_empty() || name.starts_with('$') || name.contains(['.', '\0']) {
        return Err("a filter cannot name a field with a dot or a leading dollar sign");
    }
    Ok(name)
}

/// The same filter document with every value shown as `?`, for `EXPLAIN`.
pub(super) fn without_values(document: &Document) -> Document {
    document.iter().map(|(key, value)| (key.clone(), hide(key, value))).collect()
}

fn hide(key: &str, value: &Bson) -> Bson {
    match value {
        Bson::Document(inner) => Bson::Document(without_values(inner)),
        Bson::Array(items) if matches!(key, "$and" | "$or") => Bson::Array(items.iter().map(|item| hide("", item)).collect()),
        // Type names and the null of our own guards are no values of the query.
        Bson::Null => Bson::Null,
        other if key == "$type" => other.clone(),
        _ => Bson::String("?".to_owned()),
    }
}

/// The values that [`without_values`] hides, in their order.
pub(super) fn values_of(document: &Document, found: &mut Vec<Bson>) {
    document.iter().for_each(|(key, value)| find(key, value, found));
}

fn find(key: &str, value: &Bson, found: &mut Vec<Bson>) {
    match value {
        Bson::Document(inner) => values_of(inner, found),
        Bson::Array(items) if matches!(key, "$and" | "$or") => items.iter().for_each(|item| find("", item, found)),
        Bson::Null => {}
        _ if key == "$type" => {}
        other => found.push(other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::document::{DocumentField, DocumentType};
    use crate::stores::mongodb::columns::{Description, table};
    use crate::stores::schema::{TableId, TableKind};
    use crate::stores::value::Value;

    fn field(name: &str, kind: DocumentType) -> DocumentField {
        DocumentField { name: name.to_owned(), kind }
    }

    fn goods() -> Table {
        let nested = DocumentType::Struct(vec![field("a", DocumentType::Bool)]);
        collection(&[field("_id", DocumentType::ObjectId), field("b", DocumentType::Bool), field("s", nested)], &[])
    }

    /// With an index for each field but the last.
    fn keyed() -> Table {
        let types = [
            ("_id", DocumentType::Int),
            ("u", DocumentType::Uuid),
            ("t", DocumentType::Text),
            ("w", DocumentType::Date),
            ("n", DocumentType::Int),
        ];
        let indexes = ["u", "t", "w"].map(|name| doc! { "name": name, "key": { name: 1, "n": 1 } });
        collection(&types.map(|(name, kind)| field(name, kind)), &indexes)
    }

    fn collection(fields: &[DocumentField], indexes: &[Document]) -> Table {
        let id = TableId { namespace: "shop".to_owned(), name: "goods".to_owned() };
        let kind = TableKind::Collection;
        let description = Description {
            id,
            kind,
            collation: None,
            fields,
            include_document: true,
            indexes,
            row_estimate: None,
            division: None,
            unique_id: true,
        };
        table(&description).0
    }

    fn is_true(column: usize, path: &[&str]) -> Predicate {
        let column = ColumnRef { column, path: path.iter().map(|name| (*name).to_owned()).collect() };
        Predicate::Compare { column, op: Comparison::Equal, value: Value::Bool(true) }
    }

    #[test]
    fn conditions_hold_for_no_array_on_the_way() {
        let not_array = doc! { "$not": { "$type": "array" } };
        let rows = [
            (is_true(1, &[]), doc! { "b": { "$eq": true, "$not": { "$type": "array" } } }),
            (is_true(2, &["a"]), doc! { "s.a": { "$eq": true, "$not": { "$type": "array" } }, "s": &not_array }),
        ];
        for (predicate, document) in rows {
            assert_eq!(translate(&goods(), Mismatch::Null, &predicate), Ok(Filter { document, exact: true }));
        }
    }

    #[test]
    fn broken_values_pass_where_they_are_errors() {
        let filter = translate(&goods(), Mismatch::Error, &is_true(2, &["a"])).unwrap();
        assert!(!filter.exact);
        let parts = filter.document.get_array("$or").unwrap();
        assert!(parts.contains(&doc! { "s.a": { "$type": "array" } }.into()));
        assert!(parts.contains(&doc! { "s": { "$type": Shape::Struct.unsure() } }.into()));
    }

    fn compared(column: usize, op: Comparison, value: Value) -> Predicate {
        Predicate::Compare { column: ColumnRef::of(column), op, value }
    }

    /// The parts of the filter of a predicate over [`keyed`].
    fn parts(mismatch: Mismatch, predicate: &Predicate) -> Vec<Bson> {
        let filter = translate(&keyed(), mismatch, predicate).unwrap();
        assert!(!filter.exact);
        filter.document.get_array("$or").unwrap().clone()
    }

    #[test]
    fn a_lookup_asks_for_no_type_that_stands_among_its_values() {
        let uuid = mongodb::bson::Uuid::from_bytes([7; 16]);
        let numbers: &[&str] = &["double", "int", "long", "decimal"];
        let (binary, texts): (&[&str], &[&str]) = (&["binData"], &["string", "symbol"]);
        let rows = [
            ("_id", compared(0, Comparison::Equal, Value::Int(42)), doc! { "$eq": 42_i64 }, numbers),
            ("u", compared(1, Comparison::Equal, Value::Text(uuid.to_string())), doc! { "$eq": uuid }, binary),
            ("t", compared(2, Comparison::Equal, Value::Text("ab".to_owned())), doc! { "$eq": "ab" }, texts),
        ];
        for (name, predicate, test, together) in rows {
            let apart: Vec<&str> = crate::stores::mongodb::types::words()
                .into_iter()
                .filter(|word| !together.contains(word) && !["null", "array"].contains(word))
                .collect();
            let expected: Vec<Bson> = vec![doc! { name: test }.into(), doc! { name: { "$type": names(&apart) } }.into()];
            assert_eq!(parts(Mismatch::Error, &predicate), expected);
        }
        let list = Predicate::In { column: ColumnRef::of(0), values: vec![Value::Int(1), Value::Int(2)], negated: false };
        let found = parts(Mismatch::Text, &list);
        assert_eq!((found.len(), &found[0]), (2, &doc! { "_id": { "$in": [1_i64, 2_i64] } }.into()));
        // Dates that no column holds stand at the ends of the others.
        assert_eq!(parts(Mismatch::Error, &compared(3, Comparison::Equal, Value::TimestampTz(0))).len(), 4);
    }

    #[test]
    fn what_is_no_lookup_asks_for_all_that_may_not_fit() {
        let array = |name: &str| Bson::from(doc! { name: { "$type": "array" } });
        let text = || Value::Text("ab".to_owned());
        // An order, a column that only stands behind another one in indexes, and texts that misfits are read as.
        assert!(parts(Mismatch::Error, &compared(3, Comparison::Less, Value::TimestampTz(0))).contains(&array("w")));
        assert!(parts(Mismatch::Error, &compared(4, Comparison::Equal, Value::Int(1))).contains(&array("n")));
        assert!(parts(Mismatch::Text, &compared(2, Comparison::Equal, text())).contains(&array("t")));
        let unlisted = Predicate::In { column: ColumnRef::of(2), values: vec![text()], negated: true };
        assert!(parts(Mismatch::Error, &unlisted).contains(&array("t")));
        let whole = translate(&keyed(), Mismatch::Null, &compared(0, Comparison::Equal, Value::Int(1))).unwrap();
        assert_eq!(whole.document, doc! { "_id": { "$eq": 1_i64, "$not": { "$type": "array" } } });
    }

    #[test]
    fn a_conjunction_keeps_what_can_be_pushed() {
        let document = Predicate::IsNull { column: ColumnRef::of(3), negated: false };
        let both = Predicate::And(vec![is_true(1, &[]), document.clone()]);
        assert_eq!(judge(&goods(), Mismatch::Null, &both), Pushdown::Superset(Predicate::And(vec![is_true(1, &[])])));
        let either = Predicate::Or(vec![is_true(1, &[]), document.clone()]);
        assert!(matches!(judge(&goods(), Mismatch::Null, &either), Pushdown::Refused(_)));
        assert!(matches!(judge(&goods(), Mismatch::Null, &document), Pushdown::Refused(_)));
        assert_eq!(filter_document(&goods(), Mismatch::Null, &[]), doc! {});
    }

    #[test]
    fn explain_shows_no_values() {
        let filter = doc! { "$or": [{ "a": { "$in": ["x", 1] } }, { "b": { "$type": ["int"], "$eq": { "c": 1 } } }], "c": null };
        let shown = doc! { "$or": [{ "a": { "$in": "?" } }, { "b": { "$type": ["int"], "$eq": { "c": "?" } } }], "c": null };
        assert_eq!(without_values(&filter), shown);
        let mut values = Vec::new();
        values_of(&filter, &mut values);
        assert_eq!(values, [Bson::Array(vec![Bson::String("x".to_owned()), Bson::Int32(1)]), Bson::Int32(1)]);
    }
}
