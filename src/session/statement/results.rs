//! `CREATE CACHE [IF NOT EXISTS] [name] FOR query`, `DROP CACHE [IF EXISTS] name` and `SHOW CACHES`, which the parser does not know.

use datafusion::sql::sqlparser::ast::{Ident, Query, SetExpr};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::define::Definition;
use super::{Kind, fold, refuse};
use crate::error::sqlstate;

/// A parsed `CREATE CACHE`.
#[derive(Debug, Clone)]
pub struct CreateCache {
    /// The name, where it has one.
    pub name: Option<String>,
    /// `IF NOT EXISTS`
    pub if_not_exists: bool,
    /// The query.
    pub query: Box<Query>,
}

/// A parsed `DROP CACHE`.
#[derive(Debug, Clone)]
pub struct DropCache {
    /// The name.
    pub name: String,
    /// `IF EXISTS`
    pub if_exists: bool,
}

/// One of the statements, when the next tokens begin one; they are consumed.
pub(super) fn parse(parser: &mut Parser<'_>) -> Result<Option<Kind>, ParserError> {
    if is_word(parser, 0, "show") && is_word(parser, 1, "caches") {
        skip(parser, 2);
        return Ok(Some(Kind::Show("caches".to_owned())));
    }
    if !is_word(parser, 1, "cache") {
        return Ok(None);
    }
    if is_word(parser, 0, "drop") {
        skip(parser, 2);
        let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
        let name = fold(&parser.parse_identifier()?);
        return Ok(Some(Kind::Define(Box::new(Definition::DropCache(DropCache { name, if_exists })))));
    }
    if !is_word(parser, 0, "create") {
        return Ok(None);
    }
    skip(parser, 2);
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name: Option<Ident> = if is_word(parser, 0, "for") { None } else { Some(parser.parse_identifier()?) };
    parser.expect_keyword_is(Keyword::FOR)?;
    let query = parser.parse_query()?;
    if matches!(*query.body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)) {
        return Ok(Some(refuse(sqlstate::SYNTAX_ERROR, "a cache is made of a query")));
    }
    let create = CreateCache { name: name.as_ref().map(fold), if_not_exists, query };
    Ok(Some(Kind::Define(Box::new(Definition::CreateCache(create)))))
}

fn skip(parser: &mut Parser<'_>, count: usize) {
    for _ in 0..count {
        parser.next_token();
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
        match parse(text).map(|mut statements| statements.remove(0).kind) {
            Ok(Kind::Define(definition)) => match *definition {
                Definition::CreateCache(create) => format!("{:?} {} {}", create.name, create.if_not_exists, create.query),
                Definition::DropCache(dropped) => format!("{} {}", dropped.name, dropped.if_exists),
                other => other.verb().to_owned(),
            },
            Ok(Kind::Refused(error)) => error.sqlstate,
            Ok(other) => format!("{other:?}"),
            Err(error) => error.sqlstate,
        }
    }

    #[test]
    fn caches_are_made_and_dropped_by_name() {
        let rows = [
            ("create cache Top for select a from t", "Some(\"top\") false SELECT a FROM t"),
            ("CREATE CACHE IF NOT EXISTS \"Top\" FOR SELECT $1", "Some(\"Top\") true SELECT $1"),
            ("CREATE CACHE FOR SELECT a FROM t;", "None false SELECT a FROM t"),
            ("DROP CACHE top", "top false"),
            ("drop cache if exists \"Top\"", "Top true"),
            ("SHOW CACHES", "Show(\"caches\")"),
            ("CREATE CACHE x FOR DELETE FROM t", "42601"),
            ("CREATE CACHE x SELECT 1", "42601"),
            ("DROP CACHE", "42601"),
        ];
        for (text, expected) in rows {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
