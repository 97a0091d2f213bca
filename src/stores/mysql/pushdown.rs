//! Which predicates the server can evaluate with Postgres semantics, and how they are spelled for it.
//!
//! | type | exact | superset | refused |
//! |---|---|---|---|
//! | integers | all comparisons within the type's range | | numbers that the type cannot hold, which the server clamps |
//! | decimals, `double`, `bytea`, `boolean` | all comparisons | | `NaN` and infinities |
//! | `float` | | | all: the server compares the widened value |
//! | `date`, `datetime`, `timestamp` | `=`, `IN` | the rest, because of zero dates | `IS NULL` when zero dates read as NULL |
//! | `year` | 1901 to 2155 | | other numbers, which the server bends to this century |
//! | text that compares by bytes | all | | |
//! | text of a binary collation that does not pad | `=`, `<>`, `IN`, `LIKE` | | order |
//! | other text in an encoding of Unicode | order and `<>`, as bytes | `=`, `IN`, `LIKE` | `NOT LIKE` |
//! | other text | | `=`, `IN`, `LIKE` with ASCII | the rest |
//! | text whose collation counts (`stores/collation`) | all | | |
//! | `uuid` | `=`, `<>`, `IN` | | order |
//! | fields of documents | | see `field.rs` | |
//!
//! A comparison with a text that the column's character set cannot hold is error 1267 on the server, so it is refused.

use super::super::predicate::{ColumnRef, Comparison, Predicate, Pushdown};
use super::super::relational::{Spelling, Sql, Unwritable, Use, embedded, like, literal, rows};
use super::super::schema::{Collation, Column, Table};
use super::super::value::Value;
use super::field;
use super::options::ZeroDate;
use super::types;
use crate::pgtype::PgType;

/// More list elements than this are not sent; the protocol carries at most 65,535 parameters.
const LIST_MAX: usize = 10_000;

/// The first and the last day that the server's calendar functions know, as days since 1970-01-01: 0001-01-01, 9999-12-31.
const DAYS: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;
/// In a list the server clamps such a constant to the column's type: `unsigned NOT IN (-1)` loses the rows with 0.
const OUT_OF_RANGE: &str = "the column's type cannot hold the number";
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// The server's decimals have at most 65 digits, 30 of them after the point.
const DECIMAL_DIGITS_MAX: usize = 65;
/// See [`DECIMAL_DIGITS_MAX`].
const DECIMAL_SCALE_MAX: usize = 30;

/// Judges a predicate. Pure.
pub(super) fn judge(table: &Table, predicate: &Predicate, zero_date: ZeroDate) -> Pushdown {
    if let Some(judged) = judge_field(table, predicate) {
        return judged;
    }
    match predicate {
        Predicate::And(parts) => join_all(parts.iter().map(|part| judge(table, part, zero_date))),
        Predicate::Or(parts) => join_any(parts.iter().map(|part| judge(table, part, zero_date))),
        Predicate::Rows(found) => rows::judge(table, found, rows::VALUES_MAX, &|part| judge(table, part, zero_date)),
        Predicate::Compare { column, op, value } => on_column(table, column, |found| compare(found, column, *op, value)),
        Predicate::In { column, values, negated } => on_column(table, column, |found| member(found, column, values, *negated)),
        Predicate::IsNull { column, negated } => on_column(table, column, |found| {
            let kept = predicate.clone();
            match (types::may_be_zero_date(&found.native_type), negated, zero_date) {
                (false, _, _) => Pushdown::Exact(kept),
                (true, false, ZeroDate::Null) => Pushdown::Refused("zero dates are read as NULL"),
                (true, _, _) => Pushdown::Superset(kept),
            }
        }),
        Predicate::Like { column, pattern, negated, case_insensitive } => on_column(table, column, |found| {
            if *case_insensitive {
                return Pushdown::Refused("the store folds case by its own rules");
            }
            let Some(parts) = like::parts(pattern) else { return Pushdown::Refused("the pattern ends with its escape") };
            let letters: String =
                parts.iter().filter_map(|part| if let like::Part::Exactly(c) = part { Some(*c) } else { None }).collect();
            if !is_text(found) || !can_hold(found, &letters) {
                return Pushdown::Refused("the column's character set cannot hold the pattern");
            }
            match (&found.collation, negated) {
                (Collation::Bytes | Collation::Linguistic(_) | Collation::Native { .. }, _) => Pushdown::Exact(predicate.clone()),
                (Collation::Loose(_), false) => Pushdown::Superset(predicate.clone()),
                (Collation::Loose(_), true) => Pushdown::Refused("the store's LIKE ignores case or accents"),
            }
        }),
    }
}

