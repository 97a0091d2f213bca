//! What the parser says of a text that it does not understand, in the words of PostgreSQL.

use datafusion::sql::sqlparser::parser::ParserError;

use super::DEPTH_MAX;
use super::locate::character_of;
use crate::error::{Diagnosis, Limit, sqlstate};

/// 54001 for a text that nests deeper than `levels`.
pub fn too_deep(levels: usize) -> Diagnosis {
    Diagnosis::new(sqlstate::STATEMENT_TOO_COMPLEX, "statement is nested too deep")
        .with_detail(format!("At most {levels} levels are allowed."))
        .at(Limit::Complexity)
}

/// 42601 at a token.
pub fn at_or_near(token: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::SYNTAX_ERROR, format!("syntax error at or near \"{token}\""))
}

/// The parser's error; it tells the place in words: `…, found: X at Line: 1, Column: 8`.
pub fn from_parser(error: &ParserError, text: &str) -> Diagnosis {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            return too_deep(DEPTH_MAX);
        }
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    let (words, place) = message.rsplit_once(" at Line: ").unwrap_or((message, ""));
    let position = place.split_once(", Column: ").and_then(|(line, column)| {
        let column: String = column.chars().take_while(char::is_ascii_digit).collect();
        character_of(text, line.parse().ok()?, column.parse().ok()?)
    });
    match words.split_once("found: ") {
        Some((_, "EOF")) => {
            Diagnosis::new(sqlstate::SYNTAX_ERROR, "syntax error at end of input").with_position(Some(text.chars().count() + 1))
        }
        Some((expected, found)) => {
            let expected = expected.trim_end_matches(", ").trim_start_matches("Expected: ");
            at_or_near(found).with_detail(format!("Expected {expected}.")).with_position(position)
        }
        None => Diagnosis::new(sqlstate::SYNTAX_ERROR, format!("syntax error: {words}")).with_position(position),
    }
}
