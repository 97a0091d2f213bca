//! Reads of tables that are kept here as copies, which follow the changes of their stores.
//!
//! ```text
//! session (what it asks of copies) → Branches → offers (one state of the copies of a store for the whole statement, or the store)
//!     → placement (a table with a copy joins no part of a store), provider → CopyExec → read (by key, or all) → whole condition, limit
//!                                                                                      └ or the ScanExec that it stands for
//! a lookup that is not planned (`fast`) → condition, read
//! ```
//!
//! **Invariants:** rows of a copy meet the whole condition here, also what a store would have been relied on for; the columns, carriers and
//! marks are those of the scan; a copy is read by statements that neither write nor lock, outside of blocks that keep one state, and
//! where text compares by bytes. What dynamic filters tell shortens a read and is never relied on.

mod condition;
mod keys;
mod offers;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, Result, Statistics, exec_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_plan::execution_plan::{PlanProperties, ReplaceChildrenOptions};
use datafusion::physical_plan::filter_pushdown::{ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet, RecordOutput};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::branches::Branches;
use super::items::plain_items;
use super::scan::{ScanExec, measured};
use crate::cache::version::TableVersion;
use crate::stores::schema::{Collation, TableKind};
use crate::stores::{Predicate, Scan, StoreName, Table};
pub(super) use keys::one as one_key;
pub(super) use offers::{Offers, Pinned, Settled, fits};
use read::Wanted;

/// Why a table is never read from a copy, as a clause; `None` for any other.
///
/// Whether its changes can be followed is the store's to say, row security among it: a store is read by one role.
pub fn refusal(table: &Table) -> Option<String> {
    if !matches!(table.kind, TableKind::Table | TableKind::Collection) {
        return Some("is a view, whose changes no store tells".to_owned());
    }
    let native = table.columns.iter().find(|column| matches!(column.collation, Collation::Native { .. }))?;
    Some(format!("has text in column \"{}\" that compares by the rules of its store", native.name()))
}

/// From where the rows of a table came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    /// From its copy.
    Copy {
        /// How old what it shows was, at most, when the first row was asked for; `None` where that was not known.
        age: Option<Duration>,
        /// The place of the last event that is in it, where there was one since it was loaded.
        position: Option<String>,
    },
    /// From its store, for this reason.
    Store(&'static str),
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy { age, position } => {
                match age {
                    Some(age) => write!(f, "copy, at most {} ms old", age.as_micros().div_ceil(1000))?,
                    None => f.write_str("copy, of unknown age")?,
                }
                match position {
                    Some(position) => write!(f, ", position {position}"),
                    None => Ok(()),
                }
            }
            Self::Store(reason) => write!(f, "store, {reason}"),
        }
    }
}

/// Reads one table from its copy, or where that does not serve the statement from its store. Which is known when its first batch is asked
/// for, and the same for all copies of a store.
#[derive(Debug, Clone)]
pub struct CopyExec {
    /// What reads the store.
    scan: ScanExec,
    table: Arc<Table>,
    wanted: Arc<Wanted>,
    served: Arc<Mutex<Option<Served>>>,
    metrics: ExecutionPlanMetricsSet,
}

impl CopyExec {
    /// A node in the place of `scan`, which reads `table` under conditions that its store would have been relied on for: `exact`, as the
    /// engine has them, and `said`, what is known of them in store-neutral form.
    ///
    /// # Errors
    /// A condition that the engine does not evaluate.
    pub(super) fn new(
        scan: ScanExec,
        table: &Arc<Table>,
        (exact, said): (Vec<Expr>, Vec<Predicate>),
        props: &ExecutionProps,
    ) -> Result<Self> {
        let columns = &scan.scan().columns;
        let schema = plain_items(&table.schema);
        let needed = exact.iter().flat_map(Expr::column_refs).map(|column| schema.index_of(&column.name));
        let needed = needed.collect::<std::result::Result<BTreeSet<usize>, _>>()?;
        let read = with_needed(columns, needed);
        let over = DFSchema::try_from(plain_items(&table.project(&read)))?;
        let physical = |expr: Expr| create_physical_expr(&expr, &over, props, &PhysicalPlanningContext::default());
        let condition = conjunction(exact).map(physical).transpose()?;
        Ok(Self::reading(scan, table, read, (condition, said)))
    }

