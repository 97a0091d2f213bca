//! Row counts of LIMIT and OFFSET that no result reaches.
//!
//! The engine adds what is skipped to what is fetched where it moves a limit further in, and what limits skip that stand on one
//! another, also past the range of the counts: `LIMIT 9223372036854775807 OFFSET 5` over a union was an error for a negative LIMIT, and
//! stores got counts that they do not have. A LIMIT that nothing reaches is none; an OFFSET that nothing reaches may as well be smaller.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Limit, LogicalPlan, lit};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::push_down_limit::PushDownLimit;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::scalar::ScalarValue;

/// More rows than any statement gives, and so few that sums of as many counts as a statement can hold stay in their range.
const ROWS_MAX: i64 = 1 << 48;

/// The engine's rule, over counts whose sums it can tell.
#[derive(Debug, Default)]
pub(super) struct ReachableCounts {
    rule: PushDownLimit,
}

impl OptimizerRule for ReachableCounts {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let counted = reachable(plan);
        let is_changed = counted.transformed;
        let mut pushed = self.rule.rewrite(counted.data, config)?;
        pushed.transformed |= is_changed;
        Ok(pushed)
    }
}

/// A limit and those directly below it, which the engine takes together.
fn reachable(plan: LogicalPlan) -> Transformed<LogicalPlan> {
    let LogicalPlan::Limit(Limit { skip, fetch, input }) = plan else { return Transformed::no(plan) };
    let is_changed = [&skip, &fetch].into_iter().flatten().any(|count| is_beyond(count));
    let fetch = fetch.filter(|count| !is_beyond(count));
    let skip = skip.map(|count| if is_beyond(&count) { Box::new(lit(ROWS_MAX)) } else { count });
    if !matches!(input.as_ref(), LogicalPlan::Limit(_)) {
        return Transformed::new_transformed(LogicalPlan::Limit(Limit { skip, fetch, input }), is_changed);
    }
    let below = reachable(Arc::unwrap_or_clone(input));
    let is_changed = is_changed || below.transformed;
    let limit = Limit { skip, fetch, input: Arc::new(below.data) };
    Transformed::new_transformed(LogicalPlan::Limit(limit), is_changed)
}

fn is_beyond(count: &Expr) -> bool {
    matches!(count, Expr::Literal(ScalarValue::Int64(Some(count)), _) if *count > ROWS_MAX)
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::LogicalPlanBuilder;
    use datafusion::optimizer::OptimizerContext;

    use super::*;

    fn limit(skip: i64, fetch: Option<i64>, input: LogicalPlan) -> LogicalPlan {
        let fetch = fetch.map(|count| Box::new(lit(count)));
        LogicalPlan::Limit(Limit { skip: Some(Box::new(lit(skip))), fetch, input: Arc::new(input) })
    }

    fn rows() -> LogicalPlan {
        LogicalPlanBuilder::values(vec![vec![lit(1)], vec![lit(2)]]).unwrap().build().unwrap()
    }

    fn counts(plan: &LogicalPlan) -> (Option<Expr>, Option<Expr>) {
        let LogicalPlan::Limit(limit) = plan else { panic!("{plan:?}") };
        (limit.skip.as_deref().cloned(), limit.fetch.as_deref().cloned())
    }

    #[test]
    fn counts_that_nothing_reaches_are_taken_out_of_sums() {
        let counted = reachable(limit(5, Some(i64::MAX), rows()));
        assert!(counted.transformed);
        assert_eq!(counts(&counted.data), (Some(lit(5_i64)), None));
        assert!(!reachable(counted.data).transformed);
        let counted = reachable(limit(i64::MAX, Some(7), rows()));
        assert_eq!(counts(&counted.data), (Some(lit(ROWS_MAX)), Some(lit(7_i64))));
        assert!(!reachable(limit(5, Some(ROWS_MAX), rows())).transformed);
    }

    #[test]
    fn limits_on_one_another_have_a_sum() {
        let mut plan = rows();
        for _ in 0..3 {
            plan = limit(i64::MAX, Some(i64::MAX), plan);
        }
        let merged = ReachableCounts::default().rewrite(plan, &OptimizerContext::new()).unwrap();
        assert_eq!(counts(&merged.data), (Some(lit(3 * ROWS_MAX)), None));
    }

    #[test]
    fn limits_over_unions_stay_counts() {
        let union = LogicalPlanBuilder::from(rows()).union(rows()).unwrap().build().unwrap();
        for fetch in [i64::MAX, i64::MAX - 1, 7] {
            let pushed =
                ReachableCounts::default().rewrite(limit(i64::MAX - 3, Some(fetch), union.clone()), &OptimizerContext::new());
            let (skip, _) = counts(&pushed.unwrap().data);
            assert_eq!(skip, Some(lit(ROWS_MAX)));
        }
    }
}
