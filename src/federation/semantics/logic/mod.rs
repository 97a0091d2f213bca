//! Conditions that keep errors away: what may fail is computed only for the rows that the parts before it leave open.
//!
//! The engine computes both sides of AND and OR for all rows, and the arguments of an aggregate also for rows that its FILTER leaves out.
//! PostgreSQL goes from left to right and stops where the answer is known: `x = 0 OR 10 / x > 2` gives no error there. Here such
//! conditions become calls of functions ([`chain`], [`kept`]) whose later parts are functions themselves, called for some rows.
//!
//! It is the last that is done to a plan before the engine makes a physical one of it: rules and stores see plain conditions. Of what
//! decides whether a row is kept (WHERE, HAVING, ON), the parts that cannot fail come first, as what stores filter by does too.

mod chain;
mod kept;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, JoinType, LogicalPlan, Operator};

use super::comparands::joined;
use super::faults::may_fail;

/// The plan with its conditions computed in their order, where that can be told from the outside.
///
/// # Errors
/// What building the new nodes fails with.
pub fn in_order(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan.transform_up_with_subqueries(node)?.data)
}

/// Whether an argument of an aggregate or a window may fail for rows that a FILTER leaves out.
pub(super) fn has_guarded_arguments(node: &LogicalPlan) -> bool {
    if !matches!(node, LogicalPlan::Aggregate(_) | LogicalPlan::Window(_)) {
        return false;
    }
    let schema = merge_schema(&node.inputs());
    let mut found = false;
    let walked = node.apply_expressions(|expr| {
        found |= expr.exists(|part| Ok(guarded(part).is_some_and(|mut parts| parts.any(|part| may_fail(part, &schema)))))?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found || walked.is_err()
}

/// What a call with a FILTER computes for each row that passes it.
fn guarded(call: &Expr) -> Option<Box<dyn Iterator<Item = &Expr> + '_>> {
    match call {
        Expr::AggregateFunction(call) if call.params.filter.is_some() => {
            Some(Box::new(call.params.args.iter().chain(call.params.order_by.iter().map(|sort| &sort.expr))))
        }
        Expr::WindowFunction(call) if call.params.filter.is_some() => Some(Box::new(call.params.args.iter())),
        _ => None,
    }
}

fn node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    // What a store is asked for, and what is no row's.
    if matches!(plan, LogicalPlan::TableScan(_) | LogicalPlan::Limit(_)) {
        return Ok(Transformed::no(plan));
    }
    let ordering = Ordering { schema: merge_schema(&plan.inputs()) };
    match plan {
        LogicalPlan::Filter(mut filter) => {
            if !ordering.concerns(&filter.predicate) {
                return Ok(Transformed::no(LogicalPlan::Filter(filter)));
            }
            filter.predicate = ordering.condition(filter.predicate)?;
            Ok(Transformed::yes(LogicalPlan::Filter(filter)))
        }
        LogicalPlan::Join(mut join) => {
            let filter = join.filter.take();
            let is_mark = matches!(join.join_type, JoinType::LeftMark | JoinType::RightMark);
            let is_changed = filter.as_ref().is_some_and(|filter| ordering.concerns(filter));
            join.filter = match filter {
                Some(filter) if is_changed && is_mark => Some(ordering.value(filter)?),
                Some(filter) if is_changed => Some(ordering.condition(filter)?),
                filter => filter,
            };
            for key in join.on.iter_mut().flat_map(|(left, right)| [left, right]) {
                if ordering.concerns(key) {
                    *key = ordering.value(std::mem::take(key))?;
                }
            }
            Ok(Transformed::yes(LogicalPlan::Join(join)))
        }
        LogicalPlan::Extension(node) => ordering.arguments(LogicalPlan::Extension(node)),
        other => ordering.outputs(other),
    }
}

/// The pass over the expressions of a node.
struct Ordering {
    /// Of the node's inputs.
    schema: DFSchema,
}

