//! `x op ANY (array)` and `x op ALL (array)`.
//!
//! Over an array that is written out they are the comparisons with its elements. Over another array `=` is the engine's own
//! where the carriers tell values apart as PostgreSQL does; all else compares typed keys.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::functions_nested::array_has::array_has_udf;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, Operator};

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

use super::super::cast::is_object_id;
use super::super::comparands::joined;
use super::super::functions::Quantified;
use super::super::operators::{comparable, missing};
use super::super::overload::{is_string, numeric_rank};
use super::super::typed::{Kernel, Typed, TypedFunction};
use super::super::{floats, key};
use super::convert::{Asked, Operand, common_string};
use super::{Resolver, Scope, lazy};

/// Elements of an array that are compared one by one.
const WRITTEN_OUT_MAX: usize = 1_000;

impl Resolver<'_> {
    pub(super) fn quantified(&self, how: Quantified, item: Expr, array: Expr, scope: &Scope<'_>) -> Result<Expr> {
        let (item, mut array) = (self.operand(item, scope)?, self.operand(array, scope)?);
        if array.typed.is_unknown() {
            let of = if item.typed.is_unknown() { PgType::TEXT.into() } else { item.typed.without_modifier() };
            if let Some(pg_type) = of.pg_type.array() {
                let typed = Typed { pg_type, labels: of.labels };
                array = Operand { expr: self.convert(array, &typed, Asked::Implicitly, scope)?, typed };
            }
        }
        let Some(element) = array.typed.pg_type.element() else {
            return Err(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, "op ANY/ALL (array) requires array on right side").into());
        };
        let element = Typed { pg_type: element, labels: array.typed.labels.clone() };
        if let Expr::ScalarFunction(call) = &array.expr
            && call.func.name() == "make_array"
            && (1..=WRITTEN_OUT_MAX).contains(&call.args.len())
            && lazy::is_copied(&item.expr)
        {
            let items = call.args.iter().map(|expr| Ok(Operand { expr: expr.clone(), typed: scope.type_of(expr)? }));
            let items = items.collect::<Result<Vec<_>>>()?;
            // Elements that are arrays themselves stand for their own elements.
            if items.iter().all(|part| part.typed.pg_type.element().is_none()) {
                return self.written_out(how, &item, items, scope);
            }
        }
        self.by_keys(how, item, array, &element, scope)
    }

    fn written_out(&self, how: Quantified, item: &Operand, items: Vec<Operand>, scope: &Scope<'_>) -> Result<Expr> {
        match (how.is_all, how.sign) {
            (false, "=") => return self.one_of(item, items, false, scope),
            (true, "<>") => return self.one_of(item, items, true, scope),
            _ => {}
        }
        let mut parts = Vec::with_capacity(items.len());
        for other in items {
            let (left, right) = self.comparison(how.sign, item.clone(), other, scope)?;
            parts.push(datafusion::logical_expr::binary_expr(left, how.operator, right));
        }
        Ok(joined(parts, if how.is_all { Operator::And } else { Operator::Or }))
    }

    fn by_keys(&self, how: Quantified, item: Operand, array: Operand, element: &Typed, scope: &Scope<'_>) -> Result<Expr> {
        let item = if item.typed.is_unknown() {
            let typed = Typed { labels: element.labels.clone(), ..element.without_modifier() };
            Operand { expr: self.convert(item, &typed, Asked::Implicitly, scope)?, typed }
        } else {
            item
        };
        let (low, high) = (item.typed.pg_type, element.pg_type);
        if !comparable(&item.typed, element) || !key::has_equality(low) || !key::has_equality(high) {
            return Err(missing(how.sign, &item.typed, element).into());
        }
        let wanted = match (numeric_rank(low), numeric_rank(high)) {
            (Some(left), Some(right)) if left.max(right) >= 4 => Some(PgType::FLOAT8),
            (Some(left), Some(right)) if left.max(right) == 3 => Some(PgType::NUMERIC),
            (Some(_), Some(_)) => None,
            _ if is_object_id(low) != is_object_id(high) => Some(PgType::OID),
            _ if low.oid == high.oid => None,
            _ if is_string(low) && is_string(high) => {
                (low.oid == PgType::BPCHAR.oid || high.oid == PgType::BPCHAR.oid).then(|| common_string(low, high))
            }
            _ => match (low.oid, high.oid) {
                (1184, _) | (_, 1184) => Some(PgType::TIMESTAMPTZ),
                (1114, _) | (_, 1114) => Some(PgType::TIMESTAMP),
                (1266, _) | (_, 1266) => Some(PgType::TIMETZ),
                (1186, _) | (_, 1186) => Some(PgType::INTERVAL),
                _ => None,
            },
        };
        let settle = |operand: Operand, to: Option<PgType>| -> Result<Operand> {
            let Some(to) = to.filter(|to| to.oid != operand.typed.pg_type.oid) else { return Ok(operand) };
            Ok(Operand { expr: self.convert(operand, &to.into(), Asked::Implicitly, scope)?, typed: to.into() })
        };
        let (item, array) = (settle(item, wanted)?, settle(array, wanted.and_then(PgType::array))?);
        // The engine's function takes an element that is NULL for an unlike one, so only what becomes a list is left to it.
        let settled = array.typed.pg_type.element().map_or_else(|| element.clone(), |pg_type| Typed { pg_type, ..element.clone() });
        let is_constant = !array.expr.any_column_refs() && !array.expr.contains_outer() && !array.expr.is_volatile();
        if how.is_any_equal()
            && is_constant
            && !is_keyed(&item.typed, &item.expr, scope)?
            && !is_keyed(&settled, &array.expr, scope)?
            && (item.typed.pg_type.oid != PgType::NUMERIC.oid || is_list_of(&array.expr, &item.expr, scope)?)
        {
            return membership(item, array, scope);
        }
        // A type whose order is not built is refused here.
        key::function(&item.typed)?;
        let labels = compared_labels(how, &item, &array);
        let types = [&item, &array].map(|operand| Typed { labels: labels.clone(), ..operand.typed.without_modifier() }).to_vec();
        let function = TypedFunction::new(how.name, types, PgType::BOOL.into(), Kernel::Lenient(how.kernel));
        Ok(function.call(vec![item.expr, array.expr]))
    }
}

