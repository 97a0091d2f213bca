//! Which nodes of a plan the server computes.

use super::super::super::fragment::{
    Aggregate, AggregateCall, Bound, Expression, FrameUnit, JoinKind, Refusal, Relation, Shape, SortKey, Tables, WindowCall,
    WindowFunction, shapes,
};
use super::super::super::relational::embedded;
use super::super::super::relational::fragment::input_shapes;
use super::super::super::value::Value;
use super::super::types;
use super::expressions::Scope;
use super::kind::{Kind, is_label, stored};
use super::size::{Size, sizes};
use crate::pgtype::PgType;

/// The server joins at most 61 tables.
const TABLES_MAX: usize = 60;
/// The server nests at most 63 selects.
const DEPTH_MAX: usize = 50;
/// More constant rows than this are not sent.
const VALUES_MAX: usize = 1_000;
/// The server sorts and groups by as many bytes; a character has at most four.
const KEY_CHARACTERS_MAX: u64 = 255;
/// The same for bytes, less two that hold the length.
const KEY_BYTES_MAX: u64 = 1_022;
/// The digits of a decimal.
pub(super) const DIGITS_MAX: u16 = 65;
/// The digits after the point that every version keeps.
pub(super) const SCALE_MAX: u16 = 30;

/// See [`super::accepts`].
pub(super) fn accepts(relation: &Relation, tables: &Tables) -> Result<(), Refusal> {
    let refuse = |rule| Err(Refusal::new(relation.name(), rule));
    let mut count = 0;
    relation.visit(&mut |node| count += usize::from(matches!(node, Relation::Table(_) | Relation::Values { .. })));
    if count > TABLES_MAX || depth(relation) > DEPTH_MAX {
        return refuse("the store takes no larger statements");
    }
    let (known, measured) = (input_shapes(relation, tables), input_sizes(relation, tables));
    let scope = Scope { shapes: &known, sizes: &measured, tables };
    match relation {
        Relation::Table(_) => table(relation, tables),
        Relation::Values { types, rows } => values(relation, types, rows, tables),
        Relation::Filter { condition, .. } => scope.condition(condition),
        Relation::Project { expressions, .. } => expressions.iter().try_for_each(|expression| scope.value(expression)),
        Relation::Join { kind: JoinKind::Full, .. } => refuse("the store has no FULL JOIN"),
        Relation::Join { condition, .. } => condition.iter().try_for_each(|condition| scope.condition(condition)),
        Relation::Aggregate { groups, calls, .. } => {
            groups.iter().try_for_each(|group| key(&scope, group))?;
            calls.iter().try_for_each(|call| aggregate(&scope, call))
        }
        Relation::Distinct { .. } => {
            let mut columns = known.iter().enumerate().map(|(place, shape)| Expression::column(place, shape.pg_type));
            columns.try_for_each(|column| key(&scope, &column))
        }
        Relation::Sort { keys, .. } => keys.iter().try_for_each(|key| ordered(&scope, key)),
        Relation::Limit { .. } => Ok(()),
        Relation::Union { inputs } => union(relation, inputs, tables),
        Relation::Window { calls, .. } => calls.iter().try_for_each(|call| window(&scope, call)),
    }
}

fn depth(relation: &Relation) -> usize {
    1 + relation.inputs().into_iter().map(depth).max().unwrap_or(0)
}

fn input_sizes(relation: &Relation, tables: &Tables) -> Vec<Size> {
    relation.inputs().into_iter().flat_map(|input| sizes(input, tables)).collect()
}

fn table(relation: &Relation, tables: &Tables) -> Result<(), Refusal> {
    let inside = shapes(relation, tables).iter().any(|shape| {
        let column = stored(shape, tables);
        column.is_none_or(|column| embedded::source(&column.field).is_some())
    });
    if inside { Err(Refusal::new("a field of a document", "documents are read by the engine")) } else { Ok(()) }
}

fn values(relation: &Relation, types: &[PgType], rows: &[Vec<Option<Value>>], tables: &Tables) -> Result<(), Refusal> {
    let refuse = |rule| Err(Refusal::new("values", rule));
    if rows.len() > VALUES_MAX {
        return refuse("the constant rows are too many");
    }
    if types.iter().any(|pg_type| matches!(Kind::of(*pg_type), Kind::Other | Kind::Real | Kind::Uuid)) {
        return refuse("the store has no constants of the type");
    }
    if rows.iter().flatten().flatten().any(|value| !super::expressions::is_storable(value)) {
        return refuse("the store has no such value");
    }
    let mut measured = types.iter().zip(sizes(relation, tables));
    if measured.any(|(pg_type, size)| Kind::of(*pg_type) == Kind::Decimal && size == Size::Unknown) {
        return refuse("the numbers have different scales");
    }
    Ok(())
}

/// A key of groups, of partitions or of DISTINCT.
fn key(scope: &Scope<'_>, expression: &Expression) -> Result<(), Refusal> {
    scope.value(expression)?;
    let rule = match (Kind::of(expression.pg_type), scope.size(expression)) {
        (Kind::Real | Kind::Double, _) => "the store may tell -0 from 0",
        (Kind::Other, _) => "the store compares the type by its own rules",
        (Kind::Decimal, Size::Unknown) => "the numbers may have different scales",
        (kind, size) => return short(kind, size, expression),
    };
    Err(Refusal::new(expression, rule))
}

/// The server looks at the beginning of a key alone.
fn short(kind: Kind, size: Size, expression: &Expression) -> Result<(), Refusal> {
    let limit = match kind {
        Kind::Text => KEY_CHARACTERS_MAX,
        Kind::Bytes => KEY_BYTES_MAX,
        _ => return Ok(()),
    };
    match size {
        Size::Length(length) if length <= limit => Ok(()),
        Size::Nothing => Ok(()),
        _ => Err(Refusal::new(expression, "the store sorts and groups by the first 1024 bytes only")),
    }
}

