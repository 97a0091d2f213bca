//! Parses and classifies statements. What each kind does is in `verbs/`, a file per kind; everything that is not on this
//! list is refused here, with the reason.

pub mod cached;
pub mod copy;
pub mod cursor;
pub mod define;
pub mod emit;
mod explain;
mod locks;
pub mod modes;
pub mod notify;
pub mod results;
pub mod subscribe;
pub mod truncate;
pub mod view;

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    CloseCursor, DiscardObject, Expr, Function, Ident, ObjectName, ObjectNamePart, Query, Reset, Set, Statement, TransactionMode,
    With,
};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::locate::character_of;
use crate::federation::ast::postgres::Postgres;
use crate::federation::ast::syntax::{at_or_near, from_parser};
use crate::federation::ast::{DEPTH_MAX, depth, length, tokens};
use crate::federation::dml::Write;
use crate::federation::locks::Locking;

/// One parsed statement.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The whole text the client sent, which positions in errors refer to.
    pub text: Arc<str>,
    /// What it is.
    pub kind: Kind,
}

/// Statements by what must be done for them.
#[derive(Debug, Clone)]
pub enum Kind {
    /// `SELECT`, `VALUES`, `TABLE`, `WITH`
    Query(Box<Query>),
    /// A query with `FOR UPDATE` or its like
    Lock(Box<Locking>),
    /// `INSERT`, `UPDATE`, `DELETE`, `MERGE`, also after `WITH`
    Write(Box<Write>),
    /// `TRUNCATE`
    Truncate(Box<truncate::Truncating>),
    /// `CREATE`, `ALTER` and `DROP` of tables, indexes and views
    Define(Box<define::Definition>),
    /// `EXPLAIN [ANALYZE] query`
    Explain {
        /// The explained query.
        query: Box<Query>,
        /// Whether it runs.
        analyze: bool,
        /// `FORMAT json`
        json: bool,
    },
    /// `EXPLAIN [ANALYZE] EXECUTE name (…)`
    ExplainExecute {
        /// The name.
        name: String,
        /// Arguments, constant expressions.
        arguments: Vec<Expr>,
        /// Whether it runs.
        analyze: bool,
        /// `FORMAT json`
        json: bool,
    },
    /// `BEGIN`, `START TRANSACTION`
    Begin(Vec<TransactionMode>),
    /// Modes of transactions that say whether they are deferrable.
    Modes {
        /// Of which.
        place: modes::Place,
        /// The others.
        modes: Vec<TransactionMode>,
        /// `DEFERRABLE`
        is_deferrable: bool,
    },
    /// `COMMIT`, `END`
    Commit {
        /// `AND CHAIN`
        chain: bool,
    },
    /// `ROLLBACK`, `ABORT`
    Rollback {
        /// `AND CHAIN`
        chain: bool,
    },
    /// `SAVEPOINT name`
    Savepoint(String),
    /// `RELEASE SAVEPOINT name`
    Release(String),
    /// `ROLLBACK TO SAVEPOINT name`
    RollbackTo(String),
    /// `SET …`
    Set(Box<Set>),
    /// `RESET name`; `None` is `RESET ALL`.
    Reset(Option<String>),
    /// `SHOW name`; `all` is `SHOW ALL`.
    Show(String),
    /// `DISCARD …`
    Discard(DiscardObject),
    /// `PREPARE name [(types)] AS query`
    Prepare {
        /// The name.
        name: String,
        /// Declared parameter types.
        types: Vec<datafusion::sql::sqlparser::ast::DataType>,
        /// The statement's own text, to be parsed again.
        body: Box<Parsed>,
    },
    /// `EXECUTE name (…)`
    Execute {
        /// The name.
        name: String,
        /// Arguments, constant expressions.
        arguments: Vec<Expr>,
    },
    /// `DEALLOCATE name`; `None` is `ALL`.
    Deallocate(Option<String>),
    /// `CALL procedure(…)`
    Call(Box<Function>),
    /// `SELECT tributary.emit(…)`
    Emit(Box<Function>),
    /// `COPY … TO STDOUT`
    Copy {
        /// What is copied.
        query: Box<Query>,
        /// How.
        format: copy::CopyFormat,
    },
    /// `COPY … FROM STDIN`
    CopyIn(Box<copy::CopyIn>),
    /// `DECLARE name CURSOR FOR query`
    Declare {
        /// The name.
        name: String,
        /// Whose rows it has.
        query: Box<Query>,
        /// `BINARY`
        is_binary: bool,
    },
    /// `FETCH`, `MOVE`
    Fetch {
        /// The cursor's name.
        name: String,
        /// How far.
        forward: cursor::Forward,
        /// `MOVE`: the rows are not sent.
        is_move: bool,
    },
    /// `CLOSE name`; `None` is `ALL`.
    Close(Option<String>),
    /// `LISTEN channel`
    Listen(String),
    /// `UNLISTEN channel`; `None` is `*`.
    Unlisten(Option<String>),
    /// `NOTIFY channel [, payload]`
    Notify {
        /// The channel.
        channel: String,
        /// The payload; empty when absent.
        payload: String,
    },
    /// `SELECT pg_notify(channel, payload)`
    PgNotify(Box<Function>),
    /// `SUBSCRIBE TO …`, also inside of `COPY (…) TO STDOUT`
    Subscribe(Box<subscribe::Subscribing>),
    /// Something we know and refuse.
    Refused(Diagnosis),
}

