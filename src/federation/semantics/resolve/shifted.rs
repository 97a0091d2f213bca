//! Arguments of window functions: the types that PostgreSQL gives them, and what counts of rows mean that are NULL or no counts.
//!
//! The engine takes an offset of NULL for 1, reads a default as the type of the value, and counts from the end for what is below zero.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::metadata::FieldMetadata;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, lit};
use datafusion::scalar::ScalarValue;

use crate::error::Diagnosis;
use crate::pgtype::PgType;

use super::super::constants;
use super::super::failing;
use super::super::functions::missing_function;
use super::super::overload::common_type;
use super::super::typed::Typed;
use super::array::undetermined;
use super::convert::{Asked, Operand, typed_null};
use super::{Resolver, Scope};

/// What the arguments of a window function have become.
pub(super) enum Arguments {
    /// These.
    Of(Vec<Expr>),
    /// The function is this for every row: NULL, or what fails.
    Same(Expr),
}

/// A count that no row has a part in; others count as valid.
enum Count {
    Valid,
    Null,
    /// Below one.
    Invalid,
}

impl Resolver<'_> {
    pub(super) fn window_arguments(&self, name: &str, arguments: Vec<Expr>, scope: &Scope<'_>) -> Result<Arguments> {
        let operands = arguments.into_iter().map(|argument| self.operand(argument, scope)).collect::<Result<Vec<_>>>()?;
        let types: Vec<Typed> = operands.iter().map(|operand| operand.typed.clone()).collect();
        let missing = || missing_function(name, &types);
        let mut operands = operands.into_iter();
        let (first, second, third) = (operands.next(), operands.next(), operands.next());
        if operands.next().is_some() {
            return Err(missing().into());
        }
        match (name, first, second, third) {
            ("lag" | "lead", Some(value), offset, default) => {
                let offset = offset.map(|offset| self.row_count(offset, &missing, scope)).transpose()?;
                let (value, default) = self.with_default(value, default, &missing, scope)?;
                if offset.as_ref().is_some_and(|offset| self.constant(offset).is_some_and(|count| count.is_null())) {
                    return null_like(&value, scope).map(Arguments::Same);
                }
                Ok(Arguments::Of([Some(value), offset, default].into_iter().flatten().collect()))
            }
            ("nth_value", Some(value), Some(count), None) => {
                let value = self.known(value, scope)?;
                let count = self.row_count(count, &missing, scope)?;
                match self.count(&count) {
                    Count::Null => null_like(&value, scope).map(|null| Arguments::Of(vec![null, lit(1_i64)])),
                    Count::Invalid => {
                        let (typed, carrier) = (scope.type_of(&value)?, scope.carrier_of(&value)?);
                        Ok(Arguments::Of(vec![failing::nth_value(value, typed, carrier), lit(1_i64)]))
                    }
                    Count::Valid => Ok(Arguments::Of(vec![value, count])),
                }
            }
            ("ntile", Some(count), None, None) => {
                let count = self.row_count(count, &missing, scope)?;
                let null = typed_literal(&PgType::INT4.into(), &DataType::Int32)?;
                Ok(match self.count(&count) {
                    Count::Null => Arguments::Same(null),
                    Count::Invalid => Arguments::Same(failing::ntile(null, PgType::INT4.into(), DataType::Int32)),
                    Count::Valid => Arguments::Of(vec![count]),
                })
            }
            ("first_value" | "last_value", Some(value), None, None) => Ok(Arguments::Of(vec![self.known(value, scope)?])),
            ("lag" | "lead" | "nth_value" | "ntile" | "first_value" | "last_value", ..) => Err(missing().into()),
            (_, first, second, third) => {
                Ok(Arguments::Of([first, second, third].into_iter().flatten().map(|operand| operand.expr).collect()))
            }
        }
    }

    /// A value whose type is that of the call, which a literal does not tell. What else has no type is text.
    fn known(&self, value: Operand, scope: &Scope<'_>) -> Result<Expr> {
        if value.typed.is_unknown() && matches!(value.expr, Expr::Literal(..) | Expr::Placeholder(_)) {
            return Err(undetermined().into());
        }
        let typed = if value.typed.is_unknown() { PgType::TEXT.into() } else { value.typed.clone() };
        self.convert(value, &typed, Asked::Implicitly, scope)
    }

    /// A value and what stands for it where there is no row, in one type and carrier.
    fn with_default(
        &self,
        value: Operand,
        default: Option<Operand>,
        missing: &dyn Fn() -> Diagnosis,
        scope: &Scope<'_>,
    ) -> Result<(Expr, Option<Expr>)> {
        let Some(default) = default else { return Ok((self.known(value, scope)?, None)) };
        if common_type(&[value.typed.clone(), default.typed.clone()]).is_err() {
            return Err(missing().into());
        }
        let (mut exprs, _) = self.unify(vec![value, default], "the value and the default of a window function", scope)?;
        let default = exprs.pop();
        exprs.pop().map(|value| (value, default)).ok_or_else(|| missing().into())
    }

    /// A count of rows: an integer, which the engine takes in eight bytes.
    fn row_count(&self, count: Operand, missing: &dyn Fn() -> Diagnosis, scope: &Scope<'_>) -> Result<Expr> {
        if !count.typed.is_unknown() && !matches!(count.typed.pg_type.oid, 21 | 23) {
            return Err(missing().into());
        }
        let count = self.convert(count, &PgType::INT4.into(), Asked::Implicitly, scope)?;
        self.convert(self.operand(count, scope)?, &PgType::INT8.into(), Asked::Implicitly, scope)
    }

    /// What a count is, as far as it is known before there are rows.
    fn count(&self, count: &Expr) -> Count {
        match self.constant(count) {
            Some(ScalarValue::Int64(Some(count))) if count <= 0 => Count::Invalid,
            Some(value) if value.is_null() => Count::Null,
            _ => Count::Valid,
        }
    }

    /// The value of a count that no row has a part in. What fails is found elsewhere.
    fn constant(&self, count: &Expr) -> Option<ScalarValue> {
        match count {
            Expr::Literal(value, _) => Some(value.clone()),
            count if count.any_column_refs() || count.contains_outer() || count.is_volatile() => None,
            count => constants::value(count, &Arc::new(self.config.clone())).ok().flatten(),
        }
    }
}

/// NULL of what an expression is.
fn null_like(value: &Expr, scope: &Scope<'_>) -> Result<Expr> {
    typed_literal(&scope.type_of(value)?, &scope.carrier_of(value)?)
}

fn typed_literal(typed: &Typed, carrier: &DataType) -> Result<Expr> {
    let field = typed.field("", carrier.clone());
    Ok(Expr::Literal(typed_null(carrier)?, Some(FieldMetadata::from(field.as_ref()))))
}
