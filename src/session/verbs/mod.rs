//! One file per statement kind. Each has an entry function that does the statement's work on a session.

mod cached;
mod call;
mod compensate;
mod copy;
mod cursor;
mod define;
mod discard;
mod emit;
mod execute;
mod explain;
mod listen;
mod lock;
mod materialized;
mod resolve;
mod result_rules;
mod results;
mod rights;
mod select;
mod set;
mod show;
mod subscribe;
mod table;
pub(super) mod transaction;
mod truncate;
mod view;
mod write;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use futures::stream;

use super::Session;
use super::output::{Execution, OutputColumn, Rows, Tag};
use super::prepared::{Description, Prepared, Route};
use super::statement::{Kind, Parsed};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::ranges::Reading;
use crate::pgtype::PgType;

pub(super) use define::joins_transactions;
pub(super) use select::{point, relay};
pub(super) use set::check_role;

/// A prepared statement with its parameters, when the extended protocol runs it.
pub(super) type Bound<'a> = Option<(&'a Prepared, &'a [ScalarValue])>;

/// Runs a statement.
pub(super) async fn run(
    session: &mut Session,
    statement: &Parsed,
    bound: Option<(&Prepared, &Vec<ScalarValue>)>,
    reading: Reading,
) -> Result<Execution, Diagnosis> {
    let bound: Bound<'_> = bound.map(|(prepared, values)| (prepared, values.as_slice()));
    match &statement.kind {
        Kind::Query(query) => select::run(session, &statement.text, query, bound, reading).await,
        Kind::Write(write) => Box::pin(write::run(session, &statement.text, write, bound)).await,
        Kind::Lock(locking) => Box::pin(lock::run(session, &statement.text, locking, bound, reading)).await,
        Kind::Explain { query, analyze, json } => {
            let asked = explain::Asked { analyze: *analyze, json: *json };
            explain::run(session, &statement.text, query, asked, bound).await
        }
        Kind::ExplainExecute { name, arguments, analyze, json } => {
            let asked = explain::Asked { analyze: *analyze, json: *json };
            execute::explain(session, &statement.text, name, arguments, asked).await
        }
        Kind::Begin(modes) => transaction::begin(session, modes),
        Kind::Modes { place, modes, is_deferrable } => transaction::with_deferrable(session, *place, modes, *is_deferrable),
        Kind::Commit { chain } => transaction::commit(session, *chain).await,
        Kind::Rollback { chain } => transaction::rollback(session, *chain).await,
        Kind::Savepoint(name) => transaction::savepoint(session, name).await,
        Kind::Release(name) => transaction::release(session, name).await,
        Kind::RollbackTo(name) => transaction::rollback_to(session, name).await,
        Kind::Set(set) => set::run(session, set),
        Kind::Reset(name) => set::reset(session, name.as_deref()),
        Kind::Show(name) => show::run(session, name).await,
        Kind::Discard(object) => discard::run(session, *object),
        Kind::Prepare { name, types, body } => execute::prepare(session, name, types, body).await,
        Kind::Execute { name, arguments } => execute::run(session, &statement.text, name, arguments, reading).await,
        Kind::Deallocate(name) => discard::deallocate(session, name.as_deref()),
        Kind::Call(function) => Box::pin(call::run(session, &statement.text, function, bound)).await,
        Kind::Emit(function) => Box::pin(emit::query(session, &statement.text, function, bound)).await,
        Kind::Copy { query, format } => copy::run(session, &statement.text, query, format).await,
        Kind::CopyIn(asked) => Box::pin(copy::begin(session, &statement.text, asked)).await,
        Kind::Declare { name, query, is_binary } => cursor::declare(session, &statement.text, name, query, *is_binary).await,
        Kind::Fetch { name, forward, is_move: false } => cursor::fetch(session, name, *forward),
        Kind::Fetch { name, forward, is_move: true } => cursor::skip(session, name, *forward).await,
        Kind::Close(name) => cursor::close(session, name.as_deref()),
        Kind::Truncate(truncating) => Box::pin(truncate::run(session, &statement.text, truncating)).await,
        Kind::Define(definition) => Box::pin(define::run(session, &statement.text, definition)).await,
        Kind::Listen(channel) => listen::listen(session, channel),
        Kind::Unlisten(channel) => listen::unlisten(session, channel.as_deref()),
        Kind::Notify { channel, payload } => listen::notify(session, channel, payload),
        Kind::PgNotify(function) => listen::pg_notify(session, function, bound),
        Kind::Subscribe(asked) => Box::pin(subscribe::run(session, &statement.text, asked, bound)).await,
        Kind::Refused(error) => Err(error.clone()),
    }
}

/// Whether what a statement does is kept or undone with its transaction, which those behind it share then.
pub(super) fn is_write(session: &Session, kind: &Kind) -> bool {
    write::is_one(session, kind) || listen::is_one(kind)
}

/// Whether a statement is waited for once it runs, though it may be told to stop: what it does in the stores is known only when they
/// have answered.
pub(super) fn is_waited_for(session: &Session, kind: &Kind) -> bool {
    let is_told_apart = match kind {
        Kind::Savepoint(_) | Kind::Release(_) | Kind::Define(_) => true,
        Kind::Call(function) => call::is_waited_for(function),
        _ => false,
    };
    kind.ends_block() || is_told_apart || write::is_one(session, kind)
}

