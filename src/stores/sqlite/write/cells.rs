//! Values on their way into cells, in the forms that the readers of [`types`](super::super::types) take back as the same values.
//!
//! SQLite keeps what it is given, or what the affinity of the column makes of it, and never says that it is no value of the type. So what
//! has no form that is read back is refused here.

use std::borrow::Cow;

use super::super::super::cell::{Cell, write_text};
use super::super::super::relational::Unwritable;
use super::super::super::schema::Column;
use super::super::super::value::Value;
use super::super::scan::Bound;
use super::super::types::moment::MICROS_PER_DAY;
use super::super::types::read::Fault;
use super::super::types::{Affinity, Exact, affinity, exact};
use crate::error::sqlstate;
use crate::pgtype::PgType;

/// 0001-01-01 and 10000-01-01 in days since 1970-01-01: years have four digits.
const DAYS: std::ops::Range<i64> = -719_162..2_932_897;

/// A value as SQLite stores it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stored<'a> {
    Null,
    Int(i64),
    Real(f64),
    Text(Cow<'a, str>),
    Blob(&'a [u8]),
}

impl Stored<'_> {
    /// The parameter.
    pub(super) fn bound(&self) -> Bound<'_> {
        match self {
            Self::Null => Bound::Null,
            Self::Int(number) => Bound::Int(*number),
            Self::Real(number) => Bound::Real(*number),
            Self::Text(text) => Bound::Text(text),
            Self::Blob(bytes) => Bound::Blob(bytes),
        }
    }

    /// The same as a parameter of a text under construction; `None` is NULL.
    pub(super) fn into_value(self) -> Option<Value> {
        match self {
            Self::Null => None,
            Self::Int(number) => Some(Value::Int(number)),
            Self::Real(number) => Some(Value::Float(number)),
            Self::Text(text) => Some(Value::Text(text.into_owned())),
            Self::Blob(bytes) => Some(Value::Bytes(bytes.to_vec())),
        }
    }
}

/// What is stored for a value of the column's type.
///
/// # Errors
/// A value without a form that is read back as itself.
pub(super) fn stored<'a>(cell: &Cell<'a>, column: &Column) -> Result<Stored<'a>, Fault> {
    Ok(match cell {
        Cell::Null => Stored::Null,
        Cell::Bool(truth) => Stored::Int(i64::from(*truth)),
        Cell::Int(number) => Stored::Int(*number),
        Cell::Float4(number) => real(f64::from(*number))?,
        Cell::Float8(number) => real(*number)?,
        Cell::Bytes(bytes) => Stored::Blob(bytes),
        Cell::Text(content) if column.pg_type().oid == PgType::NUMERIC.oid => number(content)?,
        Cell::Text(content) => text(content, column)?,
        Cell::Decimal { .. } => number(&written(cell, column)?)?,
        Cell::Time(_) => Stored::Text(written(cell, column)?.into()),
        Cell::Date(days) => moment(i64::from(*days), cell, column)?,
        Cell::Timestamp(micros) => moment(micros.div_euclid(MICROS_PER_DAY), cell, column)?,
        Cell::TimestampTz(micros) => zoned(*micros, column)?,
        Cell::Interval { .. } | Cell::List(_) => {
            return Err(fault(sqlstate::FEATURE_NOT_SUPPORTED, "is of a type that SQLite has no form for"));
        }
    })
}

fn fault(sqlstate: &'static str, rule: &str) -> Fault {
    Fault { sqlstate, rule: rule.to_owned() }
}

fn written(cell: &Cell<'_>, column: &Column) -> Result<String, Fault> {
    let mut text = String::new();
    let result = write_text(cell, column.pg_type(), &mut text);
    result.map_err(|Unwritable(rule)| fault(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, rule))?;
    Ok(text)
}

fn real<'a>(number: f64) -> Result<Stored<'a>, Fault> {
    // SQLite would make it NULL without a word.
    if number.is_nan() {
        Err(fault(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "is NaN, which SQLite cannot store"))
    } else {
        Ok(Stored::Real(number))
    }
}

fn number<'a>(digits: &str) -> Result<Stored<'a>, Fault> {
    match exact(digits) {
        Some(Exact::Int(number)) => Ok(Stored::Int(number)),
        Some(Exact::Real(number)) => Ok(Stored::Real(number)),
        None => Err(fault(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "is a number that SQLite cannot store exactly")),
    }
}

/// A text that looks like a number becomes one in a column of numeric affinity, and is then no JSON and not the same text.
fn text<'a>(content: &'a str, column: &Column) -> Result<Stored<'a>, Fault> {
    if content.contains('\0') {
        return Err(fault(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, "holds a NUL byte, which text cannot"));
    }
    let keeps = matches!(affinity(&column.native_type), Affinity::Text | Affinity::Blob) || column.pg_type() == PgType::UUID;
    if !keeps && looks_like_number(content) {
        let rule = "is a text that its column would keep as a number";
        return Err(fault(sqlstate::FEATURE_NOT_SUPPORTED, rule));
    }
    Ok(Stored::Text(Cow::Borrowed(content)))
}

fn looks_like_number(content: &str) -> bool {
    let trimmed = content.trim_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    let is_of_signs = trimmed.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    is_of_signs && trimmed.parse::<f64>().is_ok()
}

