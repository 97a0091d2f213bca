//! Parts of a value: by name, by place, by path. A part is the text between its first and last letter.

use arrow::array::AsArray;

use crate::error::{Diagnosis, sqlstate};
use crate::format::json::{self, Node, Outline};

use super::super::super::datum::Datum;
use super::Outcome;

/// What stands around a value in JSON text.
const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// A part as `json` or `jsonb`.
pub(super) fn part<'a>(part: Option<&str>) -> Datum<'a> {
    part.map_or(Datum::Null, Datum::text)
}

/// A part as `->>` shows it.
pub(in super::super::super) fn text<'a>(part: Option<&str>) -> Outcome<'a> {
    let Some(part) = part else { return Ok(Datum::Null) };
    Ok(shown(part)?.map_or(Datum::Null, Datum::text))
}

/// A string without its quotes and escapes, `None` for `null`, anything else as it is written.
pub(super) fn shown(part: &str) -> Result<Option<String>, Diagnosis> {
    match part {
        "null" => Ok(None),
        part if part.starts_with('"') => match json::read(part)? {
            Node::Text(text) => Ok(Some(text)),
            _ => Ok(Some(part.to_owned())),
        },
        part => Ok(Some(part.to_owned())),
    }
}

/// `document -> 'name'`
pub(super) fn member<'d>(a: &'d [Datum<'_>]) -> Result<Option<&'d str>, Diagnosis> {
    Ok(match json::outline(a[0].as_text())? {
        Outline::Object(members) => last(members, a[1].as_text()),
        _ => None,
    })
}

/// `list -> 0`
pub(super) fn item<'d>(a: &'d [Datum<'_>]) -> Result<Option<&'d str>, Diagnosis> {
    Ok(match json::outline(a[0].as_text())? {
        Outline::Array(items) => place(a[1].as_int(), items.len()).and_then(|place| items.get(place).copied()),
        _ => None,
    })
}

/// The same of `jsonb`, which keeps a scalar as an array of one element and shows it here.
pub(super) fn item_b<'d>(a: &'d [Datum<'_>]) -> Result<Option<&'d str>, Diagnosis> {
    let value = a[0].as_text();
    match value.starts_with(['{', '[']) {
        true => item(a),
        false => Ok(place(a[1].as_int(), 1).map(|_| value)),
    }
}

/// Of repeated names the last counts, in `json` too.
fn last<'t>(members: Vec<(String, &'t str)>, name: &str) -> Option<&'t str> {
    members.into_iter().rev().find(|(known, _)| known == name).map(|(_, part)| part)
}

/// The place that an index means; negative ones count from the end.
pub(super) fn place(index: i64, length: usize) -> Option<usize> {
    let from_start = if index < 0 { i64::try_from(length).ok()? + index } else { index };
    usize::try_from(from_start).ok().filter(|place| *place < length)
}

/// The elements of a `text[]`.
pub(super) fn texts(value: &Datum<'_>) -> Vec<Option<String>> {
    match value {
        Datum::Texts(texts) => texts.clone(),
        Datum::List(items) => {
            items.as_string_opt::<i32>().map_or_else(Vec::new, |items| items.iter().map(|item| item.map(str::to_owned)).collect())
        }
        _ => Vec::new(),
    }
}

/// `document #> path`
pub(super) fn at_path<'d>(a: &'d [Datum<'_>]) -> Result<Option<&'d str>, Diagnosis> {
    walk(a[0].as_text(), texts(&a[1]))
}

/// The same with the path as arguments.
pub(super) fn at_arguments<'d>(a: &'d [Datum<'_>]) -> Result<Option<&'d str>, Diagnosis> {
    walk(a[0].as_text(), a.iter().skip(1).map(|step| Some(step.as_text().to_owned())).collect())
}

fn walk(text: &str, path: Vec<Option<String>>) -> Result<Option<&str>, Diagnosis> {
    let mut current = text.trim_matches(BLANKS);
    for step in path {
        let Some(step) = step else { return Ok(None) };
        let next = match json::outline(current)? {
            Outline::Object(members) => last(members, &step),
            Outline::Array(items) => {
                index(&step).and_then(|index| place(index, items.len())).and_then(|place| items.get(place).copied())
            }
            Outline::Scalar(_) => None,
        };
        let Some(next) = next else { return Ok(None) };
        current = next;
    }
    Ok(Some(current))
}

/// A step of a path as an index: what C's `strtol` reads, within 32 bits.
pub(super) fn index(step: &str) -> Option<i64> {
    let digits = step.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    digits.parse::<i32>().ok().map(i64::from)
}

/// `json_array_length`
pub(super) fn array_length<'a>(value: &Datum<'_>) -> Outcome<'a> {
    let what = match json::outline(value.as_text())? {
        Outline::Array(items) => return Ok(Datum::Int(i64::try_from(items.len()).unwrap_or(i64::MAX))),
        Outline::Object(_) => "non-array",
        Outline::Scalar(_) => "scalar",
    };
    Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, format!("cannot get array length of a {what}")))
}

/// `json_typeof`
pub(super) fn kind<'a>(value: &Datum<'_>) -> Outcome<'a> {
    Ok(Datum::text(match value.as_text().trim_start_matches(BLANKS).chars().next() {
        Some('{') => "object",
        Some('[') => "array",
        Some('"') => "string",
        Some('t' | 'f') => "boolean",
        Some('n') => "null",
        _ => "number",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, path: &[&str], expected: Option<&str>) {
        let path = path.iter().map(|step| Some((*step).to_owned())).collect();
        assert_eq!(walk(text, path).unwrap(), expected, "{text}");
    }

    #[test]
    fn parts_are_taken_as_they_are_written() {
        check(" {\"a\" : { \"b\":1.50}} ", &["a"], Some("{ \"b\":1.50}"));
        check("{\"a\":1,\"a\":2}", &["a"], Some("2"));
        check("[1,[20, 3.0e1]]", &["1", "-1"], Some("3.0e1"));
        check("[1,2]", &[" +1"], Some("2"));
        check("[1,2]", &["2"], None);
        check("[1,2]", &["x"], None);
        check("[1,2]", &["-3"], None);
        check("{\"0\":1}", &["0"], Some("1"));
        check("1", &["0"], None);
        check(" [ ] ", &[], Some("[ ]"));
    }

    #[test]
    fn texts_lose_quotes_and_escapes_only() {
        for (part, expected) in [
            ("\"a\\n\\u00e9\"", Some("a\né")),
            ("null", None),
            ("1.500", Some("1.500")),
            ("12345678901234567890.10", Some("12345678901234567890.10")),
            ("[ 1 ]", Some("[ 1 ]")),
        ] {
            assert_eq!(shown(part).unwrap().as_deref(), expected);
        }
    }
}
