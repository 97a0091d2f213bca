//! `COPY … TO STDOUT`: a query whose rows leave in another wrapping. `COPY … FROM STDIN`: a write whose rows the client sends.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Query;

use super::transaction::begin_implicit;
use super::{rights, select};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::locate;
use crate::federation::dml::{PlannedCopy, plan_copy_aside};
use crate::federation::ranges::Reading;
use crate::format::copy::{Layout, Reader, Wanted};
use crate::session::Session;
use crate::session::copy_in::{Copying, Destination};
use crate::session::output::{Execution, Tag};
use crate::session::statement::copy::{CopyFormat, CopyIn, ForceQuote};
use crate::write::access;

/// Runs the query; the wire wraps its rows.
pub(super) async fn run(
    session: &mut Session,
    text: &Arc<str>,
    query: &Query,
    format: &CopyFormat,
) -> Result<Execution, Diagnosis> {
    let Execution::Rows(rows) = select::run(session, text, query, None, Reading::Whole).await? else {
        return Err(super::internal("a query gave no rows to copy"));
    };
    if let CopyFormat::Csv { force: ForceQuote::Columns(names), .. } = format {
        let known: BTreeSet<&str> = rows.columns().iter().map(|column| column.name.as_str()).collect();
        if let Some(missing) = names.iter().find(|name| !known.contains(name.as_str())) {
            return Err(Diagnosis::new(sqlstate::UNDEFINED_COLUMN, format!("column \"{missing}\" does not exist")));
        }
    }
    Ok(Execution::Copy { rows: rows.with_tag(Tag::Counted("COPY")), format: format.clone() })
}

/// Asks the client for the rows of a table. They are written in the block, one of their own outside of any, which ends as that of a text.
pub(super) async fn begin(session: &mut Session, text: &Arc<str>, asked: &CopyIn) -> Result<Execution, Diagnosis> {
    let (guard, setting, shared) = (session.guard.clone(), session.setting(), Arc::clone(&session.shared));
    let relation = asked.filled.relation(&setting.snapshot, &setting.path).map_err(|error| located(error, asked, text))?;
    if let Err(refused) = rights::check(session, &setting, access::COPY, &relation) {
        session.tell_refused(("COPY", relation.name.as_str()), (rights::store_of(&relation), &**text), &refused).await;
        return Err(refused);
    }
    session.check_repeatable("COPY FROM")?;
    let attempt = session.attempt(text, None, setting.now)?;
    let planned = guard.run(plan_copy_aside(&shared.engine, &setting, &asked.filled)).await?;
    let planned = planned.map_err(|error| located(error, asked, text))?;
    let wanted = wanted(&planned, asked)?;
    let (store, name) = (planned.target.store.clone(), planned.target.relation.name.clone());
    let shape = (wanted.len(), asked.layout == Layout::Binary);
    let loading = planned.loading(&shared.engine, &setting, shape.1)?;
    begin_implicit(session)?;
    let Some(block) = session.writing_block() else { return Err(super::internal("a COPY has no transaction")) };
    let (writers, branches) = block.write_branches(&store, &setting.snapshot, &shared).await?;
    // Only notes that there is a write without a key.
    block.admit(&attempt, &store, &writers, &shared).await?;
    let since = block.savepoints_asked();
    block.undone.wrote(&store, since, None)?;
    let branch = guard.run(writers.open(&store)).await??;
    let reader = Reader::new(&name, wanted, asked.layout.clone());
    let to = Destination { branch, store, branches: Arc::new(branches) };
    let held = shared.engine.reservation("rows of a COPY");
    let telling = session.telling(("COPY", name.as_str()), (&to.store, &**text));
    Ok(Execution::CopyIn(Box::new(Copying::begin(reader, loading, shape, to, (guard, held, telling)))))
}

/// The columns that are read, with what the options say of them.
fn wanted(planned: &PlannedCopy, asked: &CopyIn) -> Result<Vec<Wanted>, Diagnosis> {
    let names = planned.names();
    for (option, listed) in [("FORCE_NOT_NULL", &asked.force_not_null), ("FORCE_NULL", &asked.force_null)] {
        for (place, name) in listed.iter().enumerate() {
            let table = &planned.target.table;
            if !table.columns.iter().any(|column| column.name() == name) {
                let message = format!("column \"{name}\" of relation \"{}\" does not exist", planned.target.relation.name);
                return Err(Diagnosis::new(sqlstate::UNDEFINED_COLUMN, message));
            }
            if listed.iter().take(place).any(|earlier| earlier == name) {
                let message = format!("column \"{name}\" specified more than once");
                return Err(Diagnosis::new(sqlstate::DUPLICATE_COLUMN, message));
            }
            if !names.contains(name) {
                let message = format!("{option} column \"{name}\" not referenced by COPY");
                return Err(Diagnosis::new(sqlstate::INVALID_COLUMN_REFERENCE, message));
            }
        }
    }
    let with_options = |name: String| {
        let (force_not_null, force_null) = (asked.force_not_null.contains(&name), asked.force_null.contains(&name));
        Wanted { name, force_not_null, force_null }
    };
    Ok(names.into_iter().map(with_options).collect())
}

/// An error with its place in the text, where its message tells it.
fn located(error: Diagnosis, asked: &CopyIn, text: &str) -> Diagnosis {
    let in_condition = || asked.filled.condition.as_ref().and_then(|condition| locate::place_in(&error, &**condition, text));
    let position = error.position.or_else(in_condition);
    error.with_position(position)
}
