//! The rows of `INSERT … VALUES`: cells that stand alone are read without any planning, in the type of their column; all others are the
//! outputs of one query that gives one row, so that each has a type of its own as in PostgreSQL.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use datafusion::sql::sqlparser::ast::{Expr, SelectItem, With};

use super::super::ast::allowed::{Sets, refuse_calls};
use super::super::error::diagnose;
use super::super::plan::Planned;
use super::super::scan::count_scans;
use super::super::semantics::typed::Typed;
use super::super::semantics::{Assigned, assign_array};
use super::Work;
use super::assign::{self, Binding};
use super::rows::{Common, Gathered, RowForm, Rows, ready, work};
use super::scope::{Cell, Scope, look_at, select, types_of};
use super::target::Target;
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;
use crate::stores::edit::{Conflict, Edit};

/// Planned rows.
#[derive(Debug)]
pub(super) struct PlannedValues {
    /// The ordinals of the columns that the cells of each row belong to.
    columns: Vec<usize>,
    rows: Vec<Vec<Entry>>,
    computed: Option<Computed>,
}

/// A cell of a row.
#[derive(Debug)]
enum Entry {
    Cell(Cell),
    /// By its place among the outputs of the query.
    Computed(usize),
}

/// The query that computes cells.
#[derive(Debug)]
struct Computed {
    planned: Planned,
    types: Vec<Typed>,
    /// The column of each output.
    columns: Vec<usize>,
}

/// Plans rows whose cells belong to `columns`.
///
/// # Errors
/// As PostgreSQL's for the cells and their types.
pub(super) fn plan(
    scope: &mut Scope<'_>,
    target: &Target,
    with: Option<With>,
    (columns, rows): (Vec<usize>, Vec<Vec<Expr>>),
) -> Result<PlannedValues, Diagnosis> {
    // A single row is PostgreSQL's select list, which may hold sets.
    let sets = if rows.len() == 1 { Sets::Allowed } else { Sets::Refused };
    let (mut outputs, mut owners) = (Vec::new(), Vec::new());
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        let mut entry = Vec::with_capacity(row.len());
        for (ordinal, expr) in columns.iter().zip(row) {
            target.check_part(*ordinal, &expr)?;
            entry.push(match Cell::of(&expr)? {
                Some(cell) => Entry::Cell(cell),
                None => {
                    refuse_calls(&expr, "VALUES", sets, &|name| scope.is_aggregate(name))?;
                    outputs.push(SelectItem::UnnamedExpr(expr));
                    owners.push(*ordinal);
                    Entry::Computed(outputs.len() - 1)
                }
            });
        }
        entries.push(entry);
    }
    let computed = if outputs.is_empty() {
        look_at(scope, with)?;
        None
    } else {
        let planned = scope.plan(select(with, outputs, Vec::new(), None)?)?;
        let types = types_of(&planned);
        Some(Computed { planned, types, columns: owners })
    };
    let planned = PlannedValues { columns, rows: entries, computed };
    planned.check(scope, target)?;
    Ok(planned)
}

impl PlannedValues {
    /// Looks at the type of every cell, and settles those of parameters.
    fn check(&self, scope: &mut Scope<'_>, target: &Target) -> Result<(), Diagnosis> {
        for row in &self.rows {
            for (ordinal, entry) in self.columns.iter().zip(row) {
                let column = target.at(*ordinal)?;
                match entry {
                    Entry::Cell(Cell::Default) => continue,
                    Entry::Cell(Cell::Parameter(number)) => {
                        let settled = scope.parameters.settle(*number, column.pg_type());
                        assign::check(column, &settled.into())?;
                    }
                    Entry::Cell(cell) => assign::check(column, &cell.own_type().into())?,
                    Entry::Computed(place) => {
                        let from = self.computed.as_ref().and_then(|computed| computed.types.get(*place));
                        assign::check(column, from.unwrap_or(&PgType::UNKNOWN.into()))?;
                    }
                }
                target.check_given(column)?;
            }
        }
        Ok(())
    }

    /// The edits for the values of one execution. What computes cells without reading a store is computed at once.
    pub(super) async fn bind(self: &Arc<Self>, binding: &Binding<'_>, conflict: Option<Conflict>) -> Result<Work, Diagnosis> {
        let common = binding.common();
        let Some(computed) = &self.computed else {
            return work(common, &self.edits(common, None, conflict.as_ref())?, binding.engine);
        };
        let query = binding.query(&computed.planned).await?;
        if count_scans(query.physical()).is_empty() {
            let reservation = binding.engine.reservation("computed cells");
            let cells = Gathered::of(query.run()?, reservation).await?.whole()?;
            return work(common, &self.edits(common, Some(&cells), conflict.as_ref())?, binding.engine);
        }
        let (values, common) = (Arc::clone(self), common.clone());
        let reservation = binding.engine.reservation("keys to be written");
        let made = move |cells: RecordBatch| {
            let edits = values.edits(&common, Some(&cells), conflict.as_ref())?;
            ready(&common, &edits, reservation)
        };
        Ok(Work::Rows(Rows::of_cells(query, Box::new(made))))
    }

