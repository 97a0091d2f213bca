//! `COPY … TO STDOUT`: what is copied and how its rows are written. What `COPY … FROM STDIN` has besides is in `from`.

mod encodings;
mod from;

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, Query, SelectItem, SetExpr, TableFactor};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{Kind, fold, refuse};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::postgres::Postgres;

pub use from::CopyIn;

/// How the rows of a `COPY … TO STDOUT` are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyFormat {
    /// A line per row, fields between delimiters, with backslashes.
    Text(CopyText),
    /// Comma-separated values.
    Csv {
        /// What both text formats have.
        text: CopyText,
        /// What stands around a field that would be read otherwise.
        quote: u8,
        /// What stands before a quote inside quotes.
        escape: u8,
        /// Which columns are quoted always.
        force: ForceQuote,
    },
    /// PostgreSQL's binary file format.
    Binary,
}

/// What the text formats of COPY share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyText {
    /// What stands between fields.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: String,
    /// Whether the first line has the names of the columns.
    pub header: bool,
}

/// Columns whose values are quoted always, but for NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForceQuote {
    /// `*`
    All,
    /// By name.
    Columns(Vec<String>),
}

/// The statement behind COPY, when that is the next word; its tokens are consumed.
pub(super) fn parse(parser: &mut Parser<'_>) -> Result<Option<Kind>, ParserError> {
    if !parser.parse_keyword(Keyword::COPY) {
        return Ok(None);
    }
    if parser.consume_token(&Token::LParen) {
        let query = parser.parse_query()?;
        parser.expect_token(&Token::RParen)?;
        parser.expect_keyword_is(Keyword::TO)?;
        return to_client(parser, query, Options::default()).map(Some);
    }
    // The syntax before PostgreSQL 7.3.
    let mut given = Options::default();
    if parser.parse_keyword(Keyword::BINARY) {
        given.given.push(("format".to_owned(), Given::Text("binary".to_owned())));
    }
    let table = parser.parse_object_name(false)?;
    let mut columns = Vec::new();
    if parser.consume_token(&Token::LParen) {
        columns = parser.parse_comma_separated(Parser::parse_identifier)?;
        parser.expect_token(&Token::RParen)?;
    }
    if parser.parse_keyword(Keyword::TO) {
        return to_client(parser, table_query(table, columns)?, given).map(Some);
    }
    parser.expect_keyword_is(Keyword::FROM)?;
    if let Some(denied) = denied(parser) {
        return Ok(Some(denied));
    }
    from::parse(parser, table, columns, given).map(Some)
}

/// The refusal of anything but the client as the other side; its tokens are consumed.
fn denied(parser: &mut Parser<'_>) -> Option<Kind> {
    if !parser.parse_keyword(Keyword::STDIN) && !parser.parse_keyword(Keyword::STDOUT) {
        skip(parser);
        let denied = Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, "COPY to or from files and programs is not allowed");
        return Some(Kind::Refused(denied.with_hint("psql's \\copy works on the client's side.")));
    }
    None
}

/// How the rows of something other than a query are written, behind `COPY (…)`; the refusal of what cannot be.
pub(super) fn output(parser: &mut Parser<'_>) -> Result<Result<CopyFormat, Kind>, ParserError> {
    parser.expect_keyword_is(Keyword::TO)?;
    if let Some(denied) = denied(parser) {
        return Ok(Err(denied));
    }
    Ok(options(parser, Options::default())?.settle().map_err(|error| refuse(&error.sqlstate, &error.message)))
}

/// What follows `COPY … TO`.
fn to_client(parser: &mut Parser<'_>, query: Box<Query>, given: Options) -> Result<Kind, ParserError> {
    if let Some(denied) = denied(parser) {
        return Ok(denied);
    }
    Ok(match options(parser, given)?.settle() {
        Ok(format) => match super::query_kind(query) {
            Kind::Query(query) => Kind::Copy { query, format },
            Kind::Write(_) => refuse(sqlstate::FEATURE_NOT_SUPPORTED, "COPY of a statement that changes rows is not supported"),
            refused => refused,
        },
        Err(error) => refuse(&error.sqlstate, &error.message),
    })
}