/// Prepares a statement: plans queries, knows the columns of the rest.
pub(super) async fn prepare(session: &mut Session, parsed: Option<Parsed>, given: &[u32]) -> Result<Prepared, Diagnosis> {
    let setting = session.setting();
    let planned_under = (setting.snapshot.version, session.settings.generation());
    let (mut planned, mut written, mut route) = (None, None, Route::default());
    let columns = match parsed.as_ref().map(|parsed| (&parsed.kind, &parsed.text)) {
        Some((Kind::Query(query), text)) => {
            route = Route { under: planned_under, lookup: select::resolve(session, &setting.snapshot, query, given) };
            match &route.lookup {
                Some(lookup) => Some(lookup.columns.clone()),
                None => {
                    let plan = select::plan(session, &setting, text, query, given).await?;
                    let columns = plan.columns.clone();
                    planned = Some(plan);
                    Some(columns)
                }
            }
        }
        Some((Kind::Lock(locking), text)) => {
            let plan = Box::pin(lock::plan(session, &setting, text, locking, given)).await?;
            let columns = plan.columns.clone();
            planned = Some(plan);
            Some(columns)
        }
        Some((Kind::Write(asked), text)) => {
            let plan = Box::pin(write::prepare(session, &setting, text, asked, given)).await?;
            let columns = plan.columns.clone();
            written = Some((plan, write::lasts(asked, &setting)));
            columns
        }
        Some((Kind::Explain { query, json, .. }, text)) => {
            planned = Some(select::plan(session, &setting, text, query, given).await?);
            Some(vec![explain::column(*json)])
        }
        Some((Kind::ExplainExecute { json, .. }, _)) => Some(vec![explain::column(*json)]),
        Some((Kind::Show(name), _)) => Some(show::columns(name)),
        Some((Kind::Execute { name, .. }, _)) => session.names.statement(name)?.description.columns.clone(),
        Some((Kind::Fetch { name, is_move: false, .. }, _)) => cursor::description(session, name)?.columns,
        Some((Kind::Emit(_), _)) => Some(emit::columns()),
        Some((Kind::PgNotify(_), _)) => Some(listen::columns()),
        Some((Kind::Subscribe(asked), text)) => Box::pin(subscribe::columns(session, &setting, text, asked)).await?,
        Some((Kind::Refused(error), _)) => return Err(error.clone()),
        Some(_) | None => None,
    };
    let parameters = match (&planned, &route.lookup, &written) {
        (Some(plan), ..) => plan.parameters.clone(),
        (None, Some(lookup), _) => lookup.parameters.clone(),
        (None, None, Some((plan, _))) => plan.parameters.clone(),
        (None, None, None) => match parsed.as_ref().map(|parsed| &parsed.kind) {
            Some(Kind::Call(function) | Kind::Emit(function) | Kind::PgNotify(function)) => call::parameters(function, given)?,
            Some(Kind::Subscribe(asked)) => subscribe::parameters(asked, given)?,
            _ => Vec::new(),
        },
    };
    let write = written.and_then(|(plan, lasts)| lasts.then_some(plan));
    let description = Description { parameters, columns };
    Ok(Prepared { parsed, name: String::new(), route, planned, write, planned_under, description })
}

/// A column of type text that comes from no table.
fn text_column(name: &str) -> OutputColumn {
    OutputColumn { name: name.to_owned(), pg_type: PgType::TEXT, table_oid: 0, column_number: 0 }
}

/// Rows of text values that are known already.
fn text_rows(session: &Session, tag: Tag, columns: Vec<OutputColumn>, rows: &[Vec<String>]) -> Result<Rows, Diagnosis> {
    let fields: Vec<Field> = columns.iter().map(|column| Field::new(&column.name, DataType::Utf8, true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let arrays = (0..columns.len()).map(|place| {
        let values: StringArray = rows.iter().map(|row| row.get(place).cloned()).collect();
        Arc::new(values) as ArrayRef
    });
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.collect()).map_err(|error| internal(&error.to_string()))?;
    let stream = RecordBatchStreamAdapter::new(schema, stream::iter([Ok(batch)]));
    Ok(Rows::new(columns, session.settings.display(), Box::pin(stream), tag, session.guard.clone()))
}

/// What a portal that has run to its end gives when it is executed again.
pub(super) fn no_rows(session: &Session, statement: &Prepared) -> Rows {
    let columns = statement.description.columns.clone().unwrap_or_default();
    let fields: Vec<Field> = columns.iter().map(|column| Field::new(&column.name, column.pg_type.carrier(), true)).collect();
    let stream = RecordBatchStreamAdapter::new(Arc::new(Schema::new(fields)), stream::empty());
    let tag = match statement.parsed.as_ref().map(|parsed| &parsed.kind) {
        Some(Kind::Write(write)) => Tag::Counted(write::tag_of(write.verb())),
        _ => select::SELECTED,
    };
    Rows::new(columns, session.settings.display(), Box::pin(stream), tag, session.guard.clone())
}

fn internal(message: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::INTERNAL_ERROR, message)
}
