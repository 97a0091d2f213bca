//! Window functions, over frames that count rows or peers.

use datafusion::error::Result;
use datafusion::logical_expr::expr::{WindowFunction as Call, WindowFunctionDefinition};
use datafusion::logical_expr::{Expr, LogicalPlan, Window, WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion::scalar::ScalarValue;

use super::super::expression::Translator;
use super::super::scope::Slot;
use super::aggregate::of_argument;
use super::rows::sort_key;
use super::{Cut, Cutter, Ordered, Piece, nothing, offer, only_input};
use crate::federation::semantics::aggregates::meaning;
use crate::federation::semantics::types::schema_after;
use crate::pgtype::PgType;
use crate::stores::Relation;
use crate::stores::fragment::{Aggregate, Bound, Expression, Frame, FrameUnit, Node, Refusal, WindowCall, WindowFunction};
use crate::stores::value::Value;

impl Cutter<'_> {
    pub(super) fn window<'p>(&mut self, plan: &'p LogicalPlan, window: &'p Window) -> Result<Cut<'p>> {
        let mut piece = match self.cut(&window.input, Ordered::Free)? {
            Cut::Open(piece) => *piece,
            closed @ Cut::Closed(_) => return self.around(plan, vec![closed]),
        };
        let subqueries = self.subqueries(plan, &mut piece)?;
        let calls = {
            let scope = piece.scope();
            let translator = Translator { scope: &scope, subqueries: &subqueries };
            window.window_expr.iter().map(|expr| call(&translator, expr)).collect::<std::result::Result<Vec<_>, _>>()
        };
        let calls = match calls {
            Ok(calls) => calls,
            Err(refusal) => {
                self.refused("Window", &piece, refusal);
                return self.around(plan, vec![Cut::Open(Box::new(piece))]);
            }
        };
        let width = super::super::estimate::width(&piece.relation);
        let made = calls.iter().enumerate().map(|(index, call)| Slot::plain(width + index, call.pg_type));
        let slots = piece.slots.iter().copied().chain(made).collect();
        let schema = schema_after(plan, std::slice::from_ref(&piece.schema))?;
        let relation = std::mem::replace(&mut piece.relation, nothing());
        match offer(piece.connector.as_ref(), Relation::Window { input: Box::new(relation), calls }, &piece.tables) {
            Ok(relation) => {
                let piece = Piece { original: plan, relation, slots, schema, is_worthy: true, order: Vec::new(), ..piece };
                Ok(Cut::Open(Box::new(piece)))
            }
            Err((refused, refusal)) => {
                piece.relation = only_input(refused);
                self.refused("Window", &piece, refusal);
                self.around(plan, vec![Cut::Open(Box::new(piece))])
            }
        }
    }
}

fn call(translator: &Translator<'_>, expr: &Expr) -> std::result::Result<WindowCall, Refusal> {
    let call = match expr {
        Expr::Alias(alias) => return self::call(translator, &alias.expr),
        Expr::WindowFunction(call) => call,
        other => return Err(Refusal::new(other.variant_name(), "it is not a window function")),
    };
    let params = &call.params;
    if params.filter.is_some() || params.distinct || params.null_treatment.is_some() {
        return Err(Refusal::new("a window function", "it has FILTER, DISTINCT or IGNORE NULLS"));
    }
    let (function, arguments, pg_type) = function(translator, call)?;
    let partition_by = params.partition_by.iter().map(|expr| translator.operand(expr)).collect::<std::result::Result<_, _>>()?;
    let order_by = params.order_by.iter().map(|key| sort_key(translator, key)).collect::<std::result::Result<_, _>>()?;
    let has_frame = matches!(function, WindowFunction::Aggregate(_) | WindowFunction::FirstValue | WindowFunction::LastValue);
    let frame = if has_frame { Some(frame(&params.window_frame)?) } else { None };
    Ok(WindowCall { function, arguments, partition_by, order_by, frame, pg_type })
}

