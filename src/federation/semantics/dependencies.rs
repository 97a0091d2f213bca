//! What determines what: the engine's conclusions from keys, held back where they are wrong.
//!
//! A key of a table determines the table's columns, also above a join. Of an aggregation over a join the engine concludes that the
//! key determines all of its columns, those of the other side too, and that it occurs once. It would then leave sort keys,
//! group keys and DISTINCT out: `SELECT DISTINCT a.id, b.x FROM a CROSS JOIN b ORDER BY 1, 2` came sorted by the first only.

use std::sync::Arc;

use datafusion::common::FunctionalDependencies;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, LogicalPlan, Projection};
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// The rules that conclude from dependencies, under the names of those that they stand for.
pub(super) fn rules() -> Vec<Rule> {
    vec![
        Arc::new(Cautious { rule: EliminateDuplicatedExpr::new() }),
        Arc::new(Cautious { rule: ReplaceDistinctWithAggregate::new() }),
        Arc::new(Cautious { rule: OptimizeProjections::new() }),
    ]
}

/// A rule of the engine that sees dependencies only where they hold.
#[derive(Debug)]
struct Cautious<R> {
    rule: R,
}

impl<R: OptimizerRule> OptimizerRule for Cautious<R> {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if self.apply_order().is_none() {
            let plan = plan.transform_up_with_subqueries(|node| Ok(Transformed::no(unrelated(node)?)))?.data;
            return self.rule.rewrite(plan, config);
        }
        match plan {
            // Keys of a sort are left out for no other reason.
            LogicalPlan::Sort(sort) if !is_sound(&sort.input) => Ok(Transformed::no(LogicalPlan::Sort(sort))),
            plan => self.rule.rewrite(unrelated(plan)?, config),
        }
    }
}

/// A node that drops or groups equal rows, over an input of which nothing wrong is known.
fn unrelated(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(match plan {
        LogicalPlan::Distinct(Distinct::All(input)) => LogicalPlan::Distinct(Distinct::All(forgotten(input)?)),
        LogicalPlan::Aggregate(Aggregate { input, group_expr, aggr_expr, schema, .. }) => {
            LogicalPlan::Aggregate(Aggregate::try_new_with_schema(forgotten(input)?, group_expr, aggr_expr, schema)?)
        }
        other => other,
    })
}

/// The same rows without dependencies, unless these hold.
fn forgotten(input: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    let schema = input.schema();
    if schema.functional_dependencies().is_empty() || is_sound(&input) {
        return Ok(input);
    }
    let forgetful = schema.as_ref().clone().with_functional_dependencies(FunctionalDependencies::empty())?;
    let columns = schema.columns().into_iter().map(Expr::Column).collect();
    Ok(Arc::new(LogicalPlan::Projection(Projection::try_new_with_schema(columns, input, Arc::new(forgetful))?)))
}

/// Whether a plan reads one relation and gives each of its rows once at most.
fn is_sound(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Aggregate(_) => plan.inputs().into_iter().all(is_sound),
        _ => false,
    }
}
