//! Window calls over resolved arguments: their keys, and frames over values that the engine does not compare.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, WindowFunction, WindowFunctionDefinition};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, SortExpr, Window, WindowFrame, WindowFrameBound, WindowFrameUnits};

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

use super::super::operators::plain;
use super::super::typed::Typed;
use super::convert::Asked;
use super::{Resolver, Scope};

impl Resolver<'_> {
    pub(super) fn window(&self, mut call: WindowFunction, scope: &Scope<'_>) -> Result<Expr> {
        let params = &mut call.params;
        let arguments = std::mem::take(&mut params.args);
        match &call.fun {
            WindowFunctionDefinition::AggregateUDF(function) => {
                let decided = self.decide_aggregate(function, arguments, params.distinct, scope)?;
                params.args = decided.arguments;
                params.distinct = decided.distinct;
                call.fun = WindowFunctionDefinition::AggregateUDF(decided.function);
            }
            WindowFunctionDefinition::WindowUDF(function) => {
                params.args = self.window_arguments(function.name(), arguments, scope)?;
            }
        }
        params.partition_by =
            std::mem::take(&mut params.partition_by).into_iter().map(|expr| self.keyed(expr, scope)).collect::<Result<Vec<_>>>()?;
        if let Some(first) = params.order_by.first()
            && measures_distances(&params.window_frame)
        {
            check_distances(&scope.type_of(&first.expr)?, &scope.carrier_of(&first.expr)?)?;
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

    /// An untyped first argument is text; the default of `lag` and `lead` has the type of the value.
    fn window_arguments(&self, name: &str, arguments: Vec<Expr>, scope: &Scope<'_>) -> Result<Vec<Expr>> {
        let mut value_type: Option<Typed> = None;
        let mut converted = Vec::with_capacity(arguments.len());
        for (index, argument) in arguments.into_iter().enumerate() {
            let operand = self.operand(argument, scope)?;
            let wanted = match (index, &value_type, name) {
                (0, _, _) if operand.typed.is_unknown() => PgType::TEXT.into(),
                (2, Some(typed), "lag" | "lead") => typed.clone(),
                (1, _, "lag" | "lead" | "nth_value") => PgType::INT8.into(),
                (0, _, "ntile") => PgType::INT8.into(),
                _ => operand.typed.clone(),
            };
            if index == 0 {
                value_type = Some(operand.typed.clone());
            }
            converted.push(self.convert(operand, &wanted, Asked::Implicitly, scope)?);
        }
        Ok(converted)
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

/// Refuses distances between values of types that have none, as PostgreSQL does, and between those whose carriers are keys.
fn check_distances(typed: &Typed, carrier: &DataType) -> Result<(), Diagnosis> {
    let is_wide = *carrier == DataType::Utf8;
    match typed.pg_type.oid {
        20 | 21 | 23 | 700 | 701 | 1082 | 1114 | 1184 => Ok(()),
        1700 if !is_wide => Ok(()),
        _ => {
            let message = format!("RANGE with offset PRECEDING/FOLLOWING is not supported for column type {}", plain(typed));
            Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message))
        }
    }
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
