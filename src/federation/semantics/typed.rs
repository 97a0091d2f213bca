//! The type of an expression, and the scalar function whose argument and result types are already decided.
//!
//! Which function and which types is decided in `resolve`; what a function computes lives in `functions` and `cast`.

use std::any::Any;
use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::error::Diagnosis;
use crate::pgtype::{ENUM_KEY, PgField, PgType};

use super::datum::{Column, Datum, Writer, first_scalar};
use super::document;
use super::settings::SessionValues;

/// What an expression is to a client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Typed {
    /// The Postgres type.
    pub pg_type: PgType,
    /// The labels of an enum in order, as the JSON text of `ENUM_KEY`.
    pub labels: Option<Arc<str>>,
}

impl From<PgType> for Typed {
    fn from(pg_type: PgType) -> Self {
        Self { pg_type, labels: None }
    }
}

impl Typed {
    /// The type a field says it has.
    pub(in super::super) fn of_field(field: &Field) -> Self {
        Self { pg_type: field.pg_type(), labels: field.metadata().get(ENUM_KEY).map(|text| Arc::from(text.as_str())) }
    }

    /// The same type without its modifier, as the result of a function has it.
    pub(super) fn without_modifier(&self) -> Self {
        Self { pg_type: PgType::with_typmod(self.pg_type.oid, -1), labels: self.labels.clone() }
    }

    /// A nullable field of this type over the given carrier.
    pub(in super::super) fn field(&self, name: &str, data_type: DataType) -> FieldRef {
        let mut field = Field::new(name, data_type, true).with_pg_type(self.pg_type);
        if let Some(labels) = &self.labels {
            let mut metadata = field.metadata().clone();
            metadata.insert(ENUM_KEY.to_owned(), labels.to_string());
            field = field.with_metadata(metadata);
        }
        Arc::new(field)
    }

    /// Whether this is a type the analysis still has to find.
    pub(super) fn is_unknown(&self) -> bool {
        self.pg_type.oid == PgType::UNKNOWN.oid
    }
}

/// What a kernel may look at besides its arguments.
pub(super) struct Call<'a> {
    /// Types of the arguments as they were resolved.
    pub(super) arguments: &'a [Typed],
    /// The result type.
    pub(super) returns: &'a Typed,
    /// Settings of the session.
    pub(super) session: SessionValues,
    /// What the last rows' pattern or template was made into.
    pub(super) kept: Kept,
}

/// The last thing made of a text, and that text: patterns and templates are mostly the same for all rows of a batch.
#[derive(Default)]
pub(super) struct Kept(RefCell<Option<KeptThing>>);

struct KeptThing {
    text: String,
    options: String,
    made: Rc<dyn Any>,
}

impl Kept {
    /// What `make` makes of a text under some options, made anew only when they differ from the last ones.
    pub(super) fn of<T: 'static>(
        &self,
        (text, options): (&str, &str),
        make: impl FnOnce() -> Result<T, Diagnosis>,
    ) -> Result<Rc<T>, Diagnosis> {
        let mut last = self.0.borrow_mut();
        if let Some(thing) = last.as_ref().filter(|thing| thing.text == text && thing.options == options)
            && let Ok(made) = Rc::clone(&thing.made).downcast::<T>()
        {
            return Ok(made);
        }
        let made = Rc::new(make()?);
        let kept: Rc<dyn Any> = Rc::<T>::clone(&made);
        *last = Some(KeptThing { text: text.to_owned(), options: options.to_owned(), made: kept });
        Ok(made)
    }
}

