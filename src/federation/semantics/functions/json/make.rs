//! Values of any type as JSON text (`datum_to_json` in PostgreSQL), and objects and arrays made of them.

use arrow::array::Array;
use datafusion::error::DataFusionError;

use crate::error::{Diagnosis, sqlstate};
use crate::format::{DateStyle, DisplaySettings, date, json, timestamp};
use crate::pgtype::PgType;

use super::super::super::cast::text_of;
use super::super::super::datum::{Column, Datum};
use super::super::super::overload::numeric_rank;
use super::super::super::typed::{Call, Typed};
use super::Outcome;
use super::take::texts;

/// Appends a value as JSON: numbers bare where JSON has them, moments in ISO 8601, lists as arrays without blanks, JSON as it
/// is, and everything else as a string of its text.
///
/// # Errors
/// 0A000 for a carrier without a text form.
pub(in super::super::super) fn write(
    typed: &Typed,
    value: &Datum<'_>,
    display: &DisplaySettings,
    out: &mut Vec<u8>,
) -> Result<(), Diagnosis> {
    let quoted = |text: &[u8], out: &mut Vec<u8>| json::write_string(std::str::from_utf8(text).unwrap_or_default(), out);
    match (value, typed.pg_type.oid) {
        (Datum::Null, _) => out.extend(b"null"),
        (Datum::Bool(truth), _) => out.extend(if *truth { &b"true"[..] } else { b"false" }),
        (Datum::Text(text), 114 | 3802 | 2249) => out.extend(text.bytes()),
        (Datum::List(_) | Datum::Texts(_), _) => list(typed, value, display, out)?,
        (Datum::Date(days), _) => {
            let mut text = Vec::new();
            date::write(*days, &DisplaySettings { date_style: DateStyle::Iso, ..display.clone() }, &mut text);
            quoted(&text, out);
        }
        (Datum::Timestamp(micros), oid) => {
            let mut text = Vec::new();
            timestamp::write_json(*micros, oid == PgType::TIMESTAMPTZ.oid, display, &mut text);
            quoted(&text, out);
        }
        (Datum::Text(text), 1042) => quoted(padded(text, typed.pg_type.typmod).as_bytes(), out),
        _ => {
            let text = text_of(typed, value, display)?;
            // NaN and the infinities are no JSON numbers.
            let is_number = numeric_rank(typed.pg_type).is_some() && text.ends_with(|letter: char| letter.is_ascii_digit());
            if is_number { out.extend(text.bytes()) } else { quoted(text.as_bytes(), out) }
        }
    }
    Ok(())
}

/// `character(n)` is carried without the blanks that JSON shows.
fn padded(text: &str, typmod: i32) -> String {
    let width = usize::try_from(typmod.saturating_sub(4)).unwrap_or(0);
    // The formatter's own padding panics beyond 65,535 characters.
    let blanks = " ".repeat(width.saturating_sub(text.chars().count()));
    format!("{text}{blanks}")
}

fn list(typed: &Typed, value: &Datum<'_>, display: &DisplaySettings, out: &mut Vec<u8>) -> Result<(), Diagnosis> {
    out.push(b'[');
    match value {
        Datum::Texts(texts) => {
            for (place, text) in texts.iter().enumerate() {
                out.extend(if place > 0 { &b","[..] } else { b"" });
                match text {
                    Some(text) => json::write_string(text, out),
                    None => out.extend(b"null"),
                }
            }
        }
        Datum::List(items) => {
            let element = match typed.pg_type.element() {
                // An array of arrays has the type of its innermost elements' array.
                _ if items.data_type().is_nested() => typed.clone(),
                Some(element) => Typed { pg_type: element, labels: typed.labels.clone() },
                None => PgType::from_arrow(items.data_type()).into(),
            };
            let internal = |error: DataFusionError| Diagnosis::new(sqlstate::INTERNAL_ERROR, error.strip_backtrace());
            let column = Column::new(items, Some(&element)).map_err(internal)?;
            for row in 0..items.len() {
                out.extend(if row > 0 { &b","[..] } else { b"" });
                write(&element, &column.get(row), display, out)?;
            }
        }
        _ => {}
    }
    out.push(b']');
    Ok(())
}

/// The type of an argument; the last one stands for those that repeat it.
pub(super) fn type_at(call: &Call<'_>, index: usize) -> Typed {
    call.arguments.get(index).or(call.arguments.last()).cloned().unwrap_or_else(|| PgType::TEXT.into())
}

/// Whether a type is shown as an object or an array, which `json_agg` sets on lines of their own.
pub(super) fn is_structured(typed: &Typed) -> bool {
    typed.pg_type.element().is_some() || typed.pg_type == PgType::RECORD
}

/// Bytes that this room wrote, all of them text.
pub(super) fn finished<'a>(out: Vec<u8>) -> Datum<'a> {
    Datum::text(String::from_utf8(out).unwrap_or_default())
}

