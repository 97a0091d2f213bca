//! Names that a statement has taken before the engine makes its own.
//!
//! The engine calls what it computes beside a statement's columns `__common_expr_1`, `__correlated_sq_2` and so on, and counts on from one
//! to the next. A column or relation of the statement may be called so too: the engine is told to count on from there.

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// What names of the engine begin with.
const PREFIX: &str = "__";

/// The engine never counts so far.
const NUMBER_MAX: usize = 1 << 48;

/// The rule; must come before those that make names. It changes nothing.
#[derive(Debug)]
pub(super) struct TakenNames;

impl OptimizerRule for TakenNames {
    fn name(&self) -> &str {
        "taken_names"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        None
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if let Some(highest) = highest(&plan)? {
            config.alias_generator().update_min_id(highest);
        }
        Ok(Transformed::no(plan))
    }
}

/// The highest number of a name that could be one of the engine's.
fn highest(plan: &LogicalPlan) -> Result<Option<usize>> {
    let mut highest: Option<usize> = None;
    plan.apply_with_subqueries(|node| {
        for (relation, field) in node.schema().iter() {
            let names = [relation.map(|relation| relation.table()), Some(field.name().as_str())];
            highest = highest.max(names.into_iter().flatten().filter_map(number).max());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(highest)
}

fn number(name: &str) -> Option<usize> {
    let (_, digits) = name.strip_prefix(PREFIX)?.rsplit_once('_')?;
    digits.parse().ok().filter(|number| *number <= NUMBER_MAX)
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{LogicalPlanBuilder, lit};
    use datafusion::optimizer::OptimizerContext;

    use super::*;

    #[test]
    fn the_engine_counts_on_from_names_that_are_taken() {
        let row =
            LogicalPlanBuilder::empty(true).project([lit(1).alias("__common_expr_41"), lit(2).alias("__b"), lit(3).alias("c_90")]);
        let plan = row.unwrap().alias("__correlated_sq_57").unwrap().build().unwrap();
        let context = OptimizerContext::new();
        let seen = TakenNames.rewrite(plan, &context).unwrap();
        assert!(!seen.transformed);
        assert_eq!(context.alias_generator().next("__common_expr"), "__common_expr_58");
    }

    #[test]
    fn numbers_that_no_count_reaches_are_left_alone() {
        for (name, expected) in [
            ("__common_expr_18446744073709551615", None),
            ("__common_expr_99999999999999999999", None),
            ("__scalar_sq_3", Some(3)),
            ("__scalar_sq_", None),
            ("scalar_sq_3", None),
        ] {
            assert_eq!(number(name), expected, "{name}");
        }
    }
}
