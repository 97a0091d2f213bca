//! Statements in the binlog: which tell where a transaction stands, which change rows without telling which, and which tables they name.
//!
//! Nothing is parsed to the end. Where a reader is not sure, more tables are named than fewer: a table that is named loses what was
//! known of it, one that is not would go on with what is no longer true. Of a long statement, as one that loads rows in statement format,
//! only the words are kept that may be names, each once.

use std::collections::HashSet;

use super::events::Xid;

/// The most parts of a statement that are kept in their order: what it means is told by the first of them.
const TOKENS_MAX: usize = 4_096;

/// A part of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A word, a number, or a name in quotes.
    Word { text: String, is_quoted: bool },
    /// What stands between single quotes.
    Text(String),
    /// Any other character.
    Symbol(char),
}

impl Token {
    fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Word { text, is_quoted: false } if text.eq_ignore_ascii_case(keyword))
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Word { text, .. } => Some(text),
            Self::Text(_) | Self::Symbol(_) => None,
        }
    }
}

/// What a statement means to a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A transaction begins.
    Begin,
    /// It ends and is kept.
    Commit,
    /// It ends and is dropped.
    Rollback,
    /// A part of it is dropped.
    RollbackTo,
    /// An XA transaction begins.
    XaStart,
    /// One that was prepared is kept.
    XaCommit(Xid),
    /// One that was prepared is dropped.
    XaRollback(Xid),
    /// All rows of a table go: its database where one is named, and its name.
    Truncate(Option<String>, String),
    /// Tables get another form, another name, or other rows, by a statement of this kind.
    Redefine(&'static str),
    /// All tables of a database go.
    DropDatabase(String),
    /// Nothing.
    Nothing,
    /// Rows change, and it is not told which.
    Write,
}

/// A statement with the names that stand in it.
#[derive(Debug)]
pub(super) struct Statement {
    tokens: Vec<Token>,
    /// The words behind those.
    more: HashSet<String>,
}

/// Verbs that change no rows.
const HARMLESS: &[&str] = &[
    "SAVEPOINT",
    "RELEASE",
    "GRANT",
    "REVOKE",
    "FLUSH",
    "ANALYZE",
    "OPTIMIZE",
    "REPAIR",
    "CHECK",
    "CHECKSUM",
    "INSTALL",
    "UNINSTALL",
    "CACHE",
    "PURGE",
    "RESET",
    "CHANGE",
    "LOCK",
    "UNLOCK",
    "USE",
    "SHUTDOWN",
];

impl Statement {
    /// Reads a text.
    pub(super) fn read(text: &str) -> Self {
        let mut statement = Self { tokens: Vec::new(), more: HashSet::new() };
        each_token(text, &mut |token| statement.keep(token));
        statement
    }

    fn keep(&mut self, token: Token) {
        if self.tokens.len() < TOKENS_MAX {
            self.tokens.push(token);
            return;
        }
        match token {
            // Numbers are names in quotes alone.
            Token::Word { text, is_quoted } if is_quoted || !text.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.more.insert(text);
            }
            Token::Word { .. } | Token::Text(_) | Token::Symbol(_) => {}
        }
    }

    /// What it means.
    pub(super) fn meaning(&self) -> Meaning {
        meaning(&self.tokens)
    }

    /// Whether a name stands in it, as a name or as a word.
    pub(super) fn names(&self, name: &str) -> bool {
        let mut words = self.tokens.iter().filter_map(Token::name).chain(self.more.iter().map(String::as_str));
        words.any(|found| may_be(found, name))
    }
}

/// Whether a word may be a name. Some servers take them for one whatever their case. A statement comes in the character set of its
/// client, which is not looked at: what is no UTF-8 of it may be any letters but those of ASCII.
pub(super) fn may_be(word: &str, name: &str) -> bool {
    word.eq_ignore_ascii_case(name)
        || !name.is_ascii() && (word.contains(char::REPLACEMENT_CHARACTER) || word.to_lowercase() == name.to_lowercase())
}

