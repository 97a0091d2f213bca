//! LIKE with a pattern that is not known to be whole: one that is computed, or that ends in the middle of an escape.
//!
//! PostgreSQL refuses the second with 22025, but only for a text that gets as far; the engine's own LIKE takes the backslash for itself.

use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

use super::super::datum::Datum;
use super::super::typed::{Kernel, RowKernel, Typed, TypedFunction};

/// The name of the function that [`like`] calls, and of the one that turns its answer round.
pub(in super::super::super) const LIKE: [&str; 2] = ["operator ~~", "operator !~~"];

/// Whether the engine's own LIKE means what PostgreSQL does by a pattern.
pub(in super::super) fn is_whole(pattern: &Expr) -> bool {
    match pattern {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => text.chars().rev().take_while(|letter| *letter == '\\').count() % 2 == 0,
        Expr::Literal(..) => true,
        _ => false,
    }
}

/// `text LIKE pattern`, by PostgreSQL's own way through both.
pub(in super::super) fn like(text: Expr, pattern: Expr, negated: bool) -> Expr {
    let kernel: RowKernel = if negated {
        |_, a| Ok(Datum::Bool(!matches(a[0].as_text(), a[1].as_text())?))
    } else {
        |_, a| Ok(Datum::Bool(matches(a[0].as_text(), a[1].as_text())?))
    };
    let texts: Vec<Typed> = vec![PgType::TEXT.into(), PgType::TEXT.into()];
    let name = if negated { LIKE[1] } else { LIKE[0] };
    TypedFunction::new(name, texts, PgType::BOOL.into(), Kernel::Strict(kernel)).call(vec![text, pattern])
}

/// Whether a text matches. Only the last `%` is ever tried at another place: what stands before it has matched, and more text before it
/// would leave less for what follows.
fn matches(text: &str, pattern: &str) -> Result<bool, Diagnosis> {
    let (mut text, mut pattern) = (text, pattern);
    // What the part behind the last `%` was tried with.
    let mut last: Option<(&str, &str)> = None;
    while let (Some(letter), false) = (text.chars().next(), pattern.is_empty()) {
        let mut rest = pattern.chars();
        let wanted = match rest.next() {
            Some('%') => match behind_percent(text, rest.as_str()) {
                Behind::Decided(answer) => return Ok(answer),
                Behind::Part(_, "\\") => return Err(ends_in_escape()),
                Behind::Part(text_left, part) => {
                    (text, pattern) = (text_left, part);
                    last = Some((text, pattern));
                    continue;
                }
            },
            Some('_') => Some(letter),
            Some('\\') => Some(rest.next().ok_or_else(ends_in_escape)?),
            plain => plain,
        };
        if wanted == Some(letter) {
            (text, pattern) = (after_one(text), rest.as_str());
            // A match that ends too early is no match at this place.
            if !pattern.is_empty() || text.is_empty() {
                continue;
            }
        }
        let Some((tried, part)) = last else { return Ok(false) };
        (text, pattern) = (after_one(tried), part);
        last = Some((text, pattern));
    }
    Ok(text.is_empty() && pattern.chars().all(|letter| letter == '%'))
}

/// What follows a `%`.
enum Behind<'a> {
    Decided(bool),
    /// The text that is left after as many letters as there are `_`, and the pattern from its next letter on.
    Part(&'a str, &'a str),
}

fn behind_percent<'a>(text: &'a str, pattern: &'a str) -> Behind<'a> {
    let (mut text, mut pattern) = (text, pattern);
    loop {
        let mut rest = pattern.chars();
        match rest.next() {
            None => return Behind::Decided(true),
            Some('%') => {}
            Some('_') if text.is_empty() => return Behind::Decided(false),
            Some('_') => text = after_one(text),
            Some(_) => return Behind::Part(text, pattern),
        }
        pattern = rest.as_str();
    }
}

fn after_one(text: &str) -> &str {
    let mut letters = text.chars();
    letters.next();
    letters.as_str()
}

fn ends_in_escape() -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_ESCAPE_SEQUENCE, "LIKE pattern must not end with escape character")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_match_as_postgres_matches_them() {
        let rows: [(&str, &str, Option<bool>); 34] = [
            ("", "", Some(true)),
            ("", "%", Some(true)),
            ("", "_", Some(false)),
            ("a", "", Some(false)),
            ("abc", "abc", Some(true)),
            ("abc", "ab", Some(false)),
            ("ab", "abc", Some(false)),
            ("abc", "a%", Some(true)),
            ("abc", "%c", Some(true)),
            ("abc", "%b%", Some(true)),
            ("abcb", "%b", Some(true)),
            ("abcbd", "%b", Some(false)),
            ("abc", "a_c", Some(true)),
            ("aäc", "a_c", Some(true)),
            ("abc", "%_%_%_", Some(true)),
            ("abc", "%_%_%_%_", Some(false)),
            ("a\nc", "a_c", Some(true)),
            ("aab", "%ab", Some(true)),
            ("ababac", "%aba%c", Some(true)),
            ("a%c", "a\\%c", Some(true)),
            ("abc", "a\\%c", Some(false)),
            ("a\\c", "a\\\\c", Some(true)),
            ("ab", "\\a\\b", Some(true)),
            ("xay", "%\\a%", Some(true)),
            ("a", "a\\", Some(false)),
            ("ab", "a\\", None),
            ("b", "a\\", Some(false)),
            ("", "\\", Some(false)),
            ("", "%\\", Some(false)),
            ("a", "%\\", None),
            ("a", "%_\\", None),
            ("xab", "%a\\", None),
            ("xa", "%a\\", Some(false)),
            ("aaaa", "%a%a%a%a%a", Some(false)),
        ];
        for (text, pattern, expected) in rows {
            assert_eq!(matches(text, pattern).ok(), expected, "{text} LIKE {pattern}");
        }
    }

    #[test]
    fn long_patterns_take_no_stack() {
        let pattern = "%a".repeat(100_000);
        assert!(matches(&"a".repeat(100_000), &pattern).unwrap());
        assert!(!matches(&"a".repeat(99_999), &pattern).unwrap());
    }
}
