//! `SIMILAR TO`, which the planner takes for a regular expression.
//!
//! It is rewritten where the pattern is a literal and refused elsewhere: a pattern that is misread gives wrong rows.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value, ValueWithSpan};

use crate::error::{Diagnosis, sqlstate};

/// `text SIMILAR TO pattern` as a match of a regular expression.
///
/// # Errors
/// 0A000 for a pattern that is no literal; 22025 for one that ends with its escape character; 22019 for an escape text of
/// several characters.
pub(super) fn rewrite(text: Expr, pattern: &Expr, escape: Option<&ValueWithSpan>, negated: bool) -> Result<Expr, Diagnosis> {
    let escape = escape.map_or(Ok(Some('\\')), escape_of)?;
    let regex = regular(literal(pattern)?, escape)?;
    let op = if negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
    Ok(Expr::BinaryOp { left: Box::new(text), op, right: Box::new(Expr::value(Value::SingleQuotedString(regex))) })
}

fn literal(pattern: &Expr) -> Result<&str, Diagnosis> {
    match pattern {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text), .. }) => Ok(text),
        _ => {
            let message = "SIMILAR TO with a pattern that is not a literal is not supported yet";
            Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message))
        }
    }
}

/// The escape character; `None` for the empty text, which switches escaping off.
fn escape_of(given: &ValueWithSpan) -> Result<Option<char>, Diagnosis> {
    let text = match &given.value {
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => text.as_str(),
        other => {
            let message = format!("escape {other} is not supported yet");
            return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
        }
    };
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (first, None) => Ok(first),
        _ => Err(Diagnosis::new(INVALID_ESCAPE_CHARACTER, "invalid escape string")
            .with_hint("Escape string must be empty or one character.")),
    }
}

/// `invalid_escape_character`
const INVALID_ESCAPE_CHARACTER: &str = "22019";
/// `invalid_escape_sequence`
const INVALID_ESCAPE_SEQUENCE: &str = "22025";

/// The regular expression of a SIMILAR TO pattern (manual, "SIMILAR TO Regular Expressions"), matching the whole text.
fn regular(pattern: &str, escape: Option<char>) -> Result<String, Diagnosis> {
    let mut regex = "^(?:".to_owned();
    let mut in_brackets = false;
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if Some(character) == escape {
            let Some(escaped) = characters.next() else {
                return Err(Diagnosis::new(INVALID_ESCAPE_SEQUENCE, "pattern must not end with escape character"));
            };
            if !escaped.is_alphanumeric() {
                regex.push('\\');
            }
            regex.push(escaped);
            continue;
        }
        match character {
            ']' => {
                in_brackets = false;
                regex.push(']');
            }
            '\\' => regex.push_str("\\\\"),
            other if in_brackets => regex.push(other),
            '[' => {
                in_brackets = true;
                regex.push('[');
            }
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            '(' => regex.push_str("(?:"),
            '.' | '^' | '$' => regex.extend(['\\', character]),
            other => regex.push(other),
        }
    }
    regex.push_str(")$");
    Ok(regex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_patterns_match_the_whole_text() {
        for (pattern, expected) in [
            ("(a|z)%", "^(?:(?:a|z).*)$"),
            ("a_b.c", "^(?:a.b\\.c)$"),
            ("[^a-c%]\\%", "^(?:[^a-c%]\\%)$"),
            ("x{2,3}", "^(?:x{2,3})$"),
        ] {
            assert_eq!(regular(pattern, Some('\\')).unwrap(), expected);
        }
    }
}
