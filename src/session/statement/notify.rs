//! `LISTEN`, `UNLISTEN` and `NOTIFY`, and `SELECT pg_notify(…)`: a query that is a notification. It stands alone, because a query may call
//! a function any number of times.
//!
//! The parser's own reading of the three takes strings for names, names for strings, and no strings in dollars.

use datafusion::sql::sqlparser::ast::{Function, Query, Statement};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{Kind, emit, setting_name};
use crate::catalog::keyword::is_reserved;
use crate::changes::channel::Channel;
use crate::error::{Diagnosis, sqlstate};

/// The function.
const NAME: &str = "pg_notify";

/// The statements.
const VERBS: [&str; 3] = ["listen", "unlisten", "notify"];

/// One of the statements, when the next tokens begin one; they are consumed.
pub(super) fn parse(parser: &mut Parser<'_>) -> Result<Option<Kind>, ParserError> {
    let verb = match &parser.peek_token_ref().token {
        Token::Word(word) if word.quote_style.is_none() => VERBS.iter().find(|verb| word.value.eq_ignore_ascii_case(verb)),
        _ => None,
    };
    let Some(verb) = verb else { return Ok(None) };
    parser.next_token();
    Ok(Some(match *verb {
        "listen" => Kind::Listen(channel(parser)?),
        "unlisten" if parser.consume_token(&Token::Mul) => Kind::Unlisten(None),
        "unlisten" => Kind::Unlisten(Some(channel(parser)?)),
        _ => {
            let channel = channel(parser)?;
            let payload = if parser.consume_token(&Token::Comma) { payload(parser)? } else { String::new() };
            Kind::Notify { channel, payload }
        }
    }))
}

/// A name, folded as PostgreSQL does: letters of ASCII alone.
fn channel(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    let found = parser.next_token();
    let name = match &found.token {
        Token::Word(word) if word.quote_style.is_some() => Some(word.value.clone()).filter(|name| !name.is_empty()),
        Token::Word(word) => Some(word.value.to_ascii_lowercase()).filter(|name| !is_reserved(name)),
        _ => None,
    };
    name.map_or_else(|| parser.expected("the name of a channel", found), Ok)
}

/// What was probably meant by a channel with a dot behind it, which PostgreSQL's grammar has not: that of a table, whose name is one.
/// The tokens of the rest are consumed.
pub(super) fn meant(kind: &Kind, parser: &mut Parser<'_>) -> Option<String> {
    let (verb, schema) = match kind {
        Kind::Listen(schema) => ("LISTEN", schema.clone()),
        Kind::Unlisten(schema) => ("UNLISTEN", schema.clone()?),
        _ => return None,
    };
    if !parser.consume_token(&Token::Period) {
        return None;
    }
    let name = channel(parser).ok().filter(|_| parser.peek_token_ref().token != Token::Period)?;
    let table = Channel::Table { schema, name }.to_string();
    Some(format!("The changes of a table have one name: {verb} \"{}\"", table.replace('"', "\"\"")))
}

fn payload(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    let found = parser.next_token();
    match found.token {
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) | Token::UnicodeStringLiteral(text) => Ok(text),
        Token::DollarQuotedString(text) => Ok(text.value),
        _ => parser.expected("a string", found),
    }
}

fn is_it(function: &Function) -> bool {
    let name = setting_name(&function.name);
    name.strip_prefix("pg_catalog.").unwrap_or(&name) == NAME
}

/// The call that a query is and nothing else.
pub fn of_query(query: &Query) -> Option<Function> {
    emit::call_of(query, is_it)
}

/// Whether a text may name the function.
pub fn is_named(text: &str) -> bool {
    text.as_bytes().windows(NAME.len()).any(|letters| letters.eq_ignore_ascii_case(NAME.as_bytes()))
}

/// Refuses the function anywhere else, in a statement of a text that may name it.
///
/// # Errors
/// 0A000
pub fn check(statement: &Statement) -> Result<(), Diagnosis> {
    if !emit::is_inside(statement, is_it) {
        return Ok(());
    }
    Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "pg_notify is not supported inside of a statement")
        .with_hint("Send SELECT pg_notify(channel, payload) by itself, or NOTIFY channel, 'payload'."))
}

#[cfg(test)]
mod tests {
    use super::is_named;
    use crate::session::statement::{Kind, parse};

