//! What the parser reads otherwise than PostgreSQL's scanner and grammar, settled on the tokens: letters glued to a number,
//! `!!`, `==`, key words that it takes for names, `TABLE t`, string literals beside each other ([`super::strings`]), signs behind
//! operators ([`super::signs`]), members of grouping sets ([`super::grouped`]), `BETWEEN SYMMETRIC`, actions of MERGE
//! ([`super::merging`]) and words of statements that write ([`super::writing`]), which it does not know. Names that would pass for
//! invented ones are refused here, where every name is
//! seen.
//!
//! A token that is changed keeps its place, so that positions in errors stay right.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Whitespace};

use super::locate::character_of;
use super::{HIDDEN, grouped, merging, signs, strings, writing};
use crate::error::{Diagnosis, sqlstate};

/// Checks and changes the tokens of `text` before they are parsed.
///
/// After it, `BETWEEN !! a AND b` stands for `BETWEEN SYMMETRIC a AND b` ([`super::between`] gives it its meaning), and no
/// other `!!` is left.
///
/// # Errors
/// 42601 for a number that runs into a word, for a key word where an expression begins and for literals beside each other on
/// one line, or a comment that begins inside an operator, 42602 for a name that holds [`HIDDEN`], 42883 for `!!` and `==`, 0A000 for `UESCAPE`.
pub fn settle(tokens: &mut Vec<TokenWithSpan>, text: &str) -> Result<(), Diagnosis> {
    let placed = |mistake: Box<(Diagnosis, TokenWithSpan)>| {
        let (error, token) = *mistake;
        error.with_position(position(&token, text))
    };
    signs::split(tokens).map_err(placed)?;
    check_words(tokens, text)?;
    strings::join(tokens).map_err(placed)?;
    for (place, token) in tokens.iter().enumerate() {
        if let Some(found) = glued(token, tokens.get(place + 1), text) {
            let message = format!("trailing junk after numeric literal at or near \"{found}\"");
            return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, message).with_position(position(token, text)));
        }
        if let Token::Word(word) = &token.token
            && word.value.contains(HIDDEN)
        {
            let message = "a name cannot hold the character U+0001";
            return Err(Diagnosis::new("42602", message).with_position(position(token, text)));
        }
        if token.token == Token::DoubleEq {
            return Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, "operator does not exist: ==")
                .with_hint("The operator for equality is =.")
                .with_position(position(token, text)));
        }
        if token.token == Token::DoubleExclamationMark {
            return Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, "operator does not exist: !!")
                .with_hint("The factorial of n is factorial(n).")
                .with_position(position(token, text)));
        }
    }
    read_unicode(tokens, text)?;
    mark_symmetric(tokens);
    spell_out_tables(tokens);
    merging::mark(tokens);
    grouped::enclose(tokens);
    writing::mark(tokens);
    Ok(())
}

/// Reserved words that begin no expression.
const CLAUSES: &[Keyword] = &[
    Keyword::WHERE,
    Keyword::FROM,
    Keyword::GROUP,
    Keyword::HAVING,
    Keyword::ORDER,
    Keyword::UNION,
    Keyword::EXCEPT,
    Keyword::INTERSECT,
];

/// Words behind which an expression begins. BY is one behind [`LISTS`] only: else it is a name.
const OPENERS: &[Keyword] =
    &[Keyword::WHERE, Keyword::HAVING, Keyword::AND, Keyword::OR, Keyword::NOT, Keyword::WHEN, Keyword::THEN];

/// Words behind which BY begins a list of expressions.
pub(super) const LISTS: &[Keyword] = &[Keyword::GROUP, Keyword::ORDER, Keyword::PARTITION];

/// The parser takes a word for a column where it knows no better: `WHERE WHERE x` would be a condition called "where".
fn check_words(tokens: &[TokenWithSpan], text: &str) -> Result<(), Diagnosis> {
    let (mut begins_expression, mut before, mut names) = (false, Keyword::NoKeyword, false);
    for token in tokens {
        let keyword = match &token.token {
            Token::Whitespace(_) => continue,
            // Behind a period and AS every word is a name.
            Token::Word(word) if word.quote_style.is_none() && !names => word.keyword,
            _ => Keyword::NoKeyword,
        };
        names = token.token == Token::Period || keyword == Keyword::AS;
        if begins_expression && CLAUSES.contains(&keyword) {
            let message = format!("syntax error at or near \"{}\"", token.token);
            return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, message).with_position(position(token, text)));
        }
        let begins_list = keyword == Keyword::BY && LISTS.contains(&before);
        begins_expression = begins_list || OPENERS.contains(&keyword) || token.token == Token::Comma;
        before = keyword;
    }
    Ok(())
}