/// A condition on a field of a document; `None` for other conditions.
fn judge_field(table: &Table, predicate: &Predicate) -> Option<Pushdown> {
    let column = table.columns.get(field::subject(predicate)?.column)?;
    let source = embedded::source(&column.field)?;
    Some(match field::judge(&source, predicate) {
        Ok(_) => Pushdown::Superset(predicate.clone()),
        Err(reason) => Pushdown::Refused(reason),
    })
}

fn on_column(table: &Table, column: &ColumnRef, judge: impl FnOnce(&Column) -> Pushdown) -> Pushdown {
    match table.columns.get(column.column) {
        Some(found) if column.path.is_empty() => judge(found),
        Some(_) => Pushdown::Refused("the field is inside a document"),
        None => Pushdown::Refused("the column is not in the table"),
    }
}

/// A conjunction keeps what can be evaluated.
fn join_all(judged: impl Iterator<Item = Pushdown>) -> Pushdown {
    let (mut kept, mut exact, mut reason) = (Vec::new(), true, "the condition is empty");
    for part in judged {
        match part {
            Pushdown::Exact(part) => kept.push(part),
            Pushdown::Superset(part) => {
                kept.push(part);
                exact = false;
            }
            Pushdown::Refused(why) => {
                reason = why;
                exact = false;
            }
        }
    }
    match (kept.is_empty(), exact) {
        (true, _) => Pushdown::Refused(reason),
        (false, true) => Pushdown::Exact(Predicate::And(kept)),
        (false, false) => Pushdown::Superset(Predicate::And(kept)),
    }
}

/// A disjunction needs every part.
fn join_any(judged: impl Iterator<Item = Pushdown>) -> Pushdown {
    let (mut kept, mut exact) = (Vec::new(), true);
    for part in judged {
        match part {
            Pushdown::Exact(part) => kept.push(part),
            Pushdown::Superset(part) => {
                kept.push(part);
                exact = false;
            }
            Pushdown::Refused(why) => return Pushdown::Refused(why),
        }
    }
    if exact { Pushdown::Exact(Predicate::Or(kept)) } else { Pushdown::Superset(Predicate::Or(kept)) }
}

fn member(found: &Column, column: &ColumnRef, values: &[Value], negated: bool) -> Pushdown {
    if values.is_empty() || values.len() > LIST_MAX {
        return Pushdown::Refused("the list is too long");
    }
    let op = if negated { Comparison::NotEqual } else { Comparison::Equal };
    let mut exact = true;
    for value in values {
        match compare(found, column, op, value) {
            Pushdown::Exact(_) => {}
            Pushdown::Superset(_) => exact = false,
            Pushdown::Refused(why) => return Pushdown::Refused(why),
        }
    }
    // `NOT IN` is written as one comparison per value where `<>` has another spelling than `=`.
    let kept = if negated && compares_as_bytes(found, op) {
        let each = |value: &Value| Predicate::Compare { column: column.clone(), op, value: value.clone() };
        Predicate::And(values.iter().map(each).collect())
    } else {
        Predicate::In { column: column.clone(), values: values.to_vec(), negated }
    };
    if exact { Pushdown::Exact(kept) } else { Pushdown::Superset(kept) }
}

