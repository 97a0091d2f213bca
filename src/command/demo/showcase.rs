//! Three queries over all stores, each shown with its SQL, its result, what the stores were asked, and the time; then the plan of
//! one, as `EXPLAIN` tells it.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use futures::TryStreamExt;

use super::grid::Grid;
use crate::catalog::Snapshot;
use crate::command::CommandError;
use crate::error::Diagnosis;
use crate::federation::branches::{BranchKind, Branches};
use crate::federation::engine::{Engine, Limits};
use crate::federation::error::diagnose;
use crate::federation::explain::{self, Pulled, pulled};
use crate::federation::plan::{self, Planned, Setting};
use crate::session::statement::{Kind, parse};

const QUERIES: [&str; 3] = [
    include_str!("../../../catalog/demo/showcase/1.sql"),
    include_str!("../../../catalog/demo/showcase/2.sql"),
    include_str!("../../../catalog/demo/showcase/3.sql"),
];
const EXPLAINED: &str = include_str!("../../../catalog/demo/showcase/explained.sql");

/// Runs and shows all queries, and a plan.
///
/// # Errors
/// A query failed, which is a fault of the program, or the output cannot be written.
pub(super) async fn show(snapshot: &Arc<Snapshot>, output: &mut dyn Write) -> Result<(), CommandError> {
    let engine = Engine::new(&Limits::default()).map_err(told)?;
    for (number, text) in QUERIES.iter().enumerate() {
        let (title, sql) = text.split_once('\n').unwrap_or(("", text));
        writeln!(output, "\n{}. {}\n", number + 1, title.trim_start_matches("-- "))?;
        sql.lines().try_for_each(|line| writeln!(output, "    {line}"))?;
        writeln!(output)?;
        output.flush()?;
        let started = Instant::now();
        let answer = run(&engine, snapshot, sql).await.map_err(told)?;
        let elapsed_ms = started.elapsed().as_millis();
        answer.grid.write(output)?;
        writeln!(output)?;
        tell_pulled(snapshot, &answer.pulled, output)?;
        writeln!(output, "Planned and run in {elapsed_ms} ms.")?;
        output.flush()?;
    }
    writeln!(output, "\n    EXPLAIN")?;
    EXPLAINED.lines().try_for_each(|line| writeln!(output, "    {line}"))?;
    writeln!(output)?;
    for line in explained(&engine, snapshot).await.map_err(told)? {
        writeln!(output, " {line}")?;
    }
    Ok(output.flush()?)
}

/// The lines of the plan that is shown.
async fn explained(engine: &Engine, snapshot: &Arc<Snapshot>) -> Result<Vec<String>, Diagnosis> {
    let setting = Setting::of_server(Arc::clone(snapshot));
    let planned = planned(engine, &setting, EXPLAINED)?;
    let branches = Arc::new(Branches::new(snapshot, BranchKind::Statement, None));
    let bound = plan::bind(engine, &setting, &planned, &[], &branches).await?;
    explain::lines(&bound, &branches, false).await
}

struct Answer {
    grid: Grid,
    pulled: Vec<Pulled>,
}

async fn run(engine: &Engine, snapshot: &Arc<Snapshot>, sql: &str) -> Result<Answer, Diagnosis> {
    let setting = Setting::of_server(Arc::clone(snapshot));
    let planned = planned(engine, &setting, sql)?;
    let branches = Arc::new(Branches::new(snapshot, BranchKind::Statement, None));
    let bound = plan::bind(engine, &setting, &planned, &[], &branches).await?;
    let batches: Vec<RecordBatch> = bound.run()?.try_collect().await.map_err(|error| diagnose(&error))?;
    Ok(Answer { grid: Grid::new(&planned.columns, &batches)?, pulled: pulled(&bound.physical) })
}

fn planned(engine: &Engine, setting: &Setting, sql: &str) -> Result<Planned, Diagnosis> {
    match parse(sql)?.into_iter().next().map(|parsed| parsed.kind) {
        Some(Kind::Query(query)) => plan::plan(engine, setting, *query, &[]),
        Some(Kind::Refused(error)) => Err(error),
        _ => Err(Diagnosis::new(crate::error::sqlstate::INTERNAL_ERROR, "the demo shows queries only")),
    }
}

/// One line for each thing that a store was asked, with the number of rows it sent. A plan may ask the same thing in two
/// places.
fn tell_pulled(snapshot: &Snapshot, pulled: &[Pulled], output: &mut dyn Write) -> Result<(), CommandError> {
    let mut asked: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for one in pulled {
        let (times, rows) = asked.entry((&one.store, &one.asked)).or_default();
        *times += 1;
        *rows += one.rows;
    }
    for ((store, question), (times, rows)) in asked {
        let kind = snapshot.connectors.iter().find(|(name, _)| name.as_str() == store).map_or("", |(_, found)| found.kind());
        let again = if times > 1 { format!(", asked in {times} places") } else { String::new() };
        let sent = if rows == 1 { "row" } else { "rows" };
        writeln!(output, "{store} ({kind}) sent {rows} {sent}{again}:\n    {question}")?;
    }
    Ok(())
}

/// A diagnosis with everything it knows.
fn told(error: Diagnosis) -> CommandError {
    let rest = [error.detail, error.hint].into_iter().flatten().map(|more| format!(" {more}"));
    CommandError::Refused(format!("{} ({}){}", error.message, error.sqlstate, rest.collect::<String>()))
}
