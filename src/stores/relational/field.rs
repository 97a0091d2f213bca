//! Conditions on fields of JSON columns, taken apart as far as it does not depend on the store: what the tested value must be,
//! and whether rows with another value must be kept. They are written as one `CASE` for all stores ([`write()`]), whose parts
//! each connector spells with its own JSON operators ([`Writer`]).
//!
//! **Invariants:** a condition keeps every row for which the predicate is true of what the scan reads. Where values that do
//! not fit are errors or become text, it also keeps the rows whose tested value has another type, so that the answer does not
//! depend on what was pushed. Everything is checked again: nothing here is exact.

use super::super::document::{DocumentType, OnMismatch};
use super::super::predicate::{ColumnRef, Comparison, Predicate};
use super::super::value::Value;
use super::embedded::Source;
use super::{Sql, Unwritable, like};

/// Stores read a number exactly or as a double; we read it as the nearest double or one close by. Bounds are widened by far
/// more than these differ.
const SLACK: f64 = 1e-13;
/// The same for numbers near zero.
const SLACK_AT_ZERO: f64 = 1e-30;
/// Longer lists of numbers are sent as one range.
const RANGES_MAX: usize = 100;
/// Longer lists of texts are not sent.
const TEXTS_MAX: usize = 10_000;

/// A condition on one field.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition<'p> {
    /// The names that lead to the field, outermost first; not empty.
    pub names: Vec<String>,
    /// Whether rows are kept whose value is of another type than the test wants.
    pub keeps_misfits: bool,
    /// What is asked of the value.
    pub test: Test<'p>,
}

/// What is asked of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Test<'p> {
    /// It is missing or null, in the document or above.
    Null,
    /// It is neither.
    NotNull,
    /// It is a truth value, one of these.
    Truth(Vec<bool>),
    /// It is a number in one of these ranges.
    Number(Vec<Range>),
    /// It is a text for which this comparison, list or pattern holds by bytes.
    Text(&'p Predicate),
}

/// Numbers between two bounds, both included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The lower bound; none when everything below is included.
    pub low: Option<f64>,
    /// The upper bound.
    pub high: Option<f64>,
}

/// Takes a condition on one field apart.
///
/// # Errors
/// The reason why no store can evaluate it.
pub fn condition<'p>(source: &Source<'_>, at: &ColumnRef, predicate: &'p Predicate) -> Result<Condition<'p>, &'static str> {
    let (kind, names) = source.reach(at).ok_or("the field is not known")?;
    if names.iter().any(|name| name.contains('\0')) {
        return Err("the field's name cannot be written");
    }
    let test = match (predicate, &kind) {
        (Predicate::IsNull { .. }, _) if source.on_mismatch == OnMismatch::Null => {
            return Err("values that do not fit are read as NULL");
        }
        (Predicate::IsNull { negated, .. }, _) => {
            if *negated {
                Test::NotNull
            } else {
                Test::Null
            }
        }
        (_, DocumentType::Bool) => Test::Truth(truths(predicate)?),
        (_, DocumentType::Int | DocumentType::Double | DocumentType::Decimal { .. } | DocumentType::Numeric) => {
            Test::Number(ranges(predicate)?)
        }
        (_, DocumentType::Text) => text(predicate)?,
        _ => return Err("JSON holds the type in several forms"),
    };
    Ok(Condition { names, keeps_misfits: source.on_mismatch != OnMismatch::Null, test })
}

fn truths(predicate: &Predicate) -> Result<Vec<bool>, &'static str> {
    const REFUSED: &str = "booleans are compared by the engine";
    let (values, negated) = match predicate {
        Predicate::Compare { op: Comparison::Equal, value, .. } => (std::slice::from_ref(value), false),
        Predicate::Compare { op: Comparison::NotEqual, value, .. } => (std::slice::from_ref(value), true),
        Predicate::In { values, negated, .. } => (values.as_slice(), *negated),
        _ => return Err(REFUSED),
    };
    if !values.iter().all(|value| matches!(value, Value::Bool(_))) {
        return Err(REFUSED);
    }
    let wanted = [false, true].into_iter().filter(|truth| values.contains(&Value::Bool(*truth)) != negated);
    Ok(wanted.collect())
}

fn ranges(predicate: &Predicate) -> Result<Vec<Range>, &'static str> {
    const REFUSED: &str = "numbers are told apart by the engine";
    match predicate {
        Predicate::Compare { op, value, .. } => {
            let around = around(value).ok_or("the store cannot be given the number")?;
            Ok(vec![match op {
                Comparison::Equal => around,
                Comparison::Less | Comparison::LessOrEqual => Range { low: None, ..around },
                Comparison::Greater | Comparison::GreaterOrEqual => Range { high: None, ..around },
                Comparison::NotEqual => return Err(REFUSED),
            }])
        }
        Predicate::In { values, negated: false, .. } => {
            let ranges: Vec<Range> =
                values.iter().map(around).collect::<Option<_>>().ok_or("the store cannot be given the number")?;
            Ok(if ranges.len() > RANGES_MAX { hull(&ranges) } else { ranges })
        }
        _ => Err(REFUSED),
    }
}