    /// The same for a scan whose conditions are all known in store-neutral form.
    ///
    /// # Errors
    /// A condition that is not known of copies.
    pub(super) fn plain(scan: ScanExec, table: &Arc<Table>, said: Vec<Predicate>) -> Result<Self> {
        let wanted = wanted(table, scan.scan(), said)?;
        Ok(Self {
            table: Arc::clone(table),
            wanted: Arc::new(wanted),
            served: Arc::default(),
            metrics: ExecutionPlanMetricsSet::new(),
            scan,
        })
    }

    fn reading(
        scan: ScanExec,
        table: &Arc<Table>,
        read: Vec<usize>,
        (condition, conditions): (Option<Arc<dyn PhysicalExpr>>, Vec<Predicate>),
    ) -> Self {
        let (given, limit) = (scan.scan().columns.len(), scan.scan().limit);
        let wanted = Arc::new(Wanted { read, given, condition, conditions, limit });
        Self { scan, table: Arc::clone(table), wanted, served: Arc::default(), metrics: ExecutionPlanMetricsSet::new() }
    }

    /// The same over another scan of the same columns and conditions.
    fn over(&self, scan: ScanExec) -> Self {
        let limit = scan.scan().limit;
        let wanted = if limit == self.wanted.limit {
            Arc::clone(&self.wanted)
        } else {
            Arc::new(Wanted { limit, ..self.wanted.as_ref().clone() })
        };
        Self { scan, wanted, ..self.clone() }
    }

    /// The same node, which waits for those of its dynamic filters that have these ids; `None` when it has received none.
    pub(super) fn awaiting(&self, ids: &BTreeSet<u64>) -> Option<Self> {
        Some(self.over(self.scan.awaiting(ids)?))
    }

    /// The same node, whose store may be read as so many ranges; `None` when it is best read as it is.
    pub(super) fn divided(&self, most: usize) -> Option<Self> {
        Some(self.over(self.scan.divided(most)?))
    }

    /// What reads the store.
    pub fn scan(&self) -> &ScanExec {
        &self.scan
    }

    /// From where its rows came; `None` before they have been asked for.
    pub fn served(&self) -> Option<Served> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its table, as `EXPLAIN` names it.
    pub fn named(&self) -> String {
        format!("{}.{}", self.scan.scan().store, self.table.id.name)
    }

    /// The rows, from where they are to come.
    async fn open(self, branches: Arc<Branches>, context: Arc<TaskContext>) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let chosen = choose(&branches, &self.scan.scan().store, &self.table).await?;
        let (version, served) = match chosen {
            Chosen::Copy(version, served) => (Some(version), served),
            Chosen::Store(reason) => (None, Served::Store(reason)),
        };
        *self.served.lock().unwrap_or_else(PoisonError::into_inner) = Some(served);
        let Some(version) = version else { return Ok(self.scan.execute(0, context)?.boxed()) };
        // Of rows that a limit counts none may be left out.
        let told = if self.wanted.limit.is_none() { self.scan.told().await } else { Some(Vec::new()) };
        let Some(told) = told else { return Ok(futures::stream::empty().boxed()) };
        let baseline = BaselineMetrics::new(&self.metrics, 0);
        let bytes = MetricBuilder::new(&self.metrics).counter("bytes_copied", 0);
        let rows = read::rows(version, Arc::clone(&self.wanted), &told, context.session_config().batch_size());
        let counted = rows.map_ok(move |batch| {
            bytes.add(batch.get_array_memory_size());
            batch.record_output(&baseline)
        });
        Ok(counted.boxed())
    }
}

/// The columns of a scan, and behind them those that only its conditions need.
fn with_needed(columns: &[usize], needed: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let mut read = columns.to_vec();
    for ordinal in needed {
        if !read.contains(&ordinal) {
            read.push(ordinal);
        }
    }
    read
}

/// What a scan reads of a copy whose conditions are all known in store-neutral form.
///
/// # Errors
/// A condition that is not known of copies.
fn wanted(table: &Table, scan: &Scan, said: Vec<Predicate>) -> Result<Wanted> {
    let column = |condition: &Predicate| match condition {
        Predicate::Compare { column, .. } | Predicate::In { column, .. } | Predicate::IsNull { column, .. } => Some(column.column),
        _ => None,
    };
    let read = with_needed(&scan.columns, said.iter().filter_map(column));
    let condition = condition::all(&said, table, &read)?;
    Ok(Wanted { read, given: scan.columns.len(), condition, conditions: said, limit: scan.limit })
}

