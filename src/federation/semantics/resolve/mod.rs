//! One bottom-up pass over a freshly planned statement: finds the Postgres type of every expression, decides overloads and
//! implicit casts, and routes comparison, grouping and ordering of types whose carrier orders differently through typed keys.
//!
//! It runs before the engine's own coercion, which then finds operands of equal types. Running it twice changes nothing.
//!
//! **Invariants:** names of output columns never change; every parameter whose use tells its type gets it.

mod aggregate;
mod array;
mod choice;
mod convert;
mod expression;
mod field;
mod grouping;
mod guard;
mod joined;
pub(in super::super) mod lazy;
mod merged;
mod node;
mod quantified;
mod recursive;
mod shifted;
mod sides;
mod window;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

pub(in super::super) use aggregate::{is_one, without_repetitions};

use super::settings::SessionValues;
use super::typed::{Typed, TypedFunction};
use super::types::{expr_type, plan_schema};

/// The analyzer rule; must come before the engine's type coercion.
#[derive(Debug, Default)]
pub struct TypedOperations;

impl AnalyzerRule for TypedOperations {
    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        Resolver { config, session: SessionValues::of(config) }.plan(plan, &[])
    }

    fn name(&self) -> &str {
        "typed_operations"
    }
}

/// The pass with what it reads of the session.
struct Resolver<'c> {
    config: &'c ConfigOptions,
    session: SessionValues,
}

/// Where an expression stands: its node's inputs, and the inputs of enclosing queries, innermost first.
struct Scope<'s> {
    schema: DFSchema,
    outer: &'s [DFSchema],
}

impl Scope<'_> {
    fn type_of(&self, expr: &Expr) -> Result<Typed> {
        expr_type(expr, &self.schema)
    }

    /// The Arrow type of an expression. A decided function knows its own; the engine would name and type everything below it
    /// again, at every level of a chain of operators.
    fn carrier_of(&self, expr: &Expr) -> Result<DataType> {
        if let Some((_, carrier)) = lazy::known(expr) {
            return Ok(carrier.clone());
        }
        match TypedFunction::called_by(expr) {
            Some(function) => Ok(function.carrier().clone()),
            None => expr.get_type(&self.schema),
        }
    }
}

impl Resolver<'_> {
    fn plan(&self, plan: LogicalPlan, outer: &[DFSchema]) -> Result<LogicalPlan> {
        if let LogicalPlan::RecursiveQuery(query) = plan {
            return self.recursive(query, outer);
        }
        if let LogicalPlan::Join(join) = &plan
            && sides::is_of_sides(join)
        {
            return self.sides(join.clone(), outer);
        }
        let plan = plan.map_children(|child| Ok(Transformed::yes(self.plan(child, outer)?)))?.data;
        let inputs = plan.inputs().into_iter().map(plan_schema).collect::<Result<Vec<_>>>()?;
        self.node(plan, inputs, outer)
    }

    /// The scope of a node's expressions: all its inputs' columns.
    fn scope<'s>(&self, inputs: &[DFSchema], outer: &'s [DFSchema]) -> Result<Scope<'s>> {
        let mut schema = match inputs.first() {
            Some(first) => first.clone(),
            None => DFSchema::empty(),
        };
        for input in inputs.iter().skip(1) {
            schema.merge(input);
        }
        Ok(Scope { schema, outer })
    }

    /// Resolves an expression and everything below it.
    fn expression(&self, expr: Expr, scope: &Scope<'_>) -> Result<Expr> {
        Ok(expr.transform_up(|part| Ok(Transformed::yes(self.one(part, scope)?)))?.data)
    }
}

/// The field an outer reference means, from the innermost enclosing query that has the column.
fn outer_field(column: &datafusion::common::Column, scope: &Scope<'_>) -> Option<arrow::datatypes::FieldRef> {
    scope.outer.iter().find_map(|schema| schema.field_from_column(column).ok().cloned())
}
