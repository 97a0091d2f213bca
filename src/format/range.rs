//! Ranges as text: bounds as their own type reads and writes them, and one form for ranges of whole steps.
//!
//! Not here: multiranges, which are kept as they are, and anything that computes with ranges.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::str::Chars;

use super::numeric::{self, Numeric};
use super::{DisplaySettings, date, fault, integer, timestamp};
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::{DATE_INFINITY, DATE_NEGATIVE_INFINITY, PgType};

const INT4_RANGE: u32 = 3904;
const TIMESTAMP_RANGE: u32 = 3908;
const TIMESTAMPTZ_RANGE: u32 = 3910;
const DATE_RANGE: u32 = 3912;
const INT8_RANGE: u32 = 3926;

/// The text that PostgreSQL shows of a range: `[1,6)` for `[1,5]` of integers, `empty` where it holds nothing.
///
/// # Errors
/// 22P02 for what is no range, 22000 for bounds in the wrong order, 22003 or 22008 where a bound has no value after it, and
/// what the type of the bounds says of them.
pub fn canonical(pg_type: PgType, text: &str, display: &DisplaySettings) -> Result<String, Diagnosis> {
    let Some(parts) = split(text)? else { return Ok("empty".to_owned()) };
    let mut lower = Bound::read(parts.lower, parts.holds_lower, pg_type, display)?;
    let mut upper = Bound::read(parts.upper, parts.holds_upper, pg_type, display)?;
    if !is_empty(&lower, &upper)? {
        // The first value belongs to a range of whole steps, the one after its last does not.
        lower.step(pg_type, true)?;
        upper.step(pg_type, false)?;
    }
    if is_empty(&lower, &upper)? {
        return Ok("empty".to_owned());
    }
    let (open, close) = (if lower.is_held { '[' } else { '(' }, if upper.is_held { ']' } else { ')' });
    Ok(format!("{open}{},{}{close}", lower.text(pg_type, display)?, upper.text(pg_type, display)?))
}

/// The value of a bound.
#[derive(Debug)]
enum Value {
    /// An integer, days or microseconds.
    Whole(i64),
    Number(Numeric),
}

/// One end of a range.
#[derive(Debug)]
struct Bound {
    /// `None` where the range has no end.
    value: Option<Value>,
    /// Whether the value belongs to the range.
    is_held: bool,
}

impl Bound {
    fn read(text: Option<String>, is_held: bool, pg_type: PgType, display: &DisplaySettings) -> Result<Self, Diagnosis> {
        let Some(text) = text else { return Ok(Self { value: None, is_held: false }) };
        let value = match pg_type.oid {
            INT4_RANGE => Value::Whole(integer::read_i32(&text)?.into()),
            INT8_RANGE => Value::Whole(integer::read_i64(&text)?),
            DATE_RANGE => Value::Whole(date::read(&text, display)?.into()),
            TIMESTAMP_RANGE => Value::Whole(timestamp::read(&text, display)?),
            TIMESTAMPTZ_RANGE => Value::Whole(timestamp::read_tz(&text, display)?),
            _ => Value::Number(numeric::read(&text)?),
        };
        Ok(Self { value: Some(value), is_held })
    }

    /// Goes one step on where the value is held and should not be, or the other way round.
    fn step(&mut self, pg_type: PgType, should_be_held: bool) -> Result<(), Diagnosis> {
        let Some(Value::Whole(value)) = self.value else { return Ok(()) };
        if self.is_held == should_be_held {
            return Ok(());
        }
        if let Some(next) = after(pg_type, value)? {
            *self = Self { value: Some(Value::Whole(next)), is_held: should_be_held };
        }
        Ok(())
    }

    fn text(&self, pg_type: PgType, display: &DisplaySettings) -> Result<String, Diagnosis> {
        let mut out = Vec::new();
        match (&self.value, pg_type.oid) {
            (None, _) => {}
            (Some(Value::Number(value)), _) => return Ok(value.to_string()),
            (Some(Value::Whole(days)), DATE_RANGE) => {
                let days = i32::try_from(*days).map_err(|_cause| fault::datetime_range("date", None))?;
                date::write(days, display, &mut out);
            }
            (Some(Value::Whole(micros)), TIMESTAMP_RANGE) => timestamp::write(*micros, display, &mut out),
            (Some(Value::Whole(micros)), TIMESTAMPTZ_RANGE) => timestamp::write_tz(*micros, display, &mut out),
            (Some(Value::Whole(value)), _) => integer::write(*value, &mut out),
        }
        let text = String::from_utf8(out).unwrap_or_default();
        // No value of these types is written with a quote, a bracket or a comma.
        Ok(if text.contains(fault::is_space) { format!("\"{text}\"") } else { text })
    }
}

