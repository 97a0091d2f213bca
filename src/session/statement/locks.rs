//! Row locks behind a query: `FOR UPDATE`, `FOR NO KEY UPDATE`, `FOR SHARE`, `FOR KEY SHARE`. The parser knows two of them and one name
//! behind OF, so they are taken out of the tokens before it reads them. Those of queries inside others are left to it.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};

use super::{Kind, Parsed, refuse};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::locate::character_of;
use crate::federation::ast::syntax::at_or_near;
use crate::federation::locks::{Clause, Locking};
use crate::stores::lock::{RowLock, Strength, Waiting};

/// First words of statements whose locks are taken.
const BEGINNINGS: &[Keyword] =
    &[Keyword::SELECT, Keyword::WITH, Keyword::VALUES, Keyword::PREPARE, Keyword::EXPLAIN, Keyword::DECLARE];

/// Words that may follow a clause.
const FOLLOWERS: &[Keyword] = &[Keyword::FOR, Keyword::LIMIT, Keyword::OFFSET, Keyword::FETCH];

/// Takes the clauses of each statement of a text, by the number of the statement. Blanks take their places.
///
/// # Errors
/// 42601 with its place.
pub(super) fn take(tokens: &mut [TokenWithSpan], text: &str) -> Result<BTreeMap<usize, Vec<Clause>>, Diagnosis> {
    let mut taken: BTreeMap<usize, Vec<Clause>> = BTreeMap::new();
    if !tokens.iter().any(|token| keyword_of(&token.token) == Keyword::FOR) {
        return Ok(taken);
    }
    let (mut statement, mut depth, mut at) = (0, 0_i64, 0);
    // Of the statement and of the token before.
    let (mut first, mut before) = (None, Keyword::NoKeyword);
    while let Some(token) = tokens.get(at) {
        let keyword = keyword_of(&token.token);
        match &token.token {
            Token::Whitespace(_) => {
                at += 1;
                continue;
            }
            Token::SemiColon => {
                statement += usize::from(first.is_some());
                (first, before, depth) = (None, Keyword::NoKeyword, 0);
                at += 1;
                continue;
            }
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth -= 1,
            _ => {}
        }
        let first = *first.get_or_insert(if token.token == Token::LParen { Keyword::SELECT } else { keyword });
        let may_lock = keyword == Keyword::FOR && depth == 0 && before != Keyword::AS && BEGINNINGS.contains(&first);
        let found = if may_lock { Reader { tokens: &*tokens, at: at + 1 }.clause(text)? } else { None };
        let end = match found {
            Some((clause, end)) => {
                taken.entry(statement).or_default().push(clause);
                end
            }
            None => at,
        };
        for token in tokens.iter_mut().take(end).skip(at) {
            token.token = Token::Whitespace(Whitespace::Space);
        }
        before = keyword;
        at = end.max(at + 1);
    }
    Ok(taken)
}

/// The statement with the clauses that were behind it.
pub(super) fn attach(kind: Kind, clauses: Vec<Clause>) -> Kind {
    let words = clauses.first().map_or("FOR UPDATE", |clause| clause.lock.strength.words());
    match kind {
        Kind::Query(query) => Kind::Lock(Box::new(Locking { query, clauses })),
        Kind::Prepare { name, types, body } => match *body {
            Parsed { text, kind: kind @ Kind::Query(_) } => {
                Kind::Prepare { name, types, body: Box::new(Parsed { text, kind: attach(kind, clauses) }) }
            }
            _ => refuse(sqlstate::FEATURE_NOT_SUPPORTED, &format!("{words} is supported behind queries only")),
        },
        refused @ Kind::Refused(_) => refused,
        _ => refuse(sqlstate::FEATURE_NOT_SUPPORTED, &format!("{words} is supported behind queries only")),
    }
}

