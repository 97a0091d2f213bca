//! What the server computes exactly as the plan means it.

use super::super::super::connector::Scan;
use super::super::super::fragment::{
    Aggregate, AggregateCall, DateField, Expression, Function, JoinKind, Node, Refusal, Relation, Shape, SortKey, Tables,
    WindowCall, WindowFunction, shapes,
};
use super::super::super::predicate::Pushdown;
use super::super::super::relational::fragment::{conjuncts, input_shapes, is_counted, is_equality_of_sides, visit_expressions};
use super::super::super::relational::{embedded, like, literal};
use super::super::super::schema::Column;
use super::super::super::value::Value;
use super::super::job::stored_column;
use super::super::pushdown;
use super::super::types::{self, Form};
use crate::pgtype::{PgField, PgType};

type Answer = Result<(), Refusal>;

const FORMED: &str = "the store sends values of this type in another form than it computes with";
const ENCODED: &str = "the database holds text in an encoding that is not UTF-8";
const MIXED: &str = "the operands have different types";
const UNLISTED: &str = "the store is not known to compute it for these types";

/// Whether the server may run the topmost node.
pub(in super::super) fn accepts(relation: &Relation, tables: &Tables) -> Answer {
    let inputs = input_shapes(relation, tables);
    if inputs.iter().any(|shape| shape.pg_type == PgType::UNKNOWN) {
        return Err(Refusal::new(relation.name(), "a column is not known"));
    }
    let judge = Judge { tables, inputs: &inputs };
    visit_expressions(relation, &inputs, &|expression, _| judge.expression(expression))?;
    match relation {
        Relation::Table(scan) => of_table(scan, tables),
        Relation::Values { types, rows } => of_values(types, rows),
        Relation::Filter { condition, .. } => judge.condition(condition),
        Relation::Project { .. } | Relation::Limit { .. } => Ok(()),
        Relation::Join { left, kind, condition, .. } => {
            condition.as_ref().map_or(Ok(()), |condition| judge.condition(condition))?;
            if *kind == JoinKind::Full {
                return of_full_join(condition.as_ref(), shapes(left, tables).len());
            }
            Ok(())
        }
        Relation::Aggregate { groups, calls, .. } => {
            if groups.is_empty() && calls.is_empty() {
                return Err(Refusal::new("an aggregate", "it computes nothing"));
            }
            groups.iter().try_for_each(|group| judge.key(group))?;
            calls.iter().try_for_each(|call| judge.aggregate(call))
        }
        Relation::Distinct { .. } => (0..inputs.len()).try_for_each(|place| judge.key(&judge.column(place))),
        Relation::Sort { keys, .. } => judge.keys(keys),
        Relation::Union { inputs } => of_union(inputs, tables),
        Relation::Window { calls, .. } => calls.iter().try_for_each(|call| judge.window(call)),
    }
}

fn of_table(scan: &Scan, tables: &Tables) -> Answer {
    let Some(table) = tables.get(&scan.table) else { return Err(Refusal::new("a table", "it is not known")) };
    for ordinal in &scan.columns {
        match table.columns.get(*ordinal) {
            Some(column) if embedded::source(&column.field).is_none() => {}
            Some(column) => return Err(Refusal::new(column.name(), "it is a field of a document, which is taken apart here")),
            None => return Err(Refusal::new("a column", "it is not known")),
        }
    }
    for predicate in &scan.filter {
        if !matches!(pushdown::judge(table, predicate), Pushdown::Exact(_)) {
            return Err(Refusal::new("a condition of the scan", "the store does not evaluate it exactly"));
        }
    }
    Ok(())
}

fn of_values(types: &[PgType], rows: &[Vec<Option<Value>>]) -> Answer {
    for row in rows {
        for (value, pg_type) in row.iter().zip(types) {
            of_literal(value.as_ref(), *pg_type)?;
        }
    }
    types.iter().try_for_each(|pg_type| if is_computed(*pg_type) { Ok(()) } else { Err(Refusal::new(pg_type, FORMED)) })
}

/// The server needs an operator that it can hash or merge by.
fn of_full_join(condition: Option<&Expression>, left_columns: usize) -> Answer {
    let mut parts = condition.into_iter().flat_map(conjuncts);
    if parts.any(|part| is_equality_of_sides(part, left_columns)) {
        return Ok(());
    }
    Err(Refusal::new("FULL JOIN", "the store runs it only for an equality between both sides"))
}

