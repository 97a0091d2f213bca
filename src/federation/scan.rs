//! The plan node that reads one table of one store. It opens nothing until its first batch is asked for.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, exec_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, PlanProperties, ReplaceChildrenOptions};
use datafusion::physical_plan::filter_pushdown::{ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricValue, MetricsSet, RecordOutput,
};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning};
use futures::{StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;

use super::branches::{Branches, Hold};
use super::copy::{CopyExec, Served};
use super::estimate;
use super::items::{plain_items, refit};
use super::joins::dynamic::{Received, Told};
use super::joins::keys;
use super::placement::exec::{FragmentExec, timed};
use super::pushdown::Budget;
use super::ranges;
use crate::stores::connector::ScanLimits;
use crate::stores::lock::SortKey;
use crate::stores::{BatchStream, Branch, Predicate, Pushdown, Scan, StoreError, StoreName, Table};

/// Reads one table of one store through the statement's branch.
#[derive(Debug, Clone)]
pub struct ScanExec {
    table: Arc<Table>,
    scan: Scan,
    described: String,
    /// The values of its placeholders as they are shown behind it.
    values: String,
    /// Whether the store may be asked to stop after some rows.
    stops: bool,
    /// In how many ranges it may be read side by side.
    ranges: usize,
    /// The order in which the store locks the rows of which it is to give the first ones; of no rows else.
    order: Arc<[SortKey]>,
    received: Received,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ScanExec {
    /// A node for `scan` of `table`; `described` is what the store will be asked with its values, for `EXPLAIN`.
    pub fn new(table: Arc<Table>, scan: Scan, (described, values): (String, String)) -> Self {
        let schema = plain_items(&table.project(&scan.columns));
        let equivalence = EquivalenceProperties::new(schema);
        let properties =
            PlanProperties::new(equivalence, Partitioning::UnknownPartitioning(1), EmissionType::Incremental, Boundedness::Bounded);
        let (received, metrics) = (Received::default(), ExecutionPlanMetricsSet::new());
        let (order, properties) = (Arc::default(), Arc::new(properties));
        Self { table, scan, described, values, stops: true, ranges: 1, order, received, properties, metrics }
    }

    /// The same, which the optimiser may ask to stop or not.
    #[must_use]
    pub fn stopping(self, stops: bool) -> Self {
        Self { stops, ..self }
    }

    /// The same scan, which waits for those of its dynamic filters that have these ids; `None` when it has received none.
    pub(super) fn awaiting(&self, ids: &BTreeSet<u64>) -> Option<Self> {
        Some(Self { received: self.received.awaiting(ids)?, ..self.clone() })
    }

    /// The same scan, which may be read as so many ranges; `None` when it is best read as it is.
    pub(super) fn divided(&self, most: usize) -> Option<Self> {
        let ranges = ranges::of(&self.table, &self.scan, most);
        (ranges > 1).then(|| Self { ranges, ..self.clone() })
    }

    /// The same scan, of which the store locks and gives the first rows in an order only; `None` when it cannot be asked for these.
    pub(super) fn locking_first(&self, rows: u64, order: Arc<[SortKey]>) -> Option<Self> {
        let limit = match self.scan.limit {
            // Which rows these would be is open.
            Some(_) if !order.is_empty() => return None,
            Some(limit) => limit.min(rows),
            None => rows,
        };
        let scan = Scan { limit: Some(limit), ..self.scan.clone() };
        self.stops.then(|| Self { scan, ranges: 1, order, received: Received::default(), ..self.clone() })
    }

    /// The table.
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// What is read.
    pub fn scan(&self) -> &Scan {
        &self.scan
    }

    /// What the store is asked, without any value.
    pub fn described(&self) -> &str {
        &self.described
    }
}

impl ScanExec {
    /// What joins tell of the rows once they know, over the table's columns; `None` when no row can pass.
    pub(super) async fn told(&self) -> Option<Vec<Predicate>> {
        let conditions = match self.received.told(&self.schema()).await {
            Told::Nothing => Vec::new(),
            Told::Never => return None,
            Told::Rows(Predicate::And(conditions)) => conditions,
            Told::Rows(condition) => vec![condition],
        };
        let output = |output: usize| self.scan.columns.get(output).copied();
        Some(conditions.into_iter().filter_map(|condition| condition.over(&output)).collect())
    }

    /// The answer to filters from above, and the same scan with those that it takes. A scan that ends after some rows takes none: it would
    /// then find other rows.
    pub(super) fn receiving(
        &self,
        phase: FilterPushdownPhase,
        offer: &ChildPushdownResult,
    ) -> (FilterPushdownPropagation<Arc<dyn ExecutionPlan>>, Option<Self>) {
        let (answer, received) = self.received.offered(phase, offer);
        let received = received.filter(|_| self.scan.limit.is_none() && self.stops);
        (answer, received.map(|received| Self { received, ..self.clone() }))
    }

    /// The same scan, which stops at exactly `limit` rows; `None` when the store is not asked to stop.
    pub(super) fn stopping_at(&self, limit: Option<usize>) -> Option<Self> {
        if !self.stops {
            return None;
        }
        let wanted = limit.map(|limit| limit as u64);
        let mut node = self.clone();
        node.scan.limit = match (self.scan.limit, wanted) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        if let Some(limit) = node.scan.limit.filter(|_| node.scan.limit != self.scan.limit) {
            node.described = format!("{} (stops after {limit} rows)", self.described);
        }
        Some(node)
    }

    /// The columns of which joins tell it keys.
    pub(super) fn keyed_columns(&self) -> BTreeSet<String> {
        self.received.columns()
    }

    /// What the store is asked under what dynamic filters tell of the rows; `None` when none can pass.
    fn narrowed(&self, told: Told, branches: &Branches) -> Option<Scan> {
        let mut scan = self.scan.clone();
        let Some(connector) = branches.connector(&scan.store) else { return Some(scan) };
        let output = |output: usize| self.scan.columns.get(output).copied();
        let keys_max = connector.capabilities().keys_max;
        let conditions = keys::conditions(told, &self.table, keys_max, &output)?;
        let mut budget = Budget::with_keys(keys_max);
        scan.filter.iter().for_each(|filter| {
            budget.take(filter);
        });
        for condition in conditions {
            // The join checks again in any case. Of what is refused something weaker may be taken.
            let mut pending = vec![condition];
            while let Some(condition) = pending.pop() {
                match connector.pushdown(&self.table, &condition) {
                    Pushdown::Exact(kept) | Pushdown::Superset(kept) if budget.take(&kept) => scan.filter.push(kept),
                    Pushdown::Exact(_) | Pushdown::Superset(_) | Pushdown::Refused(_) => pending.extend(keys::weaker(&condition)),
                }
            }
        }
        Some(scan)
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScanExec: store={}", self.scan.store)?;
        if self.ranges > 1 {
            write!(f, ", ranges={}", self.ranges)?;
        }
        write!(f, ", asked={}{}", self.described, self.values)?;
        let columns = self.received.columns();
        if columns.is_empty() {
            return Ok(());
        }
        write!(f, ", keys={}", columns.into_iter().collect::<Vec<_>>().join(", "))
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &str {
        "ScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.received.apply(f)
    }

    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        offer: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let (answer, received) = self.receiving(phase, &offer);
        Ok(match received {
            Some(received) => answer.with_updated_node(Arc::new(received)),
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

    /// The optimiser removes its own limit when this succeeds, so the stream below stops at exactly `limit` rows
    /// (`federation.md` §1.6).
    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        self.stopping_at(limit).map(|node| Arc::new(node) as Arc<dyn ExecutionPlan>)
    }

    fn fetch(&self) -> Option<usize> {
        self.scan.limit.and_then(|limit| usize::try_from(limit).ok())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return exec_err!("a scan has one partition, not {partition}");
        }
        let Some(branches) = context.session_config().get_extension::<Branches>() else {
            return exec_err!("the statement has no branches");
        };
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let bytes = MetricBuilder::new(&self.metrics).counter("bytes_pulled", partition);
        let trips = MetricBuilder::new(&self.metrics).counter("round_trips", partition);
        let read_as = (self.ranges > 1).then(|| MetricBuilder::new(&self.metrics).counter("ranges_read", partition));
        let waited = MetricBuilder::new(&self.metrics).subset_time("remote_time", partition);
        let limits = ScanLimits { batch_rows: context.session_config().batch_size(), ..ScanLimits::default() };
        let node = self.clone();
        let opened = futures::stream::once(async move { open(node, branches, limits, (trips, read_as)).await }).try_flatten();
        let limited = stop_after(opened.boxed(), self.scan.limit);
        let schema = self.schema();
        let counted = timed(limited, waited).map(move |batch| refit(count(batch, &baseline, &bytes)?, &schema));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), counted)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(measured(&self.metrics))
    }

    fn statistics_from_inputs(&self, _input_stats: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        Ok(Arc::new(estimate::scan_statistics(&self.table, &self.scan)))
    }
}

async fn open(
    node: ScanExec,
    branches: Arc<Branches>,
    limits: ScanLimits,
    (trips, read_as): (Count, Option<Count>),
) -> Result<BatchStream, StoreError> {
    let told = node.received.told(&node.schema()).await;
    let Some(scan) = node.narrowed(told, &branches) else { return Ok(futures::stream::empty().boxed()) };
    trips.add(1);
    // What joins have told may have made it short.
    let most = ranges::of(&node.table, &scan, node.ranges);
    // A branch that writes has one connection, and no range of it locks anything.
    if most < 2 || branches.writes_to(&scan.store) || branches.locks_table(&scan.store, &scan.table) {
        return read_in_order(node.table, scan, &node.order, branches, limits).await;
    }
    let (count, stream) = ranges::read(node.table, scan, branches, limits, most).await?;
    trips.add(count.saturating_sub(1));
    if let Some(read_as) = read_as {
        read_as.add(count);
    }
    Ok(stream)
}

/// Asks the store for the rows of one statement.
pub(super) async fn read(
    table: Arc<Table>,
    scan: Scan,
    branches: Arc<Branches>,
    limits: ScanLimits,
) -> Result<BatchStream, StoreError> {
    read_in_order(table, scan, &[], branches, limits).await
}

/// The same, in an order where rows are locked for the client.
async fn read_in_order(
    table: Arc<Table>,
    scan: Scan,
    order: &[SortKey],
    branches: Arc<Branches>,
    limits: ScanLimits,
) -> Result<BatchStream, StoreError> {
    let store = scan.store.clone();
    let branch = branches.get(&store).await?;
    let opened = match branches.hold(&store, &scan.table) {
        Some(Hold::ToChange) => branch.scan_for_update(&table, &scan, limits).await,
        Some(Hold::Locked(lock)) => branch.scan_locked(&table, &scan, lock, order, limits).await,
        None => branch.scan(&table, &scan, limits).await,
    };
    kept_open(opened, branch, branches, store)
}

/// A stream that keeps its branch for as long as rows are read, also when the statement's own handles are gone, ends when its
/// store is closed under it, tells what is heard of the store, and is counted.
pub(super) fn kept_open(
    opened: Result<BatchStream, StoreError>,
    branch: Arc<dyn Branch>,
    branches: Arc<Branches>,
    store: StoreName,
) -> Result<BatchStream, StoreError> {
    let reads = branches.reads().of(&store);
    reads.scans.add(1);
    if opened.is_err() {
        reads.errors.add(1);
        branches.heard(&store, &opened);
    }
    let retired = branches.retired().clone();
    opened.map(|stream| {
        until_retired(stream, retired, store.clone())
            .inspect(move |batch| {
                let _keep = &branch;
                match batch {
                    Ok(batch) => {
                        reads.rows.add(batch.num_rows() as u64);
                        reads.bytes.add(batch.get_array_memory_size() as u64);
                    }
                    Err(_) => reads.errors.add(1),
                }
                branches.heard(&store, batch);
            })
            .boxed()
    })
}

/// Ends a stream with an error when its store is closed under it, which stops the query in the store.
fn until_retired(stream: BatchStream, retired: CancellationToken, store: StoreName) -> BatchStream {
    futures::stream::unfold(Some((stream, retired, store)), |state| async move {
        let (mut stream, retired, store) = state?;
        // Cancel-safe: both are dropped with the stream when the token wins.
        let batch = tokio::select! {
            biased;
            () = retired.cancelled() => return Some((Err(closed_under(&store)), None)),
            batch = stream.next() => batch?,
        };
        Some((batch, Some((stream, retired, store))))
    })
    .boxed()
}

/// What a scan ends with when its store is closed under it.
pub(super) fn closed_under(store: &StoreName) -> StoreError {
    let reason = "It was replaced when the catalog directory was read again.".to_owned();
    StoreError::ConnectionLost { store: store.to_string(), reason }
}

/// Ends a stream after `limit` rows, also when the store sent more.
pub(super) fn stop_after(stream: BatchStream, limit: Option<u64>) -> BatchStream {
    let Some(limit) = limit else { return stream };
    let state = (stream, usize::try_from(limit).unwrap_or(usize::MAX));
    futures::stream::unfold(state, |(mut stream, left)| async move {
        if left == 0 {
            return None;
        }
        match stream.next().await? {
            Ok(batch) if batch.num_rows() >= left => Some((Ok(batch.slice(0, left)), (futures::stream::empty().boxed(), 0))),
            Ok(batch) => {
                let left = left - batch.num_rows();
                Some((Ok(batch), (stream, left)))
            }
            Err(error) => Some((Err(error), (stream, left))),
        }
    })
    .boxed()
}

/// What was measured of a node that asks a store: its computing is not, though its counters have a place for it.
pub(super) fn measured(metrics: &ExecutionPlanMetricsSet) -> MetricsSet {
    let mut kept = MetricsSet::new();
    let all = metrics.clone_inner();
    all.iter().filter(|metric| !matches!(metric.value(), MetricValue::ElapsedCompute(_))).for_each(|metric| {
        kept.push(Arc::clone(metric));
    });
    kept
}

/// Counts rows and bytes of a batch.
pub(super) fn count(
    batch: std::result::Result<arrow::array::RecordBatch, StoreError>,
    baseline: &BaselineMetrics,
    bytes: &Count,
) -> Result<arrow::array::RecordBatch> {
    let batch = batch?;
    bytes.add(batch.get_array_memory_size());
    Ok(batch.record_output(baseline))
}

/// Counts what each store is asked below `plan`: scans, and parts that it runs.
pub fn count_scans(plan: &Arc<dyn ExecutionPlan>) -> BTreeMap<StoreName, usize> {
    let mut counts = BTreeMap::new();
    for asked in asked(plan) {
        *counts.entry(asked.store).or_insert(0) += 1;
    }
    counts
}

/// What a node of a plan asks of a store.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The store.
    pub store: StoreName,
    /// The statement or pipeline with its values.
    pub described: String,
    /// About how many rows were expected.
    pub estimate: Option<usize>,
    /// What was counted, once it has run.
    pub metrics: Option<MetricsSet>,
    /// Whether it is asked only where a copy does not serve instead, and has not been.
    pub is_spared: bool,
}

