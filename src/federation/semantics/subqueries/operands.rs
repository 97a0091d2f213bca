//! Operands as columns, where what the engine makes of them looks at columns only.
//!
//! Of `x NOT IN (subquery)` it makes an anti join that looks for NULL where a column of the condition may hold one. An operand that may be
//! NULL though its columns never are (`nullif(x, 3)`, CASE without ELSE, `a[4]`) it takes for a value that differs from all others; one
//! that has no column, or has none left once it is simplified, it compares row by row, where NULL among the values is passed over.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};

use super::Rewriter;
use super::attach::Attached;

impl Rewriter {
    /// A condition that the engine makes a join of. The operand of NOT IN becomes a column of `attached`, which says whether it may be
    /// NULL.
    pub(super) fn with_own_operand(&mut self, attached: &mut Attached, condition: Expr) -> Result<Expr> {
        let (member, is_denied) = match condition {
            Expr::InSubquery(member) => (member, false),
            Expr::Not(inner) => match *inner {
                Expr::InSubquery(member) => (member, true),
                other => return Ok(Expr::Not(Box::new(other))),
            },
            other => return Ok(other),
        };
        let is_anti = member.negated != is_denied;
        let member = match is_anti && !is_plain(&member.expr) {
            true => InSubquery { expr: Box::new(self.as_column(attached, *member.expr)?), ..member },
            false => member,
        };
        let member = Expr::InSubquery(member);
        Ok(if is_denied { Expr::Not(Box::new(member)) } else { member })
    }

    /// An expression as a column beside those of `attached`.
    pub(super) fn as_column(&mut self, attached: &mut Attached, expr: Expr) -> Result<Expr> {
        let name = self.output_name();
        let mut exprs: Vec<Expr> = attached.plan.schema().columns().into_iter().map(Expr::Column).collect();
        exprs.push(expr.alias(name.clone()));
        let input = std::mem::take(&mut attached.plan);
        attached.plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?);
        Ok(Expr::Column(Column::from_name(name)))
    }
}

/// A column, which a cast makes no NULL of.
fn is_plain(operand: &Expr) -> bool {
    match operand {
        Expr::Column(_) => true,
        Expr::Cast(cast) => is_plain(&cast.expr),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::common::ExprSchema;
    use datafusion::functions::core::expr_fn::nullif;
    use datafusion::logical_expr::{LogicalPlanBuilder, cast, col, in_subquery, lit, not, not_in_subquery, table_scan};

    use super::*;

    fn table(name: &str) -> LogicalPlanBuilder {
        let schema = Schema::new(vec![Field::new("x", DataType::Int64, false)]);
        table_scan(Some(name), &schema, None).unwrap()
    }

    /// What becomes of a condition, and whether the column that it got may be NULL.
    fn check(operand: &Expr, denied: bool, expected: Option<bool>) {
        let values = || Arc::new(table("u").build().unwrap());
        let condition =
            if denied { not(in_subquery(operand.clone(), values())) } else { not_in_subquery(operand.clone(), values()) };
        let mut attached = Attached::over(table("t").build().unwrap());
        let made = Rewriter { made: 0 }.with_own_operand(&mut attached, condition.clone()).unwrap();
        match expected {
            None => assert_eq!(made, condition),
            Some(nullable) => {
                let member = match made {
                    Expr::Not(inner) => *inner,
                    other => other,
                };
                let Expr::InSubquery(InSubquery { expr, .. }) = member else { panic!("{condition}") };
                let column = expr.try_as_col().unwrap();
                assert_eq!(attached.plan.schema().nullable(column).unwrap(), nullable);
            }
        }
    }

    #[test]
    fn computed_operands_of_not_in_say_whether_they_may_be_null() {
        for denied in [false, true] {
            check(&col("t.x"), denied, None);
            check(&cast(col("t.x"), DataType::Int32), denied, None);
            check(&nullif(col("t.x"), lit(3_i64)), denied, Some(true));
            check(&(col("t.x") + lit(1_i64)), denied, Some(false));
            check(&lit(3_i64), denied, Some(false));
        }
    }

    #[test]
    fn operands_of_in_stay_where_they_are() {
        let condition = in_subquery(nullif(col("t.x"), lit(3_i64)), Arc::new(table("u").build().unwrap()));
        let mut attached = Attached::over(table("t").build().unwrap());
        let made = Rewriter { made: 0 }.with_own_operand(&mut attached, condition.clone()).unwrap();
        assert_eq!((made, attached.plan), (condition, table("t").build().unwrap()));
    }
}
