//! CHECK constraints as SQL text: those in the statement that made a table, and the columns that an expression mentions.
//! Nothing is evaluated here: clients are shown the conditions in the store's own words.

use super::super::schema::Column;

/// A CHECK constraint of a `CREATE TABLE` statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its name, when it has one.
    pub name: Option<String>,
    /// The column in whose definition it stands; `None` for one of the table's own.
    pub column: Option<String>,
    /// The condition, without its outer parentheses.
    pub expression: String,
}

/// The CHECK constraints of a `CREATE TABLE` statement, in order. The statement was accepted by its store, so this only has
/// to find its way in it.
pub fn in_create_table(statement: &str) -> Vec<Written> {
    let tokens = tokens(statement);
    let text = |place: usize| tokens.get(place).map_or("", |token| token.text);
    let (mut found, mut place, mut depth) = (Vec::new(), 0_usize, 0_usize);
    let (mut column, mut name) = (None, None);
    while place < tokens.len() {
        let word = text(place);
        match word {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ if depth == 1 && is(word, "CONSTRAINT") => {
                name = identifier(text(place + 1));
                place += 1;
            }
            _ if depth == 1 && is(word, "CHECK") && text(place + 1) == "(" => {
                let end = closing(&tokens, place + 1);
                let expression = between(statement, &tokens, place + 1, end).to_owned();
                found.push(Written { name: name.take(), column: column.clone(), expression });
                place = end;
            }
            // Another constraint took the name.
            _ if depth == 1 => name = None,
            _ => {}
        }
        if depth == 1 && matches!(word, "(" | ",") {
            let first = text(place + 1);
            let of_table = ["CONSTRAINT", "CHECK", "PRIMARY", "UNIQUE", "FOREIGN"].iter().any(|keyword| is(first, keyword));
            column = if of_table { None } else { identifier(first) };
            // The name of a column may be any word, also one that means something elsewhere.
            place += usize::from(!of_table);
        }
        place += 1;
    }
    found
}

/// Ordinals of the columns that an expression mentions, in table order; names compare without regard to the case of ASCII
/// letters, and a word before a parenthesis is a function.
pub fn columns_in(expression: &str, columns: &[Column]) -> Vec<usize> {
    let tokens = tokens(expression);
    let called = |place: usize| tokens.get(place + 1).is_some_and(|next| next.text == "(");
    let names: Vec<String> = (tokens.iter().enumerate())
        .filter(|(place, token)| !(called(*place) && token.text.starts_with(is_word)))
        .filter_map(|(_, token)| identifier(token.text))
        .collect();
    let mentioned = |column: &Column| names.iter().any(|name| name.eq_ignore_ascii_case(column.name()));
    columns.iter().enumerate().filter(|(_, column)| mentioned(column)).map(|(ordinal, _)| ordinal).collect()
}

#[derive(Debug)]
struct Token<'a> {
    text: &'a str,
    start: usize,
}

/// Words, quoted things and single characters; white space and comments are left out.
fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' | '`' => quoted_length(rest, first),
            '[' => rest.find(']').map_or(rest.len(), |end| end + 1),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.get(2..).and_then(|inner| inner.find("*/")).map_or(rest.len(), |end| end + 4),
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let start = sql.len() - rest.len();
        let (text, after) = rest.split_at(length);
        if !(first.is_whitespace() || text.starts_with("--") || text.starts_with("/*")) {
            tokens.push(Token { text, start });
        }
        rest = after;
    }
    tokens
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '$')
}

/// Bytes of a quoted thing at the start of `text`, in which the doubled quote stands for itself.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut end = quote.len_utf8();
    loop {
        let Some(length) = text.get(end..).and_then(|rest| rest.find(quote)) else { return text.len() };
        end += length + 1;
        if !text.get(end..).is_some_and(|rest| rest.starts_with(quote)) {
            return end;
        }
        end += 1;
    }
}

/// A name as it is meant; `None` for what is none.
fn identifier(token: &str) -> Option<String> {
    let inside = |quote: char| token.strip_prefix(quote)?.strip_suffix(quote);
    match token.chars().next()? {
        quote @ ('"' | '`') => inside(quote).map(|name| name.replace(&format!("{quote}{quote}"), &quote.to_string())),
        '[' => token.strip_prefix('[')?.strip_suffix(']').map(str::to_owned),
        first if is_word(first) && !first.is_ascii_digit() => Some(token.to_owned()),
        _ => None,
    }
}

fn is(token: &str, keyword: &str) -> bool {
    token.eq_ignore_ascii_case(keyword)
}

/// The place of the parenthesis that closes the one at `open`, or the last token.
fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (place, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" => depth += 1,
            ")" if depth == 1 => return place,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    tokens.len().saturating_sub(1)
}

/// The text between two tokens.
fn between<'a>(sql: &'a str, tokens: &[Token<'_>], open: usize, close: usize) -> &'a str {
    let start = tokens.get(open).map_or(0, |token| token.start + token.text.len());
    let end = tokens.get(close).map_or(sql.len(), |token| token.start);
    sql.get(start..end).unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::super::super::schema::{Collation, Generated};
    use super::*;

    fn check(statement: &str, expected: &[(Option<&str>, Option<&str>, &str)]) {
        let found = in_create_table(statement);
        let found: Vec<_> =
            found.iter().map(|written| (written.name.as_deref(), written.column.as_deref(), written.expression.as_str())).collect();
        assert_eq!(found, expected, "{statement}");
    }

    #[test]
    fn checks_are_found_in_statements() {
        check("CREATE TABLE t (a INT, b TEXT)", &[]);
        check("CREATE TABLE t (a INT CHECK (a > 0), b)", &[(None, Some("a"), "a > 0")]);
        check(
            "create table \"t\"(\"a b\" int constraint \"pos\"\"x\" check(f(a, ')') > (0)) not null, check (1), constraint c unique (a))",
            &[(Some("pos\"x"), Some("a b"), "f(a, ')') > (0)"), (None, None, "1")],
        );
        check(
            "CREATE TABLE t (a INT DEFAULT (check(1)), -- CHECK (a > 1)\n/* , CHECK (2) */ [b] INT CHECK (b <> 'check (it''s)'))",
            &[(None, Some("b"), "b <> 'check (it''s)'")],
        );
        check(
            "CREATE TABLE t (a INT CONSTRAINT nn NOT NULL CHECK (a), CONSTRAINT two CHECK (a < 2) CHECK (a < 3)) STRICT",
            &[(None, Some("a"), "a"), (Some("two"), None, "a < 2"), (None, None, "a < 3")],
        );
        check("CREATE TABLE t (\"check\" INT, \"primary\" INT CHECK (1))", &[(None, Some("primary"), "1")]);
        check("CREATE TABLE t (a CHECK (a", &[(None, Some("a"), "")]);
    }

    #[test]
    fn expressions_mention_columns() {
        let column = |name: &str| Column {
            field: Field::new(name, DataType::Int64, true),
            native_type: String::new(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: crate::stores::schema::ColumnStatistics::default(),
        };
        let columns = ["a", "b c", "length"].map(column);
        let rows: [(&str, &[usize]); 6] = [
            ("a > 0", &[0]),
            ("\"b c\" <> A", &[0, 1]),
            ("`b c` = 'a'", &[1]),
            ("length(b) > 1", &[]),
            ("length > (a)", &[0, 2]),
            ("1 = 1", &[]),
        ];
        for (expression, expected) in rows {
            assert_eq!(columns_in(expression, &columns), expected, "{expression}");
        }
    }
}
