//! The query that an aggregate belongs to.
//!
//! In `SELECT (SELECT max(t.x) FROM u) FROM t` the aggregate is one of the outer query, which it makes a query of one row: all that it
//! reads is of that query. The planner takes every aggregate for one of the query that it stands in, so that these are refused.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;

use super::attach::plan_of;
use super::{references, unsupported};

/// Refuses aggregate calls, of a query over the columns of `rows`, that read columns of outer queries and none of its own.
///
/// # Errors
/// 0A000
pub(in super::super) fn refuse_aggregates_of_outer_queries(calls: &[Expr], rows: &DFSchema) -> Result<()> {
    for call in calls {
        let is_refused = call.exists(|part| Ok(matches!(part, Expr::AggregateFunction(_)) && is_of_outer_query(part, rows)?))?;
        if is_refused {
            return Err(unsupported("an aggregate in a subquery over columns of an outer query alone"));
        }
    }
    Ok(())
}

fn is_of_outer_query(call: &Expr, rows: &DFSchema) -> Result<bool> {
    let (mut reads_own, mut reads_outer) = (false, false);
    call.apply(|part| {
        match part {
            Expr::Column(_) => reads_own = true,
            Expr::OuterReferenceColumn(..) => reads_outer = true,
            other => {
                for column in plan_of(other).map(references).transpose()?.into_iter().flatten() {
                    let is_own = rows.has_column(&column);
                    reads_own |= is_own;
                    reads_outer |= !is_own;
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(reads_outer && !reads_own)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::functions_aggregate::expr_fn::{count, max, sum};
    use datafusion::logical_expr::{col, lit, out_ref_col};

    use super::*;

    #[test]
    fn aggregates_of_outer_queries_are_refused() {
        let rows = DFSchema::try_from(Schema::new(vec![Field::new("y", DataType::Int64, true)])).unwrap();
        let outer = || out_ref_col(DataType::Int64, "t.x");
        for (call, is_refused) in [
            (sum(outer()), true),
            (max(outer() + lit(1_i64)).alias("m"), true),
            (sum(outer() + col("y")), false),
            (sum(col("y")), false),
            (count(lit(1_i64)), false),
        ] {
            let told = refuse_aggregates_of_outer_queries(std::slice::from_ref(&call), &rows);
            assert_eq!(told.is_err(), is_refused, "{call}");
        }
    }
}
