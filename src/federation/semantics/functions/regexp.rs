//! Regular expression functions and operators. What a pattern matches is found in `pattern`.

use std::ops::Range;
use std::rc::Rc;

use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

use super::super::datum::Datum;
use super::super::overload::{Overload, row};
use super::super::typed::{Call, Kernel, RowKernel, Typed, TypedFunction};
use super::pattern::{Captured, Pattern};

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
        let found = compiled(call, a[1].as_text(), "")?.find_all(a[0].as_text())?.count();
        Ok(Datum::Int(i64::try_from(found).unwrap_or(i64::MAX)))
    }),
    row("regexp_substr", &[TEXT, TEXT], TEXT, |call, a| {
        let pattern = compiled(call, a[1].as_text(), "")?;
        let text = a[0].as_text();
        Ok(pattern.find(text, 0)?.and_then(|found| text.get(found)).map_or(Datum::Null, Datum::text))
    }),
];

/// Most bytes of a pattern that is compiled only to see whether it can be.
const SMALL_PATTERN_BYTES: usize = 100;

/// Whether a pattern is short, and a right one.
pub(in super::super) fn is_small(pattern: &str, flags: &str) -> bool {
    pattern.len() <= SMALL_PATTERN_BYTES && Pattern::new(pattern, flags).is_ok()
}

/// The compiled pattern, which is that of the row before where both are the same.
///
/// # Errors
/// 2201B for an invalid pattern, 22023 for an unknown flag, 0A000 for what is not supported.
pub(super) fn compiled(call: &Call<'_>, pattern: &str, flags: &str) -> Result<Rc<Pattern>, Diagnosis> {
    call.kept.of((pattern, flags), || Pattern::new(pattern, flags))
}

/// `text ~ pattern`; `~*` where case does not matter, `!~` where the answer is turned round.
pub(in super::super) fn operator(text: Expr, pattern: Expr, folds: bool, negated: bool) -> Expr {
    if !folds && let Some(like) = as_like(&pattern) {
        return if negated { text.not_like(like) } else { text.like(like) };
    }
    let name = match (folds, negated) {
        (false, false) => "operator ~",
        (false, true) => "operator !~",
        (true, false) => "operator ~*",
        (true, true) => "operator !~*",
    };
    let kernel: RowKernel = match (folds, negated) {
        (false, false) => |call, a| is_match(call, a, "", true),
        (false, true) => |call, a| is_match(call, a, "", false),
        (true, false) => |call, a| is_match(call, a, "i", true),
        (true, true) => |call, a| is_match(call, a, "i", false),
    };
    let texts: Vec<Typed> = vec![TEXT.into(), TEXT.into()];
    TypedFunction::new(name, texts, PgType::BOOL.into(), Kernel::Strict(kernel)).call(vec![text, pattern])
}

/// A literal that is a plain text, with or without anchors, as a pattern of LIKE, which stores can be asked for.
fn as_like(pattern: &Expr) -> Option<Expr> {
    let Expr::Literal(ScalarValue::Utf8(Some(pattern)), _) = pattern else { return None };
    let (start, rest) = pattern.strip_prefix('^').map_or(("%", pattern.as_str()), |rest| ("", rest));
    let (end, rest) = rest.strip_suffix('$').map_or(("%", rest), |rest| ("", rest));
    let inner = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(rest);
    if inner.contains(|letter: char| r"\.[](){}*+?|^$".contains(letter)) {
        return None;
    }
    let escaped = inner.replace('%', r"\%").replace('_', r"\_");
    Some(Expr::Literal(ScalarValue::Utf8(Some(format!("{start}{escaped}{end}"))), None))
}

fn is_match<'a>(call: &Call<'_>, a: &[Datum<'a>], flags: &str, wanted: bool) -> Outcome<'a> {
    Ok(Datum::Bool(compiled(call, a[1].as_text(), flags)?.is_match(a[0].as_text()) == wanted))
}

/// `substring(text from pattern)`: the first group, or the whole match where there is none.
pub(super) fn substring<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let (text, pattern) = (a[0].as_text(), compiled(call, a[1].as_text(), "")?);
    let found = match pattern.groups() {
        0 => pattern.find(text, 0)?,
        _ => pattern.captures(text, 0)?.and_then(|found| found.groups.into_iter().next().flatten()),
    };
    Ok(found.and_then(|place| text.get(place)).map_or(Datum::Null, Datum::text))
}

