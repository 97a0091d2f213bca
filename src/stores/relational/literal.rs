//! The literal writer for PostgreSQL statements that take no parameters (`COPY (SELECT …) TO STDOUT`).
//!
//! Every literal is quoted and carries its type as a cast, so that neither sign, precedence nor a session setting changes
//! its meaning (PostgreSQL manual, 4.1.2). The connection must run with `standard_conforming_strings = on`, which the
//! PostgreSQL pool sets on every connection. Only the other stores' connectors must never come here: they bind.
//!
//! **Invariant:** inside the quotes every quote is doubled; a text with a backslash becomes an escape string in which every
//! backslash is doubled too, so it means the same whatever `standard_conforming_strings` says; NUL is refused.

use std::fmt::Write;

use super::super::value::Value;
use super::sql::Unwritable;
use crate::pgtype::{DATE_INFINITY, DATE_NEGATIVE_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Appends `value` as a PostgreSQL literal.
///
/// # Errors
/// A text with a NUL byte; a numeric text that is not a number.
pub fn write(value: &Value, text: &mut String) -> Result<(), Unwritable> {
    match value {
        Value::Bool(truth) => text.push_str(if *truth { "TRUE" } else { "FALSE" }),
        Value::Int(number) => typed(text, "int8", |text| text.push_str(itoa::Buffer::new().format(*number))),
        Value::Float(number) => typed(text, "float8", |text| write_float(*number, text)),
        Value::Decimal { unscaled, scale } => typed(text, "numeric", |text| write_decimal(*unscaled, *scale, text)),
        Value::Numeric(digits) if is_numeric(digits) => typed(text, "numeric", |text| text.push_str(digits)),
        Value::Numeric(_) => return Err(Unwritable("is not a number")),
        Value::Text(content) => return write_text(content, text),
        Value::Bytes(bytes) => {
            text.push_str(" decode('");
            bytes.iter().for_each(|byte| push(text, format_args!("{byte:02x}")));
            text.push_str("', 'hex')");
        }
        Value::Date(days) => typed(text, "date", |text| write_date(*days, text)),
        Value::Time(micros) => typed(text, "time", |text| write_time(*micros, text)),
        Value::Timestamp(micros) => typed(text, "timestamp", |text| write_timestamp(*micros, "", text)),
        Value::TimestampTz(micros) => typed(text, "timestamptz", |text| write_timestamp(*micros, "+00", text)),
    }
    Ok(())
}

fn typed(text: &mut String, sql_type: &str, content: impl FnOnce(&mut String)) {
    text.push('\'');
    content(text);
    text.push_str("'::");
    text.push_str(sql_type);
}

/// `fmt::Write` into a `String` cannot fail.
fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
}

/// Appends a text literal: `'it''s'`, or ` E'back\\slash'`.
///
/// # Errors
/// A NUL byte, which PostgreSQL text cannot hold.
pub fn write_text(content: &str, text: &mut String) -> Result<(), Unwritable> {
    if content.contains('\0') {
        return Err(Unwritable("holds a NUL byte, which text cannot"));
    }
    // The space keeps the E from joining a word before it.
    text.push_str(if content.contains('\\') { " E'" } else { "'" });
    for character in content.chars() {
        if character == '\'' || character == '\\' {
            text.push(character);
        }
        text.push(character);
    }
    text.push('\'');
    Ok(())
}