fn meaning(tokens: &[Token]) -> Meaning {
    let Some((first, rest)) = tokens.split_first() else { return Meaning::Nothing };
    let Some(verb) = first.name() else { return Meaning::Write };
    match verb.to_ascii_uppercase().as_str() {
        "BEGIN" | "START" => Meaning::Begin,
        "COMMIT" => Meaning::Commit,
        "ROLLBACK" if rest.iter().any(|token| token.is("TO")) => Meaning::RollbackTo,
        "ROLLBACK" => Meaning::Rollback,
        "XA" => of_xa(rest),
        "TRUNCATE" => truncated(rest),
        "CREATE" => created(rest),
        "DROP" => dropped(rest),
        "ALTER" => match object(rest, &["ONLINE", "IGNORE", "OFFLINE"]) {
            Some(token) if token.is("TABLE") => Meaning::Redefine("ALTER TABLE"),
            _ => Meaning::Nothing,
        },
        "RENAME" => match rest.first() {
            Some(token) if token.is("TABLE") || token.is("TABLES") => Meaning::Redefine("RENAME TABLE"),
            _ => Meaning::Nothing,
        },
        // SET STATEMENT … FOR a statement is that statement.
        "SET" if rest.first().is_some_and(|token| token.is("STATEMENT")) => {
            let after = rest.iter().position(|token| token.is("FOR")).and_then(|place| rest.get(place + 1..));
            after.map_or(Meaning::Write, meaning)
        }
        "SET" => Meaning::Nothing,
        verb if HARMLESS.contains(&verb) => Meaning::Nothing,
        _ => Meaning::Write,
    }
}

/// The first word that is not one of some.
fn object<'t>(tokens: &'t [Token], passed: &[&str]) -> Option<&'t Token> {
    tokens.iter().find(|token| !passed.iter().any(|word| token.is(word)))
}

fn of_xa(rest: &[Token]) -> Meaning {
    let Some((verb, rest)) = rest.split_first() else { return Meaning::Write };
    match (verb, xid(rest)) {
        (verb, _) if verb.is("START") || verb.is("BEGIN") => Meaning::XaStart,
        (verb, Some(xid)) if verb.is("COMMIT") => Meaning::XaCommit(xid),
        (verb, Some(xid)) if verb.is("ROLLBACK") => Meaning::XaRollback(xid),
        (verb, _) if verb.is("END") || verb.is("PREPARE") => Meaning::Nothing,
        _ => Meaning::Write,
    }
}

/// `X'78',X'62',1`, of which the second and third part may be absent.
fn xid(tokens: &[Token]) -> Option<Xid> {
    let mut parts = tokens.split(|token| *token == Token::Symbol(','));
    let bytes = |part: &[Token]| match part {
        [hex, Token::Text(digits)] if hex.is("X") => of_hex(digits),
        [Token::Text(text)] => Some(text.clone().into_bytes()),
        _ => None,
    };
    let global = bytes(parts.next()?)?;
    let branch = parts.next().map_or(Some(Vec::new()), bytes)?;
    let format = match parts.next() {
        Some(number) => number.first()?.name()?.parse().ok()?,
        None => 1,
    };
    Some(Xid { format, global, branch })
}

fn of_hex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let read = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if rest.is_empty() { pairs.iter().map(read).collect() } else { None }
}

fn truncated(rest: &[Token]) -> Meaning {
    let rest = match rest.split_first() {
        Some((word, rest)) if word.is("TABLE") => rest,
        _ => rest,
    };
    match rest {
        [database, Token::Symbol('.'), table, ..] => match (database.name(), table.name()) {
            (Some(database), Some(table)) => Meaning::Truncate(Some(database.to_owned()), table.to_owned()),
            _ => Meaning::Write,
        },
        [table, ..] => table.name().map_or(Meaning::Write, |table| Meaning::Truncate(None, table.to_owned())),
        [] => Meaning::Write,
    }
}

fn created(rest: &[Token]) -> Meaning {
    let replaces = rest.first().is_some_and(|token| token.is("OR"));
    match object(rest, &["OR", "REPLACE"]) {
        Some(token) if token.is("TABLE") => Meaning::Redefine("CREATE TABLE"),
        Some(token) if replaces && (token.is("DATABASE") || token.is("SCHEMA")) => database(rest),
        _ => Meaning::Nothing,
    }
}

