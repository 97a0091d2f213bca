//! Signs right behind an operator: `a>-1` is `a > -1`.
//!
//! The tokenizer takes all letters of operators that stand together for one operator. PostgreSQL's scanner lets an operator end in
//! `+` or `-` only where it also holds one of `~ ! @ # % ^ & | ?` or the grave accent (manual, "Operators").

use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use super::postgres::Postgres;
use crate::error::{Diagnosis, sqlstate};

/// What lets an operator end in a sign.
const KEEPS_SIGNS: [char; 10] = ['~', '!', '@', '#', '%', '^', '&', '|', '`', '?'];

/// Takes the signs behind operators for tokens of their own.
///
/// # Errors
/// 42601, with the token, for a comment that the tokenizer has taken for a part of an operator: it has read on inside it.
pub(super) fn split(tokens: &mut Vec<TokenWithSpan>) -> Result<(), Box<(Diagnosis, TokenWithSpan)>> {
    if !tokens.iter().any(|token| matches!(token.token, Token::CustomBinaryOperator(_))) {
        return Ok(());
    }
    let mut parts = Vec::with_capacity(tokens.len() + 1);
    for token in std::mem::take(tokens) {
        match &token.token {
            Token::CustomBinaryOperator(operator) if operator.contains("--") => {
                let error = Diagnosis::new(sqlstate::SYNTAX_ERROR, format!("syntax error at or near \"{operator}\""))
                    .with_hint("A comment must not follow an operator directly: put a blank between them.");
                return Err(Box::new((error, token)));
            }
            Token::CustomBinaryOperator(operator) if signs(operator) > 0 => push_parts(operator, token.span.start, &mut parts),
            _ => parts.push(token),
        }
    }
    *tokens = parts;
    Ok(())
}

/// How many signs at the end are no part of an operator, which has one letter at least.
fn signs(operator: &str) -> usize {
    if operator.contains(KEEPS_SIGNS) {
        return 0;
    }
    let signs = operator.bytes().rev().take_while(|letter| matches!(letter, b'+' | b'-')).count();
    signs.min(operator.len().saturating_sub(1))
}

fn push_parts(operator: &str, start: Location, parts: &mut Vec<TokenWithSpan>) {
    let (kept, signs) = operator.split_at(operator.len() - signs(operator));
    let mut column = start.column;
    let mut push = |token: Token, length: usize| {
        let end = column + length as u64;
        let span = Span::new(Location::new(start.line, column), Location::new(start.line, end));
        parts.push(TokenWithSpan { token, span });
        column = end;
    };
    push(named(kept), kept.len());
    for sign in signs.chars() {
        push(if sign == '-' { Token::Minus } else { Token::Plus }, 1);
    }
}

/// The token of an operator that stands alone.
fn named(operator: &str) -> Token {
    match Tokenizer::new(&Postgres, operator).tokenize().as_deref() {
        Ok([token]) => token.clone(),
        _ => Token::CustomBinaryOperator(operator.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[&str], &str>) {
        let mut tokens = Tokenizer::new(&Postgres, text).tokenize_with_location().unwrap();
        let before = tokens.last().map(|token| token.span.end);
        let found = split(&mut tokens).map_err(|mistake| mistake.0.sqlstate);
        let spelled: Vec<String> = tokens.iter().map(|token| token.token.to_string()).collect();
        let spelled: Vec<&str> = spelled.iter().map(String::as_str).collect();
        assert_eq!(found.as_ref().map(|()| spelled.as_slice()).map_err(String::as_str), expected, "{text}");
        if found.is_ok() {
            assert_eq!(tokens.last().map(|token| token.span.end), before, "{text}");
            assert!(tokens.windows(2).all(|pair| pair[0].span.end == pair[1].span.start), "{text}");
        }
    }

    #[test]
    fn signs_behind_operators_are_tokens_of_their_own() {
        check("a>-1", Ok(&["a", ">", "-", "1"]));
        check("a>=-1", Ok(&["a", ">=", "-", "1"]));
        check("a<>+-1", Ok(&["a", "<>", "+", "-", "1"]));
        check("a<<-1", Ok(&["a", "<<", "-", "1"]));
        check("a->-1", Ok(&["a", "->", "-", "1"]));
        check("a->>-1", Ok(&["a", "->>", "-", "1"]));
        check("1-+1", Ok(&["1", "-", "+", "1"]));
        check("a%-1", Ok(&["a", "%-", "1"]));
        check("a||-1", Ok(&["a", "||-", "1"]));
        check("a>/* x */-1", Ok(&["a", ">", "/* x */", "-", "1"]));
        check("a>--1\n2", Err("42601"));
        let mut tokens = Tokenizer::new(&Postgres, "a>-1").tokenize_with_location().unwrap();
        split(&mut tokens).unwrap();
        assert!(matches!(tokens[1].token, Token::Gt) && matches!(tokens[2].token, Token::Minus));
    }
}
