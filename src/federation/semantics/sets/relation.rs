//! Set-returning functions in FROM, as `ast::sets` marks them: one relation per item, with a name for each column. And rows of
//! VALUES, as `ast::values` marks them.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Projection, Values};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, TableAlias, TableFactor,
};

use super::super::functions::returns_set;
use super::super::overload::common_type;
use super::super::types::expr_type;
use super::ProjectSet;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::HIDDEN;

/// The relation that stands for functions whose arguments name no column; others are `UNNEST`, which the planner takes for
/// lateral.
pub const FUNCTIONS: &str = "set functions";

/// The relation that stands for rows of VALUES, each an argument.
pub const ROWS: &str = "rows of values\u{1}";

/// Plans the relations that `ast::sets` and `ast::values` have marked.
#[derive(Debug)]
pub struct SetRelations;

impl RelationPlanner for SetRelations {
    fn plan_relation(&self, relation: TableFactor, context: &mut dyn RelationPlannerContext) -> Result<RelationPlanning> {
        match relation {
            TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } => {
                Item { calls: array_exprs, alias, with_ordinality }.plan(context)
            }
            TableFactor::Table { name, alias, args: Some(arguments), .. } if is_marked(&name, ROWS) => {
                let mut rows = Vec::with_capacity(arguments.args.len());
                for argument in arguments.args {
                    let FunctionArg::Unnamed(FunctionArgExpr::Expr(SqlExpr::Tuple(row))) = argument else { continue };
                    let empty = DFSchema::empty();
                    rows.push(row.into_iter().map(|cell| context.sql_to_expr(cell, &empty)).collect::<Result<Vec<_>>>()?);
                }
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(values(rows)?, alias))))
            }
            TableFactor::Table { name, alias, args: Some(arguments), with_ordinality, .. } if is_marked(&name, FUNCTIONS) => {
                let calls = arguments.args.into_iter().filter_map(|argument| match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(call)) => Some(call),
                    _ => None,
                });
                Item { calls: calls.collect(), alias, with_ordinality }.plan(context)
            }
            other => Ok(RelationPlanning::Original(Box::new(other))),
        }
    }
}

fn is_marked(name: &ObjectName, mark: &str) -> bool {
    matches!(name.0.as_slice(), [ObjectNamePart::Identifier(ident)] if ident.value == mark)
}

/// A list of rows. Where the planner finds no type for a column, it gets the common type of its rows, which resolution converts
/// them to.
fn values(rows: Vec<Vec<Expr>>) -> Result<LogicalPlan> {
    let width = rows.first().map_or(0, Vec::len);
    if rows.iter().any(|row| row.len() != width) {
        return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, "VALUES lists must all be the same length").into());
    }
    if let Ok(planned) = LogicalPlanBuilder::values(rows.clone()) {
        return planned.build();
    }
    let empty = DFSchema::empty();
    let mut fields = Vec::with_capacity(width);
    for place in 0..width {
        let column: Vec<&Expr> = rows.iter().filter_map(|row| row.get(place)).collect();
        let types = column.iter().map(|cell| expr_type(cell, &empty)).collect::<Result<Vec<_>>>()?;
        let common = common_type(&types).map_err(|mismatch| mismatch.told("VALUES"))?;
        let example = column.iter().zip(&types).find(|(_, typed)| typed.pg_type.oid == common.pg_type.oid);
        let carrier = example.map_or(Ok(DataType::Utf8), |(cell, _)| cell.get_type(&empty))?;
        fields.push(common.field(&format!("column{}", place + 1), carrier));
    }
    let schema = DFSchema::from_unqualified_fields(fields.into_iter().collect(), HashMap::new())?;
    Ok(LogicalPlan::Values(Values { schema: Arc::new(schema), values: rows }))
}

/// One item of FROM: calls in lockstep.
struct Item {
    calls: Vec<SqlExpr>,
    alias: Option<TableAlias>,
    with_ordinality: bool,
}

impl Item {
    fn plan(self, context: &mut dyn RelationPlannerContext) -> Result<RelationPlanning> {
        let names = self.names(context);
        let alias = self.alias.unwrap_or_else(|| TableAlias {
            explicit: true,
            name: Ident::with_quote('"', self.calls.first().map_or("unnest", called)),
            columns: Vec::new(),
            at: None,
        });
        if names.len() < alias.columns.len() {
            let message = format!(
                "table \"{}\" has {} columns available but {} columns specified",
                alias.name.value,
                names.len(),
                alias.columns.len()
            );
            return Err(Diagnosis::new("42P10", message).into());
        }
        let schema = DFSchema::empty();
        let mut calls = Vec::with_capacity(self.calls.len());
        for (place, call) in self.calls.into_iter().enumerate() {
            calls.push((context.sql_expr_to_logical_expr(call, &schema)?, hidden(place)));
        }
        let counter = self.with_ordinality.then(|| hidden(calls.len()));
        let input = LogicalPlanBuilder::empty(true).build()?;
        let set = ProjectSet::new(Arc::new(input), calls, counter)?.into_plan();
        let outputs =
            names.into_iter().enumerate().map(|(place, name)| Expr::Column(Column::from_name(hidden(place))).alias(name)).collect();
        let plan = LogicalPlan::Projection(Projection::try_new(outputs, Arc::new(set))?);
        let alias = TableAlias { columns: Vec::new(), ..alias };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, Some(alias)))))
    }

    /// Names of the columns: those of the alias, then the functions' own; one function alone is called as its alias.
    fn names(&self, context: &dyn RelationPlannerContext) -> Vec<String> {
        let mut names: Vec<String> = self.calls.iter().map(|call| called(call).to_owned()).collect();
        if let (Some(alias), [only]) = (&self.alias, names.as_mut_slice()) {
            *only = context.normalize_ident(alias.name.clone());
        }
        if self.with_ordinality {
            names.push("ordinality".to_owned());
        }
        let given = self.alias.iter().flat_map(|alias| &alias.columns);
        for (name, column) in names.iter_mut().zip(given) {
            *name = context.normalize_ident(column.name.clone());
        }
        for place in 1..names.len() {
            if let (Some(before), Some(name)) = (names.get(..place), names.get(place))
                && before.contains(name)
                && let unique = format!("{name}{HIDDEN}{place}")
                && let Some(name) = names.get_mut(place)
            {
                *name = unique;
            }
        }
        names
    }
}

/// A name inside the node, which no column beside it can have.
fn hidden(place: usize) -> String {
    format!("set{HIDDEN}{place}")
}

/// The name clients know a call by.
fn called(call: &SqlExpr) -> &str {
    match call {
        SqlExpr::Function(function) => match function.name.0.as_slice() {
            [ObjectNamePart::Identifier(ident)] if returns_set(&ident.value) => {
                ident.value.split_once(' ').map_or("unnest", |(_, name)| name)
            }
            _ => "unnest",
        },
        _ => "unnest",
    }
}
