//! INTERSECT and EXCEPT, which the planner makes a semi or anti join of the distinct rows on the left: both sides get their common
//! types before rows are told apart or, with ALL, numbered.

use std::sync::Arc;

use datafusion::common::{DFSchema, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::{Distinct, Expr, Join, JoinType, LogicalPlan};

use super::super::types::plan_schema;
use super::Resolver;
use super::node::{branch, project};
use crate::federation::ast::SIDE;

/// Whether a join is what the planner makes of INTERSECT and EXCEPT.
pub(super) fn is_of_sides(join: &Join) -> bool {
    let columns = |plan: &LogicalPlan| plan.schema().fields().len();
    matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && join.on.len() == columns(&join.left)
        && join.on.len() == columns(&join.right)
        && join.on.iter().all(|(left, right)| matches!((left, right), (Expr::Column(_), Expr::Column(_))))
}

impl Resolver<'_> {
    pub(super) fn sides(&self, join: Join, outer: &[DFSchema]) -> Result<LogicalPlan> {
        let what = if join.join_type == JoinType::LeftSemi { "INTERSECT" } else { "EXCEPT" };
        let (left, is_distinct) = match Arc::unwrap_or_clone(join.left) {
            LogicalPlan::Distinct(Distinct::All(input)) => (Arc::unwrap_or_clone(input), true),
            other => (other, false),
        };
        let right = Arc::unwrap_or_clone(join.right);
        let [left, right] = match [numbered(&left), numbered(&right)] {
            [Some((above_left, left)), Some((above_right, right))] => {
                let [left, right] = self.agreed([left, right], what, outer)?;
                let sides = [self.under(above_left, left, outer)?, self.under(above_right, right, outer)?];
                self.in_common_types(sides, what, outer)?
            }
            _ => self.agreed([left, right], what, outer)?,
        };
        let left = if is_distinct {
            let schema = plan_schema(&left)?;
            self.node(LogicalPlan::Distinct(Distinct::All(Arc::new(left))), vec![schema], outer)?
        } else {
            left
        };
        let inputs = vec![plan_schema(&left)?, plan_schema(&right)?];
        let join = Join { left: Arc::new(left), right: Arc::new(right), ..join };
        self.node(LogicalPlan::Join(join), inputs, outer)
    }

    /// Resolves both sides and gives them common types.
    fn agreed(&self, [left, right]: [LogicalPlan; 2], what: &str, outer: &[DFSchema]) -> Result<[LogicalPlan; 2]> {
        self.in_common_types([self.plan(left, outer)?, self.plan(right, outer)?], what, outer)
    }

    fn in_common_types(&self, sides: [LogicalPlan; 2], what: &str, outer: &[DFSchema]) -> Result<[LogicalPlan; 2]> {
        let inputs = [plan_schema(&sides[0])?, plan_schema(&sides[1])?];
        let mut outputs = [Vec::new(), Vec::new()];
        let [left, right] = [branch(&sides[0], &inputs[0]), branch(&sides[1], &inputs[1])];
        for operands in left.into_iter().zip(right).map(|(left, right)| vec![left, right]) {
            let (converted, _) = self.unify_branches(operands, what, &inputs, outer)?;
            for (output, expr) in outputs.iter_mut().zip(converted) {
                output.push(expr);
            }
        }
        let ([left, right], [left_outputs, right_outputs]) = (sides, outputs);
        Ok([project(Arc::new(left), left_outputs)?, project(Arc::new(right), right_outputs)?])
    }

    /// Resolves nodes, the topmost first, over an input that is resolved already.
    fn under(&self, nodes: Vec<LogicalPlan>, input: LogicalPlan, outer: &[DFSchema]) -> Result<LogicalPlan> {
        nodes.into_iter().rev().try_fold(input, |input, node| {
            let schema = plan_schema(&input)?;
            self.node(node.with_new_exprs(node.expressions(), vec![input])?, vec![schema], outer)
        })
    }
}

/// The nodes by which duplicates of a side are numbered, the topmost first, and what the client wrote below them.
fn numbered(side: &LogicalPlan) -> Option<(Vec<LogicalPlan>, LogicalPlan)> {
    let (mut above, mut at) = (Vec::new(), side);
    loop {
        let is_end = matches!(at, LogicalPlan::SubqueryAlias(alias) if alias.alias.table() == SIDE);
        let below = match at {
            LogicalPlan::Projection(node) => &node.input,
            LogicalPlan::Window(node) => &node.input,
            LogicalPlan::SubqueryAlias(node) => &node.input,
            _ => return None,
        };
        above.push(at.clone());
        if is_end {
            // Its columns are renamed by a projection of the planner's.
            let LogicalPlan::Projection(renamed) = below.as_ref() else { return None };
            above.push(below.as_ref().clone());
            return Some((above, renamed.input.as_ref().clone()));
        }
        at = below;
    }
}
