//! Scalar functions by the names PostgreSQL gives them, one table of overloads per family.
//!
//! A name registers one [`Named`] function with the engine; `resolve` replaces each call by the overload it means.
//!
//! **Invariant:** a [`Named`] function never runs: it only holds a call until its argument types are known.

mod array;
mod datetime;
mod degrees;
pub(super) mod json;
mod letters;
mod like;
mod math;
mod md5;
mod network;
mod pattern;
mod powers;
mod quantified;
mod quote;
mod regexp;
mod sets;
mod template;
mod text;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::{BUILTINS, PgType, TYPE_KEY, builtin_by_name};

use super::datum::Datum;
use super::key::encode;
use super::operators;
use super::overload::{Overload, common_type, select};
use super::typed::{Call, Kernel, RowKernel, Typed, TypedFunction};

/// Rows by name.
static TABLE: LazyLock<BTreeMap<&'static str, Vec<&'static Overload>>> = LazyLock::new(|| {
    let mut table: BTreeMap<&'static str, Vec<&'static Overload>> = BTreeMap::new();
    let families = [
        math::ROWS,
        degrees::ROWS,
        text::ROWS,
        regexp::ROWS,
        datetime::ROWS,
        template::ROWS,
        network::ROWS,
        json::ROWS,
        json::MAKERS,
        array::ROWS,
        sets::ROWS,
    ];
    for family in families {
        for row in family {
            table.entry(row.name).or_default().push(row);
        }
    }
    table
});

/// Names of the cast functions, one per type and one per array type.
static CASTS: LazyLock<Vec<String>> =
    LazyLock::new(|| BUILTINS.iter().flat_map(|row| [format!("pg_cast_{}", row.name), format!("pg_cast__{}", row.name)]).collect());

/// All scalar functions to register, also those that stand for operators and casts.
pub fn scalars() -> Vec<Arc<ScalarUDF>> {
    let operators = operators::names();
    TABLE
        .keys()
        .copied()
        .chain(operators)
        .chain(CHOICES.iter().copied())
        .chain(["pg_negate", "pg_having", "pg_merged", "pg_merged_first", "pg_evaluated"])
        .chain(quantified::names())
        .chain(array::names())
        .chain(CASTS.iter().map(String::as_str))
        .map(|name| Arc::new(ScalarUDF::new_from_impl(Named::new(name))))
        .collect()
}

/// Whether a folded name is that of a function which passes over the syntax tree write and clients cannot call.
pub fn is_internal(name: &str) -> bool {
    let prefixes = [sets::PREFIX, "operator ", "pg_cast_", "pg_json_", "pg_jsonb_"];
    prefixes.iter().any(|prefix| name.starts_with(prefix))
        || matches!(name, "pg_negate" | "pg_having" | "pg_merged" | "pg_merged_first" | "pg_evaluated")
        || matches!(name, "pg_bitnot" | "pg_ordinals" | "pg_array_ordinals" | "pg_oid_regclass")
}

/// The planner's name of a set-returning function, or `None` when no function of that name returns a set.
pub fn set_function(name: &str) -> Option<&'static str> {
    TABLE.keys().copied().find(|known| known.strip_prefix(sets::PREFIX) == Some(name))
}

/// Whether the planner's name is that of a set-returning function.
pub(in crate::federation) fn returns_set(name: &str) -> bool {
    name.starts_with(sets::PREFIX)
}

/// The list that carries all elements a set-returning function gives for one row.
pub(super) fn set_carrier(element: &Typed) -> DataType {
    DataType::List(Arc::new(Field::new("item", element.pg_type.carrier(), true)))
}

/// The overloads of a name.
pub(super) fn overloads(name: &str) -> &'static [&'static Overload] {
    TABLE.get(name).map_or(&[], Vec::as_slice)
}