fn compare(found: &Column, column: &ColumnRef, op: Comparison, value: &Value) -> Pushdown {
    let kept = Predicate::Compare { column: column.clone(), op, value: value.clone() };
    let equality = matches!(op, Comparison::Equal | Comparison::NotEqual);
    match (found.pg_type().oid, value) {
        (16, Value::Bool(_)) | (17, Value::Bytes(_)) => Pushdown::Exact(kept),
        (20 | 21 | 23, Value::Int(number)) => {
            if types::is_year(&found.native_type) && !(1901..=2155).contains(number) {
                return Pushdown::Refused("the store reads small years as years of this century");
            }
            if types::integer_range(&found.native_type).is_some_and(|range| !range.contains(&i128::from(*number))) {
                return Pushdown::Refused(OUT_OF_RANGE);
            }
            Pushdown::Exact(kept)
        }
        (1700, Value::Int(_) | Value::Decimal { .. } | Value::Numeric(_)) if found.native_type.starts_with("bigint") => {
            let range = types::integer_range(&found.native_type);
            match whole(value).zip(range) {
                Some((number, range)) if range.contains(&number) => Pushdown::Exact(kept),
                _ => Pushdown::Refused(OUT_OF_RANGE),
            }
        }
        (1700, Value::Int(_) | Value::Decimal { .. } | Value::Numeric(_)) => match number(value) {
            Some(_) => Pushdown::Exact(kept),
            None => Pushdown::Refused("the store has no number of this size"),
        },
        (701, Value::Float(number)) if number.is_finite() => Pushdown::Exact(kept),
        (701, _) => Pushdown::Refused("the store has no NaN and no infinity"),
        (700, _) => Pushdown::Refused("the store compares real columns as double precision"),
        (1082, Value::Date(days)) if DAYS.contains(days) => around_zero_dates(kept, op),
        (1114, Value::Timestamp(micros)) | (1184, Value::TimestampTz(micros)) if is_storable(*micros) => {
            around_zero_dates(kept, op)
        }
        (1082 | 1114 | 1184, _) => Pushdown::Refused("the store has no such date"),
        (2950, Value::Text(text)) if equality && super::decode::uuid(text.as_bytes()).as_ref() == Ok(text) => Pushdown::Exact(kept),
        (25 | 1043, Value::Text(text)) if can_hold(found, text) => compare_text(found, op, text, kept),
        (25 | 1043, _) => Pushdown::Refused("the column's character set cannot hold the text"),
        _ => Pushdown::Refused("the store compares this type by its own rules"),
    }
}

/// A zero date is below every day for the server but NULL or an error for us; it never equals a day.
fn around_zero_dates(kept: Predicate, op: Comparison) -> Pushdown {
    if op == Comparison::Equal { Pushdown::Exact(kept) } else { Pushdown::Superset(kept) }
}

/// Whether the server's calendar has the day.
pub(super) fn is_storable_day(days: i32) -> bool {
    DAYS.contains(&days)
}

/// Whether the server's calendar has the moment.
pub(super) fn is_storable(micros: i64) -> bool {
    i32::try_from(micros.div_euclid(MICROS_PER_DAY)).is_ok_and(|days| DAYS.contains(&days))
}

fn compare_text(found: &Column, op: Comparison, text: &str, kept: Predicate) -> Pushdown {
    if matches!(found.collation, Collation::Native { .. }) {
        return Pushdown::Exact(kept);
    }
    // An index on a char(n) column finds 'a' for 'a ', whatever the collation; no value of the column ends with a blank.
    if found.native_type.starts_with("char") && text.ends_with(' ') {
        return Pushdown::Refused("char columns hold no trailing blanks");
    }
    let order = !matches!(op, Comparison::Equal | Comparison::NotEqual);
    if order && found.field.metadata().contains_key(crate::pgtype::ENUM_KEY) {
        return Pushdown::Refused("the store orders an enum by its labels' numbers");
    }
    match &found.collation {
        Collation::Bytes => Pushdown::Exact(kept),
        Collation::Linguistic(_) if !order => Pushdown::Exact(kept),
        Collation::Loose(_) if op == Comparison::Equal => Pushdown::Superset(kept),
        _ if compares_as_bytes(found, op) => Pushdown::Exact(kept),
        _ => Pushdown::Refused("the store orders this text by its own rules"),
    }
}

