//! Regular expression functions. PostgreSQL's advanced expressions are translated to the engine of the `regex` crate; what
//! it cannot do (back-references, look-around) is refused.

use std::rc::Rc;

use regex::{Regex, RegexBuilder};

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

use super::super::datum::Datum;
use super::super::overload::{Overload, row};
use super::super::typed::Call;

const TEXT: PgType = PgType::TEXT;
const INT4: PgType = PgType::INT4;
const TEXTS: PgType = PgType { oid: 1009, typmod: -1 };

type Outcome<'a> = Result<Datum<'a>, Diagnosis>;

/// The family's rows.
pub(super) const ROWS: &[Overload] = &[
    row("regexp_replace", &[TEXT, TEXT, TEXT], TEXT, |call, a| replace(call, a, "")),
    row("regexp_replace", &[TEXT, TEXT, TEXT, TEXT], TEXT, |call, a| replace(call, a, a[3].as_text())),
    row("regexp_match", &[TEXT, TEXT], TEXTS, |call, a| first_match(call, a, "")),
    row("regexp_match", &[TEXT, TEXT, TEXT], TEXTS, |call, a| first_match(call, a, a[2].as_text())),
    row("regexp_split_to_array", &[TEXT, TEXT], TEXTS, |call, a| split(call, a, "")),
    row("regexp_split_to_array", &[TEXT, TEXT, TEXT], TEXTS, |call, a| split(call, a, a[2].as_text())),
    row("regexp_like", &[TEXT, TEXT], PgType::BOOL, |call, a| {
        Ok(Datum::Bool(compiled(call, a[1].as_text(), "")?.is_match(a[0].as_text())))
    }),
    row("regexp_like", &[TEXT, TEXT, TEXT], PgType::BOOL, |call, a| {
        Ok(Datum::Bool(compiled(call, a[1].as_text(), a[2].as_text())?.is_match(a[0].as_text())))
    }),
    row("regexp_count", &[TEXT, TEXT], INT4, |call, a| {
        let found = compiled(call, a[1].as_text(), "")?.find_iter(a[0].as_text()).count();
        Ok(Datum::Int(i64::try_from(found).unwrap_or(i64::MAX)))
    }),
    row("regexp_substr", &[TEXT, TEXT], TEXT, |call, a| {
        let pattern = compiled(call, a[1].as_text(), "")?;
        Ok(pattern.find(a[0].as_text()).map_or(Datum::Null, |found| Datum::text(found.as_str())))
    }),
];

/// The compiled pattern, which is that of the row before where both are the same.
///
/// # Errors
/// 2201B for a pattern or flag that is not understood.
pub(super) fn compiled(call: &Call<'_>, pattern: &str, flags: &str) -> Result<Rc<Regex>, Diagnosis> {
    call.kept.of((pattern, flags), || compile(pattern, flags))
}

/// Compiles a pattern under PostgreSQL's flags; `g` is the caller's.
///
/// # Errors
/// 2201B for a pattern or flag that is not understood.
fn compile(pattern: &str, flags: &str) -> Result<Regex, Diagnosis> {
    let refuse = |message: String| Diagnosis::new("2201B", message);
    let mut builder = RegexBuilder::new(pattern);
    // Without `n` or `s` the dot matches a newline, and anchors match only at the ends of the text.
    builder.dot_matches_new_line(true).size_limit(10 << 20);
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            'c' => builder.case_insensitive(false),
            'n' | 'm' => builder.dot_matches_new_line(false).multi_line(true),
            'p' => builder.dot_matches_new_line(false),
            's' => builder.dot_matches_new_line(true).multi_line(false),
            'w' => builder.dot_matches_new_line(true).multi_line(true),
            'x' => builder.ignore_whitespace(true),
            'g' | 't' | 'e' => &mut builder,
            other => {
                let message = format!("invalid regular expression option: \"{other}\"");
                return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message));
            }
        };
    }
    builder.build().map_err(|_cause: regex::Error| refuse(format!("invalid regular expression: \"{pattern}\"")))
}

fn replace<'a>(call: &Call<'_>, a: &[Datum<'a>], flags: &str) -> Outcome<'a> {
    let (text, pattern) = (a[0].as_text(), compiled(call, a[1].as_text(), flags)?);
    let limit = if flags.contains('g') { 0 } else { 1 };
    let template = a[2].as_text();
    let replaced = pattern.replacen(text, limit, |found: &regex::Captures<'_>| expand(template, found));
    Ok(Datum::text(replaced.into_owned()))
}

/// `\1` to `\9` are groups, `\&` the whole match, `\\` a backslash.
fn expand(template: &str, found: &regex::Captures<'_>) -> String {
    let mut out = String::new();
    let mut letters = template.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('&') => out.push_str(found.get(0).map_or("", |part| part.as_str())),
            Some(digit @ '1'..='9') => {
                let group = digit.to_digit(10).and_then(|digit| usize::try_from(digit).ok()).unwrap_or(0);
                out.push_str(found.get(group).map_or("", |part| part.as_str()));
            }
            Some('\\') | None => out.push('\\'),
            Some(other) => out.extend(['\\', other]),
        }
    }
    out
}

fn first_match<'a>(call: &Call<'_>, a: &[Datum<'a>], flags: &str) -> Outcome<'a> {
    if flags.contains('g') {
        return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, "regexp_match() does not support the \"global\" option")
            .with_hint("Use the regexp_matches function instead."));
    }
    let pattern = compiled(call, a[1].as_text(), flags)?;
    let Some(found) = pattern.captures(a[0].as_text()) else { return Ok(Datum::Null) };
    let skip = usize::from(found.len() > 1);
    Ok(Datum::Texts(found.iter().skip(skip).map(|part| part.map(|part| part.as_str().to_owned())).collect()))
}

pub(super) fn split<'a>(call: &Call<'_>, a: &[Datum<'a>], flags: &str) -> Outcome<'a> {
    let pattern = compiled(call, a[1].as_text(), flags)?;
    let text = a[0].as_text();
    let mut parts = Vec::new();
    let mut from = 0;
    for found in pattern.find_iter(text) {
        // An empty match at either end, or right after the last one, splits nothing off.
        if found.is_empty() && (found.start() == 0 || found.start() >= text.len() || found.start() == from) {
            continue;
        }
        parts.push(text.get(from..found.start()).map(str::to_owned));
        from = found.end();
    }
    parts.push(text.get(from..).map(str::to_owned));
    Ok(Datum::Texts(parts))
}
