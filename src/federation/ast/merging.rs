//! Actions of MERGE that the parser does not know, spelled as ones that it knows: `DO NOTHING` and `INSERT DEFAULT VALUES`. The names in
//! them no client can write.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::ObjectName;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::HIDDEN;

/// What an invented column says of its action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// `DO NOTHING`
    Nothing,
    /// `INSERT DEFAULT VALUES`
    Defaults,
}

impl Mark {
    fn word(self) -> Token {
        let name = match self {
            Self::Nothing => "nothing",
            Self::Defaults => "default",
        };
        Token::make_word(&format!("{HIDDEN}{name}"), Some('"'))
    }

    /// The mark that a column is.
    pub fn of(column: &ObjectName) -> Option<Self> {
        let name = column.0.first()?.as_ident()?.value.strip_prefix(HIDDEN)?;
        match name {
            "nothing" => Some(Self::Nothing),
            "default" => Some(Self::Defaults),
            _ => None,
        }
    }
}

/// Spells the actions so that the parser knows them.
pub(super) fn mark(tokens: &mut Vec<TokenWithSpan>) {
    if !tokens.iter().any(|token| keyword(&token.token) == Keyword::MERGE) {
        return;
    }
    let is_written = |(_, token): &(usize, &TokenWithSpan)| !matches!(token.token, Token::Whitespace(_));
    let written = tokens.iter().enumerate().filter(is_written);
    let words: Vec<(usize, Keyword)> = written.map(|(place, token)| (place, keyword(&token.token))).collect();
    let mut is_matched = true;
    let mut instead: BTreeMap<usize, Vec<Token>> = BTreeMap::new();
    for window in words.windows(3) {
        let (first, second, spelled) = match window {
            [(_, Keyword::WHEN), (_, Keyword::MATCHED), _] => {
                is_matched = true;
                continue;
            }
            [(_, Keyword::WHEN), (_, Keyword::NOT), (_, Keyword::MATCHED)] => {
                is_matched = false;
                continue;
            }
            [(_, Keyword::THEN), (first, Keyword::DO), (second, Keyword::NOTHING)] if is_matched => {
                let word = |word: &str| Token::make_keyword(word);
                (first, second, vec![word("UPDATE"), word("SET"), Mark::Nothing.word(), Token::Eq, word("NULL")])
            }
            [(_, Keyword::THEN), (first, Keyword::DO), (second, Keyword::NOTHING)] => {
                let mut spelled = vec![Token::make_keyword("INSERT")];
                spelled.extend(values(Mark::Nothing));
                (first, second, spelled)
            }
            [(_, Keyword::INSERT), (first, Keyword::DEFAULT), (second, Keyword::VALUES)] if !is_matched => {
                (first, second, values(Mark::Defaults))
            }
            _ => continue,
        };
        instead.insert(*first, spelled);
        instead.insert(*second, Vec::new());
    }
    let mut spelled = Vec::with_capacity(tokens.len() + 8 * instead.len());
    for (place, token) in std::mem::take(tokens).into_iter().enumerate() {
        match instead.remove(&place) {
            Some(others) => spelled.extend(others.into_iter().map(|other| TokenWithSpan { token: other, span: token.span })),
            None => spelled.push(token),
        }
    }
    *tokens = spelled;
}

/// `("mark") VALUES (NULL)`
fn values(mark: Mark) -> Vec<Token> {
    let (open, close, word) = (Token::LParen, Token::RParen, Token::make_keyword);
    vec![open.clone(), mark.word(), close.clone(), word("VALUES"), open, word("NULL"), close]
}

fn keyword(token: &Token) -> Keyword {
    match token {
        Token::Word(word) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::{MergeAction, Statement};
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn marks(clauses: &str) -> Vec<Option<Mark>> {
        let sql = format!("MERGE INTO t USING s ON t.a = s.a {clauses}");
        let mut tokens = Tokenizer::new(&PostgreSqlDialect {}, &sql).tokenize_with_location().unwrap();
        mark(&mut tokens);
        let statement = Parser::new(&PostgreSqlDialect {}).with_tokens_with_locations(tokens).parse_statement().unwrap();
        let Statement::Merge(merge) = statement else { panic!("{sql}") };
        let found = merge.clauses.iter().map(|clause| match &clause.action {
            MergeAction::Insert(insert) => insert.columns.first().and_then(Mark::of),
            MergeAction::Update(update) => match &update.assignments.first().unwrap().target {
                datafusion::sql::sqlparser::ast::AssignmentTarget::ColumnName(name) => Mark::of(name),
                datafusion::sql::sqlparser::ast::AssignmentTarget::Tuple(_) => None,
            },
            MergeAction::Delete { .. } => None,
        });
        found.collect()
    }

    #[test]
    fn actions_are_marked() {
        let all = "WHEN MATCHED AND t.b THEN DO NOTHING WHEN NOT MATCHED AND s.b > 1 THEN do nothing \
                   WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT DEFAULT VALUES";
        assert_eq!(marks(all), [Some(Mark::Nothing), Some(Mark::Nothing), None, Some(Mark::Defaults)]);
        let plain = "WHEN MATCHED THEN UPDATE SET b = DEFAULT WHEN NOT MATCHED THEN INSERT (a) VALUES (DEFAULT)";
        assert_eq!(marks(plain), [None, None]);
    }

    #[test]
    fn other_statements_stay() {
        let sql = "INSERT INTO t DEFAULT VALUES";
        let mut tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().unwrap();
        mark(&mut tokens);
        assert_eq!(tokens.iter().map(|token| token.token.to_string()).collect::<String>(), sql);
    }
}