impl Kind {
    /// Whether the statement may run in a failed transaction block.
    pub fn ends_block(&self) -> bool {
        matches!(self, Self::Commit { .. } | Self::Rollback { .. } | Self::RollbackTo(_))
    }
}

/// Parses a text of any number of statements.
///
/// # Errors
/// 42601 with position, 54001 when nested too deep.
pub fn parse(text: &str) -> Result<Vec<Parsed>, Diagnosis> {
    let whole: Arc<str> = text.into();
    let dialect = Postgres;
    let syntax = |error: ParserError| from_parser(&error, text);
    let mut tokens = Tokenizer::new(&dialect, text).tokenize_with_location().map_err(|error| syntax(error.into()))?;
    tokens::settle(&mut tokens, text)?;
    length::bound(&tokens)?;
    let mut locks = locks::take(&mut tokens, text)?;
    let mut parser = Parser::new(&dialect).with_recursion_limit(DEPTH_MAX).with_tokens_with_locations(tokens);
    let (may_emit, may_notify, mut statements) = (emit::is_named(text), notify::is_named(text), Vec::new());
    loop {
        while parser.consume_token(&Token::SemiColon) {}
        if parser.peek_token_ref().token == Token::EOF {
            return Ok(statements);
        }
        if is_external_table(&parser) {
            let message = "CREATE EXTERNAL TABLE is not allowed: tables come from the configured stores";
            return Err(Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, message));
        }
        let kind = match own_grammar(&mut parser).map_err(syntax)? {
            Some(mut kind) => {
                match &mut kind {
                    Kind::Copy { query, .. } => depth::bound(query.as_mut())?,
                    Kind::Define(definition) => definition.query_mut().map_or(Ok(()), depth::bound)?,
                    Kind::Subscribe(asked) => asked.query_mut().map_or(Ok(()), depth::bound)?,
                    Kind::CopyIn(copy) => copy.filled.condition.as_deref_mut().map_or(Ok(()), depth::bound)?,
                    _ => {}
                }
                kind
            }
            None => {
                let mut statement = parser.parse_statement().map_err(syntax)?;
                // Before anything else walks the tree, which for a chain is as deep as the chain is long.
                depth::bound(&mut statement)?;
                if may_emit {
                    emit::check(&statement)?;
                }
                if may_notify {
                    notify::check(&statement)?;
                }
                classify(statement, &whole)
            }
        };
        let kind = match locks.remove(&statements.len()) {
            Some(clauses) => locks::attach(kind, clauses),
            None => kind,
        };
        statements.push(Parsed { text: Arc::clone(&whole), kind });
        let next = parser.peek_token();
        if !matches!(next.token, Token::SemiColon | Token::EOF) {
            let position = character_of(text, next.span.start.line, next.span.start.column);
            let told = at_or_near(&next.token.to_string()).with_position(position);
            return Err(match statements.last().and_then(|last| notify::meant(&last.kind, &mut parser)) {
                Some(hint) => told.with_hint(hint),
                None => told,
            });
        }
    }
}