fn keyword_of(token: &Token) -> Keyword {
    match token {
        Token::Word(word) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

/// Reads tokens one after the other.
struct Reader<'t> {
    tokens: &'t [TokenWithSpan],
    at: usize,
}

impl Reader<'_> {
    /// The next token that is no blank, and where it is.
    fn peek(&self) -> Option<(usize, &TokenWithSpan)> {
        let mut rest = self.tokens.iter().enumerate().skip(self.at);
        rest.find(|(_, token)| !matches!(token.token, Token::Whitespace(_)))
    }

    /// Goes past a token if it is this one.
    fn takes(&mut self, wanted: impl Fn(&Token) -> bool) -> bool {
        let place = self.peek().filter(|(_, token)| wanted(&token.token)).map(|(place, _)| place);
        self.at = place.map_or(self.at, |place| place + 1);
        place.is_some()
    }

    /// Goes past words if all of them are next.
    fn words(&mut self, words: &[Keyword]) -> bool {
        let start = self.at;
        let all = words.iter().all(|word| self.takes(|token| keyword_of(token) == *word));
        if !all {
            self.at = start;
        }
        all
    }

    /// What follows `FOR`, and where it ends; `None` when it is no lock.
    fn clause(mut self, text: &str) -> Result<Option<(Clause, usize)>, Diagnosis> {
        let strength = if self.words(&[Keyword::UPDATE]) {
            Strength::Update
        } else if self.words(&[Keyword::NO, Keyword::KEY, Keyword::UPDATE]) {
            Strength::NoKeyUpdate
        } else if self.words(&[Keyword::SHARE]) {
            Strength::Share
        } else if self.words(&[Keyword::KEY, Keyword::SHARE]) {
            Strength::KeyShare
        } else {
            return Ok(None);
        };
        let mut of = Vec::new();
        if self.words(&[Keyword::OF]) {
            of.push(self.name(strength, text)?);
            while self.takes(|token| *token == Token::Comma) {
                of.push(self.name(strength, text)?);
            }
        }
        let waiting = if self.words(&[Keyword::NOWAIT]) {
            Waiting::Fail
        } else if self.words(&[Keyword::SKIP, Keyword::LOCKED]) {
            Waiting::Skip
        } else {
            Waiting::Wait
        };
        // With the clause gone the parser would take what follows for something else, such as an alias.
        if let Some((_, next)) = self.peek()
            && next.token != Token::SemiColon
            && !FOLLOWERS.contains(&keyword_of(&next.token))
        {
            let position = character_of(text, next.span.start.line, next.span.start.column);
            return Err(at_or_near(&next.token.to_string()).with_position(position));
        }
        Ok(Some((Clause { lock: RowLock { strength, waiting }, of }, self.at)))
    }

    fn name(&mut self, strength: Strength, text: &str) -> Result<Ident, Diagnosis> {
        let Some((place, found)) = self.peek() else {
            return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, "syntax error at end of input"));
        };
        let position = character_of(text, found.span.start.line, found.span.start.column);
        let name = match &found.token {
            Token::Word(word) => Ident { value: word.value.clone(), quote_style: word.quote_style, span: found.span },
            other => return Err(at_or_near(&other.to_string()).with_position(position)),
        };
        self.at = place + 1;
        if self.takes(|token| *token == Token::Period) {
            let message = format!("{} must specify unqualified relation names", strength.words());
            return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, message).with_position(position));
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn clauses(text: &str) -> Vec<String> {
        let parsed = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let kind = &parsed.last().unwrap().kind;
        let kind = if let Kind::Prepare { body, .. } = kind { &body.kind } else { kind };
        let Kind::Lock(locking) = kind else { panic!("{text}: {kind:?}") };
        let shown = |clause: &Clause| {
            let of: Vec<&str> = clause.of.iter().map(|name| name.value.as_str()).collect();
            format!("{}{} [{}]", clause.lock.strength.words(), clause.lock.waiting.words(), of.join(" "))
        };
        locking.clauses.iter().map(shown).collect()
    }

    #[test]
    fn clauses_are_read_as_in_postgresql() {
        for (text, expected) in [
            ("SELECT 1 FROM t FOR UPDATE", vec!["FOR UPDATE []"]),
            ("select * from t for no key update of t, u nowait", vec!["FOR NO KEY UPDATE NOWAIT [t u]"]),
            ("SELECT 1; TABLE t FOR KEY SHARE SKIP LOCKED;", vec!["FOR KEY SHARE SKIP LOCKED []"]),
            ("SELECT 1 FROM a, b FOR SHARE OF a FOR UPDATE OF b LIMIT 1", vec!["FOR SHARE [a]", "FOR UPDATE [b]"]),
            ("WITH x AS (SELECT 1) SELECT * FROM x ORDER BY 1 LIMIT 1 FOR UPDATE", vec!["FOR UPDATE []"]),
            ("(SELECT 1 FROM t) FOR UPDATE", vec!["FOR UPDATE []"]),
            ("PREPARE p AS SELECT 1 FROM t WHERE a = $1 FOR SHARE", vec!["FOR SHARE []"]),
        ] {
            assert_eq!(clauses(text), expected, "{text}");
        }
        let parsed = parse("SELECT a FROM t FOR UPDATE LIMIT 2").unwrap();
        let Kind::Lock(locking) = &parsed[0].kind else { panic!("a lock") };
        assert!(locking.query.limit_clause.is_some() && locking.query.locks.is_empty());
    }

    #[test]
    fn what_is_no_clause_stays() {
        for text in [
            "SELECT substring('abc' FOR 2)",
            "SELECT 1 AS for",
            "DECLARE c CURSOR FOR SELECT 1",
            "SELECT * FROM (SELECT 1 FROM t FOR UPDATE) s",
        ] {
            let kind = parse(text).unwrap().pop().unwrap().kind;
            assert!(!matches!(kind, Kind::Lock(_)), "{text}");
        }
        for text in ["EXPLAIN SELECT 1 FROM t FOR UPDATE", "DECLARE c CURSOR FOR SELECT 1 FROM t FOR SHARE"] {
            let kind = parse(text).unwrap().pop().unwrap().kind;
            assert!(matches!(&kind, Kind::Refused(error) if error.sqlstate == "0A000"), "{text}: {kind:?}");
        }
        for (text, position) in [
            ("SELECT 1 FROM t FOR UPDATE OF", None),
            ("SELECT 1 FROM t FOR UPDATE OF 1", Some(31)),
            ("SELECT 1 FROM t FOR UPDATE OF s.t", Some(31)),
            ("SELECT 1 FROM t FOR UPDATE x", Some(28)),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.sqlstate.as_str(), error.position), ("42601", position), "{text}: {error}");
        }
    }
}
