//! `CREATE VIEW` and `CREATE MATERIALIZED VIEW`, as PostgreSQL's grammar has them: the parser knows no check option, and prints queries where
//! their text is wanted. `REFRESH MATERIALIZED VIEW` and `ALTER MATERIALIZED VIEW`, which it does not know at all.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, SetExpr};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{IsOptional, Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token};

use super::define::Definition;
use super::{Kind, copy, fold, refuse};
use crate::catalog::kept::CheckOption;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::locate::character_of;

/// What only a materialized view is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Materializing {
    /// `IF NOT EXISTS`
    pub if_not_exists: bool,
    /// `WITH DATA`, which is meant where nothing is said; not `WITH NO DATA`.
    pub with_data: bool,
}

/// A parsed `CREATE VIEW` or `CREATE MATERIALIZED VIEW`.
#[derive(Debug, Clone)]
pub struct Viewing {
    /// The view.
    pub name: ObjectName,
    /// `OR REPLACE`
    pub replaces: bool,
    /// Names of its columns, the first ones at least.
    pub columns: Vec<Ident>,
    /// `WITH … CHECK OPTION`
    pub check: CheckOption,
    /// What makes it a materialized one.
    pub materialized: Option<Materializing>,
    /// Where its query begins in the text, and what stands behind it.
    body: (Location, Location),
}

impl Viewing {
    /// The text of its query in that of the statement, and the number of the characters before it.
    pub fn body(&self, text: &str) -> (String, usize) {
        let place = |location: Location| character_of(text, location.line, location.column);
        let start = place(self.body.0).map_or(0, |start| start - 1);
        let letters = text.chars().skip(start);
        let body: String = match place(self.body.1) {
            Some(end) => letters.take(end.saturating_sub(start + 1)).collect(),
            None => letters.collect(),
        };
        (body.trim_end().to_owned(), start)
    }
}

/// A parsed `REFRESH MATERIALIZED VIEW`.
#[derive(Debug, Clone)]
pub struct Refreshing {
    /// The view.
    pub name: ObjectName,
    /// `CONCURRENTLY`: what differs is put right, and the rest stays.
    pub concurrently: bool,
    /// Whether it is filled, and not emptied.
    pub with_data: bool,
}

/// The statement, when the next tokens begin one; they are consumed.
pub(super) fn parse(parser: &mut Parser<'_>) -> Result<Option<Kind>, ParserError> {
    let mut words = 1;
    if is_word(parser, 0, "refresh") {
        return refresh(parser).map(Some);
    }
    if is_word(parser, 0, "alter") && is_word(parser, 1, "materialized") && is_word(parser, 2, "view") {
        copy::skip(parser);
        return Ok(Some(altering()));
    }
    if !is_word(parser, 0, "create") {
        return Ok(None);
    }
    if is_word(parser, 1, "materialized") && is_word(parser, 2, "view") {
        return materialized(parser).map(Some);
    }
    let replaces = is_word(parser, 1, "or") && is_word(parser, 2, "replace");
    if replaces && is_word(parser, 3, "materialized") {
        (0..3).for_each(|_| drop(parser.next_token()));
        return parser.expected_ref("VIEW", parser.peek_token_ref());
    }
    words += if replaces { 2 } else { 0 };
    let is_more = ["temp", "temporary", "recursive"].iter().any(|word| is_word(parser, words, word));
    words += usize::from(is_more);
    if !is_word(parser, words, "view") {
        return Ok(None);
    }
    for _ in 0..=words {
        parser.next_token();
    }
    let name = parser.parse_object_name(false)?;
    let columns = parser.parse_parenthesized_column_list(IsOptional::Optional, false)?;
    let option = option(parser)?;
    parser.expect_keyword_is(Keyword::AS)?;
    let start = parser.peek_token_ref().span.start;
    // Read for its end; the query is read again from its text.
    let query = parser.parse_query()?;
    let changes_rows = matches!(*query.body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_));
    let end = parser.peek_token_ref().span.start;
    let check = behind(parser)?;
    if changes_rows {
        return Ok(Some(refuse(sqlstate::SYNTAX_ERROR, "a view is made of a query")));
    }
    if is_more {
        let message = "temporary and recursive views are not supported";
        return Ok(Some(refuse(sqlstate::FEATURE_NOT_SUPPORTED, message)));
    }
    let check = match (option, check) {
        (Ok(CheckOption::None), check) => check,
        (Ok(option), CheckOption::None) => option,
        (Ok(_), _) => {
            return Ok(Some(refuse(sqlstate::SYNTAX_ERROR, "parameter \"check_option\" specified more than once")));
        }
        (Err(other), _) => {
            let message = format!("the parameter \"{other}\" of views is not supported");
            return Ok(Some(refuse(sqlstate::FEATURE_NOT_SUPPORTED, &message)));
        }
    };
    let viewing = Viewing { name, replaces, columns, check, materialized: None, body: (start, end) };
    Ok(Some(Kind::Define(Box::new(Definition::CreateView(viewing)))))
}

