//! Stored fields as values: expressions that give what the reader would read, or fail where it fails.
//!
//! A value of a type that its column holds is taken as it is or converted, exactly as `document/cells.rs` does it; null,
//! undefined and missing are null; any other value is what the collection's `on_mismatch` says: null, or an error
//! ([`super::raise`]). Columns whose values cannot be compared here as PostgreSQL compares them have no value; whether they
//! have one can still be told.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, doc};

use super::super::literal::DATE_RANGE;
use super::super::types::{Shape, names};
use super::cell::{Kind, Raw, Value, all_of, either, is_not_null, one_of};
use super::{decimal, raise};
use crate::stores::document::OnMismatch;

/// The server's names for what is no value.
const NOTHING: &[&str] = &["missing", "null", "undefined"];
/// Doubles hold every whole number up to this size.
const EXACT_DOUBLE: i64 = 1 << 53;

const TEXT_MISFITS: &str = "values of other types are read as text, which MongoDB cannot write";

/// The value of a stored field.
pub(super) fn read(raw: &Raw) -> Result<Value, &'static str> {
    let (kind, mut branches) = accepted(raw)?;
    let nullable = raw.field.is_nullable() || !raw.ancestors.is_empty();
    if let Some(around) = around(raw) {
        branches.insert(0, around);
    }
    if nullable && raises(raw) {
        branches.push(branch(is_one_of(&raw.path, NOTHING), Bson::Null));
    }
    let default = if raises(raw) || !nullable { raise::misfit(raw, &raw.path) } else { Bson::Null };
    let bson = Bson::Document(doc! { "$switch": { "branches": branches, "default": default } });
    Ok(Value { bson, kind, nullable })
}

/// Whether a stored field has a value, for fields without a [`Value`] too.
pub(super) fn is_present(raw: &Raw) -> Result<Bson, &'static str> {
    let of_any_type = matches!(raw.shape(), Shape::Mixed | Shape::Document)
        || (raw.on_mismatch == OnMismatch::Text && matches!(raw.shape(), Shape::Text | Shape::ObjectId));
    if !raw.ancestors.is_empty() {
        // A path through an array gives an array, which only the branches of a whole value tell apart.
        return read(raw).map(|value| is_not_null(&value.bson));
    }
    let nothing = is_one_of(&raw.path, NOTHING);
    match raw.shape() {
        _ if of_any_type => Ok(Bson::Document(doc! { "$not": [nothing] })),
        Shape::List | Shape::Struct if raises(raw) => Err("a broken value inside must be noticed"),
        Shape::List | Shape::Struct | Shape::Numeric | Shape::Bytes => {
            let fits = branch(is_one_of(&raw.path, raw.shape().accepted()), Bson::Boolean(true));
            let nothing = branch(nothing, Bson::Boolean(false));
            let default = if raises(raw) { raise::misfit(raw, &raw.path) } else { Bson::Boolean(false) };
            Ok(Bson::Document(doc! { "$switch": { "branches": [fits, nothing], "default": default } }))
        }
        _ => read(raw).map(|value| is_not_null(&value.bson)),
    }
}

/// The stored field itself, when the documents around it are documents; the reader looks at its value later.
pub(super) fn unread(raw: &Raw) -> Bson {
    let path = Bson::String(raw.path.clone());
    match around(raw) {
        None => path,
        Some(around) => Bson::Document(doc! { "$switch": { "branches": [around], "default": path } }),
    }
}

fn raises(raw: &Raw) -> bool {
    raw.on_mismatch != OnMismatch::Null
}

/// The branch of documents in which something else than a document lies around the field.
fn around(raw: &Raw) -> Option<Document> {
    let no_document = |around: &Raw| Bson::Document(doc! { "$ne": [{ "$type": &around.path }, "object"] });
    let innermost = raw.ancestors.last()?;
    // A path through an array gives an array, so the types are looked at from the outside in.
    let found = raw.ancestors.iter().rev().fold(Bson::Null, |inner, around| {
        let broken = if raises(around) { raise::misfit(around, &around.path) } else { Bson::Null };
        let here = either(is_one_of(&around.path, NOTHING), Bson::Null, broken);
        if std::ptr::eq(around, innermost) { here } else { either(no_document(around), here, inner) }
    });
    let any = one_of(raw.ancestors.iter().map(no_document).collect());
    Some(branch(any, found))
}