    #[test]
    fn a_notification_is_a_query_of_nothing_else() {
        for text in ["SELECT pg_notify('a', 'b')", "select PG_Catalog.pg_Notify($1, $2);"] {
            let kind = parse(text).unwrap().remove(0).kind;
            assert!(is_named(text) && matches!(kind, Kind::PgNotify(_)), "{text}: {kind:?}");
        }
        for text in ["SELECT pg_notify('a', 'b') FROM t", "SELECT upper(pg_notify('a', 'b'))", "SELECT pg_notify('a', 'b'), 1"] {
            assert_eq!(parse(text).unwrap_err().sqlstate, "0A000", "{text}");
        }
        for text in ["SELECT 'pg_notify'", "SELECT pg_notify FROM t", "SELECT x.pg_notify('a')"] {
            assert!(!matches!(parse(text).unwrap().remove(0).kind, Kind::PgNotify(_)), "{text}");
        }
    }

    #[test]
    fn channels_fold_unless_they_are_quoted() {
        let kind = |text: &str| parse(text).unwrap().remove(0).kind;
        assert!(matches!(kind("LISTEN Abc"), Kind::Listen(name) if name == "abc"));
        assert!(matches!(kind("LISTEN \"Shop.Orders\""), Kind::Listen(name) if name == "Shop.Orders"));
        assert!(matches!(kind("UNLISTEN *"), Kind::Unlisten(None)));
        assert!(matches!(kind("UNLISTEN \"*\""), Kind::Unlisten(Some(name)) if name == "*"));
        assert!(matches!(kind("NOTIFY a"), Kind::Notify { channel, payload } if channel == "a" && payload.is_empty()));
        assert!(matches!(kind("NOTIFY a, 'b''c'"), Kind::Notify { payload, .. } if payload == "b'c"));
        // As PostgreSQL, of ASCII alone.
        assert!(matches!(kind("LISTEN \u{c4}B"), Kind::Listen(name) if name == "\u{c4}b"));
        assert!(matches!(kind("unlisten \u{c4}B"), Kind::Unlisten(Some(name)) if name == "\u{c4}b"));
    }

    #[test]
    fn names_of_tables_are_told_to_be_one_name() {
        let rows = [
            ("LISTEN crew.Visits", Some("LISTEN \"crew.visits\"")),
            ("SELECT 1; listen \"docs\".\"Nest\"; SELECT 2", Some("LISTEN \"docs.Nest\"")),
            ("LISTEN a.\"b.c\"", Some("LISTEN \"a.\"\"b.c\"\"\"")),
            ("UNLISTEN crew.visits", Some("UNLISTEN \"crew.visits\"")),
            ("LISTEN a.b.c", None),
            ("LISTEN a.", None),
            ("LISTEN a b", None),
            ("UNLISTEN *.a", None),
            ("NOTIFY a.b", None),
        ];
        for (text, expected) in rows {
            let told = parse(text).map(drop).unwrap_err();
            let expected = expected.map(|meant| format!("The changes of a table have one name: {meant}"));
            assert_eq!((told.sqlstate.as_str(), told.hint), ("42601", expected), "{text}");
        }
        let told = parse("LISTEN a.b").map(drop).unwrap_err();
        assert_eq!((told.message.as_str(), told.position), ("syntax error at or near \".\"", Some(9)));
    }

    #[test]
    fn names_are_names_and_payloads_are_strings() {
        let payload = |text: &str| match parse(text).unwrap().remove(0).kind {
            Kind::Notify { payload, .. } => payload,
            other => panic!("{text}: {other:?}"),
        };
        for (text, expected) in [
            ("NOTIFY a, E'x\\ty'", "x\ty"),
            ("NOTIFY a, $$it's$$", "it's"),
            ("NOTIFY a, $x$it's$x$", "it's"),
            ("NOTIFY a, U&'\\00e9'", "\u{e9}"),
            ("NOTIFY \"select\", ''", ""),
        ] {
            assert_eq!(payload(text), expected, "{text}");
        }
        let refused = [
            "LISTEN",
            "LISTEN 'a'",
            "LISTEN \"\"",
            "LISTEN a.b",
            "LISTEN select",
            "LISTEN user",
            "LISTEN *",
            "LISTEN $1",
            "UNLISTEN",
            "UNLISTEN 'a'",
            "NOTIFY 'a'",
            "NOTIFY a,",
            "NOTIFY a, b",
            "NOTIFY a, \"b\"",
            "NOTIFY a, 12",
            "NOTIFY a, NULL",
            "NOTIFY a, $1",
            "NOTIFY a, 'b', 'c'",
        ];
        for text in refused {
            assert_eq!(parse(text).map(drop).unwrap_err().sqlstate, "42601", "{text}");
        }
        // Words of other statements and columns of their names are what they were.
        assert!(matches!(parse("SELECT listen FROM notify").unwrap().remove(0).kind, Kind::Query(_)));
    }
}
