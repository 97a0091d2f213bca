//! Where a column of the plan is found among the columns of a relation under construction.

use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Expr, ExprSchemable};

use crate::federation::semantics::typed::Typed;
use crate::federation::semantics::types::expr_type;
use crate::pgtype::PgType;

/// A column of the plan, as the relation has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// Its ordinal in the relation.
    pub(super) place: usize,
    /// Its type there.
    pub(super) pg_type: PgType,
    /// Whether the plan has a key of the value (`typed_key`) in its place: such a column may be compared, but not sent.
    pub(super) keyed: bool,
}

impl Slot {
    /// The column at a place, as it is.
    pub(super) fn plain(place: usize, pg_type: PgType) -> Self {
        Self { place, pg_type, keyed: false }
    }
}

/// One input of a node.
pub(super) struct Input<'s> {
    /// The columns with their right types.
    pub(super) schema: &'s DFSchema,
    /// Where they are.
    pub(super) slots: &'s [Slot],
    /// How many columns of the relation stand before those of this input.
    pub(super) offset: usize,
}

/// The columns that the expressions of a node see.
pub(super) struct Scope<'s> {
    inputs: Vec<Input<'s>>,
    schema: DFSchema,
}

impl<'s> Scope<'s> {
    /// The columns of the inputs, in order.
    pub(super) fn new(inputs: Vec<Input<'s>>) -> Self {
        let mut schema = DFSchema::empty();
        for input in &inputs {
            schema.merge(input.schema);
        }
        Self { inputs, schema }
    }

    /// Where a column is.
    pub(super) fn slot(&self, column: &Column) -> Option<Slot> {
        self.inputs.iter().find_map(|input| {
            let slot = input.slots.get(input.schema.maybe_index_of_column(column)?)?;
            Some(Slot { place: slot.place + input.offset, ..*slot })
        })
    }

    /// The Arrow type of an expression over these columns.
    pub(super) fn carrier_of(&self, expr: &Expr) -> Option<DataType> {
        expr.get_type(&self.schema).ok()
    }

    /// The type of an expression over these columns.
    pub(super) fn type_of(&self, expr: &Expr) -> Option<Typed> {
        expr_type(expr, &self.schema).ok()
    }
}
