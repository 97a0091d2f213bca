//! Conditions on fields of JSON columns declared as documents, by `json_extract`.
//!
//! `json_extract` gives JSON numbers as numbers, text as text, `true` as 1 and arrays or objects as text, so what it keeps
//! for a value of the right kind is a superset of what Postgres would keep. Where the reader turns misfits into NULL or into
//! text (`on_mismatch`), conditions that would have to see the result are refused.

use super::super::super::document::{DocumentType, OnMismatch};
use super::super::super::predicate::{ColumnRef, Comparison, Predicate, Pushdown};
use super::super::super::relational::embedded::Source;
use super::super::super::relational::{Dialect, Sql, Unwritable, like};
use super::super::super::value::Value;
use super::{PATTERN_MAX, VALUES_MAX, is_comparable, is_equality};

/// Doubles read from text by SQLite and by us may differ in their last digits; bounds are widened by far more.
const DOUBLE_SLACK: f64 = 1e-12;

/// How SQLite can evaluate a condition on a document field.
pub(super) fn pushdown(source: &Source<'_>, at: &ColumnRef, predicate: &Predicate) -> Pushdown {
    let Some((kind, names)) = source.reach(at) else { return Pushdown::Refused("the field is not known") };
    if path(&names).is_none() {
        return Pushdown::Refused("the field's name cannot be written in a JSON path");
    }
    match predicate {
        Predicate::IsNull { .. } if source.on_mismatch == OnMismatch::Null => {
            Pushdown::Refused("values that do not fit are read as NULL")
        }
        Predicate::IsNull { .. } => Pushdown::Superset(predicate.clone()),
        _ if !is_comparable(&kind) => Pushdown::Refused("JSON stores the type in several forms"),
        Predicate::Compare { .. } | Predicate::In { .. } => compare(source, &kind, predicate),
        Predicate::Like { pattern, case_insensitive: false, .. }
            if kind == DocumentType::Text
                && source.on_mismatch != OnMismatch::Text
                && like::as_glob(pattern).is_some_and(|glob| glob.len() <= PATTERN_MAX && !glob.contains('\0')) =>
        {
            Pushdown::Superset(predicate.clone())
        }
        _ => Pushdown::Refused("the condition is evaluated by the engine"),
    }
}

fn compare(source: &Source<'_>, kind: &DocumentType, predicate: &Predicate) -> Pushdown {
    const REFUSED: Pushdown = Pushdown::Refused("the value is compared by the engine");
    let values: &[Value] = match predicate {
        Predicate::Compare { value, .. } => std::slice::from_ref(value),
        Predicate::In { values, .. } if (1..=VALUES_MAX).contains(&values.len()) => values,
        _ => return REFUSED,
    };
    let fits = |value: &Value| match (kind, value) {
        (DocumentType::Int, Value::Int(_)) | (DocumentType::Bool, Value::Bool(_)) => true,
        (DocumentType::Double, Value::Float(number)) => number.is_finite(),
        (DocumentType::Text, Value::Text(text)) => source.on_mismatch != OnMismatch::Text && !text.contains('\0'),
        _ => false,
    };
    if !values.iter().all(fits) {
        return REFUSED;
    }
    match (kind, predicate) {
        (DocumentType::Double, Predicate::Compare { column, op, value: Value::Float(number) }) => widened(column, *op, *number),
        (DocumentType::Double, _) => REFUSED,
        (DocumentType::Bool, predicate) if !is_equality(predicate) => REFUSED,
        _ => Pushdown::Superset(predicate.clone()),
    }
}

fn widened(column: &ColumnRef, op: Comparison, number: f64) -> Pushdown {
    let slack = number.abs() * DOUBLE_SLACK + f64::MIN_POSITIVE;
    let bound = |op, number| Predicate::Compare { column: column.clone(), op, value: Value::Float(number) };
    let upper = bound(Comparison::LessOrEqual, number + slack);
    let lower = bound(Comparison::GreaterOrEqual, number - slack);
    Pushdown::Superset(match op {
        Comparison::Equal => Predicate::And(vec![lower, upper]),
        Comparison::Less | Comparison::LessOrEqual => upper,
        Comparison::Greater | Comparison::GreaterOrEqual => lower,
        Comparison::NotEqual => return Pushdown::Refused("doubles are told apart by the engine"),
    })
}

/// The JSON path `$."a"."b"`; `None` when a name holds what a quoted path cannot.
fn path(names: &[String]) -> Option<String> {
    let mut path = "$".to_owned();
    for name in names {
        if name.is_empty() || name.chars().any(|character| matches!(character, '"' | '\\') || character < ' ') {
            return None;
        }
        path.push_str(".\"");
        path.push_str(name);
        path.push('"');
    }
    Some(path)
}

/// The condition under which a document column can be reached into at all: JSON text, JSON in SQLite's binary form, or NULL.
/// `json_extract` fails the whole statement on anything else.
pub(super) fn write_readable(column: &str, sql: &mut Sql) {
    let quoted = Dialect::Sqlite.quote(column);
    sql.push(&format!("(t.{quoted} IS NULL OR json_valid(t.{quoted}, 9))"));
}

/// Writes `json_extract(t."doc", ?)`. Where unreadable documents are read as NULL it gives NULL for them; elsewhere
/// [`super::write_filter`] keeps their rows, so that the reader can say what is wrong.
///
/// # Errors
/// A field that [`pushdown`] refuses.
pub(super) fn write(source: &Source<'_>, at: &ColumnRef, sql: &mut Sql) -> Result<(), Unwritable> {
    let path = source.reach(at).and_then(|(_, names)| path(&names)).ok_or(Unwritable("belongs to no field"))?;
    let guarded = source.on_mismatch == OnMismatch::Null;
    if guarded {
        sql.push("CASE WHEN ");
        write_readable(source.column, sql);
        sql.push(" THEN ");
    }
    sql.push("json_extract(t.");
    sql.push_name(source.column);
    sql.push(", ");
    sql.push_value(Value::Text(path))?;
    sql.push(if guarded { ") END" } else { ")" });
    Ok(())
}
