//! `SUBSCRIBE`: rows that come as a table changes, behind those that are there, or behind a position. They have no end of their own.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use futures::stream;

use super::select::SELECTED;
use super::{Bound, call, select};
use crate::changes::{Hub, Place};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::mistakes;
use crate::federation::plan::Setting;
use crate::federation::subscribe::{self, Delta};
use crate::pgtype::PgType;
use crate::session::Session;
use crate::session::follow::{Beginning, Following, FollowingView, Target, shape_of};
use crate::session::listen::too_many;
use crate::session::output::{Execution, OutputColumn, Rows, Tag};
use crate::session::rights::{Grounds, may_follow, not_followed};
use crate::session::statement::copy::{CopyFormat, ForceQuote};
use crate::session::statement::subscribe::{Start, Subscribing};

/// Most parameters of a subscription.
const PARAMETERS_MAX: usize = 16;

/// The columns that it gives; none where they leave as copy data.
pub(super) async fn columns(
    session: &mut Session,
    setting: &Setting,
    text: &Arc<str>,
    asked: &Subscribing,
) -> Result<Option<Vec<OutputColumn>>, Diagnosis> {
    let delta = plan(session, setting, text, asked).await?;
    Ok(asked.copy.is_none().then_some(delta.columns))
}

/// The types of its parameters: only a position may be one.
pub(super) fn parameters(asked: &Subscribing, given: &[u32]) -> Result<Vec<PgType>, Diagnosis> {
    match asked.start {
        Start::BehindParameter(number) if number <= PARAMETERS_MAX => {
            (0..number).map(|place| call::text_type(given, place)).collect()
        }
        Start::BehindParameter(number) => {
            Err(Diagnosis::new(sqlstate::UNDEFINED_PARAMETER, format!("there is no parameter ${number}")))
        }
        Start::Now | Start::Snapshot | Start::Behind(_) => Ok(Vec::new()),
    }
}

/// Runs one.
pub(super) async fn run(
    session: &mut Session,
    text: &Arc<str>,
    asked: &Subscribing,
    bound: Bound<'_>,
) -> Result<Execution, Diagnosis> {
    if session.block.as_ref().is_some_and(|block| !block.written().is_empty()) {
        let message = "SUBSCRIBE cannot run in a transaction that has written";
        return Err(Diagnosis::new(sqlstate::ACTIVE_SQL_TRANSACTION, message)
            .with_detail("It has no end, and what was written would stay locked."));
    }
    let place = position(asked, bound)?;
    // Before anything is asked of roles and catalog, so that what they are afterwards is noticed.
    let grounds = Grounds::of(&session.shared);
    let setting = session.setting();
    let delta = plan(session, &setting, text, asked).await?;
    if asked.copy.is_none() && !select::is_as_told(bound, &delta.columns) {
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "cached plan must not change result type"));
    }
    check_format(asked.copy.as_ref(), &delta.columns)?;
    let columns: Vec<usize> = (0..delta.table.columns.len()).collect();
    may_follow(&session.shared.roles.load(), &session.role, &delta.relation, &columns)?;
    let Some(store) = delta.store.clone() else {
        let following = follow_view(session, delta, (asked, place), grounds)?;
        let (columns, schema) = (following.columns().to_vec(), Arc::clone(following.schema()));
        let batches = stream::try_unfold(following, |mut following| async move {
            let next = Box::pin(following.next()).await;
            next.map(|batch| Some((batch, following))).map_err(DataFusionError::from)
        });
        let stream = Box::pin(RecordBatchStreamAdapter::new(schema, batches));
        let rows = Rows::new(columns, session.settings.display(), stream, SELECTED, session.guard.clone()).live();
        return Ok(given(rows, asked));
    };
    let seen = session.past.of_store(&store);
    let following = follow(session, delta, (asked, place), grounds).await?;
    let (columns, schema) = (following.columns().to_vec(), Arc::clone(following.schema()));
    let batches = stream::try_unfold(following, |mut following| async move {
        let next = Box::pin(following.next()).await;
        next.map(|batch| Some((batch, following))).map_err(DataFusionError::from)
    });
    let stream = Box::pin(RecordBatchStreamAdapter::new(schema, batches));
    let rows = Rows::new(columns, session.settings.display(), stream, SELECTED, session.guard.clone()).live().noted(seen);
    Ok(given(rows, asked))
}

/// The rows in the form that was asked for.
fn given(rows: Rows, asked: &Subscribing) -> Execution {
    match &asked.copy {
        Some(format) => Execution::Copy { rows: rows.with_tag(Tag::Counted("COPY")), format: format.clone() },
        None => Execution::Rows(rows),
    }
}

async fn plan(session: &mut Session, setting: &Setting, text: &Arc<str>, asked: &Subscribing) -> Result<Delta, Diagnosis> {
    let query = asked.query.as_ref();
    mistakes::check(query, text, &|name| session.shared.engine.is_aggregate(name))?;
    let planned = subscribe::plan_aside(&session.shared.engine, setting, query.clone()).await;
    planned.map_err(|error| pointed(select::located(error, query, text), &asked.start))
}

/// Whoever comes back to a table that is gone is told where what was told of it stays: a subscription has the columns of the table, and
/// there are none.
fn pointed(error: Diagnosis, start: &Start) -> Diagnosis {
    let comes_back = matches!(start, Start::Behind(_) | Start::BehindParameter(_));
    if comes_back && error.sqlstate == sqlstate::UNDEFINED_TABLE && error.hint.is_none() {
        return error.with_hint("What is retained of the changes of a table that is gone is in tributary.changes.");
    }
    error
}

