//! Conversions of one expression to a type, and of several to a common one.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion::common::metadata::FieldMetadata;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::{Cast, Placeholder};
use datafusion::scalar::ScalarValue;

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

use super::super::cast;
use super::super::key;
use super::super::numeric::Numeric;
use super::super::operators::{comparable, missing, plain};
use super::super::overload::{common_type, is_string, numeric_rank};
use super::super::typed::{Kernel, Typed, TypedFunction};
use super::{Resolver, Scope};

/// An expression with its type.
#[derive(Clone)]
pub(super) struct Operand {
    pub(super) expr: Expr,
    pub(super) typed: Typed,
}

/// Whether a cast was written by the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Explicitly,
    Implicitly,
}

impl Resolver<'_> {
    pub(super) fn operand(&self, expr: Expr, scope: &Scope<'_>) -> Result<Operand> {
        let typed = scope.type_of(&expr)?;
        Ok(Operand { expr, typed })
    }

    /// The operand as the wanted type. Untyped literals are read, untyped parameters get the type.
    pub(super) fn convert(&self, operand: Operand, to: &Typed, asked: Asked, scope: &Scope<'_>) -> Result<Expr> {
        let Operand { expr, typed: from } = operand;
        if from.is_unknown() {
            if let Some(known) = self.settle_unknown(&expr, to, asked)? {
                return Ok(known);
            }
            let text = Operand { expr, typed: PgType::TEXT.into() };
            return if to.pg_type.oid == PgType::TEXT.oid {
                Ok(text.expr)
            } else {
                self.convert(text, to, Asked::Explicitly, scope)
            };
        }
        if from.pg_type.oid == to.pg_type.oid && (to.pg_type.typmod == -1 || to.pg_type.typmod == from.pg_type.typmod) {
            if from.labels.is_none() || to.labels.is_some() {
                return Ok(expr);
            }
            // The label as text, which has the order of text.
            let field = to.field("", scope.carrier_of(&expr)?);
            return Ok(Expr::Cast(Cast::new_from_field(Box::new(expr), field)));
        }
        let carrier = scope.carrier_of(&expr)?;
        if let Some(target) = cast::engine_cast(&from, &carrier, to) {
            let field = to.field("", target);
            return Ok(Expr::Cast(Cast::new_from_field(Box::new(expr), field)));
        }
        let function = cast::function(&from, to, asked == Asked::Explicitly)?;
        match &expr {
            // A value that does not convert fails where it is used: a CASE may never reach it.
            Expr::Literal(value, _) => match function.evaluate(std::slice::from_ref(value), self.config) {
                Ok(value) => self.literal(value, to),
                Err(_failed) => Ok(function.call(vec![expr])),
            },
            _ => Ok(function.call(vec![expr])),
        }
    }

    /// A literal marked with its type.
    fn literal(&self, value: ScalarValue, typed: &Typed) -> Result<Expr> {
        let field = typed.field("", value.data_type());
        Ok(Expr::Literal(value, Some(FieldMetadata::new_from_field(&field))))
    }

    fn settle_unknown(&self, expr: &Expr, to: &Typed, asked: Asked) -> Result<Option<Expr>> {
        match expr {
            Expr::Literal(value, _) if value.is_null() => Ok(Some(self.literal(typed_null(&to.pg_type.carrier())?, to)?)),
            Expr::Literal(ScalarValue::Utf8(Some(text)), _) => {
                let explicit = asked == Asked::Explicitly;
                let value = cast::read_literal(text, to, explicit, &self.session)?;
                Ok(Some(self.literal(value, to)?))
            }
            Expr::Placeholder(placeholder) => {
                let field = to.field("", to.pg_type.carrier());
                Ok(Some(Expr::Placeholder(Placeholder { id: placeholder.id.clone(), field: Some(field) })))
            }
            _ => Ok(None),
        }
    }

    /// All operands as their common type and carrier. `what` names the construct in the error (`CASE`, `UNION`).
    pub(super) fn unify(&self, operands: Vec<Operand>, what: &str, scope: &Scope<'_>) -> Result<(Vec<Expr>, Typed)> {
        let types: Vec<Typed> = operands.iter().map(|operand| operand.typed.clone()).collect();
        let common = common_type(&types).map_err(|mismatch| mismatch.told(what))?;
        let exprs = operands
            .into_iter()
            .map(|operand| self.convert(operand, &common, Asked::Implicitly, scope))
            .collect::<Result<Vec<_>>>()?;
        Ok((self.same_carrier(exprs, &common, scope)?, common))
    }

    /// `numeric` values may travel in several carriers: brings them to one that shows every value's own scale.
    fn same_carrier(&self, exprs: Vec<Expr>, typed: &Typed, scope: &Scope<'_>) -> Result<Vec<Expr>> {
        let carriers = exprs.iter().map(|expr| scope.carrier_of(expr)).collect::<Result<Vec<_>>>()?;
        let first = carriers.first().cloned().unwrap_or(DataType::Null);
        if carriers.iter().all(|carrier| *carrier == first) {
            return Ok(exprs);
        }
        if typed.pg_type.oid == PgType::JSON.oid {
            return exprs.into_iter().map(|expr| as_json_text(expr, scope)).collect();
        }
        if typed.pg_type.oid != PgType::NUMERIC.oid {
            return Ok(exprs);
        }
        let scales: Vec<Option<(u8, i8)>> = carriers
            .iter()
            .map(|carrier| match carrier {
                DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
                _ => None,
            })
            .collect();
        if let Some(Some((_, scale))) = scales.first()
            && scales.iter().all(|shape| shape.is_some_and(|(_, other)| other == *scale))
        {
            let precision = scales.iter().flatten().map(|(precision, _)| *precision).max().unwrap_or(38);
            let field = typed.field("", DataType::Decimal128(precision, *scale));
            return Ok(exprs
                .into_iter()
                .map(|expr| Expr::Cast(Cast::new_from_field(Box::new(expr), Arc::clone(&field))))
                .collect());
        }
        exprs.into_iter().map(|expr| widen(expr, scope)).collect()
    }

    /// Both operands of a comparison as expressions that the engine compares rightly.
    pub(super) fn comparison(&self, sign: &str, left: Operand, right: Operand, scope: &Scope<'_>) -> Result<(Expr, Expr)> {
        let known = if left.typed.is_unknown() { &right.typed } else { &left.typed };
        if !key::has_equality(known.pg_type) {
            return Err(missing(sign, &left.typed, &right.typed).into());
        }
        let (left, right) = self.decide_unknowns(left, right, scope)?;
        if !comparable(&left.typed, &right.typed) {
            return Err(missing(sign, &left.typed, &right.typed).into());
        }
        let (low, high) = (left.typed.pg_type, right.typed.pg_type);
        if let (Some(left_rank), Some(right_rank)) = (numeric_rank(low), numeric_rank(high)) {
            return self.compare_numbers((left, left_rank), (right, right_rank), scope);
        }
        if cast::is_object_id(low) != cast::is_object_id(high) {
            return Ok((self.object_id(left, scope)?, self.object_id(right, scope)?));
        }
        let wanted: Typed = match (low.oid, high.oid) {
            (a, b) if a == b => return self.keyed_pair(sign, left, right, scope),
            _ if is_string(low) && is_string(high) && low.oid != 1042 && high.oid != 1042 => return Ok((left.expr, right.expr)),
            _ if is_string(low) && is_string(high) => common_string(low, high).into(),
            (1184, _) | (_, 1184) => PgType::TIMESTAMPTZ.into(),
            (1114, _) | (_, 1114) => PgType::TIMESTAMP.into(),
            (1266, _) | (_, 1266) => PgType::TIMETZ.into(),
            (1186, _) | (_, 1186) => PgType::INTERVAL.into(),
            _ => return self.keyed_pair(sign, left, right, scope),
        };
        let left = Operand { expr: self.convert(left, &wanted, Asked::Implicitly, scope)?, typed: wanted.clone() };
        let right = Operand { expr: self.convert(right, &wanted, Asked::Implicitly, scope)?, typed: wanted };
        self.keyed_pair(sign, left, right, scope)
    }

    /// The items of an IN list: of several without columns PostgreSQL makes one array, of the common type of the subject and all of
    /// them. Of strings it decides whether blanks at the end count; everything else compares the same one by one.
    pub(super) fn listed(&self, subject: &Operand, items: Vec<Operand>, scope: &Scope<'_>) -> Result<Vec<Operand>> {
        let is_fixed = |item: &Operand| !item.expr.any_column_refs();
        let fixed = items.iter().filter(|item| is_fixed(item));
        let types: Vec<Typed> = std::iter::once(subject).chain(fixed).map(|operand| operand.typed.clone()).collect();
        if types.len() < 3 || types.iter().all(|typed| typed.pg_type.oid != PgType::BPCHAR.oid) {
            return Ok(items);
        }
        // Without a common type each is compared on its own.
        let Ok(common) = common_type(&types) else { return Ok(items) };
        let common = common.without_modifier();
        let convert = |item: Operand| -> Result<Operand> {
            if !is_fixed(&item) {
                return Ok(item);
            }
            Ok(Operand { expr: self.convert(item, &common, Asked::Implicitly, scope)?, typed: common.clone() })
        };
        items.into_iter().map(convert).collect()
    }

    /// Whether the engine, which brings all of them to one type, compares integers and decimals without loss.
    pub(super) fn compare_together<'e>(&self, exprs: impl Iterator<Item = &'e Expr>, scope: &Scope<'_>) -> Result<bool> {
        let carriers = exprs.map(|expr| scope.carrier_of(expr)).collect::<Result<Vec<_>>>()?;
        let is_decimal = |carrier: &DataType| matches!(carrier, DataType::Decimal128(..));
        Ok(!carriers.iter().any(is_decimal) || decimals_compare(&carriers))
    }

    fn decide_unknowns(&self, left: Operand, right: Operand, scope: &Scope<'_>) -> Result<(Operand, Operand)> {
        let text: Typed = PgType::TEXT.into();
        let known = |operand: Operand, typed: &Typed| -> Result<Operand> {
            Ok(Operand { expr: self.convert(operand, typed, Asked::Implicitly, scope)?, typed: typed.clone() })
        };
        Ok(match (left.typed.is_unknown(), right.typed.is_unknown()) {
            (false, false) => (left, right),
            (true, true) => (known(left, &text)?, known(right, &text)?),
            (true, false) => {
                let typed = read_beside(&right.typed);
                (known(left, &typed)?, right)
            }
            (false, true) => {
                let typed = read_beside(&left.typed);
                let right = known(right, &typed)?;
                (left, right)
            }
        })
    }

    /// An integer beside an object id is one itself. The planner reads every whole number in 64 bits; one of 32 is an `integer`.
    fn object_id(&self, mut operand: Operand, scope: &Scope<'_>) -> Result<Expr> {
        if cast::is_object_id(operand.typed.pg_type) {
            return Ok(operand.expr);
        }
        if let Expr::Literal(ScalarValue::Int64(Some(number)), None) = &operand.expr
            && i32::try_from(*number).is_ok()
        {
            operand.typed = PgType::INT4.into();
        }
        self.convert(operand, &PgType::OID.into(), Asked::Implicitly, scope)
    }

    fn compare_numbers(&self, left: (Operand, u8), right: (Operand, u8), scope: &Scope<'_>) -> Result<(Expr, Expr)> {
        let ((left, left_rank), (right, right_rank)) = (left, right);
        let rank = left_rank.max(right_rank);
        if rank >= 4 {
            if left_rank == right_rank {
                let typed = left.typed.without_modifier();
                return Ok((key::call(left.expr, &typed)?, key::call(right.expr, &typed)?));
            }
            let double: Typed = PgType::FLOAT8.into();
            let left = self.convert(left, &double, Asked::Implicitly, scope)?;
            let right = self.convert(right, &double, Asked::Implicitly, scope)?;
            return Ok((key::call(left, &double)?, key::call(right, &double)?));
        }
        let [left, right] = [left, right].map(|operand| Operand { expr: narrowed(operand.expr), typed: operand.typed });
        let carriers = [scope.carrier_of(&left.expr)?, scope.carrier_of(&right.expr)?];
        if rank == 3 && !decimals_compare(&carriers) {
            let numeric: Typed = PgType::NUMERIC.into();
            return Ok((key::call(left.expr, &numeric)?, key::call(right.expr, &numeric)?));
        }
        Ok((left.expr, right.expr))
    }

    fn keyed_pair(&self, sign: &str, left: Operand, right: Operand, scope: &Scope<'_>) -> Result<(Expr, Expr)> {
        if !key::has_equality(left.typed.pg_type) {
            return Err(missing(sign, &left.typed, &right.typed).into());
        }
        let is_label = |operand: &Operand| operand.typed.labels.is_some() && operand.typed.pg_type.element().is_none();
        let tells_apart = matches!(sign, "=" | "<>");
        // The value of a parameter came as text, and stands for a label as a literal does.
        let is_given = |operand: &Operand| matches!(operand.expr, Expr::Literal(..) | Expr::Placeholder(_));
        let is_other = left.typed.labels != right.typed.labels && !is_given(&left) && !is_given(&right);
        if (is_label(&left) || is_label(&right)) && (tells_apart || is_other) {
            // A label and a text compare as texts: to clients, both are.
            return Ok((left.expr, right.expr));
        }
        let carriers = (scope.carrier_of(&left.expr)?, scope.carrier_of(&right.expr)?);
        if key::is_needed(&left.typed, &carriers.0) || key::is_needed(&right.typed, &carriers.1) {
            let labels = left.typed.labels.clone().or(right.typed.labels.clone());
            // Arrays of labels are equal where their texts are, and a text beside them need not be a label.
            let as_texts = left.typed.labels != right.typed.labels && (tells_apart || is_other);
            let typed =
                |typed: Typed| Typed { labels: if as_texts { None } else { typed.labels.clone().or(labels.clone()) }, ..typed };
            return Ok((key::call(left.expr, &typed(left.typed))?, key::call(right.expr, &typed(right.typed))?));
        }
        Ok((left.expr, right.expr))
    }

    /// The expression as something whose engine order and equality are PostgreSQL's.
    pub(super) fn keyed(&self, expr: Expr, scope: &Scope<'_>) -> Result<Expr> {
        let typed = scope.type_of(&expr)?;
        if typed.is_unknown() {
            return Ok(expr);
        }
        if !key::has_equality(typed.pg_type) {
            return Err(Diagnosis::new(
                sqlstate::UNDEFINED_FUNCTION,
                format!("could not identify an ordering operator for type {}", plain(&typed)),
            )
            .with_hint("Use an explicit ordering operator or modify the query.")
            .into());
        }
        if key::is_needed(&typed, &scope.carrier_of(&expr)?) { key::call(expr, &typed) } else { Ok(expr) }
    }
}