pub(super) use quantified::{Quantified, quantified};

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
        let is_condition = self.name == "pg_having" || quantified(self.name).is_some();
        if is_condition || operators::comparison_of_name(self.name).is_some() {
            return PgType::BOOL.into();
        }
        if let Some(function) = array_function(self.name) {
            return function.guess(arguments);
        }
        if CHOICES.contains(&self.name) || matches!(self.name, "pg_merged" | "pg_merged_first") {
            return common_type(arguments).unwrap_or_else(|_| PgType::TEXT.into());
        }
        if self.name == "pg_evaluated" {
            return arguments.first().cloned().unwrap_or_else(|| PgType::TEXT.into());
        }
        if self.name == "pg_negate" {
            return arguments.first().map_or(PgType::TEXT.into(), Typed::without_modifier);
        }
        if let Some(target) = cast_target(self.name) {
            return target.into();
        }
        let rows = overloads(self.name);
        // Some expressions tell no type before resolution, and what is to be unnested must be seen to be a list.
        let list = || rows.first().copied().filter(|row| row.returns.element().is_some());
        select(rows, arguments).or_else(list).map_or(PgType::TEXT.into(), |row| row.returns.into())
    }

    fn carrier(&self, returns: &Typed) -> DataType {
        if returns_set(self.name) { set_carrier(returns) } else { returns.pg_type.carrier() }
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
        Ok(self.carrier(&self.guess(&types)))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let typed = self.guess(&argument_types(&arguments));
        Ok(typed.field(self.name, self.carrier(&typed)))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arguments.to_vec())
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Internal(format!("call of {} was never resolved", self.name)))
    }
}

/// A function that does not exist: planning with it tells the types that it is called with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Missing {
    name: String,
    signature: Signature,
}

impl Missing {
    /// The function that is called so.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), signature: Signature::user_defined(Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for Missing {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let types: Vec<Typed> = arguments.iter().map(|data_type| PgType::from_arrow(data_type).into()).collect();
        Err(missing_function(&self.name, &types).into())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Err(missing_function(&self.name, &argument_types(&arguments)).into())
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arguments.to_vec())
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(missing_function(&self.name, &[]).into())
    }
}

fn argument_types(arguments: &ReturnFieldArgs<'_>) -> Vec<Typed> {
    let fields = arguments.arg_fields.iter().zip(arguments.scalar_arguments);
    let typed =
        fields.map(|(field, literal)| if is_undecided(field, *literal) { PgType::UNKNOWN.into() } else { Typed::of_field(field) });
    typed.collect()
}

fn is_undecided(field: &Field, literal: Option<&ScalarValue>) -> bool {
    let text = matches!(literal, Some(ScalarValue::Utf8(_) | ScalarValue::Null));
    text && !field.metadata().contains_key(TYPE_KEY) || *field.data_type() == DataType::Null
}

/// Functions that give one of their arguments. The engine would find their common type itself, and differently.
const CHOICES: &[&str] = &["coalesce", "greatest", "least"];

/// The engine's implementation of a choice among arguments of one type.
pub(super) fn engine_choice(name: &str) -> Option<Arc<ScalarUDF>> {
    Some(match name {
        "coalesce" => datafusion::functions::core::coalesce(),
        "greatest" => datafusion::functions::core::greatest(),
        "least" => datafusion::functions::core::least(),
        _ => return None,
    })
}

/// The type a `pg_cast_<typname>` function casts to.
pub(super) fn cast_target(name: &str) -> Option<PgType> {
    let name = name.strip_prefix("pg_cast_")?;
    match name.strip_prefix('_') {
        Some(element) => PgType::with_typmod(builtin_by_name(element)?.oid, -1).array(),
        None => Some(PgType::with_typmod(builtin_by_name(name)?.oid, -1)),
    }
}