/// The next value of a type that goes in steps; `None` for other types, and for dates that are no day.
fn after(pg_type: PgType, value: i64) -> Result<Option<i64>, Diagnosis> {
    let out_of_range = |name: &str| Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, format!("{name} out of range"));
    match pg_type.oid {
        INT4_RANGE if value >= i64::from(i32::MAX) => Err(out_of_range("integer")),
        INT4_RANGE | INT8_RANGE => value.checked_add(1).map(Some).ok_or_else(|| out_of_range("bigint")),
        DATE_RANGE if [DATE_INFINITY, DATE_NEGATIVE_INFINITY].iter().any(|day| i64::from(*day) == value) => Ok(None),
        DATE_RANGE => {
            let next = i32::try_from(value + 1).ok().and_then(date::check);
            next.map(|day| Some(day.into())).ok_or_else(|| fault::datetime_range("date", None))
        }
        _ => Ok(None),
    }
}

/// Whether nothing lies between two bounds.
fn is_empty(lower: &Bound, upper: &Bound) -> Result<bool, Diagnosis> {
    let order = match (&lower.value, &upper.value) {
        (Some(Value::Whole(low)), Some(Value::Whole(high))) => low.cmp(high),
        (Some(Value::Number(low)), Some(Value::Number(high))) => low.compare(high),
        _ => return Ok(false),
    };
    match order {
        Ordering::Less => Ok(false),
        Ordering::Equal => Ok(!(lower.is_held && upper.is_held)),
        Ordering::Greater => {
            let message = "range lower bound must be less than or equal to range upper bound";
            Err(Diagnosis::new(sqlstate::DATA_EXCEPTION, message))
        }
    }
}

/// A range as written.
struct Parts {
    lower: Option<String>,
    holds_lower: bool,
    upper: Option<String>,
    holds_upper: bool,
}

/// Splits `[lower,upper)`; `None` is `empty`.
fn split(text: &str) -> Result<Option<Parts>, Diagnosis> {
    let malformed = |detail: &str| {
        let message = format!("malformed range literal: \"{text}\"");
        Diagnosis::new(sqlstate::INVALID_TEXT_REPRESENTATION, message).with_detail(detail)
    };
    let start = text.trim_start_matches(fault::is_space);
    if let Some((_, rest)) = start.split_at_checked(5).filter(|(word, _)| word.eq_ignore_ascii_case("empty")) {
        return if fault::trim(rest).is_empty() { Ok(None) } else { Err(malformed("Junk after \"empty\" key word.")) };
    }
    let mut letters = start.chars().peekable();
    let holds_lower = match letters.next() {
        Some('[') => true,
        Some('(') => false,
        _ => return Err(malformed("Missing left parenthesis or bracket.")),
    };
    let lower = bound(&mut letters).ok_or_else(|| malformed("Unexpected end of input."))?;
    if letters.next() != Some(',') {
        return Err(malformed("Missing comma after lower bound."));
    }
    let upper = bound(&mut letters).ok_or_else(|| malformed("Unexpected end of input."))?;
    let holds_upper = match letters.next() {
        Some(']') => true,
        Some(')') => false,
        _ => return Err(malformed("Too many commas.")),
    };
    if !letters.all(fault::is_space) {
        return Err(malformed("Junk after right parenthesis or bracket."));
    }
    Ok(Some(Parts { lower, holds_lower, upper, holds_upper }))
}