fn is_numeric(digits: &str) -> bool {
    if matches!(digits, "NaN" | "Infinity" | "-Infinity") {
        return true;
    }
    let unsigned = digits.strip_prefix('-').unwrap_or(digits);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    [whole, fraction].iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

fn write_float(number: f64, text: &mut String) {
    if number.is_nan() {
        text.push_str("NaN");
    } else if number.is_infinite() {
        text.push_str(if number > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        // Rust prints the shortest digits that read back as the same value.
        push(text, format_args!("{number:e}"));
    }
}

/// Appends `unscaled × 10^-scale` in plain digits.
pub fn write_decimal(unscaled: i128, scale: u8, text: &mut String) {
    let digits = unscaled.unsigned_abs().to_string();
    let scale = usize::from(scale);
    if unscaled < 0 {
        text.push('-');
    }
    let padding = (scale + 1).saturating_sub(digits.len());
    let padded = format!("{}{digits}", "0".repeat(padding));
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    text.push_str(whole);
    if scale > 0 {
        text.push('.');
        text.push_str(fraction);
    }
}

/// Appends `value` as an element of an array literal (manual, 8.15.2), which as a whole goes through [`write_text`]. What is not a number
/// stands in double quotes, within which only the quote and the backslash have a meaning; so neither commas, braces, blanks nor the
/// word NULL do.
///
/// # Errors
/// A numeric text that is not a number. A NUL byte is found when the whole is written.
pub fn write_element(value: &Value, text: &mut String) -> Result<(), Unwritable> {
    let quoted = |text: &mut String, write: &dyn Fn(&mut String)| {
        text.push('"');
        write(text);
        text.push('"');
    };
    match value {
        Value::Bool(truth) => text.push_str(if *truth { "t" } else { "f" }),
        Value::Int(number) => text.push_str(itoa::Buffer::new().format(*number)),
        Value::Float(number) => write_float(*number, text),
        Value::Decimal { unscaled, scale } => write_decimal(*unscaled, *scale, text),
        Value::Numeric(digits) if is_numeric(digits) => text.push_str(digits),
        Value::Numeric(_) => return Err(Unwritable("is not a number")),
        Value::Text(content) => quoted(text, &|text| {
            for character in content.chars() {
                text.push_str(if matches!(character, '"' | '\\') { "\\" } else { "" });
                text.push(character);
            }
        }),
        Value::Bytes(bytes) => quoted(text, &|text| {
            text.push_str("\\\\x");
            bytes.iter().for_each(|byte| push(text, format_args!("{byte:02x}")));
        }),
        Value::Date(days) => quoted(text, &|text| write_date(*days, text)),
        Value::Time(micros) => quoted(text, &|text| write_time(*micros, text)),
        Value::Timestamp(micros) => quoted(text, &|text| write_timestamp(*micros, "", text)),
        Value::TimestampTz(micros) => quoted(text, &|text| write_timestamp(*micros, "+00", text)),
    }
    Ok(())
}

/// Year, month, day of the proleptic Gregorian calendar for days since 1970-01-01, over all of `i32` days. Year 0 is 1 BC.
///
/// Counts in eras of 400 years that start on 1 March, so that the leap day ends its year.
pub fn civil(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, u32::try_from(month).unwrap_or(1), u32::try_from(day).unwrap_or(1))
}

fn write_date(days: i32, text: &mut String) {
    match days {
        DATE_INFINITY => text.push_str("infinity"),
        DATE_NEGATIVE_INFINITY => text.push_str("-infinity"),
        days => {
            let before_christ = write_day(i64::from(days), text);
            text.push_str(if before_christ { " BC" } else { "" });
        }
    }
}

/// Writes `YYYY-MM-DD` and tells whether the year is before Christ.
fn write_day(days: i64, text: &mut String) -> bool {
    let (year, month, day) = civil(days);
    let shown = if year > 0 { year } else { 1 - year };
    push(text, format_args!("{shown:04}-{month:02}-{day:02}"));
    year <= 0
}

fn write_time(micros: i64, text: &mut String) {
    let seconds = micros.div_euclid(1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    push(text, format_args!("{hour:02}:{minute:02}:{second:02}.{:06}", micros.rem_euclid(1_000_000)));
}

fn write_timestamp(micros: i64, zone: &str, text: &mut String) {
    match micros {
        TIMESTAMP_INFINITY => return text.push_str("infinity"),
        TIMESTAMP_NEGATIVE_INFINITY => return text.push_str("-infinity"),
        _ => {}
    }
    let before_christ = write_day(micros.div_euclid(MICROS_PER_DAY), text);
    text.push(' ');
    write_time(micros.rem_euclid(MICROS_PER_DAY), text);
    text.push_str(zone);
    text.push_str(if before_christ { " BC" } else { "" });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: Value, expected: &str) {
        let mut text = String::new();
        write(&value, &mut text).unwrap();
        assert_eq!(text, expected);
    }

    #[test]
    fn texts_cannot_leave_their_quotes() {
        let rows = [
            ("", "''"),
            ("plain", "'plain'"),
            ("it's", "'it''s'"),
            ("a''b", "'a''''b'"),
            ("\\' or 1=1 -- ", " E'\\\\'' or 1=1 -- '"),
            ("\\", " E'\\\\'"),
            ("\\\\'", " E'\\\\\\\\'''"),
            ("tab\tnew\nline", "'tab\tnew\nline'"),
            ("$1 $$ ? :x", "'$1 $$ ? :x'"),
            ("ünï'", "'ünï'''"),
        ];
        for (content, expected) in rows {
            check(Value::Text(content.to_owned()), expected);
        }
        assert!(write(&Value::Text("a\0b".to_owned()), &mut String::new()).is_err());
    }

    /// Reads a literal back as PostgreSQL's scanner does with `standard_conforming_strings = on` (manual, 4.1.2.1).
    fn scan(literal: &str) -> Option<String> {
        let literal = literal.trim_start();
        let (escapes, body) = match literal.strip_prefix("E'") {
            Some(body) => (true, body),
            None => (false, literal.strip_prefix('\'')?),
        };
        let mut content = String::new();
        let mut characters = body.chars();
        loop {
            match characters.next()? {
                '\'' => match characters.next() {
                    Some('\'') => content.push('\''),
                    None => return Some(content),
                    Some(_) => return None,
                },
                '\\' if escapes => match characters.next()? {
                    '\\' => content.push('\\'),
                    _ => return None,
                },
                other => content.push(other),
            }
        }
    }

    #[test]
    fn every_short_text_of_dangerous_characters_reads_back_as_itself() {
        let alphabet = ['\'', '\\', 'E', '-', ' ', '"'];
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            let longer = texts.iter().flat_map(|text| alphabet.map(|last| format!("{text}{last}"))).collect::<Vec<_>>();
            texts.extend(longer);
            texts.sort_unstable();
            texts.dedup();
        }
        for content in texts {
            let mut literal = String::new();
            write_text(&content, &mut literal).unwrap();
            assert_eq!(scan(&literal).as_deref(), Some(content.as_str()), "{literal}");
        }
    }

    /// Reads an array literal of texts back as PostgreSQL's `array_in` does.
    fn elements(array: &str) -> Option<Vec<Option<String>>> {
        let mut characters = array.strip_prefix('{')?.chars().peekable();
        let mut found = Vec::new();
        loop {
            let (mut content, mut was_quoted, mut within) = (String::new(), false, false);
            loop {
                match characters.next()? {
                    '"' => (was_quoted, within) = (true, !within),
                    '\\' => content.push(characters.next()?),
                    ',' if !within => break found.push((was_quoted || content != "NULL").then_some(content)),
                    '}' if !within => {
                        found.push((was_quoted || content != "NULL").then_some(content));
                        return characters.next().is_none().then_some(found);
                    }
                    other => content.push(other),
                }
            }
        }
    }

    #[test]
    fn elements_of_arrays_read_back_as_themselves() {
        let hostile =
            ["", "NULL", "null", " a ", "{}", "},{", "a,b", "\"", "\\", "\\\"", "'", "it''s", "\\'; DROP", "E'", "tab\t", "ünï"];
        let alphabet = ['\'', '\\', '"', ',', '}'];
        let short = alphabet.iter().flat_map(|a| alphabet.iter().flat_map(move |b| alphabet.map(|c| format!("{a}{b}{c}"))));
        let texts: Vec<String> = hostile.into_iter().map(str::to_owned).chain(short).collect();
        let mut array = String::from("{");
        for (place, text) in texts.iter().enumerate() {
            array.push_str(if place == 0 { "" } else { "," });
            write_element(&Value::Text(text.clone()), &mut array).unwrap();
        }
        array.push('}');
        let mut literal = String::new();
        write_text(&array, &mut literal).unwrap();
        let read = elements(&scan(&literal).unwrap()).unwrap();
        assert_eq!(read, texts.into_iter().map(Some).collect::<Vec<_>>());
        assert!(write_element(&Value::Numeric("1,2".to_owned()), &mut String::new()).is_err());
    }

    #[test]
    fn elements_say_no_type() {
        let rows = [
            (Value::Int(-5), "-5"),
            (Value::Decimal { unscaled: -5, scale: 3 }, "-0.005"),
            (Value::Date(-719_163), "\"0001-12-31 BC\""),
            (Value::TimestampTz(1_000_001), "\"1970-01-01 00:00:01.000001+00\""),
            (Value::Bytes(vec![0, 39, 255]), "\"\\\\x0027ff\""),
        ];
        for (value, expected) in rows {
            let mut text = String::new();
            write_element(&value, &mut text).unwrap();
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn numbers_carry_their_type() {
        check(Value::Int(i64::MIN), "'-9223372036854775808'::int8");
        check(Value::Float(f64::NAN), "'NaN'::float8");
        check(Value::Float(f64::NEG_INFINITY), "'-Infinity'::float8");
        check(Value::Float(0.1), "'1e-1'::float8");
        check(Value::Float(-0.0), "'-0e0'::float8");
        check(Value::Decimal { unscaled: -5, scale: 3 }, "'-0.005'::numeric");
        check(Value::Decimal { unscaled: 12345, scale: 2 }, "'123.45'::numeric");
        check(Value::Decimal { unscaled: 7, scale: 0 }, "'7'::numeric");
        check(Value::Numeric("-123.4567".to_owned()), "'-123.4567'::numeric");
        check(Value::Bool(true), "TRUE");
        check(Value::Bytes(vec![0, 39, 255]), " decode('0027ff', 'hex')");
        for wrong in ["1'", "", "-", "1.", ".5", "1e5", "0x1", "1; drop"] {
            assert!(write(&Value::Numeric(wrong.to_owned()), &mut String::new()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn moments_cover_the_whole_range() {
        check(Value::Date(0), "'1970-01-01'::date");
        check(Value::Date(-1), "'1969-12-31'::date");
        check(Value::Date(-719_163), "'0001-12-31 BC'::date");
        check(Value::Date(-2_440_588), "'4714-11-24 BC'::date");
        check(Value::Date(2_145_042_905), "'5874897-12-31'::date");
        check(Value::Date(DATE_INFINITY), "'infinity'::date");
        check(Value::Date(11_016), "'2000-02-29'::date");
        check(Value::Time(MICROS_PER_DAY), "'24:00:00.000000'::time");
        check(Value::Timestamp(-1), "'1969-12-31 23:59:59.999999'::timestamp");
        check(Value::TimestampTz(1_000_001), "'1970-01-01 00:00:01.000001+00'::timestamptz");
        check(Value::TimestampTz(TIMESTAMP_NEGATIVE_INFINITY), "'-infinity'::timestamptz");
    }
}