/// Consumes everything up to the end of the statement.
pub(super) fn skip(parser: &mut Parser<'_>) {
    while !matches!(parser.peek_token_ref().token, Token::SemiColon | Token::EOF) {
        parser.next_token();
    }
}

/// `SELECT columns FROM table`, put together from parsed parts.
pub(super) fn table_query(table: ObjectName, columns: Vec<Ident>) -> Result<Box<Query>, ParserError> {
    let mut query = Parser::new(&Postgres).try_with_sql("SELECT * FROM t")?.parse_query()?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        if let Some(TableFactor::Table { name, .. }) = select.from.first_mut().map(|from| &mut from.relation) {
            *name = table;
        }
        if !columns.is_empty() {
            select.projection = columns.into_iter().map(|column| SelectItem::UnnamedExpr(Expr::Identifier(column))).collect();
        }
    }
    Ok(query)
}

/// Options as they are written: names in lower case.
#[derive(Debug, Default)]
struct Options {
    given: Vec<(String, Given)>,
}

/// The value of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Given {
    None,
    Text(String),
    Star,
    Names(Vec<String>),
}

fn options(parser: &mut Parser<'_>, mut options: Options) -> Result<Options, ParserError> {
    let is_old = parser.parse_keyword(Keyword::USING);
    if is_old || next_is(parser, "delimiters") {
        options.given.push(old_delimiters(parser)?);
    }
    let _ = parser.parse_keyword(Keyword::WITH);
    if parser.consume_token(&Token::LParen) {
        options.given.extend(parser.parse_comma_separated(option)?);
        parser.expect_token(&Token::RParen)?;
        return Ok(options);
    }
    while !matches!(parser.peek_token_ref().token, Token::SemiColon | Token::EOF) && !next_is(parser, "where") {
        options.given.push(old_option(parser)?);
    }
    Ok(options)
}

/// Whether an unquoted word comes next.
fn next_is(parser: &Parser<'_>, word: &str) -> bool {
    match &parser.peek_token_ref().token {
        Token::Word(found) => found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word),
        _ => false,
    }
}

/// `[USING] DELIMITERS '|'`, as it was before PostgreSQL 7.3.
fn old_delimiters(parser: &mut Parser<'_>) -> Result<(String, Given), ParserError> {
    if !next_is(parser, "delimiters") {
        return Err(not_an_option(parser));
    }
    parser.next_token();
    Ok(("delimiter".to_owned(), Given::Text(parser.parse_literal_string()?)))
}

fn not_an_option(parser: &Parser<'_>) -> ParserError {
    let found = parser.peek_token_ref();
    ParserError::ParserError(format!("Expected: a COPY option, found: {}{}", found.token, found.span.start))
}

fn names(parser: &mut Parser<'_>) -> Result<Given, ParserError> {
    Ok(Given::Names(parser.parse_comma_separated(Parser::parse_identifier)?.iter().map(fold).collect()))
}

fn option(parser: &mut Parser<'_>) -> Result<(String, Given), ParserError> {
    let name = parser.parse_identifier()?.value.to_lowercase();
    let value = match parser.peek_token().token {
        Token::Mul => {
            parser.next_token();
            Given::Star
        }
        Token::LParen => {
            parser.next_token();
            let names = parser.parse_comma_separated(Parser::parse_identifier)?.iter().map(fold).collect();
            parser.expect_token(&Token::RParen)?;
            Given::Names(names)
        }
        Token::Word(word) => {
            parser.next_token();
            Given::Text(if word.quote_style.is_some() { word.value } else { word.value.to_lowercase() })
        }
        Token::Number(digits, _) => {
            parser.next_token();
            Given::Text(digits)
        }
        Token::Comma | Token::RParen => Given::None,
        _ => Given::Text(parser.parse_literal_string()?),
    };
    Ok((name, value))
}