fn dropped(rest: &[Token]) -> Meaning {
    match rest.first() {
        Some(token) if token.is("TABLE") || token.is("TABLES") => Meaning::Redefine("DROP TABLE"),
        Some(token) if token.is("DATABASE") || token.is("SCHEMA") => database(rest),
        _ => Meaning::Nothing,
    }
}

/// The database behind the word for it.
fn database(rest: &[Token]) -> Meaning {
    let name = object(rest, &["OR", "REPLACE", "DATABASE", "SCHEMA", "IF", "NOT", "EXISTS"]).and_then(Token::name);
    name.map_or(Meaning::Write, |name| Meaning::DropDatabase(name.to_owned()))
}

/// The parts of a text, without comments. What MariaDB or MySQL alone read as code is read here too.
fn each_token(text: &str, keep: &mut dyn FnMut(Token)) {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '#' => line_end(rest),
            '-' if rest.starts_with("-- ") || rest.starts_with("--\t") || rest.starts_with("--\n") => line_end(rest),
            '/' if rest.starts_with("/*!") || rest.starts_with("/*M!") => {
                let inside = rest.get(2..).unwrap_or_default();
                let inside = inside.strip_prefix("M!").or_else(|| inside.strip_prefix('!')).unwrap_or(inside);
                inside.trim_start_matches(|character: char| character.is_ascii_digit())
            }
            '/' if rest.starts_with("/*") => rest.split_once("*/").map_or("", |(_, after)| after),
            '*' if rest.starts_with("*/") => rest.get(2..).unwrap_or_default(),
            '\'' => {
                let (inside, after) = quoted(rest, '\'');
                keep(Token::Text(inside));
                after
            }
            '`' | '"' => {
                let (text, after) = quoted(rest, first);
                keep(Token::Word { text, is_quoted: true });
                after
            }
            first if is_of_word(first) => {
                let end = rest.find(|character| !is_of_word(character)).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                keep(Token::Word { text: word.to_owned(), is_quoted: false });
                after
            }
            first => {
                if !first.is_whitespace() {
                    keep(Token::Symbol(first));
                }
                rest.get(first.len_utf8()..).unwrap_or_default()
            }
        };
    }
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '$' | '@') || !(character.is_ascii() || character.is_whitespace())
}

fn line_end(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, after)| after)
}