/// The labels by which an item and the elements of an array are compared: texts that need not be labels compare as texts, but
/// a constant or a parameter beside labels stands for one where the order is asked for.
fn compared_labels(how: Quantified, item: &Operand, array: &Operand) -> Option<Arc<str>> {
    let (of_item, of_array) = (&item.typed.labels, &array.typed.labels);
    if of_item == of_array {
        return of_item.clone();
    }
    let is_given = |operand: &Operand| matches!(operand.expr, Expr::Literal(..) | Expr::Placeholder(_));
    let is_ordered = !matches!(how.sign, "=" | "<>");
    if is_ordered && (is_given(item) || is_given(array)) { of_item.clone().or_else(|| of_array.clone()) } else { None }
}

/// Whether the carrier of a value, or of the elements of an array, takes for different what PostgreSQL takes for equal.
fn is_keyed(typed: &Typed, expr: &Expr, scope: &Scope<'_>) -> Result<bool> {
    let carrier = match scope.carrier_of(expr)? {
        DataType::List(element) => element.data_type().clone(),
        other => other,
    };
    let has_key = crate::pgtype::builtin(typed.pg_type.oid).is_some() || typed.labels.is_some();
    Ok(has_key && !floats::is_float(typed.pg_type) && key::is_needed_to_tell_apart(typed, &carrier))
}

/// Whether the elements of an array have the carrier of a value.
fn is_list_of(array: &Expr, item: &Expr, scope: &Scope<'_>) -> Result<bool> {
    let DataType::List(element) = scope.carrier_of(array)? else { return Ok(false) };
    Ok(*element.data_type() == scope.carrier_of(item)?)
}

/// The engine's own function, which becomes a list that stores know where the array is a parameter.
fn membership(item: Operand, array: Operand, scope: &Scope<'_>) -> Result<Expr> {
    let keyed = [array, item].map(|operand| {
        if !floats::holds_floats(operand.typed.pg_type) {
            return Ok(operand.expr);
        }
        let carrier = scope.carrier_of(&operand.expr)?;
        Ok(floats::call(operand.expr, &operand.typed, carrier))
    });
    let arguments = keyed.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(array_has_udf(), arguments)))
}
