//! The fast path: a statement that one scan of one table answers goes from its syntax tree to the store, without the engine's
//! planner.
//!
//! ```text
//! prepare   query → resolve (names, types, conditions) → Lookup, kept with the prepared statement
//! execute   Lookup + parameters → bind → Scan → the statement's branch → rows
//!                               → or, where its table is kept as a copy (copy), → rows of that
//!                               → point → one row of the copy by its key, from where it lies
//!                               → relay → the store's own form of the lookup → rows as clients get them
//! ```
//!
//! **Invariants:** what is not known here to mean the same is left to the planner ([`Lookup::resolve`] and [`Lookup::bind`]
//! give `None`), so that every error of a statement comes from one place; a condition reaches the store only where its
//! connector proves it exact for the very value; names are looked up in the same snapshot and along the same path.
//! Deliberately absent: joins, expressions, sorting, and scans without a bound, which may be worth splitting.

mod condition;
mod point;
mod relay;
mod resolve;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::Result as EngineResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Query;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::branches::Branches;
use super::copy::{CopyExec, looked_up};
use super::engine::Engine;
use super::error::diagnose;
use super::items::{plain_items, refit};
use super::output::OutputColumn;
use super::plan::{Bound, Setting};
use super::pushdown::Budget;
use super::scan::{ScanExec, read, stop_after};
use crate::catalog::{SearchPath, Snapshot};
use crate::error::Diagnosis;
use crate::pgtype::PgType;
use crate::stores::connector::ScanLimits;
use crate::stores::predicate::{Predicate, Pushdown};
use crate::stores::{Connector, Scan, StoreName, Table};
use condition::Condition;
pub use point::Point;
use relay::KeptFor;
pub use relay::Relay;

/// A statement that the fast path can answer, resolved but for its parameters.
#[derive(Debug)]
pub struct Lookup {
    store: StoreName,
    table: Arc<Table>,
    /// Ordinals into the table's columns, in output order.
    ordinals: Vec<usize>,
    /// What the rows look like to the engine and the encoder.
    schema: SchemaRef,
    conditions: Vec<Condition>,
    limit: Option<u64>,
    /// Whether it may find one row of a copy by its key.
    is_point: bool,
    /// What the store keeps of it, for the formats in which its rows were first asked for.
    kept: OnceLock<KeptFor>,
    /// Types of `$1`, `$2`, ….
    pub parameters: Vec<PgType>,
    /// Result columns.
    pub columns: Vec<OutputColumn>,
}

/// A lookup with its parameters, ready to run.
#[derive(Debug)]
pub struct Ready {
    table: Arc<Table>,
    scan: Scan,
    /// What the scan asks its store under, in store-neutral form.
    said: Vec<Predicate>,
    schema: SchemaRef,
}

impl Lookup {
    /// The fast form of `query`, if it has one. `given` are the client's parameter types; 0 or a missing entry asks for
    /// inference.
    pub fn resolve(query: &Query, snapshot: &Snapshot, path: &SearchPath, given: &[u32]) -> Option<Self> {
        let lookup = resolve::query(query, snapshot, path, given)?;
        let connector = snapshot.connectors.get(&lookup.store)?;
        // What the store would refuse for every value is better planned at once.
        let is_exact = |condition: &Condition| {
            let sample = condition.sample();
            matches!(connector.pushdown(&lookup.table, &sample), Pushdown::Exact(_))
        };
        lookup.conditions.iter().all(is_exact).then_some(lookup)
    }