/// Whether the comparison is written over the column's bytes, which are the text in UTF-8.
fn compares_as_bytes(found: &Column, op: Comparison) -> bool {
    let is_utf8 = |name: &str| matches!(charset(name), "utf8mb4" | "utf8mb3" | "utf8" | "ascii");
    is_text(found)
        && match &found.collation {
            Collation::Bytes | Collation::Native { .. } => false,
            Collation::Linguistic(name) => !matches!(op, Comparison::Equal | Comparison::NotEqual) && is_utf8(name),
            Collation::Loose(name) => op != Comparison::Equal && is_utf8(name),
        }
}

fn is_text(found: &Column) -> bool {
    matches!(found.pg_type().oid, 25 | 1043)
}

fn charset(collation: &str) -> &str {
    collation.split_once('_').map_or(collation, |(charset, _)| charset)
}

/// Whether a column whose collation counts is compared under it.
pub(super) fn compares_by_own(_column: &Column, purpose: Use) -> bool {
    purpose != Use::NullTest
}

/// Whether the column's character set surely has every character of the text.
pub(super) fn can_hold(found: &Column, text: &str) -> bool {
    match &found.collation {
        Collation::Bytes => true,
        Collation::Linguistic(name) | Collation::Loose(name) | Collation::Native { name, .. } => match charset(name) {
            "utf8mb4" => true,
            "utf8mb3" | "utf8" => text.chars().all(|character| u32::from(character) <= 0xffff),
            _ => text.is_ascii(),
        },
    }
}

/// A number as the server takes it.
#[derive(Debug, PartialEq)]
enum Number {
    /// A `bigint` parameter.
    Int(i64),
    /// Digits, with how many of them stand after the point.
    Digits(String, usize),
}

/// A number without a fraction.
fn whole(value: &Value) -> Option<i128> {
    match number(value)? {
        Number::Int(number) => Some(number.into()),
        Number::Digits(digits, 0) => digits.parse().ok(),
        Number::Digits(..) => None,
    }
}

