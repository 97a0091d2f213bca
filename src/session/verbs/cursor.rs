//! Cursors: portals that SQL makes and reads. They live as long as their block, and stream like any other portal.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Query;

use super::select;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::ranges::Reading;
use crate::format::Format;
use crate::session::Session;
use crate::session::output::{Execution, Rows, Tag};
use crate::session::prepared::{Description, Portal, Prepared, Route};
use crate::session::statement::cursor::Forward;
use crate::session::statement::{Kind, Parsed};

/// `DECLARE name CURSOR FOR query`: the query starts, and its rows wait for FETCH.
pub(super) async fn declare(
    session: &mut Session,
    text: &Arc<str>,
    name: &str,
    query: &Query,
    is_binary: bool,
) -> Result<Execution, Diagnosis> {
    if session.block.is_none() {
        let message = "DECLARE CURSOR can only be used in transaction blocks";
        return Err(Diagnosis::new(sqlstate::NO_ACTIVE_SQL_TRANSACTION, message));
    }
    if session.names.portal(name).is_ok() {
        return Err(Diagnosis::new(sqlstate::DUPLICATE_CURSOR, format!("cursor \"{name}\" already exists")));
    }
    let Execution::Rows(rows) = select::run(session, text, query, None, Reading::Piecemeal).await? else {
        return Err(super::internal("a query gave no rows for its cursor"));
    };
    let columns = rows.columns().to_vec();
    let format = if is_binary { Format::Binary } else { Format::Text };
    let statement = Prepared {
        parsed: Some(Parsed { text: Arc::clone(text), kind: Kind::Query(Box::new(query.clone())) }),
        name: String::new(),
        route: Route::default(),
        planned: None,
        write: None,
        planned_under: (0, 0),
        description: Description { parameters: Vec::new(), columns: Some(columns.clone()) },
    };
    let portal = Portal {
        statement: Arc::new(statement),
        parameters: Vec::new(),
        formats: vec![format; columns.len()],
        rows: Some(rows),
        done: true,
        since: session.savepoints_asked(),
        broken: false,
    };
    session.names.add_portal(name, portal)?;
    Ok(Execution::Done("DECLARE CURSOR".to_owned()))
}

fn missing(name: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_CURSOR_NAME, format!("cursor \"{name}\" does not exist"))
}

/// What a FETCH from the cursor is described with.
pub(super) fn description(session: &Session, name: &str) -> Result<Description, Diagnosis> {
    let portal = session.names.portal(name).map_err(|_unknown| missing(name))?;
    Ok(Description { parameters: Vec::new(), columns: portal.statement.description.columns.clone() })
}

/// The rows that are left, under the guard of this statement.
fn take(session: &mut Session, name: &str) -> Result<(Rows, Format), Diagnosis> {
    let guard = session.guard.clone();
    let portal = session.names.portal_mut(name).map_err(|_unknown| missing(name))?;
    portal.check(name)?;
    if portal.rows.is_none() && !portal.done {
        let message = format!("portal \"{name}\" has not been executed");
        return Err(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message));
    }
    let format = portal.formats.first().copied().unwrap_or(Format::Text);
    let (left, statement) = (portal.rows.take(), Arc::clone(&portal.statement));
    let mut rows = left.unwrap_or_else(|| super::no_rows(session, &statement));
    rows.resume_under(guard);
    rows.restart_count();
    session.names.read(Some(name));
    Ok((rows, format))
}

/// `FETCH`: the caller reads the rows and returns unfinished ones with [`Session::suspend`].
pub(super) fn fetch(session: &mut Session, name: &str, forward: Forward) -> Result<Execution, Diagnosis> {
    let (rows, format) = take(session, name)?;
    let max = match forward {
        Forward::All => 0,
        Forward::Rows(rows) => usize::try_from(rows).unwrap_or(usize::MAX),
    };
    Ok(Execution::Fetch { cursor: name.to_owned(), rows: rows.with_tag(Tag::Counted("FETCH")), max, format })
}

/// `MOVE`: reads rows and forgets them.
pub(super) async fn skip(session: &mut Session, name: &str, forward: Forward) -> Result<Execution, Diagnosis> {
    let (mut rows, _) = take(session, name)?;
    let mut left = match forward {
        Forward::All => usize::MAX,
        Forward::Rows(rows) => usize::try_from(rows).unwrap_or(usize::MAX),
    };
    let (mut skipped, mut is_over) = (0, false);
    while left > 0 {
        match rows.next(left).await.transpose()? {
            Some(batch) => {
                skipped += batch.num_rows();
                left -= batch.num_rows();
            }
            None => {
                is_over = true;
                break;
            }
        }
    }
    if !is_over {
        session.suspend(name, rows);
    }
    Ok(Execution::Done(format!("MOVE {skipped}")))
}

/// `CLOSE name`, or all of them.
pub(super) fn close(session: &mut Session, name: Option<&str>) -> Result<Execution, Diagnosis> {
    let Some(name) = name else {
        session.names.clear_portals();
        return Ok(Execution::Done("CLOSE CURSOR ALL".to_owned()));
    };
    session.names.portal(name).map_err(|_unknown| missing(name))?;
    session.names.remove_portal(name);
    Ok(Execution::Done("CLOSE CURSOR".to_owned()))
}
