//! Queries.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Query;

use super::Bound;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::{locate, mistakes};
use crate::federation::plan::{self, Planned, Setting};
use crate::session::Session;
use crate::session::output::{Execution, OutputColumn, Rows};

/// Plans a query; errors that name a relation or column get their place in the text.
pub(super) async fn plan(
    session: &mut Session,
    setting: &Setting,
    text: &Arc<str>,
    query: &Query,
    given: &[u32],
) -> Result<Planned, Diagnosis> {
    mistakes::check(query, text, &|name| session.shared.engine.is_aggregate(name))?;
    plan::plan_aside(&session.shared.engine, setting, query.clone(), given).await.map_err(|error| {
        let position = error.position.or_else(|| locate::position(&error, query, text));
        error.with_position(position)
    })
}

/// The plan to run: the prepared one while nothing it stands on has changed, else a new one, which replaces it.
pub(super) async fn current_plan(
    session: &mut Session,
    setting: &Setting,
    text: &Arc<str>,
    query: &Query,
    bound: Bound<'_>,
) -> Result<Planned, Diagnosis> {
    let Some((prepared, _)) = bound else {
        let planned = plan(session, setting, text, query, &[]).await?;
        if !planned.parameters.is_empty() {
            return Err(Diagnosis::new(sqlstate::UNDEFINED_PARAMETER, "there is no parameter $1"));
        }
        return Ok(planned);
    };
    let under = (setting.snapshot.version, session.settings.generation());
    if let Some(planned) = prepared.planned.as_ref().filter(|_| prepared.planned_under == under) {
        return Ok(planned.clone());
    }
    let given: Vec<u32> = prepared.description.parameters.iter().map(|pg_type| pg_type.oid).collect();
    let planned = plan(session, setting, text, query, &given).await?;
    session.names.replan(prepared, &planned, under);
    Ok(planned)
}

/// A client that was told columns gets those columns.
fn check_columns(bound: Bound<'_>, planned: &Planned) -> Result<(), Diagnosis> {
    let Some(told) = bound.and_then(|(prepared, _)| prepared.description.columns.as_ref()) else { return Ok(()) };
    let alike = |(old, new): (&OutputColumn, &OutputColumn)| old.pg_type == new.pg_type && old.name == new.name;
    if told.len() == planned.columns.len() && told.iter().zip(&planned.columns).all(alike) {
        return Ok(());
    }
    Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "cached plan must not change result type"))
}

/// Runs a query.
pub(super) async fn run(session: &mut Session, text: &Arc<str>, query: &Query, bound: Bound<'_>) -> Result<Execution, Diagnosis> {
    let setting = session.setting();
    let planned = current_plan(session, &setting, text, query, bound).await?;
    check_columns(bound, &planned)?;
    let branches = session.branches(&setting);
    let values = bound.map(|(_, values)| values).unwrap_or_default();
    let ready = plan::bind_aside(&session.shared.engine, &setting, &planned, values, &branches).await?;
    let stream = ready.run()?;
    Ok(Execution::Rows(Rows::new(planned.columns, session.settings.display(), stream, "SELECT", session.guard.clone())))
}
