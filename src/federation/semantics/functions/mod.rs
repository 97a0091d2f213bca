//! Scalar functions by the names PostgreSQL gives them, one table of overloads per family.
//!
//! A name registers one [`Named`] function with the engine; `resolve` replaces each call by the overload it means.
//!
//! **Invariant:** a [`Named`] function never runs: it only holds a call until its argument types are known.

mod math;
mod text;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::pgtype::{PgType, TYPE_KEY};

use super::operators;
use super::overload::{Overload, select};
use super::typed::Typed;

/// Rows by name.
static TABLE: LazyLock<BTreeMap<&'static str, Vec<&'static Overload>>> = LazyLock::new(|| {
    let mut table: BTreeMap<&'static str, Vec<&'static Overload>> = BTreeMap::new();
    for family in [math::ROWS, text::ROWS] {
        for row in family {
            table.entry(row.name).or_default().push(row);
        }
    }
    table
});

/// All scalar functions to register, also those that stand for operators and casts.
pub fn scalars() -> Vec<Arc<ScalarUDF>> {
    TABLE.keys().map(|name| Arc::new(ScalarUDF::new_from_impl(Named::new(name)))).collect()
}

/// The overloads of a name.
pub(super) fn overloads(name: &str) -> &'static [&'static Overload] {
    TABLE.get(name).map_or(&[], Vec::as_slice)
}

/// A call whose overload is not decided yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Named {
    name: &'static str,
    signature: Signature,
}

impl Named {
    pub(super) fn new(name: &'static str) -> Self {
        let volatility = overloads(name).first().map_or(Volatility::Immutable, |row| row.volatility);
        Self { name, signature: Signature::user_defined(volatility) }
    }

    /// The result type as far as the arguments tell; resolution reports what does not fit.
    pub(super) fn guess(&self, arguments: &[Typed]) -> Typed {
        if let (Some(operator), [left, right]) = (operators::Operator::of_name(self.name), arguments) {
            return operators::guess(operator, left, right);
        }
        select(overloads(self.name), arguments).map_or(PgType::TEXT.into(), |row| row.result(arguments))
    }
}

impl ScalarUDFImpl for Named {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let types: Vec<Typed> = arguments.iter().map(|data_type| PgType::from_arrow(data_type).into()).collect();
        Ok(self.guess(&types).pg_type.carrier())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<Typed> = arguments
            .arg_fields
            .iter()
            .zip(arguments.scalar_arguments)
            .map(|(field, literal)| if is_undecided(field, *literal) { PgType::UNKNOWN.into() } else { Typed::of_field(field) })
            .collect();
        let typed = self.guess(&types);
        Ok(typed.field(self.name, typed.pg_type.carrier()))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arguments.to_vec())
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Internal(format!("call of {} was never resolved", self.name)))
    }
}

fn is_undecided(field: &Field, literal: Option<&ScalarValue>) -> bool {
    let text = matches!(literal, Some(ScalarValue::Utf8(_) | ScalarValue::Null));
    text && !field.metadata().contains_key(TYPE_KEY) || *field.data_type() == DataType::Null
}
