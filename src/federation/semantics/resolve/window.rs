//! Window calls over resolved arguments: their keys, and frames over values that the engine does not compare.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::functions_window::lead_lag::lag_udwf;
use datafusion::logical_expr::expr::{Cast, WindowFunction, WindowFunctionDefinition};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, SortExpr, Window, WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion::scalar::ScalarValue;

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

use super::super::operators::plain;
use super::super::typed::Typed;
use super::convert::Asked;
use super::shifted::Arguments;
use super::{Resolver, Scope};

impl Resolver<'_> {
    pub(super) fn window(&self, mut call: WindowFunction, scope: &Scope<'_>) -> Result<Expr> {
        let params = &mut call.params;
        let arguments = std::mem::take(&mut params.args);
        match &call.fun {
            WindowFunctionDefinition::AggregateUDF(_) if params.distinct => {
                let message = "DISTINCT is not implemented for window functions";
                return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).into());
            }
            WindowFunctionDefinition::AggregateUDF(function) => {
                let decided = self.decide_aggregate(function, arguments, params.distinct, scope)?;
                params.args = decided.arguments;
                params.distinct = decided.distinct;
                call.fun = WindowFunctionDefinition::AggregateUDF(decided.function);
            }
            WindowFunctionDefinition::WindowUDF(function) => match self.window_arguments(function.name(), arguments, scope)? {
                Arguments::Of(arguments) => params.args = arguments,
                Arguments::Same(value) => {
                    params.args = vec![value];
                    call.fun = WindowFunctionDefinition::WindowUDF(lag_udwf());
                }
            },
        }
        params.partition_by =
            std::mem::take(&mut params.partition_by).into_iter().map(|expr| self.keyed(expr, scope)).collect::<Result<Vec<_>>>()?;
        if let Some(first) = params.order_by.first_mut()
            && measures_distances(&params.window_frame)
        {
            first.expr = self.measured(first.expr.clone(), &params.window_frame, scope)?;
        }
        params.order_by = std::mem::take(&mut params.order_by)
            .into_iter()
            .map(|sort| Ok(SortExpr { expr: self.keyed(sort.expr, scope)?, ..sort }))
            .collect::<Result<Vec<_>>>()?;
        if let Some(first) = params.order_by.first()
            && params.window_frame.units == WindowFrameUnits::Range
            && !is_compared_in_frames(&scope.carrier_of(&first.expr)?)
        {
            params.window_frame = of_peers(&params.window_frame);
        }
        Ok(Expr::WindowFunction(Box::new(call)))
    }

    /// The first key of an order by whose distances a frame is measured, in a carrier in which the engine finds its ends: of a distance
    /// that a type cannot hold it concludes that the frame has no end, and it rounds to the digits of the type.
    fn measured(&self, key: Expr, frame: &WindowFrame, scope: &Scope<'_>) -> Result<Expr> {
        let operand = self.operand(key, scope)?;
        let carrier = scope.carrier_of(&operand.expr)?;
        check_distances(&operand.typed, &carrier, frame)?;
        match (operand.typed.pg_type.oid, &carrier) {
            // A distance from the largest numbers leaves every type of integers.
            (20 | 21 | 23, _) => {
                let wide = DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0);
                Ok(Expr::Cast(Cast::new_from_field(Box::new(operand.expr), Typed::from(PgType::NUMERIC).field("", wide))))
            }
            (700, _) => self.convert(operand, &PgType::FLOAT8.into(), Asked::Implicitly, scope),
            (1700, DataType::Decimal128(precision, scale)) => {
                let wide = wide_decimal(*precision, *scale, frame).ok_or_else(|| no_distances(&operand.typed, ""))?;
                let field = operand.typed.without_modifier().field("", wide);
                Ok(Expr::Cast(Cast::new_from_field(Box::new(operand.expr), field)))
            }
            _ => Ok(operand.expr),
        }
    }

    /// Brings the counters of window functions to the types PostgreSQL gives them.
    pub(super) fn window_outputs(&self, window: Window) -> Result<LogicalPlan> {
        let unsigned = window.schema.fields().iter().any(|field| *field.data_type() == DataType::UInt64);
        let input_width = window.input.schema().fields().len();
        let calls: Vec<Expr> = window.window_expr.clone();
        let plan = LogicalPlan::Window(window);
        if !unsigned {
            return Ok(plan);
        }
        let outputs = plan
            .schema()
            .iter()
            .enumerate()
            .map(|(index, (qualifier, field))| {
                let column = Expr::Column(Column::from((qualifier, field)));
                if index < input_width || *field.data_type() != DataType::UInt64 {
                    return column;
                }
                let is_ntile = calls.get(index - input_width).is_some_and(|call| is_call_of(call, "ntile"));
                let pg_type = if is_ntile { PgType::INT4 } else { PgType::INT8 };
                let target = Typed::from(pg_type).field("", pg_type.carrier());
                Expr::Cast(Cast::new_from_field(Box::new(column), target)).alias_qualified(qualifier.cloned(), field.name())
            })
            .collect();
        Ok(LogicalPlan::Projection(Projection::try_new(outputs, Arc::new(plan))?))
    }
}