fn replace<'a>(call: &Call<'_>, a: &[Datum<'a>], flags: &str) -> Outcome<'a> {
    let (text, template, pattern) = (a[0].as_text(), a[2].as_text(), compiled(call, a[1].as_text(), flags)?);
    let names_groups = pattern.groups() > 0 && names_groups(template);
    let most = if flags.contains('g') { usize::MAX } else { 1 };
    let (mut out, mut copied) = (String::new(), 0);
    for whole in pattern.find_all(text)?.take(most) {
        let found = if names_groups { pattern.captures(text, whole.start)? } else { None };
        let found = found.unwrap_or_else(|| Captured { whole: whole.clone(), groups: Vec::new() });
        out.push_str(text.get(copied..whole.start).unwrap_or_default());
        expand(template, text, &found, &mut out);
        copied = whole.end;
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Ok(Datum::text(out))
}

/// Whether a template has `\1` to `\9`.
fn names_groups(template: &str) -> bool {
    let mut letters = template.chars();
    while let Some(letter) = letters.next() {
        if letter == '\\' && letters.next().is_some_and(|digit| matches!(digit, '1'..='9')) {
            return true;
        }
    }
    false
}

/// `\1` to `\9` are groups, `\&` the whole match, `\\` a backslash.
fn expand(template: &str, text: &str, found: &Captured, out: &mut String) {
    let mut letters = template.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('&') => out.push_str(text.get(found.whole.clone()).unwrap_or_default()),
            Some(digit @ '1'..='9') => {
                let group = digit.to_digit(10).and_then(|digit| usize::try_from(digit).ok()).unwrap_or(1) - 1;
                let place = found.groups.get(group).cloned().flatten();
                out.push_str(place.and_then(|place| text.get(place)).unwrap_or_default());
            }
            Some('\\') | None => out.push('\\'),
            Some(other) => out.extend(['\\', other]),
        }
    }
}

fn first_match<'a>(call: &Call<'_>, a: &[Datum<'a>], flags: &str) -> Outcome<'a> {
    if flags.contains('g') {
        return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, "regexp_match() does not support the \"global\" option")
            .with_hint("Use the regexp_matches function instead."));
    }
    let text = a[0].as_text();
    let Some(found) = compiled(call, a[1].as_text(), flags)?.captures(text, 0)? else { return Ok(Datum::Null) };
    let part = |place: Range<usize>| text.get(place).map(str::to_owned);
    Ok(Datum::Texts(found.groups.into_iter().map(|place| place.and_then(part)).collect()))
}

pub(super) fn split<'a>(call: &Call<'_>, a: &[Datum<'a>], flags: &str) -> Outcome<'a> {
    let pattern = compiled(call, a[1].as_text(), flags)?;
    let text = a[0].as_text();
    let (mut parts, mut from, mut before) = (Vec::new(), 0, 0);
    for found in pattern.find_all(text)? {
        // An empty match at either end, or right after the last one, splits nothing off.
        if found.start < text.len() && found.end > before {
            parts.push(text.get(from..found.start).map(str::to_owned));
            from = found.end;
        }
        before = found.end;
    }
    parts.push(text.get(from..).map(str::to_owned));
    Ok(Datum::Texts(parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_patterns_are_those_of_like() {
        let rows = [
            ("abc", Some("%abc%")),
            ("^a_b", Some("a\\_b%")),
            ("^(orders)$", Some("orders")),
            ("%$", Some("%\\%")),
            ("a.c", None),
            ("^(a|b)$", None),
            ("a\\", None),
            ("***=a", None),
        ];
        for (pattern, expected) in rows {
            let literal = Expr::Literal(ScalarValue::Utf8(Some(pattern.to_owned())), None);
            let expected = expected.map(|text| Expr::Literal(ScalarValue::Utf8(Some(text.to_owned())), None));
            assert_eq!(as_like(&literal), expected, "{pattern}");
        }
    }

    #[test]
    fn templates_name_groups() {
        assert!(names_groups("a\\1"));
        assert!(!names_groups("\\\\1\\&\\"));
    }
}