/// One bound up to the letter that ends it: `None` outside when the text ends first, inside when nothing is written.
fn bound(letters: &mut Peekable<Chars<'_>>) -> Option<Option<String>> {
    if matches!(letters.peek(), Some(',' | ')' | ']')) {
        return Some(None);
    }
    let (mut value, mut is_quoted) = (String::new(), false);
    loop {
        if !is_quoted && matches!(letters.peek(), Some(',' | ')' | ']')) {
            return Some(Some(value));
        }
        match letters.next()? {
            '\\' => value.push(letters.next()?),
            '"' if is_quoted && letters.peek() == Some(&'"') => value.extend(letters.next()),
            '"' => is_quoted = !is_quoted,
            letter => value.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgtype::builtin_by_name;

    fn read(name: &str, text: &str) -> Result<String, Diagnosis> {
        canonical(PgType::with_typmod(builtin_by_name(name).unwrap().oid, -1), text, &DisplaySettings::default())
    }

    #[test]
    fn ranges_have_one_text() {
        let rows = [
            ("int4range", "[1,5]", "[1,6)"),
            ("int4range", " ( 1 , 5 ) ", "[2,5)"),
            ("int4range", "(1,2)", "empty"),
            ("int4range", "[3,3]", "[3,4)"),
            ("int4range", "[3,3)", "empty"),
            ("int4range", "[,5]", "(,6)"),
            ("int4range", "[,]", "(,)"),
            ("int4range", " EMPTY ", "empty"),
            ("int4range", "[\"1\",\\5]", "[1,6)"),
            ("int4range", "[2147483647,)", "[2147483647,)"),
            ("int8range", "(9223372036854775806,)", "[9223372036854775807,)"),
            ("daterange", "[2024-02-28,2024-02-28]", "[2024-02-28,2024-02-29)"),
            ("daterange", "(-infinity,infinity]", "(-infinity,infinity]"),
            ("daterange", "[0044-03-15 BC,]", "[\"0044-03-15 BC\",)"),
            ("numrange", "[1.50,2.0]", "[1.50,2.0]"),
            ("numrange", "(1.0,1]", "empty"),
            ("numrange", "[-10,NaN)", "[-10,NaN)"),
            ("numrange", "[-Infinity,-0.01)", "[-Infinity,-0.01)"),
            ("numrange", "[0.001,0.01]", "[0.001,0.01]"),
            ("numrange", "[0.0,-0]", "[0.0,0]"),
            ("tsrange", "[2024-01-01,\"2024-01-02 03:04\")", "[\"2024-01-01 00:00:00\",\"2024-01-02 03:04:00\")"),
            ("tstzrange", "(2024-01-01 01:00+01,infinity)", "(\"2024-01-01 00:00:00+00\",infinity)"),
        ];
        for (name, text, expected) in rows {
            assert_eq!(read(name, text).unwrap(), expected, "{name} {text}");
        }
    }

    #[test]
    fn what_is_no_range_is_told() {
        let rows = [
            ("int4range", "", "22P02", "Missing left parenthesis or bracket."),
            ("int4range", "1,5", "22P02", "Missing left parenthesis or bracket."),
            ("int4range", "empty x", "22P02", "Junk after \"empty\" key word."),
            ("int4range", "[1", "22P02", "Unexpected end of input."),
            ("int4range", "[1,\"5]", "22P02", "Unexpected end of input."),
            ("int4range", "[1,5\\", "22P02", "Unexpected end of input."),
            ("int4range", "[1]", "22P02", "Missing comma after lower bound."),
            ("int4range", "[1,2,3]", "22P02", "Too many commas."),
            ("int4range", "[1,5] x", "22P02", "Junk after right parenthesis or bracket."),
            ("int4range", "[a,5]", "22P02", ""),
            ("int4range", "[5,1]", "22000", ""),
            ("int4range", "[1,2147483647]", "22003", ""),
            ("int4range", "[1,2147483648)", "22003", ""),
            ("int8range", "(9223372036854775807,)", "22003", ""),
            ("numrange", "[1.1,1.09]", "22000", ""),
            ("numrange", "[-2.5,-10]", "22000", ""),
            ("numrange", "[100,2]", "22000", ""),
            ("daterange", "[2024-02-30,)", "22008", ""),
            ("daterange", "[,5874897-12-31]", "22008", ""),
        ];
        for (name, text, state, detail) in rows {
            let told = read(name, text).unwrap_err();
            assert_eq!((&*told.sqlstate, told.detail.as_deref().unwrap_or_default()), (state, detail), "{name} {text}");
        }
    }
}
