//! Projections of physical plans, moved by the engine's rule where that computes nothing too soon.
//!
//! Of the condition of a nested loop join the rule computes what reads one side alone once for each row of that side. What a condition
//! computes only for some rows (CASE, and AND and OR whose parts come one after the other) would be computed for all, and may fail there.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CaseExpr, LambdaExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::projection_pushdown::ProjectionPushdown;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::projection::remove_unnecessary_projections;

/// The rule, under the engine's name.
#[derive(Debug, Default)]
pub(super) struct MovedProjections {
    rule: ProjectionPushdown,
}

impl PhysicalOptimizerRule for MovedProjections {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        if plan.exists(|node| Ok(computes_for_some(node)))? {
            return plan.transform_down(remove_unnecessary_projections).data();
        }
        self.rule.optimize(plan, config)
    }

    fn name(&self) -> &str {
        self.rule.name()
    }

    fn schema_check(&self) -> bool {
        self.rule.schema_check()
    }
}

/// Whether a join compares rows by something that is computed for some of them.
fn computes_for_some(node: &Arc<dyn ExecutionPlan>) -> bool {
    let filter = node.downcast_ref::<NestedLoopJoinExec>().and_then(NestedLoopJoinExec::filter);
    filter.is_some_and(|filter| {
        let part = |part: &Arc<dyn PhysicalExpr>| Ok(part.is::<LambdaExpr>() || part.is::<CaseExpr>());
        filter.expression().exists(part).unwrap_or(true)
    })
}
