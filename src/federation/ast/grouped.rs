//! Members of `ROLLUP`, `CUBE` and `GROUPING SETS` that begin with a parenthesis and go on behind it: `ROLLUP ((a + 1)::bigint, b)`.
//!
//! The parser takes a parenthesis there for that of a set of its own, and ends at it. Such members get another pair around
//! them, which makes them sets of one expression; nothing else is changed.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// Puts parentheses around members of grouping sets that only begin with one.
pub(super) fn enclose(tokens: &mut Vec<TokenWithSpan>) {
    let mut members = Vec::new();
    let mut before = [Keyword::NoKeyword; 2];
    for (place, token) in tokens.iter().enumerate() {
        let keyword = match &token.token {
            Token::Whitespace(_) => continue,
            Token::Word(word) if word.quote_style.is_none() => word.keyword,
            _ => Keyword::NoKeyword,
        };
        let opens_sets = matches!(before, [_, Keyword::ROLLUP | Keyword::CUBE] | [Keyword::GROUPING, Keyword::SETS]);
        if opens_sets && token.token == Token::LParen {
            find_members(tokens, place, &mut members);
        }
        before = [before[1], keyword];
    }
    if members.is_empty() {
        return;
    }
    let opened: BTreeSet<usize> = members.iter().map(|(first, _)| *first).collect();
    let mut closed: BTreeMap<usize, usize> = BTreeMap::new();
    members.iter().for_each(|(_, last)| *closed.entry(*last).or_default() += 1);
    let mut enclosed = Vec::with_capacity(tokens.len() + 2 * members.len());
    for (place, token) in std::mem::take(tokens).into_iter().enumerate() {
        let span = token.span;
        if opened.contains(&place) {
            enclosed.push(TokenWithSpan { token: Token::LParen, span });
        }
        enclosed.push(token);
        for _ in 0..closed.get(&place).copied().unwrap_or(0) {
            enclosed.push(TokenWithSpan { token: Token::RParen, span });
        }
    }
    *tokens = enclosed;
}

/// The first and last token of each member, within the parenthesis at `open`, that begins with a parenthesis of which it does not
/// consist.
fn find_members(tokens: &[TokenWithSpan], open: usize, members: &mut Vec<(usize, usize)>) {
    let mut depth = 0_usize;
    let mut member = Member::default();
    for (place, token) in tokens.iter().enumerate().skip(open + 1) {
        match &token.token {
            Token::Whitespace(_) => continue,
            Token::Comma | Token::RParen if depth == 0 => {
                members.extend(member.begun_only());
                if token.token == Token::RParen {
                    return;
                }
                member = Member::default();
                continue;
            }
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        member.take(place, &token.token, depth);
    }
}

/// What has been read of a member.
#[derive(Default)]
struct Member {
    /// Its first token and its last so far.
    range: Option<(usize, usize)>,
    /// Whether the first is a parenthesis.
    is_opened: bool,
    /// Where that is closed.
    closed_at: Option<usize>,
}

impl Member {
    fn take(&mut self, place: usize, token: &Token, depth: usize) {
        let first = self.range.map_or(place, |(first, _)| first);
        self.is_opened |= self.range.is_none() && *token == Token::LParen;
        self.range = Some((first, place));
        if depth == 0 && *token == Token::RParen && self.closed_at.is_none() {
            self.closed_at = Some(place);
        }
    }

    fn begun_only(&self) -> Option<(usize, usize)> {
        self.range.filter(|(_, last)| self.is_opened && self.closed_at.is_some_and(|closed| closed < *last))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;

    #[test]
    fn only_members_that_go_on_behind_their_parenthesis_get_another() {
        for (text, expected) in [
            ("GROUP BY ROLLUP ((a+1)::bigint, b)", "GROUP BY ROLLUP (((a+1)::bigint), b)"),
            ("GROUP BY CUBE(b, (a) + (c))", "GROUP BY CUBE(b, ((a) + (c)))"),
            ("GROUP BY grouping sets ((a, b), (), (a) % 2)", "GROUP BY grouping sets ((a, b), (), ((a) % 2))"),
            ("GROUP BY ROLLUP ((a), (b, c), f((d)), e)", "GROUP BY ROLLUP ((a), (b, c), f((d)), e)"),
            ("GROUP BY \"rollup\" ((a) + 1)", "GROUP BY \"rollup\" ((a) + 1)"),
            ("SELECT sets ((a) + 1)", "SELECT sets ((a) + 1)"),
            ("GROUP BY ROLLUP ((a) + 1", "GROUP BY ROLLUP ((a) + 1"),
        ] {
            let mut tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().unwrap();
            enclose(&mut tokens);
            assert_eq!(tokens.iter().map(|token| token.token.to_string()).collect::<String>(), expected, "{text}");
        }
    }
}
