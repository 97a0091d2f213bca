//! Set-returning functions: how a call that gives many rows becomes a plan node, and how that node runs.
//!
//! ```text
//! ast::sets (calls in the select list → unnest, functions in FROM → marked relations)
//!     → relation (FROM) · the planner's own hoisting of unnest, lifted by lift (select list) → ProjectSet
//!     → narrow (after the optimiser: columns that nothing above reads)
//!     → physical (one source per call) → stream (lockstep, NULL where a call has ended before the others)
//! ```
//!
//! **Invariants:** a series is never held as a whole; a batch never has more rows than the session asks for, nor more bytes than
//! `stream` allows (but for its last row); a call gives no row for a NULL array or argument. What a function computes lives in `functions::sets`.

mod lift;
mod narrow;
mod physical;
mod relation;
mod series;
mod stream;

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Column, DFSchema, DFSchemaRef, TableReference};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, ExprSchemable, Extension, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::pgtype::PgType;

use super::functions::returns_set;
use super::typed::Typed;
use super::types::expr_type;

pub use lift::lift;
pub use narrow::narrow;
pub use physical::SetPlanner;
pub use relation::{FUNCTIONS, ROWS, SetRelations};

/// What becomes of an input row for which no call gives a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Hash)]
pub enum Empty {
    /// It is dropped.
    Dropped,
    /// It stays, with NULL for what the calls would have given: the right side of a LEFT JOIN.
    Kept,
}

/// Calls of set-returning functions for each input row, in lockstep: those of the input's columns that are kept, a column per
/// call, and the number of the row among those of its input row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProjectSet {
    input: Arc<LogicalPlan>,
    /// Which columns of the input go along; `None` for all.
    kept: Option<Vec<Column>>,
    calls: Vec<Expr>,
    names: Vec<String>,
    ordinality: Option<String>,
    empty: Empty,
    schema: DFSchemaRef,
}

impl ProjectSet {
    /// `calls` over the columns of `input`, each a list or a set-returning function, under the given names.
    ///
    /// # Errors
    /// When a call is neither, or names collide.
    pub fn new(input: Arc<LogicalPlan>, calls: Vec<(Expr, String)>, ordinality: Option<String>) -> Result<Self> {
        let (calls, names): (Vec<Expr>, Vec<String>) = calls.into_iter().unzip();
        Self { input, kept: None, calls, names, ordinality, empty: Empty::Dropped, schema: Arc::new(DFSchema::empty()) }
            .with_schema()
    }