fn function(translator: &Translator<'_>, call: &Call) -> std::result::Result<(WindowFunction, Vec<Expression>, PgType), Refusal> {
    let arguments = call.params.args.as_slice();
    let name = match &call.fun {
        WindowFunctionDefinition::AggregateUDF(function) => return aggregate(translator, meaning(function), arguments),
        WindowFunctionDefinition::WindowUDF(function) => function.name(),
    };
    let function = match name {
        "row_number" => return Ok((WindowFunction::RowNumber, Vec::new(), PgType::INT8)),
        "rank" => return Ok((WindowFunction::Rank, Vec::new(), PgType::INT8)),
        "dense_rank" => return Ok((WindowFunction::DenseRank, Vec::new(), PgType::INT8)),
        "lag" => WindowFunction::Lag,
        "lead" => WindowFunction::Lead,
        "first_value" => WindowFunction::FirstValue,
        "last_value" => WindowFunction::LastValue,
        _ => return Err(Refusal::new(name, "it is not among the window functions that stores may run")),
    };
    let mut given = arguments.iter().map(|argument| translator.expression(argument)).collect::<std::result::Result<Vec<_>, _>>()?;
    if let Some(offset) = given.get_mut(1) {
        *offset = rows_away(offset).ok_or_else(|| Refusal::new(name, "its offset is not a plain constant"))?;
    }
    let pg_type = given.first().map_or(PgType::UNKNOWN, |value| PgType::with_typmod(value.pg_type.oid, -1));
    Ok((function, given, pg_type))
}

fn aggregate(
    translator: &Translator<'_>,
    (name, drops_repeated): (&str, bool),
    arguments: &[Expr],
) -> std::result::Result<(WindowFunction, Vec<Expression>, PgType), Refusal> {
    if drops_repeated {
        return Err(Refusal::new(name, "it has DISTINCT"));
    }
    let (aggregate, argument, pg_type) = match arguments {
        [] if name == "count" => (Aggregate::CountRows, None, PgType::INT8),
        [argument] => of_argument(translator, name, argument, false)?,
        _ => return Err(Refusal::new(name, "it has not one argument")),
    };
    Ok((WindowFunction::Aggregate(aggregate), argument.into_iter().collect(), pg_type))
}

/// The constant offset of `lag` and `lead`, which is an `integer` there.
fn rows_away(offset: &Expression) -> Option<Expression> {
    match &offset.node {
        Node::Literal(Some(Value::Int(rows))) if i32::try_from(*rows).is_ok() => {
            Some(Expression::new(PgType::INT4, Node::Literal(Some(Value::Int(*rows)))))
        }
        _ => None,
    }
}

fn frame(frame: &WindowFrame) -> std::result::Result<Frame, Refusal> {
    let unit = match frame.units {
        WindowFrameUnits::Rows => FrameUnit::Rows,
        WindowFrameUnits::Range => FrameUnit::Range,
        WindowFrameUnits::Groups => FrameUnit::Groups,
    };
    let bound = |bound: &WindowFrameBound| {
        Some(match bound {
            WindowFrameBound::CurrentRow => Bound::CurrentRow,
            WindowFrameBound::Preceding(count) if count.is_null() => Bound::UnboundedPreceding,
            WindowFrameBound::Following(count) if count.is_null() => Bound::UnboundedFollowing,
            // Distances between values are the engine's.
            _ if unit == FrameUnit::Range => return None,
            WindowFrameBound::Preceding(count) => Bound::Preceding(number(count)?),
            WindowFrameBound::Following(count) => Bound::Following(number(count)?),
        })
    };
    match (bound(&frame.start_bound), bound(&frame.end_bound)) {
        (Some(start), Some(end)) => Ok(Frame { unit, start, end }),
        _ => Err(Refusal::new("a window frame", "it measures distances between values")),
    }
}

fn number(count: &ScalarValue) -> Option<u64> {
    match count {
        ScalarValue::UInt64(count) => *count,
        ScalarValue::Int64(count) => u64::try_from((*count)?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_count_rows_and_peers() {
        let bounds = |units, start, end| frame(&WindowFrame::new_bounds(units, start, end)).ok();
        let preceding = |count| WindowFrameBound::Preceding(ScalarValue::UInt64(count));
        let found = bounds(WindowFrameUnits::Rows, preceding(Some(2)), WindowFrameBound::CurrentRow);
        assert_eq!(found, Some(Frame { unit: FrameUnit::Rows, start: Bound::Preceding(2), end: Bound::CurrentRow }));
        let found = bounds(WindowFrameUnits::Range, preceding(None), WindowFrameBound::CurrentRow);
        assert_eq!(found, Some(Frame { unit: FrameUnit::Range, start: Bound::UnboundedPreceding, end: Bound::CurrentRow }));
        assert_eq!(bounds(WindowFrameUnits::Range, preceding(Some(2)), WindowFrameBound::CurrentRow), None);
    }
}
