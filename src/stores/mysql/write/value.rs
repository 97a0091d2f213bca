//! Values on their way into columns: what a column would store otherwise than it was given is refused, or fitted as PostgreSQL fits
//! values of such a type, so that keys find what was stored.
//!
//! | column | the server alone | here |
//! |---|---|---|
//! | `enum`, `set` | takes '1' for the first label | a label, letter by letter; of a set in its order |
//! | `year` | takes 5 for 2005 | 0, 1901 to 2155 |
//! | `binary(n)` | fills up with zeros | exactly n bytes |
//! | `bit(n)` | takes text as bytes | the number that the digits are |
//! | `time` | cuts what it does not keep of a second | refused, as days and months are |
//! | dates | takes some days that no calendar has | 0001-01-01 to 9999-12-31 |
//! | `float`, `double` | | no NaN, no infinity |
//! | `float(m,d)`, `double(m,d)` | rounds to d digits | the same, as `numeric(m,d)` does; what has more than m is 22003 by the server |
//! | `char(n)` | strips blanks at the end | the same: they do not count in PostgreSQL's either |
//! | `tinytext` to `mediumtext` | cuts blanks behind the last byte | 22001 |
//! | `enum` NOT NULL, left out | takes the first label | 23502 |
//! | NULL into `AUTO_INCREMENT`, `timestamp` | may mean the next number, or now | 23502 where the column takes none |
//!
//! Everything else the server refuses by itself, with strict mode on.

use std::borrow::Cow;

use super::super::super::cell::{self, Cell};
use super::super::super::edit::{ConflictAction, Edit};
use super::super::super::error::StoreError;
use super::super::super::relational::{Sql, Unwritable};
use super::super::super::schema::{Column, Generated, Table};
use super::super::super::value::Value;
use super::super::Shared;
use super::super::decode::Fault;
use super::super::options::ZeroDate;
use super::super::pushdown::{is_storable, is_storable_day, write_value};
use super::super::types::{self, Policy};
use crate::error::{Site, sqlstate};
use crate::pgtype::PgType;

/// 838:59:59.999999
const SPAN_MAX: i64 = (839 * 3600) * MICROS_PER_SECOND - 1;
const MICROS_PER_SECOND: i64 = 1_000_000;

fn fault(sqlstate: &'static str, rule: &str) -> Fault {
    Fault { sqlstate, rule: rule.to_owned() }
}

fn unwritable(error: &Unwritable) -> Fault {
    fault(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, error.0)
}

/// The error for a value that the column cannot have.
pub(super) fn unfit(shared: &Shared, table: &Table, column: &Column, fault: Fault) -> StoreError {
    let (store, name) = (shared.name.to_string(), column.name());
    if fault.sqlstate != sqlstate::NOT_NULL_VIOLATION {
        let (table, column) = (table.id.name.clone(), name.to_owned());
        return StoreError::Value { store, table, column, sqlstate: fault.sqlstate, rule: fault.rule };
    }
    let id = table.id.clone();
    let site = Site { schema: Some(id.namespace), table: Some(id.name), column: Some(name.to_owned()), ..Site::default() };
    StoreError::Remote {
        store,
        sqlstate: fault.sqlstate.to_owned(),
        message: format!("null value in column \"{name}\" of relation \"{}\" violates not-null constraint", table.id.name),
        detail: None,
        constraint: None,
        site: Some(Box::new(site)),
    }
}

/// Refuses values for columns that the store computes.
///
/// # Errors
/// 428C9 for the first such column.
pub(super) fn check_generated(shared: &Shared, edit: &Edit) -> Result<(), StoreError> {
    let (columns, is_insert): (Vec<usize>, bool) = match edit {
        Edit::Insert(insert) => (insert.columns.clone(), true),
        Edit::Update(update) => (update.set.clone(), false),
        Edit::UpdateRows(update) => (update.set.clone(), false),
        Edit::Delete(_) | Edit::DeleteRows(_) => (Vec::new(), false),
    };
    let proposed = match edit {
        Edit::Insert(insert) => insert.conflict.as_ref().map(|conflict| &conflict.action),
        _ => None,
    };
    let set: &[_] = if let Some(ConflictAction::Update(set)) = proposed { set.as_slice() } else { &[] };
    let written = columns.into_iter().map(|ordinal| (ordinal, is_insert)).chain(set.iter().map(|(ordinal, _)| (*ordinal, false)));
    for (ordinal, is_inserted) in written {
        let Some(column) = edit.table().columns.get(ordinal).filter(|column| column.generated == Generated::Always) else {
            continue;
        };
        let name = column.name();
        let message = match is_inserted {
            true => format!("cannot insert a non-DEFAULT value into column \"{name}\""),
            false => format!("column \"{name}\" can only be updated to DEFAULT"),
        };
        return Err(StoreError::remote(shared.name.as_str(), sqlstate::GENERATED_ALWAYS, message));
    }
    Ok(())
}