    /// The edits: one for each run of rows that leave the same columns to their defaults.
    fn edits(&self, common: &Common, cells: Option<&RecordBatch>, conflict: Option<&Conflict>) -> Result<Vec<Edit>, Diagnosis> {
        let computed = self.assigned(common, cells)?;
        let single = cells.filter(|_| self.rows.len() == 1).map_or(1, RecordBatch::num_rows);
        if self.rows.len() > 1 && cells.is_some_and(|cells| cells.num_rows() != 1) {
            return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "set-returning functions are not allowed in VALUES"));
        }
        let mut edits = Vec::new();
        let mut rest = self.rows.as_slice();
        while let Some(first) = rest.first() {
            let given = is_given(first);
            let count = rest.iter().take_while(|row| is_given(row) == given).count();
            let (run, after) = rest.split_at(count);
            let rows = Run { rows: run, times: single, computed: &computed };
            let edit = self.edit(common, &rows, conflict)?;
            edits.push(edit);
            rest = after;
        }
        Ok(edits)
    }

    /// The computed cells in the types of their columns.
    fn assigned(&self, common: &Common, cells: Option<&RecordBatch>) -> Result<Vec<ArrayRef>, Diagnosis> {
        let (Some(computed), Some(cells)) = (&self.computed, cells) else { return Ok(Vec::new()) };
        let owners = computed.columns.iter().zip(&computed.types);
        let assigned = cells.columns().iter().zip(owners).map(|(array, (ordinal, from))| {
            let to = Typed::of_field(&common.target.at(*ordinal)?.field);
            assign_array(array, from, &to, &common.session).map_err(|error| diagnose(&error))
        });
        assigned.collect()
    }

    /// The edit of some rows that have the same columns.
    fn edit(&self, common: &Common, run: &Run<'_>, conflict: Option<&Conflict>) -> Result<Edit, Diagnosis> {
        let count = run.rows.len() * run.times;
        let given = run.rows.first().map(|row| is_given(row)).unwrap_or_default();
        let (mut columns, mut arrays) = (Vec::new(), Vec::new());
        for (place, ordinal) in self.columns.iter().enumerate().filter(|(place, _)| given.get(*place) == Some(&true)) {
            columns.push(*ordinal);
            arrays.push(column(common, run, (place, *ordinal))?);
        }
        let rows = if columns.is_empty() { without_columns(count)? } else { common.batch(&columns, arrays, count)? };
        Ok(RowForm::Insert { columns, conflict: conflict.cloned() }.edit(common, rows))
    }
}

/// Rows that have the same columns.
struct Run<'r> {
    rows: &'r [Vec<Entry>],
    /// How often each of them is there: a single row with a set as often as that has elements.
    times: usize,
    computed: &'r [ArrayRef],
}

/// Which cells of a row have values.
fn is_given(row: &[Entry]) -> Vec<bool> {
    row.iter().map(|entry| !matches!(entry, Entry::Cell(Cell::Default))).collect()
}

/// One column of the rows.
fn column(common: &Common, run: &Run<'_>, (place, ordinal): (usize, usize)) -> Result<ArrayRef, Diagnosis> {
    let to = Typed::of_field(&common.target.at(ordinal)?.field);
    let told = |error: datafusion::error::DataFusionError| diagnose(&error);
    let mut assigned = Assigned::new(to, run.rows.len() * run.times, &common.session).map_err(told)?;
    for row in run.rows {
        let Some(entry) = row.get(place) else { continue };
        for time in 0..run.times {
            let pushed = match entry {
                Entry::Cell(Cell::Default | Cell::Null) => assigned.null(),
                Entry::Cell(Cell::Text(text)) => assigned.text(text),
                Entry::Cell(Cell::Number(text)) => assigned.number(text),
                Entry::Cell(Cell::Truth(truth)) => assigned.truth(*truth),
                Entry::Cell(Cell::Parameter(number)) => assigned.row(&common.parameter(*number, ordinal)?, 0),
                Entry::Computed(output) => match run.computed.get(*output) {
                    Some(array) => assigned.row(array, time),
                    None => assigned.null(),
                },
            };
            pushed.map_err(told)?;
        }
    }
    assigned.finish().map_err(told)
}

/// Rows of which only the number counts: every column has its default.
pub(super) fn without_columns(rows: usize) -> Result<RecordBatch, Diagnosis> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options).map_err(super::rows::told)
}
