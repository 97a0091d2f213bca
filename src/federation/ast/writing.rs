//! Words of statements that write which the parser does not know, spelled as names that no client can write: `ONLY` before the table,
//! `OVERRIDING … VALUE` behind the columns of INSERT, and targets of ON CONFLICT that are more than a list of columns.
//!
//! ```text
//! UPDATE ONLY (s.t)                        → UPDATE "␁only".s.t
//! INSERT INTO t (a) OVERRIDING USER VALUE  → INSERT INTO t (a, "␁user")
//! ON CONFLICT (lower(a)) WHERE b DO        → ON CONFLICT ("␁expression") DO
//! ```

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::HIDDEN;

/// The most tokens between the parentheses of `ONLY (a.b.c)`.
const NAME_TOKENS: usize = 5;

const OVERRIDING: &str = "overriding";

/// What an invented name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// `ONLY`
    Only,
    /// `OVERRIDING SYSTEM VALUE`
    System,
    /// `OVERRIDING USER VALUE`
    User,
    /// A target of ON CONFLICT that is no list of columns.
    Expression,
    /// A target of ON CONFLICT with a condition.
    Condition,
}

const ALL: [(Word, &str); 5] = [
    (Word::Only, "only"),
    (Word::System, "system"),
    (Word::User, "user"),
    (Word::Expression, "expression"),
    (Word::Condition, "condition"),
];

impl Word {
    fn token(self) -> Token {
        let name = ALL.iter().find(|(word, _)| *word == self).map_or("", |(_, name)| *name);
        Token::make_word(&format!("{HIDDEN}{name}"), Some('"'))
    }

    /// What a name stands for.
    pub fn of(name: &Ident) -> Option<Self> {
        let name = name.value.strip_prefix(HIDDEN)?;
        ALL.iter().find(|(_, known)| *known == name).map(|(word, _)| *word)
    }

    /// What the first part of a name stands for.
    pub fn first_of(name: &ObjectName) -> Option<Self> {
        name.0.first()?.as_ident().and_then(Self::of)
    }
}

/// Spells the words so that the parser reads them.
pub(super) fn mark(tokens: &mut Vec<TokenWithSpan>) {
    if !tokens.iter().any(|token| begins(&token.token)) {
        return;
    }
    let is_written = |(_, token): &(usize, &TokenWithSpan)| !matches!(token.token, Token::Whitespace(_));
    let written: Vec<usize> = tokens.iter().enumerate().filter(is_written).map(|(place, _)| place).collect();
    let mut marking = Marking { tokens: &*tokens, written, instead: BTreeMap::new() };
    for at in 0..marking.written.len() {
        marking.only(at);
        marking.overriding(at);
        marking.conflict(at);
    }
    let mut instead = marking.instead;
    if instead.is_empty() {
        return;
    }
    let mut spelled = Vec::with_capacity(tokens.len() + instead.len());
    for (place, token) in std::mem::take(tokens).into_iter().enumerate() {
        match instead.remove(&place) {
            Some(others) => spelled.extend(others.into_iter().map(|other| TokenWithSpan { token: other, span: token.span })),
            None => spelled.push(token),
        }
    }
    *tokens = spelled;
}

/// Whether a token may begin what is marked.
fn begins(token: &Token) -> bool {
    match token {
        Token::Word(word) if word.quote_style.is_none() => {
            matches!(word.keyword, Keyword::ONLY | Keyword::CONFLICT) || word.value.eq_ignore_ascii_case(OVERRIDING)
        }
        _ => false,
    }
}

struct Marking<'t> {
    tokens: &'t [TokenWithSpan],
    /// Places of what is no blank.
    written: Vec<usize>,
    /// What stands for a token, by its place.
    instead: BTreeMap<usize, Vec<Token>>,
}