/// The syntax before PostgreSQL 9.0: `CSV HEADER DELIMITER AS ';' FORCE QUOTE a, b`.
fn old_option(parser: &mut Parser<'_>) -> Result<(String, Given), ParserError> {
    let word = parser.parse_identifier()?.value.to_lowercase();
    Ok(match word.as_str() {
        "binary" | "csv" => ("format".to_owned(), Given::Text(word)),
        "header" | "freeze" => (word, Given::None),
        "force" if parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) => ("force_not_null".to_owned(), names(parser)?),
        "force" if parser.parse_keyword(Keyword::NULL) => ("force_null".to_owned(), names(parser)?),
        "force" => {
            parser.expect_keyword_is(Keyword::QUOTE)?;
            let value = if parser.consume_token(&Token::Mul) { Given::Star } else { names(parser)? };
            ("force_quote".to_owned(), value)
        }
        "delimiter" | "null" | "quote" | "escape" | "encoding" => {
            let _ = parser.parse_keyword(Keyword::AS);
            (word, Given::Text(parser.parse_literal_string()?))
        }
        _ => {
            let place = parser.peek_token_ref().span.start;
            return Err(ParserError::ParserError(format!("Expected: a COPY option, found: {word}{place}")));
        }
    })
}

fn syntax(message: impl Into<String>) -> Diagnosis {
    Diagnosis::new(sqlstate::SYNTAX_ERROR, message)
}

fn unavailable(message: impl Into<String>) -> Diagnosis {
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
}

fn bad_value(message: impl Into<String>) -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

const KNOWN: &[&str] = &[
    "format",
    "freeze",
    "delimiter",
    "null",
    "header",
    "quote",
    "escape",
    "force_quote",
    "force_not_null",
    "force_null",
    "encoding",
];

/// The delimiter must not be what may follow a backslash.
fn check_delimiter(delimiter: u8) -> Result<(), Diagnosis> {
    if matches!(delimiter, b'\\' | b'.') || delimiter.is_ascii_lowercase() || delimiter.is_ascii_digit() {
        return Err(bad_value(format!("COPY delimiter cannot be \"{}\"", char::from(delimiter))));
    }
    Ok(())
}