/// All rows of a column of a union are in one form, which is that of a stored column only where all are of that one.
fn of_union(inputs: &[Relation], tables: &Tables) -> Answer {
    let merged = shapes(&Relation::Union { inputs: inputs.to_vec() }, tables);
    for input in inputs {
        for (shape, merged) in shapes(input, tables).iter().zip(&merged) {
            if shape.pg_type.oid != merged.pg_type.oid {
                return Err(Refusal::new("UNION", MIXED));
            }
            if merged.origin.is_none() {
                of_value(shape, tables).map_err(|rule| Refusal::new("UNION", rule))?;
            }
        }
    }
    Ok(())
}

/// Whether the server computes with values of a column as the engine would, or the reason why not.
fn of_value(shape: &Shape, tables: &Tables) -> Result<(), &'static str> {
    if !is_computed(shape.pg_type) {
        return Err(FORMED);
    }
    match stored_column(shape, tables) {
        Some(column) => of_stored(column),
        None => Ok(()),
    }
}

fn of_stored(column: &Column) -> Result<(), &'static str> {
    if Form::of(&column.field) != Form::Binary || embedded::source(&column.field).is_some() {
        return Err(FORMED);
    }
    if column.field.enum_labels().is_some() {
        return Err("labels of an enum are not texts to the store");
    }
    if types::compares_text(&column.field) { Ok(()) } else { Err(ENCODED) }
}

/// Types that the server sends in the form in which it computes with them, and whose operators look at no setting.
fn is_computed(pg_type: PgType) -> bool {
    is_number(pg_type) || is_string(pg_type) || matches!(pg_type.oid, 16 | 17 | 26 | 1082 | 1083 | 1114 | 1184 | 2950)
}

fn is_integer(pg_type: PgType) -> bool {
    matches!(pg_type.oid, 20 | 21 | 23)
}

fn is_float(pg_type: PgType) -> bool {
    matches!(pg_type.oid, 700 | 701)
}

fn is_number(pg_type: PgType) -> bool {
    is_integer(pg_type) || is_float(pg_type) || pg_type.oid == PgType::NUMERIC.oid
}

/// Every type whose values are compared under a collation.
pub(super) fn is_string(pg_type: PgType) -> bool {
    is_text(pg_type) || matches!(pg_type.oid, 19 | 1042)
}

/// `text`, and `varchar`, which is read as `text` by all functions.
fn is_text(pg_type: PgType) -> bool {
    matches!(pg_type.oid, 25 | 1043)
}

/// Whether values are compared in one type: with `character(n)`, trailing blanks count or not.
fn are_compared(left: PgType, right: PgType) -> bool {
    left.oid == right.oid || is_integer(left) && is_integer(right) || is_text(left) && is_text(right)
}

fn of_literal(value: Option<&Value>, pg_type: PgType) -> Answer {
    let refuse = |rule| Err(Refusal::new(format!("a constant of type {pg_type}"), rule));
    if !is_computed(pg_type) {
        return refuse(FORMED);
    }
    let Some(value) = value else { return Ok(()) };
    let fits = match value {
        Value::Bool(_) => pg_type.oid == 16,
        Value::Int(number) => match pg_type.oid {
            21 => i16::try_from(*number).is_ok(),
            23 => i32::try_from(*number).is_ok(),
            26 => u32::try_from(*number).is_ok(),
            20 | 1700 => true,
            _ => false,
        },
        Value::Float(_) => is_float(pg_type),
        Value::Decimal { .. } | Value::Numeric(_) => pg_type.oid == 1700,
        Value::Text(text) => is_string(pg_type) || pg_type.oid == 2950 && pushdown::is_uuid(text),
        Value::Bytes(_) => pg_type.oid == 17,
        Value::Date(_) => pg_type.oid == 1082 && pushdown::fits_moment(value),
        Value::Time(_) => pg_type.oid == 1083 && pushdown::fits_moment(value),
        Value::Timestamp(_) => pg_type.oid == 1114 && pushdown::fits_moment(value),
        Value::TimestampTz(_) => pg_type.oid == 1184 && pushdown::fits_moment(value),
    };
    match (fits, literal::write(value, &mut String::new())) {
        (true, Ok(())) => Ok(()),
        _ => refuse("it cannot be written for the store"),
    }
}

struct Judge<'j> {
    tables: &'j Tables,
    /// The columns that the expressions of the node are over.
    inputs: &'j [Shape],
}

