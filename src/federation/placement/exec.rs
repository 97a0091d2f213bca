//! The plan node that lets a store run a part of the plan. It opens nothing until its first batch is asked for.

mod keys;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, exec_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, PlanProperties, ReplaceChildrenOptions};
use datafusion::physical_plan::filter_pushdown::{ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet, Time};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::estimate;
use super::node::Part;
use crate::federation::branches::Branches;
use crate::federation::items::refit;
use crate::federation::joins::dynamic::{Received, Told};
use crate::federation::scan::{count, kept_open, measured, stop_after};
use crate::stores::connector::ScanLimits;
use crate::stores::{BatchStream, Fragment, StoreError};

/// Lets a store run a part of the plan through the statement's branch.
#[derive(Debug, Clone)]
pub struct FragmentExec {
    part: Arc<Part>,
    schema: SchemaRef,
    fetch: Option<usize>,
    alternative: Option<Alternative>,
    received: Received,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// The seam for another way to the same rows, kept beside the part and chosen when its first batch is asked for: a copy of the
/// tables that was fresh enough when the statement was planned may no longer be.
#[derive(Debug, Clone)]
pub struct Alternative {
    /// A plan with one partition that gives the same columns.
    pub plan: Arc<dyn ExecutionPlan>,
    /// Whether it is to be taken now.
    pub choice: Arc<dyn Choice>,
}

/// Decides between a part and its alternative, once per execution.
pub trait Choice: fmt::Debug + Send + Sync {
    /// Whether the alternative is taken.
    fn takes_alternative(&self) -> bool;
}

impl FragmentExec {
    /// A node for a part; its batches have `schema`.
    pub(super) fn new(part: Arc<Part>, schema: SchemaRef) -> Self {
        let ordering = part.order.iter().map_while(|key| {
            let field = schema.fields().get(key.place)?;
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), key.place));
            Some(PhysicalSortExpr::new(column, SortOptions { descending: key.descending, nulls_first: key.nulls_first }))
        });
        let ordering: Vec<PhysicalSortExpr> = ordering.collect();
        let mut equivalence = EquivalenceProperties::new(Arc::clone(&schema));
        if !ordering.is_empty() {
            equivalence.add_ordering(ordering);
        }
        let properties =
            PlanProperties::new(equivalence, Partitioning::UnknownPartitioning(1), EmissionType::Incremental, Boundedness::Bounded);
        let (received, metrics) = (Received::default(), ExecutionPlanMetricsSet::new());
        Self { part, schema, fetch: None, alternative: None, received, properties: Arc::new(properties), metrics }
    }

    /// The same with an alternative.
    #[must_use]
    pub fn with_alternative(self, alternative: Alternative) -> Self {
        Self { alternative: Some(alternative), ..self }
    }

    /// The same, which waits for those of its dynamic filters that have these ids; `None` when it has received none.
    pub(in crate::federation) fn awaiting(&self, ids: &BTreeSet<u64>) -> Option<Self> {
        Some(Self { received: self.received.awaiting(ids)?, ..self.clone() })
    }

    /// What the store runs.
    pub fn fragment(&self) -> &Fragment {
        &self.part.fragment
    }

    /// What the store is asked.
    pub fn described(&self) -> &str {
        &self.part.described
    }

    /// About how many rows it gives.
    pub fn estimate(&self) -> Option<usize> {
        let rows = self.part.rows.and_then(|rows| usize::try_from(rows).ok());
        match (rows, self.fetch) {
            (Some(rows), Some(fetch)) => Some(rows.min(fetch)),
            (rows, fetch) => rows.or(fetch),
        }
    }
}

impl DisplayAs for FragmentExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FragmentExec: store={}", self.part.fragment.store)?;
        if let Some(fetch) = self.fetch {
            write!(f, ", fetch={fetch}")?;
        }
        if self.alternative.is_some() {
            f.write_str(", or an alternative")?;
        }
        write!(f, ", asked={}", self.part.described)?;
        let columns = self.received.columns();
        if columns.is_empty() {
            return Ok(());
        }
        write!(f, ", keys={}", columns.into_iter().collect::<Vec<_>>().join(", "))
    }
}

