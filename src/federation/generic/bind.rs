//! Values in the place of placeholders, in an optimised plan.
//!
//! What the optimiser would have concluded from the values is made up for where they have come in: constants are folded, a condition
//! that nothing satisfies gives no rows, conditions go into scans, numbers of rows downwards. That is one pass with a few
//! rules over the nodes concerned; nothing is looked for elsewhere.

use datafusion::common::ParamValues;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::optimizer::OptimizerRule;
use datafusion::optimizer::eliminate_filter::EliminateFilter;
use datafusion::optimizer::eliminate_limit::EliminateLimit;
use datafusion::optimizer::propagate_empty_relation::PropagateEmptyRelation;
use datafusion::optimizer::push_down_filter::PushDownFilter;

use super::super::semantics::{constants, simplified};
use super::template::Template;

/// The engine's rule that leaves out columns, as it is called among the others.
const NARROWING: &str = "optimize_projections";

/// The rule that moves numbers of rows downwards, which is ours under the engine's name: sums of huge ones stay in their range.
const COUNTING: &str = "push_down_limit";

impl Template {
    /// The optimised plan for some values.
    ///
    /// # Errors
    /// What computing constants fails with, and anything that makes it no plan for these values.
    pub(super) fn bind(&self, values: &ParamValues, state: &SessionState) -> Result<LogicalPlan> {
        for expr in &self.checked {
            constants::value(&filled(expr.clone(), values)?.data, state.config_options())?;
        }
        let mut binding = Binding { values, state, has_changed: false, has_narrowed: false };
        let mut plan = self.optimized.clone().transform_up_with_subqueries(|node| binding.node(node))?.data;
        if self.limits {
            for rule in state.optimizer().rules.iter().filter(|rule| rule.name() == COUNTING) {
                plan = plan.transform_down_with_subqueries(|node| rule.rewrite(node, state))?.data;
            }
        }
        if binding.has_narrowed {
            // A column that only a condition needed is not read for it any more.
            for rule in state.optimizer().rules.iter().filter(|rule| rule.name() == NARROWING) {
                plan = rule.rewrite(plan, state)?.data;
            }
        }
        Ok(plan)
    }
}

/// The pass over the nodes, from the leaves upwards.
struct Binding<'b> {
    values: &'b ParamValues,
    state: &'b SessionState,
    /// Whether a node below or beside may have become empty.
    has_changed: bool,
    /// Whether a scan has taken a condition.
    has_narrowed: bool,
}

impl Binding<'_> {
    fn node(&mut self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let node = if is_late(&node)? {
            self.has_changed = true;
            self.settled(node)?
        } else {
            node
        };
        if !self.has_changed {
            return Ok(Transformed::no(node));
        }
        let node = PropagateEmptyRelation::new().rewrite(node, self.state)?.data;
        Ok(Transformed::yes(node))
    }

    /// A node with its values, simplified as the optimiser does.
    fn settled(&mut self, node: LogicalPlan) -> Result<LogicalPlan> {
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            // Its members have names of their own, and no placeholders.
            if matches!(expr, Expr::GroupingSet(_)) {
                return Ok(Transformed::no(expr));
            }
            let name = names.save(&expr);
            Ok(filled(expr, self.values)?.update_data(|expr| name.restore(expr)))
        })?;
        let node = simplified(node.data, self.state)?.data;
        let node = EliminateLimit::new().rewrite(node, self.state)?.data;
        let node = EliminateFilter::new().rewrite(node, self.state)?.data;
        let LogicalPlan::Filter(filter) = &node else { return Ok(node) };
        if !matches!(filter.input.as_ref(), LogicalPlan::TableScan(_)) {
            return Ok(node);
        }
        let moved = PushDownFilter::new().rewrite(node, self.state)?;
        self.has_narrowed |= moved.transformed;
        // Of several conditions on one column the rule may have concluded that nothing satisfies them.
        Ok(EliminateFilter::new().rewrite(moved.data, self.state)?.data)
    }
}

/// An expression with values in the place of its placeholders.
fn filled(expr: Expr, values: &ParamValues) -> Result<Transformed<Expr>> {
    expr.transform_up(|part| match part {
        Expr::Placeholder(Placeholder { id, field }) => {
            let (value, metadata) = values.get_placeholders_with_values(&id)?.into_inner();
            if field.as_ref().is_none_or(|field| *field.data_type() != value.data_type()) {
                return datafusion::common::plan_err!("the value of {id} has another type than its plan was made for");
            }
            Ok(Transformed::yes(Expr::Literal(value, metadata)))
        }
        other => Ok(Transformed::no(other)),
    })
}

/// Whether a node holds what is known only when a statement runs: a parameter, or what depends on its time.
fn is_late(node: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found |= expr.exists(|part| {
            Ok(match part {
                Expr::Placeholder(_) => true,
                Expr::ScalarFunction(call) => call.func.signature().volatility == Volatility::Stable,
                _ => false,
            })
        })?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}