    /// The scan for these parameters; `None` when the planner has to decide: a NULL, a number beyond the column's width, a
    /// value that the store compares differently.
    pub fn bind(&self, snapshot: &Snapshot, values: &[ScalarValue]) -> Option<Ready> {
        let connector = snapshot.connectors.get(&self.store)?;
        let mut budget = Budget::of_scan();
        let said = self.conditions.iter().map(|condition| condition.bind(values)).collect::<Option<Vec<Predicate>>>()?;
        let filter =
            said.iter().map(|predicate| exact(connector.as_ref(), &self.table, predicate).filter(|kept| budget.take(kept)));
        let scan = Scan {
            store: self.store.clone(),
            table: self.table.id.clone(),
            columns: self.ordinals.clone(),
            filter: filter.collect::<Option<Vec<Predicate>>>()?,
            limit: self.limit,
        };
        Some(Ready { table: Arc::clone(&self.table), scan, said, schema: Arc::clone(&self.schema) })
    }

    /// Whether it is answered from a copy of its table, as far as that is known now: it is not relayed then.
    pub fn is_copied(&self, branches: &Branches) -> bool {
        branches.is_copied(&self.store, &self.table)
    }
}

fn exact(connector: &dyn Connector, table: &Table, predicate: &Predicate) -> Option<Predicate> {
    match connector.pushdown(table, predicate) {
        Pushdown::Exact(kept) => Some(kept),
        Pushdown::Superset(_) | Pushdown::Refused(_) => None,
    }
}

impl Ready {
    /// Starts the scan when its first batch is asked for. Dropping the stream stops it in the store.
    ///
    /// # Errors
    /// 0A000 where a serializable transaction would read a second store.
    pub fn run(self, engine: &Engine, branches: &Arc<Branches>) -> Result<SendableRecordBatchStream, Diagnosis> {
        branches.expect_scans(&BTreeMap::from([(self.scan.store.clone(), 1)]))?;
        let limits = ScanLimits { batch_rows: engine.batch_rows(), ..ScanLimits::default() };
        let schema = Arc::clone(&self.schema);
        if branches.is_copied(&self.scan.store, &self.table) {
            let opened = futures::stream::once(self.copied(Arc::clone(branches), limits)).try_flatten();
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, opened)));
        }
        let rows = self.remote(Arc::clone(branches), limits);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    /// The rows that the store sends.
    fn remote(self, branches: Arc<Branches>, limits: ScanLimits) -> BoxStream<'static, EngineResult<RecordBatch>> {
        let (schema, limit) = (self.schema, self.scan.limit);
        let opened = futures::stream::once(read(self.table, self.scan, branches, limits)).try_flatten();
        stop_after(opened.boxed(), limit).map(move |batch| refit(batch?, &schema)).boxed()
    }

    /// The rows of the copy, or those of the store where the copy does not serve the statement.
    async fn copied(
        self,
        branches: Arc<Branches>,
        limits: ScanLimits,
    ) -> EngineResult<BoxStream<'static, EngineResult<RecordBatch>>> {
        let found = looked_up(&branches, (self.table.as_ref(), &self.scan), self.said.clone(), limits.batch_rows).await?;
        Ok(found.unwrap_or_else(|| self.remote(branches, limits)))
    }

    /// The same as a plan of one node, for `EXPLAIN`.
    ///
    /// # Errors
    /// As [`Ready::run`].
    pub fn explained(self, engine: &Engine, setting: &Setting, branches: &Arc<Branches>) -> Result<Bound, Diagnosis> {
        branches.expect_scans(&BTreeMap::from([(self.scan.store.clone(), 1)]))?;
        let connector = setting.snapshot.connectors.get(&self.scan.store);
        let described = connector.map(|connector| connector.describe_with_values(&self.table, &self.scan)).unwrap_or_default();
        let is_copied = branches.is_copied(&self.scan.store, &self.table);
        let scan = ScanExec::new(Arc::clone(&self.table), self.scan, described);
        let node: Arc<dyn ExecutionPlan> = if is_copied {
            Arc::new(CopyExec::plain(scan, &self.table, self.said).map_err(|error| diagnose(&error))?)
        } else {
            Arc::new(scan)
        };
        Ok(Bound::of(engine, setting, branches, node))
    }
}

/// The schema of some columns as the engine sees it.
fn schema_of(table: &Table, ordinals: &[usize]) -> SchemaRef {
    plain_items(&table.project(ordinals))
}