impl Options {
    fn get(&self, name: &str) -> Option<&Given> {
        self.given.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Diagnosis> {
        match self.get(name) {
            None => Ok(None),
            Some(Given::Text(text)) => Ok(Some(text)),
            Some(_) => Err(syntax(format!("{name} requires a parameter"))),
        }
    }

    fn byte(&self, name: &str) -> Result<Option<u8>, Diagnosis> {
        match self.text(name)?.map(str::as_bytes) {
            None => Ok(None),
            Some([byte]) => Ok(Some(*byte)),
            Some(_) => Err(unavailable(format!("COPY {name} must be a single one-byte character"))),
        }
    }

    fn header(&self) -> Result<bool, Diagnosis> {
        match self.get("header") {
            None => Ok(false),
            Some(Given::None) => Ok(true),
            Some(Given::Text(text)) => match text.to_lowercase().as_str() {
                "true" | "on" | "1" => Ok(true),
                "false" | "off" | "0" => Ok(false),
                "match" => Err(unavailable("cannot use \"match\" with HEADER in COPY TO")),
                _ => Err(syntax("header requires a Boolean value or \"match\"")),
            },
            Some(_) => Err(syntax("header requires a Boolean value or \"match\"")),
        }
    }

    /// Checks the options together, in PostgreSQL's order (`ProcessCopyOptions`).
    fn settle(&self) -> Result<CopyFormat, Diagnosis> {
        self.check_known()?;
        match self.text("format")? {
            None | Some("text") => self.as_text(),
            Some("csv") => self.as_csv(),
            Some("binary") => self.as_binary(),
            Some(other) => Err(bad_value(format!("COPY format \"{other}\" not recognized"))),
        }
    }

    /// Checks what does not depend on the format.
    fn check_known(&self) -> Result<(), Diagnosis> {
        for (place, (name, _)) in self.given.iter().enumerate() {
            if !KNOWN.contains(&name.as_str()) {
                return Err(syntax(format!("option \"{name}\" not recognized")));
            }
            if self.given.iter().take(place).any(|(earlier, _)| earlier == name) {
                return Err(syntax("conflicting or redundant options"));
            }
            self.check_argument(name)?;
        }
        if let Some(encoding) = self.text("encoding")?
            && !matches!(encodings::canonical(encoding).as_str(), "utf8" | "unicode")
        {
            return Err(unavailable(format!("COPY in encoding \"{encoding}\" is not supported")));
        }
        Ok(())
    }

    /// Checks what an option is given, which PostgreSQL does before it looks at what options mean together.
    fn check_argument(&self, name: &str) -> Result<(), Diagnosis> {
        match name {
            "force_quote" | "force_not_null" | "force_null" => match self.get(name) {
                Some(given) if matches!(given, Given::Names(_)) || (name == "force_quote" && *given == Given::Star) => Ok(()),
                _ => Err(bad_value(format!("argument to option \"{name}\" must be a list of column names"))),
            },
            "encoding" => match self.text(name)? {
                Some(encoding) if !encodings::is_known(encoding) => {
                    Err(bad_value("argument to option \"encoding\" must be a valid encoding name"))
                }
                _ => Ok(()),
            },
            "format" => match self.text(name)? {
                None | Some("text" | "csv" | "binary") => Ok(()),
                Some(other) => Err(bad_value(format!("COPY format \"{other}\" not recognized"))),
            },
            "delimiter" | "null" | "quote" | "escape" => self.text(name).map(drop),
            _ => Ok(()),
        }
    }

    fn as_binary(&self) -> Result<CopyFormat, Diagnosis> {
        if let Some(name) = ["delimiter", "null"].into_iter().find(|name| self.get(name).is_some()) {
            return Err(syntax(format!("cannot specify {} in BINARY mode", name.to_uppercase())));
        }
        if self.header()? {
            return Err(unavailable("cannot specify HEADER in BINARY mode"));
        }
        self.refuse_csv_only()?;
        Ok(CopyFormat::Binary)
    }

    fn refuse_csv_only(&self) -> Result<(), Diagnosis> {
        let rows = [("quote", "quote"), ("escape", "escape"), ("force_quote", "force quote")];
        if let Some((_, shown)) = rows.into_iter().find(|(name, _)| self.get(name).is_some()) {
            return Err(unavailable(format!("COPY {shown} available only in CSV mode")));
        }
        self.refuse_from_only()
    }

    fn refuse_from_only(&self) -> Result<(), Diagnosis> {
        let rows = [("force_not_null", "force not null"), ("force_null", "force null"), ("freeze", "freeze")];
        match rows.into_iter().find(|(name, _)| self.get(name).is_some()) {
            Some((_, shown)) => Err(unavailable(format!("COPY {shown} only available using COPY FROM"))),
            None => Ok(()),
        }
    }

    fn shared(&self, delimiter: u8, null: &str) -> Result<CopyText, Diagnosis> {
        let delimiter = self.byte("delimiter")?.unwrap_or(delimiter);
        let null = self.text("null")?.unwrap_or(null).to_owned();
        if matches!(delimiter, b'\n' | b'\r') {
            return Err(bad_value("COPY delimiter cannot be newline or carriage return"));
        }
        if null.contains(['\n', '\r']) {
            return Err(bad_value("COPY null representation cannot use newline or carriage return"));
        }
        Ok(CopyText { delimiter, null, header: self.header()? })
    }

    fn as_text(&self) -> Result<CopyFormat, Diagnosis> {
        let text = self.shared(b'\t', "\\N")?;
        check_delimiter(text.delimiter)?;
        self.refuse_csv_only()?;
        if text.null.as_bytes().contains(&text.delimiter) {
            return Err(bad_value("COPY delimiter must not appear in the NULL specification"));
        }
        Ok(CopyFormat::Text(text))
    }

    fn as_csv(&self) -> Result<CopyFormat, Diagnosis> {
        let text = self.shared(b',', "")?;
        let quote = self.byte("quote")?.unwrap_or(b'"');
        if quote == text.delimiter {
            return Err(bad_value("COPY delimiter and quote must be different"));
        }
        let escape = self.byte("escape")?.unwrap_or(quote);
        self.refuse_from_only()?;
        if text.null.as_bytes().contains(&text.delimiter) {
            return Err(bad_value("COPY delimiter must not appear in the NULL specification"));
        }
        if text.null.as_bytes().contains(&quote) {
            return Err(bad_value("CSV quote character must not appear in the NULL specification"));
        }
        let force = match self.get("force_quote") {
            None => ForceQuote::Columns(Vec::new()),
            Some(Given::Star) => ForceQuote::All,
            Some(Given::Names(names)) => ForceQuote::Columns(names.clone()),
            Some(_) => return Err(bad_value("argument to option \"force_quote\" must be a list of column names")),
        };
        Ok(CopyFormat::Csv { text, quote, escape, force })
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn format(sql: &str) -> Result<CopyFormat, (String, String)> {
        match parse(sql).map_err(|error| (error.sqlstate, error.message))?.remove(0).kind {
            Kind::Copy { format, .. } => Ok(format),
            Kind::Refused(error) => Err((error.sqlstate, error.message)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_are_read_in_both_spellings() {
        let text = CopyText { delimiter: b'\t', null: "\\N".to_owned(), header: false };
        assert_eq!(format("COPY t TO STDOUT"), Ok(CopyFormat::Text(text.clone())));
        assert_eq!(format("COPY (SELECT 1) TO STDOUT WITH (FORMAT binary)"), Ok(CopyFormat::Binary));
        assert_eq!(format("COPY a.t (x, y) TO STDOUT BINARY;"), Ok(CopyFormat::Binary));
        assert_eq!(format("COPY BINARY t TO STDOUT"), Ok(CopyFormat::Binary));
        let csv = CopyFormat::Csv {
            text: CopyText { delimiter: b';', null: "nil".to_owned(), header: true },
            quote: b'\'',
            escape: b'\\',
            force: ForceQuote::Columns(vec!["a".to_owned(), "B".to_owned()]),
        };
        let new = "(format csv, delimiter ';', null 'nil', header, quote '''', escape '\\', force_quote (A, \"B\"))";
        assert_eq!(format(&format!("COPY t TO STDOUT {new}")), Ok(csv.clone()));
        let old = "CSV HEADER DELIMITER AS ';' NULL 'nil' QUOTE '''' ESCAPE '\\' FORCE QUOTE A, \"B\"";
        assert_eq!(format(&format!("COPY t TO STDOUT WITH {old}")), Ok(csv));
        let lines = CopyFormat::Text(CopyText { delimiter: b'|', header: true, ..text });
        assert_eq!(format("COPY t TO STDOUT (DELIMITER E'|', HEADER on)"), Ok(lines));
    }

    #[test]
    fn options_that_do_not_fit_are_refused_as_postgres_does() {
        let rows = [
            ("COPY t TO STDOUT (FORMAT xml)", "22023", "COPY format \"xml\" not recognized"),
            ("COPY t TO STDOUT (DELIMITER 'ab', FORMAT xml)", "22023", "COPY format \"xml\" not recognized"),
            ("COPY t TO STDOUT (FORCE_NULL *)", "22023", "argument to option \"force_null\" must be a list of column names"),
            ("COPY t TO STDOUT (COLOUR red)", "42601", "option \"colour\" not recognized"),
            ("COPY t TO STDOUT (HEADER, HEADER)", "42601", "conflicting or redundant options"),
            ("COPY t TO STDOUT (HEADER match)", "0A000", "cannot use \"match\" with HEADER in COPY TO"),
            ("COPY t TO STDOUT (DELIMITER 'ab')", "0A000", "COPY delimiter must be a single one-byte character"),
            ("COPY t TO STDOUT (DELIMITER 'a')", "22023", "COPY delimiter cannot be \"a\""),
            ("COPY t TO STDOUT (QUOTE '\"')", "0A000", "COPY quote available only in CSV mode"),
            ("COPY t TO STDOUT (FORMAT csv, QUOTE ',')", "22023", "COPY delimiter and quote must be different"),
            ("COPY t TO STDOUT (FORMAT binary, NULL '')", "42601", "cannot specify NULL in BINARY mode"),
            ("COPY t TO '/tmp/x'", "42501", "COPY to or from files and programs is not allowed"),
        ];
        for (sql, code, message) in rows {
            assert_eq!(format(sql), Err((code.to_owned(), message.to_owned())), "{sql}");
        }
    }
}
