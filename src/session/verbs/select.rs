//! Queries.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Query;

use super::Bound;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::locate;
use crate::federation::plan::{self, Planned, Setting};
use crate::session::Session;
use crate::session::output::{Execution, Rows};

/// Plans a query; errors that name a relation or column get their place in the text.
pub(super) fn plan(
    session: &Session,
    setting: &Setting,
    text: &Arc<str>,
    query: &Query,
    given: &[u32],
) -> Result<Planned, Diagnosis> {
    plan::plan(&session.shared.engine, setting, query.clone(), given).map_err(|error| {
        let position = error.position.or_else(|| locate::position(&error, query, text));
        error.with_position(position)
    })
}

/// The plan to run: the prepared one while nothing it stands on has changed, else a new one.
pub(super) fn current_plan(
    session: &Session,
    setting: &Setting,
    text: &Arc<str>,
    query: &Query,
    bound: Bound<'_>,
) -> Result<Planned, Diagnosis> {
    let Some((prepared, _)) = bound else {
        let planned = plan(session, setting, text, query, &[])?;
        if !planned.parameters.is_empty() {
            return Err(Diagnosis::new(sqlstate::UNDEFINED_PARAMETER, "there is no parameter $1"));
        }
        return Ok(planned);
    };
    let under = (setting.snapshot.version, session.settings.fingerprint());
    match &prepared.planned {
        Some(planned) if prepared.planned_under == under => Ok(planned.clone()),
        _ => {
            let given: Vec<u32> = prepared.description.parameters.iter().map(|pg_type| pg_type.oid).collect();
            let planned = plan(session, setting, text, query, &given)?;
            let same = prepared.description.columns.as_ref().is_some_and(|columns| {
                columns.len() == planned.columns.len()
                    && columns.iter().zip(&planned.columns).all(|(old, new)| old.pg_type == new.pg_type && old.name == new.name)
            });
            if !same
                && prepared
                    .planned
                    .as_ref()
                    .is_some_and(|old| old.columns.len() == prepared.description.columns.as_ref().map_or(0, Vec::len))
            {
                return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "cached plan must not change result type"));
            }
            Ok(planned)
        }
    }
}

/// Runs a query.
pub(super) async fn run(session: &mut Session, text: &Arc<str>, query: &Query, bound: Bound<'_>) -> Result<Execution, Diagnosis> {
    let setting = session.setting();
    let planned = current_plan(session, &setting, text, query, bound)?;
    let branches = session.branches(&setting);
    let values = bound.map(|(_, values)| values).unwrap_or_default();
    let ready = plan::bind(&session.shared.engine, &setting, &planned, values, &branches).await?;
    let stream = ready.run()?;
    Ok(Execution::Rows(Rows::new(planned.columns, session.settings.display(), stream, "SELECT", session.guard.clone())))
}
