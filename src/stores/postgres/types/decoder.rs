//! What every column decoder does, and the two generic forms: fixed-width values and generated text.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, PrimitiveBuilder, StringBuilder};
use arrow::datatypes::DataType;
use std::sync::Arc;

use crate::error::sqlstate;
use crate::stores::builders::Refill;

/// A value that cannot be given as the column's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    /// SQLSTATE of the failure.
    pub sqlstate: &'static str,
    /// The broken rule as a clause: `is not valid UTF-8`.
    pub rule: String,
}

impl Broken {
    /// Bytes that are not the binary form of the type: the column is no longer what was discovered, or the store is not
    /// PostgreSQL.
    #[cold]
    pub(super) fn malformed() -> Self {
        Self::new(sqlstate::FDW_ERROR, "is not in the binary form of its type")
    }

    /// A rule with its SQLSTATE.
    pub(super) fn new(sqlstate: &'static str, rule: impl Into<String>) -> Self {
        Self { sqlstate, rule: rule.into() }
    }
}

/// Turns the binary values of one column into an Arrow array.
pub(crate) trait Decoder: Send {
    /// Appends a value in its binary form.
    ///
    /// # Errors
    /// The rule that the value breaks, boxed so that values that break none are told of in a register; the array under
    /// construction is then of no use.
    fn value(&mut self, bytes: &[u8]) -> Result<(), Box<Broken>>;

    /// Appends a NULL.
    fn null(&mut self);

    /// Takes the array built so far and starts a new one.
    ///
    /// # Errors
    /// A rule that is looked at for all values together.
    fn finish(&mut self) -> Result<ArrayRef, Box<Broken>>;
}

/// Exactly `N` bytes.
#[inline]
pub(super) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Broken> {
    bytes.try_into().map_err(|_cause| Broken::malformed())
}

/// Fixed-width values read by `F`.
pub(super) struct Primitive<T: ArrowPrimitiveType, F> {
    builder: PrimitiveBuilder<T>,
    data_type: DataType,
    rows: usize,
    read: F,
}

impl<T, F> Primitive<T, F>
where
    T: ArrowPrimitiveType,
    F: Fn(&[u8]) -> Result<T::Native, Broken> + Send + 'static,
{
    /// A decoder into arrays of `data_type`, which differs from `T`'s own for time zones and decimals.
    pub(super) fn boxed(data_type: DataType, rows: usize, read: F) -> Box<dyn Decoder> {
        Box::new(Self { builder: PrimitiveBuilder::with_capacity(rows), data_type, rows, read })
    }
}

impl<T, F> Decoder for Primitive<T, F>
where
    T: ArrowPrimitiveType,
    F: Fn(&[u8]) -> Result<T::Native, Broken> + Send,
{
    fn value(&mut self, bytes: &[u8]) -> Result<(), Box<Broken>> {
        self.builder.append_value((self.read)(bytes)?);
        Ok(())
    }

    fn null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef, Box<Broken>> {
        let array: PrimitiveArray<T> = std::mem::replace(&mut self.builder, PrimitiveBuilder::with_capacity(self.rows)).finish();
        if array.data_type() == &self.data_type {
            return Ok(Arc::new(array));
        }
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }
}

/// Text that `F` writes from the binary form.
pub(super) struct Written<F> {
    builder: StringBuilder,
    scratch: String,
    write: F,
}

impl<F> Written<F>
where
    F: Fn(&[u8], &mut String) -> Result<(), Broken> + Send + 'static,
{
    pub(super) fn boxed(rows: usize, write: F) -> Box<dyn Decoder> {
        Box::new(Self { builder: StringBuilder::with_capacity(rows, rows * 16), scratch: String::new(), write })
    }
}

impl<F> Decoder for Written<F>
where
    F: Fn(&[u8], &mut String) -> Result<(), Broken> + Send,
{
    fn value(&mut self, bytes: &[u8]) -> Result<(), Box<Broken>> {
        self.scratch.clear();
        (self.write)(bytes, &mut self.scratch)?;
        self.builder.append_value(&self.scratch);
        Ok(())
    }

    fn null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef, Box<Broken>> {
        Ok(self.builder.take())
    }
}