fn number(value: &Value) -> Option<Number> {
    let digits = match value {
        Value::Int(number) => return Some(Number::Int(*number)),
        Value::Decimal { unscaled, scale } => {
            let mut digits = String::new();
            literal::write_decimal(*unscaled, *scale, &mut digits);
            digits
        }
        Value::Numeric(digits) => digits.clone(),
        _ => return None,
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let bare = whole.strip_prefix('-').unwrap_or(whole);
    if bare.is_empty() || !bare.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if fraction.is_empty()
        && let Ok(number) = whole.parse()
    {
        return Some(Number::Int(number));
    }
    let fits = fraction.len() <= DECIMAL_SCALE_MAX && bare.trim_start_matches('0').len() + fraction.len() <= DECIMAL_DIGITS_MAX;
    let point = if fraction.is_empty() { "" } else { "." };
    fits.then(|| Number::Digits(format!("{whole}{point}{fraction}"), fraction.len()))
}

/// Whether the server's decimals hold the number.
pub(super) fn fits_decimal(digits: &str) -> bool {
    number(&Value::Numeric(digits.to_owned())).is_some()
}

/// Writes a number as a decimal with the digits that it has, zeros after the point included.
///
/// # Errors
/// When the server has no number of this size.
pub(super) fn write_decimal(value: &Value, sql: &mut Sql) -> Result<(), Unwritable> {
    let digits = match value {
        Value::Int(number) => number.to_string(),
        Value::Decimal { unscaled, scale } => {
            let mut digits = String::new();
            literal::write_decimal(*unscaled, *scale, &mut digits);
            digits
        }
        Value::Numeric(digits) if fits_decimal(digits) => digits.clone(),
        _ => return Err(Unwritable("is no number of the store")),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let whole = whole.strip_prefix('-').unwrap_or(whole).trim_start_matches('0').len();
    let precision = (whole + fraction.len()).max(1);
    if precision > DECIMAL_DIGITS_MAX || fraction.len() > DECIMAL_SCALE_MAX {
        return Err(Unwritable("has more digits than the store's numbers"));
    }
    let scale = fraction.len();
    sql.push_cast(Value::Text(digits), &format!("DECIMAL({precision},{scale})"))
}

/// Writes a value of any type.
///
/// # Errors
/// When the server has no such value.
pub(super) fn write_value(value: &Value, sql: &mut Sql) -> Result<(), Unwritable> {
    match value {
        Value::Bool(truth) => sql.push_value(Value::Int(i64::from(*truth))),
        Value::Decimal { .. } | Value::Numeric(_) => match number(value).ok_or(Unwritable("is too large for the store"))? {
            Number::Int(number) => sql.push_value(Value::Int(number)),
            Number::Digits(digits, scale) => sql.push_cast(Value::Text(digits), &format!("DECIMAL(65,{scale})")),
        },
        Value::Date(days) => sql.push_cast(Value::Text(day(i64::from(*days))), "DATE"),
        Value::Timestamp(micros) | Value::TimestampTz(micros) => sql.push_cast(Value::Text(moment(*micros)), "DATETIME(6)"),
        Value::Time(_) => Err(Unwritable("is a time of day, which the store does not have")),
        Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::Bytes(_) => sql.push_value(value.clone()),
    }
}

/// How columns and values of one table are spelled.
pub(super) struct Spelled<'a> {
    /// The table.
    pub(super) table: &'a Table,
    /// The alias through which its columns are reached.
    pub(super) alias: Option<&'a str>,
}

impl Spelled<'_> {
    fn column(&self, column: &ColumnRef) -> Result<&Column, Unwritable> {
        self.table.columns.get(column.column).ok_or(Unwritable("belongs to no column of the table"))
    }
}

impl Spelling for Spelled<'_> {
    fn write_own(&self, predicate: &Predicate, sql: &mut Sql) -> Result<bool, Unwritable> {
        let column = field::subject(predicate).and_then(|at| self.table.columns.get(at.column));
        let Some(source) = column.and_then(|column| embedded::source(&column.field)) else { return Ok(false) };
        field::write(&source, predicate, sql).map(|()| true)
    }

    fn write_column(&self, column: &ColumnRef, purpose: Use, sql: &mut Sql) -> Result<(), Unwritable> {
        let found = self.column(column)?;
        let (before, after) = match purpose {
            // Any number but zero is true.
            Use::Compare(_) | Use::Member if found.pg_type() == PgType::BOOL => ("(", " <> 0)"),
            Use::Compare(op) if compares_as_bytes(found, op) => ("CAST(", " AS BINARY)"),
            _ => ("", ""),
        };
        sql.push(before);
        if let Some(alias) = self.alias {
            sql.push(alias);
            sql.push(".");
        }
        sql.push_name(found.name());
        sql.push(after);
        Ok(())
    }

    fn write_value(&self, column: &ColumnRef, value: &Value, sql: &mut Sql) -> Result<(), Unwritable> {
        let _ = self.column(column)?;
        write_value(value, sql)
    }
}

fn day(days: i64) -> String {
    let (year, month, day) = literal::civil(days);
    format!("{year:04}-{month:02}-{day:02}")
}

