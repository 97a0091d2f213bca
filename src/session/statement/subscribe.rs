//! `SUBSCRIBE TO { table | (query) } [WITH SNAPSHOT] [FROM position]`, alone or inside of `COPY (…) TO STDOUT`.

use datafusion::sql::sqlparser::ast::Query;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::copy::{self, CopyFormat};
use super::{Kind, refuse};
use crate::error::sqlstate;

/// A parsed subscription.
#[derive(Debug, Clone)]
pub struct Subscribing {
    /// Whose changes are told; a table is all of its columns.
    pub query: Box<Query>,
    /// Where it begins.
    pub start: Start,
    /// How the rows are written when they leave as copy data.
    pub copy: Option<CopyFormat>,
}

/// Where a subscription begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With what happens from now on.
    Now,
    /// `WITH SNAPSHOT`: with the rows that are there.
    Snapshot,
    /// `FROM 'position'`: behind it.
    Behind(String),
    /// `FROM $1`, by its number from 1.
    BehindParameter(usize),
}

impl Subscribing {
    /// Its query, where it has one whose depth is not known.
    pub fn query_mut(&mut self) -> Option<&mut Query> {
        Some(self.query.as_mut())
    }
}

/// The statement, when the next tokens begin one; they are consumed.
pub(super) fn parse(parser: &mut Parser<'_>) -> Result<Option<Kind>, ParserError> {
    if is_word(parser, 0, "subscribe") {
        parser.next_token();
        return subscription(parser).map(Some);
    }
    let is_copied = is_word(parser, 0, "copy") && parser.peek_nth_token_ref(1).token == Token::LParen;
    if !is_copied || !is_word(parser, 2, "subscribe") || !is_word(parser, 3, "to") {
        return Ok(None);
    }
    for _ in 0..3 {
        parser.next_token();
    }
    let kind = subscription(parser)?;
    parser.expect_token(&Token::RParen)?;
    let format = copy::output(parser)?;
    Ok(Some(match (kind, format) {
        (Kind::Subscribe(mut asked), Ok(format)) => {
            asked.copy = Some(format);
            Kind::Subscribe(asked)
        }
        (Kind::Subscribe(_), Err(refused)) => refused,
        (refused, _) => refused,
    }))
}

/// What stands behind `SUBSCRIBE`.
fn subscription(parser: &mut Parser<'_>) -> Result<Kind, ParserError> {
    parser.expect_keyword_is(Keyword::TO)?;
    let query = if parser.consume_token(&Token::LParen) {
        let query = parser.parse_query()?;
        parser.expect_token(&Token::RParen)?;
        query
    } else {
        // Tables of stores have no children here.
        let _ = parser.parse_keyword(Keyword::ONLY);
        copy::table_query(parser.parse_object_name(false)?, Vec::new())?
    };
    let has_snapshot = parser.parse_keyword(Keyword::WITH);
    if has_snapshot {
        if !is_word(parser, 0, "snapshot") {
            let found = parser.next_token();
            return parser.expected("SNAPSHOT", found);
        }
        parser.next_token();
    }
    let position = if parser.parse_keyword(Keyword::FROM) { Some(position(parser)?) } else { None };
    let start = match (has_snapshot, position) {
        (false, None) => Start::Now,
        (true, None) => Start::Snapshot,
        (false, Some(position)) => position,
        (true, Some(_)) => {
            let message = "WITH SNAPSHOT and FROM cannot be used together";
            return Ok(refuse(sqlstate::SYNTAX_ERROR, message));
        }
    };
    Ok(match super::query_kind(query) {
        Kind::Query(query) => Kind::Subscribe(Box::new(Subscribing { query, start, copy: None })),
        refused @ Kind::Refused(_) => refused,
        _ => refuse(sqlstate::FEATURE_NOT_SUPPORTED, "SUBSCRIBE takes a table or a query that only reads"),
    })
}

/// A position behind `FROM`.
fn position(parser: &mut Parser<'_>) -> Result<Start, ParserError> {
    let found = parser.next_token();
    match &found.token {
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => Ok(Start::Behind(text.clone())),
        Token::Placeholder(name) => {
            let number = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok()).filter(|number| *number > 0);
            number.map_or_else(|| parser.expected("a parameter", found.clone()), |number| Ok(Start::BehindParameter(number)))
        }
        _ => parser.expected("a position", found),
    }
}

fn is_word(parser: &Parser<'_>, place: usize, expected: &str) -> bool {
    match &parser.peek_nth_token_ref(place).token {
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn read(text: &str) -> String {
        match parse(text) {
            Ok(mut statements) => match statements.remove(0).kind {
                Kind::Subscribe(asked) => {
                    let copied = match &asked.copy {
                        None => "",
                        Some(CopyFormat::Csv { .. }) => " csv",
                        Some(CopyFormat::Text(_)) => " text",
                        Some(CopyFormat::Binary) => " binary",
                    };
                    format!("{} {:?}{copied}", asked.query, asked.start)
                }
                Kind::Refused(error) => error.sqlstate,
                other => format!("{other:?}"),
            },
            Err(error) => error.sqlstate,
        }
    }

    #[test]
    fn tables_and_queries_are_subscribed_to() {
        let rows = [
            ("SUBSCRIBE TO shop.orders", "SELECT * FROM shop.orders Now"),
            ("subscribe to only \"Orders\";", "SELECT * FROM \"Orders\" Now"),
            ("SUBSCRIBE TO t WITH SNAPSHOT", "SELECT * FROM t Snapshot"),
            ("SUBSCRIBE TO t FROM 'x''y'", "SELECT * FROM t Behind(\"x'y\")"),
            ("SUBSCRIBE TO t FROM $2", "SELECT * FROM t BehindParameter(2)"),
            ("SUBSCRIBE TO (SELECT a FROM t WHERE b > 1) WITH SNAPSHOT", "SELECT a FROM t WHERE b > 1 Snapshot"),
            ("COPY (SUBSCRIBE TO t) TO STDOUT", "SELECT * FROM t Now text"),
            ("COPY (SUBSCRIBE TO (SELECT 1 FROM t) FROM 'p') TO STDOUT (FORMAT csv)", "SELECT 1 FROM t Behind(\"p\") csv"),
            ("copy (subscribe to t with snapshot) to stdout with binary", "SELECT * FROM t Snapshot binary"),
        ];
        for (text, expected) in rows {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_subscription_is_refused() {
        let rows = [
            ("SUBSCRIBE t", "42601"),
            ("SUBSCRIBE TO", "42601"),
            ("SUBSCRIBE TO t WITH", "42601"),
            ("SUBSCRIBE TO t WITH SNAPSHOT FROM 'p'", "42601"),
            ("SUBSCRIBE TO t FROM 7", "42601"),
            ("SUBSCRIBE TO t FROM $0", "42601"),
            ("SUBSCRIBE TO t AS x", "42601"),
            ("SUBSCRIBE TO (DELETE FROM t)", "0A000"),
            ("SUBSCRIBE TO (SELECT 1 INTO x FROM t)", "0A000"),
            ("COPY (SUBSCRIBE TO t) TO '/tmp/x'", "42501"),
            ("COPY (SUBSCRIBE TO t) TO STDOUT (FORMAT xml)", "22023"),
            ("COPY (SUBSCRIBE TO t) FROM STDIN", "42601"),
        ];
        for (text, expected) in rows {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
