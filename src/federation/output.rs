//! The columns of a result: names as clients see them, Postgres types, and the table column each one comes from.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::ast;
use super::error::diagnose;
use super::semantics::types::output_types;
use crate::catalog::{Relation, RelationBody};
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
            matches!(relation.body, RelationBody::Stored { .. }).then_some((relation.oid, i16::try_from(ordinal + 1).ok()?))
        }
        _ => None,
    }
}

fn bare_column(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => bare_column(&alias.expr),
        _ => None,
    }
}
