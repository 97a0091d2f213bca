//! Aggregates of distinct values in two steps, where these mean the same.
//!
//! Where all aggregates with DISTINCT take one expression, the engine groups by it first, and aggregates the groups. It calls what the
//! first step gives `alias1`, `alias2`, … and `group_alias_0`, …, also where columns that a statement groups by are called so; it takes
//! calls for such ones whose arguments are one expression written twice; and sums of floats by groups are not those of the rows.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::single_distinct_to_groupby::SingleDistinctToGroupBy;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::aggregates::meaning;

/// The engine's rule, where it may be used.
#[derive(Debug, Default)]
pub(super) struct DistinctInSteps {
    rule: SingleDistinctToGroupBy,
}

impl OptimizerRule for DistinctInSteps {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let stays = match &plan {
            LogicalPlan::Aggregate(aggregate) => !has_steps(aggregate)?,
            _ => false,
        };
        if stays {
            return Ok(Transformed::no(plan));
        }
        self.rule.rewrite(plan, config)
    }
}

fn has_steps(aggregate: &Aggregate) -> Result<bool> {
    if aggregate.group_expr.iter().any(is_called_like_a_step) {
        return Ok(false);
    }
    for call in &aggregate.aggr_expr {
        if let Expr::AggregateFunction(call) = call
            && !is_in_steps(call, aggregate)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a column has a name that the engine may give to what the first step computes.
fn is_called_like_a_step(group: &Expr) -> bool {
    let starts = ["alias", "group_alias"];
    matches!(group, Expr::Column(column) if starts.iter().any(|start| column.name.starts_with(*start)))
}

fn is_in_steps(call: &AggregateFunction, aggregate: &Aggregate) -> Result<bool> {
    let (name, drops_repetitions) = meaning(&call.func);
    if drops_repetitions || call.params.args.len() != 1 {
        return Ok(false);
    }
    if call.params.distinct || name != "sum" {
        return Ok(true);
    }
    for argument in &call.params.args {
        if matches!(argument.get_type(aggregate.input.schema())?, DataType::Float32 | DataType::Float64) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use datafusion::functions_aggregate::count::count_distinct;
    use datafusion::functions_aggregate::string_agg::string_agg_udaf;
    use datafusion::functions_aggregate::sum::sum;
    use datafusion::logical_expr::{LogicalPlanBuilder, col, lit};
    use datafusion::optimizer::OptimizerContext;

    use super::*;

    /// Whether the engine may aggregate columns `v.a` (a text), `v.b` (an integer) and `v.f` (a float) in steps, grouped by a column.
    fn check(group: &str, calls: Vec<Expr>, expected: bool) {
        let outputs = vec![lit("x").alias("a"), lit(1_i64).alias("b"), lit(0.5).alias("f"), lit(7).alias(group)];
        let rows = LogicalPlanBuilder::empty(true).project(outputs).unwrap().alias("v").unwrap();
        let plan = rows.aggregate(vec![col(format!("v.{group}"))], calls.clone()).unwrap().build().unwrap();
        let rewritten = DistinctInSteps::default().rewrite(plan, &OptimizerContext::new()).unwrap();
        assert_eq!(rewritten.transformed, expected, "{group}: {calls:?}");
    }

    #[test]
    fn names_of_the_steps_are_not_taken_from_columns() {
        check("g", vec![count_distinct(col("v.b"))], true);
        for name in ["alias1", "alias7", "group_alias_0"] {
            check(name, vec![count_distinct(col("v.b"))], false);
        }
    }

    #[test]
    fn calls_with_two_arguments_and_sums_of_floats_have_no_steps() {
        let joined = |value: Expr, delimiter: Expr| {
            Expr::AggregateFunction(AggregateFunction::new_udf(string_agg_udaf(), vec![value, delimiter], true, None, vec![], None))
        };
        check("g", vec![joined(col("v.a"), col("v.a"))], false);
        check("g", vec![count_distinct(col("v.b")), sum(col("v.b"))], true);
        check("g", vec![count_distinct(col("v.b")), sum(col("v.f"))], false);
    }
}
