//! JSON functions and operators (manual, "JSON Functions and Operators").
//!
//! `json` keeps its text, `jsonb` its canonical text; parts taken out of `json` are written compactly, because the parser
//! does not keep the blanks between tokens.

use arrow::array::{Array, AsArray};
use serde_json::{Map, Value as Json};

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

use super::super::cast::{jsonb_text, parse_json, text_of};
use super::super::datum::{Column, Datum};
use super::super::overload::{ANY, ANYARRAY, Overload, numeric_rank, row};
use super::super::typed::{Call, Typed};

const TEXT: PgType = PgType::TEXT;
const INT4: PgType = PgType::INT4;
const JSON: PgType = PgType::JSON;
const JSONB: PgType = PgType::JSONB;
const BOOL: PgType = PgType::BOOL;
const TEXTS: PgType = PgType { oid: 1009, typmod: -1 };

type Outcome<'a> = Result<Datum<'a>, Diagnosis>;

/// The family's rows.
pub(super) const ROWS: &[Overload] = &[
    row("operator ->", &[JSONB, TEXT], JSONB, |_, a| shown(member(a)?, true)),
    row("operator ->", &[JSONB, INT4], JSONB, |_, a| shown(item(a)?, true)),
    row("operator ->", &[JSON, TEXT], JSON, |_, a| shown(member(a)?, false)),
    row("operator ->", &[JSON, INT4], JSON, |_, a| shown(item(a)?, false)),
    row("operator ->>", &[JSONB, TEXT], TEXT, |_, a| text(member(a)?, true)),
    row("operator ->>", &[JSONB, INT4], TEXT, |_, a| text(item(a)?, true)),
    row("operator ->>", &[JSON, TEXT], TEXT, |_, a| text(member(a)?, false)),
    row("operator ->>", &[JSON, INT4], TEXT, |_, a| text(item(a)?, false)),
    row("operator #>", &[JSONB, TEXTS], JSONB, |_, a| shown(at_path(a)?, true)),
    row("operator #>", &[JSON, TEXTS], JSON, |_, a| shown(at_path(a)?, false)),
    row("operator #>>", &[JSONB, TEXTS], TEXT, |_, a| text(at_path(a)?, true)),
    row("operator #>>", &[JSON, TEXTS], TEXT, |_, a| text(at_path(a)?, false)),
    row("operator @>", &[JSONB, JSONB], BOOL, |_, a| Ok(Datum::Bool(contains(&parse(&a[0])?, &parse(&a[1])?, true)))),
    row("operator <@", &[JSONB, JSONB], BOOL, |_, a| Ok(Datum::Bool(contains(&parse(&a[1])?, &parse(&a[0])?, true)))),
    row("operator ?", &[JSONB, TEXT], BOOL, |_, a| Ok(Datum::Bool(has(&parse(&a[0])?, a[1].as_text())))),
    row("operator ?|", &[JSONB, TEXTS], BOOL, |_, a| {
        let value = parse(&a[0])?;
        Ok(Datum::Bool(texts(&a[1]).iter().flatten().any(|key| has(&value, key))))
    }),
    row("operator ?&", &[JSONB, TEXTS], BOOL, |_, a| {
        let value = parse(&a[0])?;
        Ok(Datum::Bool(texts(&a[1]).iter().flatten().all(|key| has(&value, key))))
    }),
    row("operator -", &[JSONB, TEXT], JSONB, |_, a| shown(Some(without(parse(&a[0])?, a[1].as_text())?), true)),
    row("json_array_length", &[JSON], INT4, |_, a| array_length(&a[0])),
    row("jsonb_array_length", &[JSONB], INT4, |_, a| array_length(&a[0])),
    row("json_typeof", &[JSON], TEXT, |_, a| Ok(Datum::text(kind(&parse(&a[0])?)))),
    row("jsonb_typeof", &[JSONB], TEXT, |_, a| Ok(Datum::text(kind(&parse(&a[0])?)))),
    row("json_extract_path_text", &[JSON, TEXT], TEXT, |_, a| text(at_arguments(a)?, false)).variadic(),
    row("jsonb_extract_path_text", &[JSONB, TEXT], TEXT, |_, a| text(at_arguments(a)?, true)).variadic(),
    row("json_extract_path", &[JSON, TEXT], JSON, |_, a| shown(at_arguments(a)?, false)).variadic(),
    row("jsonb_extract_path", &[JSONB, TEXT], JSONB, |_, a| shown(at_arguments(a)?, true)).variadic(),
    row("to_json", &[ANY], JSON, |call, a| Ok(Datum::text(json_of(call, 0, &a[0])?.to_string()))),
    row("to_jsonb", &[ANY], JSONB, |call, a| Ok(Datum::text(jsonb_text(&json_of(call, 0, &a[0])?)))),
    row("array_to_json", &[ANYARRAY], JSON, |call, a| Ok(Datum::text(json_of(call, 0, &a[0])?.to_string()))),
    row("json_build_object", &[ANY], JSON, |call, a| Ok(Datum::text(spaced(&object(call, a)?, " : ")))).lenient().variadic(),
    row("jsonb_build_object", &[ANY], JSONB, |call, a| Ok(Datum::text(jsonb_text(&object(call, a)?)))).lenient().variadic(),
    row("json_build_array", &[ANY], JSON, |call, a| Ok(Datum::text(spaced(&array(call, a)?, " : ")))).lenient().variadic(),
    row("jsonb_build_array", &[ANY], JSONB, |call, a| Ok(Datum::text(jsonb_text(&array(call, a)?)))).lenient().variadic(),
    row("jsonb_pretty", &[JSONB], TEXT, |_, a| Ok(Datum::text(pretty(&parse(&a[0])?, 0)))),
    row("jsonb_strip_nulls", &[JSONB], JSONB, |_, a| shown(Some(strip(parse(&a[0])?)), true)),
    row("json_strip_nulls", &[JSON], JSON, |_, a| shown(Some(strip(parse(&a[0])?)), false)),
];