fn moment<'a>(day: i64, cell: &Cell<'_>, column: &Column) -> Result<Stored<'a>, Fault> {
    if !DAYS.contains(&day) {
        return Err(fault(sqlstate::DATETIME_FIELD_OVERFLOW, "is not in the years 1 to 9999, for which SQLite has a form"));
    }
    Ok(Stored::Text(written(cell, column)?.into()))
}

/// A moment says its zone, because other readers of the file may take one without for local time.
fn zoned<'a>(micros: i64, column: &Column) -> Result<Stored<'a>, Fault> {
    match moment(micros.div_euclid(MICROS_PER_DAY), &Cell::Timestamp(micros), column)? {
        Stored::Text(clock) => Ok(Stored::Text(Cow::Owned(format!("{clock}+00:00")))),
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::i256;

    use super::super::super::super::cell::of_value;
    use super::super::super::super::schema::{Collation, ColumnStatistics, Generated};
    use super::super::super::types;
    use super::super::super::types::moment;
    use super::*;

    fn column(declared: &str) -> Column {
        Column {
            field: types::field("c", declared, true, false),
            native_type: declared.to_owned(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        }
    }

    fn told(cell: &Cell<'_>, declared: &str) -> String {
        match stored(cell, &column(declared)) {
            Ok(Stored::Text(text)) => format!("'{text}'"),
            Ok(other) => format!("{other:?}"),
            Err(fault) => fault.sqlstate.to_owned(),
        }
    }

    #[test]
    fn values_take_the_form_that_is_read_back() {
        let decimal = |unscaled: i128, scale| Cell::Decimal { unscaled: i256::from_i128(unscaled), scale };
        let rows = [
            (Cell::Null, "TEXT", "Null"),
            (Cell::Bool(true), "BOOLEAN", "Int(1)"),
            (Cell::Int(i64::MIN), "INTEGER", "Int(-9223372036854775808)"),
            (Cell::Float8(-0.25), "REAL", "Real(-0.25)"),
            (Cell::Float8(f64::NAN), "REAL", "22003"),
            (Cell::Text("it's"), "TEXT", "'it's'"),
            (Cell::Text("7"), "VARCHAR(9)", "'7'"),
            (Cell::Text("7"), "", "'7'"),
            (Cell::Text("7"), "STRING", "0A000"),
            (Cell::Text(" 1.5e3\n"), "JSON", "0A000"),
            (Cell::Text("\"1.5\""), "JSON", "'\"1.5\"'"),
            (Cell::Text("-"), "STRING", "'-'"),
            (Cell::Text("a\0b"), "TEXT", "22021"),
            (Cell::Bytes(&[1, 2]), "BLOB", "Blob([1, 2])"),
            (Cell::Text("12.50"), "NUMERIC", "Real(12.5)"),
            (Cell::Text("NaN"), "NUMERIC", "22003"),
            (decimal(-1999, 2), "DECIMAL(10,2)", "Real(-19.99)"),
            (decimal(500, 2), "DECIMAL(10,2)", "Int(5)"),
            (decimal(12_345_678_901_234_567_890_123, 3), "DECIMAL(38,3)", "22003"),
            (Cell::Date(19_782), "DATE", "'2024-02-29'"),
            (Cell::Date(-719_162), "DATE", "'0001-01-01'"),
            (Cell::Date(-719_163), "DATE", "22008"),
            (Cell::Date(2_932_897), "DATE", "22008"),
            (Cell::Date(i32::MAX), "DATE", "22008"),
            (Cell::Time(MICROS_PER_DAY), "TIME", "'24:00:00'"),
            (Cell::Timestamp(1), "TIMESTAMP", "'1970-01-01 00:00:00.000001'"),
            (Cell::Timestamp(i64::MIN), "TIMESTAMP", "22008"),
            (Cell::TimestampTz(-1), "TIMESTAMPTZ", "'1969-12-31 23:59:59.999999+00:00'"),
            (Cell::Text("00112233-4455-6677-8899-aabbccddeeff"), "UUID", "'00112233-4455-6677-8899-aabbccddeeff'"),
            (Cell::Interval { months: 1, days: 0, micros: 0 }, "TEXT", "0A000"),
        ];
        for (cell, declared, expected) in rows {
            assert_eq!(told(&cell, declared), expected, "{cell:?} into {declared}");
        }
    }

    #[test]
    fn moments_are_read_back_as_they_were() {
        let day = 19_782 * MICROS_PER_DAY;
        for micros in [0, -1, 1, day, day + 1_500_000, -62_135_596_800_000_000, 253_402_300_799_999_999] {
            let Ok(Stored::Text(text)) = stored(&Cell::Timestamp(micros), &column("TIMESTAMP")) else { panic!("{micros}") };
            assert_eq!(moment::timestamp_of_text(text.as_bytes()), Some(micros), "{text}");
            let Ok(Stored::Text(text)) = stored(&Cell::TimestampTz(micros), &column("TIMESTAMPTZ")) else { panic!("{micros}") };
            assert_eq!(moment::timestamptz_of_text(text.as_bytes()), Some(micros), "{text}");
        }
    }

    #[test]
    fn constants_are_stored_as_cells_are() {
        for (value, declared, expected) in [
            (Value::Decimal { unscaled: 150, scale: 2 }, "NUMERIC", "Real(1.5)"),
            (Value::Numeric("2".to_owned()), "NUMERIC", "Int(2)"),
            (Value::Text("a".to_owned()), "TEXT", "'a'"),
            (Value::Date(0), "DATE", "'1970-01-01'"),
        ] {
            assert_eq!(told(&of_value(&value), declared), expected);
        }
    }
}
