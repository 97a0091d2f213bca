//! `SIMILAR TO`, which the planner takes for a regular expression.
//!
//! It is rewritten where the pattern is a literal and refused elsewhere: a pattern that is misread gives wrong rows.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value, ValueWithSpan};

use crate::error::{Diagnosis, sqlstate};

/// `text SIMILAR TO pattern` as a match of a regular expression.
///
/// # Errors
/// 0A000 for a pattern that is no literal; 22025 for an escape text of several characters.
pub(super) fn rewrite(text: Expr, pattern: &Expr, escape: Option<&ValueWithSpan>, negated: bool) -> Result<Expr, Diagnosis> {
    let op = if negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
    let pattern = match escape {
        // No pattern is known, and so no answer.
        Some(ValueWithSpan { value: Value::Null, .. }) => Value::Null,
        escape => {
            let escape = escape.map_or(Ok(Some('\\')), escape_of)?;
            Value::SingleQuotedString(regular(literal(pattern)?, escape))
        }
    };
    Ok(Expr::BinaryOp { left: Box::new(text), op, right: Box::new(Expr::value(pattern)) })
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
        _ => Err(Diagnosis::new(sqlstate::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
            .with_hint("Escape string must be empty or one character.")),
    }
}

/// The regular expression of a SIMILAR TO pattern (manual, "SIMILAR TO Regular Expressions"), matching the whole text.
fn regular(pattern: &str, escape: Option<char>) -> String {
    let mut regex = "^(?:".to_owned();
    let mut in_brackets = false;
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if Some(character) == escape {
            // An escape that nothing follows says nothing.
            let Some(escaped) = characters.next() else { break };
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
    regex
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
            ("a\\", "^(?:a)$"),
        ] {
            assert_eq!(regular(pattern, Some('\\')), expected);
        }
    }

    #[test]
    fn escapes_are_one_character_none_or_null() {
        let text = || Expr::value(Value::SingleQuotedString("a".to_owned()));
        let rewritten = |escape: Value| {
            let escape = ValueWithSpan { value: escape, span: datafusion::sql::sqlparser::tokenizer::Span::empty() };
            rewrite(text(), &text(), Some(&escape), false).map(|expr| expr.to_string()).map_err(|error| error.sqlstate)
        };
        let quoted = |text: &str| Value::SingleQuotedString(text.to_owned());
        assert_eq!(rewritten(quoted("!")).unwrap(), "'a' ~ '^(?:a)$'");
        assert_eq!(rewritten(quoted("")).unwrap(), "'a' ~ '^(?:a)$'");
        assert_eq!(rewritten(Value::Null).unwrap(), "'a' ~ NULL");
        assert_eq!(rewritten(quoted("xy")).unwrap_err(), sqlstate::INVALID_ESCAPE_SEQUENCE);
    }
}
