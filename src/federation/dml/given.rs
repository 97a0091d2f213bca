//! Rows that a statement has at hand, in the place of a part of a plan that would read them: names and types are those of the part, so
//! that everything above it means what it would mean over the tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, TableReference};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection, TableScan};

use super::super::ast::HIDDEN;
use super::super::items::refit;
use super::super::plan::Planned;

/// The relation of such rows, which no client can name.
fn relation() -> TableReference {
    TableReference::bare(format!("{HIDDEN}given"))
}

/// The columns of such rows.
#[derive(Debug)]
pub(super) struct Given {
    schema: SchemaRef,
    /// How the plan above names them.
    names: Vec<(Option<TableReference>, String)>,
}

impl Given {
    /// Puts rows that will be known into the place of the first node that `is_place` finds on the way down; `None` without one.
    ///
    /// # Errors
    /// What building nodes fails with.
    pub(super) fn instead(plan: &LogicalPlan, is_place: impl Fn(&LogicalPlan) -> bool) -> Result<Option<(Self, LogicalPlan)>> {
        let mut found = None;
        let replaced = plan.clone().transform_down(|node| {
            if found.is_some() || !is_place(&node) {
                return Ok(Transformed::no(node));
            }
            let (given, instead) = Self::of(&node)?;
            found = Some(given);
            Ok(Transformed::new(instead, true, TreeNodeRecursion::Stop))
        })?;
        Ok(found.map(|given| (given, replaced.data)))
    }

    fn of(below: &LogicalPlan) -> Result<(Self, LogicalPlan)> {
        let (mut fields, mut names, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
        for (place, (qualifier, field)) in below.schema().iter().enumerate() {
            let name = format!("{HIDDEN}{place}");
            let column = Expr::Column(Column::new(Some(relation()), name.clone()));
            outputs.push(column.alias_qualified(qualifier.cloned(), field.name()));
            fields.push(Field::clone(field).with_name(name).with_nullable(true));
            names.push((qualifier.cloned(), field.name().clone()));
        }
        let schema = Arc::new(Schema::new(fields));
        let none = provider_as_source(Arc::new(MemTable::try_new(Arc::clone(&schema), vec![Vec::new()])?));
        let scan = LogicalPlanBuilder::scan(relation(), none, None)?.build()?;
        let plan = LogicalPlan::Projection(Projection::try_new(outputs, Arc::new(scan))?);
        Ok((Self { schema, names }, plan))
    }

    /// How many columns there are.
    pub(super) fn width(&self) -> usize {
        self.names.len()
    }

    /// How the plan above names a column.
    pub(super) fn name(&self, place: usize) -> Option<&(Option<TableReference>, String)> {
        self.names.get(place)
    }

    /// The columns that a plan names, by their places.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub(super) fn used(&self, plan: &LogicalPlan) -> Result<Vec<usize>> {
        let mut used: BTreeSet<Column> = BTreeSet::new();
        plan.apply_with_subqueries(|node| {
            node.apply_expressions(|expr| {
                expr.apply(|part| {
                    if let Expr::Column(column) | Expr::OuterReferenceColumn(_, column) = part {
                        used.insert(column.clone());
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        let names = |column: &Column, (qualifier, name): &(Option<TableReference>, String)| {
            column.name == *name && (column.relation.is_none() || column.relation == *qualifier)
        };
        let is_used = |known: &(Option<TableReference>, String)| used.iter().any(|column| names(column, known));
        Ok(self.names.iter().enumerate().filter(|(_, known)| is_used(known)).map(|(place, _)| place).collect())
    }

    /// Rows of some of the columns; the others are NULL.
    ///
    /// # Errors
    /// A column of another type.
    pub(super) fn batch(&self, columns: &[Option<ArrayRef>], rows: usize) -> Result<RecordBatch> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.names.len());
        for (place, field) in self.schema.fields().iter().enumerate() {
            let wanted = field.data_type();
            arrays.push(match columns.get(place).and_then(Option::as_ref) {
                None => new_null_array(wanted, rows),
                // One type of PostgreSQL may be carried in two ways.
                Some(known) if known.data_type() != wanted && !wanted.is_nested() => cast(known, wanted)?,
                Some(known) => Arc::clone(known),
            });
        }
        let fields = self.schema.fields().iter().zip(&arrays);
        let own: Vec<Field> = fields.map(|(field, array)| Field::clone(field).with_data_type(array.data_type().clone())).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(own)), arrays, &options)?;
        refit(batch, &self.schema)
    }

    /// The planned query over these rows.
    ///
    /// # Errors
    /// Rows of other columns.
    pub(super) fn over(&self, planned: &Planned, rows: Vec<RecordBatch>) -> Result<Planned> {
        let source = provider_as_source(Arc::new(MemTable::try_new(Arc::clone(&self.schema), vec![rows])?));
        let name = relation();
        let replaced = planned.logical().clone().transform_up_with_subqueries(|node| {
            Ok(match node {
                LogicalPlan::TableScan(scan) if scan.table_name == name => {
                    Transformed::yes(LogicalPlan::TableScan(TableScan { source: Arc::clone(&source), ..scan }))
                }
                node => Transformed::no(node),
            })
        })?;
        Ok(planned.with_logical(replaced.data))
    }
}