impl Judge<'_> {
    fn shape(&self, expression: &Expression) -> Shape {
        expression.shape(self.inputs, self.tables)
    }

    fn column(&self, place: usize) -> Expression {
        Expression::column(place, self.inputs.get(place).map_or(PgType::UNKNOWN, |shape| shape.pg_type))
    }

    /// Whether an operation may be done on the value.
    fn value(&self, expression: &Expression) -> Answer {
        of_value(&self.shape(expression), self.tables).map_err(|rule| Refusal::new(expression, rule))
    }

    fn values<'e>(&self, expressions: impl IntoIterator<Item = &'e Expression>) -> Answer {
        expressions.into_iter().try_for_each(|expression| self.value(expression))
    }

    fn condition(&self, expression: &Expression) -> Answer {
        if expression.pg_type.oid == PgType::BOOL.oid { Ok(()) } else { Err(Refusal::new(expression, "it is not a condition")) }
    }

    /// What rows are grouped or ordered by: also the labels of an enum, in their order.
    fn key(&self, expression: &Expression) -> Answer {
        let shape = self.shape(expression);
        let labels = stored_column(&shape, self.tables).is_some_and(|column| {
            column.field.enum_labels().is_some() && column.pg_type() == PgType::TEXT && Form::of(&column.field) == Form::Binary
        });
        if labels { Ok(()) } else { self.value(expression) }
    }

    fn keys(&self, keys: &[SortKey]) -> Answer {
        keys.iter().try_for_each(|key| self.key(&key.expression))
    }

    /// An expression whose operands have been judged.
    fn expression(&self, expression: &Expression) -> Answer {
        let refuse = |rule| Err(Refusal::new(expression, rule));
        match &expression.node {
            Node::Column(ordinal) if *ordinal < self.inputs.len() => Ok(()),
            Node::Column(_) => refuse("the column is not known"),
            Node::Literal(value) => of_literal(value.as_ref(), expression.pg_type),
            Node::And(parts) | Node::Or(parts) => parts.iter().try_for_each(|part| self.condition(part)),
            Node::Not(operand) | Node::IsTruth { operand, .. } => self.condition(operand),
            // Any value is NULL or not.
            Node::IsNull { .. } => Ok(()),
            Node::Compare { left, right, .. } | Node::Distinct { left, right, .. } => {
                self.values([left.as_ref(), right.as_ref()])?;
                if are_compared(left.pg_type, right.pg_type) { Ok(()) } else { refuse(MIXED) }
            }
            Node::In { subject, list, .. } => {
                self.value(subject)?;
                self.values(list)?;
                let alike = list.iter().all(|item| are_compared(subject.pg_type, item.pg_type));
                if alike && !list.is_empty() { Ok(()) } else { refuse(MIXED) }
            }
            Node::Like { case_insensitive: true, .. } => refuse("it folds case by the locale of the store"),
            Node::Like { subject, pattern, .. } => self.like(expression, subject, pattern),
            Node::Case { branches, otherwise } => {
                branches.iter().try_for_each(|(condition, _)| self.condition(condition))?;
                let values: Vec<&Expression> = branches.iter().map(|(_, value)| value).chain(otherwise.as_deref()).collect();
                self.choice(expression, &values)
            }
            Node::Field { .. } => refuse("documents are taken apart here"),
            Node::Cast(operand) => {
                self.value(operand)?;
                if is_settled_cast(operand.pg_type, expression.pg_type) {
                    return Ok(());
                }
                refuse("the conversion depends on settings, or is not known to be the same")
            }
            Node::Call { function, arguments } => self.call(expression, *function, arguments),
            Node::Subquery(relation) => self.subquery(expression, relation),
        }
    }

    fn like(&self, expression: &Expression, subject: &Expression, pattern: &Expression) -> Answer {
        self.values([subject, pattern])?;
        if !is_string(subject.pg_type) || !is_text(pattern.pg_type) {
            return Err(Refusal::new(expression, MIXED));
        }
        match &pattern.node {
            Node::Literal(Some(Value::Text(text))) if like::parts(text).is_none() => {
                Err(Refusal::new(expression, "the pattern ends with the escape character"))
            }
            _ => Ok(()),
        }
    }

    /// One of several values, all of the type of the whole.
    fn choice(&self, expression: &Expression, values: &[&Expression]) -> Answer {
        self.values(values.iter().copied())?;
        let same = |value: &&Expression| {
            value.pg_type.oid == expression.pg_type.oid || is_text(value.pg_type) && is_text(expression.pg_type)
        };
        if values.iter().all(same) { Ok(()) } else { Err(Refusal::new(expression, MIXED)) }
    }

    fn subquery(&self, expression: &Expression, relation: &Relation) -> Answer {
        let known = shapes(relation, self.tables);
        let [shape] = known.as_slice() else { return Err(Refusal::new(expression, "it has not one column")) };
        of_value(shape, self.tables).map_err(|rule| Refusal::new(expression, rule))?;
        let mut answer = Ok(());
        relation.visit(&mut |below| {
            if answer.is_ok() {
                answer = accepts(below, self.tables);
            }
        });
        answer
    }

    fn call(&self, expression: &Expression, function: Function, arguments: &[Expression]) -> Answer {
        self.values(arguments)?;
        let types: Vec<PgType> = arguments.iter().map(|argument| argument.pg_type).collect();
        if is_listed(function, &types, expression.pg_type) {
            return Ok(());
        }
        let rule = match function {
            Function::Upper | Function::Lower => "it folds case by the locale of the store",
            _ => UNLISTED,
        };
        Err(Refusal::new(expression, rule))
    }

    fn aggregate(&self, call: &AggregateCall) -> Answer {
        call.filter.as_ref().map_or(Ok(()), |condition| self.condition(condition))?;
        let refuse = |rule| Err(Refusal::new(call.aggregate.name(), rule));
        match (call.aggregate, &call.argument) {
            (Aggregate::CountRows, None) if !call.distinct => Ok(()),
            (Aggregate::Count, Some(argument)) if call.distinct => self.key(argument),
            // Any value is counted or not.
            (Aggregate::Count, Some(_)) => Ok(()),
            (aggregate, Some(argument)) => {
                self.value(argument)?;
                if is_aggregated(aggregate, argument.pg_type, call.pg_type) { Ok(()) } else { refuse(UNLISTED) }
            }
            _ => refuse("its argument is missing, or not needed"),
        }
    }

    fn window(&self, call: &WindowCall) -> Answer {
        call.partition_by.iter().try_for_each(|key| self.key(key))?;
        self.keys(&call.order_by)?;
        self.values(&call.arguments)?;
        let refuse = |rule| Err(Refusal::new("a window function", rule));
        let types: Vec<PgType> = call.arguments.iter().map(|argument| argument.pg_type).collect();
        let fits = match (call.function, types.as_slice()) {
            (WindowFunction::RowNumber | WindowFunction::Rank | WindowFunction::DenseRank, []) => call.pg_type.oid == 20,
            (WindowFunction::Aggregate(Aggregate::CountRows), []) => true,
            (WindowFunction::Aggregate(Aggregate::Count), [_]) => true,
            (WindowFunction::Aggregate(aggregate), [argument]) => is_aggregated(aggregate, *argument, call.pg_type),
            (WindowFunction::FirstValue | WindowFunction::LastValue, [value]) => value.oid == call.pg_type.oid,
            (WindowFunction::Lag | WindowFunction::Lead, [value, rest @ ..]) => {
                let offset = rest.first().is_none_or(|offset| offset.oid == 23);
                offset && rest.len() < 3 && rest.get(1).is_none_or(|other| other.oid == value.oid) && value.oid == call.pg_type.oid
            }
            _ => false,
        };
        if !fits {
            return refuse(UNLISTED);
        }
        match &call.frame {
            Some(frame) if !is_counted(frame) => refuse("its frame is of distances between values"),
            _ => Ok(()),
        }
    }
}