/// `TABLE t`, where a query may begin, as `SELECT * FROM t`.
fn spell_out_tables(tokens: &mut Vec<TokenWithSpan>) {
    let is_word = |token: &Token, keyword: Keyword| matches!(token, Token::Word(word) if word.quote_style.is_none() && word.keyword == keyword);
    if !tokens.iter().any(|token| is_word(&token.token, Keyword::TABLE)) {
        return;
    }
    let mut begins_query = true;
    let mut spelled = Vec::with_capacity(tokens.len() + 4);
    for token in std::mem::take(tokens) {
        if matches!(token.token, Token::Whitespace(_)) {
            spelled.push(token);
            continue;
        }
        let is_table = begins_query && is_word(&token.token, Keyword::TABLE);
        begins_query = match &token.token {
            // What is in parentheses may be the end of WITH, of a list of columns or of options.
            Token::SemiColon | Token::LParen | Token::RParen => true,
            Token::Word(word) if word.quote_style.is_none() => match word.keyword {
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT => true,
                Keyword::EXPLAIN | Keyword::ANALYZE | Keyword::VERBOSE | Keyword::ALL | Keyword::DISTINCT => begins_query,
                _ => false,
            },
            _ => false,
        };
        if !is_table {
            spelled.push(token);
            continue;
        }
        let (space, span) = (Token::Whitespace(Whitespace::Space), token.span);
        let words = [Token::make_keyword("SELECT"), space.clone(), Token::Mul, space.clone(), Token::make_keyword("FROM"), space];
        spelled.extend(words.into_iter().map(|token| TokenWithSpan { token, span }));
    }
    *tokens = spelled;
}

/// `U&'\00e9'`, whose escapes the tokenizer has read, as a plain string.
fn read_unicode(tokens: &mut [TokenWithSpan], text: &str) -> Result<(), Diagnosis> {
    let mut follows_unicode = false;
    for token in tokens {
        let is_escape =
            matches!(&token.token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("uescape"));
        if follows_unicode && is_escape {
            let error = Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "UESCAPE is not supported");
            return Err(error.with_hint("The escape character is the backslash.").with_position(position(token, text)));
        }
        match &mut token.token {
            Token::Whitespace(_) => {}
            Token::UnicodeStringLiteral(value) => {
                let value = std::mem::take(value);
                token.token = Token::SingleQuotedString(value);
                follows_unicode = true;
            }
            _ => follows_unicode = false,
        }
    }
    Ok(())
}

fn position(token: &TokenWithSpan, text: &str) -> Option<usize> {
    let Location { line, column } = token.span.start;
    character_of(text, line, column)
}

/// A number with what is glued to it, when that can be no part of it: `0x1F`, `1_000`, `12abc`.
fn glued(token: &TokenWithSpan, next: Option<&TokenWithSpan>, text: &str) -> Option<String> {
    let tail = match next.map(|next| (&next.token, next.span.start == token.span.end)) {
        Some((Token::Word(word), true)) if word.quote_style.is_none() => word.value.as_str(),
        _ => "",
    };
    match &token.token {
        // `0x1F` and `X'1F'` are one kind of token.
        Token::HexStringLiteral(digits) => {
            let start = position(token, text)?.checked_sub(1)?;
            text.chars().nth(start).filter(|first| *first == '0').map(|_| format!("0x{digits}{tail}"))
        }
        Token::Number(digits, true) => Some(format!("{digits}L{tail}")),
        Token::Number(digits, false) if digits.contains('_') || !tail.is_empty() => Some(format!("{digits}{tail}")),
        _ => None,
    }
}