/// Refuses rows for which the store would make up a label.
///
/// # Errors
/// 23502 for the first column that has neither a value nor a default.
pub(super) fn check_omitted(shared: &Shared, edit: &Edit) -> Result<(), StoreError> {
    let Edit::Insert(insert) = edit else { return Ok(()) };
    let mut omitted = insert.table.columns.iter().enumerate().filter(|(ordinal, _)| !insert.columns.contains(ordinal));
    match omitted.find(|(_, column)| is_made_up(column)) {
        None => Ok(()),
        Some((_, column)) => Err(unfit(shared, &insert.table, column, fault(sqlstate::NOT_NULL_VIOLATION, "is NULL"))),
    }
}

fn is_made_up(column: &Column) -> bool {
    let has_none = column.default.is_none() && column.generated == Generated::No && !column.field.is_nullable();
    has_none && types::labels(&column.native_type).is_some() && !types::is_set(&column.native_type)
}

/// What the column makes of a value of its type.
pub(super) fn fitted<'v>(column: &Column, value: &'v Value) -> Cow<'v, Value> {
    match (value, types::float_scale(&column.native_type)) {
        (Value::Text(text), _) if types::strips_blanks(&column.native_type) && text.ends_with(' ') => {
            Cow::Owned(Value::Text(text.trim_end_matches(' ').to_owned()))
        }
        (Value::Float(number), Some(scale)) if number.is_finite() => Cow::Owned(Value::Float(rounded(*number, scale))),
        _ => Cow::Borrowed(value),
    }
}

/// As the server rounds: the part behind the point, a tie to the even digit.
fn rounded(number: f64, scale: u32) -> f64 {
    let power = (0..scale).fold(1.0, |power, _| power * 10.0);
    let whole = number.floor();
    whole + ((number - whole) * power).round_ties_even() / power
}

/// Writes a value of a batch for a column of the same type.
///
/// # Errors
/// A value that the column cannot have.
pub(super) fn write(column: &Column, cell: &Cell<'_>, policy: Policy, sql: &mut Sql) -> Result<(), Fault> {
    match cell {
        Cell::Interval { months, days, micros } => span(column, [*months, *days], *micros, sql),
        Cell::List(_) => Err(fault(sqlstate::FEATURE_NOT_SUPPORTED, "is an array, which the store does not have")),
        _ => write_constant(column, cell::value(cell, column.pg_type()).as_ref(), policy, sql),
    }
}

/// Writes a constant of the column's type, or NULL.
///
/// # Errors
/// As [`write`].
pub(super) fn write_constant(column: &Column, value: Option<&Value>, policy: Policy, sql: &mut Sql) -> Result<(), Fault> {
    let Some(value) = value else { return null(column, policy, sql) };
    let value = fitted(column, value);
    match &*value {
        Value::Text(digits) if column.pg_type().oid == PgType::BIT.oid => return bits(digits, sql),
        Value::Text(text) if types::cut_after(&column.native_type).is_some_and(|most| text.len() > most && text.ends_with(' ')) => {
            return Err(fault(sqlstate::STRING_DATA_RIGHT_TRUNCATION, "is too long for the column"));
        }
        Value::Text(text) => check_labels(column, text)?,
        Value::Bytes(bytes) if types::exact_bytes(&column.native_type).is_some_and(|length| length != bytes.len()) => {
            return Err(fault("22026", "does not have the number of bytes of the column"));
        }
        Value::Float(number) if !number.is_finite() => {
            return Err(fault(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "is no number that the store has"));
        }
        Value::Int(year) if types::is_year(&column.native_type) && *year != 0 && !(1901..=2155).contains(year) => {
            return Err(fault(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "is no year that the store has"));
        }
        Value::Date(days) if !is_storable_day(*days) => return Err(no_day()),
        Value::Timestamp(micros) | Value::TimestampTz(micros) if !is_storable(*micros) => return Err(no_day()),
        _ => {}
    }
    write_value(&value, sql).map_err(|error| unwritable(&error))
}

fn no_day() -> Fault {
    fault(sqlstate::DATETIME_FIELD_OVERFLOW, "is no day that the store has")
}

