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
        Some((_, found)) if is_exclusion(found, text) => {
            Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "EXCLUDE in the frame of a window is not supported")
                .with_position(position)
        }
        Some((expected, found)) => {
            let expected = expected.trim_end_matches(", ").trim_start_matches("Expected: ");
            at_or_near(found).with_detail(format!("Expected {expected}.")).with_position(position)
        }
        None => Diagnosis::new(sqlstate::SYNTAX_ERROR, format!("syntax error: {words}")).with_position(position),
    }
}

/// Whether the parser stopped at rows that a frame leaves out, of which it knows nothing.
fn is_exclusion(found: &str, text: &str) -> bool {
    let words: Vec<String> = text.split_whitespace().map(str::to_uppercase).collect();
    let is_one = |pair: &[String]| match pair {
        [first, second] => first == "EXCLUDE" && ["CURRENT", "GROUP", "TIES", "NO"].iter().any(|start| second.starts_with(start)),
        _ => false,
    };
    found.eq_ignore_ascii_case("EXCLUDE") && words.windows(2).any(is_one)
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::parser::Parser;

    use super::super::postgres::Postgres;
    use super::*;

    #[test]
    fn what_a_frame_leaves_out_is_not_supported() {
        for (sql, expected) in [
            ("SELECT sum(x) OVER (ORDER BY x ROWS 1 PRECEDING EXCLUDE CURRENT ROW) FROM t", "0A000"),
            ("SELECT sum(x) OVER (ORDER BY x ROWS 1 PRECEDING exclude ties) FROM t", "0A000"),
            ("SELECT sum(x) OVER (ORDER BY x ROWS 1 PRECEDING EXCLUDE x) FROM t", "42601"),
        ] {
            let error = Parser::new(&Postgres).try_with_sql(sql).unwrap().parse_query().unwrap_err();
            assert_eq!(from_parser(&error, sql).sqlstate.as_str(), expected, "{sql}");
        }
    }
}