fn around(value: &Value) -> Option<Range> {
    let number = match value {
        Value::Int(number) => *number as f64,
        Value::Float(number) => *number,
        Value::Decimal { unscaled, scale } => *unscaled as f64 / 10_f64.powi(i32::from(*scale)),
        Value::Numeric(digits) => digits.parse().ok()?,
        _ => return None,
    };
    let slack = number.abs() * SLACK + SLACK_AT_ZERO;
    let (low, high) = (number - slack, number + slack);
    (low.is_finite() && high.is_finite()).then_some(Range { low: Some(low), high: Some(high) })
}

fn hull(ranges: &[Range]) -> Vec<Range> {
    let low = ranges.iter().filter_map(|range| range.low).reduce(f64::min);
    let high = ranges.iter().filter_map(|range| range.high).reduce(f64::max);
    vec![Range { low, high }]
}

fn text(predicate: &Predicate) -> Result<Test<'_>, &'static str> {
    let values = match predicate {
        Predicate::Compare { value, .. } => std::slice::from_ref(value),
        Predicate::In { values, .. } if (1..=TEXTS_MAX).contains(&values.len()) => values.as_slice(),
        Predicate::Like { pattern, case_insensitive: false, .. } if !pattern.contains('\0') => {
            like::parts(pattern).ok_or("the pattern ends with the escape character")?;
            return Ok(Test::Text(predicate));
        }
        _ => return Err("the condition is evaluated by the engine"),
    };
    let fits = |value: &Value| matches!(value, Value::Text(text) if !text.contains('\0'));
    if values.iter().all(fits) { Ok(Test::Text(predicate)) } else { Err("the value is not a text that JSON can hold") }
}

/// The words of a store's JSON functions and truth values.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// The kind of documents.
    pub object: &'static str,
    /// The kind of JSON's null.
    pub null: &'static str,
    /// The kind of truth values.
    pub boolean: &'static str,
    /// The kind of texts.
    pub string: &'static str,
    /// SQL's own true and false.
    pub truth: [&'static str; 2],
}

/// How a store spells the parts of a condition. A level is a number of names: 0 is the document, the condition's own the field.
///
/// # Errors
/// Of all: a part that the store cannot be told.
pub trait Writer {
    /// The store's words.
    fn words(&self) -> Words;

    /// What is written to.
    fn sql(&mut self) -> &mut Sql;

    /// The branches (` WHEN … THEN …`) that keep documents which the other parts would read wrongly.
    fn unreadable(&mut self) -> Result<(), Unwritable>;

    /// The kind of the value at a level, NULL where there is none.
    fn kind(&mut self, level: usize) -> Result<(), Unwritable>;

    /// A truth value as the text `true` or `false`.
    fn truth(&mut self, level: usize) -> Result<(), Unwritable>;

    /// The branches for numbers in ranges.
    fn number(&mut self, level: usize, ranges: &[Range]) -> Result<(), Unwritable>;

    /// A comparison, list or pattern of a text.
    fn text(&mut self, level: usize, predicate: &Predicate) -> Result<(), Unwritable>;
}

/// Writes a condition as a `CASE` that asks for the kind of a value before it looks at the value.
///
/// # Errors
/// A part that the store cannot be told.
pub fn write(condition: &Condition<'_>, writer: &mut impl Writer) -> Result<(), Unwritable> {
    let depth = condition.names.len();
    let Words { object, null, truth: [truth, _], .. } = writer.words();
    writer.sql().push("CASE");
    writer.unreadable()?;
    for level in (0..depth).filter(|_| condition.keeps_misfits) {
        when(writer, level)?;
        // Above the field null is as good as nothing; the column itself is a document or the row is kept.
        let misfit = if level == 0 { format!(" <> {object}") } else { format!(" NOT IN ({object}, {null})") };
        writer.sql().push(&format!("{misfit} THEN {truth}"));
    }
    write_test(condition, depth, writer)?;
    write_rest(condition, depth, writer)?;
    writer.sql().push(" END");
    Ok(())
}

/// Starts a branch about the kind of the value at a level.
///
/// # Errors
/// As [`Writer::kind`].
pub fn when(writer: &mut impl Writer, level: usize) -> Result<(), Unwritable> {
    writer.sql().push(" WHEN ");
    writer.kind(level)
}

fn write_test(condition: &Condition<'_>, depth: usize, writer: &mut impl Writer) -> Result<(), Unwritable> {
    let Words { boolean, string, .. } = writer.words();
    match &condition.test {
        Test::Null | Test::NotNull => Ok(()),
        Test::Truth(wanted) => {
            when(writer, depth)?;
            writer.sql().push(&format!(" = {boolean} THEN "));
            writer.truth(depth)?;
            writer.sql().push(match wanted.as_slice() {
                [] => " IS NULL",
                [true] => " = 'true'",
                [false] => " = 'false'",
                _ => " IS NOT NULL",
            });
            Ok(())
        }
        Test::Number(ranges) => writer.number(depth, ranges),
        Test::Text(predicate) => {
            when(writer, depth)?;
            writer.sql().push(&format!(" = {string} THEN "));
            writer.text(depth, predicate)
        }
    }
}