    /// The same calls over another input.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn over(&self, input: Arc<LogicalPlan>, calls: Vec<Expr>, empty: Empty) -> Result<Self> {
        Self { input, calls, empty, ..self.clone() }.with_schema()
    }

    /// The same with a column that numbers the rows of each input row, under the given name unless it has one.
    #[must_use]
    pub fn counted(self, name: String) -> Self {
        Self { ordinality: self.ordinality.or(Some(name)), ..self }
    }

    /// The name of the column that numbers rows.
    pub fn ordinality(&self) -> Option<&str> {
        self.ordinality.as_deref()
    }

    /// The same over an input with the same columns, of which only `kept` go along.
    ///
    /// # Errors
    /// When one of them is not the input's.
    fn keeping(&self, input: Arc<LogicalPlan>, kept: Vec<Column>) -> Result<Self> {
        Self { input, kept: Some(kept), ..self.clone() }.with_schema()
    }

    /// The columns of the input that go along.
    fn kept_columns(&self) -> Vec<Column> {
        self.kept.clone().unwrap_or_else(|| self.input.schema().columns())
    }

    /// Their places in the input.
    fn kept_places(&self) -> Result<Vec<usize>> {
        match &self.kept {
            Some(kept) => kept.iter().map(|column| self.input.schema().index_of_column(column)).collect(),
            None => Ok((0..self.input.schema().fields().len()).collect()),
        }
    }

    /// The node in `plan`, when it is one.
    pub fn of(plan: &LogicalPlan) -> Option<&Self> {
        match plan {
            LogicalPlan::Extension(Extension { node }) => node.as_any().downcast_ref::<Self>(),
            _ => None,
        }
    }

    /// The calls.
    pub fn calls(&self) -> &[Expr] {
        &self.calls
    }

    /// What is below.
    pub fn input(&self) -> &Arc<LogicalPlan> {
        &self.input
    }

    /// This node as a plan.
    pub fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }

    /// Types of the columns that stand behind those of the input.
    pub(super) fn output_types(&self, input: &DFSchema) -> Result<Vec<Typed>> {
        let own = self.calls.iter().map(|call| Ok(element(call, input)?.0));
        own.chain(self.ordinality.iter().map(|_| Ok(PgType::INT8.into()))).collect()
    }

    fn with_schema(mut self) -> Result<Self> {
        let input = self.input.schema();
        let places = self.kept_places()?;
        let kept = places.into_iter().map(|place| input.qualified_field(place));
        let mut fields: Vec<(Option<TableReference>, FieldRef)> =
            kept.map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
        for (call, name) in self.calls.iter().zip(&self.names) {
            let (typed, carrier, _) = element(call, input)?;
            fields.push((None, typed.field(name, carrier)));
        }
        let counter = self.ordinality.as_deref().map(|name| (None, Typed::from(PgType::INT8).field(name, DataType::Int64)));
        fields.extend(counter);
        self.schema = Arc::new(DFSchema::new_with_metadata(fields, input.metadata().clone())?);
        Ok(self)
    }

    fn outputs(&self) -> impl Iterator<Item = &String> {
        self.names.iter().chain(&self.ordinality)
    }
}

/// Type and carrier of what one call gives per row, and how many levels of lists inside the list are taken off besides: an
/// array of several dimensions is one sequence of elements.
fn element(call: &Expr, input: &DFSchema) -> Result<(Typed, DataType, usize)> {
    let data_type = call.get_type(input)?;
    let (DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)) = &data_type else {
        return Err(DataFusionError::Plan(format!("function unnest({data_type}) does not exist")));
    };
    let typed = expr_type(call, input)?;
    if is_set_call(call) {
        return Ok((typed, item.data_type().clone(), 0));
    }
    let (mut item, mut levels) = (item, 0);
    // Lists of lists have the type of their innermost elements' array.
    while let DataType::List(inner) = item.data_type() {
        item = inner;
        levels += 1;
    }
    let carrier = item.data_type().clone();
    let element = match typed.pg_type.element() {
        Some(pg_type) => Typed { pg_type, labels: typed.labels },
        None => Typed::of_field(&Field::new("", carrier.clone(), true).with_metadata(item.metadata().clone())),
    };
    Ok((element, carrier, levels))
}

/// Whether the expression is a call whose list stands for a set.
pub(super) fn is_set_call(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_set_call(&alias.expr),
        Expr::ScalarFunction(call) => returns_set(call.func.name()),
        _ => false,
    }
}

// The schema follows from the rest and has no order.
impl PartialOrd for ProjectSet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let parts = |node: &Self| (Arc::clone(&node.input), node.calls.clone(), node.names.clone(), node.ordinality.clone());
        parts(self).partial_cmp(&parts(other)).filter(|order| *order != Ordering::Equal || self == other)
    }
}

impl UserDefinedLogicalNodeCore for ProjectSet {
    fn name(&self) -> &str {
        "ProjectSet"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.calls.clone()
    }

    /// A condition over the input's columns alone may be asked before the rows are multiplied.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.outputs().cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls: Vec<String> = self.calls.iter().map(ToString::to_string).collect();
        write!(f, "ProjectSet: {}", calls.join(", "))
    }

    fn with_exprs_and_inputs(&self, calls: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (Some(input), 0) = (inputs.pop(), inputs.len()) else {
            return Err(DataFusionError::Internal("ProjectSet has one input".to_owned()));
        };
        self.over(Arc::new(input), calls, self.empty)
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let places = self.kept_places().ok()?;
        Some(vec![output_columns.iter().filter_map(|column| places.get(*column).copied()).collect()])
    }
}