/// Statements whose grammar the parser has not, or not as PostgreSQL has it.
fn own_grammar(parser: &mut Parser<'_>) -> Result<Option<Kind>, ParserError> {
    if let Some(kind) = unknown_kind(parser) {
        return Ok(Some(kind));
    }
    if let Some(kind) = modes::parse(parser)? {
        return Ok(Some(kind));
    }
    if let Some(kind) = view::parse(parser)? {
        return Ok(Some(kind));
    }
    if let Some(kind) = cached::parse(parser)? {
        return Ok(Some(kind));
    }
    if let Some(kind) = results::parse(parser)? {
        return Ok(Some(kind));
    }
    if let Some(kind) = subscribe::parse(parser)? {
        return Ok(Some(kind));
    }
    if let Some(kind) = notify::parse(parser)? {
        return Ok(Some(kind));
    }
    match copy::parse(parser)? {
        Some(kind) => Ok(Some(kind)),
        None => cursor::parse(parser),
    }
}

/// First words of PostgreSQL's statements that the parser does not know at all.
const UNKNOWN_KINDS: &[&str] = &["do", "reindex", "cluster", "checkpoint", "reassign", "security", "import"];

/// The refusal of a statement of one of [`UNKNOWN_KINDS`]; its tokens are consumed.
fn unknown_kind(parser: &mut Parser<'_>) -> Option<Kind> {
    let first = match &parser.peek_token_ref().token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
        _ => return None,
    };
    if !UNKNOWN_KINDS.contains(&first.as_str()) {
        return None;
    }
    copy::skip(parser);
    let verb = match first.as_str() {
        "reassign" => "REASSIGN OWNED".to_owned(),
        "security" => "SECURITY LABEL".to_owned(),
        "import" => "IMPORT FOREIGN SCHEMA".to_owned(),
        other => other.to_uppercase(),
    };
    Some(refuse(sqlstate::FEATURE_NOT_SUPPORTED, &format!("{verb} is not supported")))
}

/// The engine's own dialect has `CREATE EXTERNAL TABLE … STORED AS …`, which Postgres' grammar does not even parse.
fn is_external_table(parser: &Parser<'_>) -> bool {
    let words = ["CREATE", "EXTERNAL", "TABLE"];
    words.iter().enumerate().all(|(place, word)| match &parser.peek_nth_token_ref(place).token {
        Token::Word(found) => found.value.eq_ignore_ascii_case(word),
        _ => false,
    })
}

fn classify(statement: Statement, text: &Arc<str>) -> Kind {
    match statement {
        Statement::Query(query) => query_kind(query),
        Statement::Explain { statement, analyze, options, format, .. } => {
            explain::classify(*statement, analyze, format.is_some(), options.as_deref().unwrap_or_default())
        }
        Statement::StartTransaction { modes, .. } => Kind::Begin(modes),
        Statement::Commit { chain, .. } => Kind::Commit { chain },
        Statement::Rollback { savepoint: Some(name), .. } => Kind::RollbackTo(fold(&name)),
        Statement::Rollback { chain, .. } => Kind::Rollback { chain },
        Statement::Savepoint { name } => Kind::Savepoint(fold(&name)),
        Statement::ReleaseSavepoint { name } => Kind::Release(fold(&name)),
        Statement::Set(set) => Kind::Set(Box::new(set)),
        Statement::Reset(reset) => match reset.reset {
            Reset::ALL => Kind::Reset(None),
            Reset::ConfigurationParameter(name) => Kind::Reset(Some(setting_name(&name))),
        },
        Statement::ShowVariable { variable } => Kind::Show(show_name(&variable)),
        Statement::Discard { object_type } => Kind::Discard(object_type),
        Statement::Prepare { name, data_types, statement } => match classify(*statement, text) {
            kind @ (Kind::Query(_) | Kind::Write(_)) => {
                Kind::Prepare { name: fold(&name), types: data_types, body: Box::new(Parsed { text: Arc::clone(text), kind }) }
            }
            refused @ Kind::Refused(_) => refused,
            // As PostgreSQL's grammar: a prepared EXECUTE could call itself for ever.
            _ => refuse(sqlstate::SYNTAX_ERROR, "only queries and statements that change rows can be prepared"),
        },
        Statement::Execute { name: Some(name), parameters, .. } => Kind::Execute { name: last_part(&name), arguments: parameters },
        Statement::Deallocate { name, .. } => {
            let all = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
            Kind::Deallocate((!all).then(|| fold(&name)))
        }
        Statement::Declare { stmts } => cursor::declare(stmts),
        Statement::Close { cursor: CloseCursor::All } => Kind::Close(None),
        Statement::Close { cursor: CloseCursor::Specific { name } } => Kind::Close(Some(fold(&name))),
        Statement::Truncate(parsed) => truncate::classify(parsed),
        Statement::Call(function) => Kind::Call(Box::new(function)),
        other => write_kind(other, None),
    }
}

