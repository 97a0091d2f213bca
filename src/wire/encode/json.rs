//! json columns.

use arrow::array::Array;

use super::{Cell, Target, mismatch};
use crate::error::Diagnosis;

/// The writer of the column.
pub(super) fn cell<'a>(array: &'a dyn Array, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    Err(mismatch(array, target))
}
