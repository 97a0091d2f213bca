//! How long a statement's chains of operators may be, and how deep the words nest that the parser tries twice. Asked of the tokens,
//! before there is a tree: what is built of a chain is as deep as the chain is long, and even dropping it uses the stack.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::syntax::too_deep;
use super::tokens::LISTS;
use crate::error::{Diagnosis, Limit, sqlstate};

/// Most operators of one chain with those of the chains that it stands in, AND and OR aside: `a + b + c …` is a tree as deep as it is
/// long, and passes over it use the stack.
const CHAIN_MAX: usize = 250;
/// Most AND and OR of a statement; chains of them are balanced first ([`super::depth`]).
const CONDITIONS_MAX: usize = 2_000;
/// How deep the words that are parsed twice may nest.
const RETRIED_DEPTH_MAX: usize = 16;

/// Checks the tokens of a text of any number of statements.
///
/// # Errors
/// 54001
pub fn bound(tokens: &[TokenWithSpan]) -> Result<(), Diagnosis> {
    if retried_depth(tokens) > RETRIED_DEPTH_MAX {
        return Err(too_deep(RETRIED_DEPTH_MAX));
    }
    let mut chains = Chains { open: vec![Level::default()], ..Chains::default() };
    for token in tokens {
        chains.take(&token.token);
        if chains.infix > CHAIN_MAX || chains.postfix > CHAIN_MAX || chains.conditions > CONDITIONS_MAX {
            return Err(Diagnosis::new(sqlstate::STATEMENT_TOO_COMPLEX, "statement has too many operators")
                .with_detail(format!(
                    "At most {CONDITIONS_MAX} AND and OR are allowed, and chains of at most {CHAIN_MAX} other operators."
                ))
                .with_hint("A long chain of OR over one column is an IN list.")
                .at(Limit::Complexity));
        }
    }
    Ok(())
}

/// The operators between a parenthesis or CASE and its end.
#[derive(Default)]
struct Level {
    /// Operators with two operands, since the last comma or clause.
    infix: usize,
    /// Operators behind their operand, since the last one with two.
    postfix: usize,
    /// Set operators.
    sets: usize,
}

/// The operators of all open levels.
#[derive(Default)]
struct Chains {
    open: Vec<Level>,
    infix: usize,
    postfix: usize,
    conditions: usize,
    /// The word before, and whether a period is.
    before: Option<Keyword>,
    names: bool,
}

impl Chains {
    fn take(&mut self, token: &Token) {
        if matches!(token, Token::Whitespace(_)) {
            return;
        }
        let names = std::mem::replace(&mut self.names, *token == Token::Period);
        let before = self.before.take();
        match token {
            Token::LParen => self.open.push(Level::default()),
            // A subscript stands behind what it is taken of.
            Token::LBracket => {
                self.behind();
                self.open.push(Level::default());
            }
            Token::RParen | Token::RBracket => self.close(),
            Token::Comma => self.part(),
            Token::SemiColon => {
                *self = Self { open: vec![Level::default()], ..Self::default() };
            }
            Token::DoubleColon => self.behind(),
            Token::Word(word) if word.quote_style.is_none() && !names => {
                self.word(word.keyword, before);
                self.before = Some(word.keyword);
            }
            Token::Word(_) => {}
            other if is_operand(other) => {}
            _ => self.between(),
        }
    }

    fn word(&mut self, word: Keyword, before: Option<Keyword>) {
        match word {
            Keyword::CASE => self.open.push(Level::default()),
            Keyword::END => self.close(),
            Keyword::AND | Keyword::OR => {
                self.conditions += 1;
                self.part();
            }
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS => {
                self.part();
                if let Some(level) = self.open.last_mut() {
                    level.sets += 1;
                    self.infix += 1;
                }
            }
            Keyword::BY if before.is_some_and(|before| LISTS.contains(&before)) => self.part(),
            word if PARTS.contains(&word) => self.part(),
            word if INFIX.contains(&word) => self.between(),
            word if POSTFIX.contains(&word) => self.behind(),
            _ => {}
        }
    }