fn ordered(scope: &Scope<'_>, key: &SortKey) -> Result<(), Refusal> {
    let expression = &key.expression;
    scope.value(expression)?;
    scope.in_order(expression)?;
    short(Kind::of(expression.pg_type), scope.size(expression), expression)
}

fn aggregate(scope: &Scope<'_>, call: &AggregateCall) -> Result<(), Refusal> {
    call.filter.iter().try_for_each(|condition| scope.condition(condition))?;
    let Some(argument) = &call.argument else {
        let rule = "the aggregate lacks its argument";
        return if call.aggregate == Aggregate::CountRows { Ok(()) } else { Err(Refusal::new(call.aggregate.name(), rule)) };
    };
    if call.distinct {
        key(scope, argument)?;
    }
    aggregated(scope, call.aggregate, argument)
}

fn aggregated(scope: &Scope<'_>, aggregate: Aggregate, argument: &Expression) -> Result<(), Refusal> {
    scope.value(argument)?;
    let refuse = |rule| Err(Refusal::new(format_args!("{}({argument})", aggregate.name()), rule));
    match (aggregate, Kind::of(argument.pg_type)) {
        (Aggregate::CountRows | Aggregate::Count, _) => Ok(()),
        (Aggregate::Sum, Kind::Whole) => Ok(()),
        (Aggregate::Sum, Kind::Decimal) => match scope.size(argument) {
            // A sum has 22 digits more on the server; 20 are enough for as many rows as there can be.
            Size::Digits { whole, scale } if whole + scale + 20 <= DIGITS_MAX && scale <= SCALE_MAX => Ok(()),
            _ => refuse("the sum may have more digits than the store keeps"),
        },
        (Aggregate::Sum, _) => refuse("the store adds floats in another order"),
        (Aggregate::Minimum | Aggregate::Maximum, _) => scope.in_order(argument),
        (Aggregate::BoolAnd | Aggregate::BoolOr, Kind::Truth) => Ok(()),
        (Aggregate::BoolAnd | Aggregate::BoolOr, _) => refuse("the argument is no truth value"),
        (Aggregate::Average, _) => refuse("the store rounds quotients to other digits"),
    }
}

fn union(relation: &Relation, inputs: &[Relation], tables: &Tables) -> Result<(), Refusal> {
    let refuse = |rule| Err(Refusal::new("union", rule));
    let columns: Vec<Vec<Shape>> = inputs.iter().map(|input| shapes(input, tables)).collect();
    let Some((first, others)) = columns.split_first() else { return refuse("it has no inputs") };
    let united = sizes(relation, tables);
    for (place, shape) in first.iter().enumerate() {
        let kind = Kind::of(shape.pg_type);
        let all = || std::iter::once(shape).chain(others.iter().filter_map(|other| other.get(place)));
        if all().any(|other| Kind::of(other.pg_type) != kind) {
            return refuse("the types differ");
        }
        match kind {
            Kind::Text if all().any(|other| is_label(other, tables)) => return refuse("labels of enums are ordered by themselves"),
            Kind::Text if all().any(|other| other.collation != shape.collation) => return refuse("the collations differ"),
            Kind::Decimal if united.get(place).is_none_or(|size| *size == Size::Unknown) => {
                return refuse("the numbers have different scales");
            }
            Kind::Other | Kind::Real | Kind::Uuid => return refuse("the store has rules of its own for the type"),
            _ => {}
        }
    }
    Ok(())
}

fn window(scope: &Scope<'_>, call: &WindowCall) -> Result<(), Refusal> {
    call.partition_by.iter().try_for_each(|partition| key(scope, partition))?;
    call.order_by.iter().try_for_each(|key| ordered(scope, key))?;
    let refuse = |rule| Err(Refusal::new("window function", rule));
    if call.frame.as_ref().is_some_and(|frame| frame.unit == FrameUnit::Groups) {
        return refuse("the store has no GROUPS frames");
    }
    if call.frame.as_ref().is_some_and(|frame| frame.unit == FrameUnit::Range && (is_counted(frame.start) || is_counted(frame.end)))
    {
        return refuse("the store counts RANGE frames over another key");
    }
    match (call.function, call.arguments.as_slice()) {
        (WindowFunction::Aggregate(Aggregate::BoolAnd | Aggregate::BoolOr), _) => refuse("the store has no such window function"),
        (WindowFunction::Aggregate(Aggregate::CountRows), _) => Ok(()),
        (WindowFunction::Aggregate(aggregate), [argument]) => aggregated(scope, aggregate, argument),
        (WindowFunction::RowNumber | WindowFunction::Rank | WindowFunction::DenseRank, []) => Ok(()),
        (WindowFunction::Lag | WindowFunction::Lead | WindowFunction::FirstValue | WindowFunction::LastValue, [argument]) => {
            scope.value(argument)
        }
        _ => refuse("the store takes no such arguments"),
    }
}

fn is_counted(bound: Bound) -> bool {
    matches!(bound, Bound::Preceding(_) | Bound::Following(_))
}

/// Whether the store reads values of the stored column in full.
pub(super) fn range_holds(shape: &Shape, tables: &Tables, value: &Value) -> bool {
    let Some(range) = stored(shape, tables).and_then(|column| types::integer_range(&column.native_type)) else { return true };
    match value {
        Value::Int(number) => range.contains(&i128::from(*number)),
        Value::Decimal { unscaled, scale: 0 } => range.contains(unscaled),
        Value::Decimal { .. } | Value::Numeric(_) => false,
        _ => true,
    }
}