impl Ordering {
    /// Expressions that are computed for every row, under the names that they have.
    fn outputs(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            // The members of grouping sets have names of their own, which outputs above refer to.
            if matches!(expr, Expr::GroupingSet(_)) || !self.concerns(&expr) {
                return Ok(Transformed::no(expr));
            }
            let name = names.save(&expr);
            Ok(Transformed::yes(name.restore(self.value(expr)?)))
        })
    }

    /// The calls of a node of ours, which names its outputs itself; what a store runs shows none.
    fn arguments(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        plan.map_expressions(|expr| {
            if !self.concerns(&expr) {
                return Ok(Transformed::no(expr));
            }
            Ok(Transformed::yes(self.value(expr)?))
        })
    }

    fn may_fail(&self, expr: &Expr) -> bool {
        may_fail(expr, &self.schema)
    }

    /// Whether something in an expression may fail that something else in it keeps from some rows.
    fn concerns(&self, expr: &Expr) -> bool {
        let is_chain = |part: &Expr| matches!(part, Expr::BinaryExpr(binary) if is_logic(binary.op)) || guarded(part).is_some();
        expr.exists(|part| Ok(is_chain(part))).unwrap_or(true) && self.may_fail(expr)
    }

    /// An expression whose value counts.
    fn value(&self, expr: Expr) -> Result<Expr> {
        let of_part = |part: Expr| match part {
            Expr::BinaryExpr(binary) if is_logic(binary.op) => {
                let op = binary.op;
                let parts = self.parts(binary)?;
                Ok(Transformed::new(self.grouped(parts, op, false), true, TreeNodeRecursion::Jump))
            }
            Expr::AggregateFunction(mut call) if call.params.filter.is_some() => {
                if let Some(filter) = call.params.filter.take() {
                    let filter = self.value(*filter)?;
                    call.params.args = self.kept(call.params.args, &filter)?;
                    call.params.order_by = self.kept_keys(call.params.order_by, &filter)?;
                    call.params.filter = Some(Box::new(filter));
                }
                Ok(Transformed::new(Expr::AggregateFunction(call), true, TreeNodeRecursion::Jump))
            }
            Expr::WindowFunction(mut call) if call.params.filter.is_some() => {
                if let Some(filter) = call.params.filter.take() {
                    let filter = self.value(*filter)?;
                    call.params.args = self.kept(call.params.args, &filter)?;
                    call.params.filter = Some(Box::new(filter));
                }
                let keys = call.params.partition_by.into_iter().map(|key| self.value(key));
                call.params.partition_by = keys.collect::<Result<_>>()?;
                let orders = call.params.order_by.into_iter().map(|sort| Ok(Sort { expr: self.value(sort.expr)?, ..sort }));
                call.params.order_by = orders.collect::<Result<_>>()?;
                Ok(Transformed::new(Expr::WindowFunction(call), true, TreeNodeRecursion::Jump))
            }
            other => Ok(Transformed::no(other)),
        };
        Ok(expr.transform_down(of_part)?.data)
    }

    /// An expression that only decides whether a row is kept.
    fn condition(&self, expr: Expr) -> Result<Expr> {
        match expr {
            Expr::BinaryExpr(binary) if binary.op == Operator::And => {
                let (mut parts, failing): (Vec<Expr>, Vec<Expr>) =
                    self.parts(binary)?.into_iter().partition(|part| !self.may_fail(part));
                parts.extend(failing);
                Ok(self.grouped(parts, Operator::And, true))
            }
            other => self.value(other),
        }
    }

    /// The parts of a chain of one operator, in order, each with its own conditions in order.
    fn parts(&self, chain: BinaryExpr) -> Result<Vec<Expr>> {
        let op = chain.op;
        let (mut parts, mut pending) = (Vec::new(), vec![Expr::BinaryExpr(chain)]);
        while let Some(next) = pending.pop() {
            match next {
                Expr::BinaryExpr(BinaryExpr { left, op: found, right }) if found == op => pending.extend([*right, *left]),
                part if self.concerns(&part) => parts.push(self.value(part)?),
                part => parts.push(part),
            }
        }
        Ok(parts)
    }

    /// A chain whose parts that may fail are computed for the rows only that are open before them.
    fn grouped(&self, parts: Vec<Expr>, op: Operator, is_condition: bool) -> Expr {
        let mut groups: Vec<Vec<Expr>> = Vec::new();
        for part in parts {
            match groups.last_mut() {
                Some(group) if !self.may_fail(&part) => group.push(part),
                _ => groups.push(vec![part]),
            }
        }
        let mut groups: Vec<Expr> = groups.into_iter().map(|group| joined(group, op)).collect();
        if groups.len() < 2 { groups.pop().unwrap_or_default() } else { chain::call(groups, op, is_condition) }
    }

    /// Arguments that may fail, computed for the rows only that pass a filter.
    fn kept(&self, arguments: Vec<Expr>, filter: &Expr) -> Result<Vec<Expr>> {
        arguments.into_iter().map(|argument| self.kept_one(argument, filter)).collect()
    }

    fn kept_keys(&self, keys: Vec<Sort>, filter: &Expr) -> Result<Vec<Sort>> {
        keys.into_iter().map(|sort| Ok(Sort { expr: self.kept_one(sort.expr, filter)?, ..sort })).collect()
    }

    fn kept_one(&self, argument: Expr, filter: &Expr) -> Result<Expr> {
        let argument = if self.concerns(&argument) { self.value(argument)? } else { argument };
        // A filter that gives another answer each time must be asked once.
        if filter.is_volatile() || !self.may_fail(&argument) {
            return Ok(argument);
        }
        kept::call(filter.clone(), argument, &self.schema)
    }
}