fn null(column: &Column, policy: Policy, sql: &mut Sql) -> Result<(), Fault> {
    let is_timestamp = types::is_timestamp(&column.native_type);
    let is_filled = is_timestamp || column.generated == Generated::ByDefault;
    if is_filled && !column.field.is_nullable() {
        return Err(fault(sqlstate::NOT_NULL_VIOLATION, "is NULL"));
    }
    // Every moment is nullable here then, and the server would store the present one.
    if is_timestamp && policy.zero_date == ZeroDate::Null {
        let rule = "is NULL, which the store might take for now; it is not known with zero_date = \"null\"";
        return Err(fault(sqlstate::FEATURE_NOT_SUPPORTED, rule));
    }
    sql.push("NULL");
    Ok(())
}

fn bits(digits: &str, sql: &mut Sql) -> Result<(), Fault> {
    let invalid = || fault(sqlstate::INVALID_TEXT_REPRESENTATION, "is no string of bits");
    if !digits.bytes().all(|digit| matches!(digit, b'0' | b'1')) {
        return Err(invalid());
    }
    let number = u64::from_str_radix(digits, 2).map_err(|_invalid| invalid())?;
    let written = match i64::try_from(number) {
        Ok(number) => sql.push_value(Value::Int(number)),
        Err(_large) => sql.push_cast(Value::Text(number.to_string()), "DECIMAL(65,0)"),
    };
    written.map_err(|error| unwritable(&error))
}

/// The server takes digits that are no label for the number of one.
fn check_labels(column: &Column, text: &str) -> Result<(), Fault> {
    let Some(labels) = types::labels(&column.native_type) else { return Ok(()) };
    let place = |part: &str| labels.iter().position(|label| label == part);
    let is_valid = if types::is_set(&column.native_type) {
        let places: Option<Vec<usize>> = if text.is_empty() { Some(Vec::new()) } else { text.split(',').map(place).collect() };
        places.is_some_and(|places| places.is_sorted_by(|one, next| one < next))
    } else {
        place(text).is_some()
    };
    let rule = "is not a label of the column, or labels in their order";
    if is_valid { Ok(()) } else { Err(fault(sqlstate::INVALID_TEXT_REPRESENTATION, rule)) }
}

