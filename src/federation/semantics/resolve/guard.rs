//! CASE and COALESCE compute a part only for the rows that reach it (manual, "Expression Evaluation Rules").
//!
//! The engine's evaluation of CASE does; its simplifier does not keep it: a searched CASE of booleans becomes AND and OR, which
//! compute both sides, and so does one of constants that is compared with a constant. It names conditions several times, too, which may
//! give another value each time. It leaves the simple form alone, so a CASE whose parts may fail or change is written as
//! `CASE true WHEN condition`, which means the same.

use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{Expr, lit};
use datafusion::scalar::ScalarValue;

/// A CASE over resolved parts that have one type.
pub(super) fn case(branches: Vec<(Box<Expr>, Box<Expr>)>, otherwise: Option<Box<Expr>>, is_boolean: bool) -> Expr {
    let results = || branches.iter().map(|(_, then)| then).chain(otherwise.iter());
    let is_taken_apart = is_boolean || !results().any(|result| result.any_column_refs());
    let guards = |part: &Expr| part.exists(|inner| Ok(may_fail(inner))).unwrap_or(true);
    // The first condition is computed for every row.
    let mut guarded = branches.iter().skip(1).map(|(when, _)| when).chain(results());
    let changes = branches.iter().any(|(when, _)| when.is_volatile());
    let subject = (is_taken_apart && (changes || guarded.any(|part| guards(part)))).then(|| Box::new(lit(true)));
    Expr::Case(Case::new(subject, branches, otherwise))
}

/// Whether the subject of a simple CASE is the one that [`case`] writes.
pub(super) fn is_searched(subject: &Expr) -> bool {
    matches!(subject, Expr::Literal(ScalarValue::Boolean(Some(true)), _))
}

/// COALESCE of booleans as a CASE, which the engine would make of it too late to guard it.
pub(super) fn coalesce(mut arguments: Vec<Expr>) -> Option<Expr> {
    let last = arguments.pop()?;
    if arguments.is_empty() {
        return Some(last);
    }
    let branches = arguments.into_iter().map(|argument| (Box::new(argument.clone().is_not_null()), Box::new(argument)));
    Some(case(branches.collect(), Some(Box::new(last)), true))
}

/// Comparisons, logic, columns and constants never fail.
fn may_fail(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(_) | Expr::HigherOrderFunction(_) | Expr::Cast(_) | Expr::TryCast(_) | Expr::Negative(_))
}