/// A statement that changes rows, after its `WITH`; anything else is refused.
fn write_kind(statement: Statement, with: Option<With>) -> Kind {
    match Write::of(statement, with) {
        Ok(write) => Kind::Write(Box::new(write)),
        Err(other) => define::classify(*other),
    }
}

fn query_kind(query: Box<Query>) -> Kind {
    use datafusion::sql::sqlparser::ast::SetExpr;
    if let Some(function) = emit::of_query(&query) {
        return Kind::Emit(Box::new(function));
    }
    if let Some(function) = notify::of_query(&query) {
        return Kind::PgNotify(Box::new(function));
    }
    match query.body.as_ref() {
        // The parser reads nothing behind such a body.
        SetExpr::Insert(statement) | SetExpr::Update(statement) | SetExpr::Delete(statement) | SetExpr::Merge(statement) => {
            write_kind(statement.clone(), query.with.clone())
        }
        SetExpr::Select(select) if select.into.is_some() => refuse(sqlstate::FEATURE_NOT_SUPPORTED, "SELECT INTO is not supported"),
        _ => Kind::Query(query),
    }
}

fn refuse(code: &str, message: &str) -> Kind {
    Kind::Refused(Diagnosis::new(code, message))
}

fn refused(statement: &Statement) -> Kind {
    match statement {
        Statement::CreateFunction(_) => refuse(sqlstate::FEATURE_NOT_SUPPORTED, "CREATE FUNCTION is not supported"),
        other => {
            let text = other.to_string();
            let words: Vec<&str> =
                text.split_whitespace().take(2).filter(|word| word.chars().all(|c| c.is_ascii_uppercase())).collect();
            let verb = if words.is_empty() { "this statement".to_owned() } else { words.join(" ") };
            refuse(sqlstate::FEATURE_NOT_SUPPORTED, &format!("{verb} is not supported"))
        }
    }
}

/// An identifier as Postgres folds it.
pub fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn last_part(name: &ObjectName) -> String {
    name.0.last().and_then(ObjectNamePart::as_ident).map(fold).unwrap_or_default()
}

/// A setting's dotted name; settings are case-insensitive.
pub fn setting_name(name: &ObjectName) -> String {
    let parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(|ident| ident.value.to_lowercase()).collect();
    parts.join(".")
}