/// Whether the server's aggregate of this argument has the type that the plan expects.
fn is_aggregated(aggregate: Aggregate, argument: PgType, result: PgType) -> bool {
    let expected = match (aggregate, argument.oid) {
        (Aggregate::Sum, 21 | 23) => 20,
        (Aggregate::Sum, 20 | 1700) | (Aggregate::Average, 20 | 21 | 23 | 1700) => 1700,
        (Aggregate::Sum, 700) => 700,
        (Aggregate::Sum, 701) | (Aggregate::Average, 700 | 701) => 701,
        (Aggregate::Minimum | Aggregate::Maximum, 25 | 1043) => return is_text(result),
        (Aggregate::Minimum | Aggregate::Maximum, 20 | 21 | 23 | 26 | 700 | 701 | 1042 | 1082 | 1083 | 1114 | 1184 | 1700) => {
            argument.oid
        }
        (Aggregate::BoolAnd | Aggregate::BoolOr, 16) => 16,
        _ => return false,
    };
    result.oid == expected
}

/// Conversions that look at no setting.
fn is_settled_cast(from: PgType, to: PgType) -> bool {
    let is_exact = is_integer(from) || from.oid == PgType::NUMERIC.oid;
    if matches!(to.oid, 25 | 1042 | 1043) {
        return is_string(from) || is_exact || matches!(from.oid, 16 | 2950);
    }
    if is_string(from) {
        return is_number(to) || matches!(to.oid, 16 | 2950);
    }
    if is_number(from) && is_number(to) {
        return true;
    }
    matches!((from.oid, to.oid), (16, 23) | (23, 16) | (1082, 1114) | (1114, 1082 | 1083 | 1114) | (1083, 1083))
}