/// A cast's target with the modifiers written after the value: `pg_cast_varchar(x, 10)`, `pg_cast_numeric(x, 10, 2)`.
pub(super) fn with_modifier(target: PgType, parts: &[Expr]) -> PgType {
    let number = |index: usize| match parts.get(index) {
        Some(Expr::Literal(value, _)) => value.cast_to(&DataType::Int64).ok().and_then(|value| match value {
            ScalarValue::Int64(Some(value)) => i32::try_from(value).ok(),
            _ => None,
        }),
        Some(Expr::Cast(cast)) => match cast.expr.as_ref() {
            Expr::Literal(value, _) => value.cast_to(&DataType::Int64).ok().and_then(|value| match value {
                ScalarValue::Int64(Some(value)) => i32::try_from(value).ok(),
                _ => None,
            }),
            _ => None,
        },
        _ => None,
    };
    let Some(first) = number(0) else { return target };
    match target.oid {
        1042 | 1043 => PgType::with_typmod(target.oid, first.saturating_add(4)),
        1700 => match (u16::try_from(first), i16::try_from(number(1).unwrap_or(0))) {
            (Ok(precision), Ok(scale)) => PgType::numeric(precision, scale),
            _ => target,
        },
        _ => PgType::with_typmod(target.oid, first),
    }
}

/// 42883 as PostgreSQL words it for functions.
pub(super) fn missing_function(name: &str, arguments: &[Typed]) -> Diagnosis {
    let types: Vec<String> = arguments.iter().map(operators::plain).collect();
    let name = name.strip_prefix(sets::PREFIX).unwrap_or(name);
    Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, format!("function {name}({}) does not exist", types.join(", ")))
        .with_hint("No function matches the given name and argument types. You might need to add explicit type casts.")
}

/// 42725 as PostgreSQL words it, for calls whose arguments tell no type.
pub(super) fn ambiguous_function(name: &str, arguments: &[Typed]) -> Diagnosis {
    let Diagnosis { message, .. } = missing_function(name, arguments);
    Diagnosis::new("42725", message.replace("does not exist", "is not unique"))
        .with_hint("Could not choose a best candidate function. You might need to add explicit type casts.")
}

/// `greatest` and `least` over values that the engine does not order rightly.
pub(super) fn extreme(name: &str, arguments: Vec<Expr>, typed: &Typed) -> Result<Expr> {
    let kernel: RowKernel = if name == "greatest" { |call, a| pick(call, a, true) } else { |call, a| pick(call, a, false) };
    let name = if name == "greatest" { "greatest" } else { "least" };
    let declared = vec![typed.clone(); arguments.len()];
    Ok(TypedFunction::new(name, declared, typed.clone(), Kernel::Lenient(kernel)).call(arguments))
}

/// `lower(expr)` over text of any kind, with its blanks.
pub(super) fn in_lower_case(expr: Expr) -> Expr {
    let kernel: RowKernel = |_, a| Ok(Datum::text(letters::lower(a[0].as_text())));
    TypedFunction::new("lower", vec![PgType::TEXT.into()], PgType::TEXT.into(), Kernel::Strict(kernel)).call(vec![expr])
}

fn pick<'a>(call: &Call<'_>, a: &[Datum<'a>], greatest: bool) -> Result<Datum<'a>, Diagnosis> {
    let mut best: Option<(Vec<u8>, &Datum<'a>)> = None;
    for value in a.iter().filter(|value| !value.is_null()) {
        let mut key = Vec::new();
        encode(call.returns, value, &mut key)?;
        if best.as_ref().is_none_or(|(found, _)| if greatest { key > *found } else { key < *found }) {
            best = Some((key, value));
        }
    }
    Ok(best.map_or(Datum::Null, |(_, value)| value.clone()))
}

pub(super) use array::{ArrayFunction, array_function, vector_element};
pub(super) use json::concat_jsonb;
pub(in super::super) use like::LIKE;
pub(super) use like::{is_whole, like};
pub(super) use regexp::is_small as is_small_pattern;
pub(super) use regexp::operator as regexp_operator;
pub(super) use sets::{SERIES, is_ambiguous};
pub(super) use text::{concat_bytes, concat_texts};