impl ExecutionPlan for FragmentExec {
    fn name(&self) -> &str {
        "FragmentExec"
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

    /// A part that ends after some rows takes no filter: it would then find other rows.
    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        offer: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let (answer, received) = self.received.offered(phase, &offer);
        Ok(match received.filter(|_| self.fetch.is_none()) {
            Some(received) => answer.with_updated_node(Arc::new(Self { received, ..self.clone() })),
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

    /// The optimiser removes its own limit when this succeeds, so the stream below stops at exactly so many rows, which stops
    /// the store too. A limit that the store may take is in the part already.
    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let fetch = match (self.fetch, limit) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Some(Arc::new(Self { fetch, ..self.clone() }))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return exec_err!("a part that a store runs has one partition, not {partition}");
        }
        let batches = match &self.alternative {
            // Chosen when the first batch is asked for, not when the plan is started.
            Some(alternative) => {
                let (node, alternative) = (self.clone(), alternative.clone());
                let chosen = futures::stream::once(async move {
                    if alternative.choice.takes_alternative() {
                        alternative.plan.execute(0, context).map(|stream| stream.boxed())
                    } else {
                        node.remote(&context)
                    }
                });
                chosen.try_flatten().boxed()
            }
            None => self.remote(&context)?,
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(measured(&self.metrics))
    }

    fn statistics_from_inputs(&self, _input_stats: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        if let Some(rows) = self.estimate() {
            statistics.num_rows = Precision::Inexact(rows);
            let part = &self.part;
            for (place, column) in statistics.column_statistics.iter_mut().enumerate() {
                if let Some(distinct) = estimate::distinct(&part.fragment.root, place, &part.tables) {
                    column.distinct_count = Precision::Inexact(rows.min(distinct as usize));
                }
            }
        }
        Ok(Arc::new(statistics))
    }
}

impl FragmentExec {
    /// The rows that the store sends.
    fn remote(&self, context: &Arc<TaskContext>) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let Some(branches) = context.session_config().get_extension::<Branches>() else {
            return exec_err!("the statement has no branches");
        };
        let baseline = BaselineMetrics::new(&self.metrics, 0);
        let bytes = MetricBuilder::new(&self.metrics).counter("bytes_pulled", 0);
        let trips = MetricBuilder::new(&self.metrics).counter("round_trips", 0);
        let waited = MetricBuilder::new(&self.metrics).subset_time("remote_time", 0);
        let limits = ScanLimits { batch_rows: context.session_config().batch_size(), ..ScanLimits::default() };
        let node = self.clone();
        let opened = futures::stream::once(async move {
            trips.add(1);
            open(node, branches, limits).await
        });
        let limited = stop_after(opened.try_flatten().boxed(), self.fetch.map(|fetch| fetch as u64));
        let schema = Arc::clone(&self.schema);
        let counted = timed(limited, waited).map(move |batch| fitted(&count(batch, &baseline, &bytes)?, &schema));
        Ok(counted.boxed())
    }
}

async fn open(node: FragmentExec, branches: Arc<Branches>, limits: ScanLimits) -> Result<BatchStream, StoreError> {
    let part = &node.part;
    let store = &part.fragment.store;
    let fragment = match (node.received.told(&node.schema).await, branches.connector(store)) {
        (Told::Never, _) => return Ok(futures::stream::empty().boxed()),
        (Told::Rows(condition), Some(connector)) => keys::narrowed(part, condition, connector.as_ref()),
        _ => part.fragment.clone(),
    };
    let branch = branches.get(store).await?;
    let opened = branch.run(&fragment, &part.tables, &part.sent, limits).await;
    kept_open(opened, branch, branches, part.fragment.store.clone())
}

/// Counts the time that is spent waiting for a store.
pub(in super::super) fn timed(stream: BatchStream, waited: Time) -> BatchStream {
    futures::stream::unfold((stream, waited), |(mut stream, waited)| async move {
        let asked = Instant::now();
        let batch = stream.next().await;
        // A batch that was read ahead costs nothing, and nothing is not shown as something.
        waited.add_duration(asked.elapsed().max(Duration::from_nanos(1)));
        batch.map(|batch| (batch, (stream, waited)))
    })
    .boxed()
}

/// The batch under the node's own schema, without the constant that rows without columns travel with.
fn fitted(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = batch.columns().iter().take(schema.fields().len()).cloned().collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let same_lists = columns.iter().zip(schema.fields()).all(|(column, field)| column.data_type() == field.data_type());
    if same_lists {
        return Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?);
    }
    refit(batch.clone(), schema)
}

#[cfg(test)]
mod tests;