/// What follows `CREATE`, which is ahead with the words behind it.
fn materialized(parser: &mut Parser<'_>) -> Result<Kind, ParserError> {
    for _ in 0..3 {
        parser.next_token();
    }
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = parser.parse_object_name(false)?;
    let columns = parser.parse_parenthesized_column_list(IsOptional::Optional, false)?;
    let of_storage = ["using", "with", "tablespace"].into_iter().find(|word| is_word(parser, 0, word));
    if let Some(word) = of_storage {
        let message = format!("{} in CREATE MATERIALIZED VIEW is not supported", word.to_uppercase());
        super::copy::skip(parser);
        return Ok(refuse(sqlstate::FEATURE_NOT_SUPPORTED, &message));
    }
    parser.expect_keyword_is(Keyword::AS)?;
    let start = parser.peek_token_ref().span.start;
    let query = parser.parse_query()?;
    let changes_rows = matches!(*query.body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_));
    let end = parser.peek_token_ref().span.start;
    let with_data = data(parser)?;
    if changes_rows {
        return Ok(refuse(sqlstate::SYNTAX_ERROR, "a view is made of a query"));
    }
    let materialized = Some(Materializing { if_not_exists, with_data });
    let viewing = Viewing { name, replaces: false, columns, check: CheckOption::None, materialized, body: (start, end) };
    Ok(Kind::Define(Box::new(Definition::CreateView(viewing))))
}

/// What `ALTER MATERIALIZED VIEW` is answered, of which the parser knows nothing.
fn altering() -> Kind {
    let refused = Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "ALTER MATERIALIZED VIEW is not supported");
    Kind::Refused(refused.with_hint("DROP MATERIALIZED VIEW, and make it anew with CREATE MATERIALIZED VIEW."))
}

/// `WITH [NO] DATA`
fn data(parser: &mut Parser<'_>) -> Result<bool, ParserError> {
    if !parser.parse_keyword(Keyword::WITH) {
        return Ok(true);
    }
    let is_empty = parser.parse_keyword(Keyword::NO);
    if !is_word(parser, 0, "data") {
        return parser.expected_ref("DATA", parser.peek_token_ref());
    }
    parser.next_token();
    Ok(!is_empty)
}

/// `REFRESH MATERIALIZED VIEW [CONCURRENTLY] name [WITH [NO] DATA]`, whose first word is ahead.
fn refresh(parser: &mut Parser<'_>) -> Result<Kind, ParserError> {
    parser.next_token();
    for word in ["materialized", "view"] {
        if !is_word(parser, 0, word) {
            return parser.expected_ref(&word.to_uppercase(), parser.peek_token_ref());
        }
        parser.next_token();
    }
    let concurrently = is_word(parser, 0, "concurrently");
    if concurrently {
        parser.next_token();
    }
    let name = parser.parse_object_name(false)?;
    let with_data = data(parser)?;
    if concurrently && !with_data {
        let message = "CONCURRENTLY and WITH NO DATA options cannot be used together";
        return Ok(refuse(sqlstate::SYNTAX_ERROR, message));
    }
    Ok(Kind::Define(Box::new(Definition::Refresh(Refreshing { name, concurrently, with_data }))))
}

fn is_word(parser: &Parser<'_>, place: usize, expected: &str) -> bool {
    match &parser.peek_nth_token_ref(place).token {
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected),
        _ => false,
    }
}