/// The type in which strings of two types are compared, of which one is `character(n)`: `character varying` has no comparison of its
/// own and takes that of `character(n)`, for which blanks at the end do not count; for `text` and all others they do.
pub(super) fn common_string(low: PgType, high: PgType) -> PgType {
    match (low.oid, high.oid) {
        (1042, 1042 | 1043) | (1043, 1042) => PgType::BPCHAR,
        _ => PgType::TEXT,
    }
}

/// The type of an untyped literal that is compared with a value: its type, but an object id beside a name of the catalog,
/// whose types have no comparison of their own.
pub(super) fn read_beside(known: &Typed) -> Typed {
    match known.pg_type.oid {
        24 | 2205 | 2206 | 4089 | 4096 => PgType::OID.into(),
        _ => known.without_modifier(),
    }
}

/// Whether the engine compares these carriers of integers and decimals without loss.
fn decimals_compare(carriers: &[DataType]) -> bool {
    let shape = |carrier: &DataType| match carrier {
        DataType::Decimal128(precision, scale) => Some((i16::from(*precision), i16::from(*scale))),
        DataType::Int16 => Some((5, 0)),
        DataType::Int32 => Some((10, 0)),
        DataType::Int64 => Some((20, 0)),
        _ => None,
    };
    let Some(shapes) = carriers.iter().map(shape).collect::<Option<Vec<_>>>() else { return false };
    let whole = shapes.iter().map(|(precision, scale)| precision - scale).max().unwrap_or(0);
    let scale = shapes.iter().map(|(_, scale)| *scale).max().unwrap_or(0);
    whole + scale <= 38
}

