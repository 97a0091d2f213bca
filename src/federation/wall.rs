//! Walls, where the engine believes of rows what is not so, and would leave out an order that is asked for.
//!
//! - It takes columns that are equal below an aggregation for equal above it. With grouping sets one of two equal columns may be NULL
//!   where the other is not: `ROLLUP (a.id, b.id)` over a join on both.
//! - It takes a running `max` for ordered. It is, but for the NULLs that it begins with.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::SetMonotonicity;
use datafusion::physical_expr::window::{PlainAggregateWindowExpr, SlidingAggregateWindowExpr, WindowExpr};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, PlanProperties, ReplaceChildrenOptions};
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, replace_children_if_necessary,
};

/// The rule; must come before those that look at orders.
#[derive(Debug)]
pub struct Walls;

impl PhysicalOptimizerRule for Walls {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let walled = |node: Arc<dyn ExecutionPlan>| {
            if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
                if aggregate.group_expr().is_single() || aggregate.input().is::<Wall>() {
                    return Ok(Transformed::no(node));
                }
                let wall: Arc<dyn ExecutionPlan> = Arc::new(Wall::over(Arc::clone(aggregate.input())));
                return Ok(Transformed::yes(replace_children_if_necessary(node, vec![wall])?));
            }
            let is_running = node.downcast_ref::<WindowAggExec>().is_some_and(|window| is_running(window.window_expr()))
                || node.downcast_ref::<BoundedWindowAggExec>().is_some_and(|window| is_running(window.window_expr()));
            Ok(if is_running {
                Transformed::yes(Arc::new(Wall::over(node)) as Arc<dyn ExecutionPlan>)
            } else {
                Transformed::no(node)
            })
        };
        Ok(plan.transform_up(walled)?.data)
    }

    fn name(&self) -> &str {
        "walls"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether an aggregate of a window only grows or only falls once it has begun, and is NULL before.
fn is_running(calls: &[Arc<dyn WindowExpr>]) -> bool {
    calls.iter().any(|call| {
        let plain = call.as_any().downcast_ref::<PlainAggregateWindowExpr>().map(PlainAggregateWindowExpr::get_aggregate_expr);
        let sliding =
            call.as_any().downcast_ref::<SlidingAggregateWindowExpr>().map(SlidingAggregateWindowExpr::get_aggregate_expr);
        plain.or(sliding).is_some_and(|call| call.set_monotonicity() != SetMonotonicity::NotMonotonic && call.field().is_nullable())
    })
}

/// The rows of its input, of which nothing is known.
#[derive(Debug)]
struct Wall {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl Wall {
    fn over(input: Arc<dyn ExecutionPlan>) -> Self {
        let schema: SchemaRef = input.schema();
        let partitions = Partitioning::UnknownPartitioning(input.output_partitioning().partition_count());
        let (emission, boundedness) = (input.properties().emission_type, input.boundedness());
        let properties = PlanProperties::new(EquivalenceProperties::new(schema), partitions, emission, boundedness);
        Self { input, properties: Arc::new(properties) }
    }
}

impl DisplayAs for Wall {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallExec")
    }
}

impl ExecutionPlan for Wall {
    fn name(&self) -> &str {
        "WallExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(children.into_iter().next().map_or(self, |input| Arc::new(Self::over(input))))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}
