//! `DECLARE`, `FETCH`, `MOVE` and `CLOSE` of cursors, as PostgreSQL's grammar has them.

use datafusion::sql::sqlparser::ast::{Declare, DeclareType};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{Kind, fold, query_kind, refuse};
use crate::error::{Diagnosis, sqlstate};

/// How far a cursor is moved forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// At most so many rows, at least one.
    Rows(u64),
    /// All that are left.
    All,
}

/// The statement behind FETCH or MOVE, when one of them is the next word; its tokens are consumed.
pub(super) fn parse(parser: &mut Parser<'_>) -> Result<Option<Kind>, ParserError> {
    let is_move = match &parser.peek_token_ref().token {
        Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("fetch") => false,
        Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("move") => true,
        _ => return Ok(None),
    };
    parser.next_token();
    let asked = direction(parser)?;
    let _ = parser.parse_keyword(Keyword::FROM) || parser.parse_keyword(Keyword::IN);
    let name = fold(&parser.parse_identifier()?);
    Ok(Some(match asked {
        Ok(forward) => Kind::Fetch { name, forward, is_move },
        Err(error) => Kind::Refused(error),
    }))
}

/// A direction that a cursor without SCROLL has, or the refusal of one that it has not.
fn direction(parser: &mut Parser<'_>) -> Result<Result<Forward, Diagnosis>, ParserError> {
    let word = match &parser.peek_token_ref().token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
        Token::Number(..) | Token::Minus | Token::Plus => return count(parser),
        _ => return Ok(Ok(Forward::Rows(1))),
    };
    let is_count_next =
        |parser: &Parser<'_>| matches!(&parser.peek_nth_token_ref(1).token, Token::Number(..) | Token::Minus | Token::Plus);
    // A cursor may be called by any of these words; then nothing follows but the end.
    let is_name = matches!(parser.peek_nth_token_ref(1).token, Token::SemiColon | Token::EOF);
    Ok(match word.as_str() {
        _ if is_name => Ok(Forward::Rows(1)),
        "next" => {
            parser.next_token();
            Ok(Forward::Rows(1))
        }
        "all" => {
            parser.next_token();
            Ok(Forward::All)
        }
        "forward" => {
            let counted = is_count_next(parser);
            parser.next_token();
            if counted {
                return count(parser);
            }
            if parser.parse_keyword(Keyword::ALL) { Ok(Forward::All) } else { Ok(Forward::Rows(1)) }
        }
        "relative" => {
            parser.next_token();
            return match count(parser)? {
                Ok(Forward::Rows(1)) => Ok(Ok(Forward::Rows(1))),
                _ => Ok(Err(not_scrollable())),
            };
        }
        "prior" | "first" | "last" | "backward" | "absolute" => {
            parser.next_token();
            let _ = parser.parse_keyword(Keyword::ALL);
            if !matches!(parser.peek_token_ref().token, Token::Word(_)) {
                let _ = count(parser)?;
            }
            Err(not_scrollable())
        }
        _ => Ok(Forward::Rows(1)),
    })
}

fn count(parser: &mut Parser<'_>) -> Result<Result<Forward, Diagnosis>, ParserError> {
    let is_negative = parser.consume_token(&Token::Minus);
    let _ = parser.consume_token(&Token::Plus);
    let rows = parser.parse_literal_uint()?;
    // Zero is the row of the last FETCH once more.
    Ok(if is_negative || rows == 0 { Err(not_scrollable()) } else { Ok(Forward::Rows(rows)) })
}

/// Rows are streamed and not kept, so that no cursor can go back.
fn not_scrollable() -> Diagnosis {
    Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, "cursor can only scan forward")
        .with_hint("Cursors here go forward only.")
}

/// A parsed `DECLARE`.
pub(super) fn declare(mut statements: Vec<Declare>) -> Kind {
    let Some(declared) = statements.pop().filter(|one| one.declare_type == Some(DeclareType::Cursor)) else {
        return refuse(sqlstate::FEATURE_NOT_SUPPORTED, "DECLARE is supported for cursors only");
    };
    let (Some(name), Some(query)) = (declared.names.first(), declared.for_query) else {
        return refuse(sqlstate::SYNTAX_ERROR, "a cursor needs a name and a query");
    };
    if declared.hold == Some(true) {
        return refuse(sqlstate::FEATURE_NOT_SUPPORTED, "DECLARE CURSOR … WITH HOLD is not supported");
    }
    if declared.scroll == Some(true) {
        return refuse(sqlstate::FEATURE_NOT_SUPPORTED, "DECLARE … SCROLL CURSOR is not supported");
    }
    match query_kind(query) {
        Kind::Query(query) => Kind::Declare { name: fold(name), query, is_binary: declared.binary == Some(true) },
        // PostgreSQL's grammar has a query there only.
        Kind::Write(write) => refuse(sqlstate::SYNTAX_ERROR, &format!("syntax error at or near \"{}\"", write.verb())),
        refused => refused,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn check(sql: &str, expected: Result<(&str, Forward, bool), &str>) {
        let found = match parse(sql).unwrap().remove(0).kind {
            Kind::Fetch { name, forward, is_move } => Ok((name, forward, is_move)),
            Kind::Refused(error) => Err(error.sqlstate),
            other => panic!("{other:?}"),
        };
        let found = found.as_ref().map(|(name, forward, is_move)| (name.as_str(), *forward, *is_move)).map_err(String::as_str);
        assert_eq!(found, expected, "{sql}");
    }

    #[test]
    fn directions_are_read_as_postgres_does() {
        let fetched = |forward| Ok(("c", forward, false));
        check("FETCH c", fetched(Forward::Rows(1)));
        check("FETCH NEXT FROM c", fetched(Forward::Rows(1)));
        check("FETCH 5 C;", fetched(Forward::Rows(5)));
        check("FETCH ALL IN c", fetched(Forward::All));
        check("FETCH FORWARD c", fetched(Forward::Rows(1)));
        check("FETCH FORWARD 3 FROM c", fetched(Forward::Rows(3)));
        check("FETCH FORWARD ALL FROM c", fetched(Forward::All));
        check("FETCH RELATIVE 1 FROM c", fetched(Forward::Rows(1)));
        check("MOVE 10 IN c", Ok(("c", Forward::Rows(10), true)));
        check("FETCH next", Ok(("next", Forward::Rows(1), false)));
        for back in [
            "FETCH PRIOR FROM c",
            "FETCH BACKWARD 2 FROM c",
            "FETCH -1 FROM c",
            "FETCH 0 FROM c",
            "FETCH ABSOLUTE 1 FROM c",
            "MOVE LAST IN c",
        ] {
            check(back, Err("55000"));
            let Kind::Refused(error) = parse(back).unwrap().remove(0).kind else { panic!("{back}") };
            // PostgreSQL's own hint names SCROLL, which is refused here.
            assert_eq!(error.hint.as_deref(), Some("Cursors here go forward only."), "{back}");
        }
    }

    #[test]
    fn cursors_that_outlive_their_block_or_go_back_are_refused() {
        for sql in ["DECLARE c CURSOR WITH HOLD FOR SELECT 1", "DECLARE c SCROLL CURSOR FOR SELECT 1"] {
            assert!(matches!(&parse(sql).unwrap()[0].kind, Kind::Refused(error) if error.sqlstate == "0A000"), "{sql}");
        }
        let sql = "DECLARE C NO SCROLL CURSOR FOR SELECT 1";
        assert!(matches!(&parse(sql).unwrap()[0].kind, Kind::Declare { name, is_binary: false, .. } if name == "c"));
    }
}
