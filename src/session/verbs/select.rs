//! Queries.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Query;

use super::{Bound, results};
use crate::catalog::Snapshot;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::{locate, mistakes};
use crate::federation::digits;
use crate::federation::fast::{Lookup, Point};
use crate::federation::plan::{self, Planned, Setting};
use crate::federation::ranges::Reading;
use crate::session::Session;
use crate::session::output::{Execution, OutputColumn, Relaying, Rows, Tag};
use crate::session::prepared::{Prepared, Route};
use crate::session::statement::Kind;
use crate::session::transaction::Block;

/// The command tag of queries.
pub(super) const SELECTED: Tag = Tag::Counted("SELECT");

/// Plans a query; errors that name a relation or column get their place in the text.
pub(super) async fn plan(
    session: &mut Session,
    setting: &Setting,
    text: &Arc<str>,
    query: &Query,
    given: &[u32],
) -> Result<Planned, Diagnosis> {
    mistakes::check(query, text, &|name| session.shared.engine.is_aggregate(name))?;
    let planned = plan::plan_aside(&session.shared.engine, setting, query.clone(), given).await;
    planned.map_err(|error| located(error, query, text))
}

pub(super) fn located(error: Diagnosis, query: &Query, text: &str) -> Diagnosis {
    let position = error.position.or_else(|| locate::position(&error, query, text));
    error.with_position(position)
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
    let is_current = |planned: &&Planned| prepared.planned_under == under && !planned.is_of_a_moment();
    if let Some(planned) = prepared.planned.as_ref().filter(is_current) {
        return Ok(planned.clone());
    }
    let given = described(prepared);
    let planned = plan(session, setting, text, query, &given).await?;
    session.names.replan(prepared, &planned, under);
    Ok(planned)
}

/// The parameter types that a client was told.
pub(super) fn described(prepared: &Prepared) -> Vec<u32> {
    prepared.description.parameters.iter().map(|pg_type| pg_type.oid).collect()
}

/// The fast form of a query for a session.
pub(super) fn resolve(session: &Session, snapshot: &Snapshot, query: &Query, given: &[u32]) -> Option<Arc<Lookup>> {
    // Without pushdown a store is asked for no row by a condition.
    if !session.settings.is_on("tributary.fast_path") || session.settings.show("tributary.pushdown") == Ok("none") {
        return None;
    }
    Lookup::resolve(query, snapshot, &session.search_path(), given).map(Arc::new)
}

/// The same for the query of a statement that is run.
pub(super) fn resolve_bound(session: &Session, snapshot: &Snapshot, query: &Query, bound: Bound<'_>) -> Option<Arc<Lookup>> {
    match bound {
        Some((prepared, _)) => resolve(session, snapshot, query, &described(prepared)),
        None => resolve(session, snapshot, query, &[]).filter(|lookup| lookup.parameters.is_empty()),
    }
}

/// The prepared statement's fast form while nothing it stands on has changed, else a new one, which replaces it.
fn current_lookup(session: &mut Session, snapshot: &Snapshot, query: &Query, bound: Bound<'_>) -> Option<Arc<Lookup>> {
    let Some((prepared, _)) = bound else { return resolve_bound(session, snapshot, query, bound) };
    let under = (snapshot.version, session.settings.generation());
    if prepared.route.under == under {
        return prepared.route.lookup.clone();
    }
    let found = resolve_bound(session, snapshot, query, bound);
    let route = Route { under, lookup: found.filter(|lookup| is_as_told(bound, &lookup.columns)) };
    session.names.reroute(prepared, &route);
    route.lookup
}

/// Whether a client that was told columns would get those columns.
pub(super) fn is_as_told(bound: Bound<'_>, columns: &[OutputColumn]) -> bool {
    let Some(told) = bound.and_then(|(prepared, _)| prepared.description.columns.as_ref()) else { return true };
    let alike = |(old, new): (&OutputColumn, &OutputColumn)| old.pg_type == new.pg_type && old.name == new.name;
    told.len() == columns.len() && told.iter().zip(columns).all(alike)
}