/// Computes one row. NULL arguments never reach a strict function.
pub(super) type RowKernel = for<'a> fn(&Call<'_>, &[Datum<'a>]) -> Result<Datum<'a>, Diagnosis>;
/// Computes a batch at once.
pub(super) type BatchKernel = fn(&Call<'_>, &[ColumnarValue], usize) -> Result<ColumnarValue>;

/// How a function is computed.
#[derive(Clone, Copy)]
pub(super) enum Kernel {
    /// Row by row; NULL when an argument is NULL.
    Strict(RowKernel),
    /// Row by row; sees NULLs.
    Lenient(RowKernel),
    /// A batch at once.
    Batch(BatchKernel),
}

/// A scalar function with decided types.
#[derive(Clone)]
pub(in super::super) struct TypedFunction {
    name: &'static str,
    arguments: Vec<Typed>,
    returns: Typed,
    carrier: DataType,
    kernel: Kernel,
    signature: Signature,
}

impl TypedFunction {
    pub(super) fn new(name: &'static str, arguments: Vec<Typed>, returns: Typed, kernel: Kernel) -> Self {
        let carrier = returns.pg_type.carrier();
        Self { name, arguments, returns, carrier, kernel, signature: Signature::user_defined(Volatility::Immutable) }
    }

    /// The same function over another carrier of its result type.
    pub(super) fn with_carrier(mut self, carrier: DataType) -> Self {
        self.carrier = carrier;
        self
    }

    pub(super) fn with_volatility(mut self, volatility: Volatility) -> Self {
        self.signature = Signature::user_defined(volatility);
        self
    }

    pub(super) fn call(self, arguments: Vec<Expr>) -> Expr {
        Expr::ScalarFunction(datafusion::logical_expr::expr::ScalarFunction::new_udf(
            Arc::new(ScalarUDF::new_from_impl(self)),
            arguments,
        ))
    }

    pub(in super::super) fn returns(&self) -> &Typed {
        &self.returns
    }

    /// The types the arguments are read as.
    pub(in super::super) fn arguments(&self) -> &[Typed] {
        &self.arguments
    }

    /// The function that an expression calls, when it is a decided one.
    pub(in super::super) fn called_by(expr: &Expr) -> Option<&Self> {
        match expr {
            Expr::ScalarFunction(call) => call.func.inner().downcast_ref::<Self>(),
            _ => None,
        }
    }

    /// The Arrow type of the result.
    pub(super) fn carrier(&self) -> &DataType {
        &self.carrier
    }

    /// The value of a call whose arguments are constant where they are given; `None` when it takes a row to know it.
    pub(super) fn constant(&self, arguments: &[Option<ScalarValue>], config: &ConfigOptions) -> Result<Option<ScalarValue>> {
        if self.signature.volatility != Volatility::Immutable {
            return Ok(None);
        }
        if matches!(self.kernel, Kernel::Strict(_)) && arguments.iter().flatten().any(ScalarValue::is_null) {
            return ScalarValue::try_from(&self.carrier).map(Some);
        }
        let known: Option<Vec<ScalarValue>> = arguments.iter().cloned().collect();
        known.map(|arguments| self.evaluate(&arguments, config)).transpose()
    }

    /// The field of the result.
    pub(super) fn field(&self) -> FieldRef {
        self.returns.field(self.name, self.carrier.clone())
    }

    /// Computes at planning time, for literals.
    pub(super) fn evaluate(&self, arguments: &[ScalarValue], config: &ConfigOptions) -> Result<ScalarValue> {
        let values: Vec<ColumnarValue> = arguments.iter().cloned().map(ColumnarValue::Scalar).collect();
        match self.run(&values, 1, config)? {
            ColumnarValue::Scalar(value) => Ok(value),
            ColumnarValue::Array(array) => first_scalar(&array),
        }
    }

    fn run(&self, values: &[ColumnarValue], rows: usize, config: &ConfigOptions) -> Result<ColumnarValue> {
        let call =
            Call { arguments: &self.arguments, returns: &self.returns, session: SessionValues::of(config), kept: Kept::default() };
        match self.kernel {
            Kernel::Batch(kernel) => kernel(&call, values, rows),
            Kernel::Strict(kernel) => self.run_rows(&call, kernel, true, values, rows),
            Kernel::Lenient(kernel) => self.run_rows(&call, kernel, false, values, rows),
        }
    }

    fn run_rows(
        &self,
        call: &Call<'_>,
        kernel: RowKernel,
        strict: bool,
        values: &[ColumnarValue],
        rows: usize,
    ) -> Result<ColumnarValue> {
        let volatile = self.signature.volatility == Volatility::Volatile;
        let constant = !volatile && values.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { rows };
        let arrays = values
            .iter()
            .enumerate()
            .map(|(index, value)| {
                let (array, single) = match value {
                    ColumnarValue::Array(array) => (Arc::clone(array), false),
                    ColumnarValue::Scalar(scalar) => (scalar.to_array_of_size(1)?, true),
                };
                Ok((document::plain(array, self.arguments.get(index), &call.session.display)?, single))
            })
            .collect::<Result<Vec<(ArrayRef, bool)>>>()?;
        let columns = arrays
            .iter()
            .enumerate()
            .map(|(index, (array, single))| Ok((Column::new(array, self.arguments.get(index))?, *single)))
            .collect::<Result<Vec<_>>>()?;
        let mut writer = Writer::new(&self.carrier, rows)?;
        let mut row_values: Vec<Datum<'_>> = Vec::with_capacity(columns.len());
        for row in 0..rows {
            row_values.clear();
            row_values.extend(columns.iter().map(|(column, single)| column.get(if *single { 0 } else { row })));
            if strict && row_values.iter().any(Datum::is_null) {
                writer.push(Datum::Null)?;
            } else {
                writer.push(kernel(call, &row_values)?)?;
            }
        }
        let array = writer.finish()?;
        Ok(if constant { ColumnarValue::Scalar(first_scalar(&array)?) } else { ColumnarValue::Array(array) })
    }
}

impl std::fmt::Debug for TypedFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TypedFunction").field("name", &self.name).field("returns", &self.returns).finish_non_exhaustive()
    }
}

// A kernel follows from name and types, so it takes no part in identity.
impl PartialEq for TypedFunction {
    fn eq(&self, other: &Self) -> bool {
        (self.name, &self.arguments, &self.returns, &self.carrier) == (other.name, &other.arguments, &other.returns, &other.carrier)
    }
}

impl Eq for TypedFunction {}

impl Hash for TypedFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.name, &self.arguments, &self.returns, &self.carrier).hash(state);
    }
}

impl ScalarUDFImpl for TypedFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.carrier.clone())
    }

    fn return_field_from_args(&self, _arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(self.field())
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arguments.to_vec())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.run(&arguments.args, arguments.number_rows, &arguments.config_options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_made_once_for_equal_texts() {
        let kept = Kept::default();
        let made = std::cell::Cell::new(0);
        let length = |text: &str, options: &str| {
            let count = || {
                made.set(made.get() + 1);
                Ok(text.len() + options.len())
            };
            *kept.of((text, options), count).unwrap()
        };
        assert_eq!([length("ab", ""), length("ab", ""), length("ab", "i"), length("ab", "i"), length("c", "")], [2, 2, 3, 3, 1]);
        assert_eq!(made.get(), 3);
        let other: Rc<String> = kept.of(("c", ""), || Ok("another type".to_owned())).unwrap();
        assert_eq!(*other, "another type");
    }
}
