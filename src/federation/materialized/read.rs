//! The plan node that reads the rows of a materialized view: those of the keys that conditions or joins leave, or all of them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, Statistics, exec_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, PlanProperties, ReplaceChildrenOptions};
use datafusion::physical_plan::filter_pushdown::{ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::ViewRows;
use crate::federation::copy;
use crate::federation::joins::dynamic::{Received, Told};
use crate::federation::scan::measured;
use crate::stores::Predicate;

/// Reads the rows of one state of a materialized view. It is made for one statement, whose plan holds the state.
#[derive(Debug, Clone)]
pub struct ViewExec {
    named: Arc<str>,
    rows: ViewRows,
    /// Ordinals of the view's columns.
    columns: Arc<[usize]>,
    /// What is known of the conditions that are checked above.
    said: Arc<[Predicate]>,
    limit: Option<u64>,
    /// What joins are going to tell of the rows.
    received: Received,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ViewExec {
    /// A node that gives some columns of a view under `schema`, at most `limit` rows of them.
    pub(super) fn new(
        (named, schema): (String, SchemaRef),
        rows: ViewRows,
        (columns, said): (Vec<usize>, Vec<Predicate>),
        limit: Option<u64>,
    ) -> Self {
        let equivalence = EquivalenceProperties::new(schema);
        let properties =
            PlanProperties::new(equivalence, Partitioning::UnknownPartitioning(1), EmissionType::Incremental, Boundedness::Bounded);
        let (properties, metrics) = (Arc::new(properties), ExecutionPlanMetricsSet::new());
        let (named, columns, said) = (named.into(), columns.into(), said.into());
        Self { named, rows, columns, said, limit, received: Received::default(), properties, metrics }
    }

    /// The same node, which waits for those of its dynamic filters that have these ids; `None` when it has received none.
    pub(in crate::federation) fn awaiting(&self, ids: &BTreeSet<u64>) -> Option<Self> {
        Some(Self { received: self.received.awaiting(ids)?, ..self.clone() })
    }

    /// The rows that joins leave, or more of them.
    async fn open(self, batch_rows: usize) -> BoxStream<'static, Result<RecordBatch>> {
        let mut said = self.said.to_vec();
        // Of rows that a limit counts none may be left out.
        if self.limit.is_none() {
            let told = match self.received.told(&self.schema()).await {
                Told::Nothing => Vec::new(),
                Told::Never => return futures::stream::empty().boxed(),
                Told::Rows(Predicate::And(conditions)) => conditions,
                Told::Rows(condition) => vec![condition],
            };
            let output = |output: usize| self.columns.get(output).copied();
            said.extend(told.into_iter().filter_map(|condition| condition.over(&output)));
        }
        copy::rows_of(Arc::clone(&self.rows.version), (self.columns.to_vec(), said), self.limit, batch_rows)
    }

    /// Schema and name of the view.
    pub fn named(&self) -> &str {
        &self.named
    }

    /// How many conditions it has been told of.
    pub(in crate::federation) fn conditions(&self) -> usize {
        self.said.len()
    }
}

/// The batch under the schema of a node, whose columns have the same types.
fn under(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &options)?)
}

impl DisplayAs for ViewExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ViewExec: {}", self.named)?;
        if let Some(limit) = self.limit {
            write!(f, ", limit={limit}")?;
        }
        let columns = self.received.columns();
        if columns.is_empty() {
            return Ok(());
        }
        write!(f, ", keys={}", columns.into_iter().collect::<Vec<_>>().join(", "))
    }
}

impl ExecutionPlan for ViewExec {
    fn name(&self) -> &str {
        "ViewExec"
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

    /// A node that ends after some rows takes no filters: it would then find other rows.
    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        offer: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let (answer, received) = self.received.offered(phase, &offer);
        Ok(match received.filter(|_| self.limit.is_none()) {
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

    /// The optimiser removes its own limit when this succeeds: of rows that conditions above may leave out none is left out here.
    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let wanted = limit.map(|limit| limit as u64);
        let limit = match (self.limit, wanted) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Some(Arc::new(Self { limit, metrics: ExecutionPlanMetricsSet::new(), ..self.clone() }))
    }

    fn fetch(&self) -> Option<usize> {
        self.limit.and_then(|limit| usize::try_from(limit).ok())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return exec_err!("a view is read as one partition, not {partition}");
        }
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let (node, batch_rows) = (self.clone(), context.session_config().batch_size());
        let opened = futures::stream::once(async move { Ok::<_, DataFusionError>(node.open(batch_rows).await) }).try_flatten();
        let schema = self.schema();
        let counted = opened.map(move |batch| {
            let batch = under(&batch?, &schema)?;
            Ok::<_, DataFusionError>(batch.record_output(&baseline))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), counted)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(measured(&self.metrics))
    }

    fn statistics_from_inputs(&self, _inputs: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let rows = self.rows.version.rows();
        let most = self.fetch().map_or(rows, |limit| rows.min(limit));
        let statistics = Statistics { num_rows: Precision::Inexact(most), ..Statistics::new_unknown(&self.schema()) };
        Ok(Arc::new(statistics))
    }
}