/// `WITH (check_option = …)` before the query; the name of another parameter.
fn option(parser: &mut Parser<'_>) -> Result<Result<CheckOption, String>, ParserError> {
    let mut found = Ok(CheckOption::None);
    if !parser.parse_keyword(Keyword::WITH) {
        return Ok(found);
    }
    parser.expect_token(&Token::LParen)?;
    loop {
        let name = fold(&parser.parse_identifier()?);
        let value = if parser.consume_token(&Token::Eq) { Some(parser.next_token().token) } else { None };
        let value = match value {
            Some(Token::Word(word)) => word.value.to_lowercase(),
            Some(Token::SingleQuotedString(text)) => text.to_lowercase(),
            _ => String::new(),
        };
        let check = match (name.as_str(), value.as_str()) {
            ("check_option", "local") => Some(CheckOption::Local),
            ("check_option", "cascaded") => Some(CheckOption::Cascaded),
            _ => None,
        };
        if found.is_ok() {
            found = check.ok_or(name);
        }
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    parser.expect_token(&Token::RParen)?;
    Ok(found)
}

/// `WITH [CASCADED | LOCAL] CHECK OPTION` behind the query.
fn behind(parser: &mut Parser<'_>) -> Result<CheckOption, ParserError> {
    if !parser.parse_keyword(Keyword::WITH) {
        return Ok(CheckOption::None);
    }
    let is_local = parser.parse_keyword(Keyword::LOCAL);
    let _ = is_local || parser.parse_keyword(Keyword::CASCADED);
    parser.expect_keyword_is(Keyword::CHECK)?;
    parser.expect_keyword_is(Keyword::OPTION)?;
    Ok(if is_local { CheckOption::Local } else { CheckOption::Cascaded })
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn read(text: &str) -> String {
        match parse(text).unwrap().remove(0).kind {
            Kind::Define(definition) => match *definition {
                Definition::CreateView(view) => {
                    let columns: Vec<String> = view.columns.iter().map(fold).collect();
                    let (body, before) = view.body(text);
                    let made = match view.materialized {
                        None => format!("{:?}", view.check),
                        Some(made) => format!("materialized {} {}", made.if_not_exists, made.with_data),
                    };
                    format!("{} {} [{}] {made} {before}:{body}", view.name, view.replaces, columns.join(","))
                }
                Definition::Refresh(asked) => format!("{} {} {}", asked.name, asked.concurrently, asked.with_data),
                other => format!("{other:?}"),
            },
            Kind::Refused(error) => error.sqlstate,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_query_is_its_own_text() {
        assert_eq!(read("CREATE VIEW v AS SELECT 'ü;', 1"), "v false [] None 17:SELECT 'ü;', 1");
        assert_eq!(read("create or replace view s.v (a, b) as\n select 1, 2 ; SELECT 3"), "s.v true [a,b] None 38:select 1, 2");
        assert_eq!(
            read("CREATE VIEW v AS SELECT a FROM t WHERE a > 1 WITH CHECK OPTION"),
            "v false [] Cascaded 17:SELECT a FROM t WHERE a > 1"
        );
        assert_eq!(read("CREATE VIEW v AS SELECT 1 WITH LOCAL CHECK OPTION"), "v false [] Local 17:SELECT 1");
        assert_eq!(read("CREATE VIEW v WITH (check_option = local) AS SELECT 1"), "v false [] Local 45:SELECT 1");
        assert_eq!(
            read("CREATE VIEW v AS WITH x AS (SELECT 1) SELECT * FROM x"),
            "v false [] None 17:WITH x AS (SELECT 1) SELECT * FROM x"
        );
    }

    #[test]
    fn other_views_are_refused() {
        assert_eq!(read("CREATE TEMP VIEW v AS SELECT 1"), "0A000");
        assert_eq!(read("CREATE VIEW v WITH (security_barrier) AS SELECT 1"), "0A000");
        assert_eq!(read("CREATE MATERIALIZED VIEW v WITH (fillfactor = 70) AS SELECT 1"), "0A000");
        assert_eq!(read("CREATE MATERIALIZED VIEW v TABLESPACE x AS SELECT 1"), "0A000");
        assert_eq!(read("CREATE MATERIALIZED VIEW v AS DELETE FROM t"), "42601");
        assert_eq!(read("CREATE VIEW v WITH (check_option = local) AS SELECT a FROM t WITH CHECK OPTION"), "42601");
        assert_eq!(read("CREATE VIEW v AS DELETE FROM t"), "42601");
        for text in [
            "alter materialized view t rename to x",
            "ALTER MATERIALIZED VIEW IF EXISTS s.t SET (fillfactor = 70); SELECT 1",
            "ALTER MATERIALIZED VIEW t OWNER TO somebody",
        ] {
            assert_eq!(read(text), "0A000", "{text}");
        }
    }

    #[test]
    fn materialized_views_say_whether_they_are_filled() {
        assert_eq!(read("CREATE MATERIALIZED VIEW v AS SELECT 1"), "v false [] materialized false true 30:SELECT 1");
        assert_eq!(
            read("create materialized view if not exists s.v (a, b) as select 1, 2 with no data"),
            "s.v false [a,b] materialized true false 53:select 1, 2"
        );
        assert_eq!(
            read("CREATE MATERIALIZED VIEW v AS WITH x AS (SELECT 1) SELECT * FROM x WITH DATA;"),
            "v false [] materialized false true 30:WITH x AS (SELECT 1) SELECT * FROM x"
        );
        for text in ["CREATE MATERIALIZED VIEW v AS SELECT 1 WITH NO", "CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT 1"] {
            assert_eq!(parse(text).map(|_| ()).unwrap_err().sqlstate, "42601", "{text}");
        }
    }

    #[test]
    fn they_are_refreshed() {
        assert_eq!(read("REFRESH MATERIALIZED VIEW s.v"), "s.v false true");
        assert_eq!(read("refresh materialized view concurrently v with data;"), "v true true");
        assert_eq!(read("REFRESH MATERIALIZED VIEW v WITH NO DATA"), "v false false");
        assert_eq!(read("REFRESH MATERIALIZED VIEW CONCURRENTLY v WITH NO DATA"), "42601");
        for text in ["REFRESH VIEW v", "REFRESH MATERIALIZED VIEW", "REFRESH MATERIALIZED VIEW v WITH", "REFRESH"] {
            assert_eq!(parse(text).map(|_| ()).unwrap_err().sqlstate, "42601", "{text}");
        }
    }
}