/// `SHOW a.b`, `SHOW TIME ZONE`, `SHOW TRANSACTION ISOLATION LEVEL`.
fn show_name(words: &[Ident]) -> String {
    let words: Vec<String> = words.iter().map(|ident| ident.value.to_lowercase()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["time", "zone"] => "timezone".to_owned(),
        ["transaction", "isolation", "level"] => "transaction_isolation".to_owned(),
        ["session", "authorization"] => "session_authorization".to_owned(),
        other => other.join("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, code: &str, position: Option<usize>) {
        let error = parse(text).unwrap_err();
        assert_eq!((error.sqlstate.as_str(), error.position), (code, position), "{text}: {error}");
    }

    #[test]
    fn syntax_errors_have_positions() {
        check("SELECT * FRM t", "42601", Some(14));
        check("SELECT 1;\nSELECT * FRM t", "42601", Some(24));
        check("SELECT (1", "42601", Some(10));
        check("SELECT 'x", "42601", Some(8));
    }

    #[test]
    fn nesting_is_limited() {
        let deep = format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000));
        assert_eq!(parse(&deep).unwrap_err().sqlstate, "54001");
        for (open, close) in [("NOT (", ")"), ("CASE WHEN true THEN ", " END"), ("cast(", " AS int)"), ("ARRAY[", "]")] {
            let retried = format!("SELECT {}nonsense(1{}", open.repeat(17), close.repeat(17));
            assert_eq!(parse(&retried).unwrap_err().sqlstate, "54001", "{open}");
            let fine = format!("SELECT {}1{}", open.repeat(16), close.repeat(16));
            assert_eq!(parse(&fine).unwrap().len(), 1, "{open}");
        }
        let fine = format!("SELECT {}1{}", "(".repeat(40), ")".repeat(40));
        assert_eq!(parse(&fine).unwrap().len(), 1);
    }

    fn refusal(text: &str) -> String {
        match parse(text).unwrap().remove(0).kind {
            Kind::Refused(error) => error.sqlstate,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn closed_doors_are_refused() {
        check("CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'", "42501", None);
        let rows = [
            ("COPY t TO '/tmp/x'", "42501"),
            ("COPY t FROM '/etc/passwd'", "42501"),
            ("COPY t TO PROGRAM 'cat'", "42501"),
            ("CREATE FUNCTION f() RETURNS int AS 'select 1' LANGUAGE sql", "0A000"),
            ("CREATE SCHEMA s", "0A000"),
            ("COPY (INSERT INTO t VALUES (1) RETURNING a) TO STDOUT", "0A000"),
            ("TRUNCATE t PARTITION (1)", "42601"),
            ("EXPLAIN DELETE FROM t", "0A000"),
            ("DECLARE c CURSOR FOR INSERT INTO t VALUES (1) RETURNING a", "42601"),
            ("SELECT 1 INTO t", "0A000"),
            ("DROP SEQUENCE s", "0A000"),
            ("DO $$ BEGIN NULL; END $$", "0A000"),
            ("reindex table t", "0A000"),
            ("CHECKPOINT; SELECT 1", "0A000"),
            ("PREPARE p AS EXECUTE q", "42601"),
            ("PREPARE p AS COMMIT", "42601"),
            ("EXPLAIN (FORMAT XML) SELECT 1", "0A000"),
        ];
        for (text, code) in rows {
            assert_eq!(refusal(text), code, "{text}");
        }
    }

    #[test]
    fn statements_that_change_rows_are_known() {
        let rows = [
            ("INSERT INTO t VALUES (1)", "INSERT", false),
            ("insert into t default values", "INSERT", false),
            ("UPDATE t SET a = 1", "UPDATE", false),
            ("DELETE FROM t", "DELETE", false),
            ("MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DO NOTHING", "MERGE", false),
            ("WITH x AS (SELECT 1) MERGE INTO t USING x ON true WHEN NOT MATCHED THEN INSERT DEFAULT VALUES", "MERGE", true),
            ("WITH x AS (SELECT 1) DELETE FROM t", "DELETE", true),
            ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", "INSERT", true),
            ("WITH x AS (SELECT 1) UPDATE t SET a = 1", "UPDATE", true),
        ];
        for (text, verb, has_with) in rows {
            for (prefix, prepares) in [("", false), ("PREPARE p AS ", true)] {
                let kind = match parse(&format!("{prefix}{text}")).unwrap().remove(0).kind {
                    Kind::Prepare { body, .. } if prepares => body.kind,
                    kind => kind,
                };
                let Kind::Write(write) = kind else { panic!("{text}: {kind:?}") };
                assert_eq!((write.verb(), write.with.is_some()), (verb, has_with), "{text}");
            }
        }
    }

    #[test]
    fn several_statements_and_empty_ones() {
        assert_eq!(parse(" ;; ").unwrap().len(), 0);
        assert_eq!(parse("SELECT 1; SELECT 2;").unwrap().len(), 2);
        assert_eq!(parse("-- only a comment").unwrap().len(), 0);
        assert!(
            matches!(&parse("SHOW TRANSACTION ISOLATION LEVEL").unwrap()[0].kind, Kind::Show(name) if name == "transaction_isolation")
        );
    }
}