/// The columns that COPY names must be there.
fn check_format(format: Option<&CopyFormat>, columns: &[OutputColumn]) -> Result<(), Diagnosis> {
    let Some(CopyFormat::Csv { force: ForceQuote::Columns(names), .. }) = format else { return Ok(()) };
    let known: BTreeSet<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    match names.iter().find(|name| !known.contains(name.as_str())) {
        Some(missing) => Err(Diagnosis::new(sqlstate::UNDEFINED_COLUMN, format!("column \"{missing}\" does not exist"))),
        None => Ok(()),
    }
}

/// The position behind which it begins.
fn position(asked: &Subscribing, bound: Bound<'_>) -> Result<Option<Place>, Diagnosis> {
    let text = match &asked.start {
        Start::Now | Start::Snapshot => return Ok(None),
        Start::Behind(text) => text.as_str(),
        Start::BehindParameter(number) => {
            let values = bound.map(|(_, values)| values).unwrap_or_default();
            match number.checked_sub(1).and_then(|place| values.get(place)) {
                Some(ScalarValue::Utf8(Some(text))) => text.as_str(),
                Some(_) => return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, "the position of a subscription is NULL")),
                None => return Err(Diagnosis::new(sqlstate::UNDEFINED_PARAMETER, format!("there is no parameter ${number}"))),
            }
        }
    };
    text.parse::<Place>().map(Some).map_err(|error| Diagnosis::of(&error))
}

/// Takes a place among subscriptions, and one among the events of the store.
async fn follow(
    session: &mut Session,
    delta: Delta,
    (asked, place): (&Subscribing, Option<Place>),
    grounds: Grounds,
) -> Result<Following, Diagnosis> {
    let feeds = Arc::clone(&session.shared.feeds);
    let Some(store) = delta.store.clone() else { return Err(super::internal("a view is followed as a table")) };
    let label = (delta.relation.schema.as_str(), delta.relation.name.as_str());
    let shape = feeds.subscribed_from(&store, &delta.table.id).map_err(|why| not_followed(label, &why))?;
    delta.check(&shape)?;
    let gone = || Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("store \"{store}\" is not followed"));
    let hub: Arc<Hub> = feeds.hub(&store).ok_or_else(gone)?;
    let present = feeds.subscriptions("subscribe").ok_or_else(too_many)?;
    // What is published until now is in the snapshot or told behind it, under the columns that the table has now.
    let published = hub.last();
    let (cursor, fill) = match (&asked.start, place) {
        (Start::Snapshot, _) => {
            let filled = feeds.fill(&store, &delta.table).await;
            let (fill, cursor, capture) = filled.map_err(|error| Diagnosis::of(&error))?;
            (cursor, Some((fill, capture)))
        }
        (_, Some(place)) => (hub.at(&place).map_err(|told| Diagnosis::of(&told))?, None),
        (_, None) => (hub.at_end(), None),
    };
    let ranges = if delta.table.division.is_some() { session.shared.engine.ranges().max(1) } else { 1 };
    let target = Target { delta, shape, _present: present, role: session.role.clone() };
    let following = Following::new(Arc::clone(&session.shared), target, (cursor, grounds));
    match fill {
        Some((fill, capture)) => following.filled((fill, capture), published, ranges).await,
        None => Ok(following),
    }
}

/// The same of a materialized view, which has no events: what is told of is how its states differ.
fn follow_view(
    session: &mut Session,
    delta: Delta,
    (asked, place): (&Subscribing, Option<Place>),
    grounds: Grounds,
) -> Result<FollowingView, Diagnosis> {
    if place.is_some() {
        let message = "a subscription to a materialized view begins behind no position";
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
            .with_hint("WITH SNAPSHOT gives its rows as they are, and then how they change."));
    }
    let shared = Arc::clone(&session.shared);
    let name = (delta.relation.schema.as_str(), delta.relation.name.as_str());
    let absent = || {
        let message = format!("the rows of materialized view \"{}\" are not there now", delta.relation.name);
        Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .with_hint("tributary.freshness shows how it stands; REFRESH MATERIALIZED VIEW fills it.")
    };
    let mut moved = shared.views.moved(name).ok_or_else(absent)?;
    // Before the rows are taken: what comes behind this is told.
    moved.mark_unchanged();
    let reading = shared.views.reading(name).ok_or_else(absent)?;
    let shape = shape_of(&delta, reading.rows());
    delta.check(&shape)?;
    let present = shared.feeds.subscriptions("subscribe").ok_or_else(too_many)?;
    let beginning = Beginning { moved, reading, is_told: matches!(asked.start, Start::Snapshot) };
    let target = Target { delta, shape, _present: present, role: session.role.clone() };
    Ok(FollowingView::new(shared, target, grounds, beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_to_a_table_that_is_gone_is_told_where_its_changes_are() {
        let gone = || Diagnosis::new(sqlstate::UNDEFINED_TABLE, "relation \"shop.orders\" does not exist");
        let behind = Start::Behind("p".to_owned());
        let hint = |error: Diagnosis, start: &Start| pointed(error, start).hint;
        assert!(hint(gone(), &behind).unwrap().contains("tributary.changes"));
        assert!(hint(gone(), &Start::BehindParameter(1)).is_some());
        assert_eq!((hint(gone(), &Start::Now), hint(gone(), &Start::Snapshot)), (None, None));
        assert_eq!(hint(gone().with_hint("Perhaps."), &behind).as_deref(), Some("Perhaps."));
        assert_eq!(hint(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "no"), &behind), None);
    }
}