fn parse(value: &Datum<'_>) -> Result<Json, Diagnosis> {
    parse_json(value.as_text(), "json")
}

fn render(value: &Json, binary: bool) -> String {
    if binary { jsonb_text(value) } else { value.to_string() }
}

fn shown<'a>(value: Option<Json>, binary: bool) -> Outcome<'a> {
    Ok(value.map_or(Datum::Null, |value| Datum::text(render(&value, binary))))
}

fn text<'a>(value: Option<Json>, binary: bool) -> Outcome<'a> {
    Ok(match value {
        None | Some(Json::Null) => Datum::Null,
        Some(Json::String(text)) => Datum::text(text),
        Some(other) => Datum::text(render(&other, binary)),
    })
}

fn member(a: &[Datum<'_>]) -> Result<Option<Json>, Diagnosis> {
    Ok(match parse(&a[0])? {
        Json::Object(mut members) => members.remove(a[1].as_text()),
        _ => None,
    })
}

fn item(a: &[Datum<'_>]) -> Result<Option<Json>, Diagnosis> {
    Ok(at_index(&parse(&a[0])?, a[1].as_int()).cloned())
}

/// Negative indexes count from the end.
fn at_index(value: &Json, index: i64) -> Option<&Json> {
    let items = value.as_array()?;
    let place = if index < 0 { i64::try_from(items.len()).ok()? + index } else { index };
    items.get(usize::try_from(place).ok()?)
}

fn texts(value: &Datum<'_>) -> Vec<Option<String>> {
    match value {
        Datum::Texts(texts) => texts.clone(),
        Datum::List(items) => {
            items.as_string_opt::<i32>().map_or_else(Vec::new, |items| items.iter().map(|item| item.map(str::to_owned)).collect())
        }
        _ => Vec::new(),
    }
}

fn at_path(a: &[Datum<'_>]) -> Result<Option<Json>, Diagnosis> {
    Ok(walk(parse(&a[0])?, texts(&a[1]).into_iter()))
}

fn at_arguments(a: &[Datum<'_>]) -> Result<Option<Json>, Diagnosis> {
    Ok(walk(parse(&a[0])?, a.iter().skip(1).map(|step| Some(step.as_text().to_owned()))))
}

fn walk(value: Json, path: impl Iterator<Item = Option<String>>) -> Option<Json> {
    let mut current = value;
    for step in path {
        let step = step?;
        current = match current {
            Json::Object(mut members) => members.remove(&step)?,
            Json::Array(_) => at_index(&current, step.parse().ok()?)?.clone(),
            _ => return None,
        };
    }
    Some(current)
}

/// `@>`; at the top an array contains a bare scalar.
fn contains(left: &Json, right: &Json, top: bool) -> bool {
    match (left, right) {
        (Json::Object(left), Json::Object(right)) => {
            right.iter().all(|(key, wanted)| left.get(key).is_some_and(|found| contains(found, wanted, false)))
        }
        (Json::Array(left), Json::Array(right)) => {
            right.iter().all(|wanted| left.iter().any(|found| contains(found, wanted, false)))
        }
        (Json::Array(left), scalar) if top && !scalar.is_object() => left.iter().any(|found| same(found, scalar)),
        _ => same(left, right),
    }
}

fn same(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Number(left), Json::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        _ => left == right,
    }
}

fn has(value: &Json, key: &str) -> bool {
    match value {
        Json::Object(members) => members.contains_key(key),
        Json::Array(items) => items.iter().any(|item| item.as_str() == Some(key)),
        Json::String(text) => text == key,
        _ => false,
    }
}

fn without(value: Json, key: &str) -> Result<Json, Diagnosis> {
    match value {
        Json::Object(mut members) => {
            members.remove(key);
            Ok(Json::Object(members))
        }
        Json::Array(items) => Ok(Json::Array(items.into_iter().filter(|item| item.as_str() != Some(key)).collect())),
        _ => Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, "cannot delete from scalar")),
    }
}

fn array_length<'a>(value: &Datum<'_>) -> Outcome<'a> {
    match parse(value)? {
        Json::Array(items) => Ok(Datum::Int(i64::try_from(items.len()).unwrap_or(i64::MAX))),
        Json::Object(_) => Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, "cannot get array length of a non-array")),
        _ => Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, "cannot get array length of a scalar")),
    }
}

fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

fn strip(value: Json) -> Json {
    match value {
        Json::Object(members) => Json::Object(
            members.into_iter().filter(|(_, member)| !member.is_null()).map(|(key, member)| (key, strip(member))).collect(),
        ),
        Json::Array(items) => Json::Array(items.into_iter().map(strip).collect()),
        other => other,
    }
}

fn json_of(call: &Call<'_>, index: usize, value: &Datum<'_>) -> Result<Json, Diagnosis> {
    let text: Typed = PgType::TEXT.into();
    convert(call, call.arguments.get(index).or(call.arguments.last()).unwrap_or(&text), value)
}

fn convert(call: &Call<'_>, typed: &Typed, value: &Datum<'_>) -> Result<Json, Diagnosis> {
    Ok(match (value, typed.pg_type.oid) {
        (Datum::Null, _) => Json::Null,
        (Datum::Bool(value), _) => Json::Bool(*value),
        (Datum::Text(text), 114 | 3802) => parse_json(text, "json")?,
        (Datum::List(items), _) => {
            let element =
                Typed { pg_type: typed.pg_type.element().unwrap_or_else(|| PgType::from_arrow(items.data_type())), labels: None };
            let internal =
                |error: datafusion::error::DataFusionError| Diagnosis::new(sqlstate::INTERNAL_ERROR, error.strip_backtrace());
            let column = Column::new(items, Some(&element)).map_err(internal)?;
            let parts = (0..items.len()).map(|row| convert(call, &element, &column.get(row)));
            Json::Array(parts.collect::<Result<_, _>>()?)
        }
        _ => {
            let shown = text_of(typed, value, &call.session.display)?;
            let number = numeric_rank(typed.pg_type).is_some() && !shown.contains(['N', 'I']);
            match serde_json::from_str(&shown) {
                Ok(value) if number => value,
                _ => Json::String(iso(typed, shown)),
            }
        }
    })
}

/// JSON writes moments with a `T` between date and time and minutes in the zone.
fn iso(typed: &Typed, shown: String) -> String {
    match typed.pg_type.oid {
        1114 => shown.replacen(' ', "T", 1),
        1184 => {
            let text = shown.replacen(' ', "T", 1);
            let hours_only = text.len() > 3 && matches!(text.as_bytes().get(text.len() - 3), Some(b'+' | b'-'));
            if hours_only { text + ":00" } else { text }
        }
        _ => shown,
    }
}

fn object(call: &Call<'_>, a: &[Datum<'_>]) -> Result<Json, Diagnosis> {
    if a.len() % 2 == 1 {
        return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, "argument list must have even number of elements")
            .with_hint("The arguments of json_build_object() must consist of alternating keys and values."));
    }
    let mut members = Map::new();
    for (index, pair) in a.chunks(2).enumerate() {
        if pair[0].is_null() {
            let message = format!("argument {} cannot be null", index * 2 + 1);
            return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message).with_hint("Object keys should be text."));
        }
        let text: Typed = PgType::TEXT.into();
        let key = text_of(call.arguments.get(index * 2).unwrap_or(&text), &pair[0], &call.session.display)?;
        members.insert(key, json_of(call, index * 2 + 1, &pair[1])?);
    }
    Ok(Json::Object(members))
}

fn array(call: &Call<'_>, a: &[Datum<'_>]) -> Result<Json, Diagnosis> {
    Ok(Json::Array(a.iter().enumerate().map(|(index, value)| json_of(call, index, value)).collect::<Result<_, _>>()?))
}

/// The outermost level as `json_build_object` spaces it; nested values stay compact.
fn spaced(value: &Json, colon: &str) -> String {
    match value {
        Json::Object(members) => {
            let parts: Vec<String> =
                members.iter().map(|(key, member)| format!("{}{colon}{member}", Json::String(key.clone()))).collect();
            format!("{{{}}}", parts.join(", "))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(Json::to_string).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn pretty(value: &Json, depth: usize) -> String {
    let (inner, outer) = ("    ".repeat(depth + 1), "    ".repeat(depth));
    match value {
        Json::Array(items) => {
            let parts: Vec<String> = items.iter().map(|item| format!("{inner}{}", pretty(item, depth + 1))).collect();
            format!("[\n{}\n{outer}]", parts.join(",\n"))
        }
        Json::Object(members) => {
            let mut members: Vec<(&String, &Json)> = members.iter().collect();
            members.sort_by(|(left, _), (right, _)| (left.len(), left).cmp(&(right.len(), right)));
            let parts: Vec<String> = members
                .into_iter()
                .map(|(key, member)| format!("{inner}{}: {}", Json::String(key.clone()), pretty(member, depth + 1)))
                .collect();
            format!("{{\n{}\n{outer}}}", parts.join(",\n"))
        }
        other => other.to_string(),
    }
}