    /// An operator between two operands.
    fn between(&mut self) {
        if let Some(level) = self.open.last_mut() {
            self.postfix -= level.postfix;
            level.postfix = 0;
            level.infix += 1;
            self.infix += 1;
        }
    }

    /// An operator behind its operand.
    fn behind(&mut self) {
        if let Some(level) = self.open.last_mut() {
            level.postfix += 1;
            self.postfix += 1;
        }
    }

    /// What follows is no operand of what was before.
    fn part(&mut self) {
        if let Some(level) = self.open.last_mut() {
            self.infix -= level.infix;
            self.postfix -= level.postfix;
            (level.infix, level.postfix) = (0, 0);
        }
    }

    fn close(&mut self) {
        // What closes nothing is an error of syntax, or the name of a command.
        if self.open.len() > 1
            && let Some(level) = self.open.pop()
        {
            self.infix -= level.infix + level.sets;
            self.postfix -= level.postfix;
        }
    }
}

/// Words before which an expression ends, besides BY of a list. They are reserved: none is a column that a chain could be made of.
const PARTS: &[Keyword] =
    &[Keyword::SELECT, Keyword::WHERE, Keyword::HAVING, Keyword::JOIN, Keyword::ON, Keyword::WHEN, Keyword::THEN, Keyword::ELSE];

/// Words between two operands.
const INFIX: &[Keyword] = &[
    Keyword::LIKE,
    Keyword::ILIKE,
    Keyword::SIMILAR,
    Keyword::RLIKE,
    Keyword::REGEXP,
    Keyword::OVERLAPS,
    Keyword::OPERATOR,
    Keyword::XOR,
    Keyword::DIV,
];

/// Words behind an operand, whose own operands have an end.
const POSTFIX: &[Keyword] = &[Keyword::IS, Keyword::NOTNULL, Keyword::IN, Keyword::BETWEEN, Keyword::COLLATE, Keyword::AT];

fn is_operand(token: &Token) -> bool {
    matches!(
        token,
        Token::EOF
            | Token::Whitespace(_)
            | Token::Number(..)
            | Token::Char(_)
            | Token::SingleQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::DollarQuotedString(_)
            | Token::Placeholder(_)
            | Token::Period
    )
}

