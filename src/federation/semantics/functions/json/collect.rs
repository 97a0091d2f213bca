//! What `json_agg` and its like become: each row's value as a text (`item`, `pair`), collected by `array_agg`, which knows
//! ORDER BY and FILTER, and put together at the end.
//!
//! A text may begin with a mark that no JSON begins with.

use crate::error::{Diagnosis, sqlstate};

use super::super::super::datum::Datum;
use super::super::super::key::{encode, has_equality};
use super::super::super::operators::plain;
use super::super::super::typed::Call;
use super::Outcome;
use super::make::{finished, is_structured, type_at, write, write_name};
use super::take::texts;

/// Before rows and arrays, which stand on lines of their own.
const STRUCTURED: char = '\u{1}';
/// Stands for a pair without a name. It is an error only if the row counts, which FILTER decides later.
const NAMELESS: &str = "\u{2}";

/// A value on its way into `json_agg`.
pub(super) fn item<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let typed = type_at(call, 0);
    let mut out = Vec::new();
    if is_structured(&typed) {
        out.push(STRUCTURED as u8);
    }
    write(&typed, &a[0], &call.session.display, &mut out)?;
    Ok(finished(out))
}

/// The same behind the hexadecimal key of its value, by which duplicates are found and values ordered.
pub(super) fn keyed_item<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let typed = type_at(call, 0);
    if !has_equality(typed.pg_type) {
        let message = format!("could not identify an equality operator for type {}", plain(&typed));
        return Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, message));
    }
    let (mut key, mut out) = (Vec::new(), Vec::new());
    encode(&typed, &a[0], &mut key)?;
    crate::format::bytea::write_hex(&key, &mut out);
    out.push(b' ');
    out.extend(item(call, a)?.as_text().bytes());
    Ok(finished(out))
}

/// A name and a value on their way into `json_object_agg`.
pub(super) fn pair<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    if a[0].is_null() {
        return Ok(Datum::text(NAMELESS));
    }
    let mut out = Vec::new();
    write_name(&type_at(call, 0), &a[0], &call.session.display, &mut out)?;
    out.extend(b" : ");
    write(&type_at(call, 1), &a[1], &call.session.display, &mut out)?;
    Ok(finished(out))
}

/// `json_agg` of collected items.
pub(super) fn list<'a>(items: &Datum<'_>) -> Outcome<'a> {
    Ok(joined(texts(items).iter().map(Option::as_deref)))
}

fn joined<'a, 't>(items: impl Iterator<Item = Option<&'t str>>) -> Datum<'a> {
    let mut text = "[".to_owned();
    for (place, item) in items.enumerate() {
        text.push_str(if place > 0 { ", " } else { "" });
        match item.map(|item| (item, item.strip_prefix(STRUCTURED))) {
            None => text.push_str("null"),
            Some((_, Some(structured))) => {
                text.push_str(if place > 0 { "\n " } else { "" });
                text.push_str(structured);
            }
            Some((plain, None)) => text.push_str(plain),
        }
    }
    text.push(']');
    Datum::text(text)
}

/// `json_agg(DISTINCT …)` of collected keyed items: sorted by key, `desc` backwards, NULL last unless `first`.
pub(super) fn distinct<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let order = a[1].as_text();
    let collected = texts(&a[0]);
    let has_null = collected.iter().any(Option::is_none);
    let mut keyed: Vec<(&str, &str)> = collected.iter().flatten().filter_map(|item| item.split_once(' ')).collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.dedup_by(|(later, _), (earlier, _)| later == earlier);
    if order.contains("desc") {
        keyed.reverse();
    }
    let null = || has_null.then_some(None).into_iter();
    let values = keyed.into_iter().map(|(_, item)| Some(item));
    Ok(match order.contains("first") {
        true => joined(null().chain(values)),
        false => joined(values.chain(null())),
    })
}

/// `json_object_agg` of collected pairs.
pub(super) fn object<'a>(pairs: &Datum<'_>) -> Outcome<'a> {
    let pairs: Vec<String> = texts(pairs).into_iter().flatten().collect();
    if pairs.iter().any(|pair| pair == NAMELESS) {
        return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, "field name must not be null"));
    }
    Ok(Datum::text(format!("{{ {} }}", pairs.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_arrays_stand_on_lines_of_their_own() {
        let texts = |items: &[Option<&str>]| Datum::Texts(items.iter().map(|item| item.map(str::to_owned)).collect());
        for (items, expected) in [
            (vec![Some("1"), None, Some("\"a\"")], "[1, null, \"a\"]"),
            (vec![Some("\u{1}[1,2]"), None, Some("\u{1}[3]")], "[[1,2], null, \n [3]]"),
            (vec![], "[]"),
        ] {
            assert_eq!(list(&texts(&items)).unwrap().as_text(), expected);
        }
        assert_eq!(object(&texts(&[Some("\"a\" : 1"), Some("\"a\" : 2")])).unwrap().as_text(), "{ \"a\" : 1, \"a\" : 2 }");
        assert_eq!(object(&texts(&[Some(NAMELESS)])).unwrap_err().message, "field name must not be null");
    }
}
