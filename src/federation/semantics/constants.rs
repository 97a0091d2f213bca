//! Constant parts of a plan fail before it runs, as PostgreSQL's planner finds out by computing them: `1 / 0` is an error
//! also where no row reaches it, except behind a CASE, COALESCE, AND or OR that other constants decide (manual,
//! "Expression Evaluation Rules").
//!
//! Nothing is changed here: the engine's own simplifier folds what can be folded, and leaves alone what fails.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Case, ScalarFunction};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::scalar::ScalarValue;

use super::typed::TypedFunction;

/// Computes the constant parts of a resolved plan whose parameters are bound.
///
/// # Errors
/// What computing them failed with: 22012, 22003, …
pub fn check(plan: &LogicalPlan, config: &Arc<ConfigOptions>) -> Result<()> {
    let folding = Folding { config };
    plan.apply_with_subqueries(|node| node.apply_expressions(|expr| folding.value(expr).map(|_| TreeNodeRecursion::Continue)))?;
    Ok(())
}

/// The value of an expression that no row has a part in; `None` when it takes a row to know it.
///
/// # Errors
/// As [`check`].
pub(in super::super) fn value(expr: &Expr, config: &Arc<ConfigOptions>) -> Result<Option<ScalarValue>> {
    Folding { config }.value(expr)
}

/// NULL of the type that expressions share; `None` where that takes a row's columns to know. What is computed with NULL asks for
/// its type.
fn null_like<'e>(expressions: impl Iterator<Item = &'e Expr>) -> Option<ScalarValue> {
    let none = DFSchema::empty();
    let types: Vec<Option<DataType>> = expressions.map(|expr| expr.get_type(&none).ok()).collect();
    match types.iter().flatten().find(|data_type| **data_type != DataType::Null) {
        Some(data_type) => ScalarValue::try_new_null(data_type).ok(),
        None => types.iter().all(Option::is_some).then_some(ScalarValue::Null),
    }
}

struct Folding<'c> {
    config: &'c Arc<ConfigOptions>,
}

impl Folding<'_> {
    /// The value of an expression that no row has a part in; `None` when it takes a row to know it.
    fn value(&self, expr: &Expr) -> Result<Option<ScalarValue>> {
        match expr {
            Expr::Literal(value, _) => Ok(Some(value.clone())),
            Expr::Alias(alias) => self.value(&alias.expr),
            Expr::Case(case) => self.case(case),
            Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
                self.logic(left, *op == Operator::Or, right)
            }
            Expr::ScalarFunction(call) if matches!(call.func.name(), "coalesce" | "nvl") => self.first_known(call),
            other => match TypedFunction::called_by(other) {
                Some(function) => function.constant(&self.parts(other)?, self.config),
                None => self.plain(other),
            },
        }
    }

    fn parts(&self, expr: &Expr) -> Result<Vec<Option<ScalarValue>>> {
        let mut values = Vec::new();
        expr.apply_children(|child| {
            values.push(self.value(child)?);
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(values)
    }

    /// Conditions that are false hide their result, one that is true all that follows.
    fn case(&self, case: &Case) -> Result<Option<ScalarValue>> {
        let Case { expr: subject, when_then_expr, else_expr } = case;
        let is_searched = subject.as_ref().is_none_or(|subject| is_bool(subject, true));
        let mut is_decided = is_searched;
        for (when, then) in when_then_expr {
            match self.value(when)?.filter(|_| is_searched) {
                Some(ScalarValue::Boolean(Some(true))) => {
                    return Ok(self.value(then)?.filter(|_| is_decided));
                }
                Some(_) => {}
                None => {
                    is_decided = false;
                    self.value(then)?;
                }
            }
        }
        match else_expr {
            Some(otherwise) => Ok(self.value(otherwise)?.filter(|_| is_decided)),
            None => Ok(null_like(when_then_expr.iter().map(|(_, then)| then.as_ref())).filter(|_| is_decided)),
        }
    }

    fn first_known(&self, call: &ScalarFunction) -> Result<Option<ScalarValue>> {
        let mut is_decided = true;
        for argument in &call.args {
            match self.value(argument)? {
                Some(value) if value.is_null() => {}
                Some(value) => return Ok(is_decided.then_some(value)),
                None => is_decided = false,
            }
        }
        Ok(null_like(call.args.iter()).filter(|_| is_decided))
    }

    /// `decides` is the value that settles the whole whatever the other side is: false for AND, true for OR.
    fn logic(&self, left: &Expr, decides: bool, right: &Expr) -> Result<Option<ScalarValue>> {
        let settled = |value: &Option<ScalarValue>| matches!(value, Some(ScalarValue::Boolean(Some(found))) if *found == decides);
        let left = self.value(left)?;
        if settled(&left) {
            return Ok(left);
        }
        let right = self.value(right)?;
        if settled(&right) {
            return Ok(right);
        }
        Ok(match (left, right) {
            (Some(left), Some(right)) => Some(if left.is_null() { left } else { right }),
            _ => None,
        })
    }

    /// Anything else has a value when all of its parts have; it does not fail by itself.
    fn plain(&self, expr: &Expr) -> Result<Option<ScalarValue>> {
        let parts = self.parts(expr)?;
        let is_simple = matches!(
            expr,
            Expr::BinaryExpr(_)
                | Expr::Not(_)
                | Expr::IsNull(_)
                | Expr::IsNotNull(_)
                | Expr::IsTrue(_)
                | Expr::IsFalse(_)
                | Expr::IsNotTrue(_)
                | Expr::IsNotFalse(_)
                | Expr::Between(_)
                | Expr::InList(_)
                | Expr::Cast(_)
        );
        if !is_simple || parts.iter().any(Option::is_none) {
            return Ok(None);
        }
        let context = SimplifyContext::builder().with_config_options(Arc::clone(self.config)).build();
        Ok(match ExprSimplifier::new(context).simplify(expr.clone()) {
            Ok(Expr::Literal(value, _)) => Some(value),
            _ => None,
        })
    }
}

fn is_bool(expr: &Expr, wanted: bool) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Boolean(Some(found)), _) if *found == wanted)
}
