//! `@>`, `<@` and `?` of `jsonb`. Numbers are equal by value, whatever their scale.

use crate::error::Diagnosis;
use crate::format::json::{self, Node};

use super::super::super::datum::Datum;
use super::super::super::numeric::Numeric;
use super::Outcome;

/// Whether the first value contains the second.
pub(super) fn contains<'a>(whole: &Datum<'_>, part: &Datum<'_>) -> Outcome<'a> {
    Ok(Datum::Bool(within(&json::read(whole.as_text())?, &json::read(part.as_text())?, true)?))
}

/// At the top an array contains a bare scalar.
fn within(whole: &Node, part: &Node, top: bool) -> Result<bool, Diagnosis> {
    let any = |items: &[Node], wanted: &Node| -> Result<bool, Diagnosis> {
        for item in items {
            if within(item, wanted, false)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    match (whole, part) {
        (Node::Object(members), Node::Object(wanted)) => {
            for (name, value) in wanted {
                // Of repeated names the last counts; canonical text has none.
                let found = members.iter().rev().find(|(known, _)| known == name);
                let Some((_, found)) = found else { return Ok(false) };
                if !within(found, value, false)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Node::Array(items), Node::Array(wanted)) => {
            for value in wanted {
                if !any(items, value)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Node::Array(items), scalar) if top && !matches!(scalar, Node::Object(_)) => any(items, scalar),
        (Node::Number(left), Node::Number(right)) => Ok(number(left)?.compare(&number(right)?).is_eq()),
        (left, right) => Ok(left == right),
    }
}

/// A number as `numeric`, with the scale it is written with.
pub(super) fn number(text: &str) -> Result<Numeric, Diagnosis> {
    let canonical = crate::format::numeric::read(text)?.to_string();
    Ok(Numeric::from_canonical(&canonical).unwrap_or(Numeric::NotANumber))
}

/// Whether a string is a name of an object, an element of an array, or the value itself.
pub(super) fn has(value: &Node, name: &str) -> bool {
    match value {
        Node::Object(members) => members.iter().any(|(known, _)| known == name),
        Node::Array(items) => items.iter().any(|item| matches!(item, Node::Text(text) if text == name)),
        Node::Text(text) => text == name,
        Node::Null | Node::Bool(_) | Node::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containment_is_that_of_jsonb() {
        for (whole, part, expected) in [
            ("{\"a\": 1.0, \"b\": 2}", "{\"a\": 1}", true),
            ("{\"a\": {\"b\": [1, 2]}}", "{\"a\": {\"b\": [2]}}", true),
            ("[1, 2, [1, 3]]", "[1, 3]", false),
            ("[1, 2, [1, 3]]", "[[1, 3]]", true),
            ("[1, 2]", "2", true),
            ("2", "[2]", false),
            ("{}", "[]", false),
            ("[{\"a\": 1}]", "{\"a\": 1}", false),
            ("12345678901234567890.1", "12345678901234567890.2", false),
            ("[\"a\", null]", "[null]", true),
        ] {
            let (whole, part) = (json::read(whole).unwrap(), json::read(part).unwrap());
            assert_eq!(within(&whole, &part, true).unwrap(), expected, "{whole:?} {part:?}");
        }
    }
}
