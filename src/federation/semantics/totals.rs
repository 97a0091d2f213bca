//! Conditions over aggregations that give a row even for no rows.
//!
//! The engine moves a condition below an aggregation when all its columns are group keys. A condition without columns (NULL, a
//! parameter, `now() < …`) has that property too, but below an aggregation without keys, or with an empty grouping set, it takes
//! the rows and not the total: `SELECT n FROM (SELECT count(*) AS n FROM t) s WHERE n >= 0 AND NULL` would give one row with 0.

use datafusion::error::Result;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use datafusion::common::tree_node::Transformed;

use super::comparands::settled_conditions;
use super::inferred::Written;

/// The engine's rule, kept from totals, over conditions whose constants are settled: it concludes from several on one column.
#[derive(Debug, Default)]
pub(super) struct ConditionsAboveTotals {
    rule: PushDownFilter,
}

impl OptimizerRule for ConditionsAboveTotals {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if would_pass_a_total(&plan) {
            return Ok(Transformed::no(plan));
        }
        let settled = settled_conditions(plan, config)?;
        let is_changed = settled.transformed;
        let written = Written::of(&settled.data);
        let mut moved = self.rule.rewrite(settled.data, config)?;
        moved.transformed |= is_changed;
        match written {
            Some(written) if moved.transformed => moved.map_data(|plan| written.alone(plan)),
            _ => Ok(moved),
        }
    }
}

/// Whether a condition without columns stands on an aggregation that has a total. Conditions on top of one another are moved as
/// one.
fn would_pass_a_total(plan: &LogicalPlan) -> bool {
    let (mut node, mut constant) = (plan, false);
    while let LogicalPlan::Filter(filter) = node {
        constant |= split_conjunction(&filter.predicate).into_iter().any(|part| part.column_refs().is_empty());
        node = filter.input.as_ref();
    }
    match node {
        LogicalPlan::Aggregate(aggregate) => constant && has_total(aggregate),
        _ => false,
    }
}

fn has_total(aggregate: &Aggregate) -> bool {
    match aggregate.group_expr.as_slice() {
        [] => true,
        [Expr::GroupingSet(GroupingSet::GroupingSets(sets))] => sets.iter().any(Vec::is_empty),
        [Expr::GroupingSet(_)] => true,
        _ => false,
    }
}
