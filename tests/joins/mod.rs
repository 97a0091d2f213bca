//! Joins between stores: in which order they run, what the stores are asked for meanwhile, and that the answers are those of the query.

mod keys;
mod order;

use std::sync::Arc;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use tributary::federation::branches::{BranchKind, Branches};
use tributary::federation::engine::{Engine, Limits};
use tributary::federation::explain::{self, Pulled};
use tributary::federation::plan::{self, Setting};
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
}

impl Answer {
    /// The rows that a store sent.
    pub fn pulled_from(&self, store: &str) -> usize {
        self.pulled.iter().filter(|pulled| pulled.store == store).map(|pulled| pulled.rows).sum()
    }
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
        let engine = &self.engine;
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
        Answer { rows, pulled: explain::pulled(&bound.physical), plan }
    }

    /// Ends the server.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}
