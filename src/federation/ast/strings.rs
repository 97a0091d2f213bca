//! String literals beside each other (manual, "String Constants"): with a line break between them they are one literal, and an
//! error without, where the parser would take the second for a name.

use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer, Whitespace};

use super::postgres::Postgres;
use super::syntax::at_or_near;
use crate::error::{Diagnosis, sqlstate};

/// A mistake and the token that it is about.
pub(super) type Mistake = (Diagnosis, TokenWithSpan);

/// Makes one token of literals that continue each other; it stands where the first of them began.
///
/// # Errors
/// 42601 for literals that stand beside each other without being one, 0A000 for escapes that cannot be read alone.
pub(super) fn join(tokens: &mut Vec<TokenWithSpan>) -> Result<(), Box<Mistake>> {
    let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut gap = Vec::new();
    for token in std::mem::take(tokens) {
        if matches!(token.token, Token::Whitespace(_)) {
            gap.push(token);
            continue;
        }
        // Spaces are kept with what follows them, so the last one is no space.
        let before = joined.last_mut().filter(|before| is_string(&before.token) && is_string(&token.token));
        let Some(before) = before else {
            joined.append(&mut gap);
            joined.push(token);
            continue;
        };
        match &token.token {
            Token::SingleQuotedString(more) if breaks_line(&gap) && !matches!(before.token, Token::DollarQuotedString(_)) => {
                if append(&mut before.token, more).is_none() {
                    let message = "an escape at the end of a continued string literal is not supported";
                    return Err(Box::new((Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message), token)));
                }
                before.span = Span::new(before.span.start, token.span.end);
                gap.clear();
            }
            other => return Err(Box::new((at_or_near(&other.to_string()), token))),
        }
    }
    joined.append(&mut gap);
    *tokens = joined;
    Ok(())
}

fn is_string(token: &Token) -> bool {
    matches!(
        token,
        Token::SingleQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::DollarQuotedString(_)
    )
}

/// Whether what stands between two tokens lets a string go on: a line break, other spaces, and comments that end with their line.
fn breaks_line(gap: &[TokenWithSpan]) -> bool {
    let is_comment = |token: &TokenWithSpan| matches!(token.token, Token::Whitespace(Whitespace::MultiLineComment(_)));
    let is_break = |token: &TokenWithSpan| {
        matches!(token.token, Token::Whitespace(Whitespace::Newline | Whitespace::SingleLineComment { .. }))
    };
    gap.iter().any(is_break) && !gap.iter().any(is_comment)
}

/// Adds a plain literal's text to a literal of any kind, whose escapes it then has; `None` when they cannot be read.
fn append(literal: &mut Token, more: &str) -> Option<()> {
    match literal {
        Token::EscapedStringLiteral(text) => text.push_str(&unescaped("E", more)?),
        Token::UnicodeStringLiteral(text) => text.push_str(&unescaped("U&", more)?),
        Token::SingleQuotedString(text)
        | Token::NationalStringLiteral(text)
        | Token::HexStringLiteral(text)
        | Token::SingleQuotedByteStringLiteral(text) => text.push_str(more),
        _ => return None,
    }
    Some(())
}

/// What the text of a plain literal is behind a prefix.
fn unescaped(prefix: &str, text: &str) -> Option<String> {
    if !text.contains('\\') {
        return Some(text.to_owned());
    }
    let literal = format!("{prefix}'{}'", text.replace('\'', "''"));
    let mut tokens = Tokenizer::new(&Postgres, &literal).tokenize().ok()?;
    match (tokens.pop()?, tokens.is_empty()) {
        (Token::EscapedStringLiteral(text) | Token::UnicodeStringLiteral(text), true) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(text: &str) -> Result<Vec<TokenWithSpan>, Box<Mistake>> {
        let mut tokens = Tokenizer::new(&Postgres, text).tokenize_with_location().unwrap();
        join(&mut tokens).map(|()| tokens)
    }

    fn check(text: &str, expected: Token) {
        let tokens = joined(text).unwrap();
        let found: Vec<&Token> = tokens.iter().map(|token| &token.token).collect();
        assert_eq!(found, [&expected], "{text}");
        assert_eq!((tokens[0].span.start.line, tokens[0].span.start.column), (1, 1), "{text}");
    }

    #[test]
    fn a_line_break_continues_a_string() {
        let plain = |text: &str| Token::SingleQuotedString(text.to_owned());
        check("'a'\n'b'", plain("ab"));
        check("'a' \t\n\n  'b'\r\n'c'", plain("abc"));
        check("'a' -- 'x'\n -- 'y'\n 'b'", plain("ab"));
        check("'it'\n'''s'\n'\\n'", plain("it's\\n"));
        check("E'a\\t'\n'\\n''b'", Token::EscapedStringLiteral("a\t\n'b".to_owned()));
        check("U&'\\00e9'\n'\\0041'", Token::UnicodeStringLiteral("\u{e9}A".to_owned()));
        check("B'01'\n'10'", Token::SingleQuotedByteStringLiteral("0110".to_owned()));
        check("X'1F'\n'a0'", Token::HexStringLiteral("1Fa0".to_owned()));
    }

    #[test]
    fn other_neighbours_are_errors() {
        for (text, place, message) in [
            ("'a' 'b'", (1, 5), "syntax error at or near \"'b'\""),
            ("'a' /* x\n */ 'b'", (2, 5), "syntax error at or near \"'b'\""),
            ("'a'\n/* x */\n'b'", (3, 1), "syntax error at or near \"'b'\""),
            ("'a'\n'b' 'c'", (2, 5), "syntax error at or near \"'c'\""),
            ("'a'\nE'b'", (2, 1), "syntax error at or near \"E'b'\""),
            ("$$a$$\n'b'", (2, 1), "syntax error at or near \"'b'\""),
            ("'a'\n$$b$$", (2, 1), "syntax error at or near \"$$b$$\""),
        ] {
            let (error, token) = *joined(text).unwrap_err();
            assert_eq!((error.sqlstate.as_str(), error.message.as_str()), ("42601", message), "{text}");
            assert_eq!((token.span.start.line, token.span.start.column), place, "{text}");
        }
    }

    #[test]
    fn what_stands_between_is_kept() {
        for text in ["'a',\n'b'", "'a' || \n'b'", "f('a')\n('b')", "'a'\nb\n'c'", " 'a' ; \n 'b' "] {
            let before = Tokenizer::new(&Postgres, text).tokenize_with_location().unwrap();
            assert_eq!(joined(text).unwrap(), before, "{text}");
        }
    }
}
