//! VALUES whose rows are not all literals: a relation that `semantics::sets` plans.
//!
//! The planner takes rows of a VALUES list only where they agree in everything that it knows of their types; PostgreSQL has rules for
//! the common type, by which an untyped literal takes the type of the others.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Query, SetExpr, TableAlias, TableFactor, TableFunctionArgs,
    UnaryOperator, Values, VisitMut, VisitorMut,
};

use super::rows::template;
use crate::error::Diagnosis;
use crate::federation::semantics::sets::ROWS;

/// Rewrites the lists of a query and of every query inside it, after all other passes.
///
/// # Errors
/// Internal errors only.
pub(super) fn rewrite(query: &mut Query) -> Result<(), Diagnosis> {
    match VisitMut::visit(query, &mut Lists) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Lists;

impl VisitorMut for Lists {
    type Break = Box<Diagnosis>;

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        branch(&mut query.body).map_or_else(|error| ControlFlow::Break(Box::new(error)), ControlFlow::Continue)
    }
}

fn branch(body: &mut SetExpr) -> Result<(), Diagnosis> {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            branch(left)?;
            branch(right)
        }
        SetExpr::Values(values) if is_mixed(values) => {
            let mut select = *template("SELECT * FROM x")?;
            if let SetExpr::Select(select) = &mut select
                && let Some(from) = select.from.first_mut()
            {
                from.relation = relation(std::mem::take(&mut values.rows).into_iter().map(|row| row.content).collect());
            }
            *body = select;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether there are rows that could differ in more than the planner can tell of literals.
fn is_mixed(values: &Values) -> bool {
    values.rows.len() > 1 && !values.rows.iter().flat_map(|row| &row.content).all(is_literal)
}

fn is_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) => true,
        Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr: inner } => is_literal(inner),
        _ => false,
    }
}

/// The relation under a name that no client can write, each row an argument.
fn relation(rows: Vec<Vec<Expr>>) -> TableFactor {
    let args = rows.into_iter().map(|row| FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Tuple(row)))).collect();
    TableFactor::Table {
        name: ObjectName::from(vec![Ident::with_quote('"', ROWS)]),
        alias: Some(TableAlias { explicit: true, name: Ident::with_quote('"', "*VALUES*"), columns: Vec::new(), at: None }),
        args: Some(TableFunctionArgs { args, settings: None }),
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}