impl Asked {
    /// What a node asks; `None` when it asks no store.
    pub fn of(plan: &dyn ExecutionPlan) -> Option<Self> {
        let plan: &dyn Any = plan;
        if let Some(scan) = plan.downcast_ref::<ScanExec>() {
            return Some(Self::of_scan(scan));
        }
        if let Some(copy) = plan.downcast_ref::<CopyExec>() {
            return match copy.served() {
                Some(Served::Copy { .. }) => None,
                served => Some(Self { is_spared: served.is_none(), ..Self::of_scan(copy.scan()) }),
            };
        }
        let fragment = plan.downcast_ref::<FragmentExec>()?;
        let (store, described) = (fragment.fragment().store.clone(), fragment.described().to_owned());
        let (estimate, metrics) = (fragment.estimate(), fragment.metrics());
        Some(Self { store, described, estimate, metrics, is_spared: false })
    }

    fn of_scan(scan: &ScanExec) -> Self {
        let (store, described) = (scan.scan.store.clone(), format!("{}{}", scan.described, scan.values));
        let estimate = scan.table.row_estimate.map(|_| estimate::scan_rows(&scan.table, &scan.scan) as usize);
        Self { store, described, estimate, metrics: scan.metrics(), is_spared: false }
    }
}

/// What `plan` asks of stores, in plan order.
pub fn asked(plan: &Arc<dyn ExecutionPlan>) -> Vec<Asked> {
    let mut found: Vec<Asked> = Asked::of(plan.as_ref()).into_iter().collect();
    for child in plan.children() {
        found.extend(asked(child));
    }
    found
}
