//! Passes over the parsed statement that give it Postgres meaning before the engine plans it.
//!
//! ```text
//! parsed query → catalog (forms of client introspection) → name (output columns) → dialect (spellings the planner lacks) → literal (types of number literals) → planner
//! ```
//!
//! **Invariants:** a pass never changes which rows a query returns; names that a pass invents hold [`HIDDEN`], which no
//! client can write, and are cut off again before a client sees them.

pub mod catalog;
pub mod depth;
pub mod dialect;
pub mod literal;
pub mod locate;
pub mod name;
mod rows;
mod similar;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Query, VisitMut};

use crate::error::Diagnosis;

/// Separates a name that clients see from the number that makes it unique inside the plan.
pub const HIDDEN: char = '\u{1}';

/// How deep a statement may nest (parentheses, subqueries, CASE); deeper ones are 54001.
pub const DEPTH_MAX: usize = 200;

/// Runs all passes over a query but [`catalog::rewrite`], which is for statements over the catalog's own relations only.
///
/// # Errors
/// 0A000 for syntax that would be ignored silently, 42704 for an unknown type or collation.
pub fn prepare(query: &mut Query) -> Result<(), Diagnosis> {
    name::name_outputs(query);
    let mut dialect = dialect::Dialect;
    if let ControlFlow::Break(error) = VisitMut::visit(query, &mut dialect) {
        return Err(*error);
    }
    let _: ControlFlow<()> = VisitMut::visit(query, &mut literal::Literals);
    Ok(())
}

/// The part of a name that a client sees.
pub fn visible(name: &str) -> &str {
    name.split(HIDDEN).next().unwrap_or(name)
}
