//! Joins between stores: in which order they run, what the stores are asked for meanwhile, and that the answers are those of the query.

mod keys;
mod order;
mod partitions_of_postgres;
mod ranges_of_postgres;
mod reduce;
mod spill;
mod trips;
mod unknown;

use std::sync::Arc;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::physical_plan::ExecutionPlan;
use futures::TryStreamExt;
use tributary::error::Diagnosis;
use tributary::federation::branches::{BranchKind, Branches};
use tributary::federation::engine::{Engine, Limits};
use tributary::federation::error::diagnose;
use tributary::federation::explain::{self, Pulled};
use tributary::federation::plan::{self, Setting};
use tributary::federation::scan::asked;
use tributary::server::Server;
use tributary::session::statement::{Kind, parse};

use crate::support::postgres;
use crate::support::proxy::{self, PATIENCE, Place};

/// A small SQLite store `near` and a larger PostgreSQL store `far`.
pub struct Room {
    _place: Place,
    server: Server,
    engine: Engine,
}

/// What a statement gave.
#[derive(Debug)]
pub struct Answer {
    /// Rows in text order: fields joined by `|`, NULL as `~`.
    pub rows: Vec<String>,
    /// What each scan brought.
    pub pulled: Vec<Pulled>,
    /// The plan before it ran.
    pub plan: String,
    /// Statements that each scan sent, by store.
    statements: Vec<(String, usize)>,
    /// Files that joins have written.
    pub spilled: usize,
}

impl Answer {
    /// The statements that a store was sent.
    pub fn statements_to(&self, store: &str) -> usize {
        self.statements.iter().filter(|(name, _)| name == store).map(|(_, count)| count).sum()
    }

    /// The rows that a store sent.
    pub fn pulled_from(&self, store: &str) -> usize {
        self.pulled.iter().filter(|pulled| pulled.store == store).map(|pulled| pulled.rows).sum()
    }
}

/// Files that the joins of a plan have written.
fn spilled(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let own = plan.metrics().filter(|_| plan.name() == "HashJoinExec").and_then(|metrics| metrics.spill_count());
    own.unwrap_or(0) + plan.children().into_iter().map(spilled).sum::<usize>()
}

impl Room {
    /// A room with an engine under the usual limits.
    pub async fn new(near: &str, far: &str) -> Self {
        let place = Place::new();
        place.sqlite("near", near).await;
        let server = postgres().await;
        let database = proxy::fresh(server, far).await;
        place.postgres("far", server, &database, "");
        let server = place.serve().await;
        Self { _place: place, server, engine: Engine::new(&Limits { partitions: 2, ..Limits::default() }).unwrap() }
    }

    /// Runs a statement and says what it took.
    pub async fn ask(&self, sql: &str) -> Answer {
        self.ask_with(&self.engine, sql).await
    }

    /// The same on another engine over the same stores.
    pub async fn ask_with(&self, engine: &Engine, sql: &str) -> Answer {
        let snapshot = self.server.catalog().snapshot();
        let setting = Setting::of_server(Arc::clone(&snapshot));
        let Some(Kind::Query(query)) = parse(sql).unwrap().into_iter().next().map(|parsed| parsed.kind) else { panic!("{sql}") };
        let planned = plan::plan_aside(engine, &setting, *query, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let branches = Arc::new(Branches::new(&snapshot, BranchKind::Statement, None));
        let bound = plan::bind_aside(engine, &setting, &planned, &[], &branches).await.unwrap();
        let plan = explain::lines(&bound, &branches, false).await.unwrap().join("\n");
        let run = async { bound.run().unwrap().try_collect::<Vec<_>>().await };
        let batches = tokio::time::timeout(PATIENCE, run).await.unwrap_or_else(|_| panic!("{sql} does not end\n{plan}"));
        let batches = batches.unwrap_or_else(|error| panic!("{sql}: {error}\n{plan}"));
        let options = FormatOptions::default().with_null("~");
        let mut rows = Vec::new();
        for batch in &batches {
            let columns: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
            rows.extend(
                (0..batch.num_rows())
                    .map(|row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|")),
            );
        }
        rows.sort();
        let statements = asked(&bound.physical).into_iter().map(|asked| {
            let count = asked.metrics.and_then(|metrics| metrics.sum_by_name("round_trips")).map_or(0, |count| count.as_usize());
            (asked.store.to_string(), count)
        });
        Answer {
            rows,
            pulled: explain::pulled(&bound.physical),
            statements: statements.collect(),
            spilled: spilled(&bound.physical),
            plan,
        }
    }

    /// What a statement fails with while it runs on another engine over the same stores.
    pub async fn failure_with(&self, engine: &Engine, sql: &str) -> Diagnosis {
        let snapshot = self.server.catalog().snapshot();
        let setting = Setting::of_server(Arc::clone(&snapshot));
        let Some(Kind::Query(query)) = parse(sql).unwrap().into_iter().next().map(|parsed| parsed.kind) else { panic!("{sql}") };
        let planned = plan::plan_aside(engine, &setting, *query, &[]).await.unwrap();
        let branches = Arc::new(Branches::new(&snapshot, BranchKind::Statement, None));
        let bound = plan::bind_aside(engine, &setting, &planned, &[], &branches).await.unwrap();
        let run = async { bound.run().unwrap().try_collect::<Vec<_>>().await };
        let outcome = tokio::time::timeout(PATIENCE, run).await.unwrap_or_else(|_| panic!("{sql} does not end"));
        outcome.map(|batches| batches.len()).map_err(|error| diagnose(&error)).expect_err(sql)
    }

    /// Ends the server.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}