/// `to_json`
pub(super) fn json<'a>(call: &Call<'_>, index: usize, value: &Datum<'_>) -> Outcome<'a> {
    let mut out = Vec::new();
    write(&type_at(call, index), value, &call.session.display, &mut out)?;
    Ok(finished(out))
}

/// The same as `jsonb` has it.
pub(super) fn canonical<'a>(text: Datum<'_>) -> Outcome<'a> {
    if text.is_null() {
        return Ok(Datum::Null);
    }
    crate::format::json::canonical(text.as_text()).map(Datum::text)
}

/// Appends a value as the name of a member.
///
/// # Errors
/// 22023 for values that have no name.
pub(super) fn write_name(typed: &Typed, value: &Datum<'_>, display: &DisplaySettings, out: &mut Vec<u8>) -> Result<(), Diagnosis> {
    if is_structured(typed) || matches!(typed.pg_type.oid, 114 | 3802) {
        let message = "key value must be scalar, not array, composite, or json";
        return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    }
    let start = out.len();
    write(typed, value, display, out)?;
    if out.get(start) != Some(&b'"') {
        let bare = out.split_off(start);
        json::write_string(std::str::from_utf8(&bare).unwrap_or_default(), out);
    }
    Ok(())
}

fn invalid(message: impl Into<String>) -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

/// `json_build_object`
pub(super) fn object<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    members(call, a, "json_build_object", |place| {
        invalid(format!("argument {place} cannot be null")).with_hint("Object keys should be text.")
    })
}

/// `jsonb_build_object`, before repeated names are dropped.
pub(super) fn object_b<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    members(call, a, "jsonb_build_object", |place| invalid(format!("argument {place}: key must not be null")))
}

fn members<'a>(call: &Call<'_>, a: &[Datum<'a>], name: &str, nameless: fn(usize) -> Diagnosis) -> Outcome<'a> {
    if a.len() % 2 == 1 {
        return Err(invalid("argument list must have even number of elements")
            .with_hint(format!("The arguments of {name}() must consist of alternating keys and values.")));
    }
    let display = &call.session.display;
    let mut out = vec![b'{'];
    for (index, pair) in a.chunks(2).enumerate() {
        if pair[0].is_null() {
            return Err(nameless(index * 2 + 1));
        }
        out.extend(if index > 0 { &b", "[..] } else { b"" });
        write_name(&type_at(call, index * 2), &pair[0], display, &mut out)?;
        out.extend(b" : ");
        write(&type_at(call, index * 2 + 1), &pair[1], display, &mut out)?;
    }
    out.push(b'}');
    Ok(finished(out))
}

/// `json_build_array`
pub(super) fn array<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let mut out = vec![b'['];
    for (index, value) in a.iter().enumerate() {
        out.extend(if index > 0 { &b", "[..] } else { b"" });
        write(&type_at(call, index), value, &call.session.display, &mut out)?;
    }
    out.push(b']');
    Ok(finished(out))
}

/// A row as the object that `row_to_json` shows: names and values by turns.
pub(super) fn record<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let mut out = vec![b'{'];
    for (index, pair) in a.chunks_exact(2).enumerate() {
        out.extend(if index > 0 { &b","[..] } else { b"" });
        json::write_string(pair[0].as_text(), &mut out);
        out.push(b':');
        write(&type_at(call, index * 2 + 1), &pair[1], &call.session.display, &mut out)?;
    }
    out.push(b'}');
    Ok(finished(out))
}

/// `json_object` of names and values by turns.
pub(super) fn object_of_list<'a>(list: &Datum<'_>) -> Outcome<'a> {
    let parts = texts(list);
    if parts.len() % 2 == 1 {
        return Err(Diagnosis::new("2202E", "array must have even number of elements"));
    }
    let (names, values): (Vec<_>, Vec<_>) = parts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).unzip();
    object_of(&names, &values)
}

/// `json_object` of names, and of values.
pub(super) fn object_of_lists<'a>(names: &Datum<'_>, values: &Datum<'_>) -> Outcome<'a> {
    let (names, values) = (texts(names), texts(values));
    if names.len() != values.len() {
        return Err(Diagnosis::new("2202E", "mismatched array dimensions"));
    }
    object_of(&names, &values)
}

fn object_of<'a>(names: &[Option<String>], values: &[Option<String>]) -> Outcome<'a> {
    let mut out = vec![b'{'];
    for (index, (name, value)) in names.iter().zip(values).enumerate() {
        let Some(name) = name else { return Err(Diagnosis::new("22004", "null value not allowed for object key")) };
        out.extend(if index > 0 { &b", "[..] } else { b"" });
        json::write_string(name, &mut out);
        out.extend(b" : ");
        match value {
            Some(value) => json::write_string(value, &mut out),
            None => out.extend(b"null"),
        }
    }
    out.push(b'}');
    Ok(finished(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn character_columns_of_any_length_get_their_blanks() {
        assert_eq!(padded("é", 7), "é  ");
        assert_eq!(padded("abc", 5), "abc");
        assert_eq!(padded("x", 70_004).len(), 70_000);
    }
}