/// What a statement reads a table from.
enum Chosen {
    /// This state of its copy.
    Copy(Arc<TableVersion>, Served),
    /// Its store, for this reason.
    Store(&'static str),
}

/// From where the rows of a table come in a statement.
///
/// # Errors
/// What the client is told where it wants no copy as old as there is.
async fn choose(branches: &Branches, store: &StoreName, table: &Table) -> Result<Chosen> {
    let reason = match branches.copies_of(store).await {
        Settled::Stale(stale) => return Err((*stale).into()),
        Settled::Store(reason) => reason,
        Settled::Copy(pinned) => match pinned.table(&table.id) {
            Some(version) if fits(&version, table) => {
                branches.reads_copy(store, &table.id, pinned.as_ref());
                branches.note_copy(store, &table.id, &version);
                return Ok(Chosen::Copy(version, Served::Copy { age: pinned.age(), position: pinned.position() }));
            }
            Some(_) => "its copy has other columns",
            None => "its copy is not loaded",
        },
    };
    branches.fell_through(store, &table.id);
    Ok(Chosen::Store(reason))
}

/// The rows of a lookup that is not planned, and may be read from a copy.
///
/// # Errors
/// As [`choose`], and for a condition that is not known of copies.
pub(super) async fn looked_up(
    branches: &Branches,
    (table, scan): (&Table, &Scan),
    said: Vec<Predicate>,
    batch_rows: usize,
) -> Result<Option<BoxStream<'static, Result<RecordBatch>>>> {
    match choose(branches, &scan.store, table).await? {
        Chosen::Store(_) => Ok(None),
        Chosen::Copy(version, _) => {
            let wanted = wanted(table, scan, said)?;
            Ok(Some(read::rows(version, Arc::new(wanted), &[], batch_rows)))
        }
    }
}

/// The rows that have some keys, or all rows, of something that is kept as copies are. `said` tells what keys there can be, and is checked
/// by the caller; `columns` are ordinals.
pub(super) fn rows_of(
    version: Arc<TableVersion>,
    (columns, said): (Vec<usize>, Vec<Predicate>),
    limit: Option<u64>,
    batch_rows: usize,
) -> BoxStream<'static, Result<RecordBatch>> {
    let given = columns.len();
    let wanted = Wanted { read: columns, given, condition: None, conditions: said, limit };
    read::rows(version, Arc::new(wanted), &[], batch_rows)
}

impl DisplayAs for CopyExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CopyExec: {}", self.named())?;
        match self.served() {
            Some(Served::Copy { .. }) => f.write_str(", from copy")?,
            Some(Served::Store(_)) => f.write_str(", from store")?,
            None => {}
        }
        if let Some(condition) = &self.wanted.condition {
            write!(f, ", condition={condition}")?;
        }
        if let Some(limit) = self.wanted.limit {
            write!(f, ", limit={limit}")?;
        }
        let columns = self.scan.keyed_columns();
        if columns.is_empty() {
            return Ok(());
        }
        write!(f, ", keys={}", columns.into_iter().collect::<Vec<_>>().join(", "))
    }
}

impl ExecutionPlan for CopyExec {
    fn name(&self) -> &str {
        "CopyExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.scan.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.scan.apply_expressions(f)
    }

    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        offer: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let (answer, received) = self.scan.receiving(phase, &offer);
        Ok(match received {
            Some(received) => answer.with_updated_node(Arc::new(self.over(received))),
            None => answer,
        })
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    /// The optimiser removes its own limit when this succeeds: so many rows that meet the condition are given, wherever they come from.
    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(self.over(self.scan.stopping_at(limit)?)))
    }

    fn fetch(&self) -> Option<usize> {
        self.scan.fetch()
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return exec_err!("a copy is read as one partition, not {partition}");
        }
        let Some(branches) = context.session_config().get_extension::<Branches>() else {
            return exec_err!("the statement has no branches");
        };
        let node = self.clone();
        let opened = futures::stream::once(async move { node.open(branches, context).await }).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), opened)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        match self.served() {
            Some(Served::Store(_)) => self.scan.metrics(),
            _ => Some(measured(&self.metrics)),
        }
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        self.scan.statistics_from_inputs(inputs, args)
    }
}
