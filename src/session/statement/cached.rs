//! `ALTER TABLE … SET (tributary.cached = …)` and `… RESET (tributary.cached)`, and the same of `tributary.cached_results`: the parser knows no dotted names of parameters, and no RESET.

use datafusion::sql::sqlparser::ast::ObjectName;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::define::Definition;
use super::{Kind, copy, refuse, setting_name};
use crate::error::sqlstate;

/// The parameters of tables that are ours; a statement sets one of them.
const CACHED: &str = "tributary.cached";
const RESULTS: &str = "tributary.cached_results";

/// Most parts of a table's name: the database, the schema and the table.
const PARTS_MAX: usize = 3;

/// A parsed statement of these.
#[derive(Debug, Clone)]
pub struct Caching {
    /// The table.
    pub name: ObjectName,
    /// `IF EXISTS`
    pub if_exists: bool,
    /// Whether it is to be cached; `None` is `RESET`.
    pub wanted: Option<bool>,
    /// Whether that is about the results of its queries, and not about its rows.
    pub of_results: bool,
}

/// The statement, when the next tokens begin one; they are consumed. Parameters of stores are left to the parser.
pub(super) fn parse(parser: &mut Parser<'_>) -> Result<Option<Kind>, ParserError> {
    if !is_ahead(parser) {
        return Ok(None);
    }
    parser.next_token();
    parser.next_token();
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let _ = parser.parse_keyword(Keyword::ONLY);
    let name = parser.parse_object_name(false)?;
    let _ = parser.consume_token(&Token::Mul);
    let is_set = parser.parse_keyword(Keyword::SET) || !parser.parse_keyword(Keyword::RESET);
    let parameters = parameters(parser)?;
    if !matches!(parser.peek_token_ref().token, Token::SemiColon | Token::EOF) {
        if parser.peek_token_ref().token != Token::Comma {
            return parser.expected_ref("end of statement", parser.peek_token_ref());
        }
        copy::skip(parser);
        let message = format!("{CACHED} beside other actions of ALTER TABLE is not supported");
        return Ok(Some(refuse(sqlstate::FEATURE_NOT_SUPPORTED, &message)));
    }
    let of_results = parameters.first().is_some_and(|(name, _)| name == RESULTS);
    let parameter = if of_results { RESULTS } else { CACHED };
    Ok(Some(match wanted(&parameters, (parameter, is_set)) {
        Ok(wanted) => Kind::Define(Box::new(Definition::SetCached(Caching { name, if_exists, wanted, of_results }))),
        Err((code, message)) => refuse(code, &message),
    }))
}

/// Whether such a statement begins here, as far as its first parameter.
fn is_ahead(parser: &Parser<'_>) -> bool {
    if !(is_word(parser, 0, "alter") && is_word(parser, 1, "table")) {
        return false;
    }
    let mut place = 2;
    if is_word(parser, place, "if") && is_word(parser, place + 1, "exists") {
        place += 2;
    }
    place += usize::from(is_word(parser, place, "only"));
    for part in 1..=PARTS_MAX {
        if !matches!(parser.peek_nth_token_ref(place).token, Token::Word(_)) {
            return false;
        }
        place += 1;
        if part == PARTS_MAX || parser.peek_nth_token_ref(place).token != Token::Period {
            break;
        }
        place += 1;
    }
    place += usize::from(parser.peek_nth_token_ref(place).token == Token::Mul);
    let is_verb = is_word(parser, place, "set") || is_word(parser, place, "reset");
    let is_listed = is_verb && parser.peek_nth_token_ref(place + 1).token == Token::LParen;
    is_listed && is_word(parser, place + 2, "tributary") && parser.peek_nth_token_ref(place + 3).token == Token::Period
}

fn is_word(parser: &Parser<'_>, place: usize, expected: &str) -> bool {
    match &parser.peek_nth_token_ref(place).token {
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected),
        _ => false,
    }
}

/// Names in lower case, with values as they are written.
type Parameters = Vec<(String, Option<String>)>;

