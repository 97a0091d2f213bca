//! Conditions that the engine adds by itself, and parts that it computes for several uses, where they could fail.
//!
//! Of `a.x = b.x AND 10 / b.x > 2` the engine concludes `10 / a.x > 2`, and asks that of rows of `a` that no row of `b` meets; of
//! `(b.y AND 10 / a.x > 2) OR …` it asks the rows of `a` for `10 / a.x > 2 OR …`. Such conditions are left out again: what they would drop
//! is dropped by those that they were made of.
//!
//! What two aggregates with FILTER have in common it computes once, for all rows: such plans keep each argument by itself. And so do
//! those in which one call of a window function has two names, as `lag(x, NULL)` and `lag(y, NULL)` come to: it would compute the call
//! below the windows, where it is none.

use std::sync::Arc;

use datafusion::common::cse::NormalizeEq;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, Join, LogicalPlan};
use datafusion::optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::faults::may_fail;
use super::logic::has_guarded_arguments;

/// The inputs of a join, and the conditions that are written over it.
pub(super) struct Written {
    sides: [Arc<LogicalPlan>; 2],
    conditions: Vec<Expr>,
}

impl Written {
    /// Of a join, or of conditions that stand on one; `None` for anything else.
    pub(super) fn of(plan: &LogicalPlan) -> Option<Self> {
        let (mut node, mut conditions) = (plan, Vec::new());
        while let LogicalPlan::Filter(filter) = node {
            conditions.extend(split_conjunction(&filter.predicate).into_iter().cloned());
            node = filter.input.as_ref();
        }
        let LogicalPlan::Join(join) = node else { return None };
        conditions.extend(join.filter.iter().flat_map(split_conjunction).cloned());
        let sides = [Arc::clone(&join.left), Arc::clone(&join.right)];
        Some(Self { sides, conditions })
    }

    /// The plan that the engine made, without the conditions on the inputs of the join that it added and that may fail.
    ///
    /// # Errors
    /// What building the new nodes fails with.
    pub(super) fn alone(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        Ok(match plan {
            LogicalPlan::Filter(filter) => {
                let Filter { predicate, input, .. } = filter;
                let input = self.alone(Arc::unwrap_or_clone(input))?;
                LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?)
            }
            LogicalPlan::Join(join) => {
                let [left, right] = &self.sides;
                let (left, right) = (self.side(&join.left, left)?, self.side(&join.right, right)?);
                LogicalPlan::Join(Join { left, right, ..join })
            }
            other => other,
        })
    }

    /// An input of the join, which was `before`.
    fn side(&self, now: &Arc<LogicalPlan>, before: &Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = now.as_ref() else { return Ok(Arc::clone(now)) };
        if !Arc::ptr_eq(&filter.input, before) {
            return Ok(Arc::clone(now));
        }
        let is_kept = |condition: &Expr| self.conditions.contains(condition) || !may_fail(condition, before.schema());
        let conditions = split_conjunction_owned(filter.predicate.clone());
        let count = conditions.len();
        let kept: Vec<Expr> = conditions.into_iter().filter(is_kept).collect();
        if kept.len() == count {
            return Ok(Arc::clone(now));
        }
        Ok(match conjunction(kept) {
            Some(predicate) => Arc::new(LogicalPlan::Filter(Filter::try_new(predicate, Arc::clone(before))?)),
            None => Arc::clone(before),
        })
    }
}

/// The engine's rule for common parts, where no FILTER keeps one of them from some rows, and none is a call of a window function.
#[derive(Debug, Default)]
pub(super) struct CommonParts {
    rule: CommonSubexprEliminate,
}

impl OptimizerRule for CommonParts {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let mut stays = false;
        plan.apply_with_subqueries(|node| {
            stays |= has_guarded_arguments(node) || repeats_call(node);
            Ok(if stays { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if stays {
            return Ok(Transformed::no(plan));
        }
        self.rule.rewrite(plan, config)
    }
}

/// Whether one call of a window function stands twice in windows that stand on each other, which the engine looks at together.
fn repeats_call(plan: &LogicalPlan) -> bool {
    let mut calls: Vec<&Expr> = Vec::new();
    let mut node = plan;
    while let LogicalPlan::Window(window) = node {
        for call in window.window_expr.iter().map(without_name) {
            if calls.iter().any(|known| known.normalize_eq(call)) {
                return true;
            }
            calls.push(call);
        }
        node = window.input.as_ref();
    }
    false
}

fn without_name(mut expr: &Expr) -> &Expr {
    while let Expr::Alias(alias) = expr {
        expr = alias.expr.as_ref();
    }
    expr
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::functions_window::expr_fn::lag;
    use datafusion::logical_expr::{JoinType, LogicalPlanBuilder, col, lit, table_scan};
    use datafusion::optimizer::OptimizerContext;

    use super::super::totals::ConditionsAboveTotals;
    use super::*;

    fn scan(name: &str) -> LogicalPlanBuilder {
        let schema = Schema::new(vec![Field::new("x", DataType::Int32, true)]);
        table_scan(Some(name), &schema, None).unwrap()
    }

    fn pushed(condition: Expr) -> String {
        let right = scan("b").build().unwrap();
        let joined = scan("a").join(right, JoinType::Inner, (vec!["a.x"], vec!["b.x"]), None).unwrap();
        let plan = joined.filter(condition).unwrap().build().unwrap();
        let rule = ConditionsAboveTotals::default();
        rule.rewrite(plan, &OptimizerContext::new()).unwrap().data.display_indent().to_string()
    }

    #[test]
    fn a_call_with_two_names_is_no_common_part() {
        let lagged = |name: &str, value: Expr| lag(value, None, None).alias(name);
        let windows = |calls: Vec<Expr>| {
            let plan = scan("a").window(calls).unwrap().build().unwrap();
            CommonParts::default().rewrite(plan, &OptimizerContext::new()).unwrap().transformed
        };
        assert!(!windows(vec![lagged("p", col("a.x")), lagged("q", col("a.x"))]));
        assert!(!windows(vec![lagged("p", col("a.x") + lit(1)), lagged("q", lit(1) + col("a.x"))]));
        let part = || (col("a.x") + lit(1)) * lit(2);
        assert!(windows(vec![lagged("p", part()), lagged("q", part() - lit(3))]));
    }

    #[test]
    fn conditions_that_may_fail_are_not_copied_to_the_other_side() {
        let both = pushed(col("b.x").gt(lit(2)));
        assert!(both.contains("Filter: a.x > Int32(2)") && both.contains("Filter: b.x > Int32(2)"), "{both}");
        let one = pushed((lit(10) / col("b.x")).gt(lit(2)));
        assert!(!one.contains("/ a.x") && one.contains("/ b.x"), "{one}");
    }
}
