//! `EXPLAIN [ANALYZE]`.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Query;
use futures::TryStreamExt;

use super::{Bound, results, select, text_column, text_rows};
use crate::error::Diagnosis;
use crate::federation::error::diagnose;
use crate::federation::generic::PlanMode;
use crate::federation::{explain, plan};
use crate::pgtype::PgType;
use crate::session::Session;
use crate::session::output::{Execution, OutputColumn, Tag};

/// The options that change what is answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// Whether the query runs.
    pub(super) analyze: bool,
    /// A tree in JSON instead of lines.
    pub(super) json: bool,
}

/// The column of the answer.
pub(super) fn column(json: bool) -> OutputColumn {
    let column = text_column("QUERY PLAN");
    if json { OutputColumn { pg_type: PgType::JSON, ..column } } else { column }
}

/// Explains a query; with `analyze` it runs first and its rows are thrown away.
pub(super) async fn run(
    session: &mut Session,
    text: &Arc<str>,
    query: &Query,
    Asked { analyze, json }: Asked,
    bound: Bound<'_>,
) -> Result<Execution, Diagnosis> {
    // Its rows are thrown away, as those are that the plan gives.
    let kept = if analyze { Box::pin(results::look(session, text, query, bound)).await?.line() } else { None };
    let mut setting = session.setting();
    // What is explained is no execution that counts; under `force_generic_plan` the generic plan is explained.
    if setting.plan_mode == PlanMode::Auto {
        setting.plan_mode = PlanMode::Custom;
    }
    let values = bound.map(|(_, values)| values).unwrap_or_default();
    let branches = session.branches(&setting.snapshot)?;
    // What does not run waits for no copy, and is no read of one.
    let branches = if analyze { branches } else { Arc::new(branches.only_planned()) };
    let lookup = select::resolve_bound(session, &setting.snapshot, query, bound);
    let fast = lookup.and_then(|lookup| lookup.bind(&setting.snapshot, values));
    let ready = match fast {
        Some(fast) => fast.explained(&session.shared.engine, &setting, &branches)?,
        None => {
            let planned = select::current_plan(session, &setting, text, query, bound).await?;
            plan::bind_aside(&session.shared.engine, &setting, &planned, values, &branches).await?
        }
    };
    if analyze {
        let drained = ready.run()?.try_for_each(|_batch| std::future::ready(Ok(()))).await;
        let drained = drained.map_err(|error| diagnose(&error));
        session.past.read_until(&branches, drained.as_ref().err());
        drained?;
    }
    let mut lines = if json {
        vec![explain::json(&ready, &branches, analyze).await?]
    } else {
        explain::lines(&ready, &branches, analyze).await?
    };
    lines.extend(kept.filter(|_| !json));
    let rows: Vec<Vec<String>> = lines.into_iter().map(|line| vec![line]).collect();
    Ok(Execution::Rows(text_rows(session, Tag::Whole("EXPLAIN"), vec![column(json)], &rows)?))
}
