//! A plan for all values: analysed and optimised with its placeholders in it.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr, LogicalPlan, WindowFunctionDefinition};

use super::super::engine::Engine;
use super::super::error::diagnose;
use super::super::plan::{Planned, Setting, analyze, placeholder_number, timeless_state};
use super::super::plans::is_shareable;
use super::super::semantics::constants;
use super::super::semantics::typed::TypedFunction;
use crate::error::Diagnosis;
use crate::pgtype::PgType;

/// The optimised plan of a statement, and what must be looked at before values are put into it.
#[derive(Debug)]
pub(super) struct Template {
    /// The plan with its placeholders.
    pub(super) optimized: LogicalPlan,
    /// Expressions of parameters that may fail when they are computed, also those that the optimiser has left out since.
    pub(super) checked: Vec<Expr>,
    /// Whether a parameter is a number of rows.
    pub(super) limits: bool,
}

impl Template {
    /// The plan of a statement for all values; `None` where each execution must have its own:
    /// - what reads facts of a session, which a plan would keep;
    /// - what fails without values: an error is told for an execution, and not before;
    /// - numbers of rows that analysis reads: what they mean where they are NULL or below one is decided there;
    /// - parameters in grouping sets, whose members have no names that outputs above could keep when values come into them;
    /// - placeholders that do not say their type, or not that of the values.
    pub(super) fn make(engine: &Engine, setting: &Setting, planned: &Planned) -> Option<Self> {
        if !is_shareable(planned) {
            return None;
        }
        Self::of(engine, setting, planned).ok().flatten()
    }

    fn of(engine: &Engine, setting: &Setting, planned: &Planned) -> Result<Option<Self>, Diagnosis> {
        if is_analysed_by_value(planned.logical()).map_err(|error| diagnose(&error))? {
            return Ok(None);
        }
        let state = timeless_state(engine, setting);
        engine.steps().analysis.add(1);
        let analyzed = analyze(&state, planned.logical())?;
        constants::check(&analyzed, state.config_options()).map_err(|error| diagnose(&error))?;
        let checked = checked(&analyzed).map_err(|error| diagnose(&error))?;
        engine.steps().optimisation.add(1);
        let optimized = state.optimizer().optimize(analyzed, &state, |_, _| {}).map_err(|error| diagnose(&error))?;
        let uses = Uses::of(&optimized, &planned.parameters).map_err(|error| diagnose(&error))?;
        Ok(uses.are_fillable.then_some(Self { optimized, checked, limits: uses.limits }))
    }
}

/// The expressions of a plan that hold both a parameter and a function, which alone can fail by its arguments.
fn checked(analyzed: &LogicalPlan) -> Result<Vec<Expr>> {
    let mut found = Vec::new();
    analyzed.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            let has_parameter = expr.exists(|part| Ok(is_parameter(part)))?;
            if has_parameter && expr.exists(|part| Ok(TypedFunction::called_by(part).is_some()))? {
                found.push(expr.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

fn is_parameter(expr: &Expr) -> bool {
    matches!(expr, Expr::Placeholder(_))
}

/// Whether analysis makes another plan for other values of a parameter: a LIMIT of a subquery becomes a condition on numbers of rows, and
/// NULL no condition; NULL and what is below one have rules of their own where a window function counts rows.
fn is_analysed_by_value(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if matches!(node, LogicalPlan::Subquery(_)) {
            found |= has_limit_by_value(node)?;
        }
        node.apply_expressions(|expr| {
            found |= expr.exists(counts_in_window)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Whether a parameter is a number of rows anywhere in a plan.
fn has_limit_by_value(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if matches!(node, LogicalPlan::Limit(_)) {
            node.apply_expressions(|expr| {
                found |= expr.exists(|part| Ok(is_parameter(part)))?;
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Whether an expression is a window function that has a parameter beside its value.
fn counts_in_window(expr: &Expr) -> Result<bool> {
    let Expr::WindowFunction(call) = expr else { return Ok(false) };
    let WindowFunctionDefinition::WindowUDF(function) = &call.fun else { return Ok(false) };
    let values = usize::from(function.name() != "ntile");
    for argument in call.params.args.iter().skip(values) {
        if argument.exists(|part| Ok(is_parameter(part)))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where the placeholders of a plan stand.
struct Uses {
    /// Whether values can take the place of all of them.
    are_fillable: bool,
    /// Whether one is a number of rows.
    limits: bool,
}

impl Uses {
    fn of(plan: &LogicalPlan, types: &[PgType]) -> Result<Self> {
        let mut uses = Self { are_fillable: true, limits: false };
        plan.apply_with_subqueries(|node| {
            let is_limit = matches!(node, LogicalPlan::Limit(_));
            node.apply_expressions(|expr| {
                let has_parameter = expr.exists(|part| Ok(is_parameter(part)))?;
                uses.limits |= is_limit && has_parameter;
                uses.are_fillable &= !(has_parameter && matches!(expr, Expr::GroupingSet(_)));
                expr.apply(|part| {
                    if let Expr::Placeholder(placeholder) = part {
                        uses.are_fillable &= is_typed(placeholder, types);
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        Ok(uses)
    }
}

/// Whether a placeholder has the carrier in which its values come.
fn is_typed(placeholder: &Placeholder, types: &[PgType]) -> bool {
    let known = placeholder_number(&placeholder.id).and_then(|number| types.get(number - 1));
    match (known, &placeholder.field) {
        (Some(pg_type), Some(field)) => *field.data_type() == pg_type.carrier(),
        _ => false,
    }
}
