//! `PREPARE` and `EXECUTE` in SQL, and `EXPLAIN EXECUTE`.

use std::sync::Arc;

use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{DataType, Expr};

use super::explain::Asked;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::plan::constants;
use crate::federation::ranges::Reading;
use crate::session::Session;
use crate::session::output::Execution;
use crate::session::prepared::Prepared;
use crate::session::statement::{Kind, Parsed};

/// `PREPARE name (types) AS query`
pub(super) async fn prepare(session: &mut Session, name: &str, types: &[DataType], body: &Parsed) -> Result<Execution, Diagnosis> {
    session.names.check_statement(name, &body.text)?;
    let given: Result<Vec<u32>, Diagnosis> = types.iter().map(crate::federation::plan::type_oid).collect();
    let prepared = super::prepare(session, Some(body.clone()), &given?).await?;
    session.names.add_by_sql(name, prepared)?;
    Ok(Execution::Done("PREPARE".to_owned()))
}

/// `EXECUTE name (arguments)`
pub(super) async fn run(
    session: &mut Session,
    text: &Arc<str>,
    name: &str,
    arguments: &[Expr],
    reading: Reading,
) -> Result<Execution, Diagnosis> {
    // A statement that changes rows is not stopped from outside, but its arguments are.
    let guard = session.guard.clone();
    let (prepared, values) = guard.run(bind(session, name, arguments)).await??;
    let Some(parsed) = prepared.parsed.clone() else { return Ok(Execution::Empty) };
    let parsed = Parsed { text: Arc::clone(text), ..parsed };
    let ended = Box::pin(super::run(session, &parsed, Some((&prepared, &values)), reading)).await;
    // A place in the prepared text is no place in the text of EXECUTE.
    ended.map_err(|error| error.with_position(None))
}

/// `EXPLAIN EXECUTE name (arguments)`
pub(super) async fn explain(
    session: &mut Session,
    text: &Arc<str>,
    name: &str,
    arguments: &[Expr],
    asked: Asked,
) -> Result<Execution, Diagnosis> {
    let (prepared, values) = bind(session, name, arguments).await?;
    let Some(Kind::Query(query)) = prepared.parsed.as_ref().map(|parsed| &parsed.kind) else {
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "EXPLAIN is supported for queries only"));
    };
    let ended = Box::pin(super::explain::run(session, text, query, asked, Some((prepared.as_ref(), values.as_slice())))).await;
    ended.map_err(|error| error.with_position(None))
}

/// A prepared statement with values for its parameters.
async fn bind(session: &mut Session, name: &str, arguments: &[Expr]) -> Result<(Arc<Prepared>, Vec<ScalarValue>), Diagnosis> {
    let prepared = Arc::clone(session.names.statement(name)?);
    let wanted = &prepared.description.parameters;
    if arguments.len() != wanted.len() {
        let message = format!("wrong number of parameters for prepared statement \"{name}\"");
        let detail = format!("Expected {} parameters but got {}.", wanted.len(), arguments.len());
        return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, message).with_detail(detail));
    }
    let setting = session.setting();
    let values = constants(&session.shared.engine, &setting, arguments, wanted).await?;
    Ok((prepared, values))
}
