//! What a column takes, and one execution of a planned write.

use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion::scalar::ScalarValue;

use super::super::branches::Branches;
use super::super::digits::{self, Ready};
use super::super::engine::Engine;
use super::super::error::diagnose;
use super::super::plan::{Planned, Setting};
use super::super::semantics::typed::Typed;
use super::super::semantics::{Assigned, is_assignable};
use super::rows::Common;
use super::scope::Cell;
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;
use crate::stores::schema::{Column, Generated};

/// Whether a column takes values of a type.
///
/// # Errors
/// 42804 as PostgreSQL says it.
pub(super) fn check(column: &Column, from: &Typed) -> Result<(), Diagnosis> {
    let to = Typed::of_field(&column.field);
    if is_assignable(from, &to) {
        return Ok(());
    }
    let plain = |pg_type: PgType| PgType::with_typmod(pg_type.oid, -1);
    let (wanted, found) = (plain(to.pg_type), plain(from.pg_type));
    let message = format!("column \"{}\" is of type {wanted} but expression is of type {found}", column.name());
    Err(Diagnosis::new(sqlstate::DATATYPE_MISMATCH, message).with_hint("You will need to rewrite or cast the expression."))
}

/// Whether a column of new rows takes a value that a statement gives it.
///
/// # Errors
/// 428C9 when the store makes its values always.
pub(super) fn check_given(column: &Column) -> Result<(), Diagnosis> {
    if column.generated != Generated::Always {
        return Ok(());
    }
    let message = format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name());
    Err(Diagnosis::new(sqlstate::GENERATED_ALWAYS, message).with_detail("The store makes the values of the column always."))
}

/// Whether a column of existing rows takes a value that a statement gives it.
///
/// # Errors
/// 428C9 when the store makes its values always.
pub(super) fn check_changed(column: &Column) -> Result<(), Diagnosis> {
    if column.generated != Generated::Always {
        return Ok(());
    }
    let message = format!("column \"{}\" can only be updated to DEFAULT", column.name());
    Err(Diagnosis::new(sqlstate::GENERATED_ALWAYS, message).with_detail("The store makes the values of the column always."))
}

/// One execution of a planned write.
pub(super) struct Binding<'b> {
    pub(super) engine: &'b Engine,
    pub(super) setting: &'b Setting,
    pub(super) branches: &'b Arc<Branches>,
    common: Common,
}

impl<'b> Binding<'b> {
    pub(super) fn new(engine: &'b Engine, setting: &'b Setting, branches: &'b Arc<Branches>, common: Common) -> Self {
        Self { engine, setting, branches, common }
    }

    /// What its edits have in common.
    pub(super) fn common(&self) -> &Common {
        &self.common
    }

    /// The values of the parameters.
    pub(super) fn values(&self) -> &[ScalarValue] {
        &self.common.values
    }

    /// A query of the statement, ready to run.
    ///
    /// # Errors
    /// As for any query.
    pub(super) async fn query(&self, planned: &Planned) -> Result<Ready, Diagnosis> {
        let target = Some(&self.common.target.store);
        digits::bind(self.engine, self.setting, planned, self.values(), (self.branches, target)).await
    }

    /// A cell in the type of a column, as one row.
    pub(super) fn constant(&self, cell: &Cell, ordinal: usize) -> Result<ArrayRef, Diagnosis> {
        if let Cell::Parameter(number) = cell {
            return self.common.parameter(*number, ordinal);
        }
        let to = Typed::of_field(&self.common.target.at(ordinal)?.field);
        let read = || {
            let mut assigned = Assigned::new(to, 1, &self.common.session)?;
            match cell {
                Cell::Text(text) => assigned.text(text)?,
                Cell::Number(text) => assigned.number(text)?,
                Cell::Truth(truth) => assigned.truth(*truth)?,
                Cell::Default | Cell::Null | Cell::Parameter(_) => assigned.null()?,
            }
            assigned.finish()
        };
        read().map_err(|error: datafusion::error::DataFusionError| diagnose(&error))
    }
}
