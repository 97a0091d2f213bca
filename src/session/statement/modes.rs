//! Transaction modes with `[NOT] DEFERRABLE`, and what `RESET` names in several words: neither is known to the parser.

use datafusion::sql::sqlparser::ast::{TransactionAccessMode, TransactionIsolationLevel, TransactionMode};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::Kind;

/// What modes are those of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `BEGIN`, `START TRANSACTION`
    Begin,
    /// `SET TRANSACTION`
    Transaction,
    /// `SET SESSION CHARACTERISTICS AS TRANSACTION`
    Session,
}

const FORMS: &[(Place, &[&str])] = &[
    (Place::Begin, &["begin"]),
    (Place::Begin, &["start", "transaction"]),
    (Place::Transaction, &["set", "transaction"]),
    (Place::Session, &["set", "session", "characteristics", "as", "transaction"]),
];

/// Names of settings in PostgreSQL's own words.
const RESETS: &[(&[&str], &str)] = &[
    (&["reset", "session", "authorization"], "session_authorization"),
    (&["reset", "time", "zone"], "timezone"),
    (&["reset", "transaction", "isolation", "level"], "transaction_isolation"),
];

/// Most words among which DEFERRABLE is looked for: all modes together are fewer.
const WORDS_MAX: usize = 64;

/// The statement, when the next tokens begin one of these; they are consumed.
pub(super) fn parse(parser: &mut Parser<'_>) -> Result<Option<Kind>, ParserError> {
    if let Some((words, name)) = RESETS.iter().find(|(words, _)| begins(parser, words)) {
        skip(parser, words.len());
        return Ok(Some(Kind::Reset(Some((*name).to_owned()))));
    }
    let Some((place, words)) = FORMS.iter().find(|(_, words)| begins(parser, words)) else { return Ok(None) };
    if !names_deferrable(parser) {
        return Ok(None);
    }
    skip(parser, words.len());
    if words.len() == 1 {
        let _ = parser.parse_keyword(Keyword::TRANSACTION) || parser.parse_keyword(Keyword::WORK);
    }
    let (mut modes, mut is_deferrable) = (Vec::new(), false);
    loop {
        if parser.parse_keywords(&[Keyword::NOT, Keyword::DEFERRABLE]) {
            is_deferrable = false;
        } else if parser.parse_keyword(Keyword::DEFERRABLE) {
            is_deferrable = true;
        } else {
            modes.push(mode(parser)?);
        }
        let is_more = parser.consume_token(&Token::Comma);
        if !is_more && matches!(parser.peek_token_ref().token, Token::SemiColon | Token::EOF) {
            return Ok(Some(Kind::Modes { place: *place, modes, is_deferrable }));
        }
    }
}

fn is_word(token: &Token, expected: &str) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
}

fn begins(parser: &Parser<'_>, words: &[&str]) -> bool {
    words.iter().enumerate().all(|(place, word)| is_word(&parser.peek_nth_token_ref(place).token, word))
}

fn skip(parser: &mut Parser<'_>, words: usize) {
    for _ in 0..words {
        parser.next_token();
    }
}

fn names_deferrable(parser: &Parser<'_>) -> bool {
    let tokens = (0..WORDS_MAX).map(|place| &parser.peek_nth_token_ref(place).token);
    let mut statement = tokens.take_while(|token| !matches!(token, Token::SemiColon | Token::EOF));
    statement.any(|token| is_word(token, "deferrable"))
}

fn mode(parser: &mut Parser<'_>) -> Result<TransactionMode, ParserError> {
    if parser.parse_keywords(&[Keyword::ISOLATION, Keyword::LEVEL]) {
        return isolation(parser).map(TransactionMode::IsolationLevel);
    }
    if parser.parse_keywords(&[Keyword::READ, Keyword::ONLY]) {
        return Ok(TransactionMode::AccessMode(TransactionAccessMode::ReadOnly));
    }
    if parser.parse_keywords(&[Keyword::READ, Keyword::WRITE]) {
        return Ok(TransactionMode::AccessMode(TransactionAccessMode::ReadWrite));
    }
    parser.expected_ref("transaction mode", parser.peek_token_ref())
}

fn isolation(parser: &mut Parser<'_>) -> Result<TransactionIsolationLevel, ParserError> {
    if parser.parse_keywords(&[Keyword::READ, Keyword::UNCOMMITTED]) {
        return Ok(TransactionIsolationLevel::ReadUncommitted);
    }
    if parser.parse_keywords(&[Keyword::READ, Keyword::COMMITTED]) {
        return Ok(TransactionIsolationLevel::ReadCommitted);
    }
    if parser.parse_keywords(&[Keyword::REPEATABLE, Keyword::READ]) {
        return Ok(TransactionIsolationLevel::RepeatableRead);
    }
    if parser.parse_keyword(Keyword::SERIALIZABLE) {
        return Ok(TransactionIsolationLevel::Serializable);
    }
    parser.expected_ref("isolation level", parser.peek_token_ref())
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn check(sql: &str, expected: Option<(Place, &str, bool)>) {
        let found = match parse(sql).unwrap().remove(0).kind {
            Kind::Modes { place, modes, is_deferrable } => {
                let modes: Vec<String> = modes.iter().map(ToString::to_string).collect();
                Some((place, modes.join(", "), is_deferrable))
            }
            _ => None,
        };
        let found = found.as_ref().map(|(place, modes, is_deferrable)| (*place, modes.as_str(), *is_deferrable));
        assert_eq!(found, expected, "{sql}");
    }

    #[test]
    fn deferrable_stands_among_the_modes() {
        check("BEGIN DEFERRABLE", Some((Place::Begin, "", true)));
        check("begin work not deferrable;", Some((Place::Begin, "", false)));
        check("BEGIN NOT DEFERRABLE, DEFERRABLE", Some((Place::Begin, "", true)));
        check(
            "START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE",
            Some((Place::Begin, "ISOLATION LEVEL SERIALIZABLE, READ ONLY", true)),
        );
        check("SET TRANSACTION READ WRITE NOT DEFERRABLE", Some((Place::Transaction, "READ WRITE", false)));
        check("SET SESSION CHARACTERISTICS AS TRANSACTION DEFERRABLE", Some((Place::Session, "", true)));
        check("BEGIN READ ONLY", None);
        check("BEGIN; SELECT 1 AS deferrable", None);
        check("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", None);
        for wrong in ["BEGIN DEFERRABLE,", "BEGIN DEFERRABLE 5", "BEGIN NOT NOT DEFERRABLE", "BEGIN ISOLATION LEVEL DEFERRABLE"] {
            assert_eq!(parse(wrong).unwrap_err().sqlstate, "42601", "{wrong}");
        }
    }

    #[test]
    fn settings_are_reset_by_their_words() {
        for (sql, expected) in [
            ("RESET SESSION AUTHORIZATION", "session_authorization"),
            ("reset time zone", "timezone"),
            ("RESET TRANSACTION ISOLATION LEVEL", "transaction_isolation"),
            ("RESET ROLE", "role"),
        ] {
            assert!(matches!(&parse(sql).unwrap()[0].kind, Kind::Reset(Some(name)) if name == expected), "{sql}");
        }
    }
}