/// The types that the column holds, each with how its values are taken; the most likely one first.
fn accepted(raw: &Raw) -> Result<(Kind, Vec<Document>), &'static str> {
    let path = Bson::String(raw.path.clone());
    let is = |name: &str| is_one_of(&raw.path, &[name]);
    Ok(match raw.shape() {
        Shape::Text | Shape::ObjectId if raw.on_mismatch == OnMismatch::Text => return Err(TEXT_MISFITS),
        Shape::Text => (Kind::Text, texts(raw)),
        Shape::ObjectId => (Kind::Text, vec![branch(is("objectId"), call("$toString", path))]),
        Shape::Uuid => (Kind::Uuid, vec![branch(within(is("binData"), &path, uuid(0), uuid(0xff)), path)]),
        Shape::Int => (Kind::Int, integers(raw)),
        Shape::Float => (Kind::Float, floats(raw)),
        Shape::Decimal => decimals(raw)?,
        Shape::Bool => (Kind::Bool, vec![branch(is("bool"), path)]),
        Shape::Date => {
            let moment = |millis| Bson::DateTime(DateTime::from_millis(millis));
            (Kind::Moment, vec![branch(within(is("date"), &path, moment(DATE_RANGE.0), moment(DATE_RANGE.1)), path)])
        }
        Shape::Bytes => return Err("MongoDB compares binary values by length and subtype first"),
        Shape::Numeric => return Err("the column holds doubles and decimals with any number of digits"),
        Shape::List | Shape::Struct => return Err("arrays and documents are compared here"),
        Shape::Mixed | Shape::Document => return Err("the column holds values of several types as text"),
    })
}

/// Postgres text cannot hold a zero byte.
fn texts(raw: &Raw) -> Vec<Document> {
    let without_zero = |text: Bson| Bson::Document(doc! { "$eq": [{ "$indexOfBytes": [text, "\0"] }, -1_i32] });
    let path = Bson::String(raw.path.clone());
    let symbol = Bson::Document(doc! { "$substrBytes": [&path, 0_i32, -1_i32] });
    vec![
        branch(all_of(vec![is_one_of(&raw.path, &["string"]), without_zero(path.clone())]), path),
        branch(all_of(vec![is_one_of(&raw.path, &["symbol"]), without_zero(symbol.clone())]), symbol),
    ]
}

/// Whole doubles and decimals in range are integers. NaN is below all numbers for the server.
fn integers(raw: &Raw) -> Vec<Document> {
    let path = Bson::String(raw.path.clone());
    let whole = |name: &str, least: Bson, most: Bson| {
        let is_whole = Bson::Document(doc! { "$eq": [{ "$trunc": &path }, &path] });
        let fits = within(all_of(vec![is_one_of(&raw.path, &[name]), is_whole]), &path, least, most);
        branch(fits, call("$toLong", path.clone()))
    };
    vec![
        branch(is_one_of(&raw.path, &["int", "long"]), path.clone()),
        whole("double", Bson::Int64(-EXACT_DOUBLE), Bson::Int64(EXACT_DOUBLE)),
        whole("decimal", Bson::Int64(i64::MIN), Bson::Int64(i64::MAX)),
    ]
}

fn floats(raw: &Raw) -> Vec<Document> {
    let path = Bson::String(raw.path.clone());
    let long = within(is_one_of(&raw.path, &["int", "long"]), &path, Bson::Int64(-EXACT_DOUBLE), Bson::Int64(EXACT_DOUBLE));
    vec![branch(is_one_of(&raw.path, &["double"]), path.clone()), branch(long, call("$toDouble", path))]
}

/// Decimals of at most 38 digits, none of which lie beyond the scale.
fn decimals(raw: &Raw) -> Result<(Kind, Vec<Document>), &'static str> {
    let unknown = "the scale of the column is not known";
    let Some(Kind::Decimal { scale }) = Kind::of(crate::pgtype::PgField::pg_type(&raw.field)) else { return Err(unknown) };
    let path = Bson::String(raw.path.clone());
    let end = decimal(1, 38_i32 - i32::from(scale)).ok_or(unknown)?;
    let least = decimal(-1, 38_i32 - i32::from(scale)).ok_or(unknown)?;
    let fits = all_of(vec![
        is_one_of(&raw.path, &["decimal"]),
        Bson::Document(doc! { "$eq": [{ "$trunc": [&path, i32::from(scale)] }, &path] }),
        // NaN is below all numbers for the server.
        Bson::Document(doc! { "$gt": [&path, least] }),
        Bson::Document(doc! { "$lt": [&path, end] }),
    ]);
    let branches = vec![branch(fits, path.clone()), branch(is_one_of(&raw.path, &["int", "long"]), call("$toDecimal", path))];
    Ok((Kind::Decimal { scale }, branches))
}

fn uuid(byte: u8) -> Bson {
    Bson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes: vec![byte; 16] })
}

fn branch(case: Bson, then: Bson) -> Document {
    doc! { "case": case, "then": then }
}

fn call(operator: &str, operand: Bson) -> Bson {
    Bson::Document(doc! { operator: operand })
}

fn is_one_of(path: &str, types: &[&str]) -> Bson {
    let found = doc! { "$type": path };
    Bson::Document(match types {
        [only] => doc! { "$eq": [found, *only] },
        several => doc! { "$in": [found, names(several)] },
    })
}

/// `condition`, and the value lies between two others.
fn within(condition: Bson, path: &Bson, least: Bson, most: Bson) -> Bson {
    all_of(vec![condition, Bson::Document(doc! { "$gte": [path, least] }), Bson::Document(doc! { "$lte": [path, most] })])
}