/// A span of hours, which is all that `time` holds.
fn span(column: &Column, [months, days]: [i32; 2], micros: i64, sql: &mut Sql) -> Result<(), Fault> {
    let step = 10_i64.pow(6_u32.saturating_sub(types::second_digits(&column.native_type)));
    let refused = if months != 0 || days != 0 {
        Some("has months or days, which the store does not keep apart from hours")
    } else if micros.unsigned_abs() > SPAN_MAX.unsigned_abs() {
        Some("is longer than the store's spans")
    } else if micros % step != 0 {
        Some("has more digits of a second than the column keeps")
    } else {
        None
    };
    if let Some(rule) = refused {
        return Err(fault(sqlstate::DATETIME_FIELD_OVERFLOW, rule));
    }
    let (sign, micros) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let text = format!("{sign}{:02}:{:02}:{:02}.{fraction:06}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    sql.push_cast(Value::Text(text), "TIME(6)").map_err(|error| unwritable(&error))
}

#[cfg(test)]
mod tests {
    use super::super::super::super::relational::Dialect;
    use super::super::super::super::schema::{Collation, ColumnStatistics};
    use super::*;

    const POLICY: Policy = Policy { zero_date: ZeroDate::Error, tinyint1_is_bool: true };

    fn column(native_type: &str, nullable: bool, generated: Generated) -> Column {
        Column {
            field: types::field("c", native_type, nullable, POLICY).unwrap(),
            native_type: native_type.to_owned(),
            default: None,
            generated,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        }
    }

    /// The text and the parameters, or the SQLSTATE.
    fn shown(native_type: &str, cell: &Cell<'_>) -> String {
        let mut sql = Sql::bound(Dialect::MySql);
        match write(&column(native_type, true, Generated::No), cell, POLICY, &mut sql) {
            Ok(()) => format!("{} {:?}", sql.text(), sql.values()),
            Err(fault) => fault.sqlstate.to_owned(),
        }
    }

    #[test]
    fn what_a_column_would_change_is_refused() {
        let span = |months, days, micros| Cell::Interval { months, days, micros };
        let rows = [
            ("enum('x','1a')", Cell::Text("x"), "? [Text(\"x\")]"),
            ("enum('x','1a')", Cell::Text("1"), "22P02"),
            ("enum('x','1a')", Cell::Text("X"), "22P02"),
            ("set('p','q')", Cell::Text("p,q"), "? [Text(\"p,q\")]"),
            ("set('p','q')", Cell::Text(""), "? [Text(\"\")]"),
            ("set('p','q')", Cell::Text("q,p"), "22P02"),
            ("set('p','q')", Cell::Text("p,p"), "22P02"),
            ("set('p','q')", Cell::Text("3"), "22P02"),
            ("year(4)", Cell::Int(5), "22003"),
            ("year(4)", Cell::Int(0), "? [Int(0)]"),
            ("year(4)", Cell::Int(2024), "? [Int(2024)]"),
            ("binary(2)", Cell::Bytes(&[1]), "22026"),
            ("binary(2)", Cell::Bytes(&[1, 2]), "? [Bytes([1, 2])]"),
            ("varbinary(2)", Cell::Bytes(&[1]), "? [Bytes([1])]"),
            ("bit(3)", Cell::Text("101"), "? [Int(5)]"),
            ("bit(3)", Cell::Text("1 1"), "22P02"),
            ("double", Cell::Float8(f64::NAN), "22003"),
            ("float", Cell::Float4(f32::INFINITY), "22003"),
            ("float", Cell::Float4(0.5), "? [Float(0.5)]"),
            ("double", Cell::Float8(2.675), "? [Float(2.675)]"),
            ("double(5,2)", Cell::Float8(2.675), "? [Float(2.67)]"),
            ("double(5,2)", Cell::Float8(0.125), "? [Float(0.12)]"),
            ("double(5,2)", Cell::Float8(-0.125), "? [Float(-0.12)]"),
            ("double(5,2)", Cell::Float8(f64::INFINITY), "22003"),
            ("float(5,1)", Cell::Float4(0.75), "? [Float(0.8)]"),
            ("char(5)", Cell::Text("a  "), "? [Text(\"a\")]"),
            ("varchar(5)", Cell::Text("a  "), "? [Text(\"a  \")]"),
            ("date", Cell::Date(i32::MAX), "22008"),
            ("date", Cell::Date(0), "CAST(? AS DATE) [Text(\"1970-01-01\")]"),
            ("datetime(6)", Cell::Timestamp(i64::MAX), "22008"),
            ("tinyint(1)", Cell::Bool(true), "? [Int(1)]"),
            ("time", span(0, 0, -3_661_000_000), "CAST(? AS TIME(6)) [Text(\"-01:01:01.000000\")]"),
            ("time", span(0, 0, 500_000), "22008"),
            ("time(1)", span(0, 0, 500_000), "CAST(? AS TIME(6)) [Text(\"00:00:00.500000\")]"),
            ("time", span(0, 1, 0), "22008"),
            ("time(6)", span(0, 0, SPAN_MAX), "CAST(? AS TIME(6)) [Text(\"838:59:59.999999\")]"),
            ("time(6)", span(0, 0, SPAN_MAX + 1), "22008"),
            ("varchar(9)", Cell::Text("\\' or 1=1 -- "), "? [Text(\"\\\\' or 1=1 -- \")]"),
            ("int(11)", Cell::Null, "NULL []"),
        ];
        for (native_type, cell, expected) in rows {
            assert_eq!(shown(native_type, &cell), expected, "{native_type} {cell:?}");
        }
        let blanks = " ".repeat(256);
        assert_eq!(shown("tinytext", &Cell::Text(&blanks)), "22001");
        assert!(shown("tinytext", &Cell::Text(&blanks[1..])).starts_with('?'));
        assert!(shown("text", &Cell::Text(&blanks)).starts_with('?'));
        let large = "1".repeat(64);
        assert_eq!(shown("bit(64)", &Cell::Text(&large)), "CAST(? AS DECIMAL(65,0)) [Text(\"18446744073709551615\")]");
    }

    #[test]
    fn null_is_never_now_and_never_the_next_number() {
        let state = |native_type, nullable, generated, zero_date| {
            let policy = Policy { zero_date, ..POLICY };
            let written = write(&column(native_type, nullable, generated), &Cell::Null, policy, &mut Sql::bound(Dialect::MySql));
            written.err().map(|fault| fault.sqlstate)
        };
        let rows = [
            ("int(11)", false, Generated::ByDefault, ZeroDate::Error, Some("23502")),
            // A trigger may fill it in, so the server is asked.
            ("int(11)", false, Generated::No, ZeroDate::Error, None),
            ("timestamp", false, Generated::No, ZeroDate::Error, Some("23502")),
            ("timestamp", true, Generated::No, ZeroDate::Error, None),
            ("timestamp", true, Generated::No, ZeroDate::Null, Some("0A000")),
            ("datetime", true, Generated::No, ZeroDate::Null, None),
        ];
        for (native_type, nullable, generated, zero_date, expected) in rows {
            assert_eq!(state(native_type, nullable, generated, zero_date), expected, "{native_type}");
        }
    }
}
