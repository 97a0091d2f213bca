//! Conditions that give another value each time they are asked stay where they stand in the query.
//!
//! The engine moves a condition by the columns that it reads. `random() < 0.5` reads none, and so goes below whatever it stands on:
//! set-returning functions, groups, joins, UNION. There it is asked once for many rows. Of two equal ones it keeps one. PostgreSQL
//! asks it for every row of what it stands on (`contain_volatile_functions` in its planner).

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::totals::ConditionsAboveTotals;

/// The rule that moves conditions, which sees only those that may move.
#[derive(Debug, Default)]
pub(super) struct StandingConditions {
    rule: ConditionsAboveTotals,
}

impl OptimizerRule for StandingConditions {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if !has_standing(&plan) {
            return self.rule.rewrite(plan, config);
        }
        let was_apart = is_apart(&plan);
        let (standing, moving, below) = taken_apart(plan);
        let (below, held) = without_held(below);
        let moving = match conjunction(moving) {
            Some(predicate) => LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(below))?),
            None => below,
        };
        let mut moved = self.rule.rewrite(moving, config)?;
        if !held.is_empty() {
            moved.data = with_held(moved.data, held)?;
        }
        if let Some(predicate) = conjunction(standing) {
            moved.data = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(moved.data))?);
        }
        moved.transformed |= !was_apart;
        Ok(moved)
    }
}

/// A condition in its parts that give another value each time, and the rest.
pub(super) fn parted(predicate: Expr) -> (Vec<Expr>, Vec<Expr>) {
    split_conjunction_owned(predicate).into_iter().partition(Expr::is_volatile)
}

/// Whether a condition that must stay is among those at the top of a plan, or in the join below them.
fn has_standing(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Filter(filter) => filter.predicate.is_volatile() || has_standing(&filter.input),
        LogicalPlan::Join(join) => join.filter.as_ref().is_some_and(Expr::is_volatile),
        _ => false,
    }
}

/// Whether those that must stay are one filter already, above the one of all others.
fn is_apart(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Filter(filter) = plan else { return true };
    let (standing, moving) = parted(filter.predicate.clone());
    match filter.input.as_ref() {
        LogicalPlan::Filter(below) => {
            let is_last = !matches!(below.input.as_ref(), LogicalPlan::Filter(_));
            is_last && moving.is_empty() && !below.predicate.is_volatile()
        }
        _ => moving.is_empty() || standing.is_empty(),
    }
}

/// The conditions at the top of a plan that must stay, the others, and what they all stand on. Those further in come first.
fn taken_apart(plan: LogicalPlan) -> (Vec<Expr>, Vec<Expr>, LogicalPlan) {
    let (mut standing, mut moving): (Vec<Expr>, Vec<Expr>) = (Vec::new(), Vec::new());
    let mut node = plan;
    while let LogicalPlan::Filter(Filter { predicate, input, .. }) = node {
        let (stay, move_on) = parted(predicate);
        standing = stay.into_iter().chain(standing).collect();
        moving = move_on.into_iter().chain(moving).collect();
        node = Arc::unwrap_or_clone(input);
    }
    (standing, moving, node)
}

/// A join without the conditions of its ON that must stay, and these.
fn without_held(plan: LogicalPlan) -> (LogicalPlan, Vec<Expr>) {
    match plan {
        LogicalPlan::Join(mut join) if join.filter.as_ref().is_some_and(Expr::is_volatile) => {
            let (held, rest) = join.filter.take().map(parted).unwrap_or_default();
            join.filter = conjunction(rest);
            (LogicalPlan::Join(join), held)
        }
        other => (other, Vec::new()),
    }
}

/// The join, below what the rule has left above it, with these conditions in its ON again.
pub(super) fn with_held(plan: LogicalPlan, held: Vec<Expr>) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Filter(Filter { predicate, input, .. }) => {
            let input = with_held(Arc::unwrap_or_clone(input), held)?;
            Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?))
        }
        LogicalPlan::Join(mut join) => {
            join.filter = conjunction(join.filter.take().into_iter().chain(held));
            Ok(LogicalPlan::Join(join))
        }
        _ => datafusion::common::internal_err!("a join is gone from below its conditions"),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::common::tree_node::{TreeNode, TreeNodeRewriter};
    use datafusion::functions_aggregate::expr_fn::count;
    use datafusion::logical_expr::{JoinType, LogicalPlanBuilder, table_scan};
    use datafusion::optimizer::OptimizerContext;
    use datafusion::prelude::{col, lit, random};

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn table(name: &str) -> LogicalPlanBuilder {
        let schema = Schema::new(vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Int32, true)]);
        table_scan(Some(name), &schema, None).unwrap()
    }

    fn maybe() -> Expr {
        random().lt(lit(0.5))
    }

    struct Pass(StandingConditions, OptimizerContext);

    impl TreeNodeRewriter for Pass {
        type Node = LogicalPlan;

        fn f_down(&mut self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
            self.0.rewrite(node, &self.1)
        }
    }

    fn check(plan: LogicalPlanBuilder, expected: &[&str]) {
        let mut pass = Pass(StandingConditions::default(), OptimizerContext::new());
        let moved = plan.build().unwrap().rewrite(&mut pass).unwrap().data;
        let lines: Vec<String> = moved.display_indent().to_string().lines().map(|line| line.trim_start().to_owned()).collect();
        assert_eq!(lines, expected);
        let again = moved.rewrite(&mut pass).unwrap();
        assert!(!again.transformed, "{} changes again", again.data);
    }

    const MAYBE: &str = "Filter: random() < Float64(0.5)";

    #[test]
    fn they_stay_above_groups_and_let_others_pass() {
        let grouped = table("t").aggregate(vec![col("t.x")], vec![count(col("t.y"))]).unwrap();
        let plan = grouped.filter(maybe().and(col("t.x").gt(lit(1)))).unwrap();
        check(plan, &[MAYBE, "Aggregate: groupBy=[[t.x]], aggr=[[count(t.y)]]", "TableScan: t, full_filters=[t.x > Int32(1)]"]);
    }

    #[test]
    fn each_is_asked_also_where_they_are_equal() {
        let plan = table("t").filter(maybe()).unwrap().filter(maybe().and(col("t.x").gt(lit(1)))).unwrap();
        check(
            plan,
            &["Filter: random() < Float64(0.5) AND random() < Float64(0.5)", "TableScan: t, full_filters=[t.x > Int32(1)]"],
        );
    }

    #[test]
    fn they_stay_above_joins_unions_and_in_on() {
        let joined = || table("a").join(table("b").build().unwrap(), JoinType::Inner, (vec!["a.x"], vec!["b.x"]), None).unwrap();
        let plan = joined().filter(maybe().and(col("a.y").gt(lit(1)))).unwrap();
        check(plan, &[MAYBE, "Inner Join: a.x = b.x", "TableScan: a, full_filters=[a.y > Int32(1)]", "TableScan: b"]);
        let on = maybe().and(col("a.y").gt(lit(1)));
        let plan = table("a").join(table("b").build().unwrap(), JoinType::Inner, (vec!["a.x"], vec!["b.x"]), Some(on)).unwrap();
        check(
            plan,
            &[
                "Inner Join: a.x = b.x Filter: random() < Float64(0.5)",
                "TableScan: a, full_filters=[a.y > Int32(1)]",
                "TableScan: b",
            ],
        );
        let plan = table("a").union(table("a").build().unwrap()).unwrap().filter(maybe()).unwrap();
        check(plan, &[MAYBE, "Union", "TableScan: a", "TableScan: a"]);
    }
}