/// What stands between quotes, and what follows. A doubled quote stands for one, and outside of names a backslash for what is behind
/// it: which of the two a session reads is not told, and a text that ends too late or too soon names more tables, not fewer.
fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut inside = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((place, character)) = characters.next() {
        match character {
            '\\' if quote != '`' => inside.extend(characters.next().map(|(_, escaped)| escaped)),
            found if found == quote => match characters.peek() {
                Some((_, next)) if *next == quote => inside.extend(characters.next().map(|(_, doubled)| doubled)),
                _ => return (inside, text.get(place + quote.len_utf8()..).unwrap_or_default()),
            },
            other => inside.push(other),
        }
    }
    (inside, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Meaning {
        Statement::read(text).meaning()
    }

    fn xid(global: &[u8], branch: &[u8], format: u32) -> Xid {
        Xid { format, global: global.to_vec(), branch: branch.to_vec() }
    }

    #[test]
    fn statements_are_told_apart() {
        let truncate = |database: Option<&str>, table: &str| Meaning::Truncate(database.map(str::to_owned), table.to_owned());
        let rows = [
            ("BEGIN", Meaning::Begin),
            ("COMMIT", Meaning::Commit),
            ("ROLLBACK", Meaning::Rollback),
            ("ROLLBACK TO `a`", Meaning::RollbackTo),
            ("SAVEPOINT `a`", Meaning::Nothing),
            ("XA START X'78',X'',1", Meaning::XaStart),
            ("XA END X'78',X'62',1", Meaning::Nothing),
            ("XA COMMIT X'78',X'62',1", Meaning::XaCommit(xid(b"x", b"b", 1))),
            ("xa rollback 'r'", Meaning::XaRollback(xid(b"r", b"", 1))),
            ("truncate t", truncate(None, "t")),
            ("/* a */ TRUNCATE TABLE `a``b`.\"t\" NOWAIT", truncate(Some("a`b"), "t")),
            ("CREATE TABLE `ctas` (a int)", Meaning::Redefine("CREATE TABLE")),
            ("CREATE OR REPLACE TABLE ctas (a int)", Meaning::Redefine("CREATE TABLE")),
            ("CREATE TEMPORARY TABLE x (a int)", Meaning::Nothing),
            ("create database d", Meaning::Nothing),
            ("create or replace database `d`", Meaning::DropDatabase("d".to_owned())),
            ("DROP TABLE `ctas` /* generated by server */", Meaning::Redefine("DROP TABLE")),
            ("drop schema if exists shop", Meaning::DropDatabase("shop".to_owned())),
            ("drop view v", Meaning::Nothing),
            ("CREATE ALGORITHM=UNDEFINED DEFINER=`root`@`localhost` SQL SECURITY DEFINER VIEW `vv` AS select 1", Meaning::Nothing),
            ("alter ignore table t add unique (a)", Meaning::Redefine("ALTER TABLE")),
            ("alter table par truncate partition p0", Meaning::Redefine("ALTER TABLE")),
            ("alter view v as select 1", Meaning::Nothing),
            ("rename tables a to b", Meaning::Redefine("RENAME TABLE")),
            ("analyze table par2", Meaning::Nothing),
            ("set statement max_statement_time=1 for alter table t add b int", Meaning::Redefine("ALTER TABLE")),
            ("SET PASSWORD FOR a = 'b'", Meaning::Nothing),
            ("insert into t values (1)", Meaning::Write),
            ("/*!50000 insert */ into t values (1)", Meaning::Write),
            ("WITH a AS (SELECT 1) DELETE FROM t", Meaning::Write),
            ("call p()", Meaning::Write),
            ("(something)", Meaning::Write),
            ("# nothing at all", Meaning::Nothing),
        ];
        for (text, expected) in rows {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn names_are_found_as_names_and_not_in_texts() {
        let statement = Statement::read("update `shop`.orders o set note = 'customers' where x = \"it\"\"s\" -- reviews\n and y");
        for (name, expected) in
            [("orders", true), ("SHOP", true), ("customers", false), ("reviews", false), ("it\"s", true), ("y", true)]
        {
            assert_eq!(statement.names(name), expected, "{name}");
        }
        assert!(Statement::read("drop table bücher").names("bücher") && Statement::read("drop table BÜCHER").names("bücher"));
        let of_latin1 = String::from_utf8_lossy(b"truncate b\xfccher");
        assert!(Statement::read(&of_latin1).names("bücher") && !Statement::read(&of_latin1).names("orders"));
        assert!(!Statement::read("insert into a values ('it\\'s orders')").names("orders"));
        // Nothing makes it fail.
        for text in ["'", "`", "/*", "/*!", "X'", "xa commit", "\u{1f600}", "-", "--"] {
            let _meaning = of(text);
        }
    }

    #[test]
    fn long_statements_keep_their_meaning_and_their_names_alone() {
        let rows = "(1, 'orders', 2), ".repeat(10_000);
        let loaded = Statement::read(&format!("insert into t values {rows}(3, (select max(id) from customers), `7`)"));
        assert_eq!(loaded.meaning(), Meaning::Write);
        assert!(loaded.names("t") && loaded.names("Customers") && loaded.names("7") && !loaded.names("orders"));
        assert_eq!(loaded.tokens.len(), TOKENS_MAX);
        let more = ["select", "max", "id", "from", "customers", "7"];
        assert!(loaded.more.len() == more.len() && more.iter().all(|word| loaded.more.contains(*word)), "{:?}", loaded.more);
    }

    #[test]
    fn names_of_prepared_transactions_are_bytes() {
        assert_eq!(of("XA COMMIT X'00FF7A',X'',20"), Meaning::XaCommit(xid(&[0, 0xff, 0x7a], b"", 20)));
        for broken in ["XA COMMIT X'0',X'',1", "XA COMMIT X'zz'", "XA COMMIT", "XA COMMIT X'00',X'',x"] {
            assert_eq!(of(broken), Meaning::Write, "{broken}");
        }
    }
}