/// Whether the function exists for these types with this result.
fn is_listed(function: Function, types: &[PgType], result: PgType) -> bool {
    let same = types.iter().all(|pg_type| pg_type.oid == result.oid);
    let alike = same || is_text(result) && types.iter().all(|pg_type| is_text(*pg_type));
    let is_double = |pg_type: &PgType| matches!(pg_type.oid, 701 | 1700);
    let text = |count: usize| types.len() >= count && types.iter().take(count).all(|pg_type| is_text(*pg_type));
    let counts = |from: usize| types.iter().skip(from).all(|pg_type| pg_type.oid == 23);
    match (function, types) {
        (Function::Add | Function::Subtract | Function::Multiply | Function::Divide, [left, _]) => same && is_number(*left),
        (Function::Modulo, [left, _]) => same && is_number(*left) && !is_float(*left),
        (Function::Negate | Function::Absolute, [operand]) => same && is_number(*operand),
        (Function::Round | Function::Truncate, [operand, digits]) => operand.oid == 1700 && digits.oid == 23 && result.oid == 1700,
        (Function::Round | Function::Truncate | Function::Ceiling | Function::Floor | Function::Sign, [operand]) => {
            same && is_double(operand)
        }
        (Function::SquareRoot, [operand]) | (Function::Power, [operand, _]) => same && is_double(operand),
        (Function::Concat | Function::Reverse, _) => text(types.len()) && is_text(result),
        (Function::Length | Function::OctetLength, [_]) => text(1) && result.oid == 23,
        (Function::Substring, [_, _] | [_, _, _]) | (Function::Left | Function::Right, [_, _]) => {
            text(1) && counts(1) && is_text(result)
        }
        (Function::Trim | Function::TrimStart | Function::TrimEnd, [_] | [_, _]) => text(types.len()) && is_text(result),
        (Function::Replace, [_, _, _]) => text(3) && is_text(result),
        (Function::Position, [_, _]) => text(2) && result.oid == 23,
        (Function::StartsWith, [_, _]) => text(2) && result.oid == 16,
        (Function::PadStart | Function::PadEnd, [_, count]) => text(1) && count.oid == 23 && is_text(result),
        (Function::PadStart | Function::PadEnd, [_, count, fill]) => {
            text(1) && count.oid == 23 && is_text(*fill) && is_text(result)
        }
        (Function::Coalesce | Function::Greatest | Function::Least, [_, ..]) | (Function::NullIf, [_, _]) => alike,
        (Function::Extract(field), [moment]) => result.oid == 1700 && is_part(field, *moment) && is_whole(field),
        (Function::DatePart(field), [moment]) => result.oid == 701 && is_part(field, *moment),
        (Function::DateTrunc(field), [moment]) => same && moment.oid == 1114 && is_truncated(field),
        // Case is folded by the locale.
        _ => false,
    }
}

/// Whether a moment of the type has the part in every release: PostgreSQL 14 refuses times of dates, which 13 took for midnight.
fn is_part(field: DateField, moment: PgType) -> bool {
    let of_day = matches!(field, DateField::Hour | DateField::Minute | DateField::Second);
    match moment.oid {
        1082 => !of_day,
        1083 => of_day,
        1114 => true,
        _ => false,
    }
}

/// `extract` was `double precision` before PostgreSQL 14, which shows fractions with other digits.
fn is_whole(field: DateField) -> bool {
    !matches!(field, DateField::Second | DateField::Epoch)
}

fn is_truncated(field: DateField) -> bool {
    !matches!(field, DateField::DayOfWeek | DateField::IsoDayOfWeek | DateField::DayOfYear | DateField::Epoch)
}