fn is_logic(op: Operator) -> bool {
    matches!(op, Operator::And | Operator::Or)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Int32Type, Schema};
    use datafusion::common::ToDFSchema;
    use datafusion::execution::context::ExecutionProps;
    use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
    use datafusion::logical_expr::{cast, col, lit};
    use datafusion::physical_expr::create_physical_expr;

    use super::*;

    /// Rows of a condition, a number that may be 0, and a text that may be no number.
    fn rows() -> RecordBatch {
        let known = BooleanArray::from(vec![Some(true), Some(false), None, Some(true), Some(false)]);
        let numbers = Int32Array::from(vec![Some(1), Some(0), Some(0), Some(5), None]);
        let columns: Vec<(&str, ArrayRef)> = vec![("known", Arc::new(known)), ("x", Arc::new(numbers))];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
    }

    fn ordering() -> Ordering {
        Ordering { schema: rows().schema().to_dfschema().unwrap() }
    }

    fn computed(expr: &Expr) -> Result<ArrayRef> {
        let (rows, schema) = (rows(), ordering().schema);
        let physical = create_physical_expr(expr, &schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
        physical.evaluate(&rows)?.into_array(rows.num_rows())
    }

    fn truths(expr: &Expr) -> Result<Vec<Option<bool>>> {
        Ok(computed(expr)?.as_boolean().iter().collect())
    }

    /// `10 / x > 2`, which fails where x is 0.
    fn failing() -> Expr {
        (lit(10) / col("x")).gt(lit(2))
    }

    #[test]
    fn later_parts_are_computed_for_open_rows() {
        let (and, or) = (col("x").not_eq(lit(0)).and(failing()), col("x").eq(lit(0)).or(failing()));
        assert!(truths(&and).is_err() && truths(&or).is_err());
        let and = ordering().value(and).unwrap();
        assert_eq!(truths(&and).unwrap(), [Some(true), Some(false), Some(false), Some(false), None]);
        let or = ordering().value(or).unwrap();
        assert_eq!(truths(&or).unwrap(), [Some(true), Some(true), Some(true), Some(false), None]);
    }

    #[test]
    fn an_unknown_part_leaves_a_value_open_and_decides_a_condition() {
        let both = col("known").and(failing());
        assert!(truths(&ordering().value(both.clone()).unwrap()).is_err());
        let condition = ordering().condition(both).unwrap();
        assert_eq!(truths(&condition).unwrap(), [Some(true), Some(false), None, Some(false), Some(false)]);
    }

    #[test]
    fn conditions_begin_with_what_cannot_fail() {
        let written = failing().and(col("x").not_eq(lit(0)));
        assert!(truths(&ordering().value(written.clone()).unwrap()).is_err());
        let condition = ordering().condition(written).unwrap();
        assert_eq!(truths(&condition).unwrap(), [Some(true), Some(false), Some(false), Some(false), None]);
    }

    #[test]
    fn chains_in_chains_keep_their_order() {
        let inner = col("x").not_eq(lit(0)).and(failing());
        let outer = col("x").eq(lit(5)).or(inner.clone()).or(col("x").eq(lit(0)).and(failing().is_null()));
        assert!(truths(&ordering().value(outer).unwrap()).is_err());
        let outer = col("x").eq(lit(0)).or(inner).or(failing());
        assert_eq!(truths(&ordering().value(outer).unwrap()).unwrap(), [Some(true), Some(true), Some(true), Some(false), None]);
    }

    #[test]
    fn plain_conditions_stay_as_they_are() {
        let plain = col("known").and(col("x").gt(lit(1))).or(cast(col("x"), DataType::Int64).gt(lit(1_i64)));
        assert!(!ordering().concerns(&plain));
        assert!(!ordering().concerns(&failing()));
        assert!(ordering().concerns(&col("known").or(failing())));
    }

    #[test]
    fn arguments_are_computed_for_rows_that_pass() {
        let argument = lit(10) / col("x");
        assert!(computed(&argument).is_err());
        let argument = ordering().kept_one(argument, &col("x").not_eq(lit(0))).unwrap();
        let values = computed(&argument).unwrap();
        let values: Vec<Option<i32>> = values.as_primitive::<Int32Type>().iter().collect();
        assert_eq!(values, [Some(10), None, None, Some(2), None]);
        let plain = ordering().kept_one(col("x"), &col("known")).unwrap();
        assert_eq!(plain, col("x"));
        let none = ordering().kept_one(lit(10) / col("x"), &col("x").gt(lit(7))).unwrap();
        assert_eq!(computed(&none).unwrap().null_count(), 5);
    }

    #[test]
    fn names_of_outputs_stay() {
        let schema = Schema::new(vec![Field::new("x", DataType::Int32, true)]);
        let scan = datafusion::logical_expr::table_scan(Some("t"), &schema, None).unwrap();
        let guarded = col("x").eq(lit(0)).or(failing());
        let plan = scan.project(vec![guarded]).unwrap().build().unwrap();
        let name = Expr::Column(plan.schema().columns().remove(0));
        let plan = datafusion::logical_expr::LogicalPlanBuilder::from(plan).filter(name.is_true()).unwrap().build().unwrap();
        let ordered = in_order(plan.clone()).unwrap();
        assert_eq!(ordered.schema().columns(), plan.schema().columns());
        assert_ne!(ordered, plan);
    }
}