fn mark_symmetric(tokens: &mut [TokenWithSpan]) {
    let mut follows_between = false;
    for token in tokens {
        let keyword = match &token.token {
            Token::Whitespace(_) => continue,
            Token::Word(word) if word.quote_style.is_none() => word.keyword,
            _ => Keyword::NoKeyword,
        };
        match keyword {
            Keyword::SYMMETRIC if follows_between => token.token = Token::DoubleExclamationMark,
            Keyword::ASYMMETRIC if follows_between => token.token = Token::Whitespace(Whitespace::Space),
            _ => {}
        }
        follows_between = keyword == Keyword::BETWEEN;
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn check(text: &str, expected: Result<&str, (&str, usize)>) {
        let mut tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().unwrap();
        let found = settle(&mut tokens, text).map(|()| tokens.iter().map(|token| token.token.to_string()).collect::<String>());
        let found = found.map_err(|error| (error.message, error.position.unwrap()));
        let found = found.as_deref().map_err(|(message, position)| (message.as_str(), *position));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn numbers_end_where_they_end() {
        let junk = |found: &'static str, position| Err((found, position));
        check("SELECT 0x1F", junk("trailing junk after numeric literal at or near \"0x1F\"", 8));
        check("SELECT\n 1_000", junk("trailing junk after numeric literal at or near \"1_000\"", 9));
        check("SELECT 12abc", junk("trailing junk after numeric literal at or near \"12abc\"", 8));
        check("SELECT 1L", junk("trailing junk after numeric literal at or near \"1L\"", 8));
        check("SELECT 1 a, X'1F', 1e5, 2\"b\"", Ok("SELECT 1 a, X'1F', 1e5, 2\"b\""));
        check("SELECT !! 5", junk("operator does not exist: !!", 8));
        check("SELECT 1 == 2", junk("operator does not exist: ==", 10));
        check("SELECT a WHERE WHERE b", junk("syntax error at or near \"WHERE\"", 16));
        check("SELECT a, FROM t", junk("syntax error at or near \"FROM\"", 11));
        check("SELECT a WHERE \"where\" ORDER BY b", Ok("SELECT a WHERE \"where\" ORDER BY b"));
        check("SELECT a FROM t GROUP BY HAVING b", junk("syntax error at or near \"HAVING\"", 26));
    }

    #[test]
    fn words_that_are_names_open_nothing() {
        for text in [
            "SELECT id, by FROM t",
            "SELECT by FROM t WHERE by IS NULL GROUP BY by ORDER BY by",
            "SELECT t.by FROM t",
            "SELECT t.and FROM t",
            "SELECT 1 AS where FROM t",
            "SELECT 1 AS not, 2 AS then FROM t",
        ] {
            check(text, Ok(text));
        }
    }

    #[test]
    fn table_is_a_query_where_one_begins() {
        check("TABLE t", Ok("SELECT * FROM  t"));
        check("SELECT 1 UNION ALL TABLE a.t ORDER BY 1", Ok("SELECT 1 UNION ALL SELECT * FROM  a.t ORDER BY 1"));
        check("SELECT * FROM (TABLE t) AS x", Ok("SELECT * FROM (SELECT * FROM  t) AS x"));
        check("EXPLAIN table t", Ok("EXPLAIN SELECT * FROM  t"));
        check("EXPLAIN ANALYZE VERBOSE TABLE t", Ok("EXPLAIN ANALYZE VERBOSE SELECT * FROM  t"));
        check("WITH a AS (TABLE t) TABLE a", Ok("WITH a AS (SELECT * FROM  t) SELECT * FROM  a"));
        check("(TABLE t) UNION DISTINCT (TABLE t)", Ok("(SELECT * FROM  t) UNION DISTINCT (SELECT * FROM  t)"));
        check("INSERT INTO t (a) TABLE u", Ok("INSERT INTO t (a) SELECT * FROM  u"));
        check("CREATE TABLE t (a int)", Ok("CREATE TABLE t (a int)"));
        check("SELECT (1) AS table, t.table FROM t", Ok("SELECT (1) AS table, t.table FROM t"));
    }

    #[test]
    fn literals_on_one_line_are_two() {
        check("SELECT 'a'\n 'b' AS x", Ok("SELECT 'ab' AS x"));
        check("SELECT 'a' -- c\n 'b'", Ok("SELECT 'ab'"));
        check("SELECT 'a' 'b'", Err(("syntax error at or near \"'b'\"", 12)));
        check("SELECT 'a'\n'b' 'c'", Err(("syntax error at or near \"'c'\"", 16)));
    }

    #[test]
    fn no_name_passes_for_an_invented_one() {
        check("SELECT 1 AS \"a\u{1}2\"", Err(("a name cannot hold the character U+0001", 13)));
        check("SELECT 'a\u{1}2'", Ok("SELECT 'a\u{1}2'"));
    }

    #[test]
    fn escapes_of_unicode_are_read() {
        check("SELECT U&'d\\0061t\\+000061', u&'a''b'", Ok("SELECT 'data', 'a'b'"));
        check("SELECT U&'d!0061' UESCAPE '!'", Err(("UESCAPE is not supported", 19)));
        check("SELECT 'a' uescape", Ok("SELECT 'a' uescape"));
    }

    #[test]
    fn symmetric_is_marked_after_between_only() {
        check("a BETWEEN SYMMETRIC 1 AND 2", Ok("a BETWEEN !! 1 AND 2"));
        check("a NOT BETWEEN /* x */ symmetric 1 AND 2", Ok("a NOT BETWEEN /* x */ !! 1 AND 2"));
        check("a BETWEEN ASYMMETRIC 1 AND 2", Ok("a BETWEEN   1 AND 2"));
        check("a BETWEEN \"symmetric\" AND 2", Ok("a BETWEEN \"symmetric\" AND 2"));
    }
}
