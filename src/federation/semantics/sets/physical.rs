//! The node of the physical plan, and the planner that makes it.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{
    ChildrenPropertiesMode, EmissionType, PlanProperties, ReplaceChildrenOptions, apply_expression_roots,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use futures::StreamExt;

use super::super::settings::SessionValues;
use super::series::SeriesCall;
use super::stream::{Expander, expand};
use super::{Empty, ProjectSet, element};

/// The engine's own physical planner, which also knows [`ProjectSet`].
#[derive(Debug)]
pub struct SetPlanner;

#[async_trait]
impl QueryPlanner for SetPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Self)]);
        planner.create_physical_plan(plan, session).await
    }
}

#[async_trait]
impl ExtensionPlanner for SetPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        planning: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(set), [input]) = (node.as_any().downcast_ref::<ProjectSet>(), physical_inputs) else { return Ok(None) };
        let below = set.input().schema();
        let plan = |expr: &Expr, schema: &DFSchema| planner.create_physical_expr(expr, schema, session, planning);
        let sources = set.calls().iter().map(|call| {
            Ok(match SeriesCall::of(call) {
                Some((series, arguments)) => {
                    let arguments = arguments.iter().map(|argument| plan(argument, below)).collect::<Result<Vec<_>>>()?;
                    SourceExpr::Series(Arc::new(series), arguments)
                }
                None => SourceExpr::List(plan(&call.clone().unalias(), below)?, element(call, below)?.2),
            })
        });
        let sources = sources.collect::<Result<Vec<_>>>()?;
        Ok(Some(Arc::new(ProjectSetExec::new(set, Arc::clone(input), sources)?)))
    }
}

/// Where the values of one call come from.
#[derive(Debug, Clone)]
pub(super) enum SourceExpr {
    /// A list per input row, and how many levels of lists inside it are taken off.
    List(Arc<dyn PhysicalExpr>, usize),
    /// A series per input row, from its arguments.
    Series(Arc<SeriesCall>, Vec<Arc<dyn PhysicalExpr>>),
}

impl SourceExpr {
    fn expressions(&self) -> &[Arc<dyn PhysicalExpr>] {
        match self {
            Self::List(list, _) => std::slice::from_ref(list),
            Self::Series(_, arguments) => arguments,
        }
    }

    fn carrier(&self, input: &Schema) -> Result<DataType> {
        match self {
            Self::Series(call, _) => Ok(call.returns.carrier()),
            Self::List(list, levels) => {
                let mut carrier = list.data_type(input)?;
                for _ in 0..=*levels {
                    carrier = match carrier {
                        DataType::List(item) => item.data_type().clone(),
                        other => return Err(DataFusionError::NotImplemented(format!("unnest of {other}"))),
                    };
                }
                Ok(carrier)
            }
        }
    }
}

impl fmt::Display for SourceExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.expressions().iter().map(ToString::to_string).collect();
        let name = if matches!(self, Self::Series(..)) { "generate_series" } else { "unnest" };
        write!(f, "{name}({})", parts.join(", "))
    }
}

/// See [`ProjectSet`].
#[derive(Debug, Clone)]
struct ProjectSetExec {
    input: Arc<dyn ExecutionPlan>,
    /// Places of the input's columns that go along.
    kept: Vec<usize>,
    sources: Vec<SourceExpr>,
    is_counted: bool,
    empty: Empty,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ProjectSetExec {
    fn new(set: &ProjectSet, input: Arc<dyn ExecutionPlan>, sources: Vec<SourceExpr>) -> Result<Self> {
        let below = input.schema();
        let kept = set.kept_places()?;
        let mut fields: Vec<FieldRef> = below.project(&kept)?.fields().iter().cloned().collect();
        let own = set.schema.fields().iter().skip(kept.len());
        for (place, field) in own.enumerate() {
            let carrier = match sources.get(place) {
                Some(source) => source.carrier(&below)?,
                None => DataType::Int64,
            };
            fields.push(Arc::new(field.as_ref().clone().with_data_type(carrier)));
        }
        let schema = Arc::new(Schema::new_with_metadata(fields, below.metadata().clone()));
        let properties = Self::properties_over(&input, &schema);
        let (is_counted, empty, metrics) = (set.ordinality.is_some(), set.empty, ExecutionPlanMetricsSet::new());
        Ok(Self { input, kept, sources, is_counted, empty, schema, properties, metrics })
    }

    fn properties_over(input: &Arc<dyn ExecutionPlan>, schema: &SchemaRef) -> Arc<PlanProperties> {
        let partitions = Partitioning::UnknownPartitioning(input.output_partitioning().partition_count());
        let equivalence = EquivalenceProperties::new(Arc::clone(schema));
        Arc::new(PlanProperties::new(equivalence, partitions, EmissionType::Incremental, input.boundedness()))
    }
}

impl DisplayAs for ProjectSetExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources: Vec<String> = self.sources.iter().map(ToString::to_string).collect();
        let counted = if self.is_counted { " with ordinality" } else { "" };
        write!(f, "ProjectSetExec: {}{counted}", sources.join(", "))
    }
}

impl ExecutionPlan for ProjectSetExec {
    fn name(&self) -> &str {
        "ProjectSetExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// Rows keep their order, but the engine takes a node that says so for one whose first columns are all those of its input,
    /// and would move a sort below it by their places.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![self.kept.len() == self.input.schema().fields().len()]
    }

    /// Rows come in the order of the input's rows, which spreading them over partitions would lose.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(self.sources.iter().flat_map(SourceExpr::expressions), f)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (Some(input), 0) = (children.pop(), children.len()) else {
            return Err(DataFusionError::Internal("ProjectSetExec has one input".to_owned()));
        };
        let properties = Self::properties_over(&input, &self.schema);
        Ok(Arc::new(Self { input, properties, metrics: ExecutionPlanMetricsSet::new(), ..self.as_ref().clone() }))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let config = context.session_config();
        let expander = Expander {
            kept: self.kept.clone(),
            sources: self.sources.clone(),
            is_counted: self.is_counted,
            empty: self.empty,
            schema: Arc::clone(&self.schema),
            session: SessionValues::of(config.options()),
            batch_rows: config.batch_size().max(1),
        };
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let input = self.input.execute(partition, context)?;
        let counted = expand(input, expander).map(move |batch| batch.map(|batch| batch.record_output(&baseline)));
        let stream = RecordBatchStreamAdapter::new(Arc::clone(&self.schema), counted);
        // One input row may give batches without end, and each must leave room for a cancel request.
        Ok(make_cooperative(Box::pin(stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