fn is_call_of(expr: &Expr, name: &str) -> bool {
    match expr {
        Expr::Alias(alias) => is_call_of(&alias.expr, name),
        Expr::WindowFunction(call) => call.fun.name() == name,
        _ => false,
    }
}

/// Whether a frame ends at values that lie a distance before or after the row's own.
fn measures_distances(frame: &WindowFrame) -> bool {
    let is_measured = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::Preceding(distance) | WindowFrameBound::Following(distance) => !distance.is_null(),
        WindowFrameBound::CurrentRow => false,
    };
    frame.units == WindowFrameUnits::Range && (is_measured(&frame.start_bound) || is_measured(&frame.end_bound))
}

/// Refuses distances between values of types that have none, as PostgreSQL does, those of other types than it takes, and those between
/// values whose carriers are keys.
fn check_distances(typed: &Typed, carrier: &DataType, frame: &WindowFrame) -> Result<(), Diagnosis> {
    let is_wide = *carrier == DataType::Utf8;
    let distances = distances(frame);
    let is_plain = |digits: &&str| digits.chars().all(|letter| letter.is_ascii_digit() || letter == '.');
    match typed.pg_type.oid {
        20 | 21 | 23 => match distances.iter().find(|digits| digits.parse::<i64>().is_err()) {
            Some(_) => Err(no_distances(typed, " and offset type numeric")),
            None => Ok(()),
        },
        700 | 701 => Ok(()),
        1700 if !is_wide && distances.iter().all(is_plain) => Ok(()),
        1082 | 1114 | 1184 => {
            let offset = distances.first().map_or("integer", |digits| if digits.contains('.') { "numeric" } else { "integer" });
            Err(no_distances(typed, &format!(" and offset type {offset}")))
        }
        _ => Err(no_distances(typed, "")),
    }
}

fn no_distances(typed: &Typed, offset: &str) -> Diagnosis {
    let message = format!("RANGE with offset PRECEDING/FOLLOWING is not supported for column type {}{offset}", plain(typed));
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
}

/// The distances of a frame as they are written.
fn distances(frame: &WindowFrame) -> Vec<&str> {
    use WindowFrameBound::{Following, Preceding};
    [&frame.start_bound, &frame.end_bound]
        .into_iter()
        .filter_map(|bound| match bound {
            Preceding(ScalarValue::Utf8(Some(digits))) | Following(ScalarValue::Utf8(Some(digits))) => Some(digits.as_str()),
            _ => None,
        })
        .collect()
}

/// A decimal that holds the values and the digits of the distances.
fn wide_decimal(precision: u8, scale: i8, frame: &WindowFrame) -> Option<DataType> {
    let fraction = |digits: &str| digits.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let longest = distances(frame).into_iter().map(fraction).max().unwrap_or(0);
    let wide = scale.max(i8::try_from(longest).ok()?);
    let digits = i16::from(precision) - i16::from(scale) + i16::from(wide);
    (digits <= i16::from(DECIMAL128_MAX_PRECISION)).then_some(DataType::Decimal128(DECIMAL128_MAX_PRECISION, wide))
}

/// Whether the engine makes frames of ranges over values of a carrier.
fn is_compared_in_frames(carrier: &DataType) -> bool {
    carrier.is_numeric()
        || carrier.is_string()
        || matches!(carrier, DataType::Null | DataType::Boolean | DataType::List(_) | DataType::Date32 | DataType::Timestamp(..))
}

/// The same frame in groups of equal rows: where it measures no distances, both mean the row's equals, and all before or after.
fn of_peers(frame: &WindowFrame) -> WindowFrame {
    WindowFrame::new_bounds(WindowFrameUnits::Groups, frame.start_bound.clone(), frame.end_bound.clone())
}