fn moment(micros: i64) -> String {
    let clock = micros.rem_euclid(MICROS_PER_DAY);
    let (seconds, micros_left) = (clock / 1_000_000, clock % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{} {hour:02}:{minute:02}:{second:02}.{micros_left:06}", day(micros.div_euclid(MICROS_PER_DAY)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::relational::{Dialect, write_all};
    use super::super::super::schema::{Generated, TableId, TableKind};
    use super::super::types::Policy;
    use super::*;

    const POLICY: Policy = Policy { zero_date: ZeroDate::Error, tinyint1_is_bool: true };

    fn column(name: &str, native_type: &str, collation: Collation) -> Column {
        Column {
            field: types::field(name, native_type, true, POLICY).unwrap(),
            native_type: native_type.to_owned(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation,
            statistics: crate::stores::schema::ColumnStatistics::default(),
        }
    }

    fn loose(name: &str) -> Collation {
        Collation::Loose(name.to_owned())
    }

    fn table() -> Table {
        let columns = vec![
            column("n", "int(11)", Collation::Bytes),
            column("f4", "float", Collation::Bytes),
            column("f8", "double", Collation::Bytes),
            column("ci", "varchar(9)", loose("utf8mb4_general_ci")),
            column("exact", "varchar(9)", Collation::Bytes),
            column("latin", "char(9)", loose("latin1_swedish_ci")),
            column("day", "date", Collation::Bytes),
            column("big", "bigint(20) unsigned", Collation::Bytes),
            column("truth", "tinyint(1)", Collation::Bytes),
            column("y", "year(4)", Collation::Bytes),
            column("at", "timestamp(6)", Collation::Bytes),
            column("label", "enum('a','b')", Collation::Bytes),
            column("id", "uuid", Collation::Bytes),
            column("wide", "decimal(65,30)", Collation::Bytes),
            column("odd`name", "blob", Collation::Bytes),
            column("own", "varchar(9)", Collation::Native { name: "utf8mb4_general_ci".to_owned(), is_loose: true }),
            column("narrow", "char(9)", Collation::Native { name: "latin1_swedish_ci".to_owned(), is_loose: true }),
        ];
        Table {
            id: TableId { namespace: "d".to_owned(), name: "t".to_owned() },
            kind: TableKind::Table,
            schema: Table::arrow_schema(&columns),
            columns,
            primary_key: None,
            unique_keys: vec![],
            foreign_keys: vec![],
            checks: vec![],
            indexes: vec![],
            comment: None,
            row_estimate: None,
            division: None,
        }
    }

    fn of(table: &Table, name: &str) -> ColumnRef {
        ColumnRef::of(table.columns.iter().position(|column| column.name() == name).unwrap())
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    /// The verdict and the condition as it would be sent: `exact: …`, `superset: …` or `refused`.
    fn shown(table: &Table, predicate: &Predicate, zero_date: ZeroDate) -> String {
        let (word, kept) = match judge(table, predicate, zero_date) {
            Pushdown::Exact(kept) => ("exact", kept),
            Pushdown::Superset(kept) => ("superset", kept),
            Pushdown::Refused(_) => return "refused".to_owned(),
        };
        let mut sql = Sql::bound(Dialect::MySql);
        write_all(&[kept], &Spelled { table, alias: None }, &mut sql).unwrap();
        let condition = sql.text().strip_prefix(" WHERE ").unwrap().to_owned();
        format!("{word}: {condition} {:?}", sql.values())
    }

    #[test]
    fn comparisons() {
        use Comparison::{Equal, GreaterOrEqual, Less, NotEqual};
        let table = Arc::new(table());
        let decimal = |unscaled, scale| Value::Decimal { unscaled, scale };
        let rows = [
            ("n", Less, Value::Int(5), "exact: `n` < ? [Int(5)]"),
            ("n", Less, Value::Float(5.0), "refused"),
            ("f4", Equal, Value::Float(0.1), "refused"),
            ("f8", Less, Value::Float(0.1), "exact: `f8` < ? [Float(0.1)]"),
            ("f8", Less, Value::Float(f64::NAN), "refused"),
            ("ci", Equal, text("a"), "superset: `ci` = ? [Text(\"a\")]"),
            ("ci", NotEqual, text("a"), "exact: CAST(`ci` AS BINARY) <> ? [Text(\"a\")]"),
            ("ci", Less, text("a"), "exact: CAST(`ci` AS BINARY) < ? [Text(\"a\")]"),
            ("exact", Less, text("😀"), "exact: `exact` < ? [Text(\"😀\")]"),
            ("latin", Equal, text("a"), "superset: `latin` = ? [Text(\"a\")]"),
            ("latin", Equal, text("a "), "refused"),
            ("latin", Equal, text("ä"), "refused"),
            ("latin", Less, text("a"), "refused"),
            ("day", Equal, Value::Date(0), "exact: `day` = CAST(? AS DATE) [Text(\"1970-01-01\")]"),
            ("day", Less, Value::Date(-1), "superset: `day` < CAST(? AS DATE) [Text(\"1969-12-31\")]"),
            ("day", Less, Value::Date(i32::MAX), "refused"),
            ("n", Less, Value::Int(1 << 31), "refused"),
            ("big", Equal, decimal(-5, 0), "refused"),
            ("big", Equal, decimal(500, 2), "exact: `big` = ? [Int(5)]"),
            ("big", Less, decimal(55, 1), "refused"),
            ("wide", Less, decimal(55, 1), "exact: `wide` < CAST(? AS DECIMAL(65,1)) [Text(\"5.5\")]"),
            (
                "big",
                Equal,
                decimal(18_446_744_073_709_551_615, 0),
                "exact: `big` = CAST(? AS DECIMAL(65,0)) [Text(\"18446744073709551615\")]",
            ),
            ("truth", Equal, Value::Bool(true), "exact: (`truth` <> 0) = ? [Int(1)]"),
            ("y", Equal, Value::Int(2024), "exact: `y` = ? [Int(2024)]"),
            ("y", Equal, Value::Int(24), "refused"),
            (
                "at",
                GreaterOrEqual,
                Value::TimestampTz(-1),
                "superset: `at` >= CAST(? AS DATETIME(6)) [Text(\"1969-12-31 23:59:59.999999\")]",
            ),
            ("label", Equal, text("a"), "exact: `label` = ? [Text(\"a\")]"),
            ("label", Less, text("b"), "refused"),
            (
                "id",
                Equal,
                text("123e4567-e89b-12d3-a456-426655440000"),
                "exact: `id` = ? [Text(\"123e4567-e89b-12d3-a456-426655440000\")]",
            ),
            ("id", Equal, text("nonsense"), "refused"),
            ("id", Less, text("123e4567-e89b-12d3-a456-426655440000"), "refused"),
            ("odd`name", Less, Value::Bytes(vec![1]), "exact: `odd``name` < ? [Bytes([1])]"),
            ("own", Equal, text("a"), "exact: `own` = ? [Text(\"a\")]"),
            ("own", GreaterOrEqual, text("ä"), "exact: `own` >= ? [Text(\"ä\")]"),
            ("narrow", NotEqual, text("a "), "exact: `narrow` <> ? [Text(\"a \")]"),
            ("narrow", Equal, text("ä"), "refused"),
        ];
        for (name, op, value, expected) in rows {
            let predicate = Predicate::Compare { column: of(&table, name), op, value };
            assert_eq!(shown(&table, &predicate, ZeroDate::Error), expected, "{name}");
        }
    }

    #[test]
    fn lists_patterns_and_nulls() {
        let table = table();
        let list = |name: &str, values: &[&str], negated| Predicate::In {
            column: of(&table, name),
            values: values.iter().map(|value| text(value)).collect(),
            negated,
        };
        let like = |name: &str, pattern: &str, negated| Predicate::Like {
            column: of(&table, name),
            pattern: pattern.to_owned(),
            negated,
            case_insensitive: false,
        };
        let null = |name: &str, negated| Predicate::IsNull { column: of(&table, name), negated };
        let rows = [
            (list("ci", &["a", "b"], false), "superset: `ci` IN (?, ?) [Text(\"a\"), Text(\"b\")]"),
            (
                list("ci", &["a", "b"], true),
                "exact: (CAST(`ci` AS BINARY) <> ? AND CAST(`ci` AS BINARY) <> ?) [Text(\"a\"), Text(\"b\")]",
            ),
            (list("exact", &["a"], true), "exact: `exact` NOT IN (?) [Text(\"a\")]"),
            (list("latin", &["a", "ä"], false), "refused"),
            (list("latin", &["a"], true), "refused"),
            (like("ci", "a\\%!%", false), "superset: `ci` LIKE ? ESCAPE '!' [Text(\"a!%!!%\")]"),
            (like("ci", "a%", true), "refused"),
            (list("own", &["a", "b"], true), "exact: `own` NOT IN (?, ?) [Text(\"a\"), Text(\"b\")]"),
            (like("own", "a%", true), "exact: `own` NOT LIKE ? ESCAPE '!' [Text(\"a%\")]"),
            (like("narrow", "ä%", false), "refused"),
            (like("exact", "a_", true), "exact: `exact` NOT LIKE ? ESCAPE '!' [Text(\"a_\")]"),
            (like("latin", "ä%", false), "refused"),
            (like("n", "1%", false), "refused"),
            (null("n", true), "exact: `n` IS NOT NULL []"),
            (null("day", true), "superset: `day` IS NOT NULL []"),
            (null("day", false), "superset: `day` IS NULL []"),
        ];
        for (predicate, expected) in rows {
            assert_eq!(shown(&table, &predicate, ZeroDate::Error), expected);
        }
        assert_eq!(shown(&table, &null("day", false), ZeroDate::Null), "refused");
    }

    #[test]
    fn junctions_weaken_only_in_the_safe_direction() {
        let table = table();
        let exact = Predicate::Compare { column: of(&table, "n"), op: Comparison::Less, value: Value::Int(5) };
        let weaker = Predicate::Compare { column: of(&table, "ci"), op: Comparison::Equal, value: text("a") };
        let refused = Predicate::Compare { column: of(&table, "f4"), op: Comparison::Less, value: Value::Float(1.0) };
        let rows = [
            (Predicate::And(vec![exact.clone(), exact.clone()]), "exact: (`n` < ? AND `n` < ?) [Int(5), Int(5)]"),
            (Predicate::And(vec![exact.clone(), refused.clone()]), "superset: (`n` < ?) [Int(5)]"),
            (Predicate::And(vec![refused.clone()]), "refused"),
            (Predicate::Or(vec![exact.clone(), weaker]), "superset: (`n` < ? OR `ci` = ?) [Int(5), Text(\"a\")]"),
            (Predicate::Or(vec![exact, refused]), "refused"),
        ];
        for (predicate, expected) in rows {
            assert_eq!(shown(&table, &predicate, ZeroDate::Error), expected);
        }
    }

    #[test]
    fn numbers_fit_the_servers_decimals_or_are_refused() {
        let numeric = |digits: &str| number(&Value::Numeric(digits.to_owned()));
        assert_eq!(numeric("-12.3400"), Some(Number::Digits("-12.34".to_owned(), 2)));
        assert_eq!(numeric("12.00"), Some(Number::Int(12)));
        assert_eq!(numeric(&"9".repeat(65)), Some(Number::Digits("9".repeat(65), 0)));
        assert_eq!(numeric(&"9".repeat(66)), None);
        assert_eq!(numeric(&format!("0.{}", "1".repeat(31))), None);
        assert_eq!(numeric("NaN"), None);
        assert_eq!(numeric("Infinity"), None);
        assert_eq!(numeric("1; DROP"), None);
    }
}