/// What becomes of values that the test does not look at.
fn write_rest(condition: &Condition<'_>, depth: usize, writer: &mut impl Writer) -> Result<(), Unwritable> {
    let Words { null, truth: [truth, falsehood], .. } = writer.words();
    let (op, missing) = match (&condition.test, condition.keeps_misfits) {
        (Test::Null, _) => ("=", truth),
        (_, true) => ("<>", falsehood),
        (_, false) => {
            writer.sql().push(&format!(" ELSE {falsehood}"));
            return Ok(());
        }
    };
    writer.sql().push(" ELSE coalesce(");
    writer.kind(depth)?;
    writer.sql().push(&format!(" {op} {null}, {missing})"));
    Ok(())
}

/// The bounds that a range has, each with its comparison.
pub fn bounds(range: &Range) -> impl Iterator<Item = (&'static str, f64)> {
    [(" >= ", range.low), (" <= ", range.high)].into_iter().filter_map(|(op, bound)| Some((op, bound?)))
}

/// The digits of a bound without an exponent.
pub fn digits(bound: f64) -> String {
    bound.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::super::document::DocumentField;
    use super::*;

    fn source(kind: DocumentType, on_mismatch: OnMismatch) -> Source<'static> {
        let field = Some(DocumentField { name: "f".to_owned(), kind });
        Source { column: "doc", native_type: "json", field, on_mismatch }
    }

    fn compare(op: Comparison, value: Value) -> Predicate {
        Predicate::Compare { column: ColumnRef::of(0), op, value }
    }

    fn test_of(kind: DocumentType, predicate: &Predicate) -> Option<Test<'_>> {
        condition(&source(kind, OnMismatch::Error), &ColumnRef::of(0), predicate).ok().map(|condition| condition.test)
    }

    fn truths_of(op: Comparison, truth: bool) -> Option<Vec<bool>> {
        match test_of(DocumentType::Bool, &compare(op, Value::Bool(truth))) {
            Some(Test::Truth(wanted)) => Some(wanted),
            _ => None,
        }
    }

    #[test]
    fn truth_values_are_listed() {
        assert_eq!(truths_of(Comparison::Equal, true), Some(vec![true]));
        assert_eq!(truths_of(Comparison::NotEqual, true), Some(vec![false]));
        assert_eq!(truths_of(Comparison::Less, true), None);
    }

    #[test]
    fn numbers_get_room_for_rounding() {
        let values = [Value::Int(5), Value::Float(5.0), Value::Decimal { unscaled: 500, scale: 2 }, Value::Numeric("5".to_owned())];
        for value in values {
            let equal = compare(Comparison::Equal, value.clone());
            let Some(Test::Number(ranges)) = test_of(DocumentType::Double, &equal) else { panic!("{value:?}") };
            let [Range { low: Some(low), high: Some(high) }] = ranges[..] else { panic!("{ranges:?}") };
            assert!(low < 5.0 && 5.0 < high && high - low < 1e-11);
            let below = compare(Comparison::Less, value);
            assert_eq!(test_of(DocumentType::Int, &below), Some(Test::Number(vec![Range { low: None, high: Some(high) }])));
        }
        for refused in [Value::Float(f64::NAN), Value::Float(f64::MAX), Value::Numeric("Infinity".to_owned())] {
            assert_eq!(test_of(DocumentType::Numeric, &compare(Comparison::Less, refused)), None);
        }
        assert_eq!(test_of(DocumentType::Int, &compare(Comparison::NotEqual, Value::Int(1))), None);
        let long = Predicate::In { column: ColumnRef::of(0), values: (0..200).map(Value::Int).collect(), negated: false };
        let Some(Test::Number(ranges)) = test_of(DocumentType::Int, &long) else { panic!() };
        assert!(ranges.len() == 1 && ranges[0].high > Some(199.0) && ranges[0].low < Some(0.0));
        assert_eq!(digits(1e21), "1000000000000000000000");
    }

    #[test]
    fn nulls_are_tested_only_where_misfits_are_not_read_as_such() {
        let is_null = Predicate::IsNull { column: ColumnRef::of(0), negated: false };
        assert_eq!(test_of(DocumentType::Mixed, &is_null), Some(Test::Null));
        assert!(condition(&source(DocumentType::Int, OnMismatch::Null), &ColumnRef::of(0), &is_null).is_err());
        let deep = ColumnRef { column: 0, path: vec!["x".to_owned()] };
        assert!(condition(&source(DocumentType::Int, OnMismatch::Error), &deep, &is_null).is_err());
        assert_eq!(test_of(DocumentType::Date, &compare(Comparison::Equal, Value::Int(1))), None);
        assert_eq!(test_of(DocumentType::Text, &compare(Comparison::Equal, Value::Text("a\0".to_owned()))), None);
    }
}