impl Marking<'_> {
    fn token(&self, at: usize) -> Option<&Token> {
        self.written.get(at).and_then(|place| self.tokens.get(*place)).map(|token| &token.token)
    }

    fn keyword(&self, at: usize) -> Keyword {
        match self.token(at) {
            Some(Token::Word(word)) if word.quote_style.is_none() => word.keyword,
            _ => Keyword::NoKeyword,
        }
    }

    /// The keyword so many tokens before.
    fn before(&self, at: usize, back: usize) -> Keyword {
        at.checked_sub(back).map_or(Keyword::NoKeyword, |at| self.keyword(at))
    }

    fn spell(&mut self, at: usize, tokens: Vec<Token>) {
        if let Some(place) = self.written.get(at) {
            self.instead.insert(*place, tokens);
        }
    }

    fn only(&mut self, at: usize) {
        if self.keyword(at) != Keyword::ONLY {
            return;
        }
        let is_target = match self.before(at, 1) {
            Keyword::UPDATE => true,
            Keyword::FROM => self.before(at, 2) == Keyword::DELETE,
            Keyword::INTO => self.before(at, 2) == Keyword::MERGE,
            _ => false,
        };
        if !is_target {
            return;
        }
        self.spell(at, vec![Word::Only.token(), Token::Period]);
        if self.token(at + 1) == Some(&Token::LParen)
            && let Some(close) = (at + 2..at + 3 + NAME_TOKENS).find(|at| self.token(*at) == Some(&Token::RParen))
        {
            self.spell(at + 1, Vec::new());
            self.spell(close, Vec::new());
        }
    }

    fn overriding(&mut self, at: usize) {
        let is_word = match self.token(at) {
            Some(Token::Word(word)) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(OVERRIDING),
            _ => false,
        };
        let word = match self.keyword(at + 1) {
            Keyword::SYSTEM => Word::System,
            Keyword::USER => Word::User,
            _ => return,
        };
        if !is_word || self.keyword(at + 2) != Keyword::VALUE {
            return;
        }
        match at.checked_sub(1).filter(|before| self.token(*before) == Some(&Token::RParen)) {
            Some(before) => {
                self.spell(before, vec![Token::Comma, word.token(), Token::RParen]);
                self.spell(at, Vec::new());
            }
            None => self.spell(at, vec![Token::LParen, word.token(), Token::RParen]),
        }
        self.spell(at + 1, Vec::new());
        self.spell(at + 2, Vec::new());
    }

    fn conflict(&mut self, at: usize) {
        let is_target = self.is_conflict(at) && self.token(at + 2) == Some(&Token::LParen);
        let Some(close) = is_target.then(|| self.closing(at + 2)).flatten() else { return };
        let inner = at + 3..close;
        let is_list = inner.clone().all(|place| match self.token(place) {
            Some(Token::Word(_)) => (place - inner.start).is_multiple_of(2),
            Some(Token::Comma) => !(place - inner.start).is_multiple_of(2),
            _ => false,
        });
        let has_condition = self.keyword(close + 1) == Keyword::WHERE;
        let end = if has_condition { self.end_of_condition(close + 2) } else { Some(close + 1) };
        // Anything else may be a condition of a join that calls a function of this name.
        let is_clause =
            |end: &usize| self.keyword(*end) == Keyword::DO && matches!(self.keyword(end + 1), Keyword::NOTHING | Keyword::UPDATE);
        let Some(end) = end.filter(is_clause) else { return };
        let word = match (is_list, has_condition) {
            (true, false) => return,
            (true, true) => Word::Condition,
            (false, _) => Word::Expression,
        };
        if inner.is_empty() {
            return;
        }
        self.spell(inner.start, vec![word.token()]);
        for place in (inner.start + 1..close).chain(close + 1..end) {
            self.spell(place, Vec::new());
        }
    }

    fn is_conflict(&self, at: usize) -> bool {
        self.keyword(at) == Keyword::ON && self.keyword(at + 1) == Keyword::CONFLICT
    }

    /// Where the parenthesis ends that opens here.
    fn closing(&self, open: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for at in open..self.written.len() {
            match self.token(at) {
                Some(Token::LParen) => depth += 1,
                Some(Token::RParen) if depth == 1 => return Some(at),
                Some(Token::RParen) => depth -= 1,
                Some(Token::SemiColon) => return None,
                _ => {}
            }
        }
        None
    }

    /// Where `DO` follows a condition that begins here.
    fn end_of_condition(&self, start: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for at in start..self.written.len() {
            match self.token(at) {
                Some(Token::LParen) => depth += 1,
                Some(Token::RParen) => depth = depth.checked_sub(1)?,
                Some(Token::SemiColon) => return None,
                _ if depth == 0 && self.keyword(at) == Keyword::DO => return Some(at),
                _ if self.is_conflict(at) => return None,
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;

    /// The text as it is marked, with `~` for what no client can write.
    fn marked(sql: &str) -> String {
        let mut tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().unwrap();
        mark(&mut tokens);
        let text: String = tokens.iter().map(|token| token.token.to_string()).collect();
        assert!(Parser::new(&PostgreSqlDialect {}).with_tokens_with_locations(tokens).parse_statement().is_ok(), "{sql}: {text}");
        text.split_whitespace().collect::<Vec<_>>().join(" ").replace(HIDDEN, "~")
    }

    #[test]
    fn words_that_the_parser_does_not_know_are_marked() {
        let rows = [
            ("UPDATE ONLY t SET a = 1", "UPDATE \"~only\". t SET a = 1"),
            ("update only (s.t) as x set a = 1", "update \"~only\". s.t as x set a = 1"),
            ("DELETE FROM ONLY s.t USING u", "DELETE FROM \"~only\". s.t USING u"),
            ("INSERT INTO t (a, b) OVERRIDING SYSTEM VALUE VALUES (1, 2)", "INSERT INTO t (a, b,\"~system\") VALUES (1, 2)"),
            ("INSERT INTO t overriding user value SELECT 1", "INSERT INTO t (\"~user\") SELECT 1"),
            ("INSERT INTO t AS x OVERRIDING USER VALUE VALUES (1)", "INSERT INTO t AS x (\"~user\") VALUES (1)"),
            (
                "INSERT INTO t VALUES (1) ON CONFLICT (lower(a), b) DO UPDATE SET a = 1 WHERE t.a > 1",
                "INSERT INTO t VALUES (1) ON CONFLICT (\"~expression\" ) DO UPDATE SET a = 1 WHERE t.a > 1",
            ),
            (
                "INSERT INTO t VALUES (1) ON CONFLICT (a, b) WHERE (b > 1) DO NOTHING",
                "INSERT INTO t VALUES (1) ON CONFLICT (\"~condition\" ) DO NOTHING",
            ),
            (
                "INSERT INTO t VALUES (1) ON CONFLICT (a text_ops) WHERE b DO NOTHING RETURNING a",
                "INSERT INTO t VALUES (1) ON CONFLICT (\"~expression\" ) DO NOTHING RETURNING a",
            ),
        ];
        for (sql, expected) in rows {
            assert_eq!(marked(sql), expected, "{sql}");
        }
    }

    #[test]
    fn other_statements_stay() {
        for sql in [
            "INSERT INTO t (a) VALUES (1) ON CONFLICT (a, \"b\") DO UPDATE SET a = excluded.a WHERE t.a > 1",
            "INSERT INTO t VALUES (1) ON CONFLICT ON CONSTRAINT c DO NOTHING",
            "INSERT INTO t SELECT 1 FROM a JOIN b ON conflict(a.x + 1) WHERE a.y ON CONFLICT (a) DO NOTHING",
            "SELECT \"overriding\" AS system, \"only\" FROM t FETCH FIRST 1 ROWS ONLY",
            "UPDATE \"only\" SET a = 1",
        ] {
            assert_eq!(marked(sql), sql);
        }
    }

    #[test]
    fn names_tell_their_words() {
        for (word, name) in ALL {
            let ident = Ident::with_quote('"', format!("{HIDDEN}{name}"));
            assert_eq!(Word::of(&ident), Some(word));
            assert_eq!(Word::first_of(&ObjectName::from(vec![ident, Ident::new("t")])), Some(word));
            assert_eq!(Word::of(&Ident::new(name)), None);
        }
    }
}