/// The expression in the carrier of unconstrained `numeric`.
pub(super) fn widen(expr: Expr, scope: &Scope<'_>) -> Result<Expr> {
    if scope.carrier_of(&expr)? == DataType::Utf8 {
        return Ok(expr);
    }
    let numeric: Typed = PgType::NUMERIC.into();
    let function = TypedFunction::new("wide_numeric", vec![numeric.clone()], numeric, Kernel::Strict(|_, a| Ok(a[0].clone())));
    Ok(function.call(vec![expr]))
}

/// A constant of unconstrained `numeric`, as parameters are, in the narrowest decimal carrier that holds it, so that it compares
/// with a column as it is; anything else stays as it is.
fn narrowed(expr: Expr) -> Expr {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) = &expr else { return expr };
    let decimal = Numeric::from_canonical(text).and_then(|number| {
        let scale = number.scale();
        let unscaled = number.to_unscaled(scale)?;
        let digits = u8::try_from(unscaled.unsigned_abs().checked_ilog10().map_or(1, |power| power + 1)).ok()?;
        let scale = u8::try_from(scale).ok()?;
        let precision = digits.max(scale);
        (precision <= DECIMAL128_MAX_PRECISION).then_some((unscaled, precision, i8::try_from(scale).ok()?))
    });
    match decimal {
        Some((unscaled, precision, scale)) => {
            Expr::Literal(ScalarValue::Decimal128(Some(unscaled), precision, scale), metadata.clone())
        }
        None => expr,
    }
}

/// A document in the carrier of `json`.
pub(super) fn as_json_text(expr: Expr, scope: &Scope<'_>) -> Result<Expr> {
    if scope.carrier_of(&expr)? == DataType::Utf8 {
        return Ok(expr);
    }
    let json: Typed = PgType::JSON.into();
    let function = TypedFunction::new("json_text", vec![json.clone()], json, Kernel::Strict(|_, a| Ok(a[0].clone())));
    Ok(function.call(vec![expr]))
}

/// NULL in a carrier, with the metadata of list items, which `ScalarValue::try_from` drops.
pub(super) fn typed_null(carrier: &DataType) -> Result<ScalarValue> {
    super::super::datum::first_scalar(&arrow::array::new_null_array(carrier, 1))
}
