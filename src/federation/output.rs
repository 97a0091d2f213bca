//! The columns of a result: names as clients see them, Postgres types, and the table column each one comes from.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Projection};

use super::ast;
use super::error::diagnose;
use super::semantics::types::output_types;
use crate::catalog::{Relation, RelationBody, system};
use crate::error::Diagnosis;
use crate::pgtype::PgType;

/// One column of a result, as `RowDescription` tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputColumn {
    /// The name a Postgres server would give.
    pub name: String,
    /// The Postgres type; the Arrow type of the batch column is one that carries it.
    pub pg_type: PgType,
    /// The oid of the table the column comes from unchanged, else 0.
    pub table_oid: u32,
    /// The column's number in that table, else 0.
    pub column_number: i16,
}

/// The result columns of an analysed plan over `used` relations.
///
/// # Errors
/// What deriving the types failed with.
pub fn columns(plan: &LogicalPlan, used: &BTreeMap<u32, Arc<Relation>>) -> Result<Vec<OutputColumn>, Diagnosis> {
    let fields = plan.schema().fields();
    let types = output_types(plan).map_err(|error| diagnose(&error))?;
    let columns = fields.iter().zip(types).enumerate().map(|(place, (field, pg_type))| {
        let (table_oid, column_number) = origin(plan, place, used).unwrap_or((0, 0));
        OutputColumn { name: ast::visible(field.name()).to_owned(), pg_type, table_oid, column_number }
    });
    Ok(columns.collect())
}

/// Follows an output through nodes that hand columns on unchanged, down to a table.
fn origin(plan: &LogicalPlan, place: usize, used: &BTreeMap<u32, Arc<Relation>>) -> Option<(u32, i16)> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let column = bare_column(projection.expr.get(place)?)?;
            let inner = projection.input.schema().maybe_index_of_column(column)?;
            origin(&projection.input, inner, used)
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Distinct(_) => origin(plan.inputs().first()?, place, used),
        LogicalPlan::Join(join) => {
            let left = join.left.schema().fields().len();
            if place < left { origin(&join.left, place, used) } else { origin(&join.right, place - left, used) }
        }
        LogicalPlan::TableScan(scan) => {
            let ordinal = scan.projection.as_ref().map_or(Some(place), |projection| projection.get(place).copied())?;
            let (schema, name) = (scan.table_name.schema(), scan.table_name.table());
            let matches =
                |relation: &&Arc<Relation>| relation.name == name && schema.is_none_or(|schema| schema == relation.schema);
            let mut found = used.values().filter(matches);
            let relation = found.next().filter(|_| found.next().is_none())?;
            let has_columns = matches!(relation.body, RelationBody::Stored { .. }) || relation.body.materialized().is_some();
            has_columns.then_some((relation.oid, i16::try_from(ordinal + 1).ok()?))
        }
        _ => None,
    }
}

/// The plan with names for the ids of relations and schemas that its outputs are: `'shop.orders'::regclass` is shown as `orders`.
/// `None` when there are none. Ids that a store holds are the store's own and stay numbers. `analyzed` is the plan analysed.
///
/// # Errors
/// What building the projection failed with.
pub fn name_objects(
    plan: &LogicalPlan,
    analyzed: &LogicalPlan,
    columns: &[OutputColumn],
    state: &SessionState,
) -> Result<Option<LogicalPlan>, Diagnosis> {
    let shown: Vec<Option<&str>> = columns.iter().enumerate().map(|(place, column)| name_of(analyzed, place, column)).collect();
    if shown.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut outputs = Vec::with_capacity(shown.len());
    for (column, function) in plan.schema().columns().into_iter().zip(shown) {
        outputs.push(match function {
            Some(function) => {
                let function = state.udf(function).map_err(|error| diagnose(&error))?;
                function.call(vec![Expr::Column(column.clone())]).alias_qualified(column.relation, column.name)
            }
            None => Expr::Column(column),
        });
    }
    let named = Projection::try_new(outputs, Arc::new(plan.clone())).map_err(|error| diagnose(&error))?;
    Ok(Some(LogicalPlan::Projection(named)))
}

/// The function that names the objects of an output column.
fn name_of(analyzed: &LogicalPlan, place: usize, column: &OutputColumn) -> Option<&'static str> {
    let function = match column.pg_type.oid {
        oid if oid == PgType::REGCLASS.oid => "pg_cast_regclass",
        oid if oid == PgType::REGNAMESPACE.oid => "pg_cast_regnamespace",
        _ => return None,
    };
    is_looked_up(analyzed, place).then_some(function)
}

/// Whether an output is the id of an object that the statement has looked up by its name.
fn is_looked_up(plan: &LogicalPlan, place: usize) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => match projection.expr.get(place).map(|expr| expr.clone().unalias()) {
            Some(Expr::ScalarFunction(call)) => system::is_of_session(&call.func),
            Some(Expr::Column(column)) => {
                let below = projection.input.schema().maybe_index_of_column(&column);
                below.is_some_and(|below| is_looked_up(&projection.input, below))
            }
            _ => false,
        },
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Distinct(Distinct::All(_))
        | LogicalPlan::Union(_) => plan.inputs().into_iter().all(|input| is_looked_up(input, place)),
        _ => false,
    }
}

fn bare_column(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => bare_column(&alias.expr),
        _ => None,
    }
}
