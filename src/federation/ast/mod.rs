//! Passes over the parsed statement that give it Postgres meaning before the engine plans it.
//!
//! ```text
//! tokens (what the parser reads otherwise) → parsed query → reserved (what no client may call) → catalog (forms of client introspection) → shadowed (WITH queries inside others of their name) → whole_row (aliases that name some columns; relations that a column hides; `*` of relations around, and beside outputs of its names) → stars (whole names before `*`) → precedence, between, order_keys (what keys mean beside each other), using, alike (keys of orders as outputs are written), dependent, grouping, having → windows (the WINDOW clause), frames (their offsets) → name (output columns) → whole_row (relations as values) → sets (set-returning functions, orders beside them) → casts (that names need) → members (rows in subqueries) → evaluations (of calls that change) → dialect (spellings the planner lacks) → literal (types of number literals) → values (rows of unlike types) → arrays (elements that read something) → planner
//! ```
//!
//! **Invariants:** a pass never changes which rows a query returns; names that a pass invents hold [`HIDDEN`], which no
//! client can write, and are cut off again before a client sees them.

mod alike;
pub mod allowed;
mod arrays;
mod between;
mod casts;
pub mod catalog;
mod channels;
mod dependent;
pub mod depth;
pub mod dialect;
mod evaluations;
mod frames;
mod grouped;
mod grouping;
mod having;
mod interval;
mod json;
mod keywords;
pub mod length;
mod likes;
pub mod literal;
pub mod locate;
mod members;
pub mod merging;
pub mod mistakes;
pub mod name;
mod null_test;
mod order_keys;
pub mod picks;
pub mod postgres;
mod precedence;
pub mod reserved;
pub mod row_name;
mod rows;
mod set_order;
mod sets;
mod shadowed;
mod signs;
mod similar;
mod size;
mod stars;
mod strings;
pub mod syntax;
pub mod tokens;
mod tuple;
pub mod unused;
mod using;
mod values;
pub mod volatile;
mod whole_row;
mod windows;
pub mod writing;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, Select, VisitMut, VisitorMut};

use crate::error::Diagnosis;

pub use rows::SIDE;
pub(super) use sets::is_set as is_set_function;
pub use whole_row::ColumnsOf;
use whole_row::Relations;

/// Separates a name that clients see from the number that makes it unique inside the plan.
pub const HIDDEN: char = '\u{1}';

/// How deep a statement may nest (parentheses, subqueries, CASE); deeper ones are 54001.
pub const DEPTH_MAX: usize = 200;

/// What the passes may know of what exists.
pub struct Known<'k> {
    /// The columns of tables and views.
    pub columns_of: &'k ColumnsOf<'k>,
    /// The columns of the primary keys of tables, where the planner may conclude nothing from them.
    pub key_of: &'k ColumnsOf<'k>,
    /// The names of aggregate functions.
    pub is_aggregate: &'k dyn Fn(&str) -> bool,
}

/// Runs all passes over a query but [`catalog::rewrite`], which is for statements over the catalog's own relations only.
///
/// # Errors
/// 0A000 for syntax that would be ignored silently, 42601 for rows beside subqueries of another width, 42704 for an unknown type, collation or window, 42P20 and 22013 for wrong windows, 54001 for
/// copies beyond what a pass may make.
pub fn prepare(query: &mut Query, known: &Known<'_>) -> Result<(), Diagnosis> {
    shadowed::tell_apart(query);
    whole_row::complete_aliases(query, known.columns_of)?;
    whole_row::rename_hidden(query, known.columns_of);
    whole_row::write_out_stars(query, known.columns_of)?;
    stars::qualify(query);
    let mut shape = Shape { relations: Relations::new(known.columns_of), known };
    if let ControlFlow::Break(error) = VisitMut::visit(query, &mut shape) {
        return Err(*error);
    }
    windows::rewrite(query)?;
    frames::settle(query)?;
    // A window may be deep where it is named.
    depth::bound(query)?;
    name::name_outputs(query);
    whole_row::rewrite(query, known.columns_of)?;
    channels::rewrite(query);
    sets::rewrite(query)?;
    casts::rewrite(query);
    members::rewrite(query, known.columns_of)?;
    evaluations::tell_apart(query);
    let mut dialect = dialect::Dialect::default();
    if let ControlFlow::Break(error) = VisitMut::visit(query, &mut dialect) {
        return Err(*error);
    }
    if dialect.has_written() {
        depth::bound(query)?;
    }
    let _: ControlFlow<()> = VisitMut::visit(query, &mut literal::Literals);
    values::rewrite(query)?;
    arrays::rewrite(query);
    Ok(())
}

/// What must be right before outputs are named.
struct Shape<'c> {
    relations: Relations<'c>,
    known: &'c Known<'c>,
}

impl VisitorMut for Shape<'_> {
    type Break = Box<Diagnosis>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        self.relations.enter(query);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        precedence::regroup(expr);
        // An output that is one has its name.
        keywords::call(expr);
        between::rewrite(expr).map_or_else(|error| ControlFlow::Break(Box::new(error)), ControlFlow::Continue)
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        having::rewrite(select);
        let resolved = grouping::resolve_ordinals(select).and_then(|()| grouping::resolve_distinct_on(select));
        resolved.map_or_else(|error| ControlFlow::Break(Box::new(error)), ControlFlow::Continue)
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        let placed = order_keys::settle(query, &self.relations, self.known).and_then(|()| using::rewrite(query, &self.relations));
        let placed = placed.and_then(|()| self.relations.write_out_repeated(query));
        alike::settle(query, &self.relations, self.known);
        dependent::rewrite(query, &self.relations, self.known);
        self.relations.leave();
        grouping::drop_repetitions(query);
        placed.map_or_else(|error| ControlFlow::Break(Box::new(error)), ControlFlow::Continue)
    }
}

/// Groups the operators of an expression that stands in no query as PostgreSQL does; in queries [`prepare`] does so.
pub fn regroup(expr: &mut Expr) {
    struct Operators;
    impl VisitorMut for Operators {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            precedence::regroup(expr);
            ControlFlow::Continue(())
        }
    }
    let _: ControlFlow<()> = VisitMut::visit(expr, &mut Operators);
}

/// The part of a name that a client sees.
pub fn visible(name: &str) -> &str {
    name.split(HIDDEN).next().unwrap_or(name)
}