/// The straight way of a portal: its prepared lookup still holds, stands alone in its branches, and has rows that need not be
/// decoded for the formats of the portal, which come from the store and not from a copy. `None` leaves the portal as it was.
pub(in crate::session) fn relay(session: &mut Session, name: &str) -> Option<Relaying> {
    // What the block has written is seen through its own branches only.
    let is_bound = |block: &Block| block.failed || block.modes.isolation.is_repeatable() || block.writers.is_some();
    if session.block.as_ref().is_some_and(is_bound) {
        return None;
    }
    let snapshot = session.snapshot();
    let under = (snapshot.version, session.settings.generation());
    let portal = session.names.portal(name).ok()?;
    let route = &portal.statement.route;
    let lookup = route.lookup.as_ref().filter(|_| route.under == under && portal.rows.is_none() && !portal.done)?;
    if let Some(Kind::Query(query)) = portal.statement.parsed.as_ref().map(|parsed| &parsed.kind)
        && results::may_serve(session, &snapshot, query)
    {
        return None;
    }
    let relay = lookup.relay(&snapshot, &portal.parameters, &portal.formats)?;
    let lookup = Arc::clone(lookup);
    // What keeps them from being made is told where the statement is run.
    let branches = session.branches(&snapshot).ok()?;
    if lookup.is_copied(&branches) {
        return None;
    }
    session.names.portal_mut(name).ok()?.done = true;
    let seen = session.past.through(&branches);
    Some(Relaying::new(relay, branches, session.guard.clone(), seen))
}

/// The row of a portal whose prepared lookup still holds and is answered from a copy at once, in a statement of its own. `None` leaves
/// the portal as it was.
pub(in crate::session) fn point(session: &mut Session, name: &str) -> Option<Point> {
    if session.block.is_some() || session.shared.caches.is_empty() || session.series.is_full() {
        return None;
    }
    let snapshot = session.snapshot();
    let under = (snapshot.version, session.settings.generation());
    let portal = session.names.portal(name).ok()?;
    let route = &portal.statement.route;
    let is_new = portal.rows.is_none() && !portal.done && !portal.broken;
    let lookup = route.lookup.as_ref().filter(|_| route.under == under && is_new)?;
    if let Some(Kind::Query(query)) = portal.statement.parsed.as_ref().map(|parsed| &parsed.kind)
        && results::may_serve(session, &snapshot, query)
    {
        return None;
    }
    let point = lookup.point(&session.shared.caches, &session.wants_at_once()?, &portal.parameters)?;
    if let Some(noted) = session.series.noted() {
        point.note(&noted);
    }
    session.names.portal_mut(name).ok()?.done = true;
    Some(point)
}

/// Runs a query.
pub(super) async fn run(
    session: &mut Session,
    text: &Arc<str>,
    query: &Query,
    bound: Bound<'_>,
    reading: Reading,
) -> Result<Execution, Diagnosis> {
    if let Some(execution) = results::run(session, text, query, bound, reading).await? {
        return Ok(execution);
    }
    let values = bound.map(|(_, values)| values).unwrap_or_default();
    let snapshot = session.snapshot();
    if let Some(lookup) = current_lookup(session, &snapshot, query, bound)
        && let Some(ready) = lookup.bind(&snapshot, values)
    {
        let branches = session.branches_for(&snapshot, reading)?;
        let stream = ready.run(&session.shared.engine, &branches)?;
        let rows = Rows::new(lookup.columns.clone(), session.settings.display(), stream, SELECTED, session.guard.clone());
        return Ok(Execution::Rows(rows.noted(session.past.through(&branches))));
    }
    Box::pin(run_planned(session, text, query, bound, reading)).await
}

async fn run_planned(
    session: &mut Session,
    text: &Arc<str>,
    query: &Query,
    bound: Bound<'_>,
    reading: Reading,
) -> Result<Execution, Diagnosis> {
    let setting = Setting { reading, ..session.setting() };
    let planned = current_plan(session, &setting, text, query, bound).await?;
    if !is_as_told(bound, &planned.columns) {
        session.shared.doubt(&planned);
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "cached plan must not change result type"));
    }
    let branches = session.branches_for(&setting.snapshot, reading)?;
    let values = bound.map(|(_, values)| values).unwrap_or_default();
    let ready = digits::bind(&session.shared.engine, &setting, &planned, values, (&branches, None)).await;
    let stream = ready.map_err(|error| located(error, query, text))?.run()?;
    let rows = Rows::new(planned.columns, session.settings.display(), stream, SELECTED, session.guard.clone());
    Ok(Execution::Rows(rows.noted(session.past.through(&branches))))
}