/// `(name [= value], …)`
fn parameters(parser: &mut Parser<'_>) -> Result<Parameters, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let mut found = Parameters::new();
    loop {
        let name = setting_name(&parser.parse_object_name(false)?);
        let value = if parser.consume_token(&Token::Eq) { Some(value(parser)?) } else { None };
        found.push((name, value));
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    parser.expect_token(&Token::RParen)?;
    Ok(found)
}

fn value(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    let text = match &parser.peek_token_ref().token {
        Token::Word(word) => word.value.clone(),
        Token::SingleQuotedString(text) => text.clone(),
        Token::Number(digits, _) => digits.clone(),
        _ => return parser.expected_ref("a value", parser.peek_token_ref()),
    };
    parser.next_token();
    Ok(text)
}

/// What the parameters ask for, or why they are refused, as PostgreSQL does.
fn wanted(
    parameters: &[(String, Option<String>)],
    (parameter, is_set): (&str, bool),
) -> Result<Option<bool>, (&'static str, String)> {
    let mut found = None;
    for (name, value) in parameters {
        if name != parameter {
            return Err(match name.starts_with("tributary.") && ![CACHED, RESULTS].contains(&name.as_str()) {
                true => (sqlstate::INVALID_PARAMETER_VALUE, format!("unrecognized parameter \"{name}\"")),
                false => (sqlstate::FEATURE_NOT_SUPPORTED, format!("parameter \"{name}\" beside {parameter} is not supported")),
            });
        }
        if found.is_some() {
            let message = format!("parameter \"{parameter}\" specified more than once");
            return Err((sqlstate::INVALID_PARAMETER_VALUE, message));
        }
        if !is_set && value.is_some() {
            let message = "RESET must not include values for parameters".to_owned();
            return Err((sqlstate::SYNTAX_ERROR, message));
        }
        found = Some(value.as_deref().unwrap_or("true"));
    }
    let Some(text) = found.filter(|_| is_set) else { return Ok(None) };
    match truth(text) {
        Some(truth) => Ok(Some(truth)),
        None => {
            let message = format!("invalid value for boolean option \"{parameter}\": {text}");
            Err((sqlstate::INVALID_PARAMETER_VALUE, message))
        }
    }
}

/// A truth value as PostgreSQL writes it: a word or the beginning of one.
fn truth(text: &str) -> Option<bool> {
    let text = text.to_lowercase();
    let begins = |word: &str| !text.is_empty() && word.starts_with(&text);
    match text.as_str() {
        "1" | "on" => Some(true),
        "0" | "off" | "of" => Some(false),
        _ if begins("true") || begins("yes") => Some(true),
        _ if begins("false") || begins("no") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn read(text: &str) -> String {
        match parse(text).map(|mut statements| statements.remove(0).kind) {
            Ok(Kind::Define(definition)) => match *definition {
                Definition::SetCached(asked) => {
                    let what = if asked.of_results { " of results" } else { "" };
                    format!("{} {} {:?}{what}", asked.name, asked.if_exists, asked.wanted)
                }
                other => other.verb().to_owned(),
            },
            Ok(Kind::Refused(error)) => format!("{} {}", error.sqlstate, error.message),
            Ok(other) => format!("{other:?}"),
            Err(error) => error.sqlstate,
        }
    }

    #[test]
    fn tables_are_cached_or_not_or_as_their_file_says() {
        let rows = [
            ("ALTER TABLE shop.orders SET (tributary.cached = true)", "shop.orders false Some(true)"),
            ("alter table if exists only orders set (TRIBUTARY.Cached = OFF);", "orders true Some(false)"),
            ("ALTER TABLE d.s.\"T\" * SET (tributary.cached)", "d.s.\"T\" false Some(true)"),
            ("ALTER TABLE t SET (tributary.cached = 'no')", "t false Some(false)"),
            ("ALTER TABLE t SET (tributary.cached = 1)", "t false Some(true)"),
            ("ALTER TABLE t RESET (tributary.cached)", "t false None"),
            ("ALTER TABLE set SET (tributary.cached = f)", "set false Some(false)"),
            ("ALTER TABLE t SET (tributary.cached_results = true)", "t false Some(true) of results"),
            ("ALTER TABLE t RESET (tributary.cached_results)", "t false None of results"),
        ];
        for (text, expected) in rows {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn others_are_refused_as_postgresql_does() {
        let rows = [
            ("ALTER TABLE t SET (tributary.chached = true)", "22023 unrecognized parameter \"tributary.chached\""),
            ("ALTER TABLE t RESET (tributary.x)", "22023 unrecognized parameter \"tributary.x\""),
            ("ALTER TABLE t SET (tributary.cached = maybe)", "22023 invalid value for boolean option \"tributary.cached\": maybe"),
            ("ALTER TABLE t SET (tributary.cached = '')", "22023 invalid value for boolean option \"tributary.cached\": "),
            ("ALTER TABLE t SET (tributary.cached = o)", "22023 invalid value for boolean option \"tributary.cached\": o"),
            (
                "ALTER TABLE t SET (tributary.cached, tributary.cached)",
                "22023 parameter \"tributary.cached\" specified more than once",
            ),
            ("ALTER TABLE t RESET (tributary.cached = true)", "42601 RESET must not include values for parameters"),
            (
                "ALTER TABLE t SET (tributary.cached = true, fillfactor = 70)",
                "0A000 parameter \"fillfactor\" beside tributary.cached is not supported",
            ),
            (
                "ALTER TABLE t SET (tributary.cached = true), ADD COLUMN c int",
                "0A000 tributary.cached beside other actions of ALTER TABLE is not supported",
            ),
            (
                "ALTER TABLE t SET (tributary.cached = true, tributary.cached_results = true)",
                "0A000 parameter \"tributary.cached_results\" beside tributary.cached is not supported",
            ),
            ("ALTER TABLE t SET (tributary.cached = )", "42601"),
            ("ALTER TABLE t SET (tributary.cached = true", "42601"),
            ("ALTER TABLE t SET (tributary.cached = true) x", "42601"),
        ];
        for (text, expected) in rows {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn parameters_of_stores_stay_with_the_parser() {
        assert_eq!(read("ALTER TABLE t SET (fillfactor = 70)"), "ALTER TABLE");
        assert_eq!(read("ALTER TABLE t RESET (fillfactor)"), "42601");
        assert_eq!(read("ALTER TABLE t ADD COLUMN tributary int"), "ALTER TABLE");
        assert_eq!(parse("ALTER TABLE t SET (tributary.cached); SELECT 1").unwrap().len(), 2);
    }
}