/// How deep `NOT (`, `CAST (`, `CASE` and their like nest. When what is inside does not parse, the parser tries each of
/// them again as a plain function or column, so the work doubles with every level and no cancel could end it.
fn retried_depth(tokens: &[TokenWithSpan]) -> usize {
    let (mut open, mut depth, mut deepest) = (Vec::new(), 0_usize, 0);
    let (mut before, mut names) = (Keyword::NoKeyword, false);
    for token in tokens {
        if matches!(token.token, Token::Whitespace(_)) {
            continue;
        }
        let is_name = std::mem::replace(&mut names, token.token == Token::Period);
        let word = match &token.token {
            // Behind a period every word is a name, but the parser tries whether it begins an expression.
            Token::Word(word) if is_name && word.keyword == Keyword::END => Keyword::NoKeyword,
            Token::Word(word) if word.quote_style.is_none() => word.keyword,
            Token::LParen | Token::LBracket => {
                let retried = RETRIED.contains(&before);
                open.push(retried);
                depth += usize::from(retried);
                Keyword::NoKeyword
            }
            Token::RParen | Token::RBracket => {
                depth = depth.saturating_sub(usize::from(open.pop().unwrap_or(false)));
                Keyword::NoKeyword
            }
            _ => Keyword::NoKeyword,
        };
        match word {
            Keyword::CASE => depth += 1,
            Keyword::END => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
        before = word;
    }
    deepest
}

/// Words with a grammar of their own that may also be plain names.
const RETRIED: &[Keyword] = &[
    Keyword::NOT,
    Keyword::CAST,
    Keyword::TRY_CAST,
    Keyword::SAFE_CAST,
    Keyword::CONVERT,
    Keyword::TRY_CONVERT,
    Keyword::EXTRACT,
    Keyword::CEIL,
    Keyword::FLOOR,
    Keyword::POSITION,
    Keyword::SUBSTRING,
    Keyword::SUBSTR,
    Keyword::OVERLAY,
    Keyword::TRIM,
    Keyword::ARRAY,
    Keyword::INTERVAL,
    Keyword::MAP,
    Keyword::MATCH,
    Keyword::PRIOR,
    Keyword::STRUCT,
];

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::super::postgres::Postgres;
    use super::*;

    fn check(text: &str, expected: bool) {
        let tokens = Tokenizer::new(&Postgres, text).tokenize_with_location().unwrap();
        assert_eq!(bound(&tokens).is_ok(), expected, "{} … {}", &text[..text.len().min(60)], text.len());
    }

    #[test]
    fn names_behind_a_period_close_nothing() {
        check(&format!("SELECT {}t.end{}", "NOT (t.end OR ".repeat(16), ")".repeat(16)), true);
        check(&format!("SELECT {}t.end{}", "NOT (t.end OR ".repeat(17), ")".repeat(17)), false);
    }

    #[test]
    fn chains_of_every_operator_end() {
        for (start, more) in [
            ("SELECT 1", " + 1"),
            ("SELECT 1", " = 1"),
            ("SELECT 1", " < 1"),
            ("SELECT 1", " - - 1"),
            ("SELECT 1", "::int"),
            ("SELECT a", "[1]"),
            ("SELECT a", " -> 'x'"),
            ("SELECT a", " @> b"),
            ("SELECT a", " IS NULL"),
            ("SELECT a", " IS DISTINCT FROM b"),
            ("SELECT a", " LIKE 'x'"),
            ("SELECT a", " IN (1, 2)"),
            ("SELECT a", " COLLATE \"C\""),
            ("SELECT a", " AT TIME ZONE 'UTC'"),
            ("SELECT 1", " + CASE WHEN a THEN b ELSE c END"),
            ("SELECT 1", " + (SELECT a FROM b WHERE c)"),
            ("SELECT by", " + by"),
            ("SELECT values", " + values"),
            ("SELECT t.where", " + t.where"),
            ("SELECT t.by", " + t . by"),
            ("SELECT 1", " UNION SELECT 1"),
            ("SELECT 1", " EXCEPT SELECT 1"),
            ("SELECT 1", " INTERSECT ALL SELECT 1"),
        ] {
            check(&format!("{start}{}", more.repeat(120)), true);
            check(&format!("{start}{}", more.repeat(251)), false);
        }
        check(&format!("SELECT a{}", " OR b = 1".repeat(2_000)), true);
        check(&format!("SELECT a{}", " OR b = 1".repeat(2_001)), false);
    }

    #[test]
    fn what_stands_beside_does_not_add_up() {
        check(&format!("SELECT a IN (1{})", ", -1".repeat(5_000)), true);
        check(&format!("SELECT 1{}", ", count(*)".repeat(5_000)), true);
        check(&"SELECT * FROM t;".repeat(5_000), true);
        check(&format!("SELECT 0{}", " + a::int".repeat(200)), true);
        check(&format!("SELECT 1{0} GROUP BY 1{0} ORDER BY 1{0}", " + a".repeat(120)), true);
        check(&format!("SELECT 1{}", ", rank() OVER (PARTITION BY a + 1 ORDER BY b + 1)".repeat(500)), true);
        check(&format!("VALUES (1 + 1){}", ", (1 + 1)".repeat(500)), true);
        check(&format!("SELECT CASE a {} END", "WHEN 1 THEN b + 1 ".repeat(5_000)), true);
        check(&format!("SELECT 1 FROM a{}", " JOIN b ON a.x = b.x".repeat(500)), true);
        check(
            &format!("SELECT 1 WHERE a = 1{}; SELECT 1 WHERE a = 1{}", " AND b = 2".repeat(1_500), " AND b = 2".repeat(1_500)),
            true,
        );
    }

    #[test]
    fn what_stands_inside_adds_up() {
        let inner = format!("1{}", " + 1".repeat(100));
        check(&format!("SELECT 1{} + ({inner})", " + 1".repeat(100)), true);
        check(&format!("SELECT 1{} + ({inner} + ({inner}))", " + 1".repeat(100)), false);
    }
}
